"""The pictures of `lilas inspect`: states side by side, losses, metrics."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lilas.display import plane
from lilas.report.curves import SHOWN
from lilas.report.figures import plt, training_curves
from lilas.report.looks import PALETTE

# Columns of a picture of states.
PANELS = 5
STYLES = ("-", "--", ":", "-.")
# The scores that tell most at a glance.
CURVES = ("vrmse", "spread_skill", "power_spectrum_low", "power_spectrum_high")


def panels(
    rows: Mapping[str, np.ndarray], titles: Sequence[str], title: str, shared: bool = False
) -> Figure:
    """Draws states, a row per name and a column per time.

    Args:
        rows: By name, (time, x[, y[, z]]); states of one space axis are lines.
        titles: Of the columns.
        title: Of the whole.
        shared: One colour scale for all rows; else one for each.
    """
    drawn = {name: plane(states, states.ndim - 1) for name, states in rows.items()}
    spans = {name: (np.nanmin(states), np.nanmax(states)) for name, states in drawn.items()}
    if shared:
        whole = (min(low for low, _ in spans.values()), max(high for _, high in spans.values()))
        spans = dict.fromkeys(spans, whole)
    points = next(iter(drawn.values())).shape[1:]
    flat = len(points) == 1
    height = 1.0 if flat else min(2.2, max(0.6, 2.0 * points[1] / points[0]))
    figure, axes = plt.subplots(
        len(drawn),
        len(titles),
        figsize=(2.0 * len(titles) + 2.2, (height + 0.15) * len(drawn) + 0.7),
        squeeze=False,
        layout="constrained",
    )
    for line, (name, states) in zip(axes, drawn.items(), strict=True):
        low, high = spans[name]
        for ax, state in zip(line, states, strict=True):
            if flat:
                ax.plot(state, linewidth=1)
                margin = 0.05 * (high - low or 1.0)
                ax.set_ylim(low - margin, high + margin)
            else:
                image = ax.imshow(state.T, origin="lower", vmin=low, vmax=high, cmap="RdBu_r")
            ax.set_xticks([])
            ax.set_yticks([])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        if flat:
            line[0].set_yticks([low, high], [f"{low:.3g}", f"{high:.3g}"], fontsize=7)
        elif not shared:
            figure.colorbar(image, ax=line).ax.tick_params(labelsize=7)
    if shared and not flat:
        figure.colorbar(image, ax=axes)
    for ax, text in zip(axes[0], titles, strict=True):
        ax.set_title(text, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def losses(history: pd.DataFrame, name: str) -> Figure:
    """Draws the losses of a training, from the entries of its history."""
    return training_curves({name: history})


def curves(metrics: pd.DataFrame) -> Figure:
    """Draws metrics against lead time, averaged over trajectories, a line per field."""
    names = [name for name in CURVES if name in set(metrics["metric"])]
    fields = list(metrics["field"].unique())
    emulators = list(metrics["emulator"].unique())
    figure, axes = plt.subplots(
        1, len(names), figsize=(4 * len(names), 3.8), squeeze=False, layout="constrained"
    )
    for ax, name in zip(axes[0], names, strict=True):
        chosen = (metrics["metric"] == name) & (metrics["relative_to"] == "truth")
        groups = metrics[chosen].groupby(["emulator", "field"], sort=False, observed=True)
        for (emulator, field), part in groups:
            mean = part.groupby("lead_time")["value"].mean()
            ax.plot(
                mean.index,
                mean,
                marker="." if len(mean) < 3 else None,
                color=PALETTE[fields.index(field) % len(PALETTE)],
                linestyle=STYLES[emulators.index(emulator) % len(STYLES)],
                label=f"{field}, {emulator}" if len(emulators) > 1 else field,
            )
        ax.set_title(SHOWN[name], fontsize=10)
        ax.set_xlabel("lead time (solver steps)")
        ax.grid(alpha=0.3)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure
