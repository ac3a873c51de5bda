"""The Well's HDF5 files, checked: what one holds, apart from the states themselves.

The format is The Well's (Ohana et al. 2024) as its own reader `the_well.data.WellDataset` takes
it: fields lie as (trajectory, time, *space[, component]), apart from the axes along which they do
not vary; vectors and tensors have one component per space axis. In memory a state is channel
first, (channel, *space).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lilas.data.channels import Channel, Field, select
from lilas.data.check import disagreements
from lilas.data.hdf5 import open_hdf5
from lilas.data.layout import Faults, read_layout
from lilas.errors import LilasError


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
        fields: The fields that channels are of.
        channels: Channels of the requested fields, in the requested order.
        parameters: Constant scalars in the file's order, each float64 (trajectory,).
        boundaries: Codes of `BOUNDARIES` at both ends of the axes, int64 (axis, 2).
        axis_units: Units of time and of the space axes, where their datasets give one.
        parameter_units: Units of the parameters, where they give one.
        doubts: What looks wrong in the file and may be right, a line each.
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
    fields: dict[str, Field]
    channels: tuple[Channel, ...]
    parameters: dict[str, np.ndarray]
    boundaries: np.ndarray
    axis_units: dict[str, str]
    parameter_units: dict[str, str]
    doubts: tuple[str, ...] = ()


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
    path, faults = Path(path), Faults()
    with open_hdf5(path) as file:
        layout = read_layout(path, file, fields, faults)
    if errors := faults.among(fields):
        more = f" And {len(errors) - 1} more: `lilas check {path}` tells all."
        raise LilasError(f"{errors[0]}{more if len(errors) > 1 else ''}")
    channels = select(path, list(layout.fields.values()), layout.axes, fields)
    return WellFile(
        path=path,
        dataset=layout.dataset,
        grid=layout.grid,
        axes=layout.axes,
        shape=layout.sizes[2:],
        trajectories=layout.trajectories,
        steps=layout.sizes[1],
        times=layout.times,
        time_units=layout.time_units,
        coordinates=layout.coordinates,
        fields={one.field: layout.fields[one.field] for one in channels},
        channels=channels,
        parameters=layout.parameters,
        boundaries=layout.codes,
        axis_units=layout.axis_units,
        parameter_units=layout.parameter_units,
        doubts=tuple(layout.doubts()),
    )


def open_files(paths: Sequence[str | Path], fields: Sequence[str] | None = None) -> list[WellFile]:
    """Opens the files of a split and checks that they hold states of one kind.

    Grid shape, axes, channels, parameter names and all units must be the same. Times, grid
    points and the number of steps are each file's own, as dataset names and boundaries are: Euler's
    two datasets are used together. What is doubtful in a file is warned of.

    Raises:
        LilasError: there is no file, a file is broken, or two files disagree.
    """
    files = [open_well(path, fields) for path in paths]
    if not files:
        raise LilasError("no data files were given: a split holds at least one")
    for other in files[1:]:
        for fault in disagreements(files[0], other, files[0].channels, other.channels):
            raise LilasError(str(fault))
    for file in files:
        for doubt in file.doubts:
            warnings.warn(f"{file.path}: {doubt}", stacklevel=2)
    return files


def open_splits(
    *splits: Sequence[str | Path], fields: Sequence[str] | None = None
) -> list[list[WellFile]]:
    """Opens the files of several splits, which must hold states of one kind as those of one do.

    Raises:
        LilasError: as `open_files`, or two splits disagree.
    """
    opened = [open_files(paths, fields) for paths in splits]
    first = opened[0][0]
    for other in (files[0] for files in opened[1:]):
        for fault in disagreements(first, other, first.channels, other.channels):
            raise LilasError(str(fault))
    return opened
