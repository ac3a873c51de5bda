"""What trainings start from, as far as it is known before a run: files that exist, and shapes."""

from collections.abc import Iterator, Mapping
from typing import Any

from lilas.errors import LilasError
from lilas.official.released import released
from lilas.plan.given import official_files
from lilas.records.provenance import check_record
from lilas.records.weights import read_record, read_shapes
from lilas.study.extent import Extent
from lilas.study.read import Config
from lilas.study.starts import From, Shapes, check_fit, started
from lilas.study.study import Study


def start_files(config: Config, source: From) -> list[str]:
    """Returns the files of weights that are of no training of the study: one, or a run's two.

    Raises:
        LilasError: as `lilas.plan.given.official_files`.
    """
    if source.file is not None:
        return [source.file]
    return official_files(config, source.official or "")


def check_starts(study: Study, config: Config, found: Mapping[str, Extent]) -> None:
    """Refuses weights to start from that are not there, of another kind, or do not fit.

    What is not known before the data or the weights are there is told before the first step.

    Args:
        study: The study.
        config: It names the folder of released runs.
        found: What the files of datasets that are there tell.

    Raises:
        LilasError: which, and what is allowed.
    """
    extents = {name: found.get(name) or its.extent() for name, its in study.datasets.items()}
    for dataset in study.datasets:
        for kind in ("autoencoders", "emulators"):
            for name, entry, start in started(study, kind, dataset):
                where = study.key(kind, name, dataset, "train", "start")
                try:
                    _check_files(config, kind.removesuffix("s"), start.source)
                    for own, its in _pairs(study, extents, kind, dataset, name, entry):
                        check_fit(start, where, own, its)
                except LilasError as error:
                    raise LilasError(f"{where}.from: {error}") from None
                except ValueError as error:
                    raise LilasError(str(error)) from None


def _check_files(config: Config, kind: str, source: From) -> None:
    """Refuses files that are not there, or of another kind."""
    if source.training is not None:
        return
    files = start_files(config, source)
    if source.file is not None:
        made = check_record(source.file, read_record(source.file))
        if kind not in made["config"]:
            raise LilasError(
                f"{files[0]}: weights of stage {made['stage']}; allowed: those of an {kind}"
            )
        return
    known = {key: run for run in released().values() for key in (run.run, run.id)}
    run = known.get(source.official or "")
    if run is not None and (run.kind == "autoencoder") != (kind == "autoencoder"):
        raise LilasError(f"{run.run} is of kind {run.kind}; allowed: a run of an {kind}")


def _pairs(
    study: Study,
    extents: Mapping[str, Extent | None],
    kind: str,
    dataset: str,
    name: str,
    entry: Any,
) -> Iterator[tuple[Shapes, Shapes]]:
    """Yields a model's shapes, and those of what it starts from, where both are known.

    An emulator has others in each latent space.
    """
    source, latents = entry.model.train.start.source, [""]
    if source.official is not None:
        return
    if kind == "emulators":
        latents = [
            one for one in entry.autoencoders if one in study.entries("autoencoders", dataset)
        ]
    for latent in latents:
        own = model_shapes(study, extents, kind, dataset, name, latent)
        if source.training is None:
            its = read_shapes(source.file)
        else:
            other = source.dataset or dataset
            its = model_shapes(study, extents, kind, other, source.training, latent)
        if own is not None and its is not None:
            yield own, its


def model_shapes(
    study: Study,
    extents: Mapping[str, Extent | None],
    kind: str,
    dataset: str,
    name: str,
    latent: str,
) -> Shapes | None:
    """Returns the shapes of a model's weights by name; None where data or a run are to tell."""
    entry, extent = study.resolve(kind, name, dataset), extents[dataset]
    if entry.given is not None or extent is None or extent.axes is None:
        return None
    # Torch takes seconds to import; plans of other studies do not wait for it.
    import torch

    from lilas.models.build import make_autoencoder, make_emulator

    axes, channels = extent.axes, len(extent.channels)
    # Without memory for the weights, nor time to draw them.
    with torch.device("meta"):
        if kind == "autoencoders":
            model: Any = make_autoencoder(entry.model, channels, axes)
        else:
            space = study.resolve("autoencoders", latent, dataset).model
            if not space.is_pixel_space:
                channels = getattr(space, "latent_channels", 0)
            if not channels or extent.parameters is None:
                return None
            # The label has both ends of each axis, too.
            features = len(extent.parameters) + 2 * len(axes)
            model = make_emulator(entry.model, channels, features, len(axes))
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}
