"""How many bytes a run downloads and writes, from a study's sizes, before its first job."""

import math
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lilas.data.registry import well_urls
from lilas.errors import LilasError
from lilas.plan import networks
from lilas.study import paths
from lilas.study.extent import Extent
from lilas.study.study import Study
from lilas.study.well import SHARES, well_facts
from lilas.systems.base import System

# What each rule makes; the rules not named here make next to nothing.
STAGES = {
    "fetch": "released models",
    "download": "data",
    "simulate": "data",
    "given_autoencoder": "autoencoders",
    "autoencoder": "autoencoders",
    "latents": "latents",
    "given_emulator": "emulators",
    "emulator": "emulators",
    "rollout": "rollouts",
    "evaluate_write": "scores, frames",
    "evaluate": "scores, frames",
    "reconstruction_write": "scores, frames",
    "reconstruction": "scores, frames",
    "baselines_write": "scores, frames",
    "baselines": "scores, frames",
}
# Bytes of a store or data file beside its array: metadata and coordinates.
FILE = 20e3
STORE = 30e3
# Bytes of the scores of a field at a lead time of a trajectory, of some sixty metrics twice.
SCORES = 500.0
# Lead times and members that frames keep at most, as `lilas.evaluation.frames`.
LEAD_TIMES, MEMBERS = 41, 2


@dataclass(frozen=True)
class Job:
    """A job of a run.

    Attributes:
        rule: Its rule.
        wildcards: What they stand for.
        output: The files that it makes.
        joins: Whether other jobs make its parts, which it joins.
    """

    rule: str
    wildcards: Mapping[str, str]
    output: Sequence[str]
    joins: bool = False


class UnknownError(Exception):
    """A size that nothing tells before the run."""


class Sizes:
    """What a study's settings and the files that exist tell of the bytes of its jobs.

    Args:
        study: The study.
        files: Data files of each dataset by split.
        found: What the files of datasets that lie on disk tell, by name.
    """

    def __init__(
        self,
        study: Study,
        files: Mapping[str, Mapping[str, list[str]]],
        found: Mapping[str, Extent],
    ) -> None:
        self.study, self.files = study, files
        # Asked for with every job.
        self.states = cache(self.states)
        self.extents = {
            name: found[name] if name in found else entry.extent()
            for name, entry in study.datasets.items()
        }

    def written(self, job: Job) -> float:
        """Returns the bytes that a job writes.

        Raises:
            UnknownError: nothing tells before the run.
        """
        makes = getattr(self, f"_{job.rule}", None)
        if makes is None:
            raise UnknownError
        return makes(**job.wildcards)

    # --- Data ---------------------------------------------------------------------------------

    def _simulate(self, folder: str, **_: str) -> float:
        sources = (entry.source for entry in self.study.datasets.values())
        source = next(s for s in sources if isinstance(s, System) and s.folder == folder)
        state = sum(source.components.values()) * math.prod(source.size)
        return sum(FILE + 4 * source.states(split) * state for split in SHARES)

    def _download(self, system: str, split: str, **_: str) -> float:
        facts = well_facts()[system]
        whole = SHARES[split] * facts.states * facts.state_bytes
        return whole / len(well_urls(system)[split])

    def state(self, dataset: str) -> tuple[list[int], int]:
        """Returns the grid points by axis and the channels of a state."""
        extent = self.extents[dataset]
        return list(extent.size), len(extent.channels)

    def states(self, dataset: str, split: str) -> float:
        """Returns how many states a split has; on disk, the shortest trajectory speaks for all."""
        extent, files = self.extents[dataset], self.files[dataset][split]
        if split in extent.trajectories:
            return extent.trajectories[split] * extent.steps[split]
        names = [Path(file).parents[2].name for file in files]
        return sum(self._download(name, split) / well_facts()[name].state_bytes for name in names)

    def tested(self, dataset: str) -> float:
        """Returns how many test trajectories are rolled out."""
        return self.rolled_out(dataset, "test")

    def rolled_out(self, dataset: str, split: str) -> float:
        """Returns how many trajectories of a split are rolled out, of as many as there are."""
        there = self.states(dataset, split) / self.extents[dataset].steps[split]
        return min(self.study.datasets[dataset].evaluation.trajectories or math.inf, there)

    def lead_times(self, dataset: str) -> int:
        entry = self.study.datasets[dataset]
        return entry.evaluation.last // entry.stride

    # --- Models -------------------------------------------------------------------------------

    def entry(self, kind: str, run: str, dataset: str) -> Any:
        return self.study.resolve(kind, paths.split_training_name(run)[0], dataset)

    def _autoencoder(self, dataset: str, autoencoder: str) -> float:
        entry = self.entry("autoencoders", autoencoder, dataset)
        if entry.model.is_pixel_space:
            return FILE
        grid, channels = self.state(dataset)
        return _training(networks.autoencoder(entry.model, channels, len(grid)), entry.model)

    def _emulator(self, dataset: str, autoencoder: str, emulator: str) -> float:
        entry = self.entry("emulators", emulator, dataset)
        channels, grid = self.latent(dataset, autoencoder)
        return _training(networks.emulator(entry.model, channels, len(grid)), entry.model)

    def latent(self, dataset: str, autoencoder: str) -> tuple[int, list[float]]:
        """Returns the channels and the grid points by axis of a latent."""
        grid, channels = self.state(dataset)
        model = self.entry("autoencoders", autoencoder, dataset).model
        if model.is_pixel_space:
            return channels, list(grid)
        factor, latent = model.factor, getattr(model, "latent_channels", None)
        if factor is None or latent is None:
            raise UnknownError
        return latent, [points / factor for points in grid]

    # --- What they make -----------------------------------------------------------------------

    def _latents(self, dataset: str, autoencoder: str) -> float:
        if self.entry("autoencoders", autoencoder, dataset).model.is_pixel_space:
            return 0
        channels, grid = self.latent(dataset, autoencoder)
        copies = {"train": self.study.datasets[dataset].augment.copies}
        states = sum(copies.get(s, 1) * self.states(dataset, s) for s in self.files[dataset])
        return len(self.files[dataset]) * STORE + 4 * states * channels * math.prod(grid)

    def _rollout(self, dataset: str, autoencoder: str, emulator: str, sampler: str) -> float:
        channels, grid = self.latent(dataset, autoencoder)
        entry = self.study.samplers[sampler]
        members = self.tested(dataset) * entry.members
        states = entry.context + self.lead_times(dataset)
        return STORE + 4 * members * states * channels * math.prod(grid)

    def _evaluate(self, dataset: str, sampler: str, **_: str) -> float:
        grid, channels = self.state(dataset)
        shown = min(self.study.figures.trajectories, self.tested(dataset))
        leads = min(LEAD_TIMES, 1 + self.lead_times(dataset))
        kinds = 4 + min(MEMBERS, self.study.samplers[sampler].members)
        kinds += sampler in self.study.twins()
        # Of three axes they keep a plane.
        frames = 4 * shown * leads * kinds * channels * math.prod(grid[:2])
        return STORE + frames + self._reconstruction(dataset)

    def _baselines(self, dataset: str, **_: str) -> float:
        return len(self.study.begins(dataset)) * self._reconstruction(dataset)

    def _evaluate_write(self, dataset: str, parts: str, **_: str) -> float:
        return self._reconstruction(dataset) / int(parts)

    _reconstruction_write = _evaluate_write

    def _baselines_write(self, dataset: str, parts: str, **_: str) -> float:
        return self._baselines(dataset) / int(parts)

    def _reconstruction(self, dataset: str, **_: str) -> float:
        _, channels = self.state(dataset)
        return FILE + SCORES * self.tested(dataset) * channels * self.lead_times(dataset)


