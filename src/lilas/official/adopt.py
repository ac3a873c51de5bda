"""Whether an official run fits the data, and the autoencoder, that a study wants to use it with."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lilas import config
from lilas.data.well import WellFile, label_names
from lilas.errors import LilasError, broken
from lilas.official.entries import label_transforms, preprocessing_statistics
from lilas.official.folders import CONFIG, OfficialRun, original_config
from lilas.weights import read_record


def check_states(run: OfficialRun, data: WellFile, states: config.States) -> None:
    """Refuses data whose fields, axes or transforms are not those that the run was trained with.

    Raises:
        LilasError: which of them differs, and how.
    """
    known = preprocessing_statistics(run)["channels"]
    names = [channel.name for channel in data.channels]
    if names != list(known):
        action = "List states.fields in this order."
        raise _differs(run, "the channels", ", ".join(known), ", ".join(names), action)
    axes = run.config["dataset"]["dimensions"]
    if len(axes) != len(data.dimensions):
        action = "This run is of other data."
        raise _differs(run, "the axes", ", ".join(axes), ", ".join(data.dimensions), action)
    for channel in data.channels:
        transform = states.transform.get(channel.field)
        asked = transform.model_dump() if transform else {"kind": "none"}
        if asked != (trained := known[channel.name]["transform"]):
            what = f"the transform of {channel.name}"
            action = f"Set states.transform.{channel.field} accordingly."
            raise _differs(run, what, _said(trained), _said(asked), action)


def check_emulation(
    run: OfficialRun, data: WellFile, labels: Mapping[str, str], stride: int
) -> None:
    """Refuses labels or strides that are not those that the run was trained with.

    Raises:
        LilasError: which of them differs, and how.
    """
    names = label_names(data)
    if (features := run.model["label_features"]) != len(names):
        found = f"{len(names)}: {', '.join(names)}"
        action = "This run is of data with other parameters."
        raise _differs(run, "the label's features", f"{features}", found, action)
    trained = label_transforms(run, list(data.parameters))
    asked = {name: kind for name, kind in labels.items() if kind != "none"}
    if asked != trained:
        action = f"Set the dataset's label to {trained}."
        raise _differs(run, "the label's transforms", str(trained), str(asked), action)
    if (steps := run.config["trajectory"]["stride"]) != stride:
        raise _differs(run, "the stride", f"{steps}", f"{stride}", f"Set stride to {steps}.")


def check_latents(run: OfficialRun, weights: Path, channels: Sequence[Any]) -> None:
    """Refuses an emulator of the latents of another autoencoder.

    An emulator belongs to the autoencoder of the same dataset and number of latent channels.

    Args:
        run: The emulator's run.
        weights: The autoencoder's weights, ours.
        channels: Of the states.

    Raises:
        LilasError: the dataset or the number of channels differs.
    """
    record = read_record(weights)
    latent = record["config"]["autoencoder"].get("latent_channels") or len(channels)
    action = f"Give this emulator the autoencoder that it was trained with, not {weights}."
    if run.model["channels"] != latent:
        raise _differs(run, "the latent channels", f"{run.model['channels']}", f"{latent}", action)
    if "official" in record:
        theirs = original_config(record)["dataset"]["name"]
        if (ours := run.config["dataset"]["name"]) != theirs:
            raise _differs(run, "the dataset", ours, theirs, action)


def check_pixels(run: OfficialRun) -> None:
    """Refuses, as pixel space, a run that learns in another.

    Raises:
        LilasError: the run is an autoencoder, or of an emulator of latents.
    """
    fields = run.config["dataset"]["fields"]
    latent = run.kind == "autoencoder" or run.config.get("ae_run") is not None
    if latent or run.model["channels"] != len(fields):
        raise LilasError(
            f"{run.path / CONFIG}: architecture identity is pixel space: expected an emulator of "
            f"the {len(fields)} channels {', '.join(fields)}, found a run of another space. Leave "
            "architecture out, or name a pixel-space run."
        )


def _differs(run: OfficialRun, what: str, trained: str, asked: str, action: str) -> LilasError:
    return broken(run.path / CONFIG, f"{what} as trained: {trained}", asked, action)


def _said(transform: Mapping[str, Any]) -> str:
    return f"log(x + {transform['offset']:g})" if transform["kind"] == "log" else "none"
