"""Official runs as our models, and our models as official runs; no number changes either way."""

import math
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lilas.data.preprocess import Preprocessing
from lilas.errors import LilasError, broken
from lilas.files import read_json
from lilas.models.autoencoder import Autoencoder
from lilas.models.build import make_autoencoder, make_emulator
from lilas.official.adopt import check_pixels
from lilas.official.configs import official_autoencoder, official_dataset, official_emulator
from lilas.official.entries import autoencoder_entry, emulator_entry, preprocessing_statistics
from lilas.official.folders import CONFIG, STATE, OfficialRun, original_config, write_run
from lilas.official.names import autoencoder_names, emulator_names, to_official, to_ours
from lilas.records.weights import read_record, read_weights
from lilas.study import autoencoders, emulators, entries, networks, paths

Names = tuple[dict[str, str], dict[str, Tensor]]


def load_run_autoencoder(run: OfficialRun) -> tuple[autoencoders.DCAESettings, Autoencoder]:
    """Returns the settings and the autoencoder of a run, in evaluation mode.

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


def load_run_emulator(run: OfficialRun) -> tuple[emulators.EmulatorSettings, nn.Module]:
    """Returns the settings and the emulator of a run, in evaluation mode.

    Raises:
        LilasError: a key is missing, unknown or not understood, or a shape differs.
    """
    entry, section = emulator_entry(run), run.model
    model = make_emulator(
        entry, section["channels"], section["label_features"], section["spatial"] - 1
    )
    _load(run, model, emulator_names(entry))
    return entry, model.eval()


def settings_and_state(
    run: OfficialRun, asked: autoencoders.GivenAutoencoder
) -> tuple[autoencoders.AutoencoderSettings, dict[str, Any]]:
    """Returns the settings and the state of a run's autoencoder; pixel space has no state."""
    if asked.is_pixel_space:
        check_pixels(run)
        return autoencoders.IdentitySettings(architecture="identity"), {}
    entry, model = load_run_autoencoder(run)
    return entry, model.state_dict()


def official_state(
    entry: autoencoders.DCAESettings | emulators.EmulatorSettings, state: dict[str, Tensor]
) -> Any:
    """Returns the state of one of our models under the official names."""
    is_autoencoder = isinstance(entry, autoencoders.DCAESettings)
    names = autoencoder_names(entry) if is_autoencoder else emulator_names(entry)
    return to_official(state, *names)


def save_run(weights: Path, statistics: Path, folder: Path) -> None:
    """Writes the weights of a model of ours as an official run folder.

    What came from an official run gets its own configuration back; for another model a
    configuration is made of its record and its dataset's statistics.

    Raises:
        LilasError: the weights are not ours, or of pixel space, or the official code has no such
            model.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise broken(folder, "a new or empty folder", "files", "Choose another folder.")
    record, state = read_record(weights), dict(read_weights(weights))
    kind = "emulator" if "emulator" in record["config"] else "autoencoder"
    made = entries.emulator_settings if kind == "emulator" else entries.autoencoder_settings
    entry = made(record["config"][kind])
    if kind == "autoencoder" and entry.architecture != "dcae":
        raise LilasError(
            f"{weights}: the official code has no autoencoder of architecture "
            f"{entry.architecture!r}; pixel space has no weights to save"
        )
    if "official" in record:
        described = original_config(record)
    elif kind == "autoencoder":
        described = _described_autoencoder(entry, state, weights, statistics, folder.name)
    else:
        described = _described_emulator(entry, state, record, weights, statistics, folder.name)
    write_run(folder, described, official_state(entry, state))


def _described_autoencoder(
    entry: autoencoders.DCAESettings, state: Any, weights: Path, statistics: Path, name: str
) -> dict[str, Any]:
    kernel = state["encoder.layers.0.weight"].shape
    space = len(kernel) - 2
    channels = kernel[1] // entry.patch_size**space
    dataset = _dataset(statistics, space, {}, weights.resolve().parents[1].name)
    if len(dataset["fields"]) != channels:
        found = f"{len(dataset['fields'])}: {', '.join(dataset['fields'])}"
        action = "Name the statistics of the dataset that it was trained on."
        raise broken(statistics, f"the {channels} channels of {weights}", found, action)
    return official_autoencoder(entry, channels, dataset, name)


def _described_emulator(
    entry: emulators.EmulatorSettings,
    state: Any,
    record: dict[str, Any],
    weights: Path,
    statistics: Path,
    name: str,
) -> dict[str, Any]:
    features = state["backbone.label.0.weight"].shape[1]
    if isinstance(entry.network, networks.UNetSettings):
        kernel = state["backbone.network.last.weight"].shape
        channels, space = kernel[0], len(kernel) - 3
    else:
        space = state["backbone.network.position.weight"].shape[1] // entry.network.channels - 1
        outputs = state["backbone.network.project.weight"].shape[0]
        channels = outputs // math.prod(entry.network.patch_size or [1])
    folder = weights.resolve().parents[1]
    latent = read_record(folder / paths.WEIGHTS)["config"]["autoencoder"]
    pixels = latent["architecture"] == "identity"
    label = record["config"].get("label", {})
    return official_emulator(
        entry,
        channels,
        features,
        _dataset(statistics, space, label, folder.parent.name),
        stride=record["config"]["stride"],
        autoencoder=None if pixels else folder.name,
        name=name,
    )


def _dataset(path: Path, space: int, label: dict[str, str], name: str) -> dict[str, Any]:
    statistics = read_json(path, ("channels",))
    Preprocessing.from_statistics(statistics, path)
    return official_dataset(statistics, list("xyz"[:space]), label, name)


def _load(run: OfficialRun, model: nn.Module, names: Names) -> None:
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    model.load_state_dict(to_ours(run.path / STATE, run.state, *names, shapes))
