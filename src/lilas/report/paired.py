"""Verdicts on claims, and the paired samples of trajectories that they rest on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lilas.errors import LilasError
from lilas.evaluation.uncertainty import percentile_interval, resamples
from lilas.records.timings import read_timings
from lilas.report.summary import EMULATORS, cell_names, of_first_samplers
from lilas.report.trajectories import in_order
from lilas.study.comparison import trained_for
from lilas.study.paths import split_training_name
from lilas.study.study import Study

SUPPORTED, NOT_SUPPORTED, NOT_TESTED = "supported", "not supported", "not tested"
# Of values behind a number: what is compared, what each is of, whether of a trajectory, seed or
# turn, which of these it is, and the value.
ROWS = ["side", "cell", "sample", "number", "value"]
# The smallest n for which even the range of n draws covers a median with 95 %: 1 - 2^(1-n).
FEWEST_TRAJECTORIES = 6


@dataclass(frozen=True)
class Results:
    """What claims are checked against.

    Attributes:
        summary: A value per run, relative_to, metric, field, horizon and trajectory, as
            `lilas.report.trajectories.by_trajectory` returns it.
        costs: As `costs` returns it.
        losses: As `validation_losses` returns it.
        study: The study.
        timings: As `lilas.records.timings.read_timings` returns them; of no file where nothing was
            timed.
    """

    summary: pd.DataFrame
    costs: pd.DataFrame
    losses: pd.DataFrame
    study: Study
    timings: pd.DataFrame = field(default_factory=lambda: read_timings([]))


@dataclass(frozen=True)
class Part:
    """A claim's part, or the claim on one dataset: all parts must hold.

    Attributes:
        name: What is compared, and on what.
        verdict: On it.
        evidence: Its numbers, a line each.
        rows: The values that they are computed from, of `rows_of` or `sampled`.
    """

    name: str
    verdict: str
    evidence: list[str]
    rows: pd.DataFrame = field(default_factory=lambda: rows_of({}), compare=False)


@dataclass(frozen=True)
class Verdict:
    """What a run says of a claim: the verdict, by which criterion, the numbers, and why."""

    number: int
    claim: str
    criterion: str
    verdict: str
    evidence: list[str]
    reason: str
    parts: list[Part]


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def judge(holds: bool) -> str:
    """Returns the verdict on what holds, or does not."""
    return SUPPORTED if holds else NOT_SUPPORTED


def together(parts: list[Part]) -> str:
    """Returns the verdict on a conjunction: one contradicted part contradicts it."""
    verdicts = {part.verdict for part in parts} or {NOT_TESTED}
    return next(v for v in (NOT_SUPPORTED, NOT_TESTED, SUPPORTED) if v in verdicts)


def metric_rows(results: Results, metric: str, *, guided: bool = False) -> pd.DataFrame:
    """Returns a metric's rows relative to the truth, with the emulator's entry in the study.

    The claims are of emulation forward in time; what is guided by the truth is no forecast.
    """
    rows = results.summary
    rows = rows[(rows["metric"] == metric) & (rows["relative_to"] == "truth")]
    rows = rows[rows["sampler"].isin(list(results.study.twins())) == guided]
    rows = rows[rows["direction"] == "forward"].copy()
    for column in rows.select_dtypes("category"):
        rows[column] = rows[column].astype(str)
    rows["entry"] = rows["emulator"].str.replace(r"-s\d+$", "", regex=True)
    return rows


def emulator_rows(results: Results, metric: str, *, pixel: bool) -> pd.DataFrame:
    """Returns a metric's rows of emulators, in pixel space or in latent space.

    The budget of their trainings is (unit, number); an empty unit where it is not known.
    """
    rows = metric_rows(results, metric)
    rows = rows[rows["method"].isin(EMULATORS)]
    names = ["dataset", "autoencoder", "emulator"]
    runs = rows[names].drop_duplicates()
    here = [in_pixel_space(results.study, *run) == pixel for run in runs[names[:2]].to_numpy()]
    runs = runs[np.array(here, bool)]
    trained = [trained_for(results.study, run) for run in runs.to_dict("records")]
    budgets = [(one.unit, one.budget or 0.0) for one in trained]
    return rows.merge(runs.assign(budget=pd.Series(budgets, runs.index, object)), on=names)


def in_pixel_space(study: Study, dataset: str, autoencoder: str) -> bool:
    """Whether an autoencoder is the identity."""
    name, _ = split_training_name(autoencoder)
    return study.resolve("autoencoders", name, dataset).model.is_pixel_space


def alike(groups: list[pd.DataFrame], *choices: list[str]) -> list[pd.DataFrame]:
    """Returns of each group the runs whose likes are in all, by the first columns that find any.

    What is compared must differ in one thing alone; where nothing is shared, no run stays. From as
    many context states, the first sampler that is shared stands for all, or each emulator's first
    where samplers are none of the columns.
    """
    for columns in choices:
        keys = [set(map(tuple, group[columns].drop_duplicates().to_numpy())) for group in groups]
        if shared := set.intersection(*keys):
            frame = pd.DataFrame(sorted(shared), columns=columns)
            found = [group.merge(frame, on=columns) for group in groups]
            if "sampler" not in columns:
                return [firsts(group) for group in found]
            rest = [*(name for name in columns if name != "sampler"), "context"]
            one = found[0].drop_duplicates(list(dict.fromkeys(rest)))[columns]
            return [group.merge(one, on=columns) for group in found]
    return [group.iloc[:0] for group in groups]


def at_one_budget(groups: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """Returns of each group the runs of the largest budget that all have; all where they have none.

    Runs of no known budget are compared where no known one is shared.

    Args:
        groups: Of `emulator_rows`.
    """
    shared = set.intersection(*(set(group["budget"]) for group in groups))
    return [group[group["budget"] == max(shared)] if shared else group for group in groups]


def firsts(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of each emulator's first sampler of those with as many context states."""
    return rows[of_first_samplers(rows, "context")]


