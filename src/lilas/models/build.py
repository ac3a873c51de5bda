"""From settings to models: the one place that knows both."""

from collections.abc import Sequence
from pathlib import Path

import torch

from lilas.data.well import WellFile
from lilas.errors import LilasError
from lilas.models.autoencoder import Autoencoder, make_dcae, make_identity, make_vit
from lilas.models.ensemble import Ensemble
from lilas.models.methods import Backbone, Diffusion, Flow, Solver
from lilas.nn.unet import UNet
from lilas.nn.vit import Transformer
from lilas.plugins import load
from lilas.records.weights import load_weights, read_record
from lilas.study import autoencoders, emulators, entries, networks

# --- Autoencoders -----------------------------------------------------------------------------


def make_autoencoder_for(settings: autoencoders.AutoencoderSettings, data: WellFile) -> Autoencoder:
    """Returns the autoencoder of some settings for the states of a dataset.

    Raises:
        LilasError: the grid does not divide, or the latents would be wider than the pixels.
    """
    for axis, points in zip(data.axes, data.shape, strict=True):
        if points % settings.factor:
            raise LilasError(
                f"autoencoder: axis {axis} of {data.path} has {points} points, which the factor "
                f"{settings.factor} does not divide. Choose fewer levels."
            )
    for axis in settings.named_axes:
        if axis not in data.axes:
            raise LilasError(
                f"autoencoder.periodic: unknown axis {axis!r}; allowed: {', '.join(data.axes)}"
            )
    result = make_autoencoder(settings, len(data.channels), data.axes)
    if result.compression < 1:
        most = len(data.channels) * settings.factor ** len(data.shape)
        raise LilasError(
            f"autoencoder.latent_channels {result.latent_channels}: wider than the pixels of "
            f"{data.path}; allowed: at most {most}"
        )
    return result


def make_autoencoder(
    settings: autoencoders.AutoencoderSettings, pixel_channels: int, axes: Sequence[str]
) -> Autoencoder:
    """Returns the autoencoder of some settings for states of so many channels on the axes named."""
    return load(settings.implementation)(settings, pixel_channels, axes)


def from_dcae(
    settings: autoencoders.DCAESettings, pixel_channels: int, axes: Sequence[str]
) -> Autoencoder:
    """Returns the convolutional autoencoder of some settings."""
    periodic = [axis in settings.periodic for axis in axes]
    return make_dcae(pixel_channels, **settings.options() | {"periodic": periodic})


def from_vit(
    settings: autoencoders.ViTSettings, pixel_channels: int, axes: Sequence[str]
) -> Autoencoder:
    """Returns the autoencoder of two transformers of some settings."""
    options = settings.options()
    tokens = options.pop("transformer").model_dump()
    return make_vit(pixel_channels, spatial=len(axes), **options, **tokens)


def from_identity(
    settings: autoencoders.IdentitySettings, pixel_channels: int, axes: Sequence[str]
) -> Autoencoder:
    """Returns pixel space as an autoencoder."""
    return make_identity(pixel_channels, len(axes))


def load_autoencoder(weights: Path, data: WellFile, device: torch.device) -> Autoencoder:
    """Returns a trained autoencoder as its weights describe it, ready to encode and decode."""
    settings = entries.autoencoder_settings(read_record(weights)["config"]["autoencoder"])
    model = make_autoencoder_for(settings, data)
    load_weights(weights, model)
    return model.to(device).eval()


# --- Emulators --------------------------------------------------------------------------------


def make_emulator_for(
    settings: emulators.EmulatorSettings, shape: Sequence[int], features: int
) -> torch.nn.Module:
    """Returns the emulator of some settings for latents (channel, *space) and labels of `features`.

    Raises:
        LilasError: the patch does not fit the latent.
    """
    spatial = len(shape) - 1
    if isinstance(settings.network, networks.TransformerSettings):
        patch = settings.network.patch_size or [1] * spatial
        if len(patch) != spatial or any(n % p for n, p in zip(shape[1:], patch, strict=False)):
            raise LilasError(
                f"emulator.network.patch_size {patch} does not divide the latent grid {shape[1:]}"
            )
    return make_emulator(settings, shape[0], features, spatial)


def make_emulator(
    settings: emulators.EmulatorSettings, channels: int, features: int, spatial: int
) -> torch.nn.Module:
    """Returns the emulator of some settings for latents of so many channels and space axes."""
    network = settings.network
    make = make_unet if network.architecture == "unet" else make_transformer
    # The noise's level of the known states is a feature beside the label's.
    features += settings.context_noise > 0
    inner = make(network, channels, spatial)
    backbone = Backbone(inner, features, network.embedding, settings.modulated)
    return load(settings.implementation)(settings, backbone)


def from_diffusion(settings: emulators.DiffusionSettings, backbone: Backbone) -> Diffusion:
    """Returns the diffusion model of some settings."""
    return Diffusion(backbone, **settings.diffusion.model_dump())


def from_flow(settings: emulators.FlowSettings, backbone: Backbone) -> Flow:
    """Returns the flow of some settings."""
    return Flow(backbone, **settings.diffusion.model_dump())


def from_ensemble(settings: emulators.EnsembleSettings, backbone: Backbone) -> Ensemble:
    """Returns the ensemble of some settings."""
    return Ensemble(backbone, loss=settings.loss, members=settings.members, fair=settings.fair)


def from_solver(settings: emulators.SolverSettings, backbone: Backbone) -> Solver:
    """Returns the neural solver of some settings."""
    return Solver(backbone, loss=settings.loss)


def make_transformer(
    settings: networks.TransformerSettings, channels: int, spatial: int
) -> Transformer:
    """Returns a transformer over windows of states of so many channels and space axes."""
    options = settings.model_dump(exclude={"architecture"})
    patch = (1, *(options.pop("patch_size") or [1] * spatial))
    return Transformer(2 * channels, channels, axes=1 + spatial, patch_size=patch, **options)


def make_unet(settings: networks.UNetSettings, channels: int, spatial: int) -> UNet:
    """Returns a UNet over windows of states of so many channels and space axes."""
    options = settings.model_dump(exclude={"architecture"})
    options["stride"] = options["stride"] or [1] + [2] * spatial
    return UNet(channels, channels, axes=1 + spatial, **options)


def load_emulator(
    weights: Path, shape: Sequence[int], features: int, device: torch.device
) -> tuple[torch.nn.Module, emulators.EmulatorSettings]:
    """Returns a trained emulator as its weights describe it, ready to roll out, and what it is."""
    settings = entries.emulator_settings(read_record(weights)["config"]["emulator"])
    model = make_emulator_for(settings, shape, features)
    load_weights(weights, model)
    return model.to(device).eval(), settings
