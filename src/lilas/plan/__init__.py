"""What the workflow asks of the world outside a study: data files, and what else exists."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lilas import plugins
from lilas.data.masks import read_mask
from lilas.data.registry import data_in, in_place_of_data, well_urls
from lilas.errors import LilasError, broken
from lilas.files import read_json
from lilas.settings.values import shown
from lilas.study import paths
from lilas.study.datasets import Dataset, Folder, Well
from lilas.study.extent import Extent
from lilas.study.operators import CustomSettings
from lilas.study.read import Config
from lilas.study.study import Study
from lilas.study.tasks import expected
from lilas.systems.base import SPLITS, System

# Data of no more than this are encoded by one process; larger data by several, each as much.
JOB_BYTES = 4e9


def data_files(config: Config, dataset: Dataset) -> dict[str, list[str]]:
    """Returns the data files of a dataset by split, in order, whether or not they exist yet.

    Raises:
        LilasError: the folder of a dataset on disk lacks a split, or fewer files pass `include`
            than `files` asks for.
    """
    source = dataset.source
    if isinstance(source, System):
        pattern = f"{config.data}/{paths.SIMULATED}"
        folders = {"folder": source.folder, "system": source.system}
        return {
            split: [pattern.format(**folders, split=split, part=part) for part in source.parts]
            for split in SPLITS
        }
    return {split: _joined(config, source, split) for split in SPLITS}


def study_files(config: Config, study: Study) -> dict[str, dict[str, list[str]]]:
    """Returns the data files of every dataset of a study, as `data_files`; errors name it."""
    found = {}
    for name, dataset in study.datasets.items():
        try:
            found[name] = data_files(config, dataset)
        except LilasError as error:
            raise LilasError(f"datasets.{name}: {error}") from None
    return found


def check_simulators(study: Study, files: dict[str, dict[str, list[str]]]) -> None:
    """Refuses a study whose data are to be simulated, or whose simulator timed, without one.

    Args:
        study: The study.
        files: The files of each dataset by split; nothing is needed for those that are there
            but the simulator, where it is to be timed.

    Raises:
        LilasError: what is missing, and how it is had.
    """
    for name, dataset in study.datasets.items():
        there = [Path(file).exists() for names in files[name].values() for file in names]
        if not isinstance(dataset.source, System):
            continue
        if not all(there) or (study.timing is not None and dataset.source.stepper):
            try:
                dataset.source.check_installed()
            except LilasError as error:
                raise LilasError(f"datasets.{name}: {error}") from None


def data_folders(config: Config, files: dict[str, dict[str, list[str]]]) -> set[str]:
    """Returns the folders within `data` that runs hold, each as a whole: of a dataset each.

    Args:
        config: It names `data`.
        files: The files of each dataset by split; those of datasets elsewhere are nobody's here.
    """
    ours = {
        str(Path(file).parents[2])
        for splits in files.values()
        for names in splits.values()
        for file in names
        if Path(file).is_relative_to(config.data)
    }
    return {f"{config.data}/{paths.OFFICIAL}"} | ours


def made_folders(config: Config, study: Study, files: dict[str, dict[str, list[str]]]) -> set[str]:
    """Returns the folders within `data` whose files the pipeline makes: simulates or downloads.

    What a dataset's `path` names is the user's own, wherever it lies.

    Args:
        config: It names `data`.
        study: The study.
        files: The files of each dataset by split.
    """
    made = {
        name: files[name]
        for name, dataset in study.datasets.items()
        if not isinstance(dataset.source, Folder)
    }
    return data_folders(config, made)


def job_bytes(root: str | Path) -> float:
    """Returns how much data a process encodes at most, as the results of a study were begun with.

    How jobs are cut is no parameter of a result, but Snakemake would make results again whose jobs
    have other inputs than when they were made.
    """
    owner = Path(root, paths.OWNER)
    return read_json(owner).get("job_bytes", JOB_BYTES) if owner.is_file() else JOB_BYTES


def parts(dataset: Dataset, files: dict[str, list[str]], most: float) -> dict[str, list[list[int]]]:
    """Returns the indices of the files that a job encodes, by split and part.

    Args:
        dataset: The dataset.
        files: Its files by split.
        most: Bytes that a job encodes, more only of a single file. Data of no more than this in
            all have no parts: one job encodes them.
    """
    sizes = {split: _sizes(dataset, split, names) for split, names in files.items()}
    if sum(map(sum, sizes.values())) <= most:
        return {}
    return {split: _jobs(each, most) for split, each in sizes.items()}


def _sizes(dataset: Dataset, split: str, files: list[str]) -> list[float]:
    """Returns the bytes of a split's files as they are known before a run; infinite if unknown."""
    source = dataset.source
    if isinstance(source, Well):
        return [math.inf] * len(files)
    if isinstance(source, Folder):
        return [Path(file).stat().st_size for file in files]
    channels = sum(source.components.values())
    return [4 * source.states(split) * channels * math.prod(source.size)] * len(files)


