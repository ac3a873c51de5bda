"""Tables of latent analyses: the paper's Tables 15 to 17, and how well parameters are predicted."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from lilas.evaluation.gaussians import rank_correlation
from lilas.evaluation.uncertainty import (
    bootstrap_interval,
    percentile_interval,
    resamples,
)
from lilas.records.analyses import Analysis
from lilas.report.typeset import Cell, Row, Table
from lilas.systems.base import exponent

# File name, title, and what the columns of each are.
TITLES = {
    "table15_latent_distance": (
        "Latent distance between rollouts under two values of a parameter, as in the paper's "
        "Table 15",
        "b",
    ),
    "tables16_17_bures_wasserstein": (
        "Bures-Wasserstein distance between central tokens by parameter, as in the paper's "
        "Tables 16 and 17",
        "b",
    ),
    "latent_parameters": ("Parameters predicted from central tokens", "quantity"),
}
# Of fewer trajectories an interval is too narrow.
FEW = 6
# What cells are of, and of which rows of their files.
CELLS = {
    "latent_distance": "distances",
    "bures_wasserstein": "distances",
    "parameter_error": "predictions",
    "parameter_error_of_mean": "predictions",
    "parameter_explained": "predictions",
}
# The paper's numbers: of which dataset, by our name of the parameter.
PAPERS = {
    "table15_latent_distance": ("euler_multi_quadrants", {"gamma": "gamma"}),
    "tables16_17_bures_wasserstein": (
        "rayleigh_benard",
        {"Rayleigh": "rayleigh", "Prandtl": "prandtl"},
    ),
}


def latent_tables(
    analyses: Iterable[Analysis],
    lead_times: Mapping[str, Sequence[int]],
    published: Mapping[str, str],
) -> dict[str, list[Table]]:
    """Returns the tables of latent analyses by the names of their files, empty ones left out.

    Args:
        analyses: Files of latent analyses.
        lead_times: Of counterfactuals, by dataset.
        published: By dataset, the paper's dataset that it is; its numbers stand beside.
    """
    found: dict[str, list[Table]] = {name: [] for name in TITLES}
    for one in analyses:
        paper = published.get(one.facts["dataset"], "")
        if one.is_counterfactual:
            table = counterfactual_table(one, lead_times[one.facts["dataset"]], paper)
            found["table15_latent_distance"].append(table)
        else:
            found["tables16_17_bures_wasserstein"] += distance_tables(one, paper)
            found["latent_parameters"].append(prediction_table(one))
    return {name: tables for name, tables in found.items() if tables}


def cell_name(one: Analysis, what: str, *parts: Any) -> str:
    """Returns the name that a cell is traced by; a parameter's name has a _ for each /."""
    told = [part.replace("/", "_") if isinstance(part, str) else exponent(part) for part in parts]
    return f"{one.facts['dataset']}/{one.run}/{':'.join([what, *told])}"


# --- Table 15 ---------------------------------------------------------------------------------


def counterfactual_table(one: Analysis, lead_times: Sequence[int], paper: str = "") -> Table:
    """Returns the distances between rollouts: a row per lead time and value, a column per value."""
    rows, parameter = one.tables["distances"], one.facts["parameter"]
    values = sorted({*rows["a"], *rows["b"]})
    published = _published("table15_latent_distance", paper, parameter)
    body, told = [], []
    for lead in lead_times:
        own = rows[rows["lead_time"] == lead]
        matrix = own.pivot(index="trajectory", columns=["a", "b"], values="distance")
        means, ends = matrix.mean(), bootstrap_interval(matrix.to_numpy())
        cells: dict[tuple[float, float], Cell] = {}
        for k, (a, b) in enumerate(matrix.columns):
            span = {} if ends is None else {"low": ends[0][k], "high": ends[1][k]}
            for pair in ((a, b), (b, a)):
                number = published.get((lead, *map(_key, pair)))
                beside = {} if number is None else {"paper": number}
                name = f"{cell_name(one, 'latent_distance', parameter, *pair)}/{lead}-{lead}"
                cells[pair] = Cell(means[a, b], **span, name=name, beside=beside)
        body += [
            Row(
                [one.run, str(lead), parameter, exponent(a)],
                [cells[a, b] if a != b else Cell(0.0) for b in values],
            )
            for a in values
        ]
        told.append(_at_lead(one, lead, means))
    columns = list(map(exponent, values))
    note = " ".join([_counterfactual_note(one, values), *told, _paper_note(body)])
    heads = ["run", "lead_time", "parameter", "a"]
    return Table(one.facts["dataset"], heads, columns, body, note.strip())


