"""Windows from memory: the numbers of the trajectories, the same at the same step."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lilas.data.well_writer import write_well
from lilas.data.windows import Windows, _cut
from lilas.errors import LilasError
from lilas.seeds import derive

CPU = torch.device("cpu")


class Counted:
    """Each number says where it lies: row, time and channel."""

    def __init__(self, rows=7, steps=9, shape=(2, 3)):
        self.rows, self.steps, self.shape = rows, np.broadcast_to(steps, rows), shape
        self.labels = np.arange(rows, dtype=np.float32)[:, None]
        self.reads = 0

    def read(self, row, steps):
        time = np.arange(self.steps[row])[steps].reshape(-1, 1, 1)
        self.reads += len(time)
        channel = np.arange(self.shape[0]).reshape(1, -1, 1)
        return np.broadcast_to(100 * row + 10 * channel + time, (len(time), *self.shape)).astype(
            np.float32
        )

    def origin(self, row):
        return "counted.hdf5", row


def check(x, label, length, stride, batch):
    assert x.shape == (batch, 2, length, 3)
    start = x[:, 0, 0, 0] % 10
    steps = start[:, None] + stride * torch.arange(length)
    expected = 100 * label + steps
    assert torch.equal(x[:, 0, :, 0], expected)
    assert torch.equal(x[:, 1, :, 2], expected + 10)
    assert (steps <= 8).all()


@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(1, 4),
    stride=st.integers(1, 2),
    batch=st.integers(1, 9),
    step=st.integers(0, 500),
    slots=st.integers(1, 7),
)
def test_a_window_is_a_piece_of_its_trajectory(length, stride, batch, step, slots):
    memory = slots * 4 * 9 * 6
    windows = Windows(
        Counted(),
        length=length,
        stride=stride,
        batch_size=batch,
        seed=0,
        device=CPU,
        memory=memory,
    )
    check(*windows.batch(step), length, stride, batch)


@pytest.mark.parametrize("slots", [3, 7])
def test_a_batch_depends_on_the_step_alone(slots):
    """A pool that arrives at a step by another way holds the same trajectories there."""
    make = {"length": 2, "batch_size": 8, "seed": 5, "device": CPU, "memory": slots * 4 * 9 * 6}
    straight, resumed = Windows(Counted(), **make), Windows(Counted(), **make)
    batches = [straight.batch(step) for step in range(40)]
    for step in (23, 24, 39):
        x, label = resumed.batch(step)
        assert torch.equal(x, batches[step][0])
        assert torch.equal(label, batches[step][1])
    other = Windows(Counted(), **(make | {"seed": 6}))
    assert not torch.equal(other.batch(0)[0], batches[0][0])


def names(x, label):
    """Which windows those of a batch are: their trajectory and start."""
    return list(
        zip(label.flatten().int().tolist(), (x[:, 0, 0, 0] % 10).int().tolist(), strict=True)
    )


# Memory for so many trajectories: all of them; blocks of 3 and of 1.
@pytest.mark.parametrize("slots", [7, 6, 2, 1])
@pytest.mark.parametrize("batch", [5, 49, 60, 200])
def test_an_epoch_shows_every_window_once(slots, batch):
    """7 trajectories of 7 starts; batches straddle blocks and epochs."""
    memory = slots * 4 * 9 * 6
    windows = Windows(Counted(), length=3, batch_size=batch, seed=0, device=CPU, memory=memory)
    steps = -(-3 * 49 // batch)
    seen = [name for step in range(steps) for name in names(*windows.batch(step))]
    epochs = [seen[49 * epoch : 49 * (epoch + 1)] for epoch in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == [(row, start) for row in range(7) for start in range(7)]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_the_parts_of_a_batch_are_the_batch(monkeypatch):
    """Where each process has room for the whole split; tests/test_processes.py, where not."""

    def batches():
        windows = Windows(
            Counted(),
            length=2,
            batch_size=20,
            seed=0,
            device=CPU,
            augment=lambda x, label, rows, draws: (x + draws.normal(x), label),
        )
        return [windows.batch(step) for step in (0, 2, 3)]

    whole = batches()
    monkeypatch.setenv("WORLD_SIZE", "4")
    parts = []
    for rank in range(4):
        monkeypatch.setenv("RANK", str(rank))
        parts.append(batches())
    for expected, *found in zip(whole, *parts, strict=True):
        for one, others in zip(expected, zip(*found, strict=True), strict=True):
            assert torch.equal(one, torch.cat(others))


def test_the_order_is_random():
    """Neither the trajectory nor the start follows the place in the epoch."""
    windows = Windows(Counted(steps=109), length=10, batch_size=700, seed=0, device=CPU)
    x, label = windows.batch(0)
    start = x[:, 0, 0, 0] - 100 * label[:, 0]
    for values in (label[:, 0], start):
        for found in (
            stats.pearsonr(values, np.arange(700)),
            stats.pearsonr(values[1:], values[:-1]),
        ):
            assert abs(found.statistic) < 4 / 700**0.5


def test_a_streamed_epoch_reads_each_piece_once_and_holds_what_it_may():
    source = Counted()
    windows = Windows(source, length=2, batch_size=7, seed=0, device=CPU, memory=4 * 4 * 9 * 6)
    # Windows of two steps in pieces of two windows, and so of three steps; five fit each half.
    assert windows.states.shape[:2] == (2, 15)
    assert windows.states.numel() <= 4 * 9 * 6
    for step in range(5 * 8):
        windows.batch(step)
    # Five epochs of four pieces of each trajectory, and the block that is read ahead.
    assert 5 * 7 * 12 <= source.reads <= 5 * 7 * 12 + 15


# Memory for everything; for pieces of several windows; for pieces of one window.
@pytest.mark.parametrize("memory", [1e9, 24 * 18, 1])
@pytest.mark.parametrize("stride", [1, 2])
def test_trajectories_of_differing_steps_show_every_window_once(memory, stride):
    """The twin: every window of every trajectory, cut out by hand."""
    source, span = Counted(rows=6, steps=[9, 5, 7, 7, 9, 6]), 2 * stride + 1
    twin = {
        (row, start): source.read(row, slice(start, start + span, stride)).swapaxes(0, 1)
        for row in range(6)
        for start in range(source.steps[row] - span + 1)
    }
    options = {"length": 3, "stride": stride, "batch_size": 4, "seed": 2, "device": CPU}
    windows = Windows(source, **options, memory=memory)
    assert len(windows.states) == (1 if memory == 1e9 else 2)
    seen = []
    for step in range(-(-2 * len(twin) // 4)):
        x, label = windows.batch(step)
        for window, name in zip(x.numpy(), names(x, label), strict=True):
            np.testing.assert_array_equal(window, twin[name])
            seen.append(name)
    for epoch in range(2):
        assert sorted(seen[len(twin) * epoch : len(twin) * (epoch + 1)]) == sorted(twin)


def test_a_split_in_memory_has_the_order_of_one_shuffle_of_all_windows():
    """By hand: number i of the shuffle is start i % 7 of trajectory i // 7."""
    windows = Windows(Counted(), length=3, batch_size=10, seed=3, device=CPU)
    seen = [name for step in range(10) for name in names(*windows.batch(step))]
    for epoch in range(2):
        order = np.random.default_rng(derive(3, epoch, 1)).permutation(49)
        assert seen[49 * epoch : 49 * (epoch + 1)] == [divmod(i, 7) for i in order.tolist()]


