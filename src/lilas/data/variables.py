"""Fields, vectors, parameters and units among the variables of a foreign file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lilas.data.units import plain
from lilas.errors import LilasError, broken
from lilas.settings import listed


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


def find_fields(
    path: Path,
    data: xr.Dataset,
    wanted: Wanted,
    trajectory: str | None,
    time: str,
    space: tuple[str, ...],
    component: str | None,
) -> tuple[dict[str, tuple[str, ...]], set[str], dict[str, str]]:
    """Returns the fields, those that were guessed, and why other variables are none.

    Args:
        path: The file that errors name.
        data: What it holds.
        wanted: What is not to be guessed.
        trajectory: The axis of trajectories; None where the file is one.
        time: The axis of time.
        space: The space axes.
        component: The axis of components; None where there is none.

    Raises:
        LilasError: what is named is no field, or nothing is one.
    """
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
    if not is_number(variable):
        return f"it holds {variable.dtype}, not numbers"
    if lacking := whole - axes:
        return f"it has no axis {', '.join(sorted(lacking))}"
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


def find_parameters(
    path: Path,
    data: xr.Dataset,
    wanted: Wanted,
    trajectory: str | None,
    fields: set[str],
    left: dict[str, str],
) -> tuple[str, ...]:
    """Returns the names of parameters, and adds to `left` what could be one and is not taken.

    Args:
        path: The file that errors name.
        data: What it holds.
        wanted: What is not to be guessed.
        trajectory: The axis of trajectories; None where the file is one.
        fields: Names of the fields.
        left: Why variables and attributes are not taken, by name.

    Raises:
        LilasError: what is named is no number of a trajectory.
    """

    def fits(name: str) -> bool:
        dims = data[name].dims
        return is_number(data[name]) and dims in ((), (trajectory,)) and name not in data.dims

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
                raise missing(path, f"the variable or attribute {name}", there)
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


def find_units(
    path: Path,
    data: xr.Dataset,
    wanted: Wanted,
    time: str,
    space: Sequence[str],
    fields: Mapping[str, Sequence[str]],
    parameters: Sequence[str],
) -> dict[str, str]:
    """Returns the units of time, space axes, fields and parameters that have one, by name.

    Args:
        path: The file that errors name.
        data: What it holds.
        wanted: Units that are named, in place of the file's.
        time: The axis of time.
        space: The space axes.
        fields: Variables by field.
        parameters: Names of the parameters.

    Raises:
        LilasError: one is named of something else, or a vector's components have several.
    """
    variables = {"time": (time,)} | {axis: (axis,) for axis in space} | dict(fields)
    variables |= {name: (name,) for name in parameters}
    if unknown := [name for name in wanted.units if name not in variables]:
        raise LilasError(f"{path}: --unit names {unknown[0]}; allowed: {', '.join(variables)}")
    found = {}
    for name, parts in variables.items():
        units = dict.fromkeys(plain(attribute(data, part, "units")) for part in parts)
        if len(units) > 1 and name not in wanted.units:
            raise LilasError(
                f"{path}: components of {name} have different units, {listed(list(units))}; name "
                f"one: --unit {name}=UNIT"
            )
        found[name] = next(iter(units))
    return {name: unit for name, unit in (found | dict(wanted.units)).items() if unit}


def missing(path: Path, what: str, there: Iterable[Any]) -> LilasError:
    """Returns the error for a name that a file has not, among those that are there."""
    return broken(path, what, ", ".join(map(str, there)) or "none", "Correct the name.")


def unnamed(path: Path, name: str, data: xr.Dataset) -> LilasError:
    """Returns the error for a variable whose axes have no names."""
    sizes = " x ".join(map(str, data[name].shape))
    return LilasError(
        f"{path}: the axes of {name} ({sizes}) have no names; name them in their order, such as "
        "--dims run,time,x,y"
    )


def attribute(data: xr.Dataset, name: Any, key: str) -> Any:
    """Returns an attribute of a variable; None where either is not there."""
    return data[name].attrs.get(key) if name in data.variables else None


def is_number(variable: xr.Variable | xr.DataArray) -> bool:
    """Returns whether a variable holds numbers."""
    return variable.dtype.kind in "fiu"
