"""Symmetries of the flow that augment the training data: flips, rolls, permutations of the axes.

Vector and tensor components move with the axes: a flip changes the sign of the components with an
odd number of flipped axes, a permutation renames them (paper, Table "Data"; the conventions are
those of `the_well.data.augmentation`).

Which of them are symmetries is for the study to say. Rayleigh-Bénard convection is not symmetric
under a flip of the vertical, since buoyancy is not mirrored with it: leave `y` out of `flip`. The
released models were trained with it; name it only to train as they were.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from lilas.data.channels import Channel
from lilas.data.layout import BOUNDARIES
from lilas.data.preprocess import Preprocessing
from lilas.data.well import WellFile
from lilas.draws import Draws
from lilas.errors import LilasError


@dataclass(frozen=True)
class Transformation:
    """One symmetry: the axes are rolled, then flipped, then permuted.

    Attributes:
        flips: Whether each axis is flipped.
        rolls: Grid points by which each axis is rolled forward.
        permutation: The axis of the original that each axis of the result is.
    """

    flips: tuple[bool, ...]
    rolls: tuple[int, ...]
    permutation: tuple[int, ...]

    @classmethod
    def identity(cls, axes: int) -> Self:
        """Returns the transformation of `axes` axes that leaves everything as it is."""
        return cls((False,) * axes, (0,) * axes, tuple(range(axes)))

    def describe(self) -> dict[str, list[Any]]:
        """Returns the transformation as JSON values."""
        return {
            "flips": list(self.flips),
            "rolls": list(self.rolls),
            "permutation": list(self.permutation),
        }


@dataclass(frozen=True)
class Symmetries:
    """The transformations to draw from.

    Attributes:
        shape: Number of grid points along each axis.
        flip: Axes that may be flipped.
        roll: Axes that may be rolled.
        permutations: Permutations of the axes, the identity first.
    """

    shape: tuple[int, ...]
    flip: tuple[int, ...]
    roll: tuple[int, ...]
    permutations: tuple[tuple[int, ...], ...]

    @property
    def count(self) -> int:
        """How many distinct transformations there are."""
        rolls = math.prod(self.shape[axis] for axis in self.roll)
        return 2 ** len(self.flip) * rolls * len(self.permutations)


def symmetries(settings: Mapping[str, Any], file: WellFile) -> Symmetries:
    """Returns the symmetries that settings allow on the trajectories of a file.

    Args:
        settings: `flip` and `roll`, names of axes, and `permute`; other keys are not looked at.
            An axis in `roll` is rolled where the file says that it is periodic: of Euler's two
            datasets, one is periodic and one is open. `permute` exchanges axes of equal size.
        file: The file.

    Raises:
        LilasError: an axis is unknown, there is nothing to permute, or the grid has no symmetry.
    """
    axes = range(len(file.shape))
    for key in ("flip", "roll"):
        for name in settings[key]:
            if name not in file.axes:
                raise LilasError(
                    f"augment.{key}: unknown axis {name!r}; allowed: {', '.join(file.axes)}"
                )
    asked = settings["flip"] or settings["roll"] or settings["permute"]
    if asked and file.grid != "cartesian":
        raise LilasError(
            f"augment: {file.path} has a {file.grid} grid; only states on a cartesian grid "
            "can be augmented. Remove flip, roll and permute."
        )
    orders = [p for p in permutations(axes) if all(file.shape[i] == file.shape[p[i]] for i in p)]
    if settings["permute"] and len(orders) == 1:
        raise LilasError(
            f"augment.permute: no two axes of a {'x'.join(map(str, file.shape))} grid have the "
            "same size. Set it to false."
        )
    periodic = (file.boundaries == BOUNDARIES["periodic"]).all(axis=1)
    return Symmetries(
        shape=tuple(file.shape),
        flip=tuple(i for i in axes if file.axes[i] in settings["flip"]),
        roll=tuple(i for i in axes if file.axes[i] in settings["roll"] and periodic[i]),
        permutations=tuple(orders) if settings["permute"] else (tuple(axes),),
    )


def draw(group: Symmetries, draws: Draws) -> Transformation:
    """Returns the transformation of the one sample of `draws`, uniform among the group's."""
    flips, rolls, order = (values[0].tolist() for values in _draw_batch(group, draws))
    return Transformation(tuple(flips), tuple(rolls), tuple(order))


def draw_distinct(count: int, group: Symmetries, *, seed: int) -> list[Transformation]:
    """Returns `count` transformations, the identity first, no two alike.

    Raises:
        LilasError: the group has fewer.
    """
    if count > group.count:
        raise LilasError(
            f"augment.copies {count}: flip, roll and permute allow {group.count} distinct "
            f"transformations; allowed: at most {group.count}"
        )
    draws = Draws(seed, [0])
    drawn = {Transformation.identity(len(group.shape)): None}
    while len(drawn) < count:
        drawn[draw(group, draws)] = None
    return list(drawn)


