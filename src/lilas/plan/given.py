"""Models that a study takes as they are: their files, and what is known of them before a run."""

import os
from collections.abc import Mapping
from pathlib import Path

from lilas.data import given
from lilas.errors import LilasError, broken
from lilas.official.released import Released, autoencoder_of, find_released, released
from lilas.records import bundles
from lilas.settings.values import shown
from lilas.study import paths
from lilas.study.entries import AutoencoderEntry, EmulatorEntry, emulator_settings
from lilas.study.extent import Extent
from lilas.study.methods import METHODS
from lilas.study.read import Config
from lilas.study.study import Study

_CORRECT = "Correct the path in the study."


def model_files(config: Config, model: str, kind: str) -> list[str]:
    """Returns the files that a model is taken from: a file of weights of ours, or `official_files`.

    Args:
        config: It names the data folder.
        model: The path of a bundle, of a run, of its weights or of an official run; or the name or
            id of a released run.
        kind: autoencoder or emulator. The bundle of an emulator has its autoencoder too.

    Raises:
        LilasError: there is no such model, and no released run of that name.
    """
    path = Path(model)
    if (path / bundles.CONFIG).is_file():
        beside = path / bundles.AUTOENCODER
        is_beside = kind == "autoencoder" and beside.is_file()
        return [str(beside if is_beside else path / bundles.MODEL)]
    if (path / paths.WEIGHTS).is_file():
        return [str(path / paths.WEIGHTS)]
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise broken(path, "weights that LILAS wrote", "nothing", _CORRECT)
        return [model]
    return official_files(config, model)


def official_files(config: Config, official: str) -> list[str]:
    """Returns the files of an official run: its zip, or the two of its folder.

    A released run's zip lies in the data folder once it has been fetched.

    Raises:
        LilasError: no such folder or zip, and no released run of that name.
    """
    path = Path(official)
    if path.is_dir():
        files = [path / name for name in ("config.yaml", "state.pth")]
        for file in files:
            if not file.is_file():
                action = "Name the folder of a run, of ours or official, or of a bundle."
                raise broken(file, "a file of an official run", "nothing", action)
        return [str(file) for file in files]
    if path.suffix == ".zip" or os.sep in official:
        if not path.is_file() or path.suffix != ".zip":
            raise broken(path, "the folder or zip of an official run", "nothing", _CORRECT)
        return [str(path)]
    try:
        run = find_released(official).run
    except LilasError as error:
        raise LilasError(f"there is no {shown(official)} here; {error}") from None
    return [f"{config.data}/{paths.RELEASED}".format(run=run)]


def check_given(study: Study, config: Config, found: Mapping[str, Extent]) -> None:
    """Refuses models that do not fit a study, as far as it is known before a run.

    Args:
        study: The study.
        config: It names the folder of released runs.
        found: What the files of datasets that are there tell.

    Raises:
        LilasError: which does not exist, or is damaged, or is not of the kind that the study asks
            for, or of other data; or is the autoencoder of another emulator.
    """
    for dataset, its in study.datasets.items():
        extent = found.get(dataset) or its.extent()
        here = study.entries("autoencoders", dataset)
        for kind in ("autoencoders", "emulators"):
            entries = here if kind == "autoencoders" else study.entries(kind, dataset)
            for name, entry in entries.items():
                if entry.given is None:
                    continue
                where = study.key(kind, name, dataset, "model")
                try:
                    _check(study, config, dataset, name, entry, here, extent)
                except LilasError as error:
                    raise LilasError(f"{where}: {error}") from None
                except ValueError as error:
                    raise LilasError(str(error)) from None


def _check(
    study: Study,
    config: Config,
    dataset: str,
    name: str,
    entry: AutoencoderEntry | EmulatorEntry,
    here: Mapping[str, AutoencoderEntry],
    extent: Extent | None,
) -> None:
    """Refuses one model of a dataset."""
    kind = "emulator" if isinstance(entry, EmulatorEntry) else "autoencoder"
    (source, *_) = map(Path, model_files(config, entry.given, kind))
    if source.suffix == ".safetensors":
        _check_ours(study, config, dataset, name, entry, here, extent, source)
        return
    if kind == "emulator":
        _check_contexts(study, name, entry, 1.0, 0.0)
    if source.parent != Path(config.data, paths.OFFICIAL):
        return
    run = find_released(entry.given)
    _check_kind(run, entry)
    if isinstance(entry, EmulatorEntry):
        for latent in filter(here.__contains__, entry.autoencoders):
            _check_belongs(run, latent, here[latent].given, dataset)


def _check_ours(
    study: Study,
    config: Config,
    dataset: str,
    name: str,
    entry: AutoencoderEntry | EmulatorEntry,
    here: Mapping[str, AutoencoderEntry],
    extent: Extent | None,
    weights: Path,
) -> None:
    """Refuses weights of ours that are damaged, of other data, or of another autoencoder."""
    if (weights.parent / bundles.CONFIG).is_file():
        bundles.read_bundle(weights.parent)
    kind = "emulator" if isinstance(entry, EmulatorEntry) else "autoencoder"
    record, about = given.read_given(weights, kind)
    its = study.datasets[dataset]
    # What older weights are of, their own files tell when they are taken.
    if about is not None and extent is not None:
        axes = extent.axes
        points = None if axes is None else dict(zip(axes, extent.size, strict=True))
        given.check_states(weights, about, extent.channels, points, its.states)
        if extent.units is not None:
            given.check_units(weights, about, kind, extent.units)
    if isinstance(entry, AutoencoderEntry):
        given.check_space(weights, record, entry.model)
        return
    trained = given.how_trained(record, about)
    parameters = None if extent is None or extent.parameters is None else list(extent.parameters)
    given.check_emulation(weights, trained, entry.model, its.label, its.stride, parameters)
    its = emulator_settings(record["config"]["emulator"])
    _check_contexts(study, name, entry, its.context_forward, its.context_noise)
    for latent in filter(here.__contains__, entry.autoencoders):
        if (other := here[latent].given) is None:
            raise LilasError(
                f"{weights}: an emulator belongs to the autoencoder that it was trained with, and "
                f"autoencoders.{latent} is another. Give it a model too, such as the same bundle."
            )
        files = model_files(config, other, "autoencoder")
        given.check_pair(weights, record, Path(files[0]))


def _check_contexts(
    study: Study, name: str, entry: EmulatorEntry, share: float, noise: float
) -> None:
    for sampler in entry.samplers:
        study.check_context(name, sampler, share, noise)


def _check_belongs(run: Released, latent: str, model: str | None, dataset: str) -> None:
    """Refuses a released autoencoder that is not the one of a released emulator.

    Of pixel space it is the emulator's own run, with the statistics that it was trained with.
    """
    known = {key for one in released().values() for key in (one.run, one.id)}
    own = autoencoder_of(run.run) or run
    if model in known and (other := find_released(model)) != own:
        raise LilasError(
            f"{run.run} belongs to the autoencoder {own.run}; on {dataset}, "
            f"autoencoders.{latent} is {other.run}"
        )


def _check_kind(run: Released, entry: AutoencoderEntry | EmulatorEntry) -> None:
    if isinstance(entry, EmulatorEntry):
        wanted = METHODS[entry.model.method].published
        fits = run.kind == wanted
    elif entry.model.is_pixel_space:
        wanted = "neural_solver in pixel space"
        fits = run.kind == "neural_solver" and run.compression is None
    else:
        wanted, fits = "autoencoder", run.kind == "autoencoder"
    if not fits:
        raise LilasError(f"{run.run} is of kind {run.kind}; expected {wanted}")
