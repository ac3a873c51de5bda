"""What an official run's configuration says, in the words of ours, and the other way round.

Every key of the sections that describe a model is known here, or refused: what is not understood
must not become a model that computes something else.
"""

from typing import Any

from pydantic import ValidationError

from lilas import settings
from lilas.data.preprocess import Preprocessing
from lilas.errors import LilasError, broken
from lilas.official.folders import CONFIG, SECTIONS, OfficialRun
from lilas.study import autoencoders, emulators, networks

# Official key: ours. None is read where it is needed, or decides nothing once weights are there.
_AUTOENCODER: dict[str, str | None] = {
    "name": None,
    "arch": None,
    "saturation": None,
    "latent_noise": "latent_noise",
    "lat_channels": "latent_channels",
    "hid_channels": "channels",
    "hid_blocks": "blocks",
    "kernel_size": "kernel_size",
    "patch_size": "patch_size",
    "pixel_shuffle": "pixel_shuffle",
    "norm": "norm",
    "attention_heads": None,
    "ffn_factor": "ffn_factor",
    "dropout": "dropout",
    "checkpointing": "checkpointing",
    "identity_init": "identity_init",
    "loss": None,
    "periodic": None,
    "pix_channels": None,
    "spatial": None,
}
_SHARED: dict[str, str | None] = {
    "name": None,
    "arch": None,
    "emb_features": "embedding",
    "hid_channels": "channels",
    "hid_blocks": "blocks",
    "ffn_factor": "ffn_factor",
    "attention_heads": None,
    "dropout": "dropout",
    "checkpointing": "checkpointing",
    "loss": None,
    "schedule": None,
    "channels": None,
    "label_features": None,
    "spatial": None,
    "masked": None,
}
_TRANSFORMER = _SHARED | {
    "qk_norm": "qk_norm",
    "rope": "rope",
    "patch_size": None,
    "window_size": None,
}
_UNET = _SHARED | {
    "stride": "stride",
    "norm": "norm",
    "periodic": "periodic",
    "kernel_size": "kernel_size",
    "identity_init": "identity_init",
}
# Every run says the rest; a key that is missing must not become a default of ours.
_OPTIONAL = {
    "ae": {"kernel_size", "patch_size", "stride", "periodic", "loss"},
    "vit": {"masked", "schedule", "loss"},
    "unet": {"kernel_size", "masked", "schedule", "loss"},
}
_SCHEDULE = {
    "sigma_min": "sigma_min",
    "sigma_max": "sigma_max",
    "scale": "logit_scale",
    "shift": "logit_shift",
}
_OFFSETS = {"log1p": 1.0, "log_eps": 1e-6}
# The official code takes the logarithm of these parameters where `log_scalars` is asked for; its
# test of TGC's T0 never holds (paper's released weights, all versions).
_LOGGED = ("Rayleigh", "Prandtl", "rho0")


def autoencoder_entry(run: OfficialRun) -> autoencoders.DCAESettings:
    """Returns the autoencoder of a run in our configuration's terms.

    Raises:
        LilasError: it is no autoencoder, or a key or value is not understood.
    """
    if run.kind != "autoencoder":
        found = f"a run of a {run.kind} (section {SECTIONS[run.kind]})"
        raise broken(run.path, "an autoencoder's run", found, "Name another run.")
    section = run.model
    if section.get("arch") != "dcae":
        raise _refused(run, "arch", section.get("arch"), "dcae")
    if section.get("stride", 2) != 2:
        raise _refused(run, "stride", section["stride"], "2")
    values = _renamed(run, section, _AUTOENCODER | {"stride": None})
    axes = run.config["dataset"]["dimensions"]
    if len(axes) != section["spatial"]:
        raise _refused(run, "spatial", section["spatial"], f"as many as dimensions {axes}")
    return _made(
        run,
        autoencoders.DCAESettings,
        values
        | {
            "architecture": "dcae",
            "saturation": section["saturation"] or "none",
            "attention_heads": section.get("attention_heads") or {},
            # The dataset's own `periodic` never reaches the official autoencoder.
            "periodic": list(axes) if section.get("periodic") else [],
        }
        | _losses(run),
    )


