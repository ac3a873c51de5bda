"""States of The Well's files with their labels, and those of a split as the models see them."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Literal

import h5py
import numpy as np
import torch

from lilas.data import chunks, hdf5
from lilas.data.channels import check_symmetry
from lilas.data.hdf5 import open_hdf5
from lilas.data.layout import open_field
from lilas.data.origins import told_apart
from lilas.data.preprocess import Preprocessing
from lilas.data.well import WellFile
from lilas.errors import LilasError, broken

# Bytes of a field that are read at once, but for those that share a chunk.
READ_BYTES = 16 * 2**20


def read_states(file: WellFile, trajectory: int, steps: slice = slice(None)) -> np.ndarray:
    """Returns states of one trajectory (time, channel, *space), in their file's precision.

    It is float32 where that holds every value of the fields' types, else float64. Fields that do
    not vary between trajectories or along a space axis are repeated.

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
    sizes = (file.trajectories, file.steps, *file.shape)
    fields = dict.fromkeys((channel.field, channel.order) for channel in file.channels)
    with open_hdf5(file.path) as opened:
        found = {key: open_field(file.path, opened, *key, sizes) for key in fields}
        dtype = precision(dataset.dtype for dataset, _ in found.values())
        states = np.empty((len(wanted), len(file.channels), *file.shape), dtype)
        finite = np.empty(states.shape[:2], bool)
        for (name, order), (dataset, whole) in found.items():
            varies = hdf5.flag(file.path, dataset, "sample_varying")
            own = {i: one for i, one in enumerate(file.channels) if one.field == name}
            # A few steps at a time, so that nothing else is as large as the states.
            for part in _parts(dataset, wanted, time_axis=int(varies)):
                steps = wanted[part]
                ascending = slice(steps.start, steps.stop, steps.step)
                values = chunks.read(dataset, (trajectory, ascending) if varies else (ascending,))
                values = values.astype(dtype, copy=False)
                values = values.reshape(len(steps), *whole, *[len(file.shape)] * order)
                check_symmetry(file.path, list(own.values()), values)
                space = tuple(range(1, states.ndim - 1))
                for i, channel in own.items():
                    states[part, i] = values[(..., *channel.axes)]
                    finite[part, i] = np.isfinite(states[part, i]).all(axis=space)
    if not finite.all():
        step, channel = np.argwhere(~finite)[0]
        raise broken(
            file.path,
            f"finite values in {dtype}",
            f"NaN or infinity in trajectory {trajectory}, step {wanted[step]} (the first), "
            f"channel {file.channels[channel].name}",
            "Remove the trajectory, or make or download the file again.",
        )
    return states


def precision(types: Iterable[np.dtype]) -> np.dtype:
    """Returns float32 where it holds every number of these types, else float64."""
    return min(
        np.result_type(np.float32, *types), np.dtype(np.float64), key=lambda one: one.itemsize
    )


