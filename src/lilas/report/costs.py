"""What a study's jobs took, and how its autoencoders converged: from the files they left."""

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from lilas.errors import broken
from lilas.records.cuts import read_cuts
from lilas.records.histories import read_history
from lilas.records.metrics import metrics_seconds
from lilas.records.stores import open_store
from lilas.records.weights import read_shapes
from lilas.study import paths
from lilas.study.study import Study
from lilas.systems.base import System

LOSSES = ["dataset", "autoencoder", "step", "seconds", "valid_loss"]
COSTS = ["kind", "dataset", "autoencoder", "emulator", "sampler", "quantity", "value"]


def costs(study: Study, root: str | Path, data: str | Path) -> pd.DataFrame:
    """Returns what the study's jobs took, from benchmark files, weights and stores.

    A simulated state is one `interval` of simulated time, the spin-up included; a generated one is
    one state of one member. Parameters are the numbers that a weights file stores. A job that did
    not run here, such as the training of a given model, has no row, and guided rollouts have
    none.

    Args:
        study: The study.
        root: Its results folder.
        data: Folder of the data.

    Returns:
        Columns: kind (simulation, autoencoder, emulator, rollout, evaluation), dataset,
        autoencoder, emulator, sampler (empty where there is none), quantity (seconds, states,
        parameters), value.
    """
    root, rows = Path(root), []

    def add(kind: str, run: tuple[str, ...], quantity: str, value: float | None) -> None:
        if value is not None:
            rows.append((kind, *run, *[""] * (4 - len(run)), quantity, float(value)))

    for dataset, entry in study.datasets.items():
        source = entry.source
        if isinstance(source, System):
            names = {"folder": source.folder, "system": source.system}
            folder = Path(data, paths.SIMULATION.format(**names))
            jobs = [_seconds(folder / paths.benchmark(f"simulate_{part}")) for part in source.parts]
            if None not in jobs:
                add("simulation", (dataset,), "seconds", sum(jobs))
                add("simulation", (dataset,), "states", source.simulated)
        for name, seed in study.trainings("autoencoders", dataset):
            run = (dataset, paths.training_name(name, seed))
            add("autoencoder", run, "seconds", _benchmark(root, *run, "autoencoder"))
            add("autoencoder", run, "parameters", _parameters(root.joinpath(*run)))
    emulators, forecasts, cuts = set(), paths.forecasts(study), read_cuts(root)
    for rollout in paths.rollouts(study):
        run = tuple(rollout.values())
        emulators.add(run[:3])
        if rollout not in forecasts:
            continue
        parts = cuts.get(paths.ROLLOUTS.format(**rollout), {"parts": 1})["parts"]
        add("rollout", run, "seconds", _rolled_out(root, run, parts))
        add("rollout", run, "states", _generated(root.joinpath(*run)))
        add("evaluation", run, "seconds", metrics_seconds(root / paths.METRICS.format(**rollout)))
    for run in sorted(emulators):
        add("emulator", run, "seconds", _benchmark(root, *run, "emulator"))
        add("emulator", run, "parameters", _parameters(root.joinpath(*run)))
    return pd.DataFrame(rows, columns=COSTS)


def rollout_seconds(root: Path, run: tuple[str, str, str, str]) -> float | None:
    """Returns the seconds of a run's rollout jobs per state of a member; None where none ran here.

    Args:
        root: Results folder of the study.
        run: (dataset, autoencoder, emulator, sampler).
    """
    names = dict(zip(("dataset", "autoencoder", "emulator", "sampler"), run, strict=True))
    parts = read_cuts(root).get(paths.ROLLOUTS.format(**names), {"parts": 1})["parts"]
    seconds, states = _rolled_out(root, run, parts), _generated(root.joinpath(*run))
    return None if seconds is None or not states else seconds / states


def _rolled_out(root: Path, run: tuple[str, ...], parts: int) -> float | None:
    """Returns the seconds of all jobs that made rollouts, in so many parts."""
    names = ["rollout"]
    if parts > 1:
        names += ["rollout_create", *(f"rollout_{i}of{parts}" for i in range(1, parts + 1))]
    jobs = [_benchmark(root, *run, name) for name in names]
    return None if None in jobs else sum(jobs)


def _benchmark(root: Path, *names: str) -> float | None:
    return _seconds(root / paths.benchmark(*names))


def _seconds(path: Path) -> float | None:
    """Returns the wall time in a benchmark file of the workflow; None where the job never ran."""
    if not path.is_file():
        return None
    table = pd.read_csv(path, sep="\t")
    if "s" not in table or not len(table) or not np.isfinite(table["s"].iloc[-1]):
        raise broken(path, "a benchmark with seconds in column s", "another", "Run the job again.")
    return float(table["s"].iloc[-1])


def _parameters(folder: Path) -> int | None:
    """Returns how many numbers the weights in a folder store, from their header alone."""
    for name in (paths.WEIGHTS, paths.BEST):
        if (folder / name).is_file():
            return sum(map(math.prod, read_shapes(folder / name).values()))
    return None


def _generated(folder: Path) -> int | None:
    """Returns how many states the rollouts in a folder generated, the context not counted."""
    manifest = folder / Path(paths.ROLLOUTS).name
    if not manifest.is_file():
        return None
    sizes = (dataset := open_store(manifest)).sizes
    new = sizes["time"] - dataset.attrs["context"]
    return sizes["trajectory"] * sizes["member"] * new


def validation_losses(study: Study, root: str | Path) -> pd.DataFrame:
    """Returns the validation losses of the study's autoencoders as they were trained.

    Returns:
        As `read_losses`.

    Raises:
        LilasError: a history is damaged.
    """
    found = [
        Path(root, dataset, paths.training_name(*run), paths.HISTORY)
        for dataset in study.datasets
        for run in study.trainings("autoencoders", dataset)
    ]
    return read_losses([path for path in found if path.is_file()])


def read_losses(histories: Iterable[Path]) -> pd.DataFrame:
    """Returns the validation losses in histories of autoencoders, which lie in their folders.

    Returns:
        Columns: dataset, autoencoder ("c32-s0"), step, seconds (NaN where they were not measured),
        valid_loss.

    Raises:
        LilasError: a history is damaged.
    """
    parts = [pd.DataFrame(columns=LOSSES)]
    for path in histories:
        dataset, run = path.parts[-3:-1]
        valid = read_history(path).dropna(subset=["valid_loss"])
        parts.append(valid.assign(dataset=dataset, autoencoder=run)[LOSSES])
    return pd.concat(parts[1:] or parts, ignore_index=True)
