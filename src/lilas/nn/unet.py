"""The convolutional network over windows, time an axis like space (official code 1.1.0, `unet`)."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lilas.errors import LilasError
from lilas.nn.layers import CONV, Conv, SelfAttention, make_norm


def grid_coordinates(sizes: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Returns each point's coordinates, from -1 to 1 along every axis: (1, axis, *grid)."""
    lines = [torch.linspace(-1, 1, n, dtype=dtype, device=device) for n in sizes]
    return torch.stack(torch.meshgrid(*lines, indexing="ij"))[None]


@lru_cache(maxsize=8)
def kept_coordinates(sizes: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Returns `grid_coordinates`, made once per grid."""
    # A tensor made in inference mode, by a rollout say, could not serve training afterwards.
    with torch.inference_mode(False):
        return grid_coordinates(sizes, dtype, device)


class Block(nn.Module):
    """Convolutions inside a residual, modulated; with attention they have kernel 1.

    (a, b, c) come from the modulation vector; y = (a + 1) norm(x) + b; y = y + attention(y), where
    there is one; y = conv2(dropout(silu(conv1(y)))); result (x + c y) / sqrt(1 + c^2).
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel: int,
        periodic: Sequence[bool],
        embedding: int,
        norm: str,
        heads: int | None,
        ffn_factor: int,
        dropout: float,
        checkpointing: bool,
    ) -> None:
        super().__init__()
        kernel = 1 if heads else kernel
        self.checkpointing = checkpointing
        self.modulation = nn.Sequential(
            nn.Linear(embedding, embedding), nn.SiLU(), nn.Linear(embedding, 3 * channels)
        )
        self.modulation[-1].weight.data.mul_(1e-2)
        self.norm = make_norm(norm, channels)
        self.attention = SelfAttention(channels, heads) if heads else None
        self.conv1 = Conv(channels, ffn_factor * channels, kernel, periodic)
        self.conv2 = Conv(ffn_factor * channels, channels, kernel, periodic)
        self.dropout = nn.Dropout(dropout)

    def _block(self, x: Tensor, vector: Tensor) -> Tensor:
        modulation = self.modulation(vector).view(len(x), -1, *[1] * (x.ndim - 2))
        a, b, c = modulation.chunk(3, dim=1)
        y = (a + 1) * self.norm(x) + b
        if self.attention is not None:
            y = y + self.attention(y)
        y = self.conv2(self.dropout(F.silu(self.conv1(y))))
        return (x + c * y) * torch.rsqrt(1 + c * c)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Args: x (batch, channel, *grid); vector (batch, embedding)."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(self._block, x, vector, use_reentrant=False)
        return self._block(x, vector)


