"""Methods side by side, on the same latents: their scores at equal budget, and what they cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lilas.evaluation.bands import INNER_BANDS
from lilas.evaluation.metrics import EVERY_METRIC
from lilas.evaluation.uncertainty import sign_flip_test
from lilas.records.histories import read_history
from lilas.report.sampling_seconds import NAME as SECONDS
from lilas.report.sampling_seconds import sampling_seconds
from lilas.report.summary import Matrix, by_run, label_runs, matrices, of_first_samplers
from lilas.report.tables import cell
from lilas.report.typeset import Cell, Row, Table
from lilas.study.comparison import Compared
from lilas.study.methods import named

SCORES, COSTS = "methods", "methods_cost"
TITLE, COSTS_TITLE = "Methods at equal budget", "What the methods cost"
QUANTITIES = {
    "vrmse": "VRMSE",
    "vcrps": "CRPS",
    "venergy_score": "energy score",
    "spread_skill": "spread / skill",
    **{f"power_spectrum_{band}": f"power spectrum, {band}" for band in INNER_BANDS},
}
MINUS = "{}, minus the best"
_NOTE = (
    "Emulators of the same latents, each with the first of its samplers, compared where the budget "
    "of their trainings is equal and forecasts begin alike; a training that starts from another "
    "has that one's budget added. CRPS and energy score are over the truth's standard deviation, "
    "as the VRMSE; of one member they are the mean absolute error and the VRMSE. Means over test "
    "trajectories; in brackets 95 % bootstrap intervals over them. Minus the best: trajectory by "
    "trajectory, p of the sign-flip test, not corrected for the number of comparisons."
)
_UNEQUAL = (
    " Budget unknown: these have none, or none of one kind, and their costs, in the table of what "
    "methods cost, may differ."
)
_COSTS = (
    "Windows and training seconds are those of a training and of what it starts from. Windows: "
    "steps times those of a batch, as often as the network is called for each, for members of an "
    "ensemble or one window after another. Seconds are of the steps, validations apart. A budget "
    "is of all of these, too."
)


@dataclass(frozen=True)
class _Run:
    """An emulator that is compared: its entry of the study, the run's cells, and its block."""

    trained: Compared
    cells: pd.DataFrame
    label: str

    @property
    def block(self) -> tuple[str, ...]:
        """What runs are compared within."""
        alike = self.cells.iloc[0][["autoencoder", "context", "start", "direction"]]
        return (*map(str, alike), self.trained.costs)


def _compared(matrix: Matrix, trained: Sequence[Compared]) -> list[_Run]:
    """Returns the first run of each emulator, blocks together, and equal budgets first."""
    cells = matrix.cells
    labels = label_runs(cells.assign(sampler=""))
    found = []
    for one in trained:
        own = cells[(cells["autoencoder"] == one.autoencoder) & (cells["emulator"] == one.emulator)]
        if own.empty:
            continue
        own = own[of_first_samplers(own)]
        found.append(_Run(one, own, labels[own.index[0]]))
    blocks = list(dict.fromkeys(run.block for run in found))
    spaces = list(dict.fromkeys(one.autoencoder for one in trained))
    blocks.sort(key=lambda block: (spaces.index(block[0]), block[-1] == "unknown"))
    return sorted(found, key=lambda run: blocks.index(run.block))


def _selected(summary: pd.DataFrame, dataset_of: Mapping[str, Sequence[Compared]]) -> list[Matrix]:
    """Returns the scores that are compared, fields pooled, of each dataset that has such."""
    rows = summary[summary["dataset"].isin(list(dataset_of)) & (summary["relative_to"] == "truth")]
    rows = rows[rows["metric"].isin(list(QUANTITIES)) & rows["method"].isin(named("emulator"))]
    return [by_run(matrix) for matrix in matrices(rows)]


def method_tables(summary: pd.DataFrame, compared: Mapping[str, Sequence[Compared]]) -> list[Table]:
    """Returns the scores of methods at equal budget, a table per dataset.

    A row per latent space, budget, quantity and emulator; a column per horizon, and one of the
    paired difference from the block's best.

    Args:
        summary: Values per trajectory, of `by_trajectory`.
        compared: Of `lilas.study.comparison.compared`.
    """
    tables = []
    for matrix in _selected(summary, compared):
        dataset = matrix.cells["dataset"].iloc[0]
        runs = _compared(matrix, compared[dataset])
        horizons = list(dict.fromkeys(matrix.cells["horizon"]))
        body = []
        for block in dict.fromkeys(run.block for run in runs):
            its = [run for run in runs if run.block == block]
            there = {name for run in its for name in run.cells["metric"]}
            for metric in [name for name in QUANTITIES if name in there]:
                body += _rows(matrix, its, metric, horizons)
        columns = [name for horizon in horizons for name in (horizon, MINUS.format(horizon))]
        note = _NOTE + _UNEQUAL * any(run.trained.budget is None for run in runs)
        heads = ["autoencoder", "budget", "quantity", "run", "members"]
        tables.append(Table(dataset, heads, columns, body, note))
    return tables


