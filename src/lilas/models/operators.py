"""What is observed of states: linear maps of theirs, and how their numbers lie on the grid."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lilas.data.masks import read_mask


class Operator(ABC):
    """A linear map of states, of each channel alike."""

    @abstractmethod
    def observe(self, states: Tensor) -> Tensor:
        """Returns what is observed of states (state, channel, *space): (state, channel, number)."""

    @abstractmethod
    def paint(self, numbers: Tensor) -> Tensor:
        """Returns observed numbers on the grid (state, channel, *space), NaN where there is none.

        A block has the number that is observed of it at all of its points.
        """


class Blocks(Operator):
    """A number of each block of the grid.

    Args:
        size: Grid points along each axis.
        factor: Those of a block.
        averaged: Whether it is the block's mean, or the point in its middle.
    """

    def __init__(self, size: Sequence[int], factor: int, averaged: bool) -> None:
        self.blocks = [points // factor for points in size]
        self.factor, self.averaged = factor, averaged

    def observe(self, states: Tensor) -> Tensor:
        for axis in range(2, 2 + len(self.blocks)):
            parts = states.unflatten(axis, (-1, self.factor))
            middle = self.factor // 2
            states = parts.mean(axis + 1) if self.averaged else parts.select(axis + 1, middle)
        return states.flatten(2)

    def paint(self, numbers: Tensor) -> Tensor:
        painted = numbers.unflatten(2, self.blocks)
        for axis in range(2, painted.ndim):
            painted = painted.repeat_interleave(self.factor, axis)
        return painted


class Mask(Operator):
    """The points where a mask (*space) is true, in its order."""

    def __init__(self, mask: Tensor) -> None:
        self.size, self.points = mask.shape, mask.flatten().nonzero()[:, 0]

    def observe(self, states: Tensor) -> Tensor:
        return states.flatten(2).index_select(2, self.points.to(states.device))

    def paint(self, numbers: Tensor) -> Tensor:
        size = (*numbers.shape[:2], self.size.numel())
        painted = numbers.new_full(size, float("nan"))
        painted[:, :, self.points.to(numbers.device)] = numbers
        return painted.unflatten(2, self.size)


def make_operator(settings: Any, axes: Sequence[str], size: Sequence[int]) -> Operator:
    """Returns the operator of some settings on a grid.

    Args:
        settings: Of `lilas.study.operators`.
        axes: Names of the space axes.
        size: Grid points along each.

    Raises:
        LilasError: as `read_mask`.
    """
    if settings.kind in ("subsample", "downscale"):
        return Blocks(size, settings.factor, settings.kind == "downscale")
    if settings.kind == "custom":
        return Mask(torch.from_numpy(read_mask(settings.path, size)))
    places = torch.meshgrid([torch.arange(points) for points in size], indexing="ij")
    if settings.kind == "stripe":
        return Mask(places[list(axes).index(settings.axis)] % settings.spacing < settings.width)
    width = settings.width
    ends = [(p < width) | (p >= n - width) for p, n in zip(places, size, strict=True)]
    return Mask(torch.stack(ends).any(0))
