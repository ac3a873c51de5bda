"""What the axes and variables of a foreign file are: named by the user, or guessed and said.

A guess is taken where a name leaves no doubt, and shown. What is in doubt is an error that names
the option.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lilas.data.axes import TAKEN
from lilas.data.foreign import COMPONENT, is_unnamed
from lilas.data.layout import BOUNDARIES
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
class Wanted:
    """What the user has named; what is None, or empty, is guessed.

    Attributes:
        trajectory: The axis of trajectories.
        time: The axis of time.
        space: The space axes, in the order that they are to have.
        component: The axis of a vector's components.
        fields: Variables that are fields.
        vectors: Variables of the components of a field by its name, in the axes' order.
        parameters: Variables and attributes that are parameters; () is none of them.
        boundaries: `periodic`, `wall` or `open` by space axis.
        grid: Kind of grid.
        units: By the name of a field, an axis or a parameter.
    """

    trajectory: str | None = None
    time: str | None = None
    space: tuple[str, ...] = ()
    component: str | None = None
    fields: tuple[str, ...] = ()
    vectors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    parameters: tuple[str, ...] | None = None
    boundaries: Mapping[str, str] = field(default_factory=dict)
    grid: str | None = None
    units: Mapping[str, str] = field(default_factory=dict)


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
    fields, guessed, left = _fields(path, data, wanted, trajectory, time, space, component)
    parameters = _parameters(path, data, wanted, trajectory, set(fields), left)
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
        units=_units(path, data, wanted, time, space, fields, parameters),
        guessed=guessed | (set() if wanted.grid else {"grid"}),
        left=left,
    )


def _check_named(path: Path, data: xr.Dataset, wanted: Wanted) -> None:
    axes = (wanted.trajectory, wanted.time, *wanted.space, wanted.component)
    for axis in filter(None, axes):
        if axis not in data.dims:
            raise _missing(path, f"the axis {axis}", data.dims)
    named = [*wanted.fields, *(part for parts in wanted.vectors.values() for part in parts)]
    for name in named:
        if name not in data.variables:
            raise _missing(path, f"the variable {name}", data.data_vars)
        if any(is_unnamed(str(dim)) for dim in data[name].dims):
            raise _unnamed(path, name, data)
    twice = [name for name in named if named.count(name) > 1]
    twice += [name for name in wanted.vectors if name in wanted.fields]
    if twice:
        raise LilasError(
            f"{path}: {twice[0]} is taken twice by --fields and --vector; name it once"
        )


def _missing(path: Path, what: str, there: Iterable[Any]) -> LilasError:
    return broken(path, what, ", ".join(map(str, there)) or "none", "Correct the name.")


def _unnamed(path: Path, name: str, data: xr.Dataset) -> LilasError:
    sizes = " x ".join(map(str, data[name].shape))
    return LilasError(
        f"{path}: the axes of {name} ({sizes}) have no names; name them in their order, such as "
        "--dims run,time,x,y"
    )


def _only(
    path: Path, data: xr.Dataset, role: str, names: set[str], cf_axis: str = ""
) -> str | None:
    """Returns the one axis that is called so; None where trajectories have none."""
    found = [
        str(dim)
        for dim in data.dims
        if str(dim).lower() in names or (cf_axis and _attribute(data, dim, "axis") == cf_axis)
    ]
    if len(found) > 1 or (not found and role == "time"):
        if not found and (unnamed := _largest(data)) and is_unnamed(str(data[unnamed].dims[-1])):
            raise _unnamed(path, unnamed, data)
        named = listed(found or list(map(str, data.dims))) or "none"
        raise LilasError(f"{path}: which axis is {role}? Name it: --{role} AXIS, one of {named}")
    return found[0] if found else None


def _attribute(data: xr.Dataset, name: Any, key: str) -> Any:
    return data[name].attrs.get(key) if name in data.variables else None


def _is_number(variable: xr.Variable | xr.DataArray) -> bool:
    return variable.dtype.kind in "fiu"


def _largest(data: xr.Dataset) -> str | None:
    """Returns the variable of numbers with the most axes."""
    numbers = [str(name) for name in data.data_vars if _is_number(data[name])]
    return max(numbers, key=lambda name: data[name].ndim, default=None)


def _space(
    path: Path, data: xr.Dataset, wanted: Wanted, others: Sequence[str | None]
) -> tuple[str, ...]:
    """Returns the space axes: what is left of the axes of fields, in the order of x, y and z."""
    parts = [part for vector in wanted.vectors.values() for part in vector]
    names = [*wanted.fields, *parts] or [
        str(name)
        for name in data.data_vars
        if others[1] in data[name].dims and _is_number(data[name])
    ]
    widest = max(names, key=lambda name: data[name].ndim, default=None)
    dims = [str(dim) for dim in data[widest].dims if dim not in others] if widest else []
    if not dims:
        raise LilasError(
            f"{path}: no variable of numbers has the axis {others[1]} and space axes; "
            f"its axes are {listed(list(map(str, data.dims)))}"
        )
    if any(map(is_unnamed, dims)):
        raise _unnamed(path, widest, data)
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
    axis = _attribute(data, dim, "axis")
    return "XYZ".index(axis) if axis in ("X", "Y", "Z") else SPACE.get(dim.lower())


def _fields(
    path: Path,
    data: xr.Dataset,
    wanted: Wanted,
    trajectory: str | None,
    time: str,
    space: tuple[str, ...],
    component: str | None,
) -> tuple[dict[str, tuple[str, ...]], set[str], dict[str, str]]:
    """Returns the fields, those that were guessed, and why others are none."""
    whole = {axis for axis in (trajectory, time, *space) if axis}
    parts = {part for vector in wanted.vectors.values() for part in vector}
    for name in [*wanted.fields, *parts]:
        if reason := _unfit(data[name], whole, component, len(space)):
            raise LilasError(f"{path}: {name} is no field: {reason}")
    for name, vector in wanted.vectors.items():
        if len(vector) != len(space):
            raise LilasError(
                f"{path}: --vector {name} has {len(vector)} components, and there are "
                f"{len(space)} space axes, {', '.join(space)}; name one of each"
            )
        if own := [part for part in vector if component in data[part].dims]:
            raise LilasError(f"{path}: {own[0]} has components of its own and is none of {name}")
    scalars, vectors, left = list(wanted.fields), dict(wanted.vectors), {}
    if not scalars:
        for name in map(str, data.data_vars):
            if name in parts:
                continue
            if reason := _unfit(data[name], whole, component, len(space)):
                left[name] = reason
            else:
                scalars.append(name)
        vectors |= _vectors(scalars, space, {*wanted.vectors, *parts})
        scalars = [name for name in scalars if not any(name in v for v in vectors.values())]
    if clash := [name for name in vectors if name in scalars]:
        raise LilasError(f"{path}: {clash[0]} is a field and a vector; call the vector otherwise")
    fields = {name: (name,) for name in scalars} | {n: tuple(v) for n, v in vectors.items()}
    if not fields:
        raise LilasError(
            f"{path}: no variable of numbers has the axes {', '.join(sorted(whole))}; "
            + "; ".join(f"{name}: {why}" for name, why in left.items())
        )
    return fields, set(fields) - set(wanted.fields) - set(wanted.vectors), left


def _unfit(variable: xr.DataArray, whole: set[str], component: str | None, dims: int) -> str:
    """Returns why a variable is no field; empty where it is one."""
    axes = set(map(str, variable.dims))
    if not _is_number(variable):
        return f"it holds {variable.dtype}, not numbers"
    if missing := whole - axes:
        return f"it has no axis {', '.join(sorted(missing))}"
    if more := axes - whole - {component}:
        return f"it has the axis {', '.join(sorted(more))} too"
    if component in axes and variable.sizes[component] != dims:
        return f"it has {variable.sizes[component]} components, and there are {dims} space axes"
    return ""


def _vectors(scalars: Sequence[str], space: Sequence[str], taken: set[str]) -> dict[str, list[str]]:
    """Returns the vectors whose components are called after them and the axes, as velocity_x."""
    found = {}
    for name in scalars:
        stem = name.removesuffix(space[0])
        parts = [f"{stem}{axis}" for axis in space]
        vector = stem.rstrip("_")
        named = len(space) > 1 and stem != name and vector and vector not in {*taken, *scalars}
        if named and all(part in scalars for part in parts):
            found[vector] = parts
    return found


def _parameters(
    path: Path,
    data: xr.Dataset,
    wanted: Wanted,
    trajectory: str | None,
    fields: set[str],
    left: dict[str, str],
) -> tuple[str, ...]:
    """Returns the names of parameters, and adds to `left` what could be one and is not taken."""

    def fits(name: str) -> bool:
        dims = data[name].dims
        return _is_number(data[name]) and dims in ((), (trajectory,)) and name not in data.dims

    if wanted.parameters is not None:
        for name in wanted.parameters:
            if wanted.parameters.count(name) > 1:
                raise LilasError(f"{path}: --parameters names {name} twice")
            if name in data.variables:
                if not fits(name):
                    along = f" or one per {trajectory}" if trajectory else ""
                    raise LilasError(f"{path}: {name} is no parameter, which is one number{along}")
            elif np.size(data.attrs.get(name, [])) != 1:
                there = [*data.variables, *data.attrs]
                raise _missing(path, f"the variable or attribute {name}", there)
        found = list(wanted.parameters)
    else:
        # A mapping of the grid is a number without a meaning.
        found = [
            name
            for name in map(str, data.variables)
            if fits(name) and "grid_mapping_name" not in data[name].attrs
        ]
        for name, value in data.attrs.items():
            if np.size(value) == 1 and np.asarray(value).dtype.kind in "fiu":
                left[str(name)] = "it is an attribute, which --parameters can name"
    for name in found:
        left.pop(name, None)
    if clash := [name for name in found if name in fields]:
        raise LilasError(f"{path}: {clash[0]} is a field and a parameter; name it once")
    return tuple(found)


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


def _units(
    path: Path,
    data: xr.Dataset,
    wanted: Wanted,
    time: str,
    space: Sequence[str],
    fields: Mapping[str, Sequence[str]],
    parameters: Sequence[str],
) -> dict[str, str]:
    variables = {"time": (time,)} | {axis: (axis,) for axis in space} | dict(fields)
    variables |= {name: (name,) for name in parameters}
    if unknown := [name for name in wanted.units if name not in variables]:
        raise LilasError(f"{path}: --unit names {unknown[0]}; allowed: {', '.join(variables)}")
    found = {}
    for name, parts in variables.items():
        units = dict.fromkeys(str(_attribute(data, part, "units") or "") for part in parts)
        if len(units) > 1 and name not in wanted.units:
            raise LilasError(
                f"{path}: components of {name} have different units, {listed(list(units))}; name "
                f"one: --unit {name}=UNIT"
            )
        # Of dates, numbers count from some day.
        found[name] = next(iter(units)).split(" since ")[0].strip()
    return {name: unit for name, unit in (found | dict(wanted.units)).items() if unit}
