"""Quality against seconds: runs of an emulator that differ in sampling steps or algorithm."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from lilas.report.sampling_seconds import NAME as SECONDS
from lilas.report.sampling_seconds import sampling_seconds
from lilas.report.summary import by_run, matrices
from lilas.report.tables import cell
from lilas.report.typeset import Row, Table
from lilas.study.comparison import Sampling
from lilas.study.methods import named

NAME = "steps"
TITLE = "Quality against seconds, by sampling steps"
QUANTITIES = {"vrmse": "VRMSE", "vcrps": "CRPS"}
HEADS = ["autoencoder", "emulator", "sampler", "algorithm", "steps", "members"]
_NOTE = (
    "Runs of an emulator that differ in their sampler's steps or algorithm, and those of a single "
    "evaluation of a network on the same latents, from the same states. CRPS is over the truth's "
    "standard deviation, as the VRMSE; of one member it is the mean absolute error. Means over "
    "test trajectories, fields and lead times; in brackets 95 % bootstrap intervals over "
    "trajectories."
)
_ALIKE = ["context", "start", "direction"]


def step_tables(
    summary: pd.DataFrame, sampling: Mapping[str, Sampling], timings: pd.DataFrame, root: Path
) -> list[Table]:
    """Returns the scores and seconds of runs by sampling steps, a table per dataset that has such.

    Args:
        summary: Values per trajectory, of `by_trajectory`.
        sampling: Of `lilas.study.comparison.sampling`.
        timings: Of `lilas.records.timings.read_timings`.
        root: Results folder of the study.
    """
    rows = summary[summary["method"].isin(named("emulator")) & summary["sampler"].isin(sampling)]
    rows = rows[rows["metric"].isin(list(QUANTITIES)) & (rows["relative_to"] == "truth")]
    tables = []
    for matrix in map(by_run, matrices(rows) if len(rows) else ()):
        cells = matrix.cells
        names = ["autoencoder", "emulator", "sampler"]
        runs = cells[[*names, "members", *_ALIKE]].drop_duplicates(names)
        shown = [
            run
            for _, space in runs.groupby("autoencoder", sort=False)
            for run in _shown(space, sampling)
        ]
        if not shown:
            continue
        dataset = cells["dataset"].iloc[0]
        seconds = sampling_seconds(((dataset, *run[:3]) for run in shown), timings, root)
        means = matrix.means().assign(cell=matrix.names(), best=False)
        horizons = list(dict.fromkeys(cells["horizon"]))
        columns = [(metric, horizon) for metric in QUANTITIES for horizon in horizons]
        body = []
        for run in shown:
            own = cells.index[(cells[names] == list(run[:3])).all(axis=1)]
            at = {(cells.loc[i, "metric"], cells.loc[i, "horizon"]): i for i in own}
            found = [cell(means.loc[at[c]].to_dict(), {}) if c in at else None for c in columns]
            body.append(Row(list(run), [seconds.cells.get((dataset, *run[:3])), *found]))
        titles = [f"{QUANTITIES[metric]}, {horizon}" for metric, horizon in columns]
        note = f"{_NOTE} {seconds.note}"
        tables.append(Table(dataset, HEADS, [SECONDS, *titles], body, note, apart=True))
    return tables


def _shown(runs: pd.DataFrame, sampling: Mapping[str, Sampling]) -> list[tuple[str, ...]]:
    """Returns the HEADS of the runs of a latent space that are compared, if any are."""
    ways, rests = defaultdict(list), defaultdict(set)
    for run in runs.itertuples(index=False):
        how = sampling[run.sampler]
        rests[run.emulator].add(how.rest)
        ways[run.emulator, how.rest].append(run)
    swept = [
        run
        for its in ways.values()
        if len({(sampling[run.sampler].algorithm, sampling[run.sampler].steps) for run in its}) > 1
        for run in its
    ]
    begun = {tuple(getattr(run, name) for name in _ALIKE) for run in swept}
    names = {(run.emulator, run.sampler) for run in swept}
    found = []
    for run in runs.itertuples(index=False):
        how = sampling[run.sampler]
        once = how.steps is None and tuple(getattr(run, name) for name in _ALIKE) in begun
        if (run.emulator, run.sampler) in names or once:
            several = how.rest if len(rests[run.emulator]) > 1 else ""
            found.append(
                (
                    *(run.autoencoder, run.emulator, run.sampler),
                    ", ".join(filter(None, (how.algorithm, several))),
                    "-" if how.steps is None else str(how.steps),
                    str(run.members),
                )
            )
    return found
