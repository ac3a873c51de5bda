"""What an official run's configuration says, in the words of ours.

Every key of the sections that describe a model is known here, or refused: what is not understood
must not become a model that computes something else.
"""

from typing import Any

from pydantic import ValidationError

from lilas import settings
from lilas.data.preprocess import Preprocessing
from lilas.errors import LilasError, broken
from lilas.official.folders import CONFIG, SECTIONS, OfficialRun
from lilas.official.keys import AUTOENCODER, OFFSETS, OPTIONAL, SCHEDULE, TRANSFORMER, UNET, bounds
from lilas.study import autoencoders, emulators

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
    values = _renamed(run, section, AUTOENCODER | {"stride": None})
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
        network = _renamed(run, section, TRANSFORMER)
        network["heads"] = section["attention_heads"]
        patch = section["patch_size"]
        patch = patch if isinstance(patch, list) else [patch] * (1 + space)
        if len(patch) != 1 + space or patch[0] != 1:
            raise _refused(run, "patch_size", patch, f"1 in time and {space} more")
        network["patch_size"] = None if set(patch) == {1} else patch[1:]
        window = section.get("window_size")
        network["attention_window"] = [window] * (1 + space) if isinstance(window, int) else window
    else:
        network = _renamed(run, section, UNET) | {"architecture": "unet"}
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
        if kind is not None and kind not in OFFSETS:
            raise broken(
                run.path / CONFIG,
                f"dataset.transform one of {', '.join(OFFSETS)}",
                f"{kind!r} for {name}",
                "This run needs a newer LILAS.",
            )
        channels[name] = {
            "transform": {"kind": "log", "offset": OFFSETS[kind]} if kind else {"kind": "none"},
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


def _losses(run: OfficialRun) -> dict[str, Any]:
    """Returns the loss that an autoencoder was trained with: one of states, perhaps similarity."""
    section = run.model.get("loss") or {"losses": ["vmse"], "weights": [1.0]}
    weights = dict(zip(section["losses"], section["weights"], strict=True))
    similarity = weights.pop("similarity", 0.0)
    if list(weights.values()) != [1.0]:
        raise _refused(run, "loss", section, "one loss of weight 1, and similarity")
    return {"loss": next(iter(weights)), "similarity_weight": similarity}


def _diffusion(run: OfficialRun) -> dict[str, Any]:
    schedule, loss = run.model["schedule"], run.model.get("loss") or {}
    for key in schedule:
        if key not in ("name", *SCHEDULE):
            known = "denoiser.schedule's keys name, " + ", ".join(SCHEDULE)
            raise broken(run.path / CONFIG, known, key, "This run needs a newer LILAS.")
    for key in bounds(schedule["name"]):
        if key not in schedule:
            where = f"denoiser.schedule.{key}"
            action = "Use the run's own config.yaml."
            raise broken(run.path / CONFIG, where, "no such key", action)
    prior = loss.get("distribution", "uniform")
    values = {ours: schedule[key] for key, ours in SCHEDULE.items() if key in schedule}
    values |= {"schedule": schedule["name"], "prior": prior}
    # The uniform prior has no parameters, whatever is written beside it.
    if prior == "uniform":
        return values
    return values | {"prior_parameters": [loss.get("a", 1.0), loss.get("b", 1.0)]}


def _renamed(run: OfficialRun, section: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    family = "ae" if run.kind == "autoencoder" else section["arch"]
    for key in sorted(set(known) - OPTIONAL[family] - set(section)):
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


def _made(run: OfficialRun, model: type[Any], values: dict[str, Any]) -> Any:
    try:
        return model(**values)
    except ValidationError as error:
        raise LilasError(f"{run.path / CONFIG}: {settings.describe(error, model)}") from None


def _refused(run: OfficialRun, key: str, found: Any, allowed: str) -> LilasError:
    where = f"{SECTIONS[run.kind]}.{key} one of {allowed}"
    return broken(run.path / CONFIG, where, repr(found), "This run needs a newer LILAS.")