def _draw_batch(group: Symmetries, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
    """Returns flips, rolls and permutations of the samples, (sample, axis) each."""
    flips = torch.zeros(len(draws), len(group.shape), dtype=torch.bool)
    rolls = torch.zeros(len(draws), len(group.shape), dtype=torch.long)
    for axis in group.flip:
        flips[:, axis] = draws.below(2).bool()
    for axis in group.roll:
        rolls[:, axis] = draws.below(group.shape[axis])
    chosen = draws.below(len(group.permutations))
    return flips, rolls, torch.tensor(group.permutations)[chosen]


class Augmentation:
    """Random symmetries of the training batches, drawn anew for each sample.

    Each sample is rolled only along the axes that are periodic in its own file. The boundary codes
    at the end of its label go with its axes.

    Args:
        settings: As of `symmetries`.
        files: The files of the split, whose trajectories are the rows, in order.
        preprocessing: Of the states in the batches.

    Raises:
        LilasError: as `symmetries`, or an axis in `roll` is periodic in none of the files.
    """

    def __init__(
        self, settings: Mapping[str, Any], files: Sequence[WellFile], preprocessing: Preprocessing
    ) -> None:
        groups = [symmetries(settings, file) for file in files]
        rolled = tuple(sorted({axis for group in groups for axis in group.roll}))
        for axis, name in enumerate(files[0].axes):
            if name in settings["roll"] and axis not in rolled:
                raise LilasError(
                    f"augment.roll: axis {name!r} is not periodic in {files[0].path}, nor in the "
                    "other files. Remove it."
                )
        # What any of them allows is drawn for all, so that a sample draws the same in any company.
        self.group = replace(groups[0], roll=rolled)
        rolls = [[axis in group.roll for axis in range(len(group.shape))] for group in groups]
        counts = [file.trajectories for file in files]
        self.rolls = torch.tensor(rolls).repeat_interleave(torch.tensor(counts), dim=0)
        self.channels, self.preprocessing = files[0].channels, preprocessing

    def __call__(
        self, x: Tensor, labels: Tensor, rows: np.ndarray, draws: Draws
    ) -> tuple[Tensor, Tensor]:
        """Returns windows (batch, channel, [time,] *space) and labels, each transformed.

        Args:
            x: Preprocessed windows.
            labels: Their labels (batch, feature), boundary codes last; or without any feature.
            rows: The trajectories that they are of (batch,).
            draws: Random numbers of the samples.
        """
        if self.group.count == 1:
            return x, labels
        flips, rolls, orders = _draw_batch(self.group, draws)
        rolls = rolls * self.rolls[rows]
        moved = apply_batch(x, flips, rolls, orders, self.channels, self.preprocessing)
        return moved, move_codes(labels, flips, orders)


def move_codes(labels: Tensor, flips: Tensor, permutations: Tensor) -> Tensor:
    """Returns labels (batch, feature) whose last features, the boundary codes, go with the axes.

    Args:
        labels: Features, then the codes of the first and last end of each axis in turn.
        flips: Whether each axis is flipped, bool (batch, axis).
        permutations: Axis of the original that each axis of the result is, (batch, axis).
    """
    axes = flips.shape[1]
    moved = labels.clone()
    codes = moved[:, -2 * axes :].unflatten(1, (axes, 2))
    flipped = torch.where(flips[..., None].to(codes.device), codes.flip(-1), codes)
    order = permutations[..., None].expand(-1, -1, 2).to(codes.device)
    moved[:, -2 * axes :] = flipped.gather(1, order).flatten(1)
    return moved


def apply(
    x: Tensor,
    transformation: Transformation,
    channels: Sequence[Channel],
    preprocessing: Preprocessing | None,
) -> Tensor:
    """Returns states (…, channel, *space), all transformed alike.

    Args:
        x: States, in physical units or preprocessed.
        transformation: The symmetry.
        channels: The channels of `x`.
        preprocessing: That of `x`; None for physical units. Where a component has mean m and std
            s, -(v - m)/s is not the preprocessed -v: signs and swaps act on v itself.

    Raises:
        LilasError: as `apply_batch`.
    """
    axes = len(transformation.flips)
    states = x.reshape(-1, *x.shape[x.ndim - axes - 1 :]).transpose(0, 1)[None]
    one = (transformation.flips, transformation.rolls, transformation.permutation)
    moved = apply_batch(states, *(torch.tensor([part]) for part in one), channels, preprocessing)
    return moved[0].transpose(0, 1).reshape(*x.shape[: x.ndim - axes], *moved.shape[3:])


def apply_batch(
    x: Tensor,
    flips: Tensor,
    rolls: Tensor,
    permutations: Tensor,
    channels: Sequence[Channel],
    preprocessing: Preprocessing | None,
) -> Tensor:
    """Returns samples (batch, channel, [time,] *space), each transformed by its own symmetry.

    Args:
        x: Samples, in physical units or preprocessed.
        flips: Whether each axis is flipped, bool (batch, axis).
        rolls: Grid points by which each axis is rolled, (batch, axis).
        permutations: Axis of the original that each axis of the result is, (batch, axis).
        channels: The channels of `x`.
        preprocessing: That of `x`; None for physical units.

    Raises:
        LilasError: permuted axes differ in size, a component of a permuted vector is missing, or
            the transforms of its components do not allow it.
    """
    shape = torch.tensor(x.shape[x.ndim - flips.shape[1] :])
    if not (shape[permutations] == shape).all():
        raise LilasError(
            "augment: axes of different sizes cannot be exchanged, on a grid of "
            f"{tuple(shape.tolist())}"
        )
    origin, factor, shift = _mixing(flips, permutations, channels, preprocessing)
    moved = torch.empty_like(x, memory_format=torch.contiguous_format)
    how = zip(flips.tolist(), rolls.tolist(), permutations.tolist(), strict=True)
    for sample, to, source, one in zip(x, moved, origin.tolist(), how, strict=True):
        in_order = source == list(range(len(channels)))
        _move(sample if in_order else sample[source], to, Transformation(*map(tuple, one)))
    # Only components of vectors and tensors change, in place.
    changed = ((factor != 1) | (shift != 0)).any(0).nonzero().flatten().tolist()
    factor, shift = (
        part.to(moved).view(*part.shape, *[1] * (moved.ndim - 2)) for part in (factor, shift)
    )
    for i in changed:
        moved[:, i].mul_(factor[:, i]).add_(shift[:, i])
    return moved


def _move(x: Tensor, to: Tensor, transformation: Transformation) -> None:
    """Writes `x` to `to`, its last axes rolled, flipped and permuted; in blocks, not by points."""
    axes, first = range(len(transformation.flips)), x.ndim - len(transformation.flips)
    # Rolled forward and then flipped is flipped and then rolled backward.
    if flipped := [axis for axis in axes if transformation.flips[axis]]:
        x = x.flip([first + axis for axis in flipped])
    blocks = []
    for axis, size in enumerate(x.shape[first:]):
        roll = transformation.rolls[axis]
        roll = (-roll if axis in flipped else roll) % size
        body = slice(roll, size), slice(0, size - roll)
        wrapped = slice(0, roll), slice(size - roll, size)
        blocks.append((body, wrapped) if roll else (body,))
    # Where each axis of the original went.
    to = to.permute(*range(first), *(first + transformation.permutation.index(i) for i in axes))
    for block in product(*blocks):
        there, here = zip(*block, strict=True)
        to[(..., *there)] = x[(..., *here)]


def _mixing(
    flips: Tensor,
    permutations: Tensor,
    channels: Sequence[Channel],
    preprocessing: Preprocessing | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns how channels mix, c ← factor · x[origin] + shift, (batch, channel) each."""
    place = {(channel.field, channel.axes): i for i, channel in enumerate(channels)}
    count = len(channels)
    mean = torch.tensor(preprocessing.mean if preprocessing else [0.0] * count, dtype=torch.double)
    std = torch.tensor(preprocessing.std if preprocessing else [1.0] * count, dtype=torch.double)
    cases, inverse = torch.unique(
        torch.cat([flips.long(), permutations], 1), dim=0, return_inverse=True
    )
    axes = flips.shape[1]
    origin = torch.empty(len(cases), count, dtype=torch.long)
    sign = torch.ones(len(cases), count, dtype=torch.double)
    for case, row in enumerate(cases.tolist()):
        flipped, order = row[:axes], row[axes:]
        for i, channel in enumerate(channels):
            source = tuple(order[axis] for axis in channel.axes)
            mirrored = 1
            if (channel.field, source) not in place and channel.symmetry:
                source, mirrored = source[::-1], channel.symmetry
            if (channel.field, source) not in place:
                raise LilasError(
                    f"augment: {channel.name} would become a component of {channel.field} that is "
                    "not among the channels. Use the whole field, or set permute to false."
                )
            origin[case, i] = place[channel.field, source]
            sign[case, i] = mirrored * (1 - 2 * (sum(flipped[axis] for axis in source) % 2))
            if preprocessing is not None:
                _check_transforms(
                    channel, i, int(origin[case, i]), sign[case, i] < 0, preprocessing
                )
    factor = sign * std[origin] / std
    shift = (sign * mean[origin] - mean) / std
    return origin[inverse], factor[inverse], shift[inverse]


def _check_transforms(
    channel: Channel, to: int, source: int, negated: bool, preprocessing: Preprocessing
) -> None:
    """Refuses a component that its transform does not let be another's, or change its sign."""
    transforms = preprocessing.transforms
    if transforms[to] == transforms[source] and (transforms[to].is_odd or not negated):
        return
    raise LilasError(
        f"augment: {channel.name} is a component that {transforms[to]} is taken of, and "
        f"{transforms[source]} of what would take its place; a component with a logarithm has one "
        "sign. It can be rolled, but not so flipped or permuted: change its transform."
    )
