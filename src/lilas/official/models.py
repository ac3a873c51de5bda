"""Official runs as our models, and our models as official runs; no number changes either way."""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from lilas import config
from lilas.autoencoder import Autoencoder
from lilas.errors import LilasError, broken
from lilas.files import read_json
from lilas.models import make_autoencoder, make_objective
from lilas.official.entries import (
    autoencoder_entry,
    emulator_entry,
    official_config,
    preprocessing_statistics,
)
from lilas.official.folders import CONFIG, STATE, OfficialRun, original_config, write_run
from lilas.official.names import autoencoder_names, emulator_names, to_official, to_ours
from lilas.weights import read_record

Names = tuple[dict[str, str], dict[str, Tensor]]


def load_run_autoencoder(run: OfficialRun) -> tuple[config.Autoencoder, Autoencoder]:
    """Returns the entry and the autoencoder of a run, in evaluation mode.

    Raises:
        LilasError: a key is missing, unknown or not understood, or a shape differs.
    """
    entry = autoencoder_entry(run)
    fields = list(preprocessing_statistics(run)["channels"])
    if run.model["pix_channels"] != len(fields):
        found = f"{run.model['pix_channels']} for the fields {', '.join(fields)}"
        action = "Use the run's own config.yaml."
        raise broken(run.path / CONFIG, f"ae.pix_channels {len(fields)}", found, action)
    model = make_autoencoder(entry, len(fields), run.config["dataset"]["dimensions"])
    _load(run, model, autoencoder_names(entry))
    return entry, model.eval()


def load_run_emulator(run: OfficialRun) -> tuple[config.Emulator, nn.Module]:
    """Returns the entry and the objective of a run, in evaluation mode.

    Raises:
        LilasError: a key is missing, unknown or not understood, or a shape differs.
    """
    entry, section = emulator_entry(run), run.model
    model = make_objective(
        entry, section["channels"], section["label_features"], section["spatial"] - 1
    )
    _load(run, model, emulator_names(entry))
    return entry, model.eval()


def official_state(entry: config.Autoencoder | config.Emulator, state: dict[str, Tensor]) -> Any:
    """Returns the state of one of our models under the official names."""
    is_autoencoder = isinstance(entry, config.Autoencoder)
    names = autoencoder_names(entry) if is_autoencoder else emulator_names(entry)
    return to_official(state, *names)


def save_run(weights: Path, statistics: Path, folder: Path) -> None:
    """Writes the weights of a model of ours as an official run folder.

    What came from an official run gets its own configuration back; for another model a
    configuration is made of its entry and its dataset's statistics.

    Raises:
        LilasError: the weights are not ours, or the official code has no such model.
    """
    if folder.exists() and any(folder.iterdir()):
        raise broken(folder, "a new or empty folder", "files", "Choose another folder.")
    record, state = read_record(weights), load_file(weights)
    kind = "emulator" if "emulator" in record["config"] else "autoencoder"
    made = config.Emulator if kind == "emulator" else config.Autoencoder
    entry = made(**record["config"][kind])
    if "official" in record:
        described = original_config(record)
    else:
        described = official_config(
            entry,
            **_shape(entry, state),
            statistics=read_json(statistics, ("channels",)),
            dataset=weights.resolve().parents[2 if kind == "emulator" else 1].name,
            name=folder.name,
        )
    write_run(folder, described, official_state(entry, state))


def _shape(entry: config.Autoencoder | config.Emulator, state: dict[str, Tensor]) -> dict[str, Any]:
    """Returns channels, features and axes as the shapes of a state tell them."""
    if isinstance(entry, config.Autoencoder):
        if entry.architecture != "dcae":
            raise LilasError(f"official: no autoencoder of architecture {entry.architecture!r}")
        kernel = state["encoder.layers.0.weight"].shape
        space = len(kernel) - 2
        channels = kernel[1] // entry.patch_size**space
        return {"channels": channels, "features": 0, "dimensions": list("xyz"[:space])}
    features = state["backbone.label.0.weight"].shape[1]
    if entry.network.architecture == "unet":
        kernel = state["backbone.network.last.weight"].shape
        channels, space = kernel[0], len(kernel) - 3
    else:
        space = state["backbone.network.position.weight"].shape[1] // entry.network.channels - 1
        points = 1
        for size in entry.network.patch_size or []:
            points *= size
        channels = state["backbone.network.project.weight"].shape[0] // points
    return {"channels": channels, "features": features, "dimensions": list("xyz"[:space])}


def _load(run: OfficialRun, model: nn.Module, names: Names) -> None:
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    model.load_state_dict(to_ours(run.path / STATE, run.state, *names, shapes))
