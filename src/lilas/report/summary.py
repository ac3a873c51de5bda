"""The numbers behind tables: means over trajectories, their intervals and differences."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lilas.errors import LilasError
from lilas.evaluation.bands import INNER_BANDS
from lilas.evaluation.metrics import EVERY_METRIC, OF_TRUTH
from lilas.evaluation.uncertainty import bootstrap_interval, sign_flip_test
from lilas.report.trajectories import CELL
from lilas.study.methods import named

# Bounds on what an emulator can reach are no contenders.
EMULATORS, BASELINES, BOUNDS = named("emulator"), named("baseline"), named("bound", "truth")
# What two emulators are compared by; every metric would be thousands of rows.
COMPARED = (
    "vrmse",
    "crps",
    "vcrps",
    "venergy_score",
    "spread_skill",
    *(f"power_spectrum_{band}" for band in INNER_BANDS),
)


@dataclass(frozen=True)
class Matrix:
    """The values of one dataset.

    Attributes:
        cells: What each column is: a row per cell.
        values: (trajectory, cell).
    """

    cells: pd.DataFrame
    values: np.ndarray

    def select(self, chosen: pd.Series) -> "Matrix":
        """Returns the cells where `chosen` (cell,) is true."""
        return Matrix(self.cells[chosen].reset_index(drop=True), self.values[:, chosen.to_numpy()])

    def pool(self, by: list[str]) -> "Matrix":
        """Returns the means over cells that agree in the columns `by`, with equal weight.

        Names of what was pooled are joined by "+".
        """
        groups = self.cells.groupby(by, observed=True, sort=False)
        order = groups.ngroup().to_numpy()
        first = np.unique(order, return_index=True)[1]
        pooled = self.cells.iloc[first][by].reset_index(drop=True)
        for name in ("dataset", "autoencoder", "emulator", "sampler"):
            if name not in by:
                joined = self.cells[name].groupby(order).agg(lambda x: "+".join(dict.fromkeys(x)))
                pooled[name] = joined.to_numpy()
        sums = pd.DataFrame(self.values.T).groupby(order).mean()
        return Matrix(pooled, sums.to_numpy().T)

    def means(self) -> pd.DataFrame:
        """Returns the mean over trajectories of each cell, with its 95 % bootstrap interval.

        Columns: value, low and high (empty for a single trajectory), trajectories (how many).
        """
        low, high = bootstrap_interval(self.values) or (np.nan, np.nan)
        return pd.DataFrame(
            {
                "value": self.values.mean(0),
                "low": low,
                "high": high,
                "trajectories": len(self.values),
            }
        )

    def names(self) -> list[str]:
        """Returns the name by which each cell's number is traced."""
        return cell_names(self.cells)


def cell_names(cells: pd.DataFrame) -> list[str]:
    """Returns the name by which each cell's number is traced.

    It is {dataset}/{autoencoder}/{emulator}/{sampler}/{metric}/{horizon}, empty parts left out; the
    metric goes with "@autoencoder" where that is what it is relative to, and with ":field" where it
    is one field's.
    """
    return [
        "/".join(
            part
            for part in (
                cell.dataset,
                cell.autoencoder,
                cell.emulator,
                cell.sampler,
                cell.metric
                + ("@autoencoder" if cell.relative_to == "autoencoder" else "")
                + (f":{cell.field}" if cell.field else ""),
                cell.horizon,
            )
            if part
        )
        for cell in cells.itertuples(index=False)
    ]


def matrices(summary: pd.DataFrame) -> list[Matrix]:
    """Returns the values of each dataset as a matrix, a cell per metric, field and horizon.

    Args:
        summary: Values per trajectory, of `by_trajectory` or `valid_times`.

    Raises:
        LilasError: runs, metrics or fields of a dataset have values of different trajectories.
    """
    found = []
    for dataset, rows in summary.groupby("dataset", observed=True, sort=False):
        cell = rows.groupby(CELL, observed=True, sort=False).ngroup().to_numpy()
        trajectories, place = np.unique(rows["trajectory"], return_inverse=True)
        first = np.unique(cell, return_index=True)[1]
        counts = np.zeros((len(trajectories), len(first)), dtype=int)
        np.add.at(counts, (place, cell), 1)
        if (counts != 1).any():
            wrong, which = (index[0] for index in np.nonzero(counts != 1))
            one = rows.iloc[first[which]]
            run = "/".join(filter(None, (one["autoencoder"], one["emulator"], one["sampler"])))
            raise LilasError(
                f"tables: {dataset}: expected values of the same {len(trajectories)} trajectories "
                f"everywhere, found {counts[wrong, which]} of trajectory {trajectories[wrong]} for "
                f"{one['metric']} of {one['field']} of {run}. Evaluate all runs of a dataset on "
                "the same trajectories."
            )
        values = np.empty(counts.shape)
        values[place, cell] = rows["value"]
        cells = rows.iloc[first][CELL].reset_index(drop=True)
        # Categoricals of few rows cost more than they spare.
        found.append(Matrix(cells.astype(dict.fromkeys(_plain(cells), object)), values))
    return found


def _plain(cells: pd.DataFrame) -> list[str]:
    return [name for name in cells if isinstance(cells[name].dtype, pd.CategoricalDtype)]


def by_run(matrix: Matrix) -> Matrix:
    """Returns a matrix with the fields pooled, but those of metrics in the field's unit.

    What is said of the truth is said of each field, too.
    """
    apart = [name for name, metric in EVERY_METRIC.items() if metric.units == "field"]
    apart += OF_TRUTH
    field = matrix.cells["field"].where(matrix.cells["metric"].isin(apart), "")
    return Matrix(matrix.cells.assign(field=field), matrix.values).pool(CELL)


