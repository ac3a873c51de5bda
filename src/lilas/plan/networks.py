"""How large networks are, and what they compute, from their settings: without torch.

A network is the list of its matrices and kernels, with the places where each is applied; biases,
norms and the first layer of a label are left out. Weights are right to a few percent.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from lilas.study.autoencoders import AutoencoderSettings, DCAESettings, ViTSettings
from lilas.study.emulators import OURS, EmulatorSettings
from lilas.study.networks import TokenSettings, TransformerSettings, UNetSettings
from lilas.study.training import Train

Shape = tuple[int, ...]
# What the backward pass keeps of a network, in sizes of its layers' outputs: measured on the
# paper's, 2.3 to 2.6; where blocks are computed again, mostly their inputs.
KEPT, KEPT_OF_BLOCKS = 2.5, 0.5


class Layer(NamedTuple):
    """A matrix or a kernel.

    Attributes:
        shape: As torch has it, outputs and inputs first.
        share: Points where it is applied, as a share of those of the network's grid.
        attention: Channels of an attention among these points; 0 is none.
    """

    shape: Shape
    share: float = 0.0
    attention: int = 0


def autoencoder(settings: AutoencoderSettings, channels: int, spatial: int) -> list[Layer] | None:
    """Returns an autoencoder's layers, over a state; None of an architecture not known here.

    Args:
        settings: The autoencoder.
        channels: Channels of a state.
        spatial: Number of space axes.
    """
    if isinstance(settings, DCAESettings):
        return _dcae(settings, channels, spatial)
    if isinstance(settings, ViTSettings):
        pixels, latent = channels * settings.patch_size**spatial, settings.latent_channels
        share = settings.patch_size**-spatial
        ends = ((pixels, latent), (latent, pixels))
        both = (_tokens(settings.transformer, *end, spatial, None, share) for end in ends)
        return [layer for one in both for layer in one]
    return None


def emulator(settings: EmulatorSettings, channels: int, spatial: int) -> list[Layer] | None:
    """Returns an emulator's layers, over a window of latents, as `autoencoder`."""
    if not isinstance(settings, OURS):
        return None
    network = settings.network
    width = network.embedding
    conditioning = [Layer((width, width))] * (3 if settings.modulated else 1)
    if isinstance(network, TransformerSettings):
        patch = math.prod(network.patch_size or [1])
        inputs, outputs = 2 * channels * patch, channels * patch
        return conditioning + _tokens(network, inputs, outputs, 1 + spatial, width, 1 / patch)
    return conditioning + _unet(network, channels, 1 + spatial)


def weights(layers: Sequence[Layer]) -> int:
    """Returns how many weights a network has."""
    return sum(math.prod(layer.shape) for layer in layers)


def flops(layers: Sequence[Layer], points: float) -> float:
    """Returns the operations of a forward pass over a grid of so many points."""
    products = sum(math.prod(layer.shape) * layer.share * points for layer in layers)
    attention = sum(layer.attention * (layer.share * points) ** 2 for layer in layers)
    return 2 * products + 4 * attention


def kept_bytes(layers: Sequence[Layer], points: float, checkpointing: bool) -> float:
    """Returns the bytes that a forward pass keeps for the backward pass, in float32."""
    outputs = sum(layer.shape[0] * layer.share * points for layer in layers)
    return 4 * outputs * (KEPT_OF_BLOCKS if checkpointing else KEPT)


def optimizer_bytes(layers: Sequence[Layer], train: Train) -> float:
    """Returns the bytes that an optimiser keeps: moments and, of soap and psgd, axes' matrices."""
    shapes = [layer.shape for layer in layers]
    count = weights(layers)
    axes = [axis for shape in shapes for axis in shape]
    full = sum(axis**2 for axis in axes if axis <= train.precondition_size)
    kept = {
        "adam": 2 * count,
        "adamw": 2 * count,
        "muon": sum(math.prod(shape) * (1 if len(shape) == 2 else 2) for shape in shapes),
        "soap": 2 * count + 2 * full,
        "psgd": count + full,
    }[train.optimizer]
    return 4 * kept


