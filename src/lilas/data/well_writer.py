"""Files in The Well's layout, written whole or not at all."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from lilas.data.layout import BOUNDARIES, ORDERS
from lilas.data.streams import Stream, field_type, is_lost, stream
from lilas.errors import LilasError
from lilas.files import atomic

RESERVED = (
    "dataset_name",
    "grid_type",
    "n_spatial_dims",
    "n_trajectories",
    "simulation_parameters",
)


def write_well(
    path: str | Path,
    *,
    dataset: str,
    fields: Mapping[str, np.ndarray | Stream],
    time: np.ndarray,
    coordinates: Mapping[str, np.ndarray],
    parameters: Mapping[str, np.ndarray | float],
    boundaries: Mapping[str, str],
    grid: str = "cartesian",
    units: Mapping[str, str] | None = None,
    attributes: Mapping[str, str | float] | None = None,
    types: Mapping[str, type] | None = None,
) -> None:
    """Writes a file of The Well in float32, whole or not at all.

    What float32 would not keep apart is written in float64: times or grid points that it rounds by
    more than `streams.ROUNDED` of an interval, and fields and parameters that it rounds by more
    than that of their standard deviation (of a field, that of a component in a trajectory). All
    space axes have one type, as the_well's reader needs it.

    The grid is `cartesian` even where its points are not evenly spaced, as in The Well's own
    `rayleigh_benard`: the_well augments no other grid, and does not say so.

    Args:
        path: Where it goes; its folder is made.
        dataset: Name of the dataset.
        fields: Fields by name, (trajectory, time, *space) with one more axis of components, one
            per space axis, for each order. Of a `Stream`, a few steps are in memory at a time.
        time: Time of the steps, ascending (time,).
        coordinates: Grid points by space axis, in the axes' order, ascending (point,).
        parameters: Scalars by name, in the label's order: one number, or (trajectory,).
        boundaries: `periodic`, `wall` or `open`, at both ends of each space axis.
        grid: Kind of grid.
        units: Units of fields, grid points and parameters by name, and of time by `time`.
        attributes: Further attributes of the file, such as where it comes from.
        types: float32 or float64 by field, where all was read before by `streams.field_type`; None
            reads it first.

    Raises:
        LilasError: the arguments contradict each other or hold a value that is not finite, or the
            disk cannot take the file.
    """
    units, attributes = units or {}, attributes or {}
    if unknown := set(units) - {"time", *fields, *coordinates, *parameters}:
        raise LilasError(f"{path}: units of {', '.join(sorted(unknown))}, which are not written")
    if "time" in units:
        attributes = {"time_units": units["time"], **attributes}
    fields = {name: stream(values) for name, values in fields.items()}
    orders = _check_arguments(
        path, fields, {"time": time, **coordinates}, parameters, boundaries, attributes
    )
    if types is None:
        types = {name: field_type(path, name, fields[name], orders[name]) for name in fields}
    constant = [name for name, value in parameters.items() if np.ndim(value) == 0]
    # A coordinate comes with a boundary's mask, a byte per point.
    needed = sum(np.dtype(types[name]).itemsize * fields[name].size for name in fields)
    space = _axis_type(*coordinates.values())
    needed += sum((np.dtype(space).itemsize + 1) * np.size(each) for each in coordinates.values())
    # Nobody else knows the part's name: it needs no lock, which some file systems do not have.
    with atomic(path, needed) as part, h5py.File(part, "w", locking=False) as file:
        file.attrs["dataset_name"] = dataset
        file.attrs["grid_type"] = grid
        file.attrs["n_spatial_dims"] = len(coordinates)
        file.attrs["n_trajectories"] = next(iter(fields.values())).shape[0]
        file.attrs["simulation_parameters"] = _strings(constant)
        file.attrs.update({name: float(parameters[name]) for name in constant})
        file.attrs.update(attributes)
        _write_dimensions(file, time, coordinates, space, units)
        _write_boundaries(file, coordinates, boundaries)
        _write_scalars(file, parameters, units)
        for order in ORDERS:
            names = [name for name in fields if orders[name] == order]
            group = file.create_group(f"t{order}_fields")
            group.attrs["field_names"] = _strings(names)
            for name in names:
                written = group.create_dataset(name, fields[name].shape, types[name])
                for trajectory, steps, states in fields[name].blocks():
                    written[trajectory, steps] = states.astype(types[name], copy=False)
                written.attrs["dim_varying"] = [True] * len(coordinates)
                written.attrs["sample_varying"] = True
                written.attrs["time_varying"] = True
                written.attrs.update(_units(units, name))


def _check_arguments(
    path: str | Path,
    fields: Mapping[str, Stream],
    axes: Mapping[str, np.ndarray],
    parameters: Mapping[str, np.ndarray | float],
    boundaries: Mapping[str, str],
    attributes: Mapping[str, str | float],
) -> dict[str, int]:
    """Refuses arguments of `write_well` that contradict each other; returns the fields' orders."""
    for name, values in {**fields, **axes, **parameters}.items():
        kind = values.dtype if isinstance(values, Stream) else np.asarray(values).dtype
        if kind.kind not in "fiub":
            dates = " Of dates, give the seconds since the first." if kind.kind in "mM" else ""
            raise LilasError(f"{path}: {name} must be numbers, not {kind}.{dates}")
    if nested := [name for name in (*fields, *axes) if "/" in name]:
        raise LilasError(f"{path}: fields and axes have no / in their names, as {nested[0]} has")
    for name, points in axes.items():
        valid = np.ndim(points) == 1 and np.size(points) > 0 and np.isfinite(points).all()
        if not valid or (np.diff(points) <= 0).any():
            raise LilasError(f"{path}: {name} must be finite and ascending, not {points!r}")
    dims = len(axes) - 1
    if not fields or not dims:
        raise LilasError(f"{path}: a file needs a field and a space axis")
    trajectories = next(iter(fields.values())).shape[:1]
    sizes = (*trajectories, *(len(points) for points in axes.values()))
    orders = {}
    for name, values in fields.items():
        orders[name] = len(values.shape) - len(sizes)
        expected = sizes + (dims,) * max(orders[name], 0)
        if orders[name] not in ORDERS or values.shape != expected:
            axes_named = ", ".join(("trajectory", *axes))
            raise LilasError(
                f"{path}: {name} must have the shape ({axes_named}[, component]) = {expected}, "
                f"not {values.shape}"
            )
    for name, value in parameters.items():
        if np.shape(value) not in ((), trajectories) or not np.isfinite(value).all():
            raise LilasError(
                f"{path}: {name} must be one finite number, or one per trajectory, not {value!r}"
            )
    space = list(axes)[1:]
    if set(boundaries) != set(space) or not set(boundaries.values()) <= set(BOUNDARIES):
        raise LilasError(
            f"{path}: boundaries give one of {', '.join(BOUNDARIES)} for each of "
            f"{', '.join(space)}, not {dict(boundaries)}"
        )
    taken = (set(RESERVED) | set(parameters)) & set(attributes) | set(RESERVED) & set(parameters)
    if taken:
        raise LilasError(f"{path}: the names {', '.join(sorted(taken))} are taken")
    return orders


