"""Batches of windows for training, read from memory.

Reading one window from a file costs 10 to 80 times as much as gathering it from a tensor that is
already in memory, so trajectories are loaded once: on the device when they fit there, else in
host memory, else as a rotating pool through which the whole split streams. All three give batches
through the same call, and a batch depends on the seed and the step alone, so that a training that
resumes at a step sees the windows it would have seen.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lilas.errors import LilasError
from lilas.progress import progress
from lilas.seeds import derive

# Seed streams: what is drawn for the same step must not be correlated.
_ORDER, _INDEX, _AUGMENT = 0, 1, 2


class Source(Protocol):
    """Trajectories of one split, in pixel or latent space.

    A row is a trajectory, or one augmented copy of it.
    """

    rows: int
    steps: int
    shape: tuple[int, ...]
    labels: np.ndarray

    def read(self, row: int) -> np.ndarray:
        """Returns a trajectory, float32 (time, channel, *space)."""


class Windows:
    """Random windows of a split.

    Args:
        source: The split's trajectories.
        length: States in a window.
        stride: Steps between the states of a window.
        batch_size: Windows in a batch.
        seed: Seed of the draws.
        device: Where batches are wanted.
        memory: Bytes of trajectories to hold at most, on the device or the host.
        augment: Applied to each batch (batch, channel, time, *space) with a generator.

    Raises:
        LilasError: a window is longer than a trajectory.
    """

    def __init__(
        self,
        source: Source,
        *,
        length: int,
        stride: int = 1,
        batch_size: int,
        seed: int,
        device: torch.device,
        memory: float = 64e9,
        augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    ) -> None:
        self.span = (length - 1) * stride + 1
        if self.span > source.steps:
            raise LilasError(
                f"A window of {length} states, {stride} steps apart, spans {self.span} steps; "
                f"the trajectories have {source.steps}. Shorten the window or the stride."
            )
        self.source, self.batch_size, self.seed, self.device = source, batch_size, seed, device
        self.offsets = torch.arange(length) * stride
        self.augment = augment
        size = 4 * source.steps * int(np.prod(source.shape))
        self.slots = max(1, min(source.rows, int(memory // size)))
        where = device if self.slots * size <= _free(device) else torch.device("cpu")
        self.states = torch.empty(self.slots, source.steps, *source.shape, device=where)
        self.labels = torch.from_numpy(source.labels)
        self._held = np.full(self.slots, -1)
        self._first = -1
        self._reader: ThreadPoolExecutor | None = None
        self._ahead: dict[int, Future[np.ndarray]] = {}
        # Over a pool's life each slot is read often enough to pay for its loading.
        self._turnover = 0.0 if self.slots == source.rows else batch_size / source.steps

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Returns the windows (batch, channel, time, *space) and labels (batch, feature)."""
        rows = self._pool(step)
        draw = _generator(self.seed, step, _INDEX)
        slot = torch.randint(self.slots, (self.batch_size,), generator=draw)
        start = torch.randint(self.source.steps - self.span + 1, (self.batch_size,), generator=draw)
        index = slot[:, None] * self.source.steps + start[:, None] + self.offsets
        flat = self.states.flatten(0, 1)
        windows = flat.index_select(0, index.flatten().to(flat.device))
        windows = windows.unflatten(0, index.shape).transpose(1, 2).to(self.device)
        label = self.labels[rows[slot]].to(self.device)
        if self.augment is not None:
            windows = self.augment(windows, _generator(self.seed, step, _AUGMENT))
        return windows, label

    def _pool(self, step: int) -> Tensor:
        """Brings the pool to where it is at `step`; returns the row held by each slot."""
        first = int(step * self._turnover)
        if first != self._first:
            # Of the step before, all but a few trajectories are there already.
            ahead = 0 <= first - self._first < self.slots and self._first >= 0
            places = range(self._first + self.slots if ahead else first, first + self.slots)
            for place in places if ahead else progress(places, desc="reading", leave=False):
                self._load(place)
            self._first = first
            if self._turnover:
                self._prefetch(first + self.slots)
        return torch.from_numpy(self._held)

    def _load(self, place: int) -> None:
        slot, row = place % self.slots, self._row(place)
        if self._held[slot] != row:
            future = self._ahead.pop(row, None)
            states = self.source.read(row) if future is None else future.result()
            self.states[slot] = torch.from_numpy(states)
            self._held[slot] = row

    def _row(self, place: int) -> int:
        """The row at a place of the endless order: one shuffle of the split after another."""
        if not self._turnover:
            return place
        epoch, index = divmod(place, self.source.rows)
        return int(_shuffle(self.source.rows, self.seed, epoch)[index])

    def _prefetch(self, place: int) -> None:
        self._reader = self._reader or ThreadPoolExecutor(1)
        for row in {self._row(place + ahead) for ahead in range(1 + int(self._turnover))}:
            if row not in self._ahead and row not in self._held:
                self._ahead[row] = self._reader.submit(self.source.read, row)


@lru_cache(maxsize=4)
def _shuffle(rows: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng(derive(seed, epoch, _ORDER)).permutation(rows)


def _generator(*keys: int) -> torch.Generator:
    """Returns a CPU generator for the stream named by `keys`."""
    return torch.Generator().manual_seed(derive(*keys))


def _free(device: torch.device) -> float:
    """Bytes of trajectories that may live on a device: half of what is free on CUDA."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 2
    return float("inf") if device.type == "cpu" else 0.0