def emulator_entry(run: OfficialRun) -> emulators.EmulatorSettings:
    """Returns the emulator of a run in our configuration's terms.

    Raises:
        LilasError: it is an autoencoder, or a key or value is not understood.
    """
    if run.kind == "autoencoder":
        found = "a run of an autoencoder (section ae)"
        raise broken(run.path, "an emulator's run", found, "Name another run.")
    section = run.model
    if section.get("arch") not in ("vit", "unet"):
        raise _refused(run, "arch", section.get("arch"), "vit, unet")
    if run.kind == "diffusion" and section.get("masked") is not True:
        raise _refused(run, "masked", section.get("masked"), "true: the mask is an input")
    space = section["spatial"] - 1
    if section["arch"] == "vit":
        network = _renamed(run, section, _TRANSFORMER)
        network["heads"] = section["attention_heads"]
        patch = section["patch_size"]
        patch = patch if isinstance(patch, list) else [patch] * (1 + space)
        if len(patch) != 1 + space or patch[0] != 1:
            raise _refused(run, "patch_size", patch, f"1 in time and {space} more")
        network["patch_size"] = None if set(patch) == {1} else patch[1:]
        window = section.get("window_size")
        network["attention_window"] = [window] * (1 + space) if isinstance(window, int) else window
    else:
        network = _renamed(run, section, _UNET) | {"architecture": "unet"}
        network["attention_heads"] = section.get("attention_heads") or {}
    values: dict[str, Any] = {
        "method": run.kind,
        "network": network,
        "window": run.config["trajectory"]["length"],
    }
    if run.kind == "diffusion":
        values["diffusion"] = _diffusion(run)
    made = {"diffusion": emulators.DiffusionSettings, "solver": emulators.SolverSettings}
    return _made(run, made[run.kind], values)


def preprocessing_statistics(run: OfficialRun) -> dict[str, Any]:
    """Returns the transform, mean and std of each channel that the run was trained with.

    Raises:
        LilasError: the run's dataset section lacks them, or a transform is unknown.
    """
    fields, stats = (run.config["dataset"][key] for key in ("fields", "stats"))
    transforms = run.config["dataset"].get("transform") or {}
    if beyond := [key for key in transforms if key not in range(len(fields))]:
        action = "Use the run's own config.yaml."
        expected = f"dataset.transform of fields 0 to {len(fields) - 1}"
        raise broken(run.path / CONFIG, expected, repr(beyond[0]), action)
    channels = {}
    for i, name in enumerate(fields):
        kind = transforms.get(i)
        if kind is not None and kind not in _OFFSETS:
            raise broken(
                run.path / CONFIG,
                f"dataset.transform one of {', '.join(_OFFSETS)}",
                f"{kind!r} for {name}",
                "This run needs a newer LILAS.",
            )
        channels[name] = {
            "transform": {"kind": "log", "offset": _OFFSETS[kind]} if kind else {"kind": "none"},
            "mean": float(stats["mean"][i]),
            "std": float(stats["std"][i]),
        }
    statistics = {"channels": channels}
    Preprocessing.from_statistics(statistics, run.path / CONFIG)
    return statistics