def _axis_type(*axes: np.ndarray) -> type:
    """Returns float32, or float64 where float32 rounds too much of an axis's intervals."""
    scales = [np.diff(points).min() if np.size(points) > 1 else 0.0 for points in axes]
    lost = any(is_lost(points, scale) for points, scale in zip(axes, scales, strict=True))
    return np.float64 if lost else np.float32


def _strings(names: Sequence[str]) -> np.ndarray:
    # h5py has no string type to infer from an empty list.
    return np.array(names, dtype=h5py.string_dtype())


def _units(units: Mapping[str, str], name: str) -> dict[str, str]:
    return {"units": units[name]} if name in units else {}


def _write_dimensions(
    file: h5py.File,
    time: np.ndarray,
    coordinates: Mapping[str, np.ndarray],
    space: type,
    units: Mapping[str, str],
) -> None:
    group = file.create_group("dimensions")
    group.attrs["spatial_dims"] = _strings(list(coordinates))
    for name, points in {"time": time, **coordinates}.items():
        kind = _axis_type(time) if name == "time" else space
        written = group.create_dataset(name, data=points, dtype=kind)
        written.attrs["sample_varying"] = False
        written.attrs["time_varying"] = name == "time"
        # The unit of time is the file's.
        if name != "time":
            written.attrs.update(_units(units, name))


def _write_boundaries(
    file: h5py.File, coordinates: Mapping[str, np.ndarray], boundaries: Mapping[str, str]
) -> None:
    group = file.create_group("boundary_conditions")
    for name, points in coordinates.items():
        boundary = group.create_group(f"{name}_{boundaries[name]}")
        boundary.attrs["associated_dims"] = _strings([name])
        boundary.attrs["associated_fields"] = _strings([])
        boundary.attrs["bc_type"] = boundaries[name].upper()
        boundary.attrs["sample_varying"] = False
        boundary.attrs["time_varying"] = False
        mask = np.zeros(len(points), bool)
        mask[[0, -1]] = True
        boundary.create_dataset("mask", data=mask)


def _write_scalars(
    file: h5py.File, parameters: Mapping[str, np.ndarray | float], units: Mapping[str, str]
) -> None:
    group = file.create_group("scalars")
    group.attrs["field_names"] = _strings(list(parameters))
    for name, value in parameters.items():
        kind = np.float64 if is_lost(value, np.std(value)) else np.float32
        written = group.create_dataset(name, data=value, dtype=kind)
        written.attrs["sample_varying"] = np.ndim(value) == 1
        written.attrs["time_varying"] = False
        # A parameter may be called `time`, whose unit is another.
        if name != "time":
            written.attrs.update(_units(units, name))
