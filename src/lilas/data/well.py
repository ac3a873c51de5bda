"""The Well's HDF5 files: the one place that opens, checks, reads and writes them.

The format is The Well's (Ohana et al. 2024) as its own reader `the_well.data.WellDataset` takes
it: fields lie as (trajectory, time, *space[, component]), apart from the axes along which they do
not vary; vectors and tensors have one component per space axis. In memory a state is channel
first, (channel, *space).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

from lilas.data import chunks
from lilas.errors import LilasError, broken

BOUNDARIES = {"wall": 0, "open": 1, "periodic": 2}
ORDERS = (0, 1, 2)
SUFFIXES = (".hdf5", ".h5")
REPLACE = "Delete it and make or download it again."
FOREIGN = "It is not a file of The Well: see the_well's data format."


@dataclass(frozen=True)
class Channel:
    """One channel of a state: a scalar field, or one component of a vector or tensor field.

    Attributes:
        field: Name of the field.
        order: Order of the field: 0 scalar, 1 vector, 2 tensor.
        axes: Space axes of the component, one index per order.
        dims: Names of those axes.
    """

    field: str
    order: int
    axes: tuple[int, ...]
    dims: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the channel, as the_well's: `buoyancy`, `velocity_x`, `stress_xy`."""
        return f"{self.field}_{''.join(self.dims)}" if self.dims else self.field


@dataclass(frozen=True, eq=False)
class WellFile:
    """What a checked file holds, apart from the states themselves.

    Attributes:
        path: Where it lies.
        dataset: Name of the dataset.
        grid: Kind of grid, such as `cartesian`.
        dimensions: Names of the space axes.
        shape: Number of grid points along each space axis.
        trajectories: Number of trajectories.
        steps: Number of states per trajectory.
        time: Time of each step, float64 (time,).
        time_units: Unit of time; `unspecified` where the file does not say, as The Well's do not.
        coordinates: Grid points by axis, float64 (point,).
        channels: Channels of the requested fields, in the requested order.
        parameters: Constant scalars in the file's order, each float64 (trajectory,).
        boundaries: Codes of `BOUNDARIES` at both ends of the axes, int64 (axis, 2).
    """

    path: Path
    dataset: str
    grid: str
    dimensions: tuple[str, ...]
    shape: tuple[int, ...]
    trajectories: int
    steps: int
    time: np.ndarray = field(repr=False)
    time_units: str
    coordinates: dict[str, np.ndarray] = field(repr=False)
    channels: tuple[Channel, ...]
    parameters: dict[str, np.ndarray]
    boundaries: np.ndarray


# --- Reading ----------------------------------------------------------------------------------


