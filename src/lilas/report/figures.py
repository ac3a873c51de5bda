"""Figures of a study's numbers: metrics, compression, spectra, rank histograms, training.

Runs look as `lilas.report.looks` has it. Tables come in reduced, a file at a time (`mean_metrics`,
`mean_curves`): nothing here holds raw rows of more than one file.
"""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.lines import Line2D

from lilas.display import spaced
from lilas.evaluation.bands import INNER_BANDS, band_limits
from lilas.files import writing
from lilas.report.curves import SHOWN
from lilas.report.looks import FIXED, PALETTE, Look, Looks, Run
from lilas.report.trajectories import in_order

matplotlib.use("Agg")
from matplotlib import pyplot as plt

plt.rcParams.update(
    {
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.labelsize": 9,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        # Letters stay letters in a PDF, to be searched and edited.
        "pdf.fonttype": 42,
    }
)

# Beyond this a relative error says no more than that the forecast is useless.
WORST = 2.0
# Spectra are drawn down to this part of the largest power: below lies rounding.
FAINT = 1e-9


def metric_curves(means: pd.DataFrame, study: Looks) -> plt.Figure:
    """Draws metrics of one dataset against lead time (paper, Figures 5, 8 and 9).

    Args:
        means: Of `mean_metrics`; bands are its intervals.
        study: The looks of its runs.
    """
    figure, axes = plt.subplots(2, 3, figsize=(9.6, 6.0), sharex=True, layout="constrained")
    for ax, (name, title) in zip(axes.flat, SHOWN.items(), strict=True):
        rows = means[means["metric"] == name]
        for place, (look, part) in enumerate(_runs(rows, study)):
            part = part.sort_values("lead_time")
            # Markers of different runs do not hide each other.
            every = (0.02 + 0.06 * (place % 4), 0.25)
            _line(ax, look, part["lead_time"], part["value"], markevery=every)
            ax.fill_between(
                part["lead_time"], part["low"], part["high"], color=look.colour, alpha=0.18, lw=0
            )
        if name == "spread_skill":
            ax.axhline(1, color="grey", linewidth=0.8)
        largest = rows["value"].max() if len(rows) else 1.0
        ax.set_ylim(0, min(WORST, 1.05 * max(largest, 1.0 if name == "spread_skill" else 0.0)))
        # A line that leaves the panel is not to be taken for one that is not there.
        cut = f"\n(up to {largest:.3g}, drawn to {WORST:g})" if largest > WORST else ""
        ax.set_title(title + cut)
        ax.grid(alpha=0.25)
    for ax in axes[-1]:
        ax.set_xlabel("lead time (solver steps)")
    _legend(figure, [look for look, _ in _runs(means, study)])
    return figure


def compression_curves(table: pd.DataFrame, study: Looks) -> plt.Figure:
    """Draws the VRMSE of reconstructions and emulators against compression (paper, Figure 3).

    Args:
        table: Rows of one dataset's VRMSE by horizon: KEYS, horizon, value, low, high (95 %
            interval; NaN for a single trajectory).
        study: The looks of its runs.
    """
    rows = table[table["autoencoder"] != ""]
    horizons = in_order(rows["horizon"].unique())
    figure, axes = plt.subplots(
        1, len(horizons), figsize=(2.9 * len(horizons) + 0.4, 3.6), sharey=True, squeeze=False
    )
    figure.set_layout_engine("constrained")
    compressions = np.sort(rows["compression"].unique())
    for ax, horizon in zip(axes[0], horizons, strict=True):
        inside = rows[rows["horizon"] == horizon]
        lines = list(inside.groupby(["emulator", "sampler"], sort=False))
        for place, (_, part) in enumerate(lines):
            part = part.sort_values("compression")
            style = [study[run] for run in _keys(part)]
            # Side by side, so that intervals at one compression do not hide each other.
            aside = 0.02 * (place - (len(lines) - 1) / 2)
            x = part["compression"] * (compressions[-1] / compressions[0]) ** aside
            ax.plot(x, part["value"], color="#888888", linestyle=style[0].line, lw=1)
            reach = [part["value"] - part["low"], part["high"] - part["value"]]
            for point, look in enumerate(style):
                ax.errorbar(
                    x.iloc[[point]],
                    part["value"].iloc[[point]],
                    yerr=[side.iloc[[point]] for side in reach],
                    color=look.colour,
                    marker=look.marker,
                    fillstyle=look.fill,
                    capsize=3,
                    linestyle="",
                )
        ax.set_xscale("log", base=2)
        ax.set_xticks(compressions, [f"{value:.0f}" for value in compressions])
        ax.minorticks_off()
        ax.margins(x=0.15)
        ax.set_title(f"lead time {horizon.replace('-', ' to ')}")
        ax.set_xlabel("compression rate")
        ax.grid(alpha=0.25)
    axes[0, 0].set_ylabel("VRMSE of the ensemble mean")
    axes[0, 0].set_ylim(bottom=0)
    _legend(figure, [look for look, _ in _runs(rows, study)])
    return figure


