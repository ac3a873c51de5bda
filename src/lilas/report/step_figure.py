"""The figure of quality against seconds: VRMSE and CRPS by sampling steps."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import ticker

from lilas.errors import broken
from lilas.report import figures
from lilas.report.looks import SPARE, Looks
from lilas.report.sampling_seconds import NAME as SECONDS
from lilas.report.step_tables import HEADS, NAME, QUANTITIES
from lilas.report.summary import label_runs
from lilas.report.trajectories import in_order

LINES = ["-", (0, (5, 1.5)), (0, (1.5, 1.5)), *(line for line, _ in SPARE)]


def read_steps(tables: Path) -> pd.DataFrame:
    """Returns the table of runs by sampling steps; without rows where there is none.

    Raises:
        LilasError: it is damaged.
    """
    path = tables / f"{NAME}.csv"
    columns = ["dataset", *HEADS, "quantity", "value", "low", "high"]
    if not path.is_file():
        return pd.DataFrame(columns=columns)
    numbers, action = ("value", "low", "high"), "Run snakemake -R tables."
    names = dict.fromkeys(columns, str) | dict.fromkeys(numbers, float)
    empty = dict.fromkeys(numbers, "")
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=empty, dtype=names)
    except ValueError as error:
        raise broken(path, "a CSV table of numbers by steps", f"{error}", action) from None
    if missing := [name for name in columns if name not in table]:
        raise broken(path, f"the columns {', '.join(columns)}", f"no {missing[0]}", action)
    return table


def step_curves(rows: pd.DataFrame, study: Looks) -> figures.plt.Figure | None:
    """Draws VRMSE and CRPS against the seconds of a state and member, a column per horizon.

    Colour and marker by model, line by algorithm, a point per number of steps, with its number;
    single evaluations are points. None where no seconds are known.

    Args:
        rows: Of `read_steps`, of one dataset.
        study: The looks of its runs.
    """
    found = rows[rows["quantity"] == SECONDS].set_index(HEADS)
    rows = rows[rows["quantity"] != SECONDS].join(found["value"].rename("seconds"), on=HEADS)
    # Only what was timed, turn by turn, has an interval.
    timed = "as timed" if found["low"].notna().any() else "of whole jobs"
    rows = rows.dropna(subset="seconds")
    if rows.empty:
        return None
    rows = rows.join(
        rows["quantity"].str.split(", ", n=1, expand=True).set_axis(["score", "horizon"], axis=1)
    )
    rows = rows.assign(model=label_runs(rows.assign(sampler="")))
    horizons = in_order(rows["horizon"].unique())
    figure, axes = figures.plt.subplots(
        *(2, len(horizons)),
        figsize=(2.9 * len(horizons) + 0.6, 5.4),
        sharex=True,
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    algorithms = list(dict.fromkeys(rows["algorithm"]))
    handles = {}
    for panels, score in zip(axes, QUANTITIES.values(), strict=True):
        panels[0].set_ylabel(f"{score}" + " / std of the truth" * (score == "CRPS"))
        for ax, horizon in zip(panels, horizons, strict=True):
            here = rows[(rows["score"] == score) & (rows["horizon"] == horizon)]
            for (*_, model, algorithm), part in here.groupby(
                ["autoencoder", "emulator", "model", "algorithm"], sort=False
            ):
                single = (part["steps"] == "-").all()
                place = algorithms.index(algorithm)
                line = "" if single else LINES[place % len(LINES)]
                # Numbers of lines that cross stand on both sides of them.
                own = _curve(ax, part, study, line, below=bool(place % 2))
                handles.setdefault(f"{model}, {algorithm}", own)
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
            ax.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
            ax.xaxis.set_minor_formatter(ticker.NullFormatter())
            ax.grid(alpha=0.25)
    for ax, horizon in zip(axes[0], horizons, strict=True):
        ax.set_title(f"lead time {horizon.replace('-', ' to ')}")
    for ax in axes[-1]:
        ax.set_xlabel(f"seconds per state and member\n({timed})")
    for label, handle in handles.items():
        handle.set_label(label)
    figures.legend_below(figure, list(handles.values()))
    return figure


def _curve(
    ax: figures.plt.Axes, part: pd.DataFrame, study: Looks, line: Any, *, below: bool
) -> figures.plt.Line2D:
    """Draws one line of points with their steps, and returns what stands for it in the legend."""
    part = part.sort_values("steps", key=lambda steps: steps.replace("-", "0").astype(int))
    run = part.iloc[0]
    look = study[run["autoencoder"], run["emulator"], run["sampler"]]
    style = {"color": look.colour, "marker": look.marker, "ms": 4.5, "lw": 1.2}
    (drawn,) = ax.plot(part["seconds"], part["value"], linestyle=line, **style)
    low, high = (part[end].fillna(part["value"]) for end in ("low", "high"))
    ax.vlines(part["seconds"], low, high, color=look.colour, alpha=0.45, lw=1)
    for _, row in part[part["steps"] != "-"].iterrows():
        place = {
            "xytext": (-4, -10) if below else (4, 4),
            "textcoords": "offset points",
            "fontsize": 7,
        }
        ax.annotate(row["steps"], (row["seconds"], row["value"]), color=look.colour, **place)
    return drawn
