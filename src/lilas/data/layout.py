"""The layout of The Well's files, read part by part, so that all that is wrong can be told at once.

The format is The Well's (Ohana et al. 2024) as its own reader `the_well.data.WellDataset` takes it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lilas.data import hdf5
from lilas.data.axes import check_names, read_axis, standing
from lilas.data.channels import Field, is_used
from lilas.data.hdf5 import FOREIGN
from lilas.data.presence import check_present
from lilas.errors import LilasError, broken

BOUNDARIES = {"wall": 0, "open": 1, "periodic": 2}
ORDERS = (0, 1, 2)


class Faults:
    """What is wrong with a file, gathered while its parts are read.

    Attributes:
        found: The errors, each with the field that it concerns; "" is the whole file.
    """

    def __init__(self) -> None:
        self.found: list[tuple[str, LilasError]] = []

    def of(self, function: Callable[..., Any], *arguments: Any, field: str = "") -> Any:
        """Returns what a function returns; None where it refuses, or where an argument is None."""
        if any(argument is None for argument in arguments):
            return None
        try:
            return function(*arguments)
        except LilasError as error:
            self.found.append((field, error))
            return None

    def among(self, fields: Sequence[str] | None) -> list[LilasError]:
        """Returns the errors of the file and of the fields that names ask for; None is all."""
        return [error for name, error in self.found if not name or is_used(name, fields)]


@dataclass(eq=False)
class Layout:
    """What the parts of a file say; None where a part can't be read.

    Attributes:
        dataset: Name of the dataset.
        grid: Kind of grid.
        axes: Names of the space axes.
        trajectories: Number of trajectories.
        times: Time of each step, float64 (trajectory, time).
        coordinates: Grid points by axis, float64 (trajectory, point).
        fields: The fields that vary in time, in the file's order.
        constants: Names of the fields that do not.
        parameters: Constant scalars in the file's order, each float64 (trajectory,).
        varying: Names of the scalars that vary in time.
        codes: Codes of `BOUNDARIES` at both ends of the axes, int64 (axis, 2).
        uncovered: The ends that no boundary covers, as `x (first end)`.
        time_units: Unit of time; `unspecified` where the file does not say, as The Well's do not.
        axis_units: Units of time and of the space axes, where their datasets give one.
        parameter_units: Units of the parameters, where they give one.
        others: Other files that hold values of its fields.
    """

    dataset: str | None = None
    grid: str | None = None
    axes: tuple[str, ...] | None = None
    trajectories: int | None = None
    times: np.ndarray | None = None
    coordinates: dict[str, np.ndarray] | None = None
    fields: dict[str, Field] = field(default_factory=dict)
    constants: list[str] = field(default_factory=list)
    parameters: dict[str, np.ndarray] = field(default_factory=dict)
    varying: list[str] = field(default_factory=list)
    codes: np.ndarray | None = None
    uncovered: list[str] = field(default_factory=list)
    time_units: str = "unspecified"
    axis_units: dict[str, str] = field(default_factory=dict)
    parameter_units: dict[str, str] = field(default_factory=dict)
    others: set[Path] = field(default_factory=set)

    @property
    def sizes(self) -> tuple[int, ...] | None:
        """Trajectories, steps and grid points along each axis."""
        if self.trajectories is None or self.times is None or self.coordinates is None:
            return None
        points = (axis.shape[1] for axis in self.coordinates.values())
        return (self.trajectories, self.times.shape[1], *points)

    def doubts(self) -> list[str]:
        """Returns what looks wrong and may be right, a line each."""
        found = []
        if self.times is not None and (told := standing(self.times)):
            found.append(told)
        if self.uncovered:
            found.append(f"no boundary condition covers {', '.join(self.uncovered)}; taken as open")
        if self.varying:
            found.append(f"scalars that vary in time are left out: {', '.join(self.varying)}")
        return found


def read_layout(
    path: Path, file: h5py.File, fields: Sequence[str] | None, faults: Faults
) -> Layout:
    """Returns what an open file holds, and adds all that is wrong with it to `faults`.

    Args:
        path: The file that errors name.
        file: The file.
        fields: Fields, or components, whose values must be there; None is all that vary in time.
        faults: Gathers what is wrong.
    """
    of, found = faults.of, Layout()
    found.dataset = of(hdf5.text, path, file, "dataset_name")
    found.grid = of(hdf5.text, path, file, "grid_type")
    found.trajectories = of(hdf5.integer, path, file, "n_trajectories")
    if "time_units" in file.attrs:
        found.time_units = of(hdf5.text, path, file, "time_units")
    _read_dimensions(path, file, found, faults)
    seen: dict[str, int] = {}
    for order in ORDERS:
        group = of(hdf5.group, path, file, f"t{order}_fields")
        for name in of(hdf5.names, path, group, "field_names") or ():
            if name in seen:
                expected, places = f"one field {name}", f"t{seen[name]}_ and t{order}_fields"
                faults.found.append((name, broken(path, expected, places, FOREIGN)))
                continue
            seen[name] = order
            held = of(_open_field, path, group, name, field=name)
            if held is None:
                continue
            if not of(hdf5.flag, path, held, "time_varying", field=name):
                found.constants.append(name)
                continue
            of(_check_field, path, held, order, found.axes, found.sizes, field=name)
            if is_used(name, fields):
                found.others |= of(check_present, path, held, field=name) or set()
            found.fields[name] = of(_field, path, held, name, order, field=name)
    _read_parameters(path, file, found, faults)
    _read_boundaries(path, file, found, faults)
    return found


def _read_dimensions(path: Path, file: h5py.File, found: Layout, faults: Faults) -> None:
    of = faults.of
    group = of(hdf5.group, path, file, "dimensions")
    found.axes = of(hdf5.names, path, group, "spatial_dims")
    of(check_names, path, found.axes)
    counted = of(hdf5.integer, path, file, "n_spatial_dims")
    if None not in (found.axes, counted) and counted != len(found.axes):
        expected, named = f"{counted} space axes (n_spatial_dims)", f"{found.axes}"
        faults.found.append(("", broken(path, expected, named, FOREIGN)))
    axes = {}
    for name in ("time", *(found.axes or ())):
        held = of(hdf5.dataset, path, group, name)
        if of(hdf5.require, path, held, "sample_varying"):
            axes[name] = of(read_axis, path, group, name, found.trajectories)
            found.axis_units |= of(_units, path, held, name) or {}
    found.times = axes.pop("time", None)
    if found.axes is not None and all(axes.get(name) is not None for name in found.axes):
        found.coordinates = axes


def _field(path: Path, held: h5py.Dataset, name: str, order: int) -> Field:
    symmetric, antisymmetric = (
        order == 2 and key in held.attrs and hdf5.flag(path, held, key)
        for key in ("symmetric", "antisymmetric")
    )
    units = _units(path, held, name).get(name, "")
    return Field(name, order, symmetric - antisymmetric, str(held.dtype), units)


def _units(path: Path, held: h5py.Dataset, name: str) -> dict[str, str]:
    """Returns the unit of a dataset by its name; empty where it gives none."""
    units = hdf5.text(path, held, "units") if "units" in held.attrs else ""
    return {name: units} if units else {}


def _open_field(path: Path, group: h5py.Group, name: str) -> h5py.Dataset:
    if "/" in name:
        # Figures are files with the names of fields.
        action = "Move it out of the group within, and rename it in field_names."
        raise broken(path, f"fields of {group.name} without / in their names", name, action)
    held = hdf5.dataset(path, group, name)
    hdf5.require(path, held, "dim_varying", "sample_varying", "time_varying")
    return held


def _check_field(
    path: Path, held: h5py.Dataset, order: int, axes: tuple[str, ...], sizes: tuple[int, ...]
) -> tuple[int, ...]:
    """Refuses a field of a wrong shape; returns its space shape, 1 where it does not vary."""
    varies = np.atleast_1d(hdf5.attribute(path, held, "dim_varying")).astype(bool)
    if len(varies) != len(axes):
        expected = f"dim_varying of {held.name} with {len(axes)} entries"
        raise broken(path, expected, f"{len(varies)}", FOREIGN)
    trajectories, steps, *shape = sizes
    leading = [("trajectory", trajectories)] if hdf5.flag(path, held, "sample_varying") else []
    leading.append(("time", steps))
    components = [("component", len(axes))] * order
    whole = [
        (axis, size if vary else 1) for axis, size, vary in zip(axes, shape, varies, strict=True)
    ]
    kept = [*leading, *whole, *components]
    if held.shape != tuple(size for _, size in kept):
        left_out = [axis for axis, vary in zip(whole, varies, strict=True) if vary]
        hdf5.check_shape(path, held, [*leading, *left_out, *components])
    if held.dtype.kind not in "fiu":
        raise broken(path, f"numbers in {held.name}", f"{held.dtype}", FOREIGN)
    return tuple(size for _, size in whole)


def open_field(
    path: Path, file: h5py.File, name: str, order: int, sizes: tuple[int, ...]
) -> tuple[h5py.Dataset, tuple[int, ...]]:
    """Returns a field's dataset and its space shape, 1 along the axes where it does not vary.

    The Well's reader keeps such an axis with one point, its specification leaves it out: both are
    taken.

    Raises:
        LilasError: the field is not there, or of another shape.
    """
    held = hdf5.dataset(path, hdf5.group(path, file, f"t{order}_fields"), name)
    axes = hdf5.names(path, file["dimensions"], "spatial_dims")
    return held, _check_field(path, held, order, axes, sizes)


def _read_parameters(path: Path, file: h5py.File, found: Layout, faults: Faults) -> None:
    of = faults.of
    group = of(hdf5.group, path, file, "scalars")
    for name in of(hdf5.names, path, group, "field_names") or ():
        held = of(hdf5.dataset, path, group, name)
        if not of(hdf5.require, path, held, "sample_varying", "time_varying"):
            continue
        if of(hdf5.flag, path, held, "time_varying"):
            found.varying.append(name)
        else:
            found.parameters[name] = of(_parameter, path, held, found.trajectories)
            found.parameter_units |= of(_units, path, held, name) or {}


def _parameter(path: Path, held: h5py.Dataset, trajectories: int) -> np.ndarray:
    varies = hdf5.flag(path, held, "sample_varying")
    expected = [("trajectory", trajectories)] if varies else []
    if held.shape is None or held.size != math.prod(size for _, size in expected):
        hdf5.check_shape(path, held, expected)
    # A number may be a list of one number.
    return np.full(trajectories, hdf5.numbers(path, held).ravel())


def _read_boundaries(path: Path, file: h5py.File, found: Layout, faults: Faults) -> None:
    """Reads the boundary codes by the rules of the_well's reader.

    An end is open unless a boundary's mask covers it: all of it for a wall, any of it for an open
    or a periodic boundary. Where boundaries overlap, the last in alphabetical order holds.
    """
    group = faults.of(hdf5.group, path, file, "boundary_conditions")
    sizes = found.sizes and dict(zip(found.axes, found.sizes[2:], strict=True))
    covered: dict[tuple[str, int], int] = {}
    for name in group or ():
        boundary = faults.of(hdf5.group, path, group, name)
        kind = faults.of(_kind, path, boundary)
        for end in faults.of(_ends, path, boundary, kind, sizes) or ():
            covered[end] = BOUNDARIES[kind]
    ends = [[(axis, end) for end in (0, 1)] for axis in found.axes or ()]
    found.codes = np.array([[covered.get(e, BOUNDARIES["open"]) for e in pair] for pair in ends])
    if group is not None and sizes:
        found.uncovered = [
            f"{axis} ({('first', 'last')[end]} end)"
            for axis, end in chain(*ends)
            if (axis, end) not in covered
        ]


def _kind(path: Path, boundary: h5py.Group) -> str:
    hdf5.require(path, boundary, "bc_type", "associated_dims")
    kind = hdf5.text(path, boundary, "bc_type").lower()
    if kind not in BOUNDARIES:
        expected = f"bc_type of {boundary.name} among {', '.join(BOUNDARIES)}"
        raise broken(path, expected, repr(kind), FOREIGN)
    return kind


def _ends(
    path: Path, boundary: h5py.Group, kind: str, sizes: dict[str, int]
) -> list[tuple[str, int]]:
    """Returns the ends that a boundary covers: an axis, and 0 for its first or 1 for its last."""
    axes = hdf5.names(path, boundary, "associated_dims")
    if unknown := [name for name in axes if name not in sizes]:
        expected = f"associated_dims of {boundary.name} among {', '.join(sizes)}"
        raise broken(path, expected, f"{', '.join(unknown)}", FOREIGN)
    mask = hdf5.dataset(path, boundary, "mask")
    # Axes beyond those that it is associated with are covered like the boundary itself.
    wanted = [(name, sizes[name]) for name in axes]
    if mask.shape is None or mask.shape[: len(axes)] != tuple(size for _, size in wanted):
        hdf5.check_shape(path, mask, wanted)
    check_present(path, mask)
    covers = np.all if kind == "wall" else np.any
    values = mask[()].astype(bool)
    return [
        (name, end)
        for axis, name in enumerate(axes)
        for end, position in enumerate((0, -1))
        if covers(values.take(position, axis))
    ]
