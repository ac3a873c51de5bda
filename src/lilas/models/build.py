"""From configuration to models: the one place that knows both."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lilas.data.well import WellFile
from lilas.errors import LilasError
from lilas.models.autoencoder import Autoencoder, make_dcae, make_identity, make_vit
from lilas.models.objectives import OBJECTIVES, Backbone
from lilas.nn.unet import UNet
from lilas.nn.vit import Transformer
from lilas.records.weights import load_weights, read_record
from lilas.study import models as entries


def build_autoencoder(entry: entries.Autoencoder, data: WellFile) -> Autoencoder:
    """Returns the autoencoder of an entry for the states of a dataset.

    Raises:
        LilasError: the grid does not divide, or the latents would be wider than the pixels.
    """
    for axis, points in zip(data.dimensions, data.shape, strict=True):
        if points % entry.factor:
            raise LilasError(
                f"autoencoder: axis {axis} of {data.path} has {points} points, which the factor "
                f"{entry.factor} does not divide. Choose fewer levels."
            )
    for axis in entry.periodic:
        if axis not in data.dimensions:
            raise LilasError(
                f"autoencoder.periodic: unknown axis {axis!r}; "
                f"allowed: {', '.join(data.dimensions)}"
            )
    result = make_autoencoder(entry, len(data.channels), data.dimensions)
    if result.compression < 1:
        raise LilasError(
            f"autoencoder.latent_channels {entry.latent_channels}: wider than the pixels of "
            f"{data.path}; allowed: at most {len(data.channels) * entry.factor ** len(data.shape)}"
        )
    return result


def make_autoencoder(
    entry: entries.Autoencoder, pixel_channels: int, dimensions: Sequence[str]
) -> Autoencoder:
    """Returns the autoencoder of an entry for states of so many channels on the axes named."""
    if entry.architecture == "identity":
        return make_identity(pixel_channels, len(dimensions))
    if entry.architecture == "vit":
        return make_vit(
            pixel_channels,
            entry.latent_channels,
            dimensions=len(dimensions),
            patch_size=entry.patch_size,
            saturation=entry.saturation,
            latent_noise=entry.latent_noise,
            **_transformer_options(entry.transformer),
        )
    return make_dcae(
        pixel_channels,
        entry.latent_channels,
        channels=entry.channels,
        blocks=entry.blocks,
        periodic=[axis in entry.periodic for axis in dimensions],
        kernel_size=entry.kernel_size,
        patch_size=entry.patch_size,
        pixel_shuffle=entry.pixel_shuffle,
        identity_init=entry.identity_init,
        norm=entry.norm,
        attention_heads=entry.attention_heads,
        ffn_factor=entry.ffn_factor,
        dropout=entry.dropout,
        saturation=entry.saturation,
        latent_noise=entry.latent_noise,
        checkpointing=entry.checkpointing,
    )


def load_autoencoder(weights: Path, data: WellFile, device: torch.device) -> Autoencoder:
    """Returns a trained autoencoder as its weights describe it, ready to encode and decode."""
    entry = entries.Autoencoder(**read_record(weights)["config"]["autoencoder"])
    model = build_autoencoder(entry, data)
    load_weights(weights, model)
    return model.to(device).eval()


def build_objective(
    entry: entries.Emulator, shape: Sequence[int], features: int
) -> torch.nn.Module:
    """Returns the emulator of an entry for latents (channel, *space) and labels of `features`.

    Raises:
        LilasError: the patch does not fit the latent.
    """
    space = len(shape) - 1
    if isinstance(entry.network, entries.Transformer):
        patch = entry.network.patch_size or [1] * space
        if len(patch) != space or any(n % p for n, p in zip(shape[1:], patch, strict=False)):
            raise LilasError(
                f"emulator.network.patch_size {patch} does not divide the latent grid {shape[1:]}"
            )
    return make_objective(entry, shape[0], features, space)


def make_objective(
    entry: entries.Emulator, channels: int, features: int, space: int
) -> torch.nn.Module:
    """Returns the emulator of an entry for latents of so many channels and space axes."""
    network, noisy = entry.network, entry.objective == "diffusion"
    make = make_unet if network.architecture == "unet" else make_transformer
    backbone = Backbone(make(network, channels, space), features, network.embedding, noisy)
    return OBJECTIVES[entry.objective](backbone, entry.diffusion.model_dump(), entry.loss)


def make_transformer(entry: entries.Transformer, channels: int, space: int) -> Transformer:
    """Returns a transformer over windows of states of so many channels and space axes."""
    return Transformer(
        2 * channels,
        channels,
        axes=1 + space,
        embedding=entry.embedding,
        patch_size=(1, *(entry.patch_size or [1] * space)),
        **_transformer_options(entry),
    )


def make_unet(entry: entries.UNet, channels: int, space: int) -> UNet:
    """Returns a UNet over windows of states of so many channels and space axes."""
    return UNet(
        channels,
        channels,
        axes=1 + space,
        channels=entry.channels,
        blocks=entry.blocks,
        embedding=entry.embedding,
        stride=entry.stride or [1] + [2] * space,
        periodic=entry.periodic,
        kernel_size=entry.kernel_size,
        norm=entry.norm,
        attention_heads=entry.attention_heads,
        ffn_factor=entry.ffn_factor,
        identity_init=entry.identity_init,
        dropout=entry.dropout,
        checkpointing=entry.checkpointing,
    )


def _transformer_options(entry: entries.Transformer) -> dict[str, Any]:
    return {
        "channels": entry.channels,
        "blocks": entry.blocks,
        "heads": entry.heads,
        "ffn_factor": entry.ffn_factor,
        "window_size": entry.attention_window,
        "qk_norm": entry.qk_norm,
        "rope": entry.rope,
        "dropout": entry.dropout,
        "checkpointing": entry.checkpointing,
    }


def load_objective(
    weights: Path, shape: Sequence[int], features: int, device: torch.device
) -> tuple[torch.nn.Module, entries.Emulator]:
    """Returns a trained emulator as its weights describe it, ready to roll out, and its entry."""
    entry = entries.Emulator(**read_record(weights)["config"]["emulator"])
    model = build_objective(entry, shape, features)
    load_weights(weights, model)
    return model.to(device).eval(), entry
