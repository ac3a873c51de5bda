"""The transformer over space-time tokens (paper section 4.2; official code 1.1.0, `vit`)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lilas.nn.layers import depth_to_space, sine_encoding, sine_frequencies, space_to_depth


class Attention(nn.Module):
    """Attention with RMS-normalised queries and keys, rotated by learned positions.

    QKV has no bias and is ordered (q, k, v)(head)(feature); rotary pairs are interleaved.
    """

    def __init__(self, channels: int, heads: int, qk_norm: bool) -> None:
        super().__init__()
        self.heads, self.qk_norm = heads, qk_norm
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, angles: Tensor | None) -> Tensor:
        """Args: x (batch, token, channel); angles (head, token, feature/2)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.qk_norm:
            q, k = (F.rms_norm(u, u.shape[-1:], eps=1e-5) for u in (q, k))
        if angles is not None:
            cos, sin = angles.cos().to(q.dtype), angles.sin().to(q.dtype)
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).flatten(2))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates the interleaved pairs (2i, 2i+1) of the last axis by angles given as cos, sin."""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)


class Block(nn.Module):
    """Attention feeding a feed-forward layer inside one residual, modulated.

    (a, b, c, d) come from the modulation vector; y = (a + 1) LN(x) + b; y = y + attention(y);
    y = ffn(y); y = (x + c y) / sqrt(1 + c^2); result (y + d skip) / sqrt(1 + d^2).
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int,
        axes: int,
        embedding: int,
        ffn_factor: int,
        dropout: float,
        qk_norm: bool,
        rope: bool,
        checkpointing: bool,
    ) -> None:
        super().__init__()
        self.heads, self.checkpointing = heads, checkpointing
        self.modulation = nn.Sequential(
            nn.Linear(embedding, embedding), nn.SiLU(), nn.Linear(embedding, 4 * channels)
        )
        self.modulation[-1].weight.data.mul_(1e-2)
        # Random frequencies, so that no two features start with the same view of a distance.
        self.theta = nn.Parameter(torch.randn(axes, channels // 2) * 1e-1) if rope else None
        self.attention = Attention(channels, heads, qk_norm)
        self.ffn = nn.Sequential(
            nn.Linear(channels, ffn_factor * channels),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(ffn_factor * channels, channels),
        )

    def _block(self, x: Tensor, coordinates: Tensor, vector: Tensor, skip: Tensor) -> Tensor:
        a, b, c, d = self.modulation(vector).unsqueeze(1).chunk(4, dim=-1)
        angles = None
        if self.theta is not None:
            angles = (coordinates @ self.theta).unflatten(-1, (self.heads, -1)).transpose(0, 1)
        y = (a + 1) * F.layer_norm(x, x.shape[-1:]) + b
        y = y + self.attention(y, angles)
        y = self.ffn(y)
        y = (x + c * y) * torch.rsqrt(1 + c * c)
        return (y + d * skip) * torch.rsqrt(1 + d * d)

    def forward(self, x: Tensor, coordinates: Tensor, vector: Tensor, skip: Tensor) -> Tensor:
        """Args: x, skip (batch, token, channel); coordinates (token, axis); vector (batch, e)."""
        if self.checkpointing and self.training:
            return checkpoint(self._block, x, coordinates, vector, skip, use_reentrant=False)
        return self._block(x, coordinates, vector, skip)


class Transformer(nn.Module):
    """Maps windows (batch, channel, *grid), grid = time and space, to windows.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        channels: Width.
        blocks: Number of blocks.
        heads: Attention heads.
        axes: Axes of the grid.
        embedding: Width of the modulation vector.
        ffn_factor: Widening of the feed-forward layers.
        patch_size: Points per token along each axis.
        qk_norm: RMS norm of queries and keys.
        rope: Learned rotary positions.
        dropout: In the feed-forward layers.
        checkpointing: Recompute blocks in the backward pass.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        channels: int,
        blocks: int,
        heads: int,
        axes: int,
        embedding: int,
        ffn_factor: int = 4,
        patch_size: Sequence[int] | None = None,
        qk_norm: bool = True,
        rope: bool = True,
        dropout: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.patch = tuple(patch_size or (1,) * axes)
        points = 1
        for size in self.patch:
            points *= size
        self.embed = nn.Linear(inputs * points, channels)
        self.position = nn.Linear(axes * channels, channels)
        self.blocks = nn.ModuleList(
            Block(
                channels,
                heads=heads,
                axes=axes,
                embedding=embedding,
                ffn_factor=ffn_factor,
                dropout=dropout,
                qk_norm=qk_norm,
                rope=rope,
                checkpointing=checkpointing,
            )
            for _ in range(blocks)
        )
        self.project = nn.Linear(channels, outputs * points)
        self.register_buffer("frequencies", sine_frequencies(channels), persistent=False)
        self._grids: dict[tuple[object, ...], tuple[Tensor, Tensor]] = {}

    def _grid(self, sizes: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
        """Returns the tokens' coordinates (token, axis) and encodings, made once per shape."""
        key = (sizes, device)
        if key not in self._grids:
            axes = [torch.arange(n, dtype=torch.float32, device=device) for n in sizes]
            coordinates = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)
            self._grids[key] = (
                coordinates,
                sine_encoding(coordinates, self.frequencies.to(device)).flatten(1),
            )
        return self._grids[key]

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Args: x (batch, channel, *grid); vector (batch, embedding), the conditioning."""
        x = space_to_depth(x, self.patch)
        sizes = x.shape[2:]
        coordinates, encoding = self._grid(tuple(sizes), x.device)
        skip = self.embed(x.flatten(2).transpose(1, 2))
        y = skip + self.position(encoding)
        for block in self.blocks:
            y = block(y, coordinates, vector, skip)
        y = self.project(y).transpose(1, 2).unflatten(2, sizes)
        return depth_to_space(y, self.patch)
