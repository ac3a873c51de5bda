"""Bundles as they lie on a disk: names of their files, held against the sums in `config.json`."""

from pathlib import Path
from typing import Any

from lilas.errors import broken
from lilas.files import read_json, sha256

CONFIG, MODEL, AUTOENCODER, CARD = (
    "config.json",
    "model.safetensors",
    "autoencoder.safetensors",
    "README.md",
)


def read_bundle(folder: Path) -> dict[str, Any]:
    """Returns what `config.json` of a bundle says, whose files are those that were exported.

    Raises:
        LilasError: it is of no bundle, or a file is missing or is not the one that was exported.
    """
    value = read_json(folder / CONFIG, ("library_name", "files", "about"))
    for name, expected in value["files"].items():
        path, action = folder / name, "Fetch the bundle again."
        if not path.is_file():
            raise broken(path, f"a file that {CONFIG} names", "nothing", action)
        if (found := sha256(path)) != expected:
            wanted = f"the SHA-256 {expected[:12]}… that {CONFIG} has"
            raise broken(path, wanted, f"{found[:12]}…", action)
    return value