@pytest.mark.parametrize("most", [1, 2, 5, 100])
def test_pieces_hold_every_start_once(most):
    starts = np.array([7, 1, 12, 2])
    row, first, count = _cut(starts, most)
    found = [(r, f + i) for r, f, n in zip(row, first, count, strict=True) for i in range(n)]
    assert found == [(r, i) for r, n in enumerate(starts) for i in range(n)]
    assert count.max() <= most
    assert count.min() >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_is_kept_whatever_the_size_of_a_trajectory(tmp_path):
    """Two trajectories of 64 MB through 16 MB: the most that a process of its own ever had."""
    for name in "ab":
        write_well(
            tmp_path / f"{name}.hdf5",
            dataset="large",
            fields={"u": np.random.default_rng(0).random((1, 256, 256, 256), np.float32)},
            time=np.arange(256),
            coordinates={"x": np.arange(256), "y": np.arange(256)},
            parameters={},
            boundaries={"x": "periodic", "y": "periodic"},
        )
    # What is freed goes back at once, so that what is measured is what is held.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-c", LARGE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    windows, encoded = (int(line) / 1024 for line in done.stdout.split())
    # 16 MB of states and of what is being read, and two batches of 4 MiB.
    assert windows < 16 + 8 + 8
    # 4 MiB are read at once and copied on their way; the latents of two copies are 8 MiB, and
    # as much again is written by threads: 14 to 28 MB as they happen to meet. A trajectory is 64.
    assert encoded < 40


