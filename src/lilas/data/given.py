"""Whether weights that a study takes as they are fit its data, its settings and each other.

This module imports no torch: a plan asks before anything is computed.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lilas.data import axes, units
from lilas.errors import LilasError, broken
from lilas.files import sha256
from lilas.records.provenance import check_record
from lilas.records.weights import read_metadata, read_record
from lilas.study.autoencoders import GivenAutoencoder
from lilas.study.datasets import States
from lilas.study.emulators import GivenEmulator
from lilas.study.entries import autoencoder_settings, emulator_settings


def read_given(weights: Path, kind: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Returns the record of weights of ours, and what they know of their data, if they do.

    Args:
        weights: The file.
        kind: autoencoder or emulator.

    Raises:
        LilasError: the file is missing or damaged, or of the other kind.
    """
    record = check_record(weights, read_record(weights))
    found = "emulator" if "emulator" in record["config"] else "autoencoder"
    if found != kind:
        action = f"Name {'an autoencoder' if kind == 'autoencoder' else 'an emulator'} under model."
        raise broken(weights, f"weights of an {kind}", f"those of an {found}", action)
    about = read_metadata(weights).get("about")
    return record, None if about is None else json.loads(about)


def how_trained(record: Mapping[str, Any], about: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns what an emulator of ours was trained with, as `check_emulation` compares it."""
    config = record["config"]
    settings = emulator_settings(config["emulator"])
    found: dict[str, Any] = {
        "method": settings.method,
        "window": settings.window,
        "label": _kept(config.get("label", {})),
        "stride": config["stride"],
    }
    return found if about is None else found | {"parameters": list(about["parameters"])}


def check_states(
    path: Path,
    about: Mapping[str, Any],
    channels: Sequence[str],
    points: Mapping[str, int] | None,
    states: States,
) -> None:
    """Refuses data whose channels, axes, grid or transforms are not those of the training.

    Args:
        path: Of the model.
        about: What it knows of its data, as `lilas.data.about.About` has it.
        channels: Names of the channels of the study's data.
        points: Number of grid points along each axis; None where it is not known yet.
        states: The study's fields and their transforms.

    Raises:
        LilasError: which of them differs, and how.
    """
    known = about["channels"]
    if list(channels) != list(known):
        action = "List states.fields in this order."
        raise differs(path, "the channels", ", ".join(known), ", ".join(channels), action)
    if points is not None and list(about["axes"]) != list(points):
        action = "This model is of other data."
        raise differs(path, "the axes", ", ".join(about["axes"]), ", ".join(points), action)
    for name, found in (points or {}).items():
        size = about["axes"][name].get("size")
        if size not in (None, found):
            action = "This model is of data of another grid."
            raise differs(path, f"the grid points along {name}", f"{size}", f"{found}", action)
    for name, channel in known.items():
        transform = states.transform.get(name, states.transform.get(channel["field"]))
        asked = transform.model_dump() if transform else {"kind": "none"}
        if asked != (trained := channel["transform"]):
            what = f"the transform of {name}"
            action = f"Set states.transform.{channel['field']} accordingly."
            raise differs(path, what, _said(trained), _said(asked), action)


def check_units(
    path: Path, about: Mapping[str, Any], kind: str, found: Mapping[str, Mapping[str, str]]
) -> None:
    """Refuses data in other units than those of the training, where both are known.

    Args:
        path: Of the model.
        about: What it knows of its data.
        kind: autoencoder, which sees neither parameters nor times, or emulator.
        found: Units of the data, as `units_of`.

    Raises:
        LilasError: of what, and which they are.
    """
    for what, its in units.known_units(about).items():
        for name, known in its.items():
            seen = kind == "emulator" or (what != "parameters" and name != "time")
            if seen and units.differ(known, own := found[what].get(name, "")):
                action = "Convert the data, or where both are one say so in the files."
                raise differs(path, f"the unit of {name}", known, own, action)


def check_points(path: Path, about: Mapping[str, Any], found: Mapping[str, np.ndarray]) -> None:
    """Refuses data whose grid points lie elsewhere than those of the training.

    Args:
        path: Of the model.
        about: What it knows of its data.
        found: Points (trajectory, point) of each axis.

    Raises:
        LilasError: along which axis, and from where to where.
    """
    for name, axis in about["axes"].items():
        if (points := axis.get("points")) is None:
            continue
        known = np.array(points)
        # As far apart as the points of files of one split may be.
        if axes.common([known[None], found[name]], axes.SPACE_TOLERANCE) is None:
            spans = [f"{its[0]:g} to {its[-1]:g}" for its in (known, found[name][0])]
            action = "This model is of data of another grid."
            raise differs(path, f"the grid points along {name}", *spans, action)


def check_space(path: Path, record: Mapping[str, Any], entry: GivenAutoencoder) -> None:
    """Refuses weights of pixel space that are not taken as such, and others that are.

    Args:
        path: Of the autoencoder.
        record: Of its making.
        entry: What the study says of it.

    Raises:
        LilasError: what to say.
    """
    settings = autoencoder_settings(record["config"]["autoencoder"])
    if settings.is_pixel_space != entry.is_pixel_space:
        spaces = ("latents", "pixels")
        words = spaces[settings.is_pixel_space], spaces[entry.is_pixel_space]
        how = "Set" if settings.is_pixel_space else "Leave out"
        raise differs(path, "the space", *words, f"{how} architecture: identity beside model.")


def check_emulation(
    path: Path,
    trained: Mapping[str, Any],
    entry: GivenEmulator,
    labels: Mapping[str, str],
    stride: int,
    parameters: Sequence[str] | None,
) -> None:
    """Refuses a method, window, label or stride that is not what an emulator was trained with.

    Args:
        path: Of the model.
        trained: As `how_trained`; parameters may be left out.
        entry: What the study says of it.
        labels: Transforms of the study's parameters.
        stride: Of the study's dataset.
        parameters: Of the study's data, in order; None where they are not known yet.

    Raises:
        LilasError: which of them differs, and how.
    """
    asked = {"method": entry.method, "window": entry.window, "stride": stride}
    for what in ("method", "window", "stride"):
        if trained[what] != asked[what]:
            action = f"Set {what} to {trained[what]}."
            raise differs(path, f"the {what}", f"{trained[what]}", f"{asked[what]}", action)
    if parameters is not None and trained.get("parameters", parameters) != list(parameters):
        named = (", ".join(names) or "none" for names in (trained["parameters"], parameters))
        raise differs(path, "the parameters", *named, "This model is of other data.")
    if (label := trained["label"]) != (found := _kept(labels)):
        action = f"Set the dataset's label to {label}."
        raise differs(path, "the label's transforms", f"{label}", f"{found}", action)


def check_pair(path: Path, record: Mapping[str, Any], autoencoder: Path) -> None:
    """Refuses another autoencoder than the one that an emulator of ours was trained with.

    Args:
        path: Of the emulator.
        record: Of its making.
        autoencoder: The weights that the study has for it.

    Raises:
        LilasError: it is another.
    """
    expected = record["inputs"]["autoencoder"]["sha256"]
    if (found := sha256(autoencoder)) != expected:
        raise differs(
            path,
            "the autoencoder",
            f"SHA-256 {expected[:12]}…",
            f"{autoencoder}, {found[:12]}…",
            "Give this emulator the one that it was trained with: where it is a bundle, name the "
            "same bundle as model of the autoencoder.",
        )


def differs(path: Path, what: str, trained: str, asked: str, action: str) -> LilasError:
    """Returns the refusal of what is not as it was when a model was trained."""
    return broken(path, f"{what} as trained: {trained}", asked, action)


def _kept(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: kind for name, kind in labels.items() if kind != "none"}


def _said(transform: Mapping[str, Any]) -> str:
    if transform["kind"] == "none":
        return "none"
    number = next(value for key, value in transform.items() if key != "kind")
    return f"log(x + {number:g})" if transform["kind"] == "log" else f"arcsinh(x / {number:g})"
