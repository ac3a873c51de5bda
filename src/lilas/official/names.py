"""Parameter names: ours and the official code's, derived from a model's structure."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from lilas.errors import LilasError, broken
from lilas.official.unet_names import unet_constants, unet_names
from lilas.study import autoencoders, emulators, networks

_BLOCK = {
    "conv1": "ffn.0",
    "conv2": "ffn.3",
    "attention.out": "attn.0.out_proj",
}
_TRANSFORMER = {
    "embed": "in_proj",
    "project": "out_proj",
    "position": "positional_embedding.2",
}
_TRANSFORMER_BLOCK = {
    "modulation.0": "ada_zero.0",
    "modulation.2": "ada_zero.2",
    "attention.out": "msa.y_proj",
    "ffn.0": "ffn.0",
    "ffn.3": "ffn.3",
}


def autoencoder_names(entry: autoencoders.DCAESettings) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Returns a convolutional autoencoder's official names by ours, and its official constants.

    Official layers are counted by level, ours through all of them. The state files hold constants
    too: the epsilon of each layer normalisation.
    """
    names: dict[str, str] = {}
    constants: dict[str, Tensor] = {}
    shuffle = entry.pixel_shuffle
    levels = len(entry.channels)

    def block(ours: str, official: str, level: int) -> None:
        parts = {key: _BLOCK[key] for key in ("conv1", "conv2")}
        if entry.attention_heads.get(level):
            parts["attention.out"] = _BLOCK["attention.out"]
            for end in ("weight", "bias"):
                names[f"{ours}.attention.qkv.{end}"] = f"{official}.attn.0.in_proj_{end}"
        names.update(_linear(ours, official, parts))
        if entry.norm == "layer":
            constants[f"{official}.norm.eps"] = torch.tensor(1e-5)

    def conv(ours: str, official: str) -> None:
        names.update({f"{ours}.{end}": f"{official}.{end}" for end in ("weight", "bias")})

    place = count()
    for level in range(levels):
        index = count()
        if level == 0:
            conv(f"encoder.layers.{next(place)}", f"encoder.descent.0.{next(index)}")
        else:
            down = f"encoder.descent.{level}.{next(index)}"
            conv(f"encoder.layers.{next(place)}.conv", f"{down}.1" if shuffle else down)
        for _ in range(entry.blocks[level]):
            block(f"encoder.layers.{next(place)}", f"encoder.descent.{level}.{next(index)}", level)
        if level == levels - 1:
            conv(f"encoder.layers.{next(place)}", f"encoder.descent.{level}.{next(index)}")
    place = count()
    for turn, level in enumerate(reversed(range(levels))):
        index = count()
        if turn == 0:
            conv(f"decoder.layers.{next(place)}", f"decoder.ascent.0.{next(index)}")
        for _ in range(entry.blocks[level]):
            block(f"decoder.layers.{next(place)}", f"decoder.ascent.{turn}.{next(index)}", level)
        up = f"decoder.ascent.{turn}.{next(index)}"
        if level:
            conv(f"decoder.layers.{next(place)}.conv", f"{up}.{0 if shuffle else 1}")
        else:
            conv(f"decoder.layers.{next(place)}", up)
    return names, constants


def emulator_names(entry: emulators.EmulatorSettings) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Returns an emulator's official names by ours, and its official constants.

    The state files hold constants too: the frequencies of each sine encoding.
    """
    outer = "backbone." if entry.method == "diffusion" else ""
    prefix = f"{outer}backbone."
    if isinstance(entry.network, networks.UNetSettings):
        network = entry.network
        names = unet_names(network.blocks, network.attention_heads)
        constants = {
            prefix + key: torch.tensor(1e-5) for key in unet_constants(network.blocks, network.norm)
        }
    else:
        names, constants = transformer_names(entry.network)
        constants = {prefix + key: value for key, value in constants.items()}
    names = {f"backbone.network.{ours}": prefix + official for ours, official in names.items()}
    names |= _linear("backbone", outer[:-1], {f"label.{i}": f"label_embedding.{i}" for i in (0, 2)})
    if entry.method == "diffusion":
        parts = {"noise.0": "time_embedding.1", "noise.2": "time_embedding.3"}
        names |= _linear("backbone", outer[:-1], parts)
        constants[f"{outer}time_embedding.0.freqs"] = _frequencies(entry.network.embedding)
    return names, constants


def transformer_names(
    entry: networks.TransformerSettings,
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Returns a transformer's official names by ours, and its official constants."""
    names = _linear("", "", _TRANSFORMER)
    for i in range(entry.blocks):
        block = f"blocks.{i}"
        names |= _linear(block, block, _TRANSFORMER_BLOCK)
        names[f"{block}.attention.qkv.weight"] = f"{block}.msa.qkv_proj.weight"
        if entry.rope:
            names[f"{block}.theta"] = f"{block}.theta"
    return names, {"positional_embedding.0.freqs": _frequencies(entry.channels)}


def to_ours(
    path: Path,
    state: dict[str, Tensor],
    names: dict[str, str],
    constants: dict[str, Tensor],
    shapes: dict[str, torch.Size],
) -> dict[str, Tensor]:
    """Returns an official state under our names.

    Args:
        path: Where the state is from, for messages.
        state: Tensors by official name.
        names: Official names by ours.
        constants: Official buffers that are no parameters of ours.
        shapes: Of our parameters.

    Raises:
        LilasError: a name is missing or unknown, a shape differs, or a constant is another.
    """
    action = "The configuration beside it is of another model, or the file is not whole."
    expected = set(names.values()) | set(constants)
    for key in sorted(expected - set(state)):
        raise broken(path, f"{key}", f"no such key ({len(expected - set(state))} missing)", action)
    for key in sorted(set(state) - expected):
        found = f"{key} too ({len(set(state) - expected)} unknown)"
        raise broken(path, f"the {len(expected)} keys of the model", found, action)
    for key, value in constants.items():
        # Powers may differ in their last bit from machine to machine.
        if state[key].shape != value.shape or not torch.allclose(state[key], value, rtol=1e-6):
            raise broken(path, f"the constant {key}, {_said(value)}", _said(state[key]), action)
    ours = {our: state[official] for our, official in names.items()}
    for our, shape in shapes.items():
        if our not in ours:
            raise LilasError(f"{path}: our parameter {our} has no official name")
        if ours[our].shape != shape:
            found = str(tuple(ours[our].shape))
            raise broken(path, f"{names[our]} of shape {tuple(shape)}", found, action)
    return ours


def to_official(
    state: dict[str, Tensor], names: dict[str, str], constants: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Returns our state under the official names, with the official constants."""
    return {names[key]: value for key, value in state.items()} | constants


def _linear(ours: str, official: str, parts: dict[str, str]) -> dict[str, str]:
    """Returns the names of layers with a weight and a bias."""
    return dict(_pairs(ours, official, parts))


def _pairs(ours: str, official: str, parts: dict[str, str]) -> Iterator[tuple[str, str]]:
    for our, theirs in parts.items():
        for end in ("weight", "bias"):
            yield (
                ".".join(filter(None, (ours, our, end))),
                ".".join(filter(None, (official, theirs, end))),
            )


def _frequencies(features: int) -> Tensor:
    """Returns the official code's frequencies of a sine encoding of so many features."""
    return (1e3 ** -torch.linspace(0, 1, features // 2, dtype=torch.float64)).float()


def _said(value: Tensor) -> str:
    return f"{value.flatten()[:3].tolist()} of shape {tuple(value.shape)}"