def _parts(dataset: h5py.Dataset, wanted: range, time_axis: int) -> Iterator[slice]:
    """Yields places in `wanted`, a few at a time, so that no chunk of a dataset is read twice."""
    step = dataset.dtype.itemsize * math.prod(dataset.shape[time_axis + 1 :])
    chunk = dataset.chunks[time_axis] if dataset.chunks else 1
    few = chunk * max(1, READ_BYTES // (chunk * step))
    edges = np.flatnonzero(np.diff(np.array(wanted) // few)) + 1
    yield from (slice(a, b) for a, b in pairwise([0, *edges.tolist(), len(wanted)]) if a < b)


def label(file: WellFile, transforms: Mapping[str, Literal["log", "none"]]) -> np.ndarray:
    """Returns the label of each trajectory, float32 (trajectory, feature).

    Features are the constant scalars in the file's order, then the boundary codes, first and last
    end of each axis in turn (official code 1.1.0).

    Args:
        file: The file.
        transforms: Transform of each parameter, natural `log` or `none`; others stay raw. Names
            are taken as they are written: `T0` is not `t0`.

    Raises:
        LilasError: a transform names no parameter or is unknown, a logarithm has no value, or a
            label is not finite.
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
    with np.errstate(over="ignore"):
        labels = np.stack(columns, axis=1).astype(np.float32)
    if not (finite := np.isfinite(labels).all(axis=0)).all():
        name = label_names(file)[int(np.argmin(finite))]
        raise broken(
            file.path,
            f"values of {name} that are finite in float32, for the label",
            "NaN, infinity or more than 3.4e38",
            "Correct the file, or set the label's transform of it to 'log'.",
        )
    return labels


def labels(
    files: Sequence[WellFile], transforms: Mapping[str, Literal["log", "none"]]
) -> np.ndarray:
    """Returns the labels of all trajectories of files, float32 (trajectory, feature); as `label`.

    Raises:
        LilasError: as `label`, or a parameter varies by no more than float32 rounds it to.
    """
    found = np.concatenate([label(file, transforms) for file in files])
    for name in files[0].parameters:
        raw = np.concatenate([file.parameters[name] for file in files])
        exact = np.log(raw) if transforms.get(name) == "log" else raw
        largest = np.abs(exact).max()
        # Numbers of float32, and those of float64 that are one, vary by rounding alone.
        with np.errstate(over="ignore"):
            varies = np.ptp(exact) > 1e-12 * largest and (raw != raw.astype(np.float32)).any()
        if varies and np.ptp(exact) <= 2 * np.spacing(np.float32(largest)):
            raise broken(
                files[0].path,
                f"values of {name} that float32, as labels are, tells apart",
                f"{raw.min().item()!r} to {raw.max().item()!r} in a split",
                "Store it without its mean, or in another unit.",
            )
    return found


def label_names(file: WellFile) -> list[str]:
    """Returns the names of a label's features: parameters, then `boundary_x_first` and so on."""
    ends = (f"boundary_{name}_{end}" for name in file.axes for end in ("first", "last"))
    return [*file.parameters, *ends]


def _check_types(files: Sequence[WellFile], preprocessing: Preprocessing) -> None:
    """Refuses files whose types round away what varies in the training split."""
    for file in files:
        for i, channel in enumerate(file.channels):
            kind = np.dtype(file.fields[channel.field].dtype)
            eps = np.finfo(kind if kind.kind == "f" else precision([kind])).eps
            # Of a logarithm, the sum in it is rounded as a whole.
            least = 1.0 if preprocessing.transforms[i].kind == "log" else 0.0
            mean, std = preprocessing.mean[i], preprocessing.std[i]
            if std <= 2 * eps * max(abs(mean), least):
                raise broken(
                    file.path,
                    f"{channel.name} in a type that holds the {std:.2g} by which it varies in "
                    f"training, about {mean:g}",
                    f"{kind}",
                    "Make the file again, in the type of the training's.",
                )


class Pixels:
    """The trajectories of a split in pixel space, preprocessed; a `Source` of windows.

    Args:
        files: The split's files.
        preprocessing: Transform and standardisation of the channels.
        transforms: Transforms of the label's parameters.

    Raises:
        LilasError: as `labels`, or a file's type rounds away what varies in the training split.
    """

    def __init__(
        self, files: list[WellFile], preprocessing: Preprocessing, transforms: Mapping[str, str]
    ) -> None:
        self.files, self.preprocessing = files, preprocessing
        self.places = [(file, i) for file in files for i in range(file.trajectories)]
        self.rows = len(self.places)
        counts = [file.trajectories for file in files]
        self._names = np.repeat(told_apart([file.path for file in files]), counts).tolist()
        self.steps = np.array([file.steps for file, _ in self.places])
        self.shape = (len(files[0].channels), *files[0].shape)
        self.labels = labels(files, transforms)
        _check_types(files, preprocessing)

    def read(self, row: int, steps: slice = slice(None)) -> np.ndarray:
        """Returns a trajectory, float32 (time, channel, *space)."""
        states = self.truth(row, steps)
        self.preprocessing.forward_(torch.from_numpy(states), channel_axis=1)
        return states.astype(np.float32, copy=False)

    def truth(self, row: int, steps: slice = slice(None)) -> np.ndarray:
        """Returns a trajectory in physical units (time, channel, *space), as `read_states`."""
        return read_states(*self.places[row], steps)

    def times(self, row: int) -> np.ndarray:
        """Returns the times of a trajectory, float64 (time,)."""
        file, trajectory = self.places[row]
        return file.times[trajectory]

    def points(self, row: int, axis: str) -> np.ndarray:
        """Returns the grid points of a trajectory along an axis, float64 (point,)."""
        file, trajectory = self.places[row]
        return file.coordinates[axis][trajectory]

    def origin(self, row: int) -> tuple[str, int]:
        """Returns where a trajectory lies: its file's name (`told_apart`) and its index in it."""
        return self._names[row], self.places[row][1]