class UNet(nn.Module):
    """Maps windows (batch, channel, *grid), grid = time and space, to windows.

    Down the levels: a strided convolution, then residual blocks. Up again: nearest upsampling,
    cropped to the finer level's size, a convolution of it beside what that level had on the way
    down, then as many blocks.

    Args:
        inputs: Channels of a state.
        outputs: Output channels.
        channels: Channels at each level.
        blocks: Residual blocks at each level, on the way down and again on the way up.
        axes: Axes of the grid, time included.
        embedding: Width of the modulation vector.
        stride: By axis: ratio of a level's size to the next one's.
        periodic: Periodic padding, else zeros: by axis, or along all of them. The official code
            knows the second only, time included.
        kernel_size: Convolution kernel.
        norm: `layer` or `group`.
        attention_heads: Heads by level; levels not named have none.
        ffn_factor: Widening inside a block.
        identity_init: Start the convolutions between levels near the identity.
        dropout: Inside a block.
        checkpointing: Recompute blocks in the backward pass.

    Raises:
        LilasError: more than three axes; a stride or a periodicity for another number of axes;
            blocks for another number of levels; attention at a level that is not there, or with
            heads that do not divide its channels; an even kernel; no such normalisation.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        channels: Sequence[int],
        blocks: Sequence[int],
        axes: int,
        embedding: int,
        stride: Sequence[int],
        periodic: bool | Sequence[bool] = False,
        kernel_size: int = 3,
        norm: str = "layer",
        attention_heads: Mapping[int, int] | None = None,
        ffn_factor: int = 1,
        identity_init: bool = True,
        dropout: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        heads = dict(attention_heads or {})
        periodic = (periodic,) * axes if isinstance(periodic, bool) else tuple(periodic)
        _check(axes, stride, periodic, channels, blocks, heads)

        def stage(level: int) -> nn.ModuleList:
            return nn.ModuleList(
                Block(
                    channels[level],
                    kernel=kernel_size,
                    periodic=periodic,
                    embedding=embedding,
                    norm=norm,
                    heads=heads.get(level),
                    ffn_factor=ffn_factor,
                    dropout=dropout,
                    checkpointing=checkpointing,
                )
                for _ in range(blocks[level])
            )

        levels = range(len(channels))
        steps = list(pairwise(channels))
        self.stride = tuple(stride)
        self.first = Conv(2 * inputs + axes, channels[0], kernel_size, periodic)
        self.down = nn.ModuleList(
            Conv(fine, coarse, kernel_size, periodic, self.stride) for fine, coarse in steps
        )
        self.descent = nn.ModuleList(stage(level) for level in levels)
        self.ascent = nn.ModuleList(stage(level) for level in levels)
        self.merge = nn.ModuleList(
            Conv(coarse + fine, fine, kernel_size, periodic) for fine, coarse in steps
        )
        self.last = Conv(channels[0], outputs, kernel_size, periodic)
        if identity_init:
            for conv in (*self.down, *self.merge):
                conv.start_near_identity()

    def forward(self, x: Tensor, vector: Tensor, mask: Tensor) -> Tensor:
        """Returns windows (batch, output channel, *grid).

        Args:
            x: (batch, channel, *grid).
            vector: The conditioning, (batch, embedding).
            mask: 1 where a state is known, shaped to expand to `x`.
        """
        # A compiled graph makes its own: it may neither trace the cache nor leave a tensor in it.
        coordinates = grid_coordinates if torch.compiler.is_compiling() else kept_coordinates
        where = coordinates(tuple(x.shape[2:]), x.dtype, x.device)
        mask = mask.to(x.dtype).expand_as(x)
        x = self.first(torch.cat([x, where.expand(len(x), *where.shape[1:]), mask], dim=1))
        skips: list[Tensor] = []
        for level, stage in enumerate(self.descent):
            if level:
                x = self.down[level - 1](x)
            for block in stage:
                x = block(x, vector)
            skips.append(x)
        for level in reversed(range(len(skips))):
            if level + 1 < len(skips):
                x = torch.cat([self._upsample(x, skips[level]), skips[level]], dim=1)
                x = self.merge[level](x)
            for block in self.ascent[level]:
                x = block(x, vector)
        return self.last(x)

    def _upsample(self, x: Tensor, like: Tensor) -> Tensor:
        """Returns x with each point repeated, without what passes the sizes of `like`."""
        for axis, (times, size) in enumerate(zip(self.stride, like.shape[2:], strict=True), 2):
            x = x.repeat_interleave(times, dim=axis).narrow(axis, 0, size)
        return x


def _check(
    axes: int,
    stride: Sequence[int],
    periodic: Sequence[bool],
    channels: Sequence[int],
    blocks: Sequence[int],
    heads: Mapping[int, int],
) -> None:
    if axes not in CONV:
        raise LilasError(f"a UNet over {axes} axes, time included; allowed: 1 to 3")
    for name, value in (("stride", stride), ("periodic", periodic)):
        if len(value) != axes:
            raise LilasError(f"{name} {list(value)}: one value per axis; allowed: {axes} values")
    if len(blocks) != len(channels):
        raise LilasError(f"blocks {list(blocks)} at {len(channels)} levels; allowed: one per level")
    for level, count in heads.items():
        if level not in range(len(channels)):
            raise LilasError(f"attention_heads: level {level}; allowed: 0 to {len(channels) - 1}")
        if channels[level] % count:
            raise LilasError(
                f"attention_heads: {count} heads of {channels[level]} channels at level {level}; "
                "allowed: a divisor of the channels"
            )
