"""How large networks are, from their settings: without torch, and to a few percent.

A network is the list of its matrices' and kernels' shapes, as torch has them; biases, norms and
the first layer of a label are left out.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from lilas.study.autoencoders import AutoencoderSettings, DCAESettings, ViTSettings
from lilas.study.emulators import DiffusionSettings, EmulatorSettings, SolverSettings
from lilas.study.networks import TokenSettings, TransformerSettings, UNetSettings
from lilas.study.training import Train

Shape = tuple[int, ...]


def autoencoder(settings: AutoencoderSettings, channels: int, spatial: int) -> list[Shape] | None:
    """Returns the shapes of an autoencoder's weights; None of an architecture not known here.

    Args:
        settings: The autoencoder.
        channels: Channels of a state.
        spatial: Number of space axes.
    """
    if isinstance(settings, DCAESettings):
        return _dcae(settings, channels, spatial)
    if isinstance(settings, ViTSettings):
        pixels = channels * settings.patch_size**spatial
        latent = settings.latent_channels
        ends = ((pixels, latent), (latent, pixels))
        return [s for end in ends for s in _tokens(settings.transformer, *end, spatial, None)]
    return None


def emulator(settings: EmulatorSettings, channels: int, spatial: int) -> list[Shape] | None:
    """Returns the shapes of an emulator's weights on latents, as `autoencoder`."""
    if not isinstance(settings, DiffusionSettings | SolverSettings):
        return None
    network = settings.network
    width = network.embedding
    conditioning = [(width, width)] * (3 if settings.predicts == "denoiser" else 1)
    if isinstance(network, TransformerSettings):
        patch = math.prod(network.patch_size or [1])
        inputs, outputs = 2 * channels * patch, channels * patch
        return conditioning + _tokens(network, inputs, outputs, 1 + spatial, width)
    return conditioning + _unet(network, channels, 1 + spatial)


def training_bytes(shapes: Sequence[Shape], train: Train) -> float:
    """Returns the bytes that a training leaves: weights, the best ones and a checkpoint.

    A checkpoint holds the weights, the best ones, their average, and what the optimiser keeps of
    each: its moments and, of soap and psgd, a matrix for each axis.
    """
    weights = sum(map(math.prod, shapes))
    axes = [axis for shape in shapes for axis in shape]
    full = sum(axis**2 for axis in axes if axis <= train.precondition_size)
    kept = {
        "adam": 2 * weights,
        "adamw": 2 * weights,
        "muon": sum(math.prod(shape) * (1 if len(shape) == 2 else 2) for shape in shapes),
        "soap": 2 * weights + 2 * full,
        "psgd": weights + full,
    }[train.optimizer]
    return 4 * ((4 + (train.ema > 0)) * weights + kept)


def _conv(inputs: int, outputs: int, kernel: int, axes: int) -> Shape:
    return (outputs, inputs, *[kernel] * axes)


def _residual(width: int, heads: int | None, kernel: int, axes: int, factor: int) -> list[Shape]:
    kernel = 1 if heads else kernel
    attention = [(3 * width, width), (width, width)] if heads else []
    wide = factor * width
    return [_conv(width, wide, kernel, axes), _conv(wide, width, kernel, axes), *attention]


def _dcae(settings: DCAESettings, channels: int, axes: int) -> list[Shape]:
    kernel, widths = settings.kernel_size, settings.channels
    more = 2**axes if settings.pixel_shuffle else 1
    pixels = channels * settings.patch_size**axes
    found = []
    for level, (width, depth) in enumerate(zip(widths, settings.blocks, strict=True)):
        heads = settings.attention_heads.get(level)
        found += 2 * depth * _residual(width, heads, kernel, axes, settings.ffn_factor)
    for fine, coarse in pairwise(widths):
        found += [
            _conv(fine * more, coarse, kernel, axes),
            _conv(coarse, fine * more, kernel, axes),
        ]
    for outer, inner in ((pixels, widths[0]), (settings.latent_channels, widths[-1])):
        found += [_conv(outer, inner, kernel, axes), _conv(inner, outer, kernel, axes)]
    return found


def _tokens(
    settings: TokenSettings, inputs: int, outputs: int, axes: int, embedding: int | None
) -> list[Shape]:
    width = settings.channels
    wide = settings.ffn_factor * width
    block = [(3 * width, width), (width, width), (wide, width), (width, wide)]
    block += [(4, width)] if embedding is None else [(embedding, embedding), (4 * width, embedding)]
    block += [(axes, width // 2)] if settings.rope else []
    ends = [(width, inputs), (width, axes * width), (outputs, width)]
    return ends + settings.blocks * block


def _unet(settings: UNetSettings, channels: int, axes: int) -> list[Shape]:
    kernel, widths, vector = settings.kernel_size, settings.channels, settings.embedding
    found = []
    for level, (width, depth) in enumerate(zip(widths, settings.blocks, strict=True)):
        heads = settings.attention_heads.get(level)
        block = _residual(width, heads, kernel, axes, settings.ffn_factor)
        found += 2 * depth * [*block, (vector, vector), (3 * width, vector)]
    for fine, coarse in pairwise(widths):
        found += [_conv(fine, coarse, kernel, axes), _conv(coarse + fine, fine, kernel, axes)]
    found.append(_conv(2 * channels + axes, widths[0], kernel, axes))
    return [*found, _conv(widths[0], channels, kernel, axes)]
