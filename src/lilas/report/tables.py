"""Tables by horizon: what the metrics are averaged to, and how certain the averages are.

Files of metrics are reduced one at a time to a value per trajectory (`by_trajectory`), of which
every table is made: means with intervals (`by_horizon`), paired differences (`differences`). The
paper's layouts are in `lilas.report.published`.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from lilas.evaluation.metrics import EVERY_METRIC
from lilas.records.metrics import KEYS
from lilas.report.remarks import BESIDE, remarks, remarks_on
from lilas.report.summary import BOUNDS, by_horizon, label_runs
from lilas.report.trajectories import VALID
from lilas.report.typeset import Cell, Row, Table

_VALID = (
    "Solver steps until a field is first further off than the criterion, against the truth; mean "
    "over test trajectories and fields. In brackets: 95 % bootstrap interval over trajectories. "
    "valid to end: share of forecasts that are valid to the end of their rollouts and count with "
    "its length; the mean is that much too short."
)


def metric_tables(means: pd.DataFrame, metric: str, relative_to: str) -> list[Table]:
    """Returns one metric, a table per dataset: a row per run and field, a column per horizon.

    The best of each field and horizon is marked: the lowest, the highest, or the closest to one.
    Those that begin at one step and go one way in time are compared, and both are told where they
    differ. Reconstructions and the truth are bounds and never the best. Against the auto-encoded
    truth there is a best of each autoencoder, for each has a truth of its own. Where the constant
    of the VRMSE matters, a note says so, and the value without it stands beside; of other scores
    with a constant, a note.

    Args:
        means: Of `by_horizon`.
        metric: Its name.
        relative_to: "truth" or "autoencoder".
    """
    chosen = means[(means["metric"] == metric) & (means["relative_to"] == relative_to)]
    # How far from the best value that there could be, the lower the better.
    far = {
        "lower": lambda value: value,
        "higher": lambda value: -value,
        "one": lambda value: (value - 1).abs(),
    }.get(EVERY_METRIC[metric].orientation if metric in EVERY_METRIC else "none")
    best = pd.Series(False, chosen.index)
    if far is not None:
        far = far(chosen["value"].where(~chosen["method"].isin(BOUNDS)))
        among = ["dataset", "start", "direction", "field", "horizon"]
        among += ["autoencoder"] * (relative_to == "autoencoder")
        least = far.groupby([chosen[name] for name in among])
        best = far == least.transform("min")
    chosen = chosen.assign(run=label_runs(means)[chosen.index], best=best)
    if metric != "vrmse":
        told = remarks_on(metric, means)
        tables = _run_tables(chosen, "horizon")
        return [replace(table, note=told.get(table.dataset, "")) for table in tables]
    told = remarks(means)
    other = means[(means["metric"] == BESIDE) & (means["relative_to"] == relative_to)]
    keys = [*KEYS, "field", "horizon"]
    beside = chosen[keys].merge(other[[*keys, "value"]], how="left", on=keys)["value"].to_numpy()
    chosen["scale-free"] = np.where(chosen["dataset"].isin(list(told)), beside, np.nan)
    tables = _run_tables(chosen, "horizon", ("scale-free",))
    return [replace(table, note=told.get(table.dataset, "")) for table in tables]


def valid_time_tables(times: pd.DataFrame) -> list[Table]:
    """Returns how long forecasts are valid, a table per dataset: a row per run, one per criterion.

    Args:
        times: Of `valid_times`. Beside the mean over trajectories and fields stands the share of
            them that stayed valid to the end: the larger, the more the mean is too short.
    """
    means = by_horizon(times)
    never = by_horizon(times.assign(value=times["censored"].astype(float)))["value"]
    criterion = means["metric"].str.removeprefix("valid_time_")
    means["criterion"] = criterion.map({name: text for name, (_, text) in VALID.items()})
    means = means.assign(run=label_runs(means), valid_to_end=never, best=False)
    return [replace(t, note=_VALID) for t in _run_tables(means, "criterion", ("valid_to_end",))]


def _run_tables(rows: pd.DataFrame, column: str, beside: tuple[str, ...] = ()) -> list[Table]:
    tables = []
    for dataset, part in rows.groupby("dataset", sort=False):
        heads = ["run", *(["field"] if part["field"].any() else []), "compression", "members"]
        heads += [name for name in ("start", "direction") if part[name].nunique() > 1]
        columns = list(dict.fromkeys(part[column]))
        part = part.sort_values("compression", kind="stable")
        found = {}
        for row in part.to_dict("records"):
            row["compression"] = f"{row['compression']:.0f}" if row["autoencoder"] else "-"
            found.setdefault(tuple(str(row[head]) for head in heads), {})[row[column]] = cell(
                row, {name: row[name] for name in beside if not math.isnan(row[name])}
            )
        fields = list(dict.fromkeys(part["field"]))
        if "field" in heads:
            found = dict(sorted(found.items(), key=lambda item: fields.index(item[0][1])))
        body = [Row(texts, [cells.get(name) for name in columns]) for texts, cells in found.items()]
        tables.append(Table(dataset, heads, columns, body))
    return tables


def cell(row: dict[str, Any], beside: dict[str, float]) -> Cell:
    """Returns a row of `by_horizon`, or one like it, as a table's cell."""
    low, high = (None if math.isnan(row[name]) else row[name] for name in ("low", "high"))
    return Cell(row["value"], low, high, row["cell"], beside, bool(row["best"]))


def difference_tables(found: pd.DataFrame, metric: str, relative_to: str) -> list[Table]:
    """Returns the paired differences in one metric, a table per dataset, p beside each.

    Args:
        found: Of `differences`.
        metric: Its name.
        relative_to: "truth" or "autoencoder".
    """
    chosen = found[(found["metric"] == metric) & (found["relative_to"] == relative_to)]
    tables = []
    for dataset, part in chosen.groupby("dataset", sort=False):
        heads = ["first minus second", *(["field"] if part["field"].any() else []), "context"]
        columns = list(dict.fromkeys(part["horizon"]))
        rows: dict[tuple[str, ...], dict[str, Cell]] = {}
        for row in part.to_dict("records"):
            row |= {"first minus second": f"{row['first']} - {row['second']}"}
            row |= {"value": row["difference"], "cell": "", "best": False}
            beside = {} if math.isnan(row["p"]) else {"p": row["p"]}
            texts = tuple(str(row[head]) for head in heads)
            rows.setdefault(texts, {})[row["horizon"]] = cell(row, beside)
        body = [Row(texts, [cells.get(name) for name in columns]) for texts, cells in rows.items()]
        tables.append(Table(dataset, heads, columns, body))
    return tables