def spectra(curves: pd.DataFrame, study: Looks) -> plt.Figure:
    """Draws isotropic power spectra of one dataset, a row per field, a column per lead time.

    Dotted lines part the low, mid and high bands (`lilas.evaluation.spectra.band_limits`).

    Args:
        curves: Of `mean_curves`.
        study: The looks of its runs.
    """
    truth = curves[curves["metric"] == "power_spectrum_truth"]
    rows = curves[(curves["metric"] == "power_spectrum") & ~curves["emulator"].isin(FIXED)]
    figure, panels = _grid(rows, "wavenumber (cycles per pixel)", "power of {}")
    limits = band_limits(truth["at"].min())
    for (field, lead), ax in panels.items():
        inside = rows[(rows["field"] == field) & (rows["lead_time"] == lead)]
        for look, part in _runs(inside, study):
            _line(ax, look, part["at"], part["value"], lw=1.1)
        # One truth for all runs that begin at one step and go one way in time.
        true = truth[(truth["field"] == field) & (truth["lead_time"] == lead)]
        for _, own in true.groupby(["start", "direction"]):
            own = own.drop_duplicates("at").sort_values("at")
            ax.plot(own["at"], own["value"], color=FIXED["truth"], lw=2.6, zorder=1)
        for name in INNER_BANDS:
            ax.axvline(limits[name][1], color="grey", linestyle=":", lw=0.8)
        largest = truth.loc[truth["field"] == field, "value"].max()
        ax.set(xscale="log", yscale="log", ylim=(FAINT * largest, 4 * largest))
        ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        ax.xaxis.set_minor_formatter(ticker.NullFormatter())
        for name in INNER_BANDS:
            low, high = limits[name]
            where = {"transform": ax.get_xaxis_transform(), "ha": "center", "va": "bottom"}
            ax.text(np.sqrt(low * high), 0.02, name, color="grey", fontsize=7, **where)
    _legend(figure, [_TRUTH, *(look for look, _ in _runs(rows, study))], markers=False)
    return figure


def rank_histograms(curves: pd.DataFrame, study: Looks) -> plt.Figure:
    """Draws how often the truth has each rank among the members, relative to a flat histogram.

    A reliable ensemble is flat, at 1; a U has too little spread, a dome too much, a slope a bias.

    Args:
        curves: Of `mean_curves`.
        study: The looks of its runs.
    """
    rows = curves[(curves["metric"] == "rank_histogram") & (curves["members"] > 1)]
    figure, panels = _grid(rows, "rank of the truth / members", "{}\nrelative frequency")
    for (field, lead), ax in panels.items():
        inside = rows[(rows["field"] == field) & (rows["lead_time"] == lead)]
        for look, part in _runs(inside, study):
            value = part.sort_values("at")["value"].to_numpy()
            ranks = np.linspace(0, 1, len(value) + 1)
            style = {"color": look.colour, "linestyle": look.line, "linewidth": 1.4}
            ax.stairs(value * len(value), ranks, baseline=None, **style)
        ax.axhline(1, color="grey", linewidth=0.8)
    for ax in panels.values():
        ax.set_ylim(bottom=0)
    _legend(figure, [look for look, _ in _runs(rows, study)], markers=False)
    return figure


_TRUTH = Look("truth", FIXED["truth"], "-", "", "full")


def _keys(rows: pd.DataFrame) -> list[Run]:
    return list(rows[["autoencoder", "emulator", "sampler"]].itertuples(index=False, name=None))


