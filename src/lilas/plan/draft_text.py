"""The text of a first study: YAML with comments."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from typing import Any

import yaml

from lilas.data.headers import Header
from lilas.data.ranges import Range
from lilas.display import measured
from lilas.plan.sizes import Sizes, Tier
from lilas.study.extent import Extent

# By what factor positive values range whose logarithm is taken: of a field in a few states, and of
# a parameter over the training data.
FIELD_RANGE, PARAMETER_RANGE = 100, 10
COPIES, FIGURES = 4, 3


def study_text(
    name: str,
    folder: Path,
    header: Header,
    extent: Extent,
    ranges: tuple[Mapping[str, Range], int],
    sizes: Sizes,
    tier: Tier,
) -> str:
    """Returns a study as YAML with comments.

    Args:
        name: Of the dataset.
        folder: Where it lies, as the study is to name it.
        header: Of its first training file.
        extent: What its files tell.
        ranges: Of its fields, and in how many states.
        sizes: What fits its grid.
        tier: How large its models are.
    """
    dataset = (
        f"source: {{kind: path, path: {_text(str(folder))}}}\n"
        f"{_states(header, *ranges)}{_label(header, extent)}{_augment(header, extent)}"
        "# Steps of the data from one state of a window to the next.\n"
        "stride: 1\n"
        "evaluation:\n"
        "  start: 0\n"
        "  # Lead times that scores are averaged over; a test trajectory has "
        f"{extent.steps['test']} states.\n"
        f"  horizons: {_inline(sizes.horizons)}\n"
    )
    coder = "pixel"
    if sizes.factor > 1:
        numbers = len(extent.channels) * sizes.factor ** len(extent.size)
        coder = f"c{numbers / sizes.latent_channels:.0f}"
    return (
        f"datasets:\n  {name}:\n{indent(dataset, '    ')}\n"
        f"{_autoencoder(coder, extent, sizes, tier)}\n"
        f"{_emulators(coder, sizes, tier)}\n"
        "samplers:\n"
        f"  ab16: {{algorithm: ab, order: 3, steps: 16, members: {tier.members}}}\n"
        "  direct: {algorithm: direct}\n\n"
        f"figures: {{trajectories: {min(FIGURES, extent.trajectories['test'])}}}\n"
    )


def _states(header: Header, ranges: Mapping[str, Range], states: int) -> str:
    lines = []
    for name, field in header.fields.items():
        kind = ("", "a vector, ", "a tensor, ")[field.order]
        span = f"{ranges[name].lowest:.3g} to {ranges[name].highest:.3g} {field.units}"
        lines.append(f"    - {_text(name)}  # {kind}{' '.join(span.split())}")
    found = (
        "states:\n"
        f"  # Channels, in this order, with their range in {states} states of the training data.\n"
        "  fields:\n" + "\n".join(lines) + "\n"
    )
    wide = [
        f"    {_text(name)}: {{kind: log, offset: {_offset(held):g}}}\n"
        for name, held in ranges.items()
        if header.fields[name].order == 0 and held.lowest > 0
        if held.high > FIELD_RANGE * held.low
    ]
    told = "  # Positive, over orders of magnitude: models see log(x + offset).\n  transform:\n"
    return found + (told + "".join(wide) if wide else "")


def _offset(held: Range) -> float:
    """Returns a tenth of the lowest value, to one digit: states that were not read may be lower."""
    return float(f"{held.lowest / 10:.0e}")


def _label(header: Header, extent: Extent) -> str:
    if not extent.values:
        return ""
    lines = []
    for name, values in extent.values.items():
        low, high = min(values), max(values)
        kind = "log" if low > 0 and high >= PARAMETER_RANGE * low else "none"
        span = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
        told = measured(span, header.parameter_units.get(name, ""))
        lines.append(f"  {_text(name)}: {kind}  # {' '.join(told.split())}\n")
    return (
        "# Parameters that emulators are told; the log of those that are positive and range over\n"
        f"# a factor of {PARAMETER_RANGE}.\nlabel:\n{''.join(lines)}"
    )


def _augment(header: Header, extent: Extent) -> str:
    if extent.grid != "cartesian":
        return f"# No augment: it takes cartesian grids alone, and this one is {extent.grid}.\n"
    periodic = _periodic(extent)
    points = dict(zip(extent.axes or (), extent.size, strict=True))
    copies = min(COPIES, math.prod(points[axis] for axis in periodic))
    alike = [axis for axis, kinds in header.boundaries.items() if len(set(kinds)) == 1]
    mirrored = (
        "# Where the flow has mirror images too, and no scalar changes its sign in them (as a\n"
        f"# vorticity does), they can be flipped: flip: {_inline(alike)}\n"
    )
    if not periodic:
        return f"# No axis is periodic, so that none is rolled.\n{mirrored}augment: {{}}\n"
    return (
        "# States are rolled along periodic axes; take that out where something, such as an\n"
        f"# obstacle or a forcing, stands at its place.\n{mirrored}"
        f"augment: {_inline({'roll': periodic, 'copies': copies})}\n"
    )


def _periodic(extent: Extent) -> list[str]:
    return [axis for axis, kinds in (extent.boundaries or {}).items() if set(kinds) == {"periodic"}]


def _autoencoder(coder: str, extent: Extent, sizes: Sizes, tier: Tier) -> str:
    if sizes.factor == 1:
        told = "# No number divides the axes of the grid, so that emulators work on the states.\n"
        return f"{told}autoencoders:\n  {coder}: {{architecture: identity}}\n"
    before = " x ".join(map(str, extent.size))
    after = " x ".join(f"{points // sizes.factor}" for points in extent.size)
    values = {
        "architecture": "dcae",
        "latent_channels": sizes.latent_channels,
        "channels": tier.widths_of(sizes.levels),
        "blocks": [tier.blocks] * sizes.levels,
        "patch_size": sizes.patch_size,
        "periodic": _periodic(extent),
        "dropout": 0.0,
        "train": _train(tier.steps[0], sizes.batch_size, tier),
    }
    return (
        f"# {before} points of {len(extent.channels)} channels become {after} of "
        f"{sizes.latent_channels}.\nautoencoders:\n  {coder}:\n{indent(_block(values), '    ')}"
    )


def _emulators(coder: str, sizes: Sizes, tier: Tier) -> str:
    values = {
        "autoencoders": [coder],
        "network": tier.network | {"patch_size": sizes.patches},
        "window": sizes.window,
        "train": _train(tier.steps[1], sizes.batch_size if sizes.factor == 1 else tier.batch, tier)
        | {"ema": 0.99},
    }
    return (
        "# A diffusion model, whose members are an ensemble, and a network with one prediction.\n"
        "emulators:\n"
        "  diffusion: &emulator\n"
        "    method: diffusion\n"
        "    samplers: [ab16]\n"
        f"{indent(_block(values), '    ')}"
        "  solver:\n"
        "    <<: *emulator\n"
        "    method: solver\n"
        "    samplers: [direct]\n"
    )


def _train(steps: int, batch: int, tier: Tier) -> dict[str, Any]:
    return {"steps": steps, "batch_size": batch, **tier.training, "validate_every": steps // 4}


def _block(values: Mapping[str, Any]) -> str:
    """Returns a mapping as YAML, a line per key; a training has a line per setting."""
    lines = []
    for key, value in values.items():
        if key == "train":
            lines += [f"{key}:", indent(_block(value), "  ").rstrip()]
        else:
            lines.append(f"{key}: {_inline(value)}")
    return "\n".join(lines) + "\n"


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(key)}: {_inline(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(text: str) -> str:
    """Returns a text as YAML has it, in quotes where it would be read as something else."""
    plain = re.fullmatch(r"[A-Za-z_./][\w./-]*", text) and isinstance(yaml.safe_load(text), str)
    return text if plain else json.dumps(text)
