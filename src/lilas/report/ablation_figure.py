"""The figure of an ablation: validation loss against steps and against wall time."""

import pandas as pd

from lilas.report import figures
from lilas.report.ablation import INITIALISATIONS
from lilas.report.looks import PALETTE
from lilas.study.paths import split_training_name

LINES = dict(zip(INITIALISATIONS.values(), ("-", (0, (5, 1.5)), "-"), strict=True))
AGAINST = {"step": "step", "seconds": "wall time (s)"}


def ablation_curves(rows: pd.DataFrame, losses: pd.DataFrame) -> figures.plt.Figure:
    """Draws the trainings that a dataset's table of an ablation shows, a row of panels per group.

    Colour by optimiser, line by initialisation: the mean over seeds, bands from the least to the
    largest. Wall time is the mean over seeds, too; trainings without are in the first panel alone.

    Args:
        rows: Of `tables/ablation.csv`, one per autoencoder.
        losses: Of the dataset, as of `lilas.report.costs.read_losses`.
    """
    groups = list((rows if "settings" in rows else rows.assign(settings="")).groupby("settings"))
    figure, axes = figures.plt.subplots(
        len(groups),
        2,
        figsize=(7.6, 3.1 * len(groups) + 0.5),
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    entries = losses["autoencoder"].map(lambda run: split_training_name(run)[0])
    colours = dict(zip(dict.fromkeys(rows["optimizer"]), PALETTE, strict=False))
    for panels, (settings, part) in zip(axes, groups, strict=True):
        for row in part.to_dict("records"):
            own = losses[entries == row["autoencoder"]].groupby("step")
            seconds = own["seconds"].mean()
            table = own["valid_loss"].agg(["mean", "min", "max"]).assign(seconds=seconds)
            table = table.reset_index()
            look = {"color": colours[row["optimizer"]], "linestyle": LINES[row["initialisation"]]}
            label = f"{row['optimizer']}, {row['initialisation']}, rate {row['learning rate']}"
            for ax, against in zip(panels, AGAINST, strict=True):
                ax.plot(table[against], table["mean"], lw=1.4, label=label, **look)
                ax.fill_between(
                    *(table[against], table["min"], table["max"]),
                    color=look["color"],
                    alpha=0.15,
                    lw=0,
                )
        for ax, words in zip(panels, AGAINST.values(), strict=True):
            ax.set(yscale="log", xlabel=words, title=settings)
            ax.grid(alpha=0.25)
        panels[0].set_ylabel("validation loss")
        handles, labels = panels[0].get_legend_handles_labels()
        panels[1].legend(handles, labels)
    return figure
