"""Runs of the official code as models that are called."""

from pathlib import Path

import torch

from lilas.data.about import About
from lilas.errors import LilasError, broken
from lilas.interface.autoencoder import Autoencoder
from lilas.interface.emulator import Emulator
from lilas.models.autoencoder import make_identity
from lilas.official.adopt import is_pixels
from lilas.official.entries import label_transforms, preprocessing_statistics
from lilas.official.folders import CONFIG, OfficialRun, open_run
from lilas.official.models import load_run_autoencoder, load_run_emulator
from lilas.study.well import well_facts


def open_official(
    path: Path, autoencoder: Autoencoder | None, device: torch.device, precision: str
) -> Autoencoder | Emulator:
    """Returns the model of an official run.

    It knows neither units nor the grid that it was trained on, nor the ranges of its parameters.

    Args:
        path: A folder, or a zip of one.
        autoencoder: That of an emulator of latents.
        device: Where to compute.
        precision: float32, tf32 or bfloat16.

    Raises:
        LilasError: it is damaged, or an emulator's autoencoder was not given, or is another.
    """
    run = open_run(path)
    about = _about(run)
    if run.kind == "autoencoder":
        module = load_run_autoencoder(run)[1].to(device).requires_grad_(False)
        return Autoencoder(about, module, device, precision)
    if is_pixels(run):
        autoencoder = Autoencoder(
            about, make_identity(len(about.channels), len(about.axes)), device, precision
        )
    if autoencoder is None:
        raise broken(
            path,
            f"its autoencoder too, {run.config.get('ae_run') or 'which it does not name'}",
            "the emulator alone",
            "Name it: lilas.load(PATH, autoencoder=PATH).",
        )
    if not isinstance(autoencoder, Autoencoder):
        raise LilasError("autoencoder: an emulator; expected the path of an autoencoder")
    _check_pair(run, about, autoencoder)
    settings, module = load_run_emulator(run)
    module = module.to(device).requires_grad_(False)
    pixels = Autoencoder(about, autoencoder.module, device, precision)
    transforms = label_transforms(run, list(about.parameters))
    stride = run.config["trajectory"]["stride"]
    return Emulator(about, pixels, module, settings, transforms, stride)


def _about(run: OfficialRun) -> About:
    """Returns what a run says of its data; the names of its parameters are The Well's."""
    config = run.config["dataset"]
    channels = preprocessing_statistics(run)["channels"]
    known = [facts for name, facts in well_facts().items() if name in config.get("physics", ())]
    parameters = known[0].parameters if known else ()
    kinds = sorted({kind.lower() for facts in known for kind in facts.boundaries})
    axes = config["dimensions"]
    return About(
        dataset=config["name"],
        channels={name: {"field": name, "units": ""} | one for name, one in channels.items()},
        axes={name: {"units": "", "points": None} for name in axes},
        boundaries=[{name: [kind, kind] for name in axes} for kind in kinds],
        parameters={name: {"units": "", "range": None} for name in parameters},
        time_units="unspecified",
        interval=None,
    )


def _check_pair(run: OfficialRun, about: About, autoencoder: Autoencoder) -> None:
    """Refuses the autoencoder of other channels, statistics or latents than an emulator's."""
    features = run.model["label_features"]
    if features != (here := len(about.parameters) + 2 * len(about.axes)):
        raise broken(
            run.path / CONFIG,
            f"a label of {here} features, those of {about.dataset}",
            f"{features}",
            "Use it in a study, whose data files name its parameters.",
        )
    latent, found = run.model["channels"], autoencoder.module.latent_channels
    action = "Name the autoencoder that it was trained with."
    if latent != found:
        raise broken(run.path, f"an autoencoder of {latent} latent channels", f"{found}", action)
    ours, theirs = (
        {name: (one["mean"], one["std"], one["transform"]) for name, one in each.channels.items()}
        for each in (about, autoencoder.about)
    )
    if ours != theirs:
        raise broken(run.path, "an autoencoder of its channels and statistics", "another", action)
