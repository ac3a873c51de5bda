"""The Well's HDF5 files, checked: what one holds, apart from the states themselves.

The format is The Well's (Ohana et al. 2024) as its own reader `the_well.data.WellDataset` takes
it: fields lie as (trajectory, time, *space[, component]), apart from the axes along which they do
not vary; vectors and tensors have one component per space axis. In memory a state is channel
first, (channel, *space).
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lilas.data import hdf5
from lilas.data.axes import check_names, read_axis, standing
from lilas.data.channels import Channel, Field, select
from lilas.data.hdf5 import FOREIGN, open_hdf5
from lilas.data.presence import check_present
from lilas.errors import LilasError, broken

BOUNDARIES = {"wall": 0, "open": 1, "periodic": 2}
ORDERS = (0, 1, 2)


@dataclass(frozen=True, eq=False)
class WellFile:
    """What a checked file holds, apart from the states themselves.

    Attributes:
        path: Where it lies.
        dataset: Name of the dataset.
        grid: Kind of grid, such as `cartesian`.
        axes: Names of the space axes.
        shape: Number of grid points along each space axis.
        trajectories: Number of trajectories.
        steps: Number of states per trajectory.
        times: Time of each step, float64 (trajectory, time).
        time_units: Unit of time; `unspecified` where the file does not say, as The Well's do not.
        coordinates: Grid points by axis, float64 (trajectory, point).
        channels: Channels of the requested fields, in the requested order.
        parameters: Constant scalars in the file's order, each float64 (trajectory,).
        boundaries: Codes of `BOUNDARIES` at both ends of the axes, int64 (axis, 2).
    """

    path: Path
    dataset: str
    grid: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    trajectories: int
    steps: int
    times: np.ndarray = field(repr=False)
    time_units: str
    coordinates: dict[str, np.ndarray] = field(repr=False)
    channels: tuple[Channel, ...]
    parameters: dict[str, np.ndarray]
    boundaries: np.ndarray


def open_well(path: str | Path, fields: Sequence[str] | None = None) -> WellFile:
    """Checks one file of The Well and returns what it holds.

    The shape of each field is checked against the axes along which its attributes say it varies.
    Times and grid points are each trajectory's own; that times do not grow is no error, and
    `doubts` tells it.

    Args:
        path: The file.
        fields: Fields to read, or single components, in channel order; None is every field that
            varies in time, in the file's order, scalars first. A symmetric or antisymmetric tensor
            is read without the components that repeat others.

    Raises:
        LilasError: the file is damaged, foreign or inconsistent, or lacks a requested field.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        space = hdf5.group(path, file, "dimensions")
        dimensions = hdf5.names(path, space, "spatial_dims")
        counted = hdf5.integer(path, file, "n_spatial_dims")
        if counted != len(dimensions):
            raise broken(path, f"{counted} space axes (n_spatial_dims)", f"{dimensions}", FOREIGN)
        check_names(path, dimensions)
        trajectories = hdf5.integer(path, file, "n_trajectories")
        times = read_axis(path, space, "time", trajectories)
        coordinates = {name: read_axis(path, space, name, trajectories) for name in dimensions}
        shape = tuple(points.shape[1] for points in coordinates.values())
        sizes = (trajectories, times.shape[1], *shape)
        found = _time_varying(path, file, sizes)
        channels = select(path, list(found.values()), dimensions, fields)
        for name, order in dict.fromkeys((one.field, one.order) for one in channels):
            check_present(path, file[f"t{order}_fields"][name])
        return WellFile(
            path=path,
            dataset=hdf5.text(path, file, "dataset_name"),
            grid=hdf5.text(path, file, "grid_type"),
            axes=dimensions,
            shape=shape,
            trajectories=trajectories,
            steps=times.shape[1],
            times=times,
            time_units=str(file.attrs.get("time_units", "unspecified")),
            coordinates=coordinates,
            channels=channels,
            parameters=_parameters(path, file, trajectories),
            boundaries=_boundaries(path, file, dict(zip(dimensions, shape, strict=True))),
        )


def open_files(paths: Sequence[str | Path], fields: Sequence[str] | None = None) -> list[WellFile]:
    """Opens the files of a split and checks that they hold states of one kind.

    Grid shape, axes, channels, parameter names and the unit of time must be the same. Times, grid
    points and the number of steps are each file's own, as dataset names and boundaries are: Euler's
    two datasets are used together. What is doubtful in a file is warned of.

    Raises:
        LilasError: there is no file, a file is broken, or two files disagree.
    """
    files = [open_well(path, fields) for path in paths]
    if not files:
        raise LilasError("no data files were given: a split holds at least one")
    first = files[0]
    for other in files[1:]:
        for what, value in _identity(first).items():
            if _identity(other)[what] != value:
                raise _disagreement(other, first, what, value, _identity(other)[what])
    for doubt in (doubt for file in files for doubt in doubts(file)):
        warnings.warn(doubt, stacklevel=2)
    return files


def doubts(file: WellFile) -> list[str]:
    """Returns what looks wrong in a file and may be right, a line each that names the file."""
    found = standing(file.times)
    return [f"{file.path}: {found}"] if found else []


