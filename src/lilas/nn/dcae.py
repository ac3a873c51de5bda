"""The paper's convolutional autoencoder networks (section 4.1; official code 1.1.0, `dcae`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lilas.nn.layers import Conv, SelfAttention, depth_to_space, make_norm, space_to_depth


class ResidualBlock(nn.Module):
    """x + conv2(dropout(silu(conv1(h)))), h = norm(x), plus attention(h) where there is one.

    With attention the convolutions have kernel 1. conv2 starts scaled by 1e-2, so that the block
    starts near the identity.
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel: int,
        periodic: Sequence[bool],
        norm: str,
        heads: int | None,
        ffn_factor: int,
        dropout: float,
        checkpointing: bool,
    ) -> None:
        super().__init__()
        kernel = 1 if heads else kernel
        self.norm = make_norm(norm, channels)
        self.attention = SelfAttention(channels, heads) if heads else None
        self.conv1 = Conv(channels, ffn_factor * channels, kernel, periodic)
        self.conv2 = Conv(ffn_factor * channels, channels, kernel, periodic)
        self.conv2.weight.data.mul_(1e-2)
        self.dropout = nn.Dropout(dropout)
        self.checkpointing = checkpointing

    def _residual(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        if self.attention is not None:
            h = h + self.attention(h)
        return x + self.conv2(self.dropout(F.silu(self.conv1(h))))

    def forward(self, x: Tensor) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(self._residual, x, use_reentrant=False)
        return self._residual(x)


class Down(nn.Module):
    """Halves the grid: space-to-depth then convolution, or a strided convolution."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, periodic: Sequence[bool], shuffle: bool
    ) -> None:
        super().__init__()
        self.shuffle = (2,) * len(periodic) if shuffle else None
        wide = inputs * 2 ** len(periodic) if shuffle else inputs
        self.conv = Conv(wide, outputs, kernel, periodic, stride=1 if shuffle else 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(space_to_depth(x, self.shuffle) if self.shuffle else x)


class Up(nn.Module):
    """Doubles the grid: convolution then depth-to-space, or nearest upsampling then convolution."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, periodic: Sequence[bool], shuffle: bool
    ) -> None:
        super().__init__()
        self.shuffle = (2,) * len(periodic) if shuffle else None
        wide = outputs * 2 ** len(periodic) if shuffle else outputs
        self.conv = Conv(inputs, wide, kernel, periodic)

    def forward(self, x: Tensor) -> Tensor:
        if self.shuffle:
            return depth_to_space(self.conv(x), self.shuffle)
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class Levels(nn.Module):
    """A network of convolutions that know which memory layout is best for each of them."""

    def compile(self, **options: Any) -> None:
        """Compiles the network as `torch.nn.Module.compile` does, layouts left as they are.

        The compiler would choose one layout for all convolutions, which at the paper's size costs
        more than compiling gains.
        """
        if options.get("backend", "inductor") == "inductor":
            options["options"] = {"layout_optimization": False, **options.get("options", {})}
        super().compile(**options)


class Encoder(Levels):
    """Maps states (batch, pixel channel, *space) to latents (batch, latent channel, *space/f).

    f = patch_size * 2^(levels - 1). At each level a downsampling, then residual blocks.

    Args:
        pixel_channels: Channels of a state.
        latent_channels: Channels of a latent.
        channels: Channels at each level.
        blocks: Residual blocks at each level.
        periodic: By space axis: periodic padding, else zeros.
        kernel_size: Convolution kernel.
        patch_size: Space-to-depth before the first level.
        pixel_shuffle: Space-to-depth between levels; else strided convolutions.
        identity_init: Start the down-sampling and the last convolution near the identity.
        norm: `layer` or `group`.
        attention_heads: Heads by level.
        ffn_factor: Widening inside a block.
        dropout: Inside a block.
        checkpointing: Recompute blocks in the backward pass.
    """

    def __init__(
        self,
        pixel_channels: int,
        latent_channels: int,
        *,
        channels: Sequence[int],
        blocks: Sequence[int],
        periodic: Sequence[bool],
        kernel_size: int = 3,
        patch_size: int = 1,
        pixel_shuffle: bool = True,
        identity_init: bool = True,
        attention_heads: Mapping[int, int] | None = None,
        **block: object,
    ) -> None:
        super().__init__()
        self.patch = (patch_size,) * len(periodic)
        heads = attention_heads or {}
        block |= {"kernel": kernel_size, "periodic": periodic}
        first = pixel_channels * patch_size ** len(periodic)
        layers: list[nn.Module] = [Conv(first, channels[0], kernel_size, periodic)]
        near: list[Conv] = []
        for level, (width, depth) in enumerate(zip(channels, blocks, strict=True)):
            if level:
                down = Down(channels[level - 1], width, kernel_size, periodic, pixel_shuffle)
                near.append(down.conv)
                layers.append(down)
            layers += [ResidualBlock(width, heads=heads.get(level), **block) for _ in range(depth)]
        last = Conv(channels[-1], latent_channels, kernel_size, periodic)
        layers.append(last)
        self.layers = nn.Sequential(*layers)
        if identity_init:
            for conv in (*near, last):
                conv.start_near_identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(space_to_depth(x, self.patch)).contiguous()


class Decoder(Levels):
    """Maps latents (batch, latent channel, *space/f) to states: the encoder mirrored.

    At each level, coarsest first, residual blocks, then an upsampling. Arguments as `Encoder`.
    """

    def __init__(
        self,
        pixel_channels: int,
        latent_channels: int,
        *,
        channels: Sequence[int],
        blocks: Sequence[int],
        periodic: Sequence[bool],
        kernel_size: int = 3,
        patch_size: int = 1,
        pixel_shuffle: bool = True,
        identity_init: bool = True,
        attention_heads: Mapping[int, int] | None = None,
        **block: object,
    ) -> None:
        super().__init__()
        self.patch = (patch_size,) * len(periodic)
        heads = attention_heads or {}
        block |= {"kernel": kernel_size, "periodic": periodic}
        first = Conv(latent_channels, channels[-1], kernel_size, periodic)
        layers: list[nn.Module] = [first]
        near = [first]
        for level in reversed(range(len(channels))):
            width = channels[level]
            layers += [
                ResidualBlock(width, heads=heads.get(level), **block) for _ in range(blocks[level])
            ]
            if level:
                up = Up(width, channels[level - 1], kernel_size, periodic, pixel_shuffle)
                near.append(up.conv)
                layers.append(up)
        outputs = pixel_channels * patch_size ** len(periodic)
        layers.append(Conv(channels[0], outputs, kernel_size, periodic))
        self.layers = nn.Sequential(*layers)
        if identity_init:
            for conv in near:
                conv.start_near_identity()

    def forward(self, z: Tensor) -> Tensor:
        return depth_to_space(self.layers(z), self.patch).contiguous()
