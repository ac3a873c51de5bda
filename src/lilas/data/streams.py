"""Fields that are larger than memory, read a few steps at a time, and the type that keeps them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lilas.errors import LilasError

# By what part of what varies it may be rounded.
ROUNDED = 0.01
# Bytes of a field that are in memory at once; a state is never cut.
BLOCK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Stream:
    """A field, of which a few states are read at a time.

    Attributes:
        shape: (trajectory, time, *space, *component).
        dtype: Type of the numbers that are read.
        read: Returns states (step, *space, *component) of a trajectory, by its number and their
            steps, an ascending slice.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[int, slice], np.ndarray]

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def blocks(self) -> Iterator[tuple[int, slice, np.ndarray]]:
        """Yields the trajectories in order, each in blocks of steps."""
        state = self.dtype.itemsize * math.prod(self.shape[2:])
        few = max(1, BLOCK_BYTES // max(1, state))
        for trajectory in range(self.shape[0]):
            for first in range(0, self.shape[1], few):
                steps = slice(first, min(first + few, self.shape[1]))
                yield trajectory, steps, self.read(trajectory, steps)


def stream(values: Any) -> Stream:
    """Returns an array as a stream; a stream as it is."""
    if isinstance(values, Stream):
        return values
    array = np.asarray(values)
    return Stream(array.shape, array.dtype, lambda trajectory, steps: array[trajectory, steps])


def field_type(path: str | Path, name: str, values: Stream, order: int) -> type:
    """Returns float32, or float64 where float32 rounds too much of a field.

    That is more than `ROUNDED` of the standard deviation of a component in a trajectory.

    Args:
        path: What errors name.
        name: Of the field.
        values: The field; it is read once.
        order: Number of its axes of components.

    Raises:
        LilasError: a value is not finite in float32.
    """
    exact, lost = np.can_cast(values.dtype, np.float32), False
    spreads: list[_Spread] = []
    for _, steps, states in values.blocks():
        with np.errstate(over="ignore"):
            if not np.isfinite(states.astype(np.float32, copy=False)).all():
                raise LilasError(f"{path}: {name} holds NaN or infinity")
        if exact:
            continue
        space = states.shape[: states.ndim - order]
        components = np.moveaxis(states.reshape(*space, -1), -1, 0)
        if steps.start == 0:
            lost |= any(spread.is_lost() for spread in spreads)
            spreads = [_Spread() for _ in components]
        for spread, component in zip(spreads, components, strict=True):
            spread.add(component.astype(np.float64))
    lost |= any(spread.is_lost() for spread in spreads)
    return np.float64 if lost else np.float32


def is_lost(values: Any, scale: float) -> bool:
    """Returns whether float32 rounds values by more than `ROUNDED` of a scale."""
    exact = np.asarray(values, np.float64)
    return _too_much(_rounding(exact), scale, np.abs(exact).max())


class _Spread:
    """How far values vary, and how far float32 rounds them, block by block."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares, self.largest, self.rounding = 0, 0.0, 0.0, 0.0, 0.0

    def add(self, values: np.ndarray) -> None:
        """Adds a block; means and squares of deviations are merged as Chan et al. (1983) do."""
        mean, count = values.mean(), self.count + values.size
        apart = mean - self.mean
        self.squares += np.square(values - mean).sum()
        self.squares += apart**2 * self.count * values.size / count
        self.mean += apart * values.size / count
        self.count = count
        self.largest = max(self.largest, np.abs(values).max())
        self.rounding = max(self.rounding, _rounding(values))

    def is_lost(self) -> bool:
        scale = np.sqrt(self.squares / self.count)
        return _too_much(self.rounding, scale, self.largest)


def _rounding(exact: np.ndarray) -> float:
    with np.errstate(over="ignore"):
        return np.abs(exact.astype(np.float32) - exact).max()


def _too_much(rounding: float, scale: float, largest: float) -> bool:
    # What varies by no more than float64 rounds is one number.
    return bool(rounding > ROUNDED * (scale if scale > 1e-12 * largest else largest))
