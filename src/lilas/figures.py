"""Figures: rollouts beside the truth, metrics against lead time, training curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

from lilas.tables import label_runs

matplotlib.use("Agg")
from matplotlib import pyplot as plt

# Okabe and Ito's colours, told apart by colour-blind readers, and in this order also in grey.
PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#882255"]
FIXED = {"persistence": "#000000", "climatology": "#999999"}
SHOWN = {
    "vrmse": "VRMSE of the ensemble mean",
    "spread_skill": "spread / skill",
    "power_spectrum_low": "power-spectrum error, low band",
    "power_spectrum_high": "power-spectrum error, high band",
}


def colours(labels: Sequence[str]) -> dict[str, str]:
    """Returns a colour by run, the same in every figure of a study."""
    others = [label for label in dict.fromkeys(labels) if label not in FIXED]
    return FIXED | {label: PALETTE[i % len(PALETTE)] for i, label in enumerate(others)}


def metric_curves(metrics: pd.DataFrame) -> plt.Figure:
    """Draws metrics of one dataset against lead time, averaged over trajectories and fields."""
    metrics = metrics.assign(run=label_runs(metrics))
    palette = colours(sorted(metrics["run"].unique()))
    figure, axes = plt.subplots(2, 2, figsize=(9, 6.2), sharex=True, layout="constrained")
    for ax, (name, title) in zip(axes.flat, SHOWN.items(), strict=True):
        rows = metrics[metrics["metric"] == name]
        for run, part in rows.groupby("run"):
            mean = part.groupby("lead_time")["value"].mean()
            dashed = run in FIXED or run.startswith("reconstruction")
            style = "--" if dashed else "-"
            ax.plot(mean.index, mean, style, color=palette[run], label=run, linewidth=1.5)
        if name == "spread_skill":
            ax.axhline(1, color="grey", linewidth=0.8)
            ax.set_ylim(0, 1.5)
        else:
            ax.set_ylim(0, min(2.0, 1.1 * rows.groupby(["run", "lead_time"])["value"].mean().max()))
        ax.set_title(title, fontsize=10)
        ax.grid(alpha=0.3)
    for ax in axes[1]:
        ax.set_xlabel("lead time (solver steps)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return figure


def rollout_panels(
    rows: Mapping[str, np.ndarray], titles: Sequence[str], field: str, extent: Sequence[float]
) -> plt.Figure:
    """Draws states, a row per run and a column per lead time, on the truth's colour scale.

    Args:
        rows: By name, (lead time, x, y); the first is the truth.
        titles: Of the columns.
        field: Name and unit of the field, for the colour bar.
        extent: (x first, x last, y first, y last).
    """
    truth = next(iter(rows.values()))
    low, high = float(truth.min()), float(truth.max())
    height = 0.35 + len(rows) * 0.62
    figure, axes = plt.subplots(
        len(rows), len(titles), figsize=(2.0 * len(titles) + 1.6, height), layout="constrained"
    )
    for ax_row, (name, states) in zip(np.atleast_2d(axes), rows.items(), strict=True):
        for ax, state in zip(ax_row, states, strict=True):
            image = ax.imshow(
                state.T, origin="lower", extent=extent, vmin=low, vmax=high, cmap="RdBu_r"
            )
            ax.set_xticks([])
            ax.set_yticks([])
        ax_row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    for ax, title in zip(np.atleast_2d(axes)[0], titles, strict=True):
        ax.set_title(title, fontsize=9)
    figure.colorbar(image, ax=axes, label=field, shrink=0.9)
    return figure


def training_curves(histories: Mapping[str, pd.DataFrame]) -> plt.Figure:
    """Draws training and validation losses against steps, a panel per training."""
    columns = min(3, len(histories))
    rows = -(-len(histories) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.4 * columns, 2.6 * rows), squeeze=False, layout="constrained"
    )
    for ax in axes.flat[len(histories) :]:
        ax.set_axis_off()
    for ax, (name, history) in zip(axes.flat, histories.items(), strict=False):
        ax.plot(history["step"], history["loss"], color=PALETTE[5], linewidth=0.8, label="train")
        valid = history.dropna(subset=["valid_loss"])
        ax.plot(valid["step"], valid["valid_loss"], "o-", ms=3, color=PALETTE[1], label="valid")
        ax.set_yscale("log")
        ax.set_title(name, fontsize=9)
        ax.set_xlabel("step", fontsize=8)
        ax.grid(alpha=0.3)
    axes[0, 0].set_ylabel("loss")
    axes[0, 0].legend(fontsize=8)
    return figure


def save(figure: plt.Figure, path: Path, dpi: int) -> None:
    """Writes a figure as PNG to look at and PDF to print."""
    figure.savefig(path.with_suffix(".png"), dpi=dpi)
    figure.savefig(path.with_suffix(".pdf"))
    plt.close(figure)
