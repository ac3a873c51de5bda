"""Statistics of a split that need not fit in memory: one pass over its files, block by block."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import dask
import h5py
import numpy as np
from dask.delayed import Delayed

from lilas.data.hdf5 import open_hdf5
from lilas.data.repeats import Steps, find_repeats, fingerprints, tell_repeats
from lilas.data.states import precision
from lilas.data.transforms import Transform
from lilas.data.well import WellFile
from lilas.errors import LilasError, broken
from lilas.progress import progress

BLOCK_BYTES = 8 * 2**20
# Bytes that a thread holds, at most: a block, and in float64 what is made of it.
THREAD_BYTES = 6 * BLOCK_BYTES

# What a block is reduced to, along the last axis of a reduced array.
_COUNT, _MEAN, _SQUARES, _MIN, _MAX, _NON_FINITE, _UNDEFINED = range(7)

# Of a field, by the component's place: what is taken of it.
_Components = dict[tuple[int, ...], Transform]


def compute_statistics(
    files: Sequence[WellFile],
    transforms: Mapping[str, Mapping[str, Any]],
    elsewhere: Callable[..., Iterator[Any]] | None = None,
) -> dict[str, Any]:
    """Returns mean, standard deviation, extremes and count of each transformed channel.

    With y = f(x), a transform (`lilas.data.transforms`), over all trajectories, steps and points i:
    mean = Σ y_i / n and std² = Σ (y_i - mean)² / n, in float64. Every file is read once, in blocks
    of at most `BLOCK_BYTES`, one per thread at a time; blocks are merged in file order (Chan et
    al. 1982), so the result depends neither on the threads nor, to rounding, on the blocks. A
    field stored once for axes along which it does not vary counts as often as it stands for.

    States that repeat the one before are warned of, in a line for each file and one for all, and
    fields that stand still from some step to the end, in a line for each.

    Args:
        files: The files of the split, with the same channels.
        transforms: By field or component, such as `{"kind": "log", "offset": number}`; a
            component's own comes before its field's, and what is not named has none.
        elsewhere: What has a function of a path computed by other processes, for each file and in
            order, as `lilas.records.workers.in_order`; None computes here, in threads.

    Returns:
        JSON values: `{"channels": {name: {"transform", "mean", "std", "min", "max", "count"}}}` in
        channel order; all but count and transform in the unit of y.

    Raises:
        LilasError: a file is damaged, a value is not finite, a logarithm is undefined, a channel
            is constant or varies by no more than rounding, or `transforms` names another field.
    """
    channels = files[0].channels
    known = dict.fromkeys(name for c in channels for name in (c.field, c.name))
    if unknown := [name for name in transforms if name not in known]:
        raise LilasError(
            f"statistics: transform names {unknown[0]!r}; the fields are {', '.join(known)}"
        )
    chosen = {
        c.name: dict(transforms.get(c.name, transforms.get(c.field, {"kind": "none"})))
        for c in channels
    }
    functions = {
        name: Transform.read(each, f"statistics: channel {name!r}") for name, each in chosen.items()
    }
    # Of each field, by the component's place: which are channels, and what is taken of them.
    fields: dict[tuple[str, int], _Components] = {}
    for c in channels:
        fields.setdefault((c.field, c.order), {})[c.axes] = functions[c.name]
    # Of each channel's files: (block, quantity).
    parts: dict[str, list[np.ndarray]] = {channel.name: [] for channel in channels}
    types: dict[str, list[np.dtype]] = {channel.field: [] for channel in channels}
    repeats = []
    for file in files:
        for name, _ in fields:
            types[name].append(np.dtype(file.fields[name].dtype))
        for channel in channels:
            _check_number(channel.name, functions[channel.name], types[channel.field])
    if elsewhere is None:
        found = map(partial(_reduced, fields, scheduler="threads"), (file.path for file in files))
    else:
        paths = [file.path.absolute() for file in files]
        found = elsewhere(partial(_reduced, fields), paths, needed=THREAD_BYTES)
    found = progress(found, total=len(files), desc="statistics", unit="file")
    for file, reduced in zip(files, found, strict=True):
        for channel in channels:
            place = list(fields[channel.field, channel.order]).index(channel.axes)
            part = np.stack([block.moments[place] for block in reduced[channel.field]])
            _check(file, channel.name, functions[channel.name], part)
            stands_for = file.trajectories * file.steps * math.prod(file.shape)
            part[:, [_COUNT, _SQUARES]] *= stands_for / part[:, _COUNT].sum()
            parts[channel.name].append(part)
        steps = _steps(file, reduced)
        for text in tell_repeats(steps):
            warnings.warn(f"{file.path}: {text}", stacklevel=2)
        repeats.append(sum(map(len, find_repeats(steps).values())))
    if np.count_nonzero(repeats) > 1:
        count = f"{sum(repeats)} states of {np.count_nonzero(repeats)} files"
        warnings.warn(f"statistics: {count} repeat the one before", stacklevel=2)
    result = {}
    for channel in channels:
        name = channel.name
        merged = _merged(name, functions[name], np.concatenate(parts[name]))
        _check_rounding(name, functions[name], merged, types[channel.field])
        result[name] = {"transform": chosen[name]} | merged
    return {"channels": result}


class _Block(NamedTuple):
    """What a block is reduced to.

    Attributes:
        moments: (component, quantity).
        first: Its first trajectory and step.
        steps: `fingerprints` of its part of each state (trajectory, time).
    """

    moments: np.ndarray
    first: tuple[int, int]
    steps: np.ndarray


def _reduced(
    fields: Mapping[tuple[str, int], _Components], path: Path, scheduler: str = "synchronous"
) -> dict[str, list[_Block]]:
    """Returns what the fields of a file are reduced to, a `_Block` each, in the file's order."""
    with open_hdf5(path) as opened:
        lazy = {
            name: _lazy(opened[f"t{order}_fields/{name}"], own)
            for (name, order), own in fields.items()
        }
        (reduced,) = dask.compute(lazy, scheduler=scheduler)
    return reduced