def _jobs(sizes: list[float], most: float) -> list[list[int]]:
    found: list[list[int]] = []
    total = math.inf
    for i, size in enumerate(sizes):
        if total + size > most:
            found.append([])
            total = 0
        found[-1].append(i)
        total += size
    return found


def expected_of_well(study: Study) -> dict[str, list[dict[str, Any]]]:
    """Returns what a study relies on in the files of The Well, by the name of their dataset."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in study.datasets.values():
        for name in entry.source.names if isinstance(entry.source, Well) else ():
            found.setdefault(name, []).append(expected(entry).model_dump())
    return found


def check_masks(study: Study, found: Mapping[str, Extent]) -> None:
    """Refuses masks of observations that are none, or do not fit the grids of their datasets.

    Where a grid is not known before its files are there, the mask alone is looked at.

    Args:
        study: The study.
        found: What the files of datasets that are there tell.

    Raises:
        LilasError: as `read_mask`, with the sampler.
    """
    for name, dataset in study.datasets.items():
        extent = found.get(name) or dataset.extent()
        for key in study.samplers_of(name):
            operator = getattr(study.samplers[key].guidance, "operator", None)
            if isinstance(operator, CustomSettings):
                try:
                    read_mask(operator.path, extent.size if extent else None)
                except LilasError as error:
                    where = f"samplers.{key}.guidance.operator, on {name}"
                    raise LilasError(f"{where}: {error}") from None


def check_device(name: str, compiles: bool) -> None:
    """Refuses a device that this machine does not have, and to compile without a compiler.

    Raises:
        LilasError: which of them is not there.
    """
    if compiles or name not in ("auto", "cpu"):
        # Torch takes seconds to import; a run on other devices does not wait for it.
        from lilas import devices

        devices.check_device(name)
        if compiles:
            devices.check_compiler(devices.kind_of(name))


def check_metrics() -> None:
    """Checks the metrics of plug-ins, which no study names.

    Raises:
        LilasError: as `lilas.plugins.check`.
    """
    if plugins.points("lilas.metrics"):
        # Theirs may import torch; without such plug-ins a plan does not wait for it.
        import lilas.evaluation.metrics  # noqa: F401

        plugins.check()


def _joined(config: Config, source: Well | Folder, split: str) -> list[str]:
    """Returns a split's files of the datasets that a source joins, one dataset after the other."""
    if isinstance(source, Folder):
        parts = {path: _on_disk(path, split) for path in source.paths}
    else:
        pattern = f"{config.data}/{paths.DOWNLOADED}"
        parts = {
            name: sorted(
                pattern.format(system=name, split=split, file=Path(url).name)
                for url in well_urls(name)[split]
            )
            for name in source.names
        }
    return [file for name, files in parts.items() for file in _chosen(files, source, split, name)]


def _on_disk(path: str, split: str) -> list[str]:
    folder = Path(path) / "data" / split
    files = [str(file) for file in data_in(folder)]
    if not files:
        missing = "no such file" if folder.is_dir() else "no such folder"
        action = "Put the split there, or correct the dataset's source.path."
        found, action = in_place_of_data(folder) or (missing, action)
        raise broken(folder, "HDF5 files (*.hdf5, *.h5)", found, action)
    return files


def _chosen(files: list[str], source: Well | Folder, split: str, name: str) -> list[str]:
    """Returns the files of a split that a source asks for."""
    what, include = f"split {split!r} of {name}", source.include
    kept = [file for file in files if not include or any(s in Path(file).name for s in include)]
    if not kept:
        raise LilasError(
            f"source.include: no file of {what} has any of {shown(include)} in its name; allowed: "
            f"part of a name such as {shown(Path(files[0]).name)}"
        )
    first = source.files.get(split, len(kept))
    if first > len(kept):
        raise LilasError(
            f"source.files.{split} {first}: {what} has {len(kept)} such files; allowed: at most "
            f"{len(kept)}"
        )
    return kept[:first]