def _time_varying(path: Path, file: h5py.File, sizes: tuple[int, ...]) -> dict[str, Field]:
    """Returns the fields that vary in time by name, after a check of their shapes."""
    found: dict[str, Field] = {}
    for order in ORDERS:
        group = hdf5.group(path, file, f"t{order}_fields")
        for name in hdf5.names(path, group, "field_names"):
            dataset = hdf5.dataset(path, group, name)
            if hdf5.flag(path, dataset, "time_varying"):
                if name in found:
                    expected = f"one field {name}"
                    other = f"t{found[name].order}_ and t{order}_fields"
                    raise broken(path, expected, other, FOREIGN)
                open_field(path, file, name, order, sizes)
                symmetric, other = (
                    order == 2 and key in dataset.attrs and hdf5.flag(path, dataset, key)
                    for key in ("symmetric", "antisymmetric")
                )
                found[name] = Field(name, order, symmetric - other)
    return found


def open_field(
    path: Path, file: h5py.File, name: str, order: int, sizes: tuple[int, ...]
) -> tuple[h5py.Dataset, tuple[int, ...]]:
    """Returns a field's dataset and its space shape, 1 along the axes where it does not vary.

    The Well's reader keeps such an axis with one point, its specification leaves it out: both are
    taken.
    """
    dataset = hdf5.dataset(path, hdf5.group(path, file, f"t{order}_fields"), name)
    dimensions = hdf5.names(path, file["dimensions"], "spatial_dims")
    varies = np.atleast_1d(hdf5.attribute(path, dataset, "dim_varying")).astype(bool)
    if len(varies) != len(dimensions):
        expected = f"dim_varying of {dataset.name} with {len(dimensions)} entries"
        raise broken(path, expected, f"{len(varies)}", FOREIGN)
    trajectories, steps, *shape = sizes
    leading = [("trajectory", trajectories)] if hdf5.flag(path, dataset, "sample_varying") else []
    leading.append(("time", steps))
    components = [("component", len(dimensions))] * order
    whole = [
        (dim, size if vary else 1)
        for dim, size, vary in zip(dimensions, shape, varies, strict=True)
    ]
    kept = [*leading, *whole, *components]
    if dataset.shape != tuple(size for _, size in kept):
        left_out = [axis for axis, vary in zip(whole, varies, strict=True) if vary]
        hdf5.check_shape(path, dataset, [*leading, *left_out, *components])
    if dataset.dtype.kind not in "fiu":
        raise broken(path, f"numbers in {dataset.name}", f"{dataset.dtype}", FOREIGN)
    return dataset, tuple(size for _, size in whole)


def _parameters(path: Path, file: h5py.File, trajectories: int) -> dict[str, np.ndarray]:
    group = hdf5.group(path, file, "scalars")
    found = {}
    for name in hdf5.names(path, group, "field_names"):
        dataset = hdf5.dataset(path, group, name)
        if hdf5.flag(path, dataset, "time_varying"):
            continue
        varies = hdf5.flag(path, dataset, "sample_varying")
        expected = [("trajectory", trajectories)] if varies else []
        if dataset.size != math.prod(size for _, size in expected) or dataset.shape is None:
            hdf5.check_shape(path, dataset, expected)
        # A number may be a list of one number.
        found[name] = np.full(trajectories, hdf5.numbers(path, dataset).ravel())
    return found


def _boundaries(path: Path, file: h5py.File, sizes: dict[str, int]) -> np.ndarray:
    """Returns the boundary codes (axis, 2), by the rules of the_well's reader.

    An end is open unless a boundary's mask covers it: all of it for a wall, any of it for an open
    or a periodic boundary. Where boundaries overlap, the last in alphabetical order holds.
    """
    codes = np.full((len(sizes), 2), BOUNDARIES["open"])
    group = hdf5.group(path, file, "boundary_conditions")
    for boundary in (hdf5.group(path, group, name) for name in group):
        kind = hdf5.text(path, boundary, "bc_type").lower()
        if kind not in BOUNDARIES:
            expected = f"bc_type of {boundary.name} among {', '.join(BOUNDARIES)}"
            raise broken(path, expected, repr(kind), FOREIGN)
        dims = hdf5.names(path, boundary, "associated_dims")
        unknown = [name for name in dims if name not in sizes]
        if unknown:
            expected = f"associated_dims of {boundary.name} among {', '.join(sizes)}"
            raise broken(path, expected, f"{', '.join(unknown)}", FOREIGN)
        mask = hdf5.dataset(path, boundary, "mask")
        hdf5.check_shape(path, mask, [(name, sizes[name]) for name in dims])
        check_present(path, mask)
        covers = np.all if kind == "wall" else np.any
        values = mask[()].astype(bool)
        for axis, name in enumerate(dims):
            for end, position in enumerate((0, -1)):
                if covers(values.take(position, axis)):
                    codes[list(sizes).index(name), end] = BOUNDARIES[kind]
    return codes


def _identity(file: WellFile) -> dict[str, Any]:
    """Returns what the files of a split have in common."""
    return {
        "grid": file.grid,
        "space axes": file.axes,
        "grid shape": file.shape,
        "time unit": file.time_units,
        "channels": tuple(channel.name for channel in file.channels),
        "parameters": tuple(file.parameters),
    }


def _disagreement(other: WellFile, first: WellFile, what: str, a: Any, b: Any) -> LilasError:
    action = "Keep files of one kind in a split: move one of the two, or narrow `include`."
    return broken(other.path, f"the {what} of {first.path}, {a}", f"{b}", action)