def _lazy(dataset: h5py.Dataset, components: _Components) -> list[Delayed]:
    """Returns what a dataset's components will be reduced to, a `_Block` each."""
    shape = _block_shape(dataset.shape, dataset.dtype.itemsize)
    read = dask.delayed(partial(_read, dataset, shape, components), pure=False)
    starts = (range(0, size, step) for size, step in zip(dataset.shape, shape, strict=True))
    return [read(start) for start in product(*starts)]


def _read(
    dataset: h5py.Dataset, shape: tuple[int, ...], components: _Components, start: tuple[int, ...]
) -> _Block:
    x = dataset[tuple(slice(i, i + size) for i, size in zip(start, shape, strict=True))]
    leading = 1 + bool(dataset.attrs["sample_varying"])
    frames = fingerprints(_chosen(x, components), math.prod(x.shape[:leading]))
    return _Block(
        _moments(x, components),
        (0, *start)[leading - 1 : leading + 1],
        frames.reshape(-1, x.shape[leading - 1]),
    )


def _chosen(x: np.ndarray, components: _Components) -> np.ndarray:
    """Returns the components of a block, (…, component) where they are of a vector or a tensor."""
    order = len(next(iter(components)))
    if not order:
        return x
    space, whole = x.shape[: x.ndim - order], x.shape[x.ndim - order :]
    flat = [np.ravel_multi_index(place, whole) for place in components]
    x = x.reshape(*space, -1)
    return x if flat == list(range(x.shape[-1])) else x[..., flat]


def _steps(file: WellFile, reduced: Mapping[str, Sequence[_Block]]) -> Steps:
    """Returns the fingerprints of a file's states, of which blocks hold parts."""
    found: dict[str, np.ndarray] = {}
    for name, blocks in reduced.items():
        trajectories = max(block.first[0] + len(block.steps) for block in blocks)
        found[name] = np.zeros((trajectories, file.steps), np.uint64)
        for block in blocks:
            (row, step), (rows, steps) = block.first, block.steps.shape
            part = found[name][row : row + rows, step : step + steps]
            # Any odd number: parts of a state in another order are another state.
            part *= np.uint64(0x9E3779B97F4A7C15)
            part += block.steps
    return {
        # What does not vary between trajectories is there once.
        row: {name: steps[row % len(steps)] for name, steps in found.items()}
        for row in range(file.trajectories)
    }


