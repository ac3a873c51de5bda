"""Bundles: a trained model in a folder to give away, laid out as model hubs have it.

`config.json` says what the model is and which data it is of, `model.safetensors` has its weights,
`autoencoder.safetensors` those of an emulator's autoencoder, `README.md` is the model's card.
"""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lilas import __version__
from lilas.data.about import About, read_about
from lilas.errors import broken
from lilas.files import atomic, sha256, write_json
from lilas.interface.cards import card
from lilas.records.bundles import AUTOENCODER, CARD, CONFIG, MODEL, read_bundle
from lilas.records.weights import read_record


def write_bundle(
    folder: Path, weights: Path, autoencoder: Path | None, *, scores: Any, licence: str
) -> None:
    """Writes the bundle of a trained model.

    Args:
        folder: A new or empty folder.
        weights: Of the model.
        autoencoder: Weights of an emulator's autoencoder; None of an autoencoder.
        scores: The model's rows of its study's tables, None where there are none.
        licence: Under which the model is given away, as model hubs name it; "" leaves it open.

    Raises:
        LilasError: the folder has files, or the weights are damaged or do not know their data.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise broken(folder, "a new or empty folder", "files", "Choose another folder.")
    about, record = read_about(weights), read_record(weights)
    folder.mkdir(parents=True, exist_ok=True)
    files = {MODEL: weights} | ({AUTOENCODER: autoencoder} if autoencoder else {})
    for name, source in files.items():
        with atomic(folder / name) as part:
            shutil.copyfile(source, part)
    config = {key: record["config"][key] for key in sorted(record["config"])}
    value = {
        "library_name": "lilas",
        "lilas_version": __version__,
        "model_type": "emulator" if autoencoder else "autoencoder",
        "files": {name: sha256(folder / name) for name in files},
        "about": asdict(about),
        "config": config,
    }
    text = card(value, scores, licence)
    with atomic(folder / CARD) as part:
        part.write_text(text, encoding="utf-8")
    # The last: a folder with it is whole.
    write_json(folder / CONFIG, value)


def open_bundle(folder: Path) -> tuple[Path, Path | None, About]:
    """Returns the weights of a bundle, those of its autoencoder if it is of an emulator, and data.

    Raises:
        LilasError: a file is missing, or is not the one that was exported.
    """
    value = read_bundle(folder)
    beside = folder / AUTOENCODER if AUTOENCODER in value["files"] else None
    return folder / MODEL, beside, About(**value["about"])
