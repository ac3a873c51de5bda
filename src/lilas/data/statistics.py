"""Statistics of a split that need not fit in memory: one pass over its files, block by block."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import dask
import dask.array as da
import numpy as np

from lilas.data.hdf5 import open_hdf5
from lilas.data.states import precision
from lilas.data.transforms import Transform
from lilas.data.well import WellFile
from lilas.errors import LilasError, broken
from lilas.progress import progress

BLOCK_BYTES = 8 * 2**20

# What a block is reduced to, along the last axis of a reduced array.
_COUNT, _MEAN, _SQUARES, _MIN, _MAX, _NON_FINITE, _UNDEFINED = range(7)


def compute_statistics(
    files: Sequence[WellFile], transforms: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Returns mean, standard deviation, extremes and count of each transformed channel.

    With y = f(x), a transform (`lilas.data.transforms`), over all trajectories, steps and points i:
    mean = Σ y_i / n and std² = Σ (y_i - mean)² / n, in float64. Every file is read once, in blocks
    of at most `BLOCK_BYTES`, one per thread at a time; blocks are merged in file order (Chan et
    al. 1982), so the result depends neither on the threads nor, to rounding, on the blocks. A
    field stored once for axes along which it does not vary counts as often as it stands for.

    Args:
        files: The files of the split, with the same channels.
        transforms: By field or component, such as `{"kind": "log", "offset": number}`; a
            component's own comes before its field's, and what is not named has none.

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
    fields: dict[tuple[str, int], dict[tuple[int, ...], Transform]] = {}
    for c in channels:
        fields.setdefault((c.field, c.order), {})[c.axes] = functions[c.name]
    # Of each channel's files: (block, quantity).
    parts: dict[str, list[np.ndarray]] = {channel.name: [] for channel in channels}
    types: dict[str, list[np.dtype]] = {channel.field: [] for channel in channels}
    for file in progress(files, desc="statistics", unit="file"):
        with open_hdf5(file.path) as opened:
            lazy = {
                name: _reduced(opened[f"t{order}_fields/{name}"], own)
                for (name, order), own in fields.items()
            }
            for name, order in fields:
                types[name].append(opened[f"t{order}_fields/{name}"].dtype)
            (blocks,) = dask.compute(lazy, scheduler="threads")
        for channel in channels:
            place = list(fields[channel.field, channel.order]).index(channel.axes)
            part = blocks[channel.field].reshape(-1, *blocks[channel.field].shape[-2:])[:, place]
            _check(file, channel.name, functions[channel.name], part)
            stands_for = file.trajectories * file.steps * math.prod(file.shape)
            part[:, [_COUNT, _SQUARES]] *= stands_for / part[:, _COUNT].sum()
            parts[channel.name].append(part)
    found = {}
    for channel in channels:
        name = channel.name
        merged = _merged(name, np.concatenate(parts[name]))
        _check_rounding(name, functions[name], merged, types[channel.field])
        found[name] = {"transform": chosen[name]} | merged
    return {"channels": found}


def _reduced(dataset: Any, components: Mapping[tuple[int, ...], Transform]) -> da.Array:
    """Returns a dataset's components reduced block by block: (*blocks, component, quantity)."""
    order = len(next(iter(components)))
    axes = dataset.ndim - order
    blocks = da.from_array(dataset, _block_shape(dataset.shape, dataset.dtype.itemsize), name=False)
    return blocks.map_blocks(
        _moments,
        components,
        chunks=(*[1] * axes, len(components), 7),
        drop_axis=list(range(axes, dataset.ndim)),
        new_axis=[axes, axes + 1],
        meta=np.empty((0,) * (axes + 2)),
    )


def _block_shape(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Returns the largest block that is contiguous on disk and within `BLOCK_BYTES`."""
    budget, block = BLOCK_BYTES // itemsize, []
    for size in reversed(shape):
        block.insert(0, max(1, min(size, budget)))
        budget //= block[0]
    return tuple(block)


def _moments(x: np.ndarray, components: Mapping[tuple[int, ...], Transform]) -> np.ndarray:
    """Returns the quantities of a block, (1, …, component, quantity)."""
    order = len(next(iter(components)))
    axes = tuple(range(x.ndim - order))
    y = x.astype(np.float64)
    if order:
        flat = [np.ravel_multi_index(place, x.shape[len(axes) :]) for place in components]
        y = y.reshape(*x.shape[: len(axes)], -1)
        y = y if flat == list(range(y.shape[-1])) else y[..., flat]
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
    return rows.reshape(*[1] * len(axes), *rows.shape)


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


def _merged(name: str, blocks: np.ndarray) -> dict[str, float | int]:
    """Returns the statistics of blocks (block, quantity) taken together."""
    low, high = blocks[:, _MIN].min(), blocks[:, _MAX].max()
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
    if transform.kind == "arcsinh" and largest > math.log(np.finfo(precision(types)).max):
        raise LilasError(
            f"statistics: channel {name!r} has values that {transform} takes beyond "
            f"{precision(types)}. Choose a larger scale."
        )


def _float(kind: np.dtype) -> np.dtype:
    """Returns the floating type in which values of a type are computed with."""
    return kind if kind.kind == "f" else precision([kind])
