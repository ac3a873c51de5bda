"""Models from their files: a run of the pipeline, a bundle, or a run of the official code."""

from pathlib import Path

import torch

from lilas.data.about import About, read_about
from lilas.devices import select_device
from lilas.errors import LilasError, broken
from lilas.files import sha256
from lilas.interface import bundles, foreign
from lilas.interface.autoencoder import Autoencoder
from lilas.interface.emulator import Emulator
from lilas.interface.names import check_names
from lilas.models.build import load_emulator, make_autoencoder
from lilas.official.folders import CONFIG as OFFICIAL
from lilas.records.provenance import located
from lilas.records.weights import load_weights, read_record
from lilas.study.entries import autoencoder_settings
from lilas.study.paths import WEIGHTS


def load(
    path: str | Path,
    *,
    device: str = "auto",
    precision: str = "float32",
    autoencoder: str | Path | None = None,
) -> Autoencoder | Emulator:
    """Returns a trained model, ready to be called.

    Args:
        path: Of a run, such as results/demo/rayleigh_benard/c32-s0/diffusion-s0, or of its weights;
            of a bundle that `lilas export` wrote; or of a run of the official code.
        device: cpu, cuda, cuda:N, mps, or auto: the best there is.
        precision: float32, tf32 or bfloat16.
        autoencoder: That of an emulator, where it does not lie beside it: a path likewise.

    Raises:
        LilasError: there is no model, or it is damaged, or its autoencoder is not here.
    """
    path, where = Path(path), select_device(device)
    check_names("precision", [precision], ["float32", "tf32", "bfloat16"])
    if (path / bundles.CONFIG).is_file():
        weights, beside, about = bundles.open_bundle(path)
    elif path.suffix == ".zip" or (path / OFFICIAL).is_file():
        given = None if autoencoder is None else load(autoencoder, device=device)
        return foreign.open_official(path, given, where, precision)
    else:
        weights = run_weights(path)
        about = read_about(weights)
        beside = autoencoder_of(weights, autoencoder)
    if beside is None:
        return Autoencoder(about, _module(weights, about, where), where, precision)
    # Labels, ranges and boundaries are those of the emulator's own data.
    pixels = Autoencoder(about, _module(beside, about, where), where, precision)
    return _emulator(weights, pixels)


def run_weights(path: Path) -> Path:
    """Returns the weights that a path is of: they themselves, or the folder of a run.

    Raises:
        LilasError: it has none; the runs below it are named.
    """
    if path.is_file():
        return path
    if (path / WEIGHTS).is_file():
        return path / WEIGHTS
    found, action = "nothing", "Correct the path."
    if path.is_dir():
        below = sorted(str(file.parent.relative_to(path)) for file in path.rglob(WEIGHTS))
        above = [folder for folder in path.resolve().parents if (folder / WEIGHTS).is_file()]
        found = f"a folder with the runs {', '.join(below[:8])}" if below else "another folder"
        found += f" and {len(below) - 8} more" if len(below) > 8 else ""
        action = "Name one of the runs." if below else f"Name {(above or ['that of a run'])[0]}."
    expected = f"the folder of a run, with {WEIGHTS}; a bundle; or an official run"
    raise broken(path, expected, found, action)


def autoencoder_of(weights: Path, named: str | Path | None = None) -> Path | None:
    """Returns the weights of the autoencoder that an emulator learned in; None of an autoencoder.

    Args:
        weights: Of the model.
        named: Where that autoencoder is; None looks for it around the model.

    Raises:
        LilasError: it is not here, or is another than that.
    """
    record = read_record(weights)
    if "emulator" not in record["config"]:
        if named is not None:
            raise LilasError(f"{weights}: an autoencoder itself, which has no other one")
        return None
    entry = record["inputs"]["autoencoder"]
    if named is not None:
        found = run_weights(Path(named))
    else:
        found = located(entry["path"], weights) or weights.resolve().parents[1] / WEIGHTS
    expected = f"the autoencoder that {weights} was trained with (SHA-256 {entry['sha256'][:12]}…)"
    if not found.is_file():
        action = "Copy it there, or name it: autoencoder=PATH."
        raise broken(found, expected, "nothing", action)
    if (now := sha256(found)) != entry["sha256"]:
        action = "Train the emulator again, or name its autoencoder: autoencoder=PATH."
        raise broken(found, expected, f"another, {now[:12]}…", action)
    return found


def _module(weights: Path, about: About, device: torch.device) -> torch.nn.Module:
    """Returns a trained autoencoder."""
    settings = autoencoder_settings(read_record(weights)["config"]["autoencoder"])
    module = make_autoencoder(settings, len(about.channels), list(about.axes))
    load_weights(weights, module)
    return module.to(device).eval().requires_grad_(False)


def _emulator(weights: Path, pixels: Autoencoder) -> Emulator:
    """Returns a trained emulator of the latents of an autoencoder."""
    about, config = pixels.about, read_record(weights)["config"]
    shape = pixels.module.latent_shape((len(about.channels), *about.shape))
    features = len(about.parameters) + 2 * len(about.axes)
    module, settings = load_emulator(weights, shape, features, pixels.device)
    how = {"transforms": config.get("label", {}), "stride": config["stride"]}
    return Emulator(about, pixels, module.requires_grad_(False), settings, **how)
