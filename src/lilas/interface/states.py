"""States as users have them, in physical units with named dimensions, and as models take them."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lilas.data.about import About
from lilas.data.axes import units
from lilas.data.layout import BOUNDARIES
from lilas.data.states import label_names, read_states
from lilas.data.well import open_well
from lilas.display import measured
from lilas.errors import LilasError
from lilas.interface.fit import (
    TIME,
    TRAJECTORY,
    check_decoded,
    check_dims,
    check_unit,
    check_units,
    renaming,
)
from lilas.interface.names import check_names
from lilas.study.entries import SamplerEntry

# How far grid points and times may be from those of the training, as a part of their distance.
_TOLERANCE = 1e-3
CHANNEL = "channel"


@dataclass(frozen=True)
class States:
    """States as a model takes them.

    Attributes:
        values: (trajectory, time, channel, *space), float32 or float64.
        given: Which of the dimensions trajectory and time the user's states had.
        coords: Coordinates of the user's own.
    """

    values: np.ndarray
    given: tuple[str, ...]
    coords: dict[str, Any]

    @property
    def names(self) -> list[int]:
        """An integer of each trajectory: its coordinate where that is one, else its place."""
        own = self.coords.get(TRAJECTORY)
        if own is not None and own.dtype.kind in "iu":
            return [int(name) for name in np.atleast_1d(own.values)]
        return list(range(len(self.values)))


def read_trajectory(path: str | Path, trajectory: int = 0) -> xr.Dataset:
    """Returns a trajectory of a file of The Well, as models take it.

    Args:
        path: The HDF5 file.
        trajectory: Index in the file, from 0.

    Returns:
        A variable of each channel (time, *space) in physical units; its parameters and boundaries
        are coordinates.

    Raises:
        LilasError: the file is missing or damaged, or has no such trajectory.
    """
    file = open_well(path)
    values = read_states(file, trajectory)
    kinds = {code: kind for kind, code in BOUNDARIES.items()}
    ends = [kinds[code] for code in file.boundaries.flatten().tolist()]
    names = label_names(file)
    parameters = {
        name: ((), each[trajectory], units(file.parameter_units.get(name)))
        for name, each in file.parameters.items()
    }
    coords = {
        TIME: (TIME, file.times[trajectory], {"units": file.time_units}),
        **{
            name: (name, file.coordinates[name][trajectory], units(file.axis_units.get(name)))
            for name in file.axes
        },
        **parameters,
        **dict(zip(names[len(parameters) :], ends, strict=True)),
    }
    fields = {
        channel.name: ((TIME, *file.axes), values[:, i], units(file.fields[channel.field].units))
        for i, channel in enumerate(file.channels)
    }
    return xr.Dataset(fields, coords, {"dataset": file.dataset})


def take(states: Any, about: About, *, finite: bool = True) -> States:
    """Returns states as a model takes them.

    Args:
        states: `xarray.Dataset` with a variable of each channel, its dimensions the space axes and
            perhaps `time` and `trajectory`, in any order, and beside these, or as attributes,
            whichever parameters there are; or arrays of NumPy by channel, whose last
            axes are the space axes, before these time and before it trajectory.
        about: What the model is of.
        finite: Whether values that are not finite are refused.

    Raises:
        LilasError: a channel or an axis is missing, the grid or a unit is another, or a value is
            not finite.
    """
    dataset = _as_dataset(states, about)
    if missing := [name for name in about.channels if name not in dataset]:
        raise LilasError(
            f"states: without the channel {missing[0]}; the model's are "
            f"{', '.join(about.channels)}, found "
            f"{', '.join(map(str, dataset.data_vars)) or 'none'}; {renaming({'NAME': missing[0]})}"
        )
    beside = [name for name in about.parameters if name in dataset.data_vars]
    told = {name: dataset.attrs[name] for name in about.parameters if name in dataset.attrs}
    chosen = dataset.set_coords(beside)[list(about.channels)]
    chosen = chosen.assign_coords(
        {name: value for name, value in told.items() if name not in chosen.coords}
    )
    check_units(chosen, about)
    for name in about.channels:
        check_decoded("states", name, chosen[name])
    check_dims(chosen, about)
    _check_grid(chosen, about)
    dims = [name for name in (TRAJECTORY, TIME) if name in chosen.dims]
    # What lacks a leading dimension that others have is repeated along it.
    array = chosen.to_dataarray(CHANNEL).transpose(*dims, CHANNEL, *about.axes)
    values = np.asarray(array.values)
    values = values.astype(np.float64 if values.dtype.itemsize > 4 else np.float32, copy=False)
    for axis, name in enumerate((TRAJECTORY, TIME)):
        if name not in dims:
            values = np.expand_dims(values, axis)
    whole = np.isfinite(values).all(axis=(0, 1, *range(3, values.ndim)))
    if finite and not whole.all():
        name = list(about.channels)[int(np.argmin(whole))]
        raise LilasError(f"states: {name} holds NaN or infinity; a model takes finite states alone")
    coords = {str(name): coord for name, coord in chosen.coords.items()}
    return States(np.ascontiguousarray(values), tuple(dims), coords)


def _as_dataset(states: Any, about: About) -> xr.Dataset:
    if isinstance(states, xr.Dataset):
        return states
    if isinstance(states, xr.DataArray) and CHANNEL in states.dims:
        return states.to_dataset(CHANNEL)
    if not isinstance(states, Mapping):
        raise LilasError(
            "states: expected an xarray.Dataset with a variable of each channel, or a mapping of "
            f"arrays by channel, found {type(states).__name__}"
        )
    leading = (TRAJECTORY, TIME)
    variables = {}
    for name, values in states.items():
        values = np.asarray(values)
        extra = values.ndim - len(about.axes)
        if not 0 <= extra <= len(leading):
            raise LilasError(
                f"states: {name} has {values.ndim} axes; allowed: those of space, "
                f"{', '.join(about.axes)}, before these time, and before it trajectory"
            )
        variables[name] = ((*leading[len(leading) - extra :], *about.axes), values)
    return xr.Dataset(variables)


def _check_grid(dataset: xr.Dataset, about: About) -> None:
    """Refuses states of another grid than that of the training."""
    for name, axis in about.axes.items():
        size, found = axis.get("size"), dataset.sizes[name]
        if size is not None and size != found:
            raise LilasError(
                f"states: {found} grid points along {name}; the model was trained with {size}. "
                "Interpolate them to its grid, which its attribute `about` has."
            )
        points = axis.get("points")
        if points is None or name not in dataset.coords or found == 1:
            continue
        own, known = dataset[name].values.astype(float), np.array(points)
        apart = np.abs(np.diff(known)).min()
        if not np.abs(own - known).max() <= _TOLERANCE * apart:
            raise LilasError(
                f"states: {name} runs from {own[0]:g} to {own[-1]:g}; the model was trained with "
                f"points from {known[0]:g} to {known[-1]:g}. Interpolate them to its grid, which "
                "its attribute `about` has; or drop the coordinate where a unit alone differs."
            )


def check_context(states: States, about: About, sampler: SamplerEntry, stride: int) -> np.ndarray:
    """Returns the states given to a rollout: (trajectory, time, channel, *space).

    They are the last; of a rollout that runs backward the first, from the latest to the earliest.

    Args:
        states: The user's.
        about: What the model is of.
        sampler: Which is given so many.
        stride: Solver steps between them.

    Raises:
        LilasError: there are fewer, or they are not as far apart in time as in training, or their
            times are dates.
    """
    count, context = states.values.shape[1], sampler.context
    backward = sampler.direction == "backward"
    given = slice(0, context) if backward else slice(count - context, count)
    if count < context:
        raise LilasError(f"states: {count} in time; the sampler is given {context} at the start")
    times = states.coords.get(TIME)
    check_decoded("states", TIME, times)
    if context > 1 and times is not None and about.interval is not None:
        found = np.diff(times.values[given].astype(float))
        low, high = (stride * each for each in about.interval)
        if (found < low * (1 - _TOLERANCE)).any() or (found > high * (1 + _TOLERANCE)).any():
            raise LilasError(
                f"states: those given are {found.min():g} to {found.max():g} apart in time; the "
                f"model was trained with {low:g}{'' if low == high else f' to {high:g}'}"
            )
    return states.values[:, given][:, :: -1 if backward else 1].copy()


def make_labels(
    states: States,
    parameters: Mapping[str, Any] | None,
    about: About,
    transforms: Mapping[str, str],
) -> np.ndarray:
    """Returns the labels of trajectories, float32 (trajectory, feature), as in training.

    Args:
        states: Of the trajectories; what is not among the parameters is taken of their coordinates.
        parameters: By name, a number or one of each trajectory; boundaries as `boundary_x_first`,
            which need be given only where those of the training differ.
        about: What the model is of.
        transforms: Transform of each parameter.

    Raises:
        LilasError: a parameter is missing, unknown, of another length or unit, or has no logarithm.
    """
    ends = [f"boundary_{name}_{end}" for name in about.axes for end in ("first", "last")]
    given = dict(parameters or {})
    check_names("parameters", given, [*about.parameters, *ends])
    own = states.coords
    given = {name: own[name] for name in (*about.parameters, *ends) if name in own} | given
    rows = len(states.values)
    columns = []
    for name, known in about.parameters.items():
        if name not in given:
            raise LilasError(f"parameters: without {name}; the model's are {_listed(about)}")
        check_unit("parameters", name, given[name], known["units"])
        check_decoded("parameters", name, given[name])
        values = np.broadcast_to(_row(name, given[name], rows), rows).astype(np.float64)
        _check_range(name, values, known)
        logged = transforms.get(name) == "log"
        if not np.isfinite(values).all() or (logged and (values <= 0).any()):
            found = f"{values.min():g}"
            raise LilasError(f"parameters: {name} is {found}; allowed: finite, positive numbers")
        columns.append(np.log(values) if logged else values)
    columns += [_codes(name, given, about, rows) for name in ends]
    return np.stack(columns, axis=1).astype(np.float32).reshape(rows, -1)


def _row(name: str, values: Any, rows: int) -> np.ndarray:
    found = np.asarray(values)
    if found.ndim > 1 or (found.ndim == 1 and len(found) not in (1, rows)):
        raise LilasError(
            f"parameters: {name} has the shape {found.shape}; allowed: a number, or one of each of "
            f"the {rows} trajectories"
        )
    return found


def _listed(about: About) -> str:
    return ", ".join(
        name + (f" ({_span(known)})" if known["range"] else "")
        for name, known in about.parameters.items()
    )


def _span(known: Mapping[str, Any]) -> str:
    low, high = known["range"]
    return measured(f"{low:g} to {high:g}", known["units"])


def _check_range(name: str, values: np.ndarray, known: Mapping[str, Any]) -> None:
    if known["range"] is None:
        return
    low, high = known["range"]
    outside = values[(values < low) | (values > high)]
    if len(outside) and not np.isclose(outside, np.clip(outside, low, high), rtol=1e-6).all():
        warnings.warn(
            f"parameters: {name} is {outside[0]:g}, outside the training's {_span(known)}",
            stacklevel=4,
        )


def _codes(name: str, given: Mapping[str, Any], about: About, rows: int) -> np.ndarray:
    """Returns the code of an end of an axis for each trajectory."""
    axis, end = name.removeprefix("boundary_").rsplit("_", 1)
    known = sorted({ends[axis][end == "last"] for ends in about.boundaries})
    if name not in given:
        if len(known) != 1:
            raise LilasError(
                f"parameters: without {name}, which was {' and '.join(known)} in training; "
                "say which it is"
            )
        given = {name: known[0]}
    kinds = [str(kind) for kind in np.broadcast_to(_row(name, given[name], rows), rows)]
    check_names(f"parameters.{name}", kinds, BOUNDARIES)
    if other := [kind for kind in kinds if kind not in known]:
        warnings.warn(
            f"parameters: {name} is {other[0]}; in training it was {' or '.join(known)}",
            stacklevel=4,
        )
    return np.array([BOUNDARIES[kind] for kind in kinds], dtype=np.float64)


def as_dataset(
    values: np.ndarray, dims: Sequence[str], coords: Mapping[str, Any], about: About
) -> xr.Dataset:
    """Returns states in physical units as a variable of each channel.

    Args:
        values: (…, channel, *space).
        dims: Names of the leading dimensions.
        coords: Their coordinates.
        about: What the model is of, whose grid the states have.
    """
    place = len(dims)
    variables = {
        name: (
            (*dims, *about.axes),
            values[(slice(None),) * place + (i,)],
            units(known["units"]),
        )
        for i, (name, known) in enumerate(about.channels.items())
    }
    return xr.Dataset(variables, {**coords, **grid(about)}, {"dataset": about.dataset})


def grid(about: About) -> dict[str, Any]:
    """Returns the coordinates of the space axes, of those that all trajectories share."""
    return {
        name: (name, np.array(axis["points"]), units(axis["units"]))
        for name, axis in about.axes.items()
        if axis.get("points") is not None
    }