def _training(layers: list[networks.Layer] | None, model: Any) -> float:
    if layers is None:
        raise UnknownError
    return FILE + networks.training_bytes(layers, model.train)


@dataclass
class Row:
    """A stage of a run: bytes to download and to write, and jobs whose bytes are unknown."""

    stage: str
    folder: str
    downloaded: float = 0
    written: float = 0
    unknown: int = 0


def rows(sizes: Sizes, jobs: Iterable[Job], data: str, results: str) -> list[Row]:
    """Returns what the jobs of a run download and write, by stage, in the order of `STAGES`.

    What is there already of a killed run's stores and downloads is not counted again.

    Args:
        sizes: Of the study.
        jobs: Those that are to run.
        data: Folder of the data.
        results: Folder of the study's results.
    """
    found = {stage: Row(stage, results) for stage in STAGES.values()}
    for job in jobs:
        if job.rule.removesuffix("_test").removesuffix("_valid") not in STAGES:
            continue
        job = Job(job.rule.removesuffix("_test").removesuffix("_valid"), job.wildcards, job.output)
        row = found[STAGES[job.rule]]
        loads = job.rule in ("download", "fetch")
        if loads or job.rule == "simulate":
            row.folder = data
        try:
            size = max(0.0, sizes.written(job) - sum(map(_begun, job.output)))
        except UnknownError:
            row.unknown += 1
            continue
        row.written += size
        row.downloaded += size if loads else 0
    return [row for row in found.values() if row.written or row.unknown]


def _begun(output: str) -> int:
    """Returns the bytes that an earlier run left of a file or a manifest's store."""
    path = Path(output)
    store = path.with_name(f".{path.stem}.partial.zarr")
    parts = [path.with_name(f"{path.name}.part")]
    if path.suffix == ".json" and store.is_dir():
        parts += [file for file in store.rglob("*") if file.is_file()]
    return sum(part.stat().st_size for part in parts if part.is_file())


def check_room(found: Sequence[Row]) -> None:
    """Refuses a run whose files do not fit on their volumes.

    Raises:
        LilasError: a volume has not as many bytes free as the run is known to write there.
    """
    for volume, (needed, free) in volumes(found).items():
        if needed > free:
            raise LilasError(
                f"{volume}: the run needs {gb(needed)} GB there, {gb(free)} GB are free. Free "
                "space, or set another `data` or `results` folder in config.yaml; `snakemake -n` "
                "lists what is needed by stage."
            )


def volumes(found: Sequence[Row]) -> dict[str, tuple[float, float]]:
    """Returns bytes needed and free by volume, which is named by where it is mounted."""
    needs: dict[str, tuple[float, float]] = {}
    for row in found:
        place = Path(row.folder).absolute()
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free
        while not os.path.ismount(place):
            place = place.parent
        needed, _ = needs.get(str(place), (0.0, 0))
        needs[str(place)] = needed + row.written, free
    return needs


def gb(size: float) -> str:
    """Returns bytes in gigabytes, to three digits."""
    return digits(size / 1e9)


def digits(value: float) -> str:
    """Returns a quantity to three digits; what is less than a thousandth is not told apart."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.001 else "< 0.001"
