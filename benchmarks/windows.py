"""Windows per second: gathered from memory, against a reader per window of HDF5 and of Zarr.

Run `python benchmarks/windows.py`. All three read the same latents (the paper's Rayleigh-Bénard
shape at compression 256: 16 channels on 16 x 4 points) in one process, in turn, and the ratios
are of that run. `benchmarks/frames.py` reads what is larger than memory.
"""

import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import torch
import zarr

from lilas.data.windows import Windows

ROWS, STEPS, SHAPE, LENGTH, BATCH = 64, 200, (16, 16, 4), 5, 256


class Resident:
    rows, steps, shape = ROWS, np.full(ROWS, STEPS), SHAPE
    labels = np.zeros((ROWS, 6), np.float32)

    def __init__(self, states: np.ndarray) -> None:
        self.states = states

    def read(self, row: int, steps: slice) -> np.ndarray:
        return self.states[row, steps]

    def origin(self, row: int) -> tuple[str, int]:
        return "memory", row


def per_second(read, count: int, repeats: int = 5) -> float:
    """Returns windows per second: the median over repeats of `count` calls of a batch."""
    rates = []
    for _ in range(repeats):
        began = time.perf_counter()
        for step in range(count):
            read(step)
        rates.append(count * BATCH / (time.perf_counter() - began))
    return float(np.median(rates))


def main() -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(ROWS, STEPS, *SHAPE)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        with h5py.File(path / "cache.h5", "w") as file:
            file["state"] = states
        shape, chunk = states.shape, (1, *states.shape[1:])
        store = zarr.create_array(path / "cache.zarr", shape=shape, chunks=chunk, dtype="float32")
        store[:] = states
        cached = zarr.open_array(path / "cache.zarr", mode="r")
        windows = Windows(
            Resident(states), length=LENGTH, batch_size=BATCH, seed=0, device=torch.device("cpu")
        )
        windows.batch(0)

        def one_by_one(read, step: int) -> torch.Tensor:
            draw = np.random.default_rng(step)
            rows = draw.integers(ROWS, size=BATCH)
            starts = draw.integers(STEPS - LENGTH + 1, size=BATCH)
            return torch.from_numpy(
                np.stack([read(r, s) for r, s in zip(rows, starts, strict=True)])
            )

        def from_hdf5(row: int, start: int) -> np.ndarray:
            # As the_well's dataset does, the file is opened for each window.
            with h5py.File(path / "cache.h5") as file:
                return file["state"][row, start : start + LENGTH]

        def from_zarr(row: int, start: int) -> np.ndarray:
            return cached[row, start : start + LENGTH]

        with h5py.File(path / "cache.h5") as file:
            kept = file["state"]
            rates = {
                "gathered from memory": per_second(windows.batch, 50),
                "HDF5, opened for each window": per_second(
                    lambda step: one_by_one(from_hdf5, step), 3
                ),
                "HDF5, kept open": per_second(
                    lambda step: one_by_one(lambda r, s: kept[r, s : s + LENGTH], step), 10
                ),
                "Zarr, kept open": per_second(lambda step: one_by_one(from_zarr, step), 1),
            }
    fastest = rates["gathered from memory"]
    for name, rate in rates.items():
        print(f"{name:<29} {rate:>10.0f} windows/s   memory is {fastest / rate:6.1f} x")


if __name__ == "__main__":
    main()