def training_bytes(layers: Sequence[Layer], train: Train) -> float:
    """Returns the bytes that a training takes at most: of three checkpoints, amid a save.

    At its end there are two, with weights and the best ones, which a checkpoint holds as well.
    """
    return 3 * checkpoint_bytes(layers, train)


def checkpoint_bytes(layers: Sequence[Layer], train: Train) -> float:
    """Returns the bytes of weights, the best ones, their average, and what the optimiser keeps."""
    return 4 * (2 + (train.ema > 0)) * weights(layers) + optimizer_bytes(layers, train)


def _conv(inputs: int, outputs: int, kernel: int, axes: int, share: float) -> Layer:
    return Layer((outputs, inputs, *[kernel] * axes), share)


def _residual(
    width: int, heads: int | None, kernel: int, axes: int, factor: int, share: float
) -> list[Layer]:
    kernel = 1 if heads else kernel
    attention = [Layer((3 * width, width), share, width), Layer((width, width), share)]
    ends = ((width, factor * width), (factor * width, width))
    return [_conv(*end, kernel, axes, share) for end in ends] + (attention if heads else [])


def _dcae(settings: DCAESettings, channels: int, axes: int) -> list[Layer]:
    kernel, widths, shuffle = settings.kernel_size, settings.channels, settings.pixel_shuffle
    more = 2**axes if shuffle else 1
    pixels = channels * settings.patch_size**axes
    shares = [settings.patch_size**-axes / 2 ** (axes * level) for level in range(len(widths))]
    found = []
    for level, (width, depth) in enumerate(zip(widths, settings.blocks, strict=True)):
        heads = settings.attention_heads.get(level)
        own = (width, heads, kernel, axes, settings.ffn_factor, shares[level])
        found += 2 * depth * _residual(*own)
    for (fine, coarse), (before, after) in zip(pairwise(widths), pairwise(shares), strict=True):
        found += [
            _conv(fine * more, coarse, kernel, axes, after),
            _conv(coarse, fine * more, kernel, axes, after if shuffle else before),
        ]
    ends = ((pixels, widths[0], shares[0]), (settings.latent_channels, widths[-1], shares[-1]))
    for one, other, share in ends:
        found += [_conv(*end, kernel, axes, share) for end in ((one, other), (other, one))]
    return found


def _tokens(
    settings: TokenSettings,
    inputs: int,
    outputs: int,
    axes: int,
    embedding: int | None,
    share: float,
) -> list[Layer]:
    width = settings.channels
    wide = settings.ffn_factor * width
    block = [Layer((3 * width, width), share, width)]
    block += [Layer(one, share) for one in ((width, width), (wide, width), (width, wide))]
    modulation = [(4, width)] if not embedding else [(embedding, embedding), (4 * width, embedding)]
    block += map(Layer, modulation + ([(axes, width // 2)] if settings.rope else []))
    ends = [Layer((width, inputs), share), Layer((width, axes * width))]
    return [*ends, Layer((outputs, width), share), *settings.blocks * block]


def _unet(settings: UNetSettings, channels: int, axes: int) -> list[Layer]:
    kernel, widths, vector = settings.kernel_size, settings.channels, settings.embedding
    stride = math.prod(settings.stride or [1, *[2] * (axes - 1)])
    shares = [1.0 / stride**level for level in range(len(widths))]
    found = []
    for level, (width, depth) in enumerate(zip(widths, settings.blocks, strict=True)):
        heads = settings.attention_heads.get(level)
        block = _residual(width, heads, kernel, axes, settings.ffn_factor, shares[level])
        found += 2 * depth * [*block, Layer((vector, vector)), Layer((3 * width, vector))]
    for (fine, coarse), (before, after) in zip(pairwise(widths), pairwise(shares), strict=True):
        found += [
            _conv(fine, coarse, kernel, axes, after),
            _conv(coarse + fine, fine, kernel, axes, before),
        ]
    found.append(_conv(2 * channels + axes, widths[0], kernel, axes, 1.0))
    return [*found, _conv(widths[0], channels, kernel, axes, 1.0)]
