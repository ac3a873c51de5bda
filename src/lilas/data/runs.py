"""The trajectories of foreign files: their axes and parameters checked, their states read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lilas.data.axes import TIME_TOLERANCE
from lilas.data.foreign import Sources
from lilas.data.roles import find_roles
from lilas.data.streams import ROUNDED, Stream
from lilas.data.variables import Wanted
from lilas.errors import LilasError, broken


@dataclass(frozen=True)
class Run:
    """A trajectory of a foreign file.

    Attributes:
        path: The file.
        row: Its number along the axis of trajectories; None where the file is one.
        time: Time of its states, ascending, float64 (time,).
        coordinates: Grid points by space axis, ascending, float64 (point,).
        parameters: By name.
    """

    path: Path
    row: int | None
    time: np.ndarray
    coordinates: dict[str, np.ndarray]
    parameters: dict[str, float]

    def __str__(self) -> str:
        return f"{self.path}" if self.row is None else f"{self.path} {self.row}"


@dataclass(frozen=True)
class Shape:
    """How axes are taken that are not as models take them.

    Attributes:
        turn: Descending axes that are turned, their states with them.
        uneven: Axes whose points may be unevenly spaced.
        steps: How many of the first states are taken; None is all.
    """

    turn: tuple[str, ...] = ()
    uneven: tuple[str, ...] = ()
    steps: int | None = None


class Runs:
    """The trajectories of foreign files, all of one kind.

    Args:
        files: How they are opened.
        paths: Where they lie.
        wanted: What is not to be guessed of the first; the others must be as it is.
        shape: How their axes are taken.

    Raises:
        LilasError: a file cannot be opened, is not as the first one, or has axes or parameters that
            no model can take.

    Attributes:
        roles: What the axes and variables are.
        runs: The trajectories, file by file.
        numbered: Axes of which the files hold no points, but their number.
    """

    def __init__(self, files: Sources, paths: Sequence[Path], wanted: Wanted, shape: Shape) -> None:
        self._files, self._shape = files, shape
        places = Counter(path.resolve() for path in paths)
        if twice := [place for place, count in places.items() if count > 1]:
            raise LilasError(f"{twice[0]} is named twice; its runs would be in several splits")
        first = files.open(paths[0])
        self.roles = find_roles(paths[0], first, wanted)
        self.sizes = {axis: first.sizes[axis] for axis in self.roles.space}
        space = self.roles.space
        self._vectors = {
            name
            for name, parts in self.roles.fields.items()
            if len(parts) > 1 or self.roles.component in first[parts[0]].dims
        }
        self.numbered = [axis for axis in (self.roles.time, *space) if axis not in first.variables]
        for key, axes in (("turn", shape.turn), ("uneven", shape.uneven)):
            if unknown := [a for a in axes if a not in (self.roles.time, *space)]:
                there = ", ".join((self.roles.time, *space))
                raise LilasError(f"{paths[0]}: --{key} names {unknown[0]}; axes: {there}")
        self.runs: list[Run] = []
        self._types: dict[str, list[np.dtype]] = {name: [] for name in self.roles.fields}
        for path in paths:
            self.runs += self._open(path, wanted)
            _check_alike(self.runs[0], self.runs[-1])

    @property
    def steps(self) -> int:
        """Number of states of each."""
        return len(self.runs[0].time)

    def stream(self, name: str, chosen: Sequence[Run]) -> Stream:
        """Returns a field of some trajectories, read as it is asked for."""
        components = [len(self.roles.space)] * self.order(name)
        shape = (len(chosen), self.steps, *self.sizes.values(), *components)
        kind = np.result_type(*self._types[name])
        return Stream(shape, kind, lambda row, steps: self._read(name, chosen[row], steps))

    def order(self, name: str) -> int:
        """Returns 1 for a vector, 0 for a scalar."""
        return int(name in self._vectors)

    def _open(self, path: Path, wanted: Wanted) -> list[Run]:
        data = self._files.open(path)
        roles = find_roles(path, data, wanted)
        for what, mine, theirs in (
            ("axis of trajectories", self.roles.trajectory, roles.trajectory),
            ("axis of time", self.roles.time, roles.time),
            ("space axes", self.roles.space, roles.space),
            ("fields", self.roles.fields, roles.fields),
            ("parameters", self.roles.parameters, roles.parameters),
            ("points", self.sizes, {axis: data.sizes[axis] for axis in roles.space}),
        ):
            if mine != theirs:
                action = "Convert files of one kind together."
                raise broken(path, f"the {what} of the first file, {mine}", f"{theirs}", action)
        for name in [*self.roles.units, *roles.units]:
            mine, theirs = (each.units.get(name, "none") for each in (self.roles, roles))
            if mine != theirs:
                action = f"Where both are one, say so: --unit {name}=UNIT."
                raise broken(path, f"the unit of {name} in the first file, {mine}", theirs, action)
        for name, parts in roles.fields.items():
            self._types[name] += [data[part].dtype for part in parts]
        axes = {axis: self._points(path, data, axis) for axis in (roles.time, *roles.space)}
        time = axes.pop(roles.time)[: self._shape.steps]
        if self._shape.steps and len(time) < self._shape.steps:
            raise broken(path, f"--steps {self._shape.steps}", f"{len(time)}", "Lower it.")
        if len(time) < 2:
            raise broken(path, "two states at least", f"{len(time)}", "A model learns steps.")
        rows = [None] if roles.trajectory is None else range(data.sizes[roles.trajectory])
        values = {name: _parameter(path, data, name, len(rows)) for name in roles.parameters}
        return [
            Run(path, row, time, axes, {name: float(each[i]) for name, each in values.items()})
            for i, row in enumerate(rows)
        ]

    def _points(self, path: Path, data: xr.Dataset, axis: str) -> np.ndarray:
        """Returns the points of an axis, ascending."""
        if axis not in data.variables:
            return np.arange(data.sizes[axis], dtype=np.float64)
        if data[axis].dtype.kind not in "fiu":
            action = "Of dates, give the seconds since the first."
            raise broken(path, f"numbers along {axis}", f"{data[axis].dtype}", action)
        points = np.asarray(data[axis].values, np.float64)
        steps = np.diff(points)
        if not np.isfinite(points).all():
            raise broken(path, f"finite points along {axis}", "NaN", "Write what belongs there.")
        if (steps < 0).all() and len(steps):
            if axis not in self._shape.turn:
                raise LilasError(
                    f"{path}: {axis} descends from {points[0]:g} to {points[-1]:g}; turn it, and "
                    f"the states with it: --turn {axis}"
                )
            points, steps = points[::-1], -steps[::-1]
        elif (steps <= 0).any():
            place = int(np.argmax(steps <= 0))
            raise LilasError(
                f"{path}: {axis} must ascend, and {points[place]:g} is followed by "
                f"{points[place + 1]:g}; sort it"
            )
        if axis not in self._shape.uneven:
            self._check_even(path, axis, points, steps, data[axis].dtype)
        elif self.roles.boundaries.get(axis) == "periodic":
            raise LilasError(
                f"{path}: {axis} is periodic and uneven, which no network can pad; interpolate it"
            )
        return points

    def _check_even(
        self, path: Path, axis: str, points: np.ndarray, steps: np.ndarray, kind: np.dtype
    ) -> None:
        if not len(steps):
            return
        part = TIME_TOLERANCE if axis == self.roles.time else ROUNDED
        rounding = np.finfo(kind).eps * np.abs(points).max() if kind.kind == "f" else 0
        if np.ptp(steps) > part * steps.mean() + 2 * rounding:
            counts = "as if it were one" if axis == self.roles.time else "alike"
            what = "a step" if axis == self.roles.time else "each point"
            raise LilasError(
                f"{path}: {axis} is uneven, by {steps.min():g} to {steps.max():g}; interpolate it, "
                f"or have {what} count {counts}: --uneven {axis}"
            )

    def _read(self, name: str, run: Run, steps: slice) -> np.ndarray:
        """Returns states of a field of a trajectory (step, *space[, component])."""
        roles, data = self.roles, self._files.open(run.path)
        axes = (roles.time, *roles.space)
        first, last = steps.start, steps.stop
        if roles.time in self._shape.turn:
            first, last = data.sizes[roles.time] - last, data.sizes[roles.time] - first
        place: dict[str, Any] = {roles.time: slice(first, last)}
        if roles.trajectory is not None:
            place[roles.trajectory] = run.row
        parts = []
        for part in roles.fields[name]:
            own = data[part].variable
            dims = (*axes, *([roles.component] if roles.component in own.dims else []))
            try:
                values = own.isel(place).transpose(*dims).values
            except (OSError, RuntimeError, ValueError) as error:
                told = str(error).splitlines()[0]
                raise broken(run.path, f"values of {part}", told, "Bring a whole file.") from None
            if not (finite := np.isfinite(values)).all():
                step = steps.start + int(np.argmin(finite.reshape(len(values), -1).all(axis=1)))
                raise broken(
                    f"{run}",
                    f"finite values of {part}",
                    f"NaN or infinity in state {step} (the first)",
                    "Fill them, or take fewer states (--steps) or other fields (--fields).",
                )
            parts.append(values)
        states = np.stack(parts, -1) if len(parts) > 1 else parts[0]
        turned = [i for i, axis in enumerate(axes) if axis in self._shape.turn]
        return np.flip(states, turned)


def _parameter(path: Path, data: xr.Dataset, name: str, count: int) -> np.ndarray:
    held = data[name].values if name in data.variables else data.attrs[name]
    values = np.broadcast_to(np.asarray(held, np.float64).squeeze(), (count,))
    if not np.isfinite(values).all():
        action = "Write the number that belongs there, or take others: --parameters."
        raise broken(path, f"finite values of the parameter {name}", "NaN or infinity", action)
    return values


def _check_alike(first: Run, other: Run) -> None:
    """Refuses a run of another length, interval or domain than the first."""
    steps = [len(first.time), len(other.time)]
    if steps[0] != steps[1]:
        raise LilasError(
            f"{other}: {steps[1]} states, and {first} has {steps[0]}; take as many of "
            f"each: --steps {min(steps)}, or convert them into two folders, which a study can join"
        )
    spans = {"the states lie apart by": [np.diff(run.time).mean() for run in (first, other)]}
    for axis in first.coordinates:
        ends = [run.coordinates[axis][[0, -1]] for run in (first, other)]
        spans[f"{axis} has the length"] = [np.ptp(each) for each in ends]
    for what, (mine, theirs) in spans.items():
        part = TIME_TOLERANCE if what.startswith("the states") else ROUNDED
        if abs(mine - theirs) > part * abs(mine):
            raise LilasError(
                f"{other}: {what} {theirs:g}, and {mine:g} in {first}; a model learns one of them: "
                "interpolate, or convert them apart"
            )
