"""From configuration to models: the one place that knows both."""

from collections.abc import Sequence
from pathlib import Path

import torch

from lilas import config
from lilas.autoencoder import Autoencoder, make_dcae, make_identity
from lilas.data.well import WellFile
from lilas.errors import LilasError
from lilas.objectives import OBJECTIVES, Backbone
from lilas.weights import load_weights, read_record


def build_autoencoder(entry: config.Autoencoder, data: WellFile) -> Autoencoder:
    """Returns the autoencoder of an entry for the states of a dataset.

    Raises:
        LilasError: the grid does not divide, or the latents would be wider than the pixels.
    """
    channels, space = len(data.channels), len(data.shape)
    if entry.architecture == "identity":
        return make_identity(channels, space)
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
    result = make_dcae(
        channels,
        entry.latent_channels,
        channels=entry.channels,
        blocks=entry.blocks,
        periodic=[axis in entry.periodic for axis in data.dimensions],
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
    if result.compression < 1:
        raise LilasError(
            f"autoencoder.latent_channels {entry.latent_channels}: wider than the pixels of "
            f"{data.path}; allowed: at most {channels * entry.factor**space}"
        )
    return result


def load_autoencoder(weights: Path, data: WellFile, device: torch.device) -> Autoencoder:
    """Returns a trained autoencoder as its weights describe it, ready to encode and decode."""
    entry = config.Autoencoder(**read_record(weights)["config"]["autoencoder"])
    model = build_autoencoder(entry, data)
    load_weights(weights, model)
    return model.to(device).eval()


def build_objective(entry: config.Emulator, shape: Sequence[int], features: int) -> torch.nn.Module:
    """Returns the emulator of an entry for latents (channel, *space) and labels of `features`.

    Raises:
        LilasError: the patch does not fit the latent.
    """
    network = entry.network
    space = len(shape) - 1
    patch = network.patch_size or [1] * space
    if len(patch) != space or any(n % p for n, p in zip(shape[1:], patch, strict=False)):
        raise LilasError(
            f"emulator.network.patch_size {patch} does not divide the latent grid {shape[1:]}"
        )
    backbone = Backbone(
        shape[0],
        features,
        space,
        noisy=entry.objective == "diffusion",
        channels=network.channels,
        blocks=network.blocks,
        heads=network.heads,
        embedding=network.embedding,
        ffn_factor=network.ffn_factor,
        patch_size=(1, *patch),
        qk_norm=network.qk_norm,
        rope=network.rope,
        dropout=network.dropout,
        checkpointing=network.checkpointing,
    )
    return OBJECTIVES[entry.objective](backbone, entry.diffusion.model_dump(), entry.loss)


def load_objective(
    weights: Path, shape: Sequence[int], features: int, device: torch.device
) -> tuple[torch.nn.Module, config.Emulator]:
    """Returns a trained emulator as its weights describe it, ready to roll out, and its entry."""
    entry = config.Emulator(**read_record(weights)["config"]["emulator"])
    model = build_objective(entry, shape, features)
    load_weights(weights, model)
    return model.to(device).eval(), entry
