"""The paper's tables: their published numbers, and our own in their layout.

Rozet et al. 2025 (arXiv 2507.02608), Tables 6 to 13. What this project calls otherwise than the
paper is put together here and nowhere else.
"""

from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from lilas.errors import LilasError, broken
from lilas.evaluation.bands import INNER_BANDS
from lilas.evaluation.metrics import LAWS
from lilas.evaluation.uncertainty import LEVEL, RESAMPLES
from lilas.report.remarks import remarks
from lilas.report.summary import BASELINES, EMULATORS, Matrix, matrices, of_first_samplers
from lilas.report.tables import cell
from lilas.report.typeset import Cell, Row, Table
from lilas.study.methods import METHODS, named

# What the paper's tables have rows of, in this order.
ROWS = (*named("baseline"), *named("bound"), *named("emulator"))

# The paper's names of its horizons, and what they hold in the official code 1.1.0: lead times from
# the first to below the second ([1, 20), [20, 60), ...), and the last goes on to the rollout's end,
# wherever context and start step leave it. So a horizon 1-19 of ours is the paper's 1:20. By
# dataset: (first, earliest last, latest last) of ours.
HORIZONS = {
    "euler_multi_quadrants": {
        "1:20": (1, 19, 19),
        "21:60": (20, 59, 59),
        "61:100": (60, 88, 100),
    },
    "rayleigh_benard": {"1:20": (1, 19, 19), "21:60": (20, 59, 59), "61:180": (60, 180, 183)},
    "turbulence_gravity_cooling": {
        "1:10": (1, 9, 9),
        "11:30": (10, 29, 29),
        "31:50": (30, 45, 45),
    },
}


@dataclass(frozen=True, eq=False)
class Layout:
    """One of the paper's tables.

    Attributes:
        name: Of its files, ours and the published one.
        title: What it shows.
        metrics: Our metric by the paper's band; a single one has no band.
        column: Of the published numbers.
        field: The only field it is of, "vertical velocity" being that along the last space axis;
            empty where fields are averaged.
        paper: The only dataset of the paper's that it is of; empty where it is of all.
        law: Which other data it is made of: those that are scored by this law.
        fields: Which other data it is made of: those that have all of these.
        contexts: Rows are contexts and pool compression rates, rather than the other way round.
    """

    name: str
    title: str
    metrics: dict[str, str]
    column: str
    field: str = ""
    paper: str = ""
    law: str = ""
    fields: frozenset[str] = frozenset()
    contexts: bool = False


LAYOUTS = (
    Layout("table6_vrmse", "VRMSE, as in the paper's Table 6", {"": "vrmse"}, "vrmse"),
    Layout(
        "table7_vrmse_by_context",
        "VRMSE by context, as in the paper's Table 7",
        {"": "vrmse"},
        "vrmse",
        contexts=True,
    ),
    Layout(
        "tables8_10_power_spectrum_rmse",
        "Relative RMSE of the power spectrum, as in the paper's Tables 8 to 10",
        {band: f"power_spectrum_{band}" for band in INNER_BANDS},
        "power_spectrum_rmse",
    ),
    Layout(
        "table11_sliced_emd_density",
        "Sliced earth mover's distance of density, as in the paper's Table 11",
        {"": "sliced_emd"},
        "distance",
        "density",
        "euler_multi_quadrants",
        "gas",
    ),
    Layout(
        "table12_wasserstein_vertical_velocity",
        "Wasserstein distance of the vertical velocity, as in the paper's Table 12",
        {"": "wasserstein"},
        "distance",
        "vertical velocity",
        "rayleigh_benard",
        "convection",
    ),
    Layout(
        "table13_wasserstein_density",
        "Wasserstein distance of density, as in the paper's Table 13",
        {"": "wasserstein"},
        "distance",
        "density",
        "turbulence_gravity_cooling",
        fields=frozenset({"density", "pressure", "temperature", "velocity_z"}),
    ),
)


@cache
def read_published(layout: Layout) -> dict[tuple[str, str, int, str, str], float]:
    """Returns a published table by dataset, method, compression or context, band and horizon.

    Datasets, methods and horizons go by the paper's names.

    Raises:
        LilasError: the file is not what it was when it was packaged.
    """
    path = files("lilas.report") / "paper" / f"{layout.name}.csv"
    table = pd.read_csv(str(path))
    row = "context" if layout.contexts else "compression"
    bands = ["band"] * (len(layout.metrics) > 1)
    columns = ["dataset", "method", row, *bands, "horizon", layout.column]
    if list(table) != columns:
        raise broken(str(path), ", ".join(columns), ", ".join(table), "Install LILAS again.")
    found = {}
    for line in table.to_dict("records"):
        key = (line["dataset"], line["method"], line[row], line.get("band", ""), line["horizon"])
        known = (
            line["horizon"] in HORIZONS.get(line["dataset"], {})
            and line["method"] in {METHODS[name].published for name in ROWS}
            and key[3] in layout.metrics
        )
        if not known or key in found or not 0 <= line[layout.column] < np.inf:
            raise broken(str(path), "known rows, once each", f"{line}", "Install LILAS again.")
        found[key] = line[layout.column]
    return found


