"""Times and grid points: each trajectory has its own, and stores say where all agree."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lilas.data import hdf5
from lilas.data.hdf5 import FOREIGN
from lilas.errors import broken

# By how much of the largest interval axes may differ and still be taken as one: solvers with an
# adaptive step save shortly after the nominal time; points lie in cells' centres or at their edges.
TIME_TOLERANCE, SPACE_TOLERANCE = 0.1, 1.0
# Names of variables in stores of latents, rollouts and frames, which no space axis has.
TAKEN = (
    *("augmentation", "trajectory", "member", "time", "channel", "feature", "axis", "latent"),
    *("label", "flip", "roll", "permutation", "steps", "step", "lead_time", "file"),
    *("index_in_file", "truth", "autoencoder", "mean", "spread", "zarr.json"),
)


def read_axis(path: Path, space: h5py.Group, name: str, trajectories: int) -> np.ndarray:
    """Returns the points of an axis, float64 (trajectory, point).

    Raises:
        LilasError: it has another shape, or a value that is not finite.
    """
    dataset = hdf5.dataset(path, space, name)
    points = hdf5.numbers(path, dataset)
    if hdf5.flag(path, dataset, "sample_varying"):
        size = points.shape[-1] if points.ndim else 0
        hdf5.check_shape(path, dataset, [("trajectory", trajectories), (name, size)])
    elif points.ndim != 1:
        raise broken(path, f"{dataset.name} of shape (point,)", f"{points.shape}", FOREIGN)
    if points.size == 0:
        raise broken(path, f"points in {dataset.name}", "none", FOREIGN)
    return np.array(np.broadcast_to(points, (trajectories, points.shape[-1])))


def check_names(path: Path, names: Sequence[str]) -> None:
    """Refuses space axes whose names are those of variables in stores, or none that one may have.

    Raises:
        LilasError: one is.
    """
    taken = {*TAKEN, *(f"trajectory_{name}" for name in ("time", *names))}
    if clash := [name for name in names if name in taken or "/" in name or name.startswith("__")]:
        action = "Rename it in the file: in spatial_dims, and its dataset in dimensions."
        raise broken(path, "space axes that no store has a variable of", clash[0], action)


def common(axes: Sequence[np.ndarray], tolerance: float) -> np.ndarray | None:
    """Returns the one axis (point,) of all trajectories, None where they differ.

    It is the first of the longest. Others may differ from it by `tolerance` times its largest
    interval; where they are shorter, they are its beginning.

    Args:
        axes: Of each file, (trajectory, point).
        tolerance: `TIME_TOLERANCE` or `SPACE_TOLERANCE`.
    """
    longest = max(axes, key=lambda axis: axis.shape[1])[0]
    most = tolerance * np.abs(np.diff(longest)).max(initial=0.0)
    alike = all(np.abs(axis - longest[: axis.shape[1]]).max() <= most for axis in axes)
    return longest if alike else None


def stacked(axes: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the axes of files, (trajectory, point) each, as one; NaN beyond the shorter ones."""
    longest = max(axis.shape[1] for axis in axes)
    rows = [
        np.pad(axis, [(0, 0), (0, longest - axis.shape[1])], constant_values=np.nan)
        for axis in axes
    ]
    return np.concatenate(rows)


def variables(
    name: str,
    axes: Sequence[np.ndarray],
    tolerance: float,
    attributes: dict[str, str],
    cells: int | None = None,
) -> dict[str, Any]:
    """Returns an axis as the variables of a store, as xarray takes them.

    `trajectory_NAME` (trajectory, NAME) is always there; NAME is a coordinate only where the
    trajectories agree, as `common` has it.

    Args:
        name: Of the axis.
        axes: Of each file, (trajectory, point).
        tolerance: As of `common`.
        attributes: Of both variables.
        cells: In how many cells of neighbours points are averaged; None leaves them as they are.
    """

    def averaged(points: np.ndarray) -> np.ndarray:
        return points if cells is None else points.reshape(*points.shape[:-1], cells, -1).mean(-1)

    found = {f"trajectory_{name}": (("trajectory", name), averaged(stacked(axes)), attributes)}
    if (shared := common(axes, tolerance)) is not None:
        found[name] = (name, averaged(shared), attributes)
    return found


def units(unit: str | None) -> dict[str, str]:
    """Returns the attribute of a variable with a unit, as CF has it; none without a unit."""
    return {"units": unit} if unit else {}


def standing(times: np.ndarray) -> str | None:
    """Returns where times (trajectory, time) do not grow from step to step; None if they all do."""
    stands = np.diff(times) <= 0
    if not stands.any():
        return None
    trajectory, step = np.argwhere(stands)[0]
    before, after = times[trajectory, step : step + 2]
    rows = np.flatnonzero(stands.any(axis=1))
    more = len(rows) - 1
    others = f", and in {more} more trajector{'ies' if more > 1 else 'y'}" if more else ""
    return (
        f"time does not grow in trajectory {trajectory}: step {step} is at {before:g}, step "
        f"{step + 1} at {after:g}{others}"
    )