@contextmanager
def open_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """Opens an HDF5 file for reading and tells every failure of the block's reads as its own.

    Raises:
        LilasError: the file is missing, locked, not permitted, not HDF5, truncated or damaged.
    """
    path = Path(path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except FileNotFoundError:
        raise broken(path, "an HDF5 file", "nothing", "Make or download it.") from None
    except PermissionError:
        action = "Ask its owner for permission to read it (chmod), or correct the path."
        raise broken(path, "a file this user may read", "permission denied", action) from None
    except BlockingIOError:
        action = "Wait for the program that writes it, then run again."
        raise broken(path, "a finished file", "one that is being written", action) from None
    except (OSError, RuntimeError, KeyError) as error:
        # HDF5 raises the last two where the file opens but its structure cannot be followed.
        if isinstance(error, OSError) and error.errno is not None:
            found, action = error.strerror or str(error), "See that its path and disk are in order."
        elif "truncated" in str(error):
            found, action = "a truncated file", REPLACE
        elif "signature not found" in str(error):
            found, action = "something else than HDF5", REPLACE
        else:
            found, action = f"a damaged file ({error})", REPLACE
        raise broken(path, "a whole HDF5 file", found, action) from None


def open_well(path: str | Path, fields: Sequence[str] | None = None) -> WellFile:
    """Checks one file of The Well and returns what it holds.

    The shape of each field is checked against the axes along which its attributes say it varies.
    A file whose time or grid differs between its trajectories is refused unless the difference is
    that of `open_files`; then the first trajectory's stands for all.

    Args:
        path: The file.
        fields: Fields to read, in channel order; None is every field that varies in time, in the
            file's order, scalars first.

    Raises:
        LilasError: the file is damaged, foreign or inconsistent, or lacks a requested field.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        space = _group(path, file, "dimensions")
        dimensions = _names(path, space, "spatial_dims")
        counted = _integer(path, file, "n_spatial_dims")
        if counted != len(dimensions):
            raise broken(path, f"{counted} space axes (n_spatial_dims)", f"{dimensions}", FOREIGN)
        trajectories = _integer(path, file, "n_trajectories")
        time = _axis(path, space, "time", trajectories, 0.1)
        if (np.diff(time) <= 0).any():
            raise broken(path, "a time that grows from step to step", _span(time), REPLACE)
        coordinates = {name: _axis(path, space, name, trajectories, 1.0) for name in dimensions}
        shape = tuple(len(points) for points in coordinates.values())
        sizes = (trajectories, len(time), *shape)
        found = _time_varying(path, file, sizes)
        chosen = tuple(found) if fields is None else tuple(fields)
        missing = [name for name in chosen if name not in found]
        if missing:
            expected = f"the fields {', '.join(missing)}, varying in time"
            action = "Correct the fields in states, or take a file that holds them."
            raise broken(path, expected, f"only {', '.join(found) or 'none'}", action)
        if not chosen or len(set(chosen)) < len(chosen):
            raise LilasError(f"{path}: asked for the fields {chosen}; name each field once")
        return WellFile(
            path=path,
            dataset=_text(path, file, "dataset_name"),
            grid=_text(path, file, "grid_type"),
            dimensions=dimensions,
            shape=shape,
            trajectories=trajectories,
            steps=len(time),
            time=time,
            time_units=str(file.attrs.get("time_units", "unspecified")),
            coordinates=coordinates,
            channels=tuple(
                Channel(name, found[name], axes, tuple(dimensions[axis] for axis in axes))
                for name in chosen
                for axes in product(range(len(dimensions)), repeat=found[name])
            ),
            parameters=_parameters(path, file, trajectories),
            boundaries=_boundaries(path, file, dict(zip(dimensions, shape, strict=True))),
        )


def open_files(paths: Sequence[str | Path], fields: Sequence[str] | None = None) -> list[WellFile]:
    """Opens the files of a split and checks that they hold states of one kind.

    Grid, axes, steps, channels and parameter names must be the same. Time axes may differ by a
    tenth of the interval between states (solvers with an adaptive step save shortly after the
    nominal time) and coordinates by one grid spacing (points in the cells' centres or at their
    edges). Dataset names and boundaries may differ: Euler's two datasets are used together.

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
        for what, mine, theirs, tolerance in (
            ("time axis", first.time, other.time, 0.1),
            *(
                (f"coordinate {name!r}", points, other.coordinates[name], 1.0)
                for name, points in first.coordinates.items()
            ),
        ):
            if not _close(mine, theirs, tolerance):
                raise _disagreement(other, first, what, _span(mine), _span(theirs))
    return files


def read_states(file: WellFile, trajectory: int, steps: slice = slice(None)) -> np.ndarray:
    """Returns states of one trajectory, float32 (time, channel, *space).

    Fields that do not vary between trajectories or along a space axis are repeated.

    Args:
        file: The file, with its channels.
        trajectory: Index in the file, from 0.
        steps: Steps to read, in ascending order.

    Raises:
        LilasError: the file holds no such trajectory, has changed, or a value is not finite.
    """
    if not 0 <= trajectory < file.trajectories:
        raise LilasError(
            f"{file.path}: no trajectory {trajectory}; it holds 0 to {file.trajectories - 1}"
        )
    wanted = range(file.steps)[steps]
    if wanted.step < 1:
        raise LilasError(f"{file.path}: steps are read in ascending order, not by {wanted.step}")
    states = np.empty((len(wanted), len(file.channels), *file.shape), np.float32)
    sizes = (file.trajectories, file.steps, *file.shape)
    ascending = slice(wanted.start, max(wanted.stop, wanted.start), wanted.step)
    fields = dict.fromkeys((channel.field, channel.order) for channel in file.channels)
    first = 0
    with open_hdf5(file.path) as opened, np.errstate(over="ignore"):
        for name, order in fields:
            dataset, whole = _field(file.path, opened, name, order, sizes)
            varies = _flag(file.path, dataset, "sample_varying")
            values = chunks.read(dataset, (trajectory, ascending) if varies else (ascending,))
            components = len(file.shape) ** order
            values = values.astype(np.float32, copy=False)
            values = values.reshape(len(wanted), *whole, components)
            states[:, first : first + components] = np.moveaxis(values, -1, 1)
            first += components
    finite = np.isfinite(states).all(axis=tuple(range(2, states.ndim)))
    if not finite.all():
        step, channel = np.argwhere(~finite)[0]
        raise broken(
            file.path,
            "finite float32 values",
            f"NaN or infinity in trajectory {trajectory}, step {wanted[step]} (the first), "
            f"channel {file.channels[channel].name}",
            "Remove the trajectory, or make or download the file again.",
        )
    return states


def label(file: WellFile, transforms: Mapping[str, Literal["log", "none"]]) -> np.ndarray:
    """Returns the label of each trajectory, float32 (trajectory, feature).

    Features are the constant scalars in the file's order, then the boundary codes, first and last
    end of each axis in turn (official code 1.1.0).

    Args:
        file: The file.
        transforms: Transform of each parameter, natural `log` or `none`; others stay raw. Names
            are taken as they are written: `T0` is not `t0`.

    Raises:
        LilasError: a transform names no parameter or is unknown, or a logarithm has no value.
    """
    for name, transform in transforms.items():
        if name not in file.parameters:
            raise LilasError(
                f"label: {file.path} has no parameter {name!r}; "
                f"it has {', '.join(file.parameters) or 'none'}"
            )
        if transform not in ("log", "none"):
            raise LilasError(f"label: transform of {name} is 'log' or 'none', not {transform!r}")
        if transform == "log" and (file.parameters[name] <= 0).any():
            raise LilasError(
                f"label: {name} is {file.parameters[name].min():g} in {file.path}, which has no "
                "logarithm. Set its transform to 'none'."
            )
    columns = [
        np.log(values) if transforms.get(name) == "log" else values
        for name, values in file.parameters.items()
    ]
    columns += [np.full(file.trajectories, code) for code in file.boundaries.flatten()]
    return np.stack(columns, axis=1).astype(np.float32)


def label_names(file: WellFile) -> list[str]:
    """Returns the names of a label's features: parameters, then `boundary_x_first` and so on."""
    ends = (f"boundary_{name}_{end}" for name in file.dimensions for end in ("first", "last"))
    return [*file.parameters, *ends]


def _group(path: Path, parent: h5py.Group, name: str) -> h5py.Group:
    return _member(path, parent, name, h5py.Group)


def _dataset(path: Path, parent: h5py.Group, name: str) -> h5py.Dataset:
    return _member(path, parent, name, h5py.Dataset)


def _member(path: Path, parent: h5py.Group, name: str, kind: type) -> Any:
    expected = f"the {kind.__name__.lower()} {parent.name.rstrip('/')}/{name}"
    if name not in parent:
        raise broken(path, expected, f"only {', '.join(parent) or 'nothing'}", FOREIGN)
    if not isinstance(parent[name], kind):
        raise broken(path, expected, f"a {type(parent[name]).__name__.lower()}", FOREIGN)
    return parent[name]


def _attribute(path: Path, owner: h5py.Group | h5py.Dataset, name: str) -> Any:
    if name not in owner.attrs:
        found = f"only {', '.join(owner.attrs) or 'none'}"
        raise broken(path, f"the attribute {name} of {owner.name}", found, FOREIGN)
    return owner.attrs[name]


def _integer(path: Path, file: h5py.File, name: str) -> int:
    value = np.asarray(_attribute(path, file, name))
    if value.size != 1 or value.dtype.kind not in "iu" or value.item() < 1:
        raise broken(path, f"{name} to be an integer above 0", f"{value}", FOREIGN)
    return int(value.item())


def _text(path: Path, file: h5py.File, name: str) -> str:
    value = _attribute(path, file, name)
    return value.decode() if isinstance(value, bytes) else str(value)


def _names(path: Path, group: h5py.Group, attribute: str) -> tuple[str, ...]:
    values = np.atleast_1d(_attribute(path, group, attribute))
    return tuple(v.decode() if isinstance(v, bytes) else str(v) for v in values)


def _flag(path: Path, owner: h5py.Dataset, attribute: str) -> bool:
    value = np.asarray(_attribute(path, owner, attribute))
    if value.size != 1 or value.dtype.kind not in "biu":
        raise broken(path, f"a boolean {attribute} of {owner.name}", f"{value}", FOREIGN)
    return bool(value.item())


def _numbers(path: Path, dataset: h5py.Dataset) -> np.ndarray:
    if dataset.dtype.kind not in "fiu":
        raise broken(path, f"numbers in {dataset.name}", f"{dataset.dtype}", FOREIGN)
    values = np.asarray(dataset[()], np.float64)
    if not np.isfinite(values).all():
        raise broken(path, f"finite numbers in {dataset.name}", "NaN or infinity", REPLACE)
    return values


def _check_shape(path: Path, dataset: h5py.Dataset, axes: list[tuple[str, int]]) -> None:
    """Refuses a dataset whose shape is not that of its axes."""
    if dataset.shape != tuple(size for _, size in axes):
        named = ", ".join(f"{name} {size}" for name, size in axes)
        raise broken(path, f"{dataset.name} of shape ({named})", f"{dataset.shape}", FOREIGN)


def _axis(
    path: Path, space: h5py.Group, name: str, trajectories: int, tolerance: float
) -> np.ndarray:
    """Returns the points of an axis, float64 (point,)."""
    dataset = _dataset(path, space, name)
    points = _numbers(path, dataset)
    if _flag(path, dataset, "sample_varying"):
        size = points.shape[-1] if points.ndim else 0
        _check_shape(path, dataset, [("trajectory", trajectories), (name, size)])
        if not all(_close(points[0], row, tolerance) for row in points):
            expected = f"{dataset.name} alike in all trajectories"
            action = "Split the file into files of one kind."
            raise broken(path, expected, "different ones", action)
        points = points[0]
    if points.ndim != 1 or points.size == 0:
        raise broken(path, f"{dataset.name} of shape (point,)", f"{points.shape}", FOREIGN)
    return points


def _close(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    """Whether two axes differ by at most a fraction of the largest interval."""
    return bool(np.abs(a - b).max() <= tolerance * np.abs(np.diff(a)).max(initial=0.0))


def _span(points: np.ndarray) -> str:
    return f"{len(points)} points from {points[0]:g} to {points[-1]:g}"


def _time_varying(path: Path, file: h5py.File, sizes: tuple[int, ...]) -> dict[str, int]:
    """Returns the order of each field that varies in time, after a check of its shape."""
    found = {}
    for order in ORDERS:
        group = _group(path, file, f"t{order}_fields")
        for name in _names(path, group, "field_names"):
            if _flag(path, _dataset(path, group, name), "time_varying"):
                _field(path, file, name, order, sizes)
                found[name] = order
    return found


def _field(
    path: Path, file: h5py.File, name: str, order: int, sizes: tuple[int, ...]
) -> tuple[h5py.Dataset, tuple[int, ...]]:
    """Returns a field's dataset and its space shape, 1 along the axes where it does not vary.

    The Well's reader keeps such an axis with one point, its specification leaves it out: both are
    taken.
    """
    dataset = _dataset(path, _group(path, file, f"t{order}_fields"), name)
    dimensions = _names(path, file["dimensions"], "spatial_dims")
    varies = np.atleast_1d(_attribute(path, dataset, "dim_varying")).astype(bool)
    if len(varies) != len(dimensions):
        expected = f"dim_varying of {dataset.name} with {len(dimensions)} entries"
        raise broken(path, expected, f"{len(varies)}", FOREIGN)
    trajectories, steps, *shape = sizes
    leading = [("trajectory", trajectories)] if _flag(path, dataset, "sample_varying") else []
    leading.append(("time", steps))
    components = [("component", len(dimensions))] * order
    whole = [
        (dim, size if vary else 1)
        for dim, size, vary in zip(dimensions, shape, varies, strict=True)
    ]
    kept = [*leading, *whole, *components]
    if dataset.shape != tuple(size for _, size in kept):
        left_out = [axis for axis, vary in zip(whole, varies, strict=True) if vary]
        _check_shape(path, dataset, [*leading, *left_out, *components])
    if dataset.dtype.kind not in "fiu":
        raise broken(path, f"numbers in {dataset.name}", f"{dataset.dtype}", FOREIGN)
    return dataset, tuple(size for _, size in whole)


def _parameters(path: Path, file: h5py.File, trajectories: int) -> dict[str, np.ndarray]:
    group = _group(path, file, "scalars")
    found = {}
    for name in _names(path, group, "field_names"):
        dataset = _dataset(path, group, name)
        if _flag(path, dataset, "time_varying"):
            continue
        varies = _flag(path, dataset, "sample_varying")
        _check_shape(path, dataset, [("trajectory", trajectories)] if varies else [])
        found[name] = np.full(trajectories, _numbers(path, dataset))
    return found


def _boundaries(path: Path, file: h5py.File, sizes: dict[str, int]) -> np.ndarray:
    """Returns the boundary codes (axis, 2), by the rules of the_well's reader.

    An end is open unless a boundary's mask covers it: all of it for a wall, any of it for an open
    or a periodic boundary. Where boundaries overlap, the last in alphabetical order holds.
    """
    codes = np.full((len(sizes), 2), BOUNDARIES["open"])
    group = _group(path, file, "boundary_conditions")
    for boundary in (_group(path, group, name) for name in group):
        kind = _text(path, boundary, "bc_type").lower()
        if kind not in BOUNDARIES:
            expected = f"bc_type of {boundary.name} among {', '.join(BOUNDARIES)}"
            raise broken(path, expected, repr(kind), FOREIGN)
        dims = _names(path, boundary, "associated_dims")
        unknown = [name for name in dims if name not in sizes]
        if unknown:
            expected = f"associated_dims of {boundary.name} among {', '.join(sizes)}"
            raise broken(path, expected, f"{', '.join(unknown)}", FOREIGN)
        mask = _dataset(path, boundary, "mask")
        _check_shape(path, mask, [(name, sizes[name]) for name in dims])
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
        "space axes": file.dimensions,
        "grid shape": file.shape,
        "number of steps": file.steps,
        "time unit": file.time_units,
        "channels": tuple(channel.name for channel in file.channels),
        "parameters": tuple(file.parameters),
    }


def _disagreement(other: WellFile, first: WellFile, what: str, a: Any, b: Any) -> LilasError:
    action = "Keep files of one kind in a split: move one of the two, or narrow `include`."
    return broken(other.path, f"the {what} of {first.path}, {a}", f"{b}", action)


# --- Writing ----------------------------------------------------------------------------------
