"""Whether an official run fits the data, and the autoencoder, that a study wants to use it with."""

from collections.abc import Mapping
from pathlib import Path

from lilas.data import given
from lilas.data.states import label_names
from lilas.data.well import WellFile
from lilas.errors import LilasError
from lilas.official.entries import label_transforms, preprocessing_statistics
from lilas.official.folders import CONFIG, OfficialRun, original_config
from lilas.records.weights import read_record
from lilas.study import datasets, emulators


def check_states(run: OfficialRun, data: WellFile, states: datasets.States) -> None:
    """Refuses data whose fields, axes or transforms are not those that the run was trained with.

    Raises:
        LilasError: which of them differs, and how.
    """
    fields = {channel.name: channel.field for channel in data.channels}
    known = preprocessing_statistics(run)["channels"]
    about = {
        "channels": {name: {"field": fields.get(name, name)} | one for name, one in known.items()},
        "axes": {name: {} for name in run.config["dataset"]["dimensions"]},
    }
    points = dict(zip(data.axes, data.shape, strict=True))
    given.check_states(run.path / CONFIG, about, list(fields), points, states)


def check_emulation(
    run: OfficialRun,
    data: WellFile,
    labels: Mapping[str, str],
    stride: int,
    asked_for: emulators.GivenEmulator,
) -> None:
    """Refuses a method, window, label or stride that is not what the run was trained with.

    Raises:
        LilasError: which of them differs, and how.
    """
    names = label_names(data)
    if (features := run.model["label_features"]) != len(names):
        found = f"{len(names)}: {', '.join(names)}"
        action = "This run is of data with other parameters."
        raise _differs(run, "the label's features", f"{features}", found, action)
    trained = {
        "method": run.kind,
        "window": run.config["trajectory"]["length"],
        "label": label_transforms(run, list(data.parameters)),
        "stride": run.config["trajectory"]["stride"],
    }
    path = run.path / CONFIG
    given.check_emulation(path, trained, asked_for, labels, stride, list(data.parameters))


def check_latents(run: OfficialRun, weights: Path) -> None:
    """Refuses an emulator of the latents of another autoencoder, or of other pixels.

    An emulator belongs to the official autoencoder of the same dataset, standardised alike, with
    as many latent channels; one of pixels to pixel space taken from such a run.

    Args:
        run: The emulator's run.
        weights: The autoencoder's weights, ours.

    Raises:
        LilasError: which of these differs, and how.
    """
    record = read_record(weights)
    action = f"Give this emulator the autoencoder that it was trained with, not {weights}."
    if "official" not in record:
        found = "one that was trained here, or plain pixels"
        raise _differs(run, "the autoencoder", "an official one", found, action)
    described = original_config(record)
    identity = record["config"]["autoencoder"]["architecture"] == "identity"
    spaces = ("latents", "pixels")
    if is_pixels(run) != identity:
        trained, found = spaces[not identity], spaces[identity]
        raise _differs(run, "the space", trained, found, action)
    latent = record["config"]["autoencoder"].get("latent_channels", run.model["channels"])
    if run.model["channels"] != latent:
        raise _differs(run, "the latent channels", f"{run.model['channels']}", f"{latent}", action)
    for key in ("name", "fields", "stats", "transform"):
        trained, found = (c["dataset"].get(key) for c in (run.config, described))
        if trained != found:
            raise _differs(run, f"dataset.{key}", f"{trained}", f"{found}", action)


def is_pixels(run: OfficialRun) -> bool:
    """Returns whether an emulator learns in pixel space: so it is named, and no ae_run is."""
    fields = run.config["dataset"]["fields"]
    return (
        run.config.get("ae_run") is None
        and "pixel" in f"{run.model.get('name')} {run.config.get('name')}"
        and run.model["channels"] == len(fields)
    )


def check_pixels(run: OfficialRun) -> None:
    """Refuses, as pixel space, a run that learns in another.

    Raises:
        LilasError: the run is an autoencoder, or of an emulator of latents.
    """
    fields = run.config["dataset"]["fields"]
    if run.kind == "autoencoder" or not is_pixels(run):
        raise LilasError(
            f"{run.path / CONFIG}: architecture identity is pixel space: expected an emulator of "
            f"the {len(fields)} channels {', '.join(fields)}, found a run of another space. Leave "
            "architecture out, or name a pixel-space run."
        )


def _differs(run: OfficialRun, what: str, trained: str, asked: str, action: str) -> LilasError:
    return given.differs(run.path / CONFIG, what, trained, asked, action)
