"""Trainings that Snakemake would run again, although they are finished and nothing has changed."""

from collections.abc import Iterable
from pathlib import Path

from lilas.errors import LilasError
from lilas.records.provenance import VERSIONS, differences
from lilas.records.weights import read_record
from lilas.study.tasks import Task


def finished(jobs: Iterable[tuple[str, Path, str]]) -> list[Path]:
    """Returns the weights, of trainings that are to run, that are what these would make.

    Results that were copied without their times, or without Snakemake's own records, would all be
    made again; the records inside tell that they need not be.

    Args:
        jobs: Of each training its stage, its weights and its settings as JSON.
    """
    return [
        path for stage, path, config in jobs if path.is_file() and _current(stage, path, config)
    ]


def _current(stage: str, path: Path, config: str) -> bool:
    try:
        record = read_record(path)
    except LilasError:
        return False
    asked = stage, VERSIONS[stage], Task.model_validate_json(config).record()
    if (record["stage"], record["version"], record["config"]) != asked:
        return False
    return all(line.startswith("code: ") for line in differences(record, path))
