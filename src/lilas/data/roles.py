"""What the axes and variables of a foreign file are: named by the user, or guessed and said.

A guess is taken where a name leaves no doubt, and shown. What is in doubt is an error that names
the option.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from lilas.data.axes import TAKEN
from lilas.data.foreign import COMPONENT, is_unnamed
from lilas.data.layout import BOUNDARIES
from lilas.data.variables import (
    Wanted,
    attribute,
    find_fields,
    find_parameters,
    find_units,
    is_number,
    missing,
    unnamed,
)
from lilas.errors import LilasError, broken
from lilas.settings import listed

# Names of axes that say what they are, in lower case.
TIMES = {"time", "t", "times", "step", "steps", "timestep", "time_step"}
TRAJECTORIES = {
    *("trajectory", "trajectories", "traj", "run", "runs", "simulation", "simulations", "sim"),
    *("sample", "samples", "member", "members", "realization", "realisation", "case", "batch"),
}
# Of space axes, with their place among the axes; longitudes are along x, as CF has it.
SPACE = {
    **dict.fromkeys(("x", "lon", "longitude"), 0),
    **dict.fromkeys(("y", "lat", "latitude"), 1),
    **dict.fromkeys(("z", "height", "depth", "lev", "level", "altitude"), 2),
}
SPHERE = {"lon", "longitude", "lat", "latitude"}


@dataclass(frozen=True)
class Roles:
    """What is what.

    Attributes:
        trajectory: The axis of trajectories; None where a file is one.
        time: The axis of time.
        space: The space axes, in order.
        component: The axis of components, where a variable has one.
        fields: Variables by field: one, or those of a vector's components in the axes' order.
        parameters: Names of parameters, in the label's order.
        boundaries: Kind of both ends of each space axis.
        grid: Kind of grid.
        units: Those that there are, by field, axis (`time` is time's) and parameter.
        guessed: Names of the axes, fields and parameters, and `grid`, that were not named.
        left: Why variables and attributes are not taken, by name.
    """

    trajectory: str | None
    time: str
    space: tuple[str, ...]
    component: str | None
    fields: dict[str, tuple[str, ...]]
    parameters: tuple[str, ...]
    boundaries: dict[str, str]
    grid: str
    units: dict[str, str]
    guessed: set[str]
    left: dict[str, str]


def find_roles(path: Path, data: xr.Dataset, wanted: Wanted) -> Roles:
    """Returns what the axes and variables of an opened file are.

    Args:
        path: The file that errors name.
        data: What it holds.
        wanted: What is not to be guessed.

    Raises:
        LilasError: an axis or variable that is named is not there, one is taken twice, or one is in
            doubt; the option that says what it is is named.
    """
    if not data.data_vars:
        action = "Those in groups are not read; of The Well's layout, a study reads its folder."
        raise broken(path, "variables", "none", action)
    _check_named(path, data, wanted)
    time = wanted.time or _only(path, data, "time", TIMES, "T")
    trajectory = wanted.trajectory or _only(path, data, "trajectory", TRAJECTORIES)
    component = wanted.component or (COMPONENT if COMPONENT in data.dims else None)
    space = wanted.space or _space(path, data, wanted, (trajectory, time, component))
    axes = [axis for axis in (trajectory, time, component, *space) if axis]
    if twice := [axis for axis in axes if axes.count(axis) > 1]:
        raise LilasError(
            f"{path}: the axis {twice[0]} is named twice; it is one of --trajectory, "
            "--time, --space and --component"
        )
    if taken := [axis for axis in space if axis in TAKEN or "/" in axis]:
        raise LilasError(
            f"{path}: a space axis cannot be called {taken[0]}, which results have "
            f"another meaning for; name it otherwise: --rename {taken[0]}=NAME"
        )
    fields, guessed, left = find_fields(path, data, wanted, trajectory, time, space, component)
    parameters = find_parameters(path, data, wanted, trajectory, set(fields), left)
    guessed |= {axis for axis in (trajectory, time) if axis} - {wanted.trajectory, wanted.time}
    guessed |= set(() if wanted.space else space)
    guessed |= set(parameters if wanted.parameters is None else ())
    return Roles(
        trajectory=trajectory,
        time=time,
        space=space,
        component=component,
        fields=fields,
        parameters=parameters,
        boundaries=_boundaries(path, space, wanted.boundaries),
        grid=wanted.grid or ("equiangular" if SPHERE & set(map(str.lower, space)) else "cartesian"),
        units=find_units(path, data, wanted, time, space, fields, parameters),
        guessed=guessed | (set() if wanted.grid else {"grid"}),
        left=left,
    )


def _check_named(path: Path, data: xr.Dataset, wanted: Wanted) -> None:
    axes = (wanted.trajectory, wanted.time, *wanted.space, wanted.component)
    for axis in filter(None, axes):
        if axis not in data.dims:
            raise missing(path, f"the axis {axis}", data.dims)
    named = [*wanted.fields, *(part for parts in wanted.vectors.values() for part in parts)]
    for name in named:
        if name not in data.variables:
            raise missing(path, f"the variable {name}", data.data_vars)
        if any(is_unnamed(str(dim)) for dim in data[name].dims):
            raise unnamed(path, name, data)
    twice = [name for name in named if named.count(name) > 1]
    twice += [name for name in wanted.vectors if name in wanted.fields]
    if twice:
        raise LilasError(
            f"{path}: {twice[0]} is taken twice by --fields and --vector; name it once"
        )


def _only(
    path: Path, data: xr.Dataset, role: str, names: set[str], cf_axis: str = ""
) -> str | None:
    """Returns the one axis that is called so; None where trajectories have none."""
    found = [
        str(dim)
        for dim in data.dims
        if str(dim).lower() in names or (cf_axis and attribute(data, dim, "axis") == cf_axis)
    ]
    if len(found) > 1 or (not found and role == "time"):
        widest = None if found else _largest(data)
        if widest and is_unnamed(str(data[widest].dims[-1])):
            raise unnamed(path, widest, data)
        named = listed(found or list(map(str, data.dims))) or "none"
        raise LilasError(f"{path}: which axis is {role}? Name it: --{role} AXIS, one of {named}")
    return found[0] if found else None


def _largest(data: xr.Dataset) -> str | None:
    """Returns the variable of numbers with the most axes."""
    numbers = [str(name) for name in data.data_vars if is_number(data[name])]
    return max(numbers, key=lambda name: data[name].ndim, default=None)


def _space(
    path: Path, data: xr.Dataset, wanted: Wanted, others: Sequence[str | None]
) -> tuple[str, ...]:
    """Returns the space axes: what is left of the axes of fields, in the order of x, y and z."""
    parts = [part for vector in wanted.vectors.values() for part in vector]
    names = [*wanted.fields, *parts] or [
        str(name)
        for name in data.data_vars
        if others[1] in data[name].dims and is_number(data[name])
    ]
    widest = max(names, key=lambda name: data[name].ndim, default=None)
    dims = [str(dim) for dim in data[widest].dims if dim not in others] if widest else []
    if not dims:
        raise LilasError(
            f"{path}: no variable of numbers has the axis {others[1]} and space axes; "
            f"its axes are {listed(list(map(str, data.dims)))}"
        )
    if any(map(is_unnamed, dims)):
        raise unnamed(path, widest, data)
    if more := [dim for dim in dims if dim.lower() in TIMES | TRAJECTORIES]:
        raise LilasError(
            f"{path}: {widest} has the axis {more[0]} beside {' and '.join(filter(None, others))}; "
            "stack axes of trajectories into one, or name the space axes: --space AXIS,…"
        )
    places = {dim: _place(data, dim) for dim in dims}
    unknown = [dim for dim in dims if places[dim] is None]
    if unknown and others[0] is None:
        raise LilasError(
            f"{path}: what is the axis {unknown[0]}? Say it: --trajectory {unknown[0]}, or --space "
            f"{','.join(dims)} where a file is one trajectory"
        )
    if not unknown and len(set(places.values())) == len(dims):
        dims.sort(key=lambda dim: places[dim])
    return tuple(dims)


def _place(data: xr.Dataset, dim: str) -> int | None:
    axis = attribute(data, dim, "axis")
    return "XYZ".index(axis) if axis in ("X", "Y", "Z") else SPACE.get(dim.lower())


def _boundaries(path: Path, space: Sequence[str], named: Mapping[str, str]) -> dict[str, str]:
    if unknown := [axis for axis in named if axis not in space]:
        raise LilasError(f"{path}: --boundary names {unknown[0]}; space axes: {', '.join(space)}")
    kinds = ", ".join(BOUNDARIES)
    if wrong := [kind for kind in named.values() if kind not in BOUNDARIES]:
        raise LilasError(f"{path}: --boundary {wrong[0]} is unknown; allowed: {kinds}")
    if missing := [axis for axis in space if axis not in named]:
        raise LilasError(
            f"{path}: the boundaries of {', '.join(missing)} are in no file; name them ({kinds}): "
            f"--boundary {' '.join(f'{axis}=KIND' for axis in missing)}"
        )
    return {axis: named[axis] for axis in space}