def label_transforms(run: OfficialRun, parameters: list[str]) -> dict[str, str]:
    """Returns the transforms of a label's parameters as the run was trained."""
    logged = "log_scalars" in (run.config["dataset"].get("augment") or [])
    return {name: "log" for name in parameters if logged and name in _LOGGED}


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
    section = _said(entry, _AUTOENCODER) | {
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


def _losses(run: OfficialRun) -> dict[str, Any]:
    """Returns the loss that an autoencoder was trained with: one of states, perhaps similarity."""
    section = run.model.get("loss") or {"losses": ["vmse"], "weights": [1.0]}
    weights = dict(zip(section["losses"], section["weights"], strict=True))
    similarity = weights.pop("similarity", 0.0)
    if list(weights.values()) != [1.0]:
        raise _refused(run, "loss", section, "one loss of weight 1, and similarity")
    return {"loss": next(iter(weights)), "similarity_weight": similarity}


def _official_transform(transform: dict[str, Any]) -> str | None:
    if transform["kind"] == "none":
        return None
    for name, offset in _OFFSETS.items():
        if offset == transform["offset"]:
            return name
    raise LilasError(
        f"official: no transform log(x + {transform['offset']:g}); it knows offsets "
        + ", ".join(f"{offset:g}" for offset in _OFFSETS.values())
    )


def _official_network(entry: emulators.EmulatorSettings, space: int) -> dict[str, Any]:
    network = entry.network
    if isinstance(network, networks.UNetSettings):
        section = _said(network, _UNET) | {"arch": "unet"}
        section["stride"] = network.stride or [1] + [2] * space
        return section | {"attention_heads": network.attention_heads}
    if network.attention_window is not None:
        raise LilasError("official: a local attention window there may be another; not saved")
    return _said(network, _TRANSFORMER) | {
        "arch": "vit",
        "attention_heads": network.heads,
        "patch_size": [1, *(network.patch_size or [1] * space)],
        "window_size": None,
    }


def _diffusion(run: OfficialRun) -> dict[str, Any]:
    schedule, loss = run.model["schedule"], run.model.get("loss") or {}
    for key in schedule:
        if key not in ("name", *_SCHEDULE):
            known = "denoiser.schedule's keys name, " + ", ".join(_SCHEDULE)
            raise broken(run.path / CONFIG, known, key, "This run needs a newer LILAS.")
    bounds = list(_SCHEDULE)[: 4 if schedule["name"] == "log_logit" else 2]
    for key in bounds:
        if key not in schedule:
            where = f"denoiser.schedule.{key}"
            action = "Use the run's own config.yaml."
            raise broken(run.path / CONFIG, where, "no such key", action)
    prior = loss.get("distribution", "uniform")
    values = {ours: schedule[key] for key, ours in _SCHEDULE.items() if key in schedule}
    values |= {"schedule": schedule["name"], "prior": prior}
    # The uniform prior has no parameters, whatever is written beside it.
    if prior == "uniform":
        return values
    return values | {"prior_parameters": [loss.get("a", 1.0), loss.get("b", 1.0)]}


def _official_diffusion(entry: emulators.NoiseSettings) -> dict[str, Any]:
    if entry.schedule == "rectified":
        raise LilasError("official: release 1.1.0 is not known to have the schedule 'rectified'")
    values = entry.model_dump()
    bounds = list(_SCHEDULE)[: 4 if entry.schedule == "log_logit" else 2]
    a, b = entry.prior_parameters
    return {
        "schedule": {"name": entry.schedule} | {key: values[_SCHEDULE[key]] for key in bounds},
        "loss": {"distribution": entry.prior, "a": a, "b": b},
    }


def _renamed(run: OfficialRun, section: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    family = "ae" if run.kind == "autoencoder" else section["arch"]
    for key in sorted(set(known) - _OPTIONAL[family] - set(section)):
        where = f"{SECTIONS[run.kind]}.{key}"
        action = "Use the run's own config.yaml."
        raise broken(run.path / CONFIG, where, "no such key", action)
    for key in section:
        if key not in known:
            where = f"{SECTIONS[run.kind]}.{key}"
            found = f"the unknown key {where}: {section[key]!r}"
            action = "This run needs a newer LILAS."
            raise broken(run.path / CONFIG, "keys of release 1.1.0", found, action)
    return {ours: section[key] for key, ours in known.items() if ours and key in section}


def _said(entry: settings.Model, known: dict[str, Any]) -> dict[str, Any]:
    values = entry.model_dump()
    return {key: values[ours] for key, ours in known.items() if ours}


def _made(run: OfficialRun, model: type[Any], values: dict[str, Any]) -> Any:
    try:
        return model(**values)
    except ValidationError as error:
        raise LilasError(f"{run.path / CONFIG}: {settings.describe(error, model)}") from None


def _refused(run: OfficialRun, key: str, found: Any, allowed: str) -> LilasError:
    where = f"{SECTIONS[run.kind]}.{key} one of {allowed}"
    return broken(run.path / CONFIG, where, repr(found), "This run needs a newer LILAS.")