def _runs(rows: pd.DataFrame, study: Looks) -> list[tuple[Look, pd.DataFrame]]:
    """Returns the rows of each run beside its look, in the order of the legend."""
    parts = dict(list(rows.groupby(["autoencoder", "emulator", "sampler"])))
    return [(look, parts[run]) for run, look in study.items() if run in parts]


def _line(ax: plt.Axes, look: Look, x: Any, y: Any, **options: Any) -> None:
    marker = {"marker": look.marker, "fillstyle": look.fill} if "markevery" in options else {}
    settings = {"lw": 1.4, "ms": 4.5, "label": look.label, **marker, **options}
    ax.plot(x, y, color=look.colour, linestyle=look.line, **settings)


def _grid(rows: pd.DataFrame, x: str, y: str) -> tuple[plt.Figure, dict[tuple[str, int], plt.Axes]]:
    """Returns panels by field and lead time: at most four, from the first to the last."""
    fields = list(dict.fromkeys(rows["field"]))
    found = np.sort(rows["lead_time"].unique())
    leads = found[spaced(len(found), 4)]
    figure, axes = plt.subplots(
        len(fields),
        len(leads),
        figsize=(2.2 * len(leads) + 0.6, 1.75 * len(fields) + 0.5),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for ax, lead in zip(axes[0], leads, strict=True):
        ax.set_title(f"lead time {lead}")
    for ax, field in zip(axes[:, 0], fields, strict=True):
        ax.set_ylabel(y.format(field))
    for ax in axes[-1]:
        ax.set_xlabel(x)
    places = [(field, int(lead)) for field in fields for lead in leads]
    return figure, dict(zip(places, axes.flat, strict=True))


def _legend(figure: plt.Figure, shown: Sequence[Look], markers: bool = True) -> None:
    handles = [
        Line2D(
            [],
            [],
            color=look.colour,
            linestyle=look.line,
            marker=look.marker if markers else "",
            fillstyle=look.fill,
            ms=4.5,
            label=look.label,
        )
        for look in shown
    ]
    legend_below(figure, handles)


def legend_below(figure: plt.Figure, handles: Sequence[Line2D]) -> None:
    """Adds a legend below all panels, of as many columns as its labels leave room for."""
    # A letter takes 0.065 inches at most on average, the line and what is around it 0.7.
    longest = 0.7 + 0.065 * max((len(str(line.get_label())) for line in handles), default=0)
    width = figure.get_figwidth()
    columns = min(len(handles), max(2, int(width / 2)), max(1, int(width / longest)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=3.2)


# --- Training ---------------------------------------------------------------------------------


def training_curves(histories: Mapping[str, pd.DataFrame]) -> plt.Figure:
    """Draws training and validation losses against steps, a panel per training."""
    columns = min(3, len(histories))
    rows = -(-len(histories) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.3 * columns, 2.4 * rows), squeeze=False, layout="constrained"
    )
    for ax in axes.flat[len(histories) :]:
        ax.set_axis_off()
    for ax, (name, history) in zip(axes.flat, histories.items(), strict=False):
        ax.plot(history["step"], history["loss"], color=PALETTE[5], linewidth=0.8, label="train")
        valid = history.dropna(subset=["valid_loss"])
        ax.plot(valid["step"], valid["valid_loss"], "o-", ms=3, color=PALETTE[1], label="valid")
        ax.set_yscale("log")
        # As many letters as a panel is wide.
        ax.set_title("\n".join(textwrap.wrap(name, 38, break_on_hyphens=False)))
        ax.set_xlabel("step")
        ax.grid(alpha=0.25)
    for ax in axes[:, 0]:
        ax.set_ylabel("loss")
    axes[0, 0].legend()
    return figure


def save(figure: plt.Figure, path: Path, dpi: int) -> None:
    """Writes a figure as PNG to look at and PDF to print, the same bytes each time."""
    with writing(path):
        figure.savefig(path.with_name(f"{path.name}.png"), dpi=dpi)
        # What has been laid out once stays: the layout takes longer than the drawing.
        figure.set_layout_engine("none")
        figure.savefig(path.with_name(f"{path.name}.pdf"), dpi=dpi, metadata={"CreationDate": None})
    plt.close(figure)
