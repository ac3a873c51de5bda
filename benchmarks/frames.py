"""Frames per second of a split larger than memory, against the_well's reader and plain h5py.

Run `python benchmarks/frames.py`. Frames (512 x 128 points, 4 channels, one thread of torch) of
contiguous files, of gzip with a chunk per step and of gzip with 32 chunks per step are compared
with torch DataLoaders that read frame by frame, with as many workers as LILAS has readers. All
give standardised batches in random order, every frame once per epoch; they take turns of an epoch
each, and the ratios are medians over the turns.

`python benchmarks/frames.py --pool` reads the same frames, compressed, with one reader and with
the four that trainings have, in processes of their own that take turns, and measures how far their
memory rises (Linux) beside what they were told to hold.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

import h5py
import numpy as np
import torch
from the_well.data import WellDataset

from lilas.data import windows as lilas_windows
from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels
from lilas.data.transforms import Transform
from lilas.data.well import open_well
from lilas.data.well_writer import write_well
from lilas.data.windows import Windows


class WellFrames(WellDataset):
    """Standardised frames as the_well reads them, which the official code trains on."""

    def __init__(self, folder: str) -> None:
        super().__init__(path=folder, n_steps_input=1, n_steps_output=0, return_grid=False)

    def __getitem__(self, index: int) -> torch.Tensor:
        return (super().__getitem__(index)["input_fields"][0] - 0.1) / 0.5


class Frames(torch.utils.data.Dataset):
    """Standardised frames with nothing around h5py, the file opened for each."""

    fields = ("t0_fields/buoyancy", "t0_fields/pressure", "t1_fields/velocity")

    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        return TRAJECTORIES * FRAMES

    def __getitem__(self, index: int) -> torch.Tensor:
        place = divmod(index, FRAMES)
        with h5py.File(self.path) as file:
            buoyancy, pressure, velocity = (file[name][place] for name in self.fields)
        x = np.stack([buoyancy, pressure, *np.moveaxis(velocity, -1, 0)])
        return (torch.from_numpy(x) - 0.1) / 0.5


# Chunks of a frame's space axes by layout; contiguous files have none.
LAYOUTS = {"contiguous": None, "gzip, 1 chunk": (512, 128), "gzip, 32 chunks": (64, 32)}
# Six trajectories, of which four may be in memory.
TRAJECTORIES, FRAMES, SPACE, TOGETHER = 6, 24, (512, 128), 16
MEMORY = 4 * 16 * FRAMES * SPACE[0] * SPACE[1]


def write_flow(path: Path, chunk: tuple[int, int] | None) -> None:
    """Writes smooth fields, half of whose mantissas are noise, in chunks of a frame's points."""
    rng = np.random.default_rng(0)
    shape = (TRAJECTORIES, FRAMES, *SPACE)
    x, y = (np.linspace(0, 2 * np.pi, n, dtype=np.float32) for n in SPACE)
    phase = rng.uniform(0, 2 * np.pi, (TRAJECTORIES, FRAMES, 1, 1)).astype(np.float32)
    smooth = np.sin(3 * x[:, None] + phase) * np.cos(2 * y - phase)

    def drawn() -> np.ndarray:
        return smooth + 1e-3 * rng.normal(size=shape).astype(np.float32)

    write_well(
        path,
        dataset="flow",
        fields={
            "buoyancy": drawn(),
            "pressure": drawn(),
            "velocity": np.stack([drawn(), drawn()], -1),
        },
        time=np.arange(FRAMES),
        coordinates={"x": x, "y": y},
        parameters={"Rayleigh": 1e6},
        boundaries={"x": "periodic", "y": "wall"},
    )
    if chunk:
        with h5py.File(path, "r+") as file:
            for name in Frames.fields:
                values, attributes = file[name][()], dict(file[name].attrs)
                del file[name]
                chunks = (1, 1, *chunk, *values.shape[4:])
                made = file.create_dataset(name, data=values, chunks=chunks, compression="gzip")
                made.attrs.update(attributes)


def epoch(batches: Iterable[torch.Tensor]) -> float:
    """Returns the seconds that an epoch of batches takes."""
    began = time.perf_counter()
    assert sum(len(x) for x in batches) == TRAJECTORIES * FRAMES
    return time.perf_counter() - began