def tabulate(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the mean over fields and runs (trajectory, horizon).

    Raises:
        LilasError: the runs lack a trajectory or a horizon, so that they would not weigh equally.
    """
    if rows.empty:
        return pd.DataFrame()
    groups = rows.groupby(["trajectory", "horizon"])["value"]
    table, counts = groups.mean().unstack(), groups.size().unstack()
    if counts.isna().any(axis=None) or len(np.unique(counts)) != 1:
        run = "/".join(map(str, rows.iloc[0][["dataset", "autoencoder", "emulator", "sampler"]]))
        raise LilasError(f"claims: {run}: not every trajectory has every horizon and field")
    return table[in_order(table.columns)]


def rows_of(sides: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Returns the values that a comparison is computed from, ROWS, by test trajectory.

    A value is the mean over fields of one run, horizon and trajectory, under the name by which
    `lilas trace` finds its mean over trajectories.

    Args:
        sides: What is compared, by name; rows of `metric_rows`.
    """
    keys = ["dataset", "autoencoder", "emulator", "sampler", "metric", "relative_to", "horizon"]
    found = [pd.DataFrame(columns=ROWS)]
    for side, rows in sides.items():
        means = rows.groupby([*keys, "trajectory"], sort=False)["value"].mean().reset_index()
        means = means.rename(columns={"trajectory": "number"})
        cells = cell_names(means.assign(field=""))
        means = means.assign(side=side, cell=cells, sample="trajectory")
        found.append(means[list(found[0])])
    return pd.concat([part for part in found if len(part)] or found, ignore_index=True)


def sampled(sample: str, found: Iterable[tuple[str, str, int, float]]) -> pd.DataFrame:
    """Returns values as rows of a part, ROWS.

    Args:
        sample: Over what an interval is taken: seed or turn.
        found: Side, cell or the file of results that has it, number of the sample, value.
    """
    rows = pd.DataFrame(found, columns=[name for name in ROWS if name != "sample"])
    return rows.assign(sample=sample)[ROWS]


def check_paired(tables: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """Returns the tables, refused unless all have the same trajectories and horizons."""
    for table in tables[1:]:
        if not (table.index.equals(tables[0].index) and table.columns.equals(tables[0].columns)):
            raise LilasError(
                "claims: runs to compare have other trajectories or horizons than each other: "
                f"{list(table.index)}, {list(table.columns)} and {list(tables[0].index)}, "
                f"{list(tables[0].columns)}. Evaluate them again."
            )
    return tables


def too_few(table: pd.DataFrame) -> str | None:
    """Returns why a table (trajectory, horizon) bears no interval; None if it does."""
    if table.empty:
        return "no two runs differ in this alone"
    if len(table) >= FEWEST_TRAJECTORIES:
        return None
    return f"{len(table)} test trajectories; an interval takes {FEWEST_TRAJECTORIES}"


def counted(table: pd.DataFrame) -> str:
    """Returns how many trajectories a table has, in words."""
    return f"{len(table)} trajectories"


def estimate(statistic: Callable[..., Any], *samples: pd.Series) -> Estimate:
    """Returns a statistic of means over trajectories with its percentile bootstrap interval.

    Args:
        statistic: Maps one mean per sample to a number; elementwise.
        samples: Values by trajectory, the same trajectories in each.

    Raises:
        LilasError: the statistic is not finite.
    """
    values = np.stack([sample.to_numpy() for sample in samples], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = statistic(*(resamples(len(values)) @ values / len(values)).T)
        value = statistic(*values.mean(axis=0))
    if not (np.isfinite(drawn).all() and np.isfinite(value)):
        raise LilasError("claims: a ratio to an error of 0; is a rollout the truth itself?")
    low, high = percentile_interval(drawn)
    return Estimate(float(value), float(low), float(high))


def mean_cost(costs: pd.DataFrame, kind: str, quantity: str, rows: pd.DataFrame) -> float | None:
    """Returns the mean of a quantity over the trainings behind some rows; None if one lacks it."""
    keys = ["dataset", "autoencoder"] + (["emulator"] if kind == "emulator" else [])
    runs = rows[keys].drop_duplicates()
    own = costs[(costs["kind"] == kind) & (costs["quantity"] == quantity)]
    values = runs.merge(own, on=keys)["value"]
    return float(values.mean()) if 0 < len(values) == len(runs) else None
