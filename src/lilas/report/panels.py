"""States of rollouts as pictures: what to draw of frames, on which colour scale, and panels."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib import colors

from lilas.display import with_unit
from lilas.errors import LilasError
from lilas.records.stores import read
from lilas.report.figures import plt
from lilas.report.looks import Looks, Run, field_scale


def common_lead_times(frames: Iterable[xr.Dataset]) -> list[int]:
    """Returns the lead times that all frames have, in order.

    Raises:
        LilasError: they share none after 0.
    """
    found = [set(store["lead_time"].values.tolist()) for store in frames]
    common = sorted(set.intersection(*found))
    if not common or common[-1] == 0:
        raise LilasError("figures: the frames of the runs have no lead time in common")
    return common


def points(frames: xr.Dataset, index: int) -> list[np.ndarray]:
    """Returns the grid points along each axis of a trajectory of frames, (point,) each."""
    return [frames[f"trajectory_{axis}"].values[index] for axis in axes(frames)]


def axes(frames: xr.Dataset) -> tuple[str, ...]:
    """Returns the names of the space axes of frames, one or two."""
    return tuple(map(str, frames["truth"].dims[3:]))


def labelled(frames: xr.Dataset, field: str) -> str:
    """Returns the name of a field with its unit, which frames of before 0.2.0 do not have."""
    if "unit" not in frames:
        return field
    return with_unit(field, str(frames["unit"].sel(channel=field).values))


def axis_names(frames: xr.Dataset) -> list[str]:
    """Returns the names of the space axes with their units."""
    units = (frames[f"trajectory_{name}"].attrs.get("units", "") for name in axes(frames))
    return [with_unit(name, unit) for name, unit in zip(axes(frames), units, strict=True)]


def rollout_states(
    runs: Mapping[Run, xr.Dataset],
    chosen: Iterable[Run],
    study: Looks,
    index: int,
    field: str,
    lead_times: Sequence[int],
    *,
    reconstructed: bool,
) -> dict[str, np.ndarray]:
    """Returns what to draw of a trajectory, by name: the truth, then runs in the legend's order.

    Args:
        runs: Frames of one dataset; only what is drawn is read.
        chosen: Those to draw.
        study: The looks of all runs.
        index: Of the trajectory in the frames.
        field: Name of a channel.
        lead_times: Which every run has.
        reconstructed: Whether reconstructions follow the truth; not those of pixel space, whose
            autoencoder is the identity.

    Returns:
        (lead time, x[, y]) each.

    Raises:
        LilasError: a state is damaged or not finite.
    """

    def states(store: xr.Dataset, variable: str) -> np.ndarray:
        return _states(store, variable, index, field, lead_times)

    ordered = {run: runs[run] for run in study if run in set(chosen)}
    truth = states(next(iter(ordered.values())), "truth")
    rows = {"truth": truth}
    if reconstructed:
        stores: dict[str, xr.Dataset] = {}
        for run, store in ordered.items():
            if store.compression > 1 and np.array_equal(states(store, "truth"), truth):
                stores.setdefault(run[0], store)
        for (autoencoder, emulator, _), look in study.items():
            if emulator == "reconstruction" and autoencoder in stores:
                rows[look.label] = states(stores[autoencoder], "autoencoder")
    for run, store in ordered.items():
        # Where a longer context leaves less room, a run begins later, and has a truth of its own.
        own = states(store, "truth")
        if not np.array_equal(own, truth):
            rows[f"truth of {study[run].label}"] = own
        members = states(store, "member")
        for number, member in enumerate(members, 1):
            suffix = f", member {number}" if len(members) > 1 else ""
            rows[study[run].label + suffix] = member
    if bad := [name for name, drawn in rows.items() if not np.isfinite(drawn).all()]:
        raise LilasError(f"figures: the frames of {bad[0]} hold values that are not finite")
    return rows


def guided_states(
    store: xr.Dataset,
    twin: xr.Dataset | None,
    index: int,
    field: str,
    lead_times: Sequence[int],
) -> dict[str, np.ndarray]:
    """Returns what to draw of guided rollouts, by name: (lead time, x[, y]) each.

    Args:
        store: Their frames.
        twin: Those of the same rollouts without guidance, if there are such.
        index: Of the trajectory in the frames.
        field: Name of a channel.
        lead_times: Which both have.

    Raises:
        LilasError: a state is damaged.
    """
    rows = {
        name: _states(store, variable, index, field, lead_times)
        for name, variable in (("truth", "truth"), ("observation", "observation"))
    }
    for name, frames in (("guided", store), ("unguided", twin)):
        if frames is not None:
            members = _states(frames, "member", index, field, lead_times)
            rows |= {f"{name}, member {n}": member for n, member in enumerate(members, 1)}
    return rows


def _states(
    store: xr.Dataset, variable: str, index: int, field: str, lead_times: Sequence[int]
) -> np.ndarray:
    places = [store["lead_time"].values.tolist().index(lead) for lead in lead_times]
    channel = store["channel"].values.tolist().index(field)
    return read(store, variable, trajectory=index, time=places, channel=channel)


def colour_scale(truth: np.ndarray) -> tuple[colors.Colormap, colors.Normalize]:
    """Returns the colour map of a field and its scale, as `field_scale` has it."""
    kind, low, high = field_scale(truth)
    # What is not there is grey.
    cmap = plt.get_cmap("RdBu_r" if kind == "diverging" else "viridis").with_extremes(bad="0.8")
    if kind == "log":
        return cmap, colors.LogNorm(low, high, clip=True)
    return cmap, colors.Normalize(low, high)


def edges(coordinate: np.ndarray) -> np.ndarray:
    """Returns the edges of the cells around points (point + 1,): halfway between neighbours.

    The first and last points lie in the middle of theirs.
    """
    middle = (coordinate[1:] + coordinate[:-1]) / 2
    first, last = 2 * coordinate[0] - middle[0], 2 * coordinate[-1] - middle[-1]
    return np.concatenate([[first], middle, [last]])


def rollout_panels(
    rows: Mapping[str, np.ndarray],
    titles: Sequence[str],
    field: str,
    x: np.ndarray,
    y: np.ndarray,
    axis: str,
) -> plt.Figure:
    """Draws states of a field, a row per run and a column per lead time, y upward.

    Args:
        rows: By name, (lead time, x, y); the first is the truth, whose colour scale all share.
        titles: Of the columns.
        field: What the colour bar is called.
        x: Coordinates (x,), evenly spaced or not.
        y: Coordinates (y,), in the unit of `x`: both axes are drawn to one scale.
        axis: What the two axes are called, with their unit.
    """
    cmap, norm = colour_scale(next(iter(rows.values())))
    x_edges, y_edges = edges(x), edges(y)
    wide, high = np.ptp(x_edges), np.ptp(y_edges)
    # Titles need an inch.
    inches = max(2.0 / max(wide, high), 1.0 / wide)
    width, height = inches * wide, inches * high
    figure, axes = plt.subplots(
        len(rows),
        len(titles),
        figsize=((width + 0.1) * len(titles) + 2.6, (height + 0.1) * len(rows) + 0.8),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for line, (name, states) in zip(axes, rows.items(), strict=True):
        for ax, state in zip(line, states, strict=True):
            image = ax.pcolorfast(x_edges, y_edges, state.T, cmap=cmap, norm=norm)
            ax.set_aspect("equal")
            ax.spines[:].set_visible(False)
            ax.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title)
    bar = {"aspect": 30, "pad": 0.02, "extendfrac": 0.03}
    figure.colorbar(image, ax=axes, label=field, extend="both", **bar)
    # All panels show one domain: its axes are told once.
    axes[-1, 0].tick_params(left=True, bottom=True, labelleft=True, labelbottom=True, labelsize=7)
    axes[-1, 0].set_xlabel(axis)
    return figure


def space_time(
    rows: Mapping[str, np.ndarray],
    lead_times: Sequence[int],
    field: str,
    x: np.ndarray,
    axis: str,
) -> plt.Figure:
    """Draws states of one space axis, a row per run: lead time to the right, space upward.

    Args:
        rows: By name, (lead time, x); the first is the truth, whose colour scale all share.
        lead_times: Of each state, two or more, in solver steps.
        field: What the colour bar is called.
        x: Coordinates (x,), evenly spaced or not.
        axis: What the space axis is called.
    """
    cmap, norm = colour_scale(next(iter(rows.values())))
    figure, panels = plt.subplots(
        len(rows),
        1,
        figsize=(8, 1.4 * len(rows) + 0.8),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for ax, (name, states) in zip(panels[:, 0], rows.items(), strict=True):
        image = ax.pcolorfast(edges(np.array(lead_times)), edges(x), states.T, cmap=cmap, norm=norm)
        ax.set_ylabel(name, rotation=0, ha="right", va="center")
        ax.tick_params(labelsize=7)
    panels[-1, 0].set_xlabel(f"lead time (solver steps); {axis} upward")
    figure.colorbar(image, ax=panels, label=field, extend="both", aspect=30, pad=0.02)
    return figure