LARGE = '''
import sys
from pathlib import Path
import numpy as np, torch
from lilas.data.about import About
from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels
from lilas.data.transforms import Transform
from lilas.data.well import open_files
from lilas.data.windows import Windows
from lilas.models import latents
from lilas.models.autoencoder import Autoencoder
from lilas.records import stores

torch.set_num_threads(1)
folder, cpu = Path(sys.argv[1]), torch.device("cpu")


def held(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def peak(job):
    """The most that a job has beyond what there was before, in kB."""
    Path("/proc/self/clear_refs").write_text("5")
    before = held("VmRSS")
    job()
    print(held("VmHWM") - before)


files = open_files(sorted(folder.glob("*.hdf5")))
preprocessing = Preprocessing(("u",), (Transform(),), (0.5,), (0.3,))
pixels = Pixels(files, preprocessing, {})
layers = torch.nn.Conv2d(1, 1, 4, stride=4), torch.nn.ConvTranspose2d(1, 1, 4, stride=4)
sizes = {"pixel_channels": 1, "latent_channels": 1, "factor": 4, "spatial": 2}
model = Autoencoder(*layers, **sizes).eval()
augment = {"flip": [], "roll": ["x"], "permute": False, "copies": 2, "seed": 0}
record = {"stage": "latents", "version": 1, "config": {}, "inputs": {"autoencoder": {"sha256": ""}}}
store = folder / "train.zarr"
latents.begin_latents(store, files, model, label_transforms={}, augment=augment,
    about=About.of(files, preprocessing), record=record)
with torch.inference_mode():
    model.encode(torch.from_numpy(pixels.read(0, slice(0, 16))))
latents.READ_BYTES = 2**22


def stream():
    options = {"length": 4, "batch_size": 4, "seed": 0, "device": cpu, "memory": 16e6}
    windows = Windows(pixels, **options)
    for step in range(130):
        windows.batch(step)


def encode():
    latents.encode_files(store, files, [0, 1], model, preprocessing, augment=augment, device=cpu)


peak(stream)
peak(encode)
'''


def test_blocks_mix_other_trajectories_in_every_epoch():
    windows = Windows(Counted(), length=2, batch_size=16, seed=0, device=CPU, memory=4 * 4 * 9 * 6)
    mixed = [frozenset(windows.batch(step)[1].flatten().tolist()) for step in range(0, 140, 7)]
    # 16 windows are a block of two trajectories; the first of an epoch is one.
    assert len(set(mixed)) > 10


def test_resident_trajectories_are_read_once():
    source = Counted()
    windows = Windows(source, length=2, batch_size=3, seed=0, device=CPU)
    for step in range(50):
        windows.batch(step)
    assert source.reads == 7 * 9


def test_a_trajectory_that_cannot_be_read_is_told(monkeypatch):
    source = Counted()
    windows = Windows(source, length=2, batch_size=3, seed=0, device=CPU, memory=4 * 4 * 9 * 6)
    windows.batch(0)

    def broken(row, steps):
        raise LilasError(f"row {row} is damaged")

    monkeypatch.setattr(source, "read", broken)
    with pytest.raises(LilasError, match="is damaged"):
        windows.batch(20)


def test_a_window_longer_than_a_trajectory_is_refused():
    with pytest.raises(LilasError, match=r"spans 11 steps; trajectory 0 of counted\.hdf5 has 9"):
        Windows(Counted(), length=6, stride=2, batch_size=1, seed=0, device=CPU)