def _rows(matrix: Matrix, runs: Sequence[_Run], metric: str, horizons: Sequence[str]) -> list[Row]:
    """Returns the rows of a metric and a block, a run each; runs without it have none."""
    places: dict[str, dict[str, int]] = {}
    for run in runs:
        rows = run.cells[run.cells["metric"] == metric]
        if len(rows):
            places[run.label] = dict(zip(rows["horizon"], rows.index, strict=True))
    found: dict[str, list[Cell | None]] = {label: [] for label in places}
    for horizon in horizons:
        columns = {label: its[horizon] for label, its in places.items()}
        values = matrix.values[:, list(columns.values())]
        best = _best(values.mean(0), metric)
        own = Matrix(matrix.cells.loc[list(columns.values())], values)
        means = own.means().assign(cell=own.names(), best=False)
        means.loc[best, "best"] = len(columns) > 1
        apart = values - values[:, [best]]
        differences = Matrix(own.cells, apart).means().assign(cell="", best=False)
        p = sign_flip_test(apart)
        for i, label in enumerate(columns):
            beside = {} if p is None else {"p": float(p[i])}
            difference = None if i == best else cell(differences.iloc[i].to_dict(), beside)
            found[label] += [cell(means.iloc[i].to_dict(), {}), difference]
    names = {run.label: run for run in runs}
    return [
        Row(
            [
                names[label].trained.autoencoder,
                names[label].trained.costs,
                QUANTITIES[metric],
                label,
                str(names[label].cells["members"].iloc[0]),
            ],
            cells,
        )
        for label, cells in found.items()
    ]


def _best(means: np.ndarray, metric: str) -> int:
    """Returns which of the means is the best: the least, or the closest to one."""
    near = EVERY_METRIC[metric].orientation == "one"
    return int(np.argmin(np.abs(means - 1) if near else means))


def cost_tables(
    summary: pd.DataFrame,
    compared: Mapping[str, Sequence[Compared]],
    histories: Sequence[Path],
    timings: pd.DataFrame,
    root: Path,
) -> list[Table]:
    """Returns what the methods cost, a table per dataset, a row per emulator of `method_tables`.

    Args:
        summary: Values per trajectory, of `by_trajectory`.
        compared: Of `lilas.study.comparison.compared`.
        histories: Of their trainings and of what these start from.
        timings: Of `lilas.records.timings.read_timings`.
        root: Results folder of the study.
    """
    trained = {"/".join(path.parts[-4:-1]): _training(path) for path in histories}
    tables = []
    for matrix in _selected(summary, compared):
        dataset = matrix.cells["dataset"].iloc[0]
        runs = _compared(matrix, compared[dataset])
        keys = {
            run.label: (dataset, *run.cells.iloc[0][["autoencoder", "emulator", "sampler"]])
            for run in runs
        }
        seconds = sampling_seconds(keys.values(), timings, root)
        body = []
        for run in runs:
            cells = _cost(f"{dataset}/{run.trained.autoencoder}/", run.trained, trained)
            heads = [run.trained.autoencoder, run.trained.costs, run.label, _starts(run.trained)]
            body.append(Row(heads, [*cells, seconds.cells.get(keys[run.label])]))
        heads = ["autoencoder", "budget", "run", "starts from"]
        columns = ["steps", "windows in all", "training seconds in all", SECONDS]
        note = f"{_COSTS} {seconds.note}"
        tables.append(Table(dataset, heads, columns, body, note, apart=True))
    return tables


def _training(history: Path) -> tuple[int, float]:
    """Returns the steps and the seconds of a training; NaN where an early version measured none."""
    last = read_history(history).iloc[-1]
    return int(last["step"]), float(last["seconds"])


def _starts(trained: Compared) -> str:
    names = [one.run.rpartition("/")[2] for one in trained.ancestors]
    return ", ".join(names + ["weights from elsewhere"] * trained.elsewhere) or "-"


def _cost(
    folder: str, one: Compared, trained: Mapping[str, tuple[int, float]]
) -> list[Cell | None]:
    """Returns steps, windows and seconds of a training; None of what is not known of all of it."""
    own = trained.get(f"{folder}{one.emulator}")
    if own is None or one.windows is None:
        return [None, None, None]
    parts = [(*own, one.windows)]
    parts += [(*trained[its.run], its.windows) for its in one.ancestors if its.run in trained]
    whole = not one.elsewhere and len(parts) == 1 + len(one.ancestors)
    windows = sum(steps * each for steps, _, each in parts)
    seconds = sum(took for _, took, _ in parts)
    known = whole and not np.isnan(seconds)
    return [Cell(own[0]), Cell(windows) if whole else None, Cell(seconds) if known else None]