def published_horizon(dataset: str, horizon: str) -> str | None:
    """Returns the paper's name of one of our horizons, such as "1:20" for "1-19", or None.

    Args:
        dataset: The paper's dataset.
        horizon: Ours, "first-last" in solver steps, both included.

    Raises:
        LilasError: the paper has no such dataset.
    """
    if dataset not in HORIZONS:
        raise LilasError(
            f"published: the paper has no dataset {dataset!r}, only {', '.join(HORIZONS)}"
        )
    first, last = map(int, horizon.split("-"))
    for name, (begin, low, high) in HORIZONS[dataset].items():
        if first == begin and low <= last <= high:
            return name
    return None


def paper_tables(
    summary: pd.DataFrame, sources: dict[str, str], published: dict[str, str]
) -> dict[str, tuple[str, list[Table]]]:
    """Returns our numbers in the layout of the paper's tables.

    Values are against the truth, of rollouts forward in time. Each emulator has the first of its
    samplers in each context. Runs that share method, compression rate and names are averaged with
    equal weight: contexts and seeds (paper, Table 6). Where a study has several autoencoders or
    emulators of a kind at one compression rate, each has a row. Baselines are in every table. A
    table is made where its metric and field exist, one of a single dataset of the paper's for that
    and for data of its law or fields; the one by context where emulators began from different
    numbers of states, and pools the latent ones, as the paper's does: its numbers are the means
    over compression rates of Table 6 without pixel space.

    Args:
        summary: Values per trajectory, of `lilas.report.trajectories.by_trajectory`.
        sources: By dataset, where its data come from, for the footnote.
        published: By dataset, the paper's dataset that it is. Datasets that are none of the
            paper's are left out, and have no published values beside theirs.

    Returns:
        By file name: title, and a table per dataset.

    Raises:
        LilasError: as `lilas.report.summary.matrices`; or the paper has no such dataset.
    """
    found: dict[str, tuple[str, list[Table]]] = {}
    told = remarks(summary)
    for matrix in matrices(summary):
        dataset = matrix.cells["dataset"].iloc[0]
        for layout in LAYOUTS:
            chosen = _chosen(layout, matrix, published.get(dataset))
            if chosen.cells["method"].isin(BASELINES).all():
                continue
            table = _table(layout, chosen, sources[dataset], published.get(dataset))
            if dataset in told and "vrmse" in layout.metrics.values():
                table = replace(table, note=f"{table.note} {told[dataset]}")
            found.setdefault(layout.name, (layout.title, []))[1].append(table)
    return {layout.name: found[layout.name] for layout in LAYOUTS if layout.name in found}


def _chosen(layout: Layout, matrix: Matrix, paper: str | None) -> Matrix:
    """Returns the cells that a table is made of, with the columns that its rows go by."""
    cells = matrix.cells
    bands = {metric: band for band, metric in layout.metrics.items()}
    keep = cells["metric"].isin(bands) & cells["method"].isin(ROWS)
    keep &= (cells["relative_to"] == "truth") & (cells["direction"] == "forward")
    if layout.field:
        field = _vertical(cells) if "vertical" in layout.field else layout.field
        keep &= (cells["field"] == field) & _is_about(layout, cells, paper)
    emulators = cells["method"].isin(EMULATORS)
    if layout.contexts:
        latent = emulators & (cells["compression"] > 1)
        several = cells[latent & keep]["context"].nunique() > 1
        keep &= several & (latent | cells["method"].isin(BASELINES))
        if cells["start"].nunique() > 1:
            # Each context has the baselines from its own step.
            own = cells[latent].drop_duplicates("start").set_index("start")["context"]
            context = cells["start"].map(own).where(cells["method"].isin(BASELINES))
            cells = cells.assign(context=context.fillna(cells["context"]).astype(int))
            matrix = Matrix(cells, matrix.values)
    chosen = matrix.select(keep)
    chosen = chosen.select(of_first_samplers(chosen.cells, "context"))
    cells = chosen.cells
    names = cells["autoencoder"] + " " + cells["emulator"]
    return Matrix(
        cells.assign(
            band=cells["metric"].map(bands),
            model=names.str.replace(r"-s\d+\b", "", regex=True),
            field=cells["field"] if layout.field else "",
        ),
        chosen.values,
    )


def _is_about(layout: Layout, cells: pd.DataFrame, paper: str | None) -> bool:
    """Whether data are what a table is about: the paper's own, of its law, or of its fields."""
    laws = {law.name for law in LAWS.get(layout.law, ())}
    lawful = not laws.isdisjoint(cells["metric"].unique())
    alike = bool(layout.fields) and layout.fields.issubset(cells["field"].unique())
    return paper == layout.paper or lawful or alike