def _block_shape(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Returns the largest block that is contiguous on disk and within `BLOCK_BYTES`."""
    budget, block = BLOCK_BYTES // itemsize, []
    for size in reversed(shape):
        block.insert(0, max(1, min(size, budget)))
        budget //= block[0]
    return tuple(block)


def _moments(x: np.ndarray, components: _Components) -> np.ndarray:
    """Returns the quantities of a block, (component, quantity)."""
    order = len(next(iter(components)))
    axes = tuple(range(x.ndim - order))
    y = _chosen(x.astype(np.float64), components)
    quantities = np.zeros((*y.shape[len(axes) :], 7))
    quantities[..., _COUNT] = math.prod(x.shape[: len(axes)])
    quantities[..., _NON_FINITE] = (~np.isfinite(y)).sum(axes)
    parts = list(np.moveaxis(y, -1, 0)) if order else [y]
    rows = quantities.reshape(len(components), 7)
    for row, part, transform in zip(rows, parts, components.values(), strict=True):
        if transform.kind == "log":
            row[_UNDEFINED] = (part + transform.number <= 0).sum()
    if not rows[:, [_NON_FINITE, _UNDEFINED]].any():
        for part, transform in zip(parts, components.values(), strict=True):
            transform.forward_(part)
        quantities[..., _MIN], quantities[..., _MAX] = y.min(axes), y.max(axes)
        quantities[..., _MEAN] = mean = y.mean(axes)
        y -= mean
        with np.errstate(over="ignore"):
            # What overflows is refused when all blocks are merged.
            quantities[..., _SQUARES] = np.square(y, out=y).sum(axes)
    return rows


def _check(file: WellFile, name: str, transform: Transform, part: np.ndarray) -> None:
    count, non_finite, undefined = part[:, [_COUNT, _NON_FINITE, _UNDEFINED]].sum(0)
    if non_finite:
        raise broken(
            file.path,
            f"finite values in channel {name!r}",
            f"{non_finite:.0f} of {count:.0f} that are NaN or infinite",
            "Make or download the file again, or leave the field out of states.fields.",
        )
    if undefined:
        raise broken(
            file.path,
            f"values above {-transform.number:g} in channel {name!r}, for {transform}",
            f"{undefined:.0f} of {count:.0f} at or below it",
            "Remove its transform, or choose a larger offset.",
        )


def _check_number(name: str, transform: Transform, types: Sequence[np.dtype]) -> None:
    """Refuses a transform whose number is none in the precision that states are transformed in."""
    limits = np.finfo(precision(types))
    low, high = float(limits.tiny), float(limits.max)
    if transform.number and not low <= transform.number <= high:
        raise LilasError(
            f"statistics: channel {name!r}, {transform}: a number beyond {precision(types)}, in "
            f"which states are transformed. Choose one from {low:.2g} to {high:.2g}."
        )


def _merged(name: str, transform: Transform, blocks: np.ndarray) -> dict[str, float | int]:
    """Returns the statistics of blocks (block, quantity) taken together."""
    low, high = blocks[:, _MIN].min(), blocks[:, _MAX].max()
    if low == high and transform.kind != "none":
        raise LilasError(
            f"statistics: channel {name!r}, {transform}, is {low:g} everywhere: what varies is "
            "lost. Choose another transform of it, or none."
        )
    if low == high:
        raise LilasError(
            f"statistics: channel {name!r} is {low:g} everywhere; a constant field cannot be "
            "standardised. Leave it out of states.fields."
        )
    count = blocks[:, _COUNT].sum()
    mean = (blocks[:, _COUNT] * blocks[:, _MEAN]).sum() / count
    between = blocks[:, _COUNT] * (blocks[:, _MEAN] - mean) ** 2
    std = math.sqrt((blocks[:, _SQUARES] + between).sum() / count)
    if not 0 < std < math.inf:
        raise LilasError(
            f"statistics: channel {name!r} goes from {low:g} to {high:g}, whose squares are beyond "
            "float64. Store it in another unit, or give it a transform."
        )
    return {
        "mean": float(mean),
        "std": std,
        "min": float(low),
        "max": float(high),
        "count": round(count),
    }


def _check_rounding(
    name: str, transform: Transform, found: Mapping[str, float], types: Sequence[np.dtype]
) -> None:
    """Refuses a channel whose variation its files, or its transform in their precision, lose."""
    coarsest = max(types, key=lambda one: np.finfo(_float(one)).eps)
    largest = max(abs(found["min"]), abs(found["max"]))
    # The sum in a logarithm is rounded as a whole, however small its logarithm is.
    rounded = np.finfo(_float(coarsest)).eps * (
        max(1.0, largest) if transform.kind == "log" else largest
    )
    rounded = max(rounded, float(np.finfo(_float(coarsest)).smallest_subnormal))
    if found["std"] <= 2 * rounded:
        action = (
            "Store it in float64, or without its mean, or leave it out of states.fields."
            if transform.kind == "none"
            else "Choose another transform of it, or none."
        )
        raise LilasError(
            f"statistics: channel {name!r}, {transform} of {coarsest}, varies by "
            f"{found['std']:.2g} about {found['mean']:g} and is rounded to {rounded:.2g}: what "
            f"varies is lost. {action}"
        )
    # Models go beyond the data, and what they make has to come back.
    if transform.kind == "arcsinh" and 2 * largest > math.log(np.finfo(precision(types)).max):
        raise LilasError(
            f"statistics: channel {name!r} has values that {transform} takes to {largest:.3g}, "
            f"from where none beyond comes back in {precision(types)}. Choose a larger scale."
        )


def _float(kind: np.dtype) -> np.dtype:
    """Returns the floating type in which values of a type are computed with."""
    return kind if kind.kind == "f" else precision([kind])