def streaming(windows: Windows, first: int, count: int) -> Iterator[torch.Tensor]:
    """Yields batches; then waits for what is read ahead, which is no gift of the loader's turn."""
    for step in range(first, first + count):
        yield windows.batch(step)[0]
    for reads in windows._reads:
        for read in reads:
            read.result()


def windows_of(path: Path, readers: int) -> Windows:
    file = open_well(path)
    names = tuple(channel.name for channel in file.channels)
    seen = Preprocessing(names, (Transform(),) * 4, (0.1,) * 4, (0.5,) * 4)
    lilas_windows.READERS = readers
    return Windows(
        Pixels([file], seen, {}),
        length=1,
        batch_size=TOGETHER,
        seed=0,
        device=torch.device("cpu"),
        memory=MEMORY,
    )


def pool_of(path: Path, readers: int) -> tuple[float, float]:
    """Returns frames per second of two epochs in this process, and by how many MB they raise it."""
    before = _status("VmRSS")
    windows, batches = windows_of(path, readers), TRAJECTORIES * FRAMES // TOGETHER
    # Linux forgets the peak so far.
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    seconds = [epoch(streaming(windows, turn * batches, batches)) for turn in range(3)]
    # The first epoch is not counted: its pages are new.
    return 2 * TRAJECTORIES * FRAMES / sum(seconds[1:]), _status("VmHWM") - before


def _status(name: str) -> float:
    """Returns a line of this process's status, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024 / 1e6


def pool(turns: int) -> None:
    found: dict[int, list[list[float]]] = {1: [], 4: []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flow.hdf5"
        write_flow(path, SPACE)
        for _ in range(turns):
            for readers, measured in found.items():
                command = [sys.executable, __file__, "--pool-of", str(path), str(readers)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                measured.append([float(word) for word in done.stdout.split()])
    print("| readers | frames/s | times one reader | memory (MB) | of memory allowed |")
    print("|---|---|---|---|---|")
    ones = np.array(found[1])[:, 0]
    for readers, measured in found.items():
        rates, peaks = np.array(measured).T
        cells = [f"{np.median(rates):.0f}", f"{np.median(rates / ones):.2f}"]
        cells += [f"{np.max(peaks):.0f}", f"{np.max(peaks) / (MEMORY / 1e6):.2f}"]
        print(f"| {readers} | {' | '.join(cells)} |")


def streamed(turns: int) -> None:
    # The memory is small so that little has to be read; pieces and reads are those of a large one.
    lilas_windows.MIXED, lilas_windows.READ_SHARE = 1, 1
    batches = TRAJECTORIES * FRAMES // TOGETHER
    print("| file | workers | the_well | h5py | LILAS | against the_well | against h5py |")
    print("|---|---|---|---|---|---|---|")
    for (name, chunk), workers in product(LAYOUTS.items(), (1, 2)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "flow.hdf5"
            write_flow(path, chunk)
            frames = windows_of(path, workers)
            loaders = [
                torch.utils.data.DataLoader(
                    dataset,
                    batch_size=TOGETHER,
                    shuffle=True,
                    num_workers=workers,
                    persistent_workers=True,
                )
                for dataset in (WellFrames(folder), Frames(path))
            ]
            times = np.array(
                [
                    [epoch(x) for x in (*loaders, streaming(frames, turn * batches, batches))]
                    # The first turn starts the workers.
                    for turn in range(turns + 1)
                ][1:]
            )
            rates = TRAJECTORIES * FRAMES / np.median(times, 0)
            ratios = np.median(times[:, :2] / times[:, 2:], 0)
            cells = [*(f"{rate:.0f}" for rate in rates), *(f"{ratio:.1f}" for ratio in ratios)]
            print(f"| {name} | {workers} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pool", action="store_true", help="one reader against four")
    parser.add_argument("--pool-of", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--turns", type=int, default=11, help="turns of an epoch each")
    arguments = parser.parse_args()
    if arguments.pool_of:
        torch.set_num_threads(1)
        print(*pool_of(Path(arguments.pool_of[0]), int(arguments.pool_of[1])))
    elif arguments.pool:
        pool(arguments.turns)
    else:
        torch.set_num_threads(1)
        streamed(arguments.turns)