def _at_lead(one: Analysis, lead: int, means: pd.Series) -> str:
    """Returns how the distances of one lead time go with those of the values, in words."""
    parts = []
    if len(means) > 1:
        a, b = np.array(means.index.tolist()).T
        scale = np.log10 if one.facts["scale"] == "log10" else np.asarray
        ranks = rank_correlation(np.abs(scale(a) - scale(b)), means.to_numpy())
        parts.append(f"rank correlation {ranks:.2f}")
    members = one.tables["members"]
    noise = members[members["lead_time"] == lead]["distance"]
    if len(noise):
        parts.append(f"between members {noise.mean():.3g}")
    return f"Lead time {lead}: {', '.join(parts)}." if parts else ""


def _counterfactual_note(one: Analysis, values: Sequence[float]) -> str:
    facts, rows = one.facts, one.tables["distances"]
    low, high = facts["known"]
    beyond = [exponent(value) for value in values if not low <= value <= high]
    trajectories = rows["trajectory"].nunique()
    counts = {"members": facts["members"], "test trajectories": trajectories}
    pooled = [(count, of) for of, count in counts.items() if count > 1]
    parts = [
        f"Euclidean distance of latents, of rollouts from one state under {facts['parameter']} a "
        "and b with the same noise"
        + "".join(
            f"{', mean over' if i == 0 else ' and'} {count} {of}"
            for i, (count, of) in enumerate(pooled)
        )
        + ".",
        *([_interval("these trajectories", trajectories)] if trajectories > 1 else []),
    ]
    if len(values) > 2:
        scale = _scale(facts["scale"])
        parts.append(f"Rank correlation: Spearman's, of |a - b|{scale} with the distance.")
    if facts["members"] > 1:
        parts.append("Between members: at one value, of rollouts that differ in noise alone.")
    if beyond:
        parts.append(
            f"The test split has values from {exponent(low)} to {exponent(high)}; "
            f"{', '.join(beyond)} lie{'s' if len(beyond) == 1 else ''} outside."
        )
    return " ".join(parts)


# --- Tables 16 and 17 -------------------------------------------------------------------------


def distance_tables(one: Analysis, paper: str = "") -> list[Table]:
    """Returns the distances between tokens, a table per parameter: rows and columns are values."""
    found = []
    for parameter, rows in one.tables["distances"].groupby("parameter", sort=False):
        values = sorted({*rows["a"], *rows["b"]})
        published = _published("tables16_17_bures_wasserstein", paper, parameter)
        cells: dict[tuple[float, float], Cell] = {}
        for row in rows.to_dict("records"):
            for pair in ((row["a"], row["b"]), (row["b"], row["a"])):
                number = published.get(tuple(map(_key, pair)))
                cells[pair] = Cell(
                    row["distance"],
                    *_ends(row),
                    name=cell_name(one, "bures_wasserstein", parameter, *pair),
                    beside={} if number is None else {"paper": number},
                )
        body = [
            Row(
                [one.run, parameter, exponent(a)],
                [cells[a, b] if a != b else Cell(0.0) for b in values],
            )
            for a in values
        ]
        note = f"{_distance_note(one, parameter)} {_paper_note(body)}".strip()
        heads = ["autoencoder", "parameter", "a"]
        columns = list(map(exponent, values))
        found.append(Table(one.facts["dataset"], heads, columns, body, note))
    return found


def _distance_note(one: Analysis, parameter: str) -> str:
    def of(name: str) -> list[dict[str, Any]]:
        table = one.tables[name]
        return table[table["parameter"] == parameter].to_dict("records")

    parts = [
        f"Between Gaussian fits of the central tokens of training trajectories by {parameter}, "
        "whatever the other parameters."
    ]
    if halves := of("halves"):
        parts.append(_interval("trajectories", min(row["trajectories"] for row in halves)))
        mean = np.mean([row["distance"] for row in halves])
        parts.append(
            f"Chance: halves of one value's trajectories, of one distribution, are {mean:.3g} "
            "apart. It makes every distance too large, which intervals take off (basic bootstrap "
            "of squares), so that they may lie below it."
        )
    for row in of("correlations"):
        low, high = _ends(row)
        span = "" if low is None else f" [{low:.2f}, {high:.2f}]"
        scale = _scale(of("scales")[0]["scale"])
        parts.append(
            f"Closer values, closer latents: Spearman's rank correlation of |a - b|{scale} with "
            f"the distance is {row['correlation']:.2f}{span}, of {row['pairs']} pairs; chance "
            "draws it and its interval towards 0."
        )
    return " ".join(parts)


