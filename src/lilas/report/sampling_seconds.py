"""What a state of a member takes to sample, without decoding: as timed, or by whole jobs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from lilas.report.costs import rollout_seconds
from lilas.report.speed import cell_name, median, runs
from lilas.report.typeset import Cell
from lilas.study.paths import split_training_name

NAME = "seconds per state"
_TIMED = (
    "Seconds per state, of one member and without decoding: as timed by one job, the median over "
    "turns with its 95 % interval; of each entry the first seed was timed, others take as long."
)
_JOBS = (
    "Seconds per state, of one member and without decoding: of whole rollout jobs, start-up and "
    "writing included, each measured once, so that short jobs look slow. A study with `timing` has "
    "them measured apart."
)
# (dataset, autoencoder, emulator, sampler)
Run = tuple[str, str, str, str]


@dataclass(frozen=True)
class Seconds:
    """Seconds per state and member of runs.

    Attributes:
        cells: By run; those that neither were timed nor have jobs that ran here are left out.
        note: How they were measured, in words.
    """

    cells: Mapping[Run, Cell]
    note: str


def sampling_seconds(found: Iterable[Run], timings: pd.DataFrame, root: Path) -> Seconds:
    """Returns what a state takes of each run, all of one dataset.

    Args:
        found: The runs.
        timings: Of `lilas.records.timings.read_timings`; where it has the dataset, it decides.
        root: Results folder of the study, whose rollout jobs stand in.
    """
    found = list(found)
    timed = runs(timings)
    timed = timed[timed["dataset"].isin([run[0] for run in found])].to_dict("records")
    if not timed:
        jobs = {run: rollout_seconds(root, run) for run in found}
        cells = {run: Cell(seconds) for run, seconds in jobs.items() if seconds is not None}
        return Seconds(cells, _JOBS)
    rows = {_entries((row["dataset"], *_names(row))): row for row in timed if row["emulator"]}
    cells = {}
    for run in found:
        row = rows.get(_entries(run))
        if row is not None:
            own = median(row["timing_rollout"])
            # A number has one place in a table that it is traced to.
            name = cell_name(row, "timing_rollout") if run[1:] == _names(row) else ""
            cells[run] = Cell(own.value, own.low, own.high, name)
    return Seconds(cells, _TIMED)


def _names(row: Mapping[str, str]) -> tuple[str, str, str]:
    return row["autoencoder"], row["emulator"], row["sampler"]


def _entries(run: Run) -> Run:
    """Returns a run by its entries, whatever the seeds."""
    dataset, autoencoder, emulator, sampler = run
    return (
        dataset,
        split_training_name(autoencoder)[0],
        split_training_name(emulator)[0],
        sampler,
    )