def _vertical(cells: pd.DataFrame) -> str | None:
    """Returns the name of the velocity along the last axis, if there is one."""
    found = sorted({f"velocity_{axis}" for axis in "xyz"}.intersection(cells["field"].unique()))
    return found[-1] if found else None


def _table(layout: Layout, chosen: Matrix, source: str, paper: str | None) -> Table:
    """Returns one dataset's table.

    Args:
        layout: Which one.
        chosen: The cells that it is made of.
        source: Where the data come from.
        paper: The paper's dataset that it is, if any.
    """
    kind = ["band", "method", "context" if layout.contexts else "compression"]
    pooled = chosen.pool(
        [*kind, *["model"] * (not layout.contexts), "metric", "relative_to", "field", "horizon"]
    )
    rows = pd.concat([pooled.cells, pooled.means()], axis=1).assign(cell=pooled.names(), best=False)
    heads = ["method", *["band"] * (len(layout.metrics) > 1), kind[-1]]
    if layout.contexts:
        groups = chosen.cells.groupby(["method", "context"])["compression"]
        rates = groups.agg(_list).rename("compressions")
        rows = rows.merge(rates, left_on=["method", "context"], right_index=True)
        heads.append("compressions")
    elif (rows.groupby(kind)["model"].nunique() > 1).any():
        heads.append("model")
    places = {name: i for i, name in enumerate([*layout.metrics, *ROWS])}
    rows = rows.sort_values(
        kind, kind="stable", key=lambda x: x.map(places) if x.name in ("band", "method") else x
    )
    body: dict[tuple[str, ...], dict[str, Cell]] = {}
    apart = layout.contexts and chosen.cells["start"].nunique() > 1
    for line in rows.to_dict("records"):
        beside = _published(layout, paper, line) if paper else {}
        if line["method"] in BASELINES:
            kept = ["band", *["context"] * apart]
            line |= dict.fromkeys(heads[1:], "-") | {name: line[name] for name in kept}
        texts = tuple(_text(line[head]) for head in heads)
        body.setdefault(texts, {})[line["horizon"]] = cell(line, beside)
    columns = list(dict.fromkeys(chosen.cells["horizon"]))
    table = [Row(texts, [cells[name] for name in columns]) for texts, cells in body.items()]
    shown = any(c.beside for cells in body.values() for c in cells.values())
    dataset = chosen.cells["dataset"].iloc[0]
    return Table(dataset, heads, columns, table, _note(layout, chosen, source, shown))


def _published(layout: Layout, paper: str, line: dict[str, Any]) -> dict[str, float]:
    """Returns the paper's number of a cell, under the name that it is shown by, if it has one."""
    method = METHODS[line["method"]].published
    horizon = published_horizon(paper, line["horizon"])
    if layout.contexts:
        rates = {key[2] for key in read_published(LAYOUTS[0]) if key[:2] == (paper, method)}
        if line["compressions"] != _list(pd.Series(sorted(rates - {1}))):
            return {}
    row = line["context" if layout.contexts else "compression"]
    number = read_published(layout).get((paper, method, row, line["band"], horizon))
    return {} if number is None else {"paper": number}


def _note(layout: Layout, chosen: Matrix, source: str, shown: bool) -> str:
    """Returns what data and models a table is of."""
    cells, trajectories = chosen.cells, len(chosen.values)
    emulated = cells[cells["method"].isin(EMULATORS)]
    of = f"of {cells['field'].iloc[0]}" if layout.field else "fields averaged"
    seeds = (cells["autoencoder"] + " " + cells["emulator"]).str.findall(r"-s(\d+)").explode()
    parts = [
        f"Data: {source}; {trajectories} test trajector{'y' if trajectories == 1 else 'ies'}.",
        f"Against the truth, {of}, over the lead times of each horizon (solver steps).",
    ]
    if not emulated.empty:
        members = "; ".join(
            f"{_list(part['members'])} ({method})" for method, part in emulated.groupby("method")
        )
        parts.append(
            f"Members: {members}. Contexts: {_list(emulated['context'])}, "
            f"from step {_list(emulated['start'])}. "
            f"Samplers: {_list(emulated['sampler'])}, each emulator's first in each context."
        )
    parts.append(
        f"Training seeds: {_list(seeds.dropna().astype(int))}. Runs of one row that differ in "
        "these are averaged."
    )
    parts.append(
        f"In brackets: {LEVEL * 100:.0f} % bootstrap interval of the mean over trajectories "
        f"({RESAMPLES:,} resamples), which does not cover how trainings differ"
        + (", and of so few is too narrow." if trajectories < 6 else ".")
        if trajectories > 1
        else "One trajectory has no interval."
    )
    if shown:
        parts.append(
            "paper: the number that Rozet et al. 2025 (arXiv 2507.02608) published of their own "
            "training and 64 test trajectories"
            + ("." if layout.contexts else ", averaged over contexts 1 to 3.")
        )
    return " ".join(parts)


def _list(values: pd.Series) -> str:
    return ", ".join(_text(value) for value in sorted(values.unique()))


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"
