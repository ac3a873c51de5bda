"""Whether a study's settings fit what is known of a dataset's data, before the first job."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lilas.settings import listed, refuse_unknown
from lilas.study.entries import EmulatorEntry
from lilas.study.extent import Extent
from lilas.study.laws import LAWS
from lilas.study.leads import reached, rollout_steps
from lilas.study.networks import TransformerSettings, UNetSettings
from lilas.study.samplers import observes
from lilas.study.well import component_names


def check_laws(study: Any, name: str, extent: Extent) -> None:
    """Refuses laws that need other fields or parameters than there are.

    Raises:
        ValueError: which, and what there is.
    """
    if (physics := study.datasets[name].evaluation.physics) is None:
        return
    law, axes = LAWS[physics], extent.axes or ()
    needed = [c for field, order in law.fields.items() for c in component_names(field, order, axes)]
    for what, wanted, found in (
        ("channel", needed, extent.channels),
        ("parameter", law.parameters, extent.parameters),
    ):
        told = " of states.fields" if what == "channel" else ""
        for one in wanted:
            if found is not None and one not in found:
                raise ValueError(
                    f"datasets.{name}.evaluation.physics: {physics} needs the {what} {one!r}, the "
                    f"{what}s{told} are {listed(found) or 'none'}; allowed: null"
                )


def check_names(study: Any, name: str, extent: Extent) -> None:
    """Refuses axes and parameters that a dataset does not have.

    Raises:
        ValueError: which, and what it has.
    """
    entry, where = study.datasets[name], f"datasets.{name}"
    if extent.parameters is not None:
        refuse_unknown(f"{where}.label", entry.label, extent.parameters)
    if extent.axes is not None and extent.channels is not None:
        # Of a component, its field is one too.
        fields = [name.rpartition("_")[0] or name for name in extent.channels]
        known = dict.fromkeys([*entry.states.fields, *extent.channels, *extent.axes, *fields])
        refuse_unknown(f"{where}.units", entry.units, known)
    if extent.axes is not None:
        for key in ("flip", "roll"):
            refuse_unknown(f"{where}.augment.{key}", getattr(entry.augment, key), extent.axes)
        for autoencoder, its in study.entries("autoencoders", name).items():
            key = study.key("autoencoders", autoencoder, name, "periodic")
            refuse_unknown(key, its.model.named_axes, extent.axes)


def check_augmentation(study: Any, name: str, extent: Extent) -> None:
    """Refuses symmetries that the data do not have, and more copies than there are symmetries.

    Raises:
        ValueError: which, and what is allowed.
    """
    augment, where = study.datasets[name].augment, f"datasets.{name}.augment"
    asked = [key for key in ("flip", "roll", "permute") if getattr(augment, key)]
    if asked and extent.grid != "cartesian":
        raise ValueError(
            f"{where}.{asked[0]}: only states on a cartesian grid can be augmented, the data have "
            f"a {extent.grid} one. Leave it out"
        )
    orders = math.prod(math.factorial(n) for n in Counter(extent.size).values())
    if augment.permute and orders == 1:
        raise ValueError(
            f"{where}.permute: no two axes of {_grid(extent.size)} points have the same size; "
            "allowed: false"
        )
    if extent.axes is None:
        return
    kinds = extent.boundaries or {}
    _check_periodic(f"{where}.roll", augment.roll, extent)
    # Where some files are not periodic, those have fewer.
    rolled = [
        points
        for axis, points in zip(extent.axes, extent.size, strict=True)
        if axis in augment.roll and set(kinds.get(axis, ["periodic"])) == {"periodic"}
    ]
    most = 2 ** len(augment.flip) * math.prod(rolled) * (orders if augment.permute else 1)
    if augment.copies > most:
        raise ValueError(
            f"{where}.copies {augment.copies}: flip, roll and permute allow {most} distinct "
            f"transformations; allowed: at most {most}"
        )


def check_padding(study: Any, name: str, extent: Extent) -> None:
    """Refuses networks that go on at the other end of an axis that no file has periodic.

    Raises:
        ValueError: which, and what is allowed.
    """
    for autoencoder, its in study.entries("autoencoders", name).items():
        key = study.key("autoencoders", autoencoder, name, "periodic")
        _check_periodic(key, its.model.named_axes, extent)
    for emulator, its in study.entries("emulators", name).items():
        network = getattr(its.model, "network", None)
        if isinstance(network, UNetSettings) and network.periodic:
            key = study.key("emulators", emulator, name, "network", "periodic")
            _check_periodic(key, extent.axes or (), extent, "false")


def _check_periodic(key: str, axes: Sequence[str], extent: Extent, allowed: str = "") -> None:
    kinds = extent.boundaries or {}
    for axis in axes:
        if axis in kinds and "periodic" not in kinds[axis]:
            periodic = [other for other, its in kinds.items() if "periodic" in its]
            raise ValueError(
                f"{key}: axis {axis!r} is not periodic, its boundary is "
                f"{' and '.join(sorted(kinds[axis]))}; allowed: "
                f"{allowed or ', '.join(periodic) or 'none'}"
            )


def check_time(study: Any, name: str, extent: Extent) -> None:
    """Refuses windows and rollouts that are longer than trajectories.

    Raises:
        ValueError: which, and what is allowed.
    """
    entry = study.datasets[name]
    evaluation, steps = entry.evaluation, extent.steps["test"]
    if (last := evaluation.start + evaluation.last) >= steps:
        raise ValueError(
            f"datasets.{name}.evaluation: start {evaluation.start} + lead time {evaluation.last} "
            f"of horizons is step {last}; a test trajectory has {steps} steps, so at most "
            f"{steps - 1}"
        )
    for key in study.samplers_of(name):
        sampler = study.samplers[key]
        span = sampler.context, entry.stride, evaluation.last, sampler.direction
        if (last := max(rollout_steps(evaluation.start, *span))) >= steps:
            raise ValueError(
                f"samplers.{key}.context {sampler.context}: with datasets.{name}.evaluation a "
                f"{sampler.direction} rollout spans steps up to {last}, and a test trajectory has "
                f"{steps}; allowed: a shorter context, or horizons that end "
                f"{last - steps + 1} steps earlier"
            )
        valid = extent.steps["valid"]
        if sampler.tune_temperature and not reached(evaluation.start, *span, valid):
            raise ValueError(
                f"samplers.{key}.tune_temperature: a validation trajectory of {name} has {valid} "
                f"steps, none of them a forecast from step {evaluation.start}; allowed: null"
            )
    shortest = min(extent.steps["train"], extent.steps["valid"])
    for emulator, its in study.entries("emulators", name).items():
        # Weights that are taken as they are train on none.
        window = getattr(its.model, "states", its.model.window)
        if (window - 1) * entry.stride < shortest:
            continue
        if window > shortest:
            key = study.key("emulators", emulator, name, "window")
            rolled = "" if window == its.model.window else f", unrolled to {window} states"
            raise ValueError(
                f"{key} {its.model.window}{rolled}: longer than a trajectory of {name}, which has "
                f"{shortest} steps; allowed: at most {shortest}"
            )
        raise ValueError(
            f"datasets.{name}.stride {entry.stride}: a window of {window} states spans "
            f"{(window - 1) * entry.stride + 1} steps, longer than a trajectory of {shortest}; "
            f"allowed: at most {(shortest - 1) // (window - 1)}"
        )


def check_trajectories(study: Any, name: str, extent: Extent) -> None:
    """Refuses more trajectories than the test split has.

    Raises:
        ValueError: how many there are.
    """
    if (found := extent.trajectories.get("test")) is None:
        return
    asked = study.datasets[name].evaluation.trajectories
    if asked is not None and asked > found:
        raise ValueError(
            f"datasets.{name}.evaluation.trajectories {asked}: the test split has {found}; "
            f"allowed: at most {found}"
        )
    if study.figures.trajectories > (most := asked or found):
        raise ValueError(
            f"figures.trajectories {study.figures.trajectories}: {most} of {name} are evaluated; "
            f"allowed: at most {most}"
        )


def check_grid(study: Any, name: str, extent: Extent) -> None:
    """Refuses autoencoders and networks that do not fit the grid.

    Raises:
        ValueError: which, and what is allowed.
    """
    latents: dict[str, list[int] | None] = {}
    for autoencoder, entry in study.entries("autoencoders", name).items():
        model = entry.model
        latents[autoencoder] = None
        if (factor := model.factor) is None:
            continue
        told = f" ({' and '.join(model.shrinking)})" if model.shrinking else ""
        for points in extent.size:
            if points % factor:
                raise ValueError(
                    f"autoencoders.{autoencoder}: each axis shrinks by {factor}{told}, which does "
                    f"not divide a size of {points} points of {name}; allowed: a divisor"
                )
        latents[autoencoder] = grid = [points // factor for points in extent.size]
        pixels = len(extent.channels) * factor ** len(extent.size)
        latent = getattr(model, "latent_channels", 1)
        if latent > pixels:
            key = study.key("autoencoders", autoencoder, name, "latent_channels")
            raise ValueError(
                f"{key} {latent}: wider than the pixels of {name}; allowed: at most {pixels} "
                f"({len(extent.channels)} channels x {factor}^{len(extent.size)} pixels)"
            )
        half = getattr(model, "kernel_size", 1) // 2
        if model.named_axes and half > min(grid):
            key = study.key("autoencoders", autoencoder, name, "kernel_size")
            raise ValueError(
                f"{key} {2 * half + 1}: wider than the latent grid of {_grid(grid)} points, which "
                f"is padded periodically; allowed: at most {2 * min(grid) + 1}"
            )
        if transformer := getattr(model, "transformer", None):
            key = study.key("autoencoders", autoencoder, name, "transformer", "attention_window")
            _check_length(key, transformer.attention_window, len(extent.size), "space axis")
    for emulator, entry in study.entries("emulators", name).items():
        if isinstance(network := getattr(entry.model, "network", None), TransformerSettings):
            _check_transformer(study, name, emulator, entry, extent, latents)
        elif isinstance(network, UNetSettings):
            _check_unet(study, name, emulator, entry, extent, latents)


def check_guidance(study: Any, name: str, extent: Extent) -> None:
    """Refuses observations that do not fit the grid.

    Raises:
        ValueError: which, and what is allowed.
    """
    for key in study.samplers_of(name):
        if observes(study.samplers[key]):
            operator = study.samplers[key].guidance.operator
            operator.check(f"samplers.{key}.guidance.operator", extent.size, extent.axes)


def _check_transformer(
    study: Any, name: str, emulator: str, entry: EmulatorEntry, extent: Extent, latents: Any
) -> None:
    network, axes = entry.model.network, len(extent.size)
    key = study.key("emulators", emulator, name, "network", "attention_window")
    _check_length(key, network.attention_window, 1 + axes, "axis, time first")
    key = study.key("emulators", emulator, name, "network", "patch_size")
    _check_length(key, network.patch_size, axes, "space axis")
    for autoencoder in entry.autoencoders:
        if (grid := latents.get(autoencoder)) is None:
            continue
        patch = network.patch_size or [1] * axes
        if any(points % part for points, part in zip(grid, patch, strict=True)):
            raise ValueError(
                f"{key} {patch} does not divide the {_grid(grid)} points of the latents of "
                f"{autoencoder}; allowed: a divisor of each"
            )


def _check_unet(
    study: Any, name: str, emulator: str, entry: EmulatorEntry, extent: Extent, latents: Any
) -> None:
    network, axes = entry.model.network, len(extent.size)
    if axes > 2:
        key = study.key("emulators", emulator, name, "network", "architecture")
        raise ValueError(
            f"{key}: a unet takes at most 2 space axes, and {name} has {axes}; allowed: transformer"
        )
    key = study.key("emulators", emulator, name, "network", "stride")
    _check_length(key, network.stride, 1 + axes, "axis, time first")
    half = network.kernel_size // 2
    for autoencoder in entry.autoencoders:
        if (grid := latents.get(autoencoder)) is None or not network.periodic:
            continue
        window = [entry.model.window, *grid]
        stride = network.stride or [1] + [2] * axes
        coarsest = [
            -(-points // part ** (len(network.channels) - 1))
            for points, part in zip(window, stride, strict=True)
        ]
        if half > min(coarsest):
            key = study.key("emulators", emulator, name, "network", "kernel_size")
            raise ValueError(
                f"{key} {network.kernel_size}: wider than the {_grid(coarsest)} points of the last "
                f"level, which are padded periodically; allowed: at most {2 * min(coarsest) + 1}"
            )


def _check_length(key: str, values: Sequence[int] | None, count: int, of: str) -> None:
    """Refuses a list that has not as many values as there are axes."""
    if values is not None and len(values) != count:
        raise ValueError(f"{key} {list(values)}: expected a value for each {of}; allowed: {count}")


def _grid(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))
