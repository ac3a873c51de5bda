"""Figures of latent analyses: tokens by parameter, and how far apart counterfactuals are."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib import colors

from lilas.records.analyses import Analysis
from lilas.report.figures import plt
from lilas.systems.base import exponent


def latent_figures(analyses: Sequence[Analysis]) -> Iterator[tuple[str, plt.Figure]]:
    """Yields the figures of latent analyses by name, one of each kind for a dataset."""
    for dataset in dict.fromkeys(one.facts["dataset"] for one in analyses):
        own = [one for one in analyses if one.facts["dataset"] == dataset]
        tokens = [one for one in own if not one.is_counterfactual and len(one.tables["embedding"])]
        if tokens:
            yield f"latents_{dataset}", token_maps(tokens)
        if rollouts := [one for one in own if one.is_counterfactual]:
            yield f"counterfactual_{dataset}", counterfactual_curves(rollouts)


def token_maps(analyses: Sequence[Analysis]) -> plt.Figure:
    """Draws test tokens by t-SNE (paper, Figures 22 and 23).

    A row per autoencoder, a column per parameter, which colours the points.
    """
    names = list(dict.fromkeys(name for one in analyses for name in one.tables["scales"].parameter))
    figure, axes = plt.subplots(
        len(analyses),
        len(names),
        figsize=(4.0 * len(names), 3.2 * len(analyses)),
        squeeze=False,
        layout="constrained",
    )
    for line, one in zip(axes, analyses, strict=True):
        points = one.tables["embedding"]
        scales = one.tables["scales"].set_index("parameter")["scale"]
        for ax, name in zip(line, names, strict=True):
            values = np.array([held[name] for held in points["parameters"]])
            norm = colors.LogNorm() if scales[name] == "log10" else colors.Normalize()
            norm.autoscale(values)
            drawn = ax.scatter(points["x"], points["y"], c=values, s=6, norm=norm, cmap="viridis")
            known = np.unique(values)
            bar = figure.colorbar(drawn, ax=ax, ticks=known if len(known) < 9 else None)
            bar.ax.minorticks_off()
            if len(known) < 9:
                bar.ax.set_yticklabels([exponent(value) for value in known])
            ax.set_title(f"{one.run}: {name}")
            ax.set_xticks([])
            ax.set_yticks([])
    return figure


def counterfactual_curves(analyses: Sequence[Analysis]) -> plt.Figure:
    """Draws the distance between rollouts against lead time, a panel per run.

    A line per pair of values, coloured by how far these are apart; dashed, between members.
    """
    columns = min(3, len(analyses))
    lines = math.ceil(len(analyses) / columns)
    figure, axes = plt.subplots(
        lines,
        columns,
        figsize=(3.6 * columns + 1.4, 3.0 * lines),
        squeeze=False,
        sharey=True,
        layout="constrained",
    )
    for ax in axes.flat[len(analyses) :]:
        ax.set_axis_off()
    for ax, one in zip(axes.flat, analyses, strict=False):
        rows = one.tables["distances"]
        pairs = rows.groupby(["a", "b"])
        scale = np.log10 if one.facts["scale"] == "log10" else np.asarray
        order = sorted(
            pairs.groups, key=lambda pair: (round(float(scale(pair[1]) - scale(pair[0])), 9), pair)
        )
        for place, (a, b) in enumerate(order):
            colour = plt.get_cmap("viridis")(0.9 * place / max(1, len(order) - 1))
            mean = _by_lead(pairs.get_group((a, b)))
            label = f"{exponent(a)}, {exponent(b)}" if len(order) <= 10 else None
            ax.plot(mean.index, mean, color=colour, lw=1.3, label=label)
        if len(one.tables["members"]):
            mean = _by_lead(one.tables["members"])
            ax.plot(mean.index, mean, color="black", ls="--", lw=1.1, label="members at one value")
        ax.set_title(f"{one.run}\n{one.facts['parameter']}")
        ax.set_xlabel("lead time (solver steps)")
        if (rows["distance"] > 0).any():
            ax.set_yscale("log")
        ax.grid(alpha=0.25)
    # The values are those of the dataset, the same in every panel.
    shown = {}
    for ax in axes.flat[: len(analyses)]:
        handles, labels = ax.get_legend_handles_labels()
        shown |= dict(zip(labels, handles, strict=True))
    if shown:
        figure.legend(shown.values(), shown, loc="outside right upper", fontsize=7)
    for ax in axes[:, 0]:
        ax.set_ylabel("distance of latents")
    return figure


def _by_lead(rows: pd.DataFrame) -> pd.Series:
    return rows.groupby("lead_time")["distance"].mean()
