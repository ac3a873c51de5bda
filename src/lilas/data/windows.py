"""Batches of windows for training, read from memory.

Reading one window from a file costs 10 to 80 times as much as gathering it from a tensor that is
already in memory, so trajectories are loaded once: on the device when they fit there, else in
host memory, else piece by piece, so that the whole split streams through. All three give batches
through the same call, and a batch depends on the seed and the step alone, so that a training that
resumes at a step sees the windows it would have seen.

An epoch shows every window of the split exactly once, and the next begins within the same batch.
Where the split is in memory, its windows are shuffled anew for each epoch. Where it streams, its
trajectories are cut into pieces, runs of steps that overlap so that each window lies in one of
them; pieces are shuffled and dealt into blocks, and windows are shuffled within their block. A
batch mixes the pieces of one block, which are of many trajectories, not of the whole split.

Processes that train together see each its own part of the batches that one process would see. Each
holds the whole split where there is memory for as many, else its share of the pieces, and they
send each other the windows of a batch.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lilas import processes
from lilas.draws import Draws
from lilas.errors import LilasError
from lilas.progress import progress
from lilas.seeds import derive

# Of windows, labels, rows and draws: windows and labels.
Augment = Callable[[Tensor, Tensor, np.ndarray, Draws], tuple[Tensor, Tensor]]
# Seed streams: what is drawn for the same number must not be correlated.
_ORDER, _INDEX, _AUGMENT = 0, 1, 2
# Pieces read at once: decompression takes longer than the disk.
READERS = 4
# Pieces that a block mixes at least, where windows are short enough.
MIXED = 32
# What a reader reads at once, at most; of a smaller memory, this share.
READ_BYTES, READ_SHARE = 64 * 2**20, 1 / 64
# Of the memory, what pieces take where they stream: the rest is for what is being read.
HELD = 7 / 8


class Source(Protocol):
    """Trajectories of one split, in pixel or latent space.

    A row is a trajectory, or one augmented copy of it. `steps` are those of each row, (row,).
    """

    rows: int
    steps: np.ndarray
    shape: tuple[int, ...]
    labels: np.ndarray

    def read(self, row: int, steps: slice) -> np.ndarray:
        """Returns steps of a row, float32 (time, channel, *space); called from several threads."""

    def origin(self, row: int) -> tuple[str, int]:
        """Returns the name of the file that a row is of, and its index in the file."""


class Windows:
    """The windows of a split, in a random order, each once per epoch.

    Args:
        source: The split's trajectories.
        length: States in a window.
        stride: Steps between the states of a window.
        batch_size: Windows in a batch.
        seed: Seed of the order.
        device: Where batches are wanted.
        memory: Bytes of states that all processes together hold at most, on the device or the host,
            batches not counted; two windows are held in any case.
        augment: Applied to each batch: (windows, labels, rows, draws) to windows and labels, with
            windows (batch, channel, time, *space), labels (batch, feature), the rows that they are
            of (batch,), and the samples' draws.

    Raises:
        LilasError: a window is longer than a trajectory, or the processes do not divide a batch.
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
        augment: Augment | None = None,
    ) -> None:
        self.source, self.batch_size, self.seed, self.device = source, batch_size, seed, device
        self.offsets = np.arange(length) * stride
        self.span = int(self.offsets[-1]) + 1
        self.augment, self.part = augment, processes.part(batch_size)
        self.labels = torch.from_numpy(source.labels)
        starts = self._starts(length, stride)
        state = 4 * int(np.prod(source.shape))
        whole = source.steps.sum() * state
        # Among how many the pieces of a block are dealt out.
        self.holders = 1 if processes.count() * whole <= memory else processes.count()
        if whole <= memory:
            # Every trajectory is a piece, and all are one block, end to end.
            self.row, self.first, self.count = np.arange(source.rows), 0 * starts, starts
            sizes, held = source.steps, 1
        else:
            # Half the memory for the block in use and half for the next.
            half = int(memory * HELD / 2 // state)
            most = max(half // MIXED, 2 * self.span - 1)
            most = max(min(most, half, int(source.steps.max())), self.span)
            self.row, self.first, self.count = _cut(starts, most - self.span + 1)
            sizes, held = np.full(max(1, half // most), most), 2
        slots = len(sizes)
        self.own = np.flatnonzero(self._holder(np.arange(slots)) == processes.rank() % self.holders)
        sizes = np.where(np.isin(np.arange(slots), self.own), sizes, 0)
        self.places, size = np.cumsum(sizes) - sizes, int(sizes.sum())
        count = -(-len(self.row) // slots)
        self.edges = np.arange(count + 1) * len(self.row) // count
        self.total = int(starts.sum())
        self._at_once = max(1, int(min(READ_BYTES, memory * READ_SHARE) // state))
        where = device if held * size * state <= _free(device) else torch.device("cpu")
        self.states = torch.empty(held, size, *source.shape, device=where)
        self._readers = ThreadPoolExecutor(READERS)
        # Of each half: its block, the reads begun, and whether all are done.
        self._block, self._whole = [-1] * held, [False] * held
        self._reads: list[list[Future[None]]] = [[] for _ in range(held)]

    def _starts(self, length: int, stride: int) -> np.ndarray:
        """Returns how many windows begin in each row."""
        steps = self.source.steps
        if self.span > (least := steps.min()):
            name, index = self.source.origin(int(steps.argmin()))
            raise LilasError(
                f"A window of {length} states, {stride} steps apart, spans {self.span} steps; "
                f"trajectory {index} of {name} has {least}. Shorten the window or the stride."
            )
        return steps - self.span + 1

    def _holder(self, slot: np.ndarray) -> np.ndarray:
        """Returns which process holds the pieces at places of a block, of those that share it."""
        return slot % self.holders

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Returns windows (batch, channel, time, *space) and labels (batch, feature) of a step.

        Of several processes they are this one's part, and all ask for the step together.

        Args:
            step: Index of the batch.
        """
        samples = np.arange(self.batch_size)
        if self.holders == 1:
            samples = samples[self.part]
        epochs, places = divmod(step * self.batch_size + samples, self.total)
        pieces = []
        for epoch in np.unique(epochs).tolist():
            inside = places[epochs == epoch]
            ends = np.cumsum(self.count[self._order(epoch)])
            first = np.concatenate([[0], ends])[self.edges]
            within = np.searchsorted(first, inside, side="right") - 1
            for index in np.unique(within).tolist():
                block = epoch * (len(self.edges) - 1) + index
                pieces.append(self._gather(block, inside[within == index] - first[index]))
        windows, rows, holders = (
            torch.cat(u) if len(u) > 1 else u[0] for u in zip(*pieces, strict=True)
        )
        if self.holders > 1:
            windows = self._exchange(windows, holders.numpy())
            samples, rows = samples[self.part], rows[self.part]
        labels = self.labels[rows].to(self.device)
        if self.augment is not None:
            draws = Draws(derive(self.seed, step, _AUGMENT), samples)
            windows, labels = self.augment(windows, labels, rows.numpy(), draws)
        return windows, labels

    def _exchange(self, windows: Tensor, holders: np.ndarray) -> Tensor:
        """Returns the windows of this process's part of a batch.

        Args:
            windows: Those of the whole batch that this process holds.
            holders: Who holds each of the batch.
        """
        mine = holders == processes.rank()
        sent = mine.reshape(processes.count(), -1).sum(axis=1)
        wanted = holders[self.part]
        received = np.bincount(wanted, minlength=processes.count())
        found = processes.exchange(windows, sent.tolist(), received.tolist())
        # They come holder by holder.
        return found[
            torch.from_numpy(np.argsort(np.argsort(wanted, kind="stable"))).to(self.device)
        ]

    def _order(self, epoch: int) -> np.ndarray:
        """Returns the pieces in the order of an epoch."""
        if len(self._block) == 1:
            return np.arange(len(self.row))
        return _shuffle(len(self.row), derive(self.seed, epoch, _ORDER))

    def _pieces(self, block: int) -> np.ndarray:
        """Returns the pieces of a block, counted over all epochs."""
        epoch, index = divmod(block, len(self.edges) - 1)
        return self._order(epoch)[self.edges[index] : self.edges[index + 1]]

    def _gather(self, block: int, places: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Returns what lies at places of a block's order, and who holds it.

        They are the windows that this process holds, the rows of all, and the holders of all.
        """
        pieces = self._pieces(block)
        ends = np.cumsum(self.count[pieces])
        order = _shuffle(int(ends[-1]), derive(self.seed, block, _INDEX))
        slot = np.searchsorted(ends, order[places], side="right")
        start = order[places] - (ends - self.count[pieces])[slot]
        half = self._read(block, pieces)
        if len(self._block) > 1:
            # The next block is read as fast as this one is used.
            due = int(len(pieces) * places.max() / len(order))
            ahead = due + READERS * self.holders
            self._begin(block + 1, self._pieces(block + 1)[:ahead])
        holders = self._holder(slot)
        held = holders == processes.rank() % self.holders
        index = torch.from_numpy((self.places[slot] + start)[held, None] + self.offsets)
        states = self.states[half]
        windows = states.index_select(0, index.flatten().to(states.device))
        windows = windows.unflatten(0, index.shape).transpose(1, 2).to(self.device)
        return windows, torch.from_numpy(self.row[pieces[slot]]), torch.from_numpy(holders)

    def _read(self, block: int, pieces: np.ndarray) -> int:
        """Brings a whole block into memory; returns the half that holds it."""
        if len(self._block) == 1:
            block = 0
        half = block % len(self._block)
        fresh = self._block[half] != block
        self._begin(block, pieces)
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

    def _begin(self, block: int, pieces: np.ndarray) -> None:
        """Begins to read the first pieces of a block, where that is not done yet."""
        half = block % len(self._block)
        if self._block[half] != block:
            _stop(self._reads[half])
            self._block[half], self._whole[half], self._reads[half] = block, False, []
        reads = self._reads[half]
        for slot in self.own[self.own < len(pieces)][len(reads) :].tolist():
            place, piece = int(self.places[slot]), int(pieces[slot])
            reads.append(self._readers.submit(self._load, half, place, piece))

    def _load(self, half: int, place: int, piece: int) -> None:
        """Reads the states of a piece to their place, a few at a time."""
        row, first = int(self.row[piece]), int(self.first[piece])
        last = first + int(self.count[piece]) + self.span - 1
        for start in range(first, last, self._at_once):
            steps = slice(start, min(start + self._at_once, last))
            states = torch.from_numpy(self.source.read(row, steps))
            self.states[half, place : place + len(states)] = states
            place += len(states)


def _cut(starts: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cuts trajectories into pieces in which at most so many windows begin.

    Args:
        starts: How many windows begin in each row.
        most: How many may begin in a piece.

    Returns:
        Of each piece its row, the step at which its first window begins, and how many begin in it.
    """
    parts = -(-starts // most)
    row = np.repeat(np.arange(len(starts)), parts)
    index = np.arange(len(row)) - np.repeat(np.cumsum(parts) - parts, parts)
    first, end = (i * starts[row] // parts[row] for i in (index, index + 1))
    return row, first, end - first


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
    """Bytes of states that may live on a device: half of what is free on CUDA."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 2
    return float("inf") if device.type == "cpu" else 0.0
