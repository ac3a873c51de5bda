"""What observations of the truth do to rollouts: errors with and without, and how well they fit.

Guided rollouts have seen the truth that they are scored by: they are no forecasts, and stand here
alone.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lilas.report.summary import Matrix, by_run, label_runs, matrices
from lilas.report.tables import cell
from lilas.report.typeset import Cell, Row, Table
from lilas.settings import listed

_NOTE = (
    "VRMSE against the truth, guided by noisy observations of part of each state, and by the same "
    "sampler without; difference: guided minus unguided, trajectory by trajectory. misfit: root "
    "mean square of A(x) - y over the noise's standard deviation, over members; 1 where nothing "
    "but noise is left. Below that of the auto-encoded truth, latents decode nearer to what was "
    "observed than the truth's own. Means over test trajectories and the lead times of each "
    "horizon (solver steps); in brackets: 95 % bootstrap interval over trajectories."
)
# What the rows of a run are of.
_FIT = {"misfit": "misfit", "misfit_floor": "misfit of the auto-encoded truth"}


def guidance_tables(summary: pd.DataFrame, twins: Mapping[str, str]) -> list[Table]:
    """Returns the errors and misfits of guided rollouts, a table per dataset.

    Args:
        summary: Values per trajectory, of `by_trajectory`, of guided and of other rollouts.
        twins: By guided sampler, the one that differs in guidance alone; empty where none does.
    """
    tables = []
    for matrix in map(by_run, matrices(summary)):
        cells = matrix.cells
        names = [*_FIT, "vrmse"]
        matrix = matrix.select(cells["metric"].isin(names) & (cells["relative_to"] == "truth"))
        cells = matrix.cells.assign(name=matrix.names())
        cells["run"] = label_runs(cells)
        guided = cells[cells["sampler"].isin(list(twins))]
        body, alone = [], []
        for (autoencoder, emulator, sampler), run in guided.groupby(
            ["autoencoder", "emulator", "sampler"], sort=False
        ):
            own = {name: _by_horizon(run, name) for name in names}
            other = cells[
                (cells["autoencoder"] == autoencoder)
                & (cells["emulator"] == emulator)
                & (cells["sampler"] == twins[sampler])
            ]
            rows = {"VRMSE, guided": _cells(matrix, own["vrmse"])}
            if len(other):
                plain = _by_horizon(other, "vrmse")
                rows["VRMSE, unguided"] = _cells(matrix, plain, named=False)
                rows["difference"] = _differences(matrix, own["vrmse"], plain)
            else:
                alone.append(run["run"].iloc[0])
            rows |= {text: _cells(matrix, own[name]) for name, text in _FIT.items()}
            label, rate = run[["run", "compression"]].iloc[0]
            horizons = list(own["vrmse"])
            body += [
                Row([label, f"{rate:.0f}", what], [found.get(horizon) for horizon in horizons])
                for what, found in rows.items()
            ]
        if body:
            heads = ["run", "compression", "quantity"]
            dataset = cells["dataset"].iloc[0]
            note = _NOTE
            if alone:
                note += f" Of {listed(alone)} no run differs in guidance alone."
            tables.append(Table(dataset, heads, horizons, body, note))
    return tables


def _by_horizon(run: pd.DataFrame, metric: str) -> dict[str, int]:
    """Returns the place in the matrix of a metric by horizon."""
    rows = run[run["metric"] == metric]
    return dict(zip(rows["horizon"], rows.index, strict=True))


def _cells(matrix: Matrix, places: dict[str, int], named: bool = True) -> dict[str, Cell]:
    chosen = Matrix(
        matrix.cells.loc[list(places.values())], matrix.values[:, list(places.values())]
    )
    names = chosen.names() if named else [""] * len(places)
    rows = chosen.means().assign(cell=names, best=False).to_dict("records")
    return {horizon: cell(row, {}) for horizon, row in zip(places, rows, strict=True)}


def _differences(matrix: Matrix, first: dict[str, int], second: dict[str, int]) -> dict[str, Cell]:
    values = np.stack(
        [matrix.values[:, first[horizon]] - matrix.values[:, second[horizon]] for horizon in first],
        1,
    )
    rows = Matrix(matrix.cells.loc[list(first.values())], values).means()
    rows = rows.assign(cell="", best=False).to_dict("records")
    return {horizon: cell(row, {}) for horizon, row in zip(first, rows, strict=True)}
