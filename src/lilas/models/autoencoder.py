"""Autoencoders: states to latents and back."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lilas.draws import Draws
from lilas.errors import LilasError
from lilas.models.losses import LOSSES, similarity
from lilas.nn.dcae import Decoder, Encoder
from lilas.nn.vit import make_decoder, make_encoder

BOUND = 5.0

# Bounds on the latent, B = 5 (paper section 4.1; official code 1.1.0).
SATURATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softclip": lambda z: z / (1 + z.abs() / BOUND),
    "softclip2": lambda z: z * torch.rsqrt(1 + (z / BOUND).square()),
    "tanh": lambda z: BOUND * torch.tanh(z / BOUND),
    "arcsinh": torch.arcsinh,
    "rmsnorm": lambda z: z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-5),
    "none": lambda z: z,
}


class Autoencoder(nn.Module):
    """An encoder whose output is bounded, and a decoder.

    Args:
        encoder: States (batch, channel, *space) to latents (batch, channel, *space/factor).
        decoder: Latents to states.
        pixel_channels: Channels of a state.
        latent_channels: Channels of a latent.
        factor: Pixels per latent point along each axis.
        spatial: Number of space axes.
        saturation: A key of SATURATIONS.
        latent_noise: Standard deviation of the noise added before decoding while training.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        pixel_channels: int,
        latent_channels: int,
        factor: int,
        spatial: int,
        saturation: str = "softclip2",
        latent_noise: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.pixel_channels, self.latent_channels = pixel_channels, latent_channels
        self.factor, self.spatial = factor, spatial
        self.saturate, self.latent_noise = SATURATIONS[saturation], latent_noise

    @property
    def compression(self) -> float:
        """Pixel numbers per latent number."""
        return self.pixel_channels * self.factor**self.spatial / self.latent_channels

    def latent_shape(self, pixels: Sequence[int]) -> tuple[int, ...]:
        """Returns the latent's (channel, *space) for a state's (channel, *space).

        Raises:
            LilasError: the factor does not divide an axis.
        """
        if any(points % self.factor for points in pixels[1:]):
            raise LilasError(
                f"The factor {self.factor} of the autoencoder does not divide a grid of "
                f"{tuple(pixels[1:])} points. Choose fewer levels."
            )
        return (self.latent_channels, *(points // self.factor for points in pixels[1:]))

    def encode(self, x: Tensor) -> Tensor:
        """Returns the latents (batch, channel, *space/factor) of states."""
        self.latent_shape(x.shape[1:])
        return self.saturate(self.encoder(x))

    def decode(self, z: Tensor, draws: Draws | None = None) -> Tensor:
        """Returns the states (batch, channel, *space) of latents, noisy ones in training.

        Args:
            z: Latents.
            draws: Random numbers of the samples; without them there is no noise.
        """
        if draws is not None and self.training and self.latent_noise > 0:
            z = z + self.latent_noise * draws.normal(z)
        return self.decoder(z)

    def loss(self, x: Tensor, measure: str, similarity_weight: float, draws: Draws) -> Tensor:
        """Returns the loss of states (batch, channel, *space), rebuilt.

        Args:
            x: The states.
            measure: A key of LOSSES, of the states decoded from the latents of `x`.
            similarity_weight: Weight of the latents' mean similarity, added to it.
            draws: Random numbers of the states.
        """
        z = self.encode(x)
        value = LOSSES[measure](self.decode(z, draws), x)
        return value + similarity_weight * similarity(z) if similarity_weight else value


def make_dcae(
    pixel_channels: int,
    latent_channels: int,
    *,
    channels: Sequence[int],
    periodic: Sequence[bool],
    patch_size: int = 1,
    saturation: str = "softclip2",
    latent_noise: float = 0.0,
    **options: Any,
) -> Autoencoder:
    """Returns the paper's convolutional autoencoder; options as `lilas.nn.dcae.Encoder`.

    Raises:
        LilasError: attention is asked for at a level that is not there.
    """
    for level in options.get("attention_heads") or {}:
        if not 0 <= level < len(channels):
            raise LilasError(f"attention_heads: level {level}; allowed: 0 to {len(channels) - 1}")
    options |= {"channels": channels, "periodic": periodic, "patch_size": patch_size}
    return Autoencoder(
        Encoder(pixel_channels, latent_channels, **options),
        Decoder(pixel_channels, latent_channels, **options),
        pixel_channels=pixel_channels,
        latent_channels=latent_channels,
        factor=patch_size * 2 ** (len(channels) - 1),
        spatial=len(periodic),
        saturation=saturation,
        latent_noise=latent_noise,
    )


def make_vit(
    pixel_channels: int,
    latent_channels: int,
    *,
    spatial: int,
    patch_size: int,
    saturation: str = "softclip2",
    latent_noise: float = 0.0,
    **options: Any,
) -> Autoencoder:
    """Returns an autoencoder of two transformers; options as `lilas.nn.vit.Transformer`."""
    options |= {"axes": spatial, "patch_size": patch_size}
    return Autoencoder(
        make_encoder(pixel_channels, latent_channels, **options),
        make_decoder(pixel_channels, latent_channels, **options),
        pixel_channels=pixel_channels,
        latent_channels=latent_channels,
        factor=patch_size,
        spatial=spatial,
        saturation=saturation,
        latent_noise=latent_noise,
    )


def make_identity(pixel_channels: int, spatial: int) -> Autoencoder:
    """Returns pixel space as an autoencoder: every latent is its state."""
    return Autoencoder(
        nn.Identity(),
        nn.Identity(),
        pixel_channels=pixel_channels,
        latent_channels=pixel_channels,
        factor=1,
        spatial=spatial,
        saturation="none",
    )