def by_horizon(summary: pd.DataFrame) -> pd.DataFrame:
    """Returns the mean of each metric over trajectories, with its 95 % bootstrap interval.

    Trajectories, fields and lead times weigh equally (paper, Table 6). Metrics in the field's unit
    are not averaged over fields, whose units differ: they have a row per field.

    Args:
        summary: Values per trajectory, of `by_trajectory` or `valid_times`.

    Returns:
        A row per run (`KEYS`), relative_to, metric, field (empty where fields are pooled) and
        horizon: value, low and high (empty for a single trajectory), trajectories (how many), cell
        (the name it is traced by).

    Raises:
        LilasError: as `matrices`.
    """
    parts = []
    for matrix in map(by_run, matrices(summary)):
        parts.append(pd.concat([matrix.cells, matrix.means()], axis=1).assign(cell=matrix.names()))
    return pd.concat(parts, ignore_index=True)


def differences(summary: pd.DataFrame) -> pd.DataFrame:
    """Returns how much emulators differ, trajectory by trajectory, and if by chance.

    Every two of one dataset that begin from as many context states, at one step and in one
    direction, are a pair, and each with persistence and with climatology from that step. Against
    the auto-encoded truth, only emulators of one autoencoder are: others have another truth. The
    interval is the bootstrap's over trajectories, p the sign-flip test's
    (`lilas.evaluation.uncertainty`), not corrected for the number of pairs and metrics.

    Args:
        summary: Values per trajectory, of `by_trajectory`.

    Returns:
        A row per dataset, context, first and second (autoencoder/emulator/sampler, or a baseline),
        relative_to, metric (those of `COMPARED`), field and horizon: difference (first minus
        second), low, high, p (empty for a single trajectory), trajectories. The two cells it
        compares are {dataset}/{first or second}/{metric}/{horizon}. Empty without emulators.

    Raises:
        LilasError: as `matrices`.
    """
    what = ["relative_to", "metric", "field", "horizon"]
    columns = ["dataset", "context", "first", "second", *what]
    parts = []
    for matrix in map(by_run, matrices(summary)):
        methods = (*EMULATORS, *BASELINES)
        chosen = matrix.cells["method"].isin(methods) & matrix.cells["metric"].isin(COMPARED)
        matrix = matrix.select(chosen)
        cells = matrix.cells
        run = cells["autoencoder"] + "/" + cells["emulator"] + "/" + cells["sampler"]
        cells = cells.assign(run=run.str.strip("/"), place=range(len(run)))
        # A baseline has no context of its own: it is compared with every context from its step.
        bare, begin = cells["method"].isin(BASELINES), ["start", "direction"]
        contexts = cells.loc[~bare, ["context", *begin]].drop_duplicates()
        baselines = cells[bare].drop(columns="context").merge(contexts, on=begin)
        cells = pd.concat([cells[~bare], baselines])
        cells["number"] = pd.factorize(cells["run"])[0]
        alike = ["dataset", "context", *begin, *what]
        pairs = cells.merge(cells, on=alike, suffixes=("", "_second"))
        one_truth = (pairs["relative_to"] == "truth") | (
            pairs["autoencoder"] == pairs["autoencoder_second"]
        )
        pairs = pairs[
            (pairs["number"] < pairs["number_second"]) & pairs["method"].isin(EMULATORS) & one_truth
        ].sort_values(["number", "number_second"], kind="stable", ignore_index=True)
        pairs = pairs.rename(columns={"run": "first", "run_second": "second"})
        if pairs.empty:
            continue
        values = matrix.values[:, pairs["place"]] - matrix.values[:, pairs["place_second"]]
        means = Matrix(pairs, values).means().rename(columns={"value": "difference"})
        p = sign_flip_test(values)
        means.insert(3, "p", np.nan if p is None else p)
        parts.append(pd.concat([pairs[columns], means], axis=1))
    if not parts:
        return pd.DataFrame(columns=[*columns, "difference", "low", "high", "p", "trajectories"])
    return pd.concat(parts, ignore_index=True)


def of_first_samplers(rows: pd.DataFrame, *apart: str) -> pd.Series:
    """Returns whether each row is of the first sampler that its emulator has rows of.

    Of several samplers of one emulator, one must stand for it that no score has chosen, and a mean
    over them would be of none. What is no emulator stays.

    Args:
        rows: With the columns of `lilas.records.metrics.KEYS`, in the study's order.
        apart: Columns by which an emulator has several first ones, such as context.
    """
    model = ["dataset", "autoencoder", "emulator", *apart]
    first = rows.groupby(model, observed=True)["sampler"].transform("first")
    return (rows["sampler"] == first) | ~rows["method"].isin(EMULATORS)


def label_runs(runs: pd.DataFrame) -> pd.Series:
    """Returns what each row's run is called: emulator (autoencoder, sampler), as short as it can.

    Seeds are left out where every run has seed 0, the sampler where an emulator has only one.
    """
    columns = ["autoencoder", "emulator", "sampler"]
    distinct = runs[columns].drop_duplicates()
    seeds = distinct["autoencoder"].str.cat(distinct["emulator"], " ").str.findall(r"-s(\d+)")
    plain = all(seed == "0" for found in seeds for seed in found)
    samplers = distinct.groupby("emulator")["sampler"].nunique()

    def name(run: pd.Series) -> str:
        inside = [run["autoencoder"], run["sampler"] if samplers[run["emulator"]] > 1 else ""]
        text = run["emulator"] + (f" ({', '.join(filter(None, inside))})" if any(inside) else "")
        return re.sub(r"-s0\b", "", text) if plain else text

    names = {tuple(run): name(run) for _, run in distinct.iterrows()}
    return pd.Series([names[key] for key in runs[columns].itertuples(index=False)], runs.index)
