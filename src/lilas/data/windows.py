"""Batches of windows for training, read from memory.

Reading one window from a file costs 10 to 80 times as much as gathering it from a tensor that is
already in memory, so trajectories are loaded once: on the device when they fit there, else in
host memory, else block by block, so that the whole split streams through. All three give batches
through the same call, and a batch depends on the seed and the step alone, so that a training that
resumes at a step sees the windows it would have seen.

An epoch shows every window of the split exactly once, and the next begins within the same batch.
Where the split is in memory, its windows are shuffled anew for each epoch. Where it streams, its
trajectories are, and dealt into blocks; windows are shuffled within their block, so that a batch
mixes the trajectories of one block, not of the whole split.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lilas.draws import Draws
from lilas.errors import LilasError
from lilas.progress import progress
from lilas.seeds import derive

# Seed streams: what is drawn for the same number must not be correlated.
_ORDER, _INDEX, _AUGMENT = 0, 1, 2
# Trajectories read at once: decompression takes longer than the disk.
READERS = 4


class Source(Protocol):
    """Trajectories of one split, in pixel or latent space.

    A row is a trajectory, or one augmented copy of it.
    """

    rows: int
    steps: int
    shape: tuple[int, ...]
    labels: np.ndarray

    def read(self, row: int) -> np.ndarray:
        """Returns a trajectory, float32 (time, channel, *space); called from several threads."""


class Windows:
    """The windows of a split, in a random order, each once per epoch.

    Args:
        source: The split's trajectories.
        length: States in a window.
        stride: Steps between the states of a window.
        batch_size: Windows in a batch.
        seed: Seed of the order.
        device: Where batches are wanted.
        memory: Bytes of trajectories to hold at most, on the device or the host; two trajectories
            are held in any case.
        augment: Applied to each batch (batch, channel, time, *space) with the samples' draws.

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
        augment: Callable[[Tensor, Draws], Tensor] | None = None,
    ) -> None:
        span = (length - 1) * stride + 1
        if span > source.steps:
            raise LilasError(
                f"A window of {length} states, {stride} steps apart, spans {span} steps; "
                f"the trajectories have {source.steps}. Shorten the window or the stride."
            )
        self.source, self.batch_size, self.seed, self.device = source, batch_size, seed, device
        self.offsets = np.arange(length) * stride
        self.starts = source.steps - span + 1
        self.augment = augment
        self.labels = torch.from_numpy(source.labels)
        size = 4 * source.steps * int(np.prod(source.shape))
        slots = int(memory // size)
        # The whole split, or half the memory for the block in use and half for the next.
        count = 1 if slots >= source.rows else -(-source.rows // max(1, slots // 2))
        self.edges = np.arange(count + 1) * source.rows // count
        held, most = min(count, 2), int(np.diff(self.edges).max())
        where = device if held * most * size <= _free(device) else torch.device("cpu")
        self.states = torch.empty(held, most, source.steps, *source.shape, device=where)
        self._readers = ThreadPoolExecutor(READERS)
        # Of each half: its block, the reads begun, and whether all are done.
        self._block, self._whole = [-1] * held, [False] * held
        self._reads: list[list[Future[None]]] = [[] for _ in range(held)]

    def batch(self, step: int, part: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Returns windows (batch, channel, time, *space) and labels (batch, feature) of a step.

        Args:
            step: Index of the batch.
            part: Samples of the batch that are wanted.
        """
        samples = np.arange(self.batch_size)[part]
        epoch, place = divmod(step * self.batch_size + samples, self.source.rows * self.starts)
        first = self.edges * self.starts
        within = np.searchsorted(first, place, side="right") - 1
        blocks = epoch * (len(first) - 1) + within
        pieces = [
            self._gather(block, (place - first[within])[blocks == block])
            for block in np.unique(blocks).tolist()
        ]
        windows, labels = (torch.cat(u) if len(u) > 1 else u[0] for u in zip(*pieces, strict=True))
        if self.augment is not None:
            draws = Draws(derive(self.seed, step, _AUGMENT), samples)
            windows = self.augment(windows, draws)
        return windows, labels

    def _gather(self, block: int, places: np.ndarray) -> tuple[Tensor, Tensor]:
        """Returns the windows at places of a block's order, and their labels."""
        rows = self._rows(block)
        order = _shuffle(len(rows) * self.starts, derive(self.seed, block, _INDEX))
        slot, start = divmod(order[places], self.starts)
        half = self._read(block)
        if len(self._block) > 1:
            # The next block is read as fast as this one is used.
            due = int(len(rows) * places.max() / len(order))
            self._begin(block + 1, due + READERS)
        index = torch.from_numpy((slot * self.source.steps + start)[:, None] + self.offsets)
        flat = self.states[half].flatten(0, 1)
        windows = flat.index_select(0, index.flatten().to(flat.device))
        windows = windows.unflatten(0, index.shape).transpose(1, 2).to(self.device)
        return windows, self.labels[rows[slot]].to(self.device)

    def _rows(self, block: int) -> np.ndarray:
        """Returns the trajectories of a block, counted over all epochs."""
        count = len(self.edges) - 1
        if count == 1:
            return np.arange(self.source.rows)
        epoch, index = divmod(block, count)
        order = _shuffle(self.source.rows, derive(self.seed, epoch, _ORDER))
        return order[self.edges[index] : self.edges[index + 1]]

    def _read(self, block: int) -> int:
        """Brings a whole block into memory; returns the half that holds it."""
        if len(self._block) == 1:
            block = 0
        half = block % len(self._block)
        fresh = self._block[half] != block
        self._begin(block, len(self._rows(block)))
        if not self._whole[half]:
            reads = self._reads[half]
            try:
                for read in progress(reads, desc="reading", leave=False) if fresh else reads:
                    read.result()
            except BaseException:
                _stop(reads)
                raise
            self._whole[half] = True
        return half

    def _begin(self, block: int, count: int) -> None:
        """Begins to read the first trajectories of a block, where that is not done yet."""
        half = block % len(self._block)
        if self._block[half] != block:
            _stop(self._reads[half])
            self._block[half], self._whole[half], self._reads[half] = block, False, []
        reads = self._reads[half]
        for slot, row in list(enumerate(self._rows(block).tolist()))[len(reads) : count]:
            reads.append(self._readers.submit(self._load, half, slot, row))

    def _load(self, half: int, slot: int, row: int) -> None:
        self.states[half, slot] = torch.from_numpy(self.source.read(row))


def _stop(reads: list[Future[None]]) -> None:
    """Cancels reads, and waits for those under way."""
    for read in reads:
        read.cancel()
    for read in reads:
        read.cancelled() or read.exception()


@lru_cache(maxsize=8)
def _shuffle(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(count)


def _free(device: torch.device) -> float:
    """Bytes of trajectories that may live on a device: half of what is free on CUDA."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 2
    return float("inf") if device.type == "cpu" else 0.0
