"""What our configuration says of a model, in the words of an official run's."""

from typing import Any

from lilas import settings
from lilas.data.transforms import Transform
from lilas.errors import LilasError
from lilas.official.folders import SECTIONS
from lilas.official.keys import AUTOENCODER, OFFSETS, SCHEDULE, TRANSFORMER, UNET, bounds
from lilas.study import autoencoders, emulators, networks


def official_autoencoder(
    entry: autoencoders.DCAESettings, channels: int, described: dict[str, Any], name: str
) -> dict[str, Any]:
    """Returns the configuration of an autoencoder of ours as an official config.yaml has it.

    Args:
        entry: The autoencoder.
        channels: Of a state.
        described: Its dataset, see `official_dataset`.
        name: Name of the run.

    Raises:
        LilasError: the official code has no such model.
    """
    axes = described["dimensions"]
    if entry.architecture != "dcae":
        raise LilasError(f"official: no autoencoder of architecture {entry.architecture!r}")
    if entry.periodic and set(entry.periodic) != set(axes):
        raise LilasError(
            f"official: pads all axes periodically or none, here {', '.join(entry.periodic)} of "
            f"{', '.join(axes)}"
        )
    losses = {entry.loss: 1.0}
    if entry.similarity_weight:
        losses["similarity"] = entry.similarity_weight
    section = _said(entry, AUTOENCODER) | {
        "name": name,
        "arch": "dcae",
        "saturation": None if entry.saturation == "none" else entry.saturation,
        "attention_heads": entry.attention_heads,
        "periodic": bool(entry.periodic),
        "loss": {"losses": list(losses), "weights": list(losses.values())},
        "pix_channels": channels,
        "spatial": len(axes),
    }
    return {"ae": section, "dataset": described, "name": name}


def official_emulator(
    entry: emulators.EmulatorSettings,
    channels: int,
    features: int,
    described: dict[str, Any],
    *,
    stride: int,
    autoencoder: str | None,
    name: str,
) -> dict[str, Any]:
    """Returns the configuration of an emulator of ours as an official config.yaml has it.

    Args:
        entry: The emulator.
        channels: Of a latent.
        features: Of its label.
        described: Its dataset, see `official_dataset`.
        stride: Solver steps between the states of its windows.
        autoencoder: Name of its autoencoder's run; None is pixel space.
        name: Name of the run.

    Raises:
        LilasError: the official code has no such model.
    """
    if entry.method not in SECTIONS:
        raise LilasError(f"official: release 1.1.0 has no method {entry.method!r}; not saved")
    if entry.context_noise:
        raise LilasError("official: release 1.1.0 has no noise on known states; not saved")
    spatial = len(described["dimensions"])
    section = _official_network(entry, spatial) | {
        "name": name if autoencoder else f"{name}_pixel",
        "channels": channels,
        "label_features": features,
        "spatial": 1 + spatial,
    }
    if entry.method == "diffusion":
        section |= {"masked": True} | _official_diffusion(entry.diffusion)
    context = {
        "lmbda": entry.context_rate,
        "rho": entry.context_forward,
        "atleast": entry.context_at_least,
    }
    return {
        "dataset": described,
        SECTIONS[entry.method]: section,
        "ae_run": autoencoder,
        "trajectory": {"length": entry.window, "stride": stride, "context": context},
        "name": name,
    }


def official_dataset(
    statistics: dict[str, Any], dimensions: list[str], label: dict[str, str], name: str
) -> dict[str, Any]:
    """Returns a dataset as an official config.yaml has it.

    Args:
        statistics: See `lilas.data.statistics`.
        dimensions: Space axes.
        label: Transforms of the label's parameters.
        name: Of the dataset.

    Raises:
        LilasError: the official code has no such transform.
    """
    logged = {key for key, kind in label.items() if kind == "log"}
    if logged not in (set(), {"Rayleigh", "Prandtl"}, {"rho0"}):
        raise LilasError(
            f"official: no label with logarithms of {', '.join(sorted(logged))}; it takes those of "
            "Rayleigh and Prandtl, or of rho0, or none"
        )
    channels = statistics["channels"]
    transforms = [_official_transform(entry["transform"]) for entry in channels.values()]
    return {
        "name": name,
        "physics": [name],
        "include_filters": [],
        "dimensions": dimensions,
        "periodic": False,
        "fields": list(channels),
        "transform": {i: kind for i, kind in enumerate(transforms) if kind},
        "stats": {key: [entry[key] for entry in channels.values()] for key in ("mean", "std")},
        "augment": ["log_scalars"] if logged else [],
    }


def _official_transform(values: dict[str, Any]) -> str | None:
    transform = Transform.read(values, "official")
    if transform.kind == "none":
        return None
    for name, offset in OFFSETS.items():
        if transform == Transform("log", offset):
            return name
    raise LilasError(
        f"official: no transform {transform}; it knows log(x + offset), with offsets "
        + ", ".join(f"{offset:g}" for offset in OFFSETS.values())
    )


def _official_network(entry: emulators.EmulatorSettings, space: int) -> dict[str, Any]:
    network = entry.network
    if isinstance(network, networks.UNetSettings):
        section = _said(network, UNET) | {"arch": "unet"}
        section["stride"] = network.stride or [1] + [2] * space
        return section | {"attention_heads": network.attention_heads}
    if network.attention_window is not None:
        raise LilasError("official: a local attention window there may be another; not saved")
    return _said(network, TRANSFORMER) | {
        "arch": "vit",
        "attention_heads": network.heads,
        "patch_size": [1, *(network.patch_size or [1] * space)],
        "window_size": None,
    }


def _official_diffusion(entry: emulators.NoiseSettings) -> dict[str, Any]:
    if entry.schedule == "rectified":
        raise LilasError("official: release 1.1.0 is not known to have the schedule 'rectified'")
    values = entry.model_dump()
    shown = {key: values[SCHEDULE[key]] for key in bounds(entry.schedule)}
    a, b = entry.prior_parameters
    return {
        "schedule": {"name": entry.schedule} | shown,
        "loss": {"distribution": entry.prior, "a": a, "b": b},
    }


def _said(entry: settings.Model, known: dict[str, Any]) -> dict[str, Any]:
    values = entry.model_dump()
    return {key: values[ours] for key, ours in known.items() if ours}