# --- Predictions ------------------------------------------------------------------------------


def prediction_table(one: Analysis) -> Table:
    """Returns the errors of predicted parameters, a row per parameter."""
    body = []
    for row in one.tables["scales"].to_dict("records"):
        parameter, rows = row["parameter"], one.tables["predictions"]
        own = rows[rows["parameter"] == parameter]
        heads = [one.run, parameter, row["scale"], str(len(own))]
        body.append(Row(heads, _prediction_cells(one, parameter, own)))
    note = (
        "Error: root mean square over test trajectories of what a small perceptron predicts from a "
        "central token, in the parameter's scale. Error of the mean: of always predicting the "
        "training mean. Explained: 1 - (error / error of the mean)², 1 at best, 0 for what tells "
        "nothing. "
    ) + _interval("test trajectories", one.tables["predictions"]["trajectory"].nunique())
    return Table(
        one.facts["dataset"],
        ["autoencoder", "parameter", "scale", "trajectories"],
        ["error", "error of the mean", "explained"],
        body,
        note,
    )


def _prediction_cells(one: Analysis, parameter: str, own: pd.DataFrame) -> list[Cell | None]:
    squared = own[["squared_error", "squared_error_of_mean"]].to_numpy()
    weights = resamples(len(own)) / len(own) if len(own) > 1 else np.empty((0, 1))
    drawn = weights @ squared
    names = [name for name, rows in CELLS.items() if rows == "predictions"]
    found: list[Cell | None] = []
    for name, value, draws in zip(
        names,
        (*np.sqrt(squared.mean(0)), _explained(squared.mean(0)[None])),
        (*np.sqrt(drawn).T, _explained(drawn)),
        strict=True,
    ):
        ends = percentile_interval(draws) if len(draws) else (None, None)
        single = np.ravel(value)
        cell = Cell(*single, *ends, cell_name(one, name, parameter)) if len(single) else None
        found.append(cell)
    return found


def _explained(squared: np.ndarray) -> np.ndarray:
    """Returns 1 - the ratio of mean squared errors, of those resamples that have one."""
    kept = squared[squared[:, 1] > 0]
    return 1 - kept[:, 0] / kept[:, 1]


# --- The paper's numbers ----------------------------------------------------------------------


@cache
def _read_published(name: str) -> pd.DataFrame:
    path = files("lilas.report") / "paper" / f"{name}.csv"
    return pd.read_csv(str(path))


def _published(name: str, paper: str, parameter: str) -> dict[tuple[Any, ...], float]:
    """Returns the paper's numbers of a parameter by (lead time and) values; empty if it has none.

    Its tables hold each pair both ways round, and zeros where a value meets itself.
    """
    dataset, names = PAPERS[name]
    if paper != dataset or parameter not in names:
        return {}
    table = _read_published(name)
    if "lead_time" in table:
        columns = ["lead_time", f"{names[parameter]}_a", f"{names[parameter]}_b"]
    else:
        table = table[table["parameter"] == names[parameter]]
        columns = ["a", "b"]
    keys = table[columns].itertuples(index=False, name=None)
    return {
        (*key[:-2], *map(_key, key[-2:])): value
        for key, value in zip(keys, table["distance"], strict=True)
    }


def _key(value: Any) -> str:
    return exponent(float(value))


def _paper_note(body: Sequence[Row]) -> str:
    shown = any(cell and cell.beside for row in body for cell in row.cells)
    text = "paper: the number that Rozet et al. 2025 (arXiv 2507.02608) published of their own."
    return text if shown else ""


def _interval(of: str, count: int) -> str:
    few = ", too narrow of so few" if count < FEW else ""
    return f"In brackets: 95 % bootstrap interval over {of}{few}."


def _scale(scale: str) -> str:
    return " of logarithms" if scale == "log10" else ""


def _ends(row: Mapping[str, float]) -> tuple[float | None, float | None]:
    low, high = row["low"], row["high"]
    return (None, None) if pd.isna(low) else (low, high)
