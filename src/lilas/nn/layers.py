"""Layers that networks share, for one to three space axes; channel-first throughout."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lilas.errors import LilasError

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class ChannelNorm(nn.Module):
    """Normalises each point over its channels, without affine parameters.

    y = (x - mean) / sqrt(var + 1e-5) along axis 1 of (batch, channel, *space), with the unbiased
    variance (divisor C - 1) of the official code 1.1.0.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Layer normalisation divides by sqrt(biased variance + epsilon): the same, scaled.
        share = (channels - 1) / channels
        self.epsilon = 1e-5 * share
        self.register_buffer("scale", torch.full((channels,), share**0.5), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(x.movedim(1, -1), self.scale.shape, self.scale, eps=self.epsilon)
        return y.movedim(-1, 1)


def make_norm(kind: str, channels: int) -> nn.Module:
    """Returns `layer` (ChannelNorm) or `group` (at most 16 groups) normalisation, no affine.

    Raises:
        LilasError: there is no such normalisation, or not for so many channels.
    """
    if kind == "layer" and channels > 1:
        return ChannelNorm(channels)
    if kind == "group" and channels % min(16, channels) == 0:
        return nn.GroupNorm(min(16, channels), channels, affine=False)
    raise LilasError(
        f"norm {kind!r} of {channels} channels; allowed: layer of at least 2, group of less than "
        "16 or a multiple of 16"
    )


class Conv(nn.Module):
    """Convolution of odd kernel that divides each size by its stride, rounded up.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        kernel: Kernel size along every axis.
        periodic: By axis: periodic padding, else zeros.
        stride: Stride along every axis, or by axis.

    Raises:
        LilasError: the kernel is even.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        periodic: Sequence[bool],
        stride: int | Sequence[int] = 1,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise LilasError(f"kernel_size {kernel}: an even kernel has no centre; use an odd one")
        half = kernel // 2
        self.wrap = [half * axis for axis in periodic]
        padding = tuple(0 if axis else half for axis in periodic)
        layer = CONV[len(periodic)](inputs, outputs, kernel, stride, padding)
        self.weight, self.bias = layer.weight, layer.bias
        self._conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(periodic)]
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        for axis, half in enumerate(self.wrap, start=2):
            if half:
                # Unlike circular F.pad, this keeps the channels where they are in memory.
                last = x.narrow(axis, x.shape[axis] - half, half)
                x = torch.cat((last, x, x.narrow(axis, 0, half)), dim=axis)
        # Channels of a point side by side in memory make convolutions faster, and reordering the
        # weight for them slower: the larger of the two decides.
        if x.numel() > self.weight.numel():
            x = x.movedim(1, -1).contiguous().movedim(-1, 1)
        else:
            x = x.contiguous()
        return self._conv(x, self.weight, self.bias, self.stride, self.padding)

    @torch.no_grad()
    def start_near_identity(self) -> None:
        """Sets weight to 1e-2 of its start, plus 1 at the centre tap of (i, i mod inputs)."""
        outputs, inputs, *kernel = self.weight.shape
        self.weight.mul_(1e-2)
        centre = tuple(size // 2 for size in kernel)
        for i in range(outputs):
            self.weight[(i, i % inputs, *centre)] += 1


class SelfAttention(nn.Module):
    """Softmax attention of every point to every point, with biases on both projections."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        q, k, v = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        y = self.out(y.transpose(1, 2).flatten(2))
        return y.transpose(1, 2).unflatten(2, x.shape[2:])


def space_to_depth(x: Tensor, size: Sequence[int]) -> Tensor:
    """Moves blocks of points into channels, side by side in memory.

    (batch, C, *space) -> (batch, C * prod(size), *(space / size)), channel slowest.
    """
    n = len(size)
    shape = [part for points, s in zip(x.shape[2:], size, strict=True) for part in (points // s, s)]
    x = x.reshape(*x.shape[:2], *shape)
    points, blocks = range(2, 2 + 2 * n, 2), range(3, 3 + 2 * n, 2)
    return x.permute(0, *points, 1, *blocks).flatten(1 + n).movedim(-1, 1)


def depth_to_space(x: Tensor, size: Sequence[int]) -> Tensor:
    """Undoes `space_to_depth`: (batch, C * prod(size), *space) -> (batch, C, *(space * size))."""
    n = len(size)
    x = x.unflatten(1, (x.shape[1] // math.prod(size), *size))
    order = [axis for i in range(n) for axis in (2 + n + i, 2 + i)]
    points = [p * s for p, s in zip(x.shape[2 + n :], size, strict=True)]
    return x.permute(0, *order, 1).reshape(len(x), *points, x.shape[1]).movedim(-1, 1)


def sine_encoding(x: Tensor, features: int) -> Tensor:
    """Encodes numbers as sin(f x), then cos(f x): (…) -> (…, features).

    The frequencies f are w^(-linspace(0, 1, features/2)), w = 1e3.
    """
    exponents = torch.linspace(0, 1, features // 2, dtype=x.dtype, device=x.device)
    angles = x[..., None] * 1e3**-exponents
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
