"""What a job scores, opened from its files: by the job itself, or by workers elsewhere."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels
from lilas.data.well import open_files
from lilas.devices import select_device
from lilas.evaluation.score import (
    DECODED,
    score_baselines,
    score_reconstruction,
    score_rollouts,
)
from lilas.models.build import load_autoencoder
from lilas.models.latents import open_rollouts
from lilas.models.observations import Observations
from lilas.models.rollout import evaluated_trajectories, part_of
from lilas.progress import progress
from lilas.records.provenance import as_json
from lilas.records.workers import in_order
from lilas.study.tasks import Task

# Numbers that are in memory for each of an ensemble that is scored, at most.
SCORED = 8
# A process opens one thing at a time: it is heavy.
_OPENING = threading.Lock()


@dataclass(frozen=True)
class Scoring:
    """What is scored and how, in text and paths, from which any process opens it.

    Attributes:
        what: `rollouts`, `reconstruction` or `baselines`.
        config: The job's slice of the study (`Task`), as JSON.
        statistics: Of the dataset.
        test: Files of the test split.
        autoencoder: Its weights; None of baselines.
        rollouts: Their manifest; None of others.
        device: Name of the device that scores.
    """

    what: str
    config: str
    statistics: Path
    test: tuple[Path, ...]
    autoencoder: Path | None
    rollouts: Path | None
    device: str

    def absolute(self) -> "Scoring":
        """Returns the same with paths that hold in any folder."""
        config = json.loads(self.config)
        if Task.model_validate_json(self.config).masks():
            operator = config["sampler"]["guidance"]["operator"]
            operator["path"] = str(Path(operator["path"]).absolute())
        return replace(
            self,
            config=json.dumps(config),
            statistics=self.statistics.absolute(),
            test=tuple(path.absolute() for path in self.test),
            autoencoder=self.autoencoder and self.autoencoder.absolute(),
            rollouts=self.rollouts and self.rollouts.absolute(),
        )


class Scored:
    """What is scored, opened.

    Attributes:
        scoring: What it was opened from.
        config: The job's slice of the study.
        device: Where it is scored.
        pixels: The test split.
        autoencoder: On `device`; None of baselines.
        dataset: The store of rollouts; None of others.
        observations: What guided them, where they were guided by observations; else None.

    Raises:
        LilasError: a file is missing, damaged or of another kind, or the device is not there.
    """

    def __init__(self, scoring: Scoring) -> None:
        self.scoring, self.config = scoring, Task.model_validate_json(scoring.config)
        self.device = select_device(scoring.device)
        files = open_files(scoring.test, self.config.states.fields)
        self.pixels = Pixels(files, Preprocessing.read(scoring.statistics), {})
        evaluation = self.config.evaluation.model_dump()
        self._trajectories = evaluated_trajectories(evaluation, self.pixels.rows)
        self.autoencoder = self.observations = None
        self.dataset: xr.Dataset | None = None
        if scoring.what != "baselines":
            self.autoencoder = load_autoencoder(scoring.autoencoder, files[0], self.device)
        if scoring.what == "rollouts":
            self.dataset = open_rollouts(scoring.rollouts, scoring.autoencoder)
            sampler = self.config.sampler
            self.observations = Observations(sampler, self.pixels) if sampler else None

    def scores(self, part: tuple[int, int]) -> Iterator[pd.DataFrame]:
        """Yields the scores of a part of the trajectories, as of `part_of`."""
        how = (self.config.evaluation.physics, self.device)
        if self.scoring.what == "rollouts":
            models = (self.dataset, self.pixels, self.autoencoder)
            return score_rollouts(*models, *how, self.observations, part)
        own = [self._trajectories[i] for i in part_of(len(self._trajectories), part)]
        if self.scoring.what == "baselines":
            return score_baselines(self.pixels, own, self.config.steps, *how)
        steps = self.config.steps[""]
        return score_reconstruction(self.pixels, own, steps, self.autoencoder, *how)

    def scores_elsewhere(
        self, part: tuple[int, int], record: dict[str, Any], address: str
    ) -> Iterator[pd.DataFrame]:
        """Yields the same as `scores`, by the workers of a Dask cluster, a trajectory each.

        Args:
            part: Of the trajectories.
            record: Provenance of the scores.
            address: Of the cluster's scheduler.

        Raises:
            LilasError: as `in_order`.
        """
        count = len(self._trajectories)
        parts = [(i + 1, count) for i in part_of(count, part)]
        function = partial(
            _scores, self.scoring.absolute(), as_json(record), torch.get_num_threads()
        )
        members = self.dataset.sizes["member"] if self.dataset else 1
        needed = 4 * SCORED * max(DECODED, members * int(np.prod(self.pixels.shape)))
        done = in_order(address, function, parts, records=repeat(record, len(parts)), needed=needed)
        bar = progress(
            done, total=len(parts), desc=f"evaluate {self.scoring.what}", unit="trajectory"
        )
        for tables in bar:
            yield from tables


def _scores(
    scoring: Scoring, record: str, threads: int, part: tuple[int, int]
) -> Iterator[pd.DataFrame]:
    """Returns the scores of a part on a worker, by as many threads as the job would."""
    torch.set_num_threads(threads)
    with _OPENING:
        scored = _opened(scoring, record)
    return scored.scores(part)


@lru_cache(maxsize=2)
def _opened(scoring: Scoring, record: str) -> Scored:
    """Returns what is scored, opened once by a process as long as the record is the same."""
    return Scored(scoring)
