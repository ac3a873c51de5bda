"""The transformer over space-time tokens (paper section 4.2; official code 1.1.0, `vit`)."""

import functools
import math
import operator
from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lilas.errors import LilasError
from lilas.nn.layers import depth_to_space, sine_encoding, space_to_depth


def sum_over_grid(terms: Sequence[Tensor]) -> Tensor:
    """Returns sum_a terms[a][i_a] at every point (i_1, …, i_n) of a grid, last axis fastest.

    What is a sum over axes costs the sum of their sizes this way, not their product.

    Args:
        terms: By axis of the grid, (points of the axis, feature).

    Returns:
        (point, feature).
    """
    return reduce(lambda total, term: total[..., None, :] + term, terms).flatten(0, -2)


def rotary_angles(positions: Sequence[Tensor], theta: Tensor) -> Tensor:
    """Returns coordinates times theta, (token, feature/2).

    Args:
        positions: Coordinates by axis of the grid.
        theta: Radians per point, (axis, feature/2).
    """
    # Products, where a matrix product in TF32 or bfloat16 would round the angles.
    return sum_over_grid([p[:, None] * t for p, t in zip(positions, theta, strict=True)])


def local_mask(positions: Sequence[Tensor], window: Sequence[int]) -> Tensor:
    """Returns whether a token sees another, (token, token), bool.

    It does where their coordinates differ by at most (w - 1) / 2 along every axis.

    Args:
        positions: Coordinates by axis of the grid.
        window: Tokens w that a window spans, by axis; odd.
    """
    near = [
        ((p[:, None] - p).abs() <= w // 2).float() for p, w in zip(positions, window, strict=True)
    ]
    return reduce(torch.kron, near).bool()


class Grid(NamedTuple):
    """What the size of a token grid determines.

    Args:
        positions: Coordinates by axis.
        encodings: Their sine encodings by axis, (points of the axis, feature).
        mask: Which token sees which, (token, token), bool; None where all see all.
    """

    positions: tuple[Tensor, ...]
    encodings: tuple[Tensor, ...]
    mask: Tensor | None


@functools.lru_cache(maxsize=16)
def _make_grid(
    sizes: tuple[int, ...], features: int, window: tuple[int, ...] | None, device: torch.device
) -> Grid:
    # Made once for every later call, which may need gradients where this one does not.
    with torch.inference_mode(False), torch.no_grad():
        positions = tuple(torch.arange(n, dtype=torch.float32, device=device) for n in sizes)
        encodings = tuple(sine_encoding(p, features) for p in positions)
        return Grid(positions, encodings, local_mask(positions, window) if window else None)


def make_grid(
    sizes: tuple[int, ...], features: int, window: tuple[int, ...] | None, device: torch.device
) -> Grid:
    """Returns the constants of a token grid: made once per grid, constants of compiled graphs."""
    return _make_grid(sizes, features, window, device)


# What `torch.compiler.assume_constant_result` sets, which imports the compiler (a second or two)
# also where nothing is compiled.
make_grid._dynamo_marked_constant = True


class Attention(nn.Module):
    """Attention with RMS-normalised queries and keys, rotated by learned positions.

    QKV has no bias and is ordered (q, k, v)(head)(feature); rotary pairs are interleaved.
    """

    def __init__(self, channels: int, heads: int, qk_norm: bool) -> None:
        super().__init__()
        self.heads, self.qk_norm = heads, qk_norm
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(
        self, x: Tensor, angles: tuple[Tensor, Tensor] | None, mask: Tensor | None = None
    ) -> Tensor:
        """Returns (batch, token, channel).

        Args:
            x: (batch, token, channel).
            angles: Cosine and sine of the rotary angles, (token, feature/2) of all heads.
            mask: Which token sees which, (token, token).
        """
        # Heads stay beside their features, where the projection left them.
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        if self.qk_norm:
            q, k = (F.rms_norm(u, u.shape[-1:], eps=1e-5) for u in (q, k))
        if angles is not None:
            cos, sin = (u.to(q.dtype).unflatten(-1, (self.heads, -1)) for u in angles)
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        q, k, v = (u.transpose(1, 2) for u in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(y.transpose(1, 2).flatten(2))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates the interleaved pairs (2i, 2i+1) of the last axis by angles given as cos, sin.

    Of n pairs, pair i comes out at (i, n + i): products of what is rotated are the same, and
    memory is written in order.
    """
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class Block(nn.Module):
    """Attention feeding a feed-forward layer inside one residual, modulated.

    (a, b, c, d) come from the modulation vector, or are free parameters where there is none;
    y = (a + 1) LN(x) + b; y = y + attention(y); y = ffn(y); y = (x + c y) / sqrt(1 + c^2);
    result (y + d skip) / sqrt(1 + d^2).
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int,
        axes: int,
        embedding: int | None,
        ffn_factor: int,
        dropout: float,
        qk_norm: bool,
        rope: bool,
        checkpointing: bool,
    ) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        if embedding is None:
            self.modulation = nn.Parameter(1e-2 * torch.randn(4, channels))
        else:
            self.modulation = nn.Sequential(
                nn.Linear(embedding, embedding), nn.SiLU(), nn.Linear(embedding, 4 * channels)
            )
            self.modulation[-1].weight.data.mul_(1e-2)
        # One to a hundredth of a radian per point, each pair of features along its own direction.
        direction = F.normalize(torch.randn(axes, channels // 2), dim=0)
        frequency = 1e-2 ** torch.rand(channels // 2)
        self.theta = nn.Parameter(frequency * direction) if rope else None
        self.attention = Attention(channels, heads, qk_norm)
        self.ffn = nn.Sequential(
            nn.Linear(channels, ffn_factor * channels),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(ffn_factor * channels, channels),
        )

    def _block(
        self,
        x: Tensor,
        angles: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        vector: Tensor | None,
        skip: Tensor,
    ) -> Tensor:
        if vector is None:
            a, b, c, d = self.modulation
        else:
            a, b, c, d = self.modulation(vector).unsqueeze(1).chunk(4, dim=-1)
        y = torch.addcmul(b, a + 1, F.layer_norm(x, x.shape[-1:]))
        y = y + self.attention(y, angles, mask)
        y = self.ffn(y)
        # Both residuals as one sum, whose weights have no token axis and cost nothing.
        inner, outer = torch.rsqrt(1 + c * c), torch.rsqrt(1 + d * d)
        y = torch.addcmul(x * (inner * outer), y, c * inner * outer)
        return torch.addcmul(y, skip, d * outer)

    def forward(
        self,
        x: Tensor,
        angles: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        vector: Tensor | None,
        skip: Tensor,
    ) -> Tensor:
        """Args as `Attention` and `Transformer`; skip (batch, token, channel), the first tokens."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(self._block, x, angles, mask, vector, skip, use_reentrant=False)
        return self._block(x, angles, mask, vector, skip)


class Transformer(nn.Module):
    """Maps windows (batch, channel, *grid), grid = time and space, to windows.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        channels: Width.
        blocks: Number of blocks.
        heads: Attention heads.
        axes: Axes of the grid.
        embedding: Width of the modulation vector; None where there is none.
        ffn_factor: Widening of the feed-forward layers.
        patch_size: Points of the input per token, by axis; default 1.
        unpatch_size: Points of the output per token, by axis; default as the input.
        attention_window: Odd number of tokens, by axis, that the window spans in which a token
            attends to others; None: to all. The mask is dense, (token, token).
        qk_norm: RMS norm of queries and keys.
        rope: Learned rotary positions.
        dropout: In the feed-forward layers.
        checkpointing: Recompute blocks in the backward pass.

    Raises:
        LilasError: patches or window have not one size per axis, or a window is even.
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
        embedding: int | None,
        ffn_factor: int = 4,
        patch_size: Sequence[int] | None = None,
        unpatch_size: Sequence[int] | None = None,
        attention_window: Sequence[int] | None = None,
        qk_norm: bool = True,
        rope: bool = True,
        dropout: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.embedding, self.rope = embedding, rope
        self.patch = tuple(patch_size or (1,) * axes)
        self.unpatch = tuple(unpatch_size or self.patch)
        self.window = tuple(attention_window) if attention_window else None
        for size in (self.patch, self.unpatch, self.window or self.patch):
            if len(size) != axes:
                raise LilasError(f"patch or window {size}; expected {axes} numbers, one per axis")
        if self.window and not all(w > 0 and w % 2 for w in self.window):
            raise LilasError(f"attention_window {self.window}: a window around a token is odd")
        self.embed = nn.Linear(inputs * math.prod(self.patch), channels)
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
        self.project = nn.Linear(channels, outputs * math.prod(self.unpatch))

    def _embedding(self, encodings: Sequence[Tensor]) -> Tensor:
        """Returns the linear layer of the axes' sine encodings side by side, (token, channel)."""
        weights = self.position.weight.chunk(len(encodings), dim=1)
        terms = [F.linear(x, weight) for x, weight in zip(encodings, weights, strict=True)]
        return sum_over_grid(terms) + self.position.bias

    def _angles(self, positions: Sequence[Tensor]) -> list[tuple[Tensor, Tensor] | None]:
        """Returns cosine and sine of the rotary angles by block, (token, channel/2) each."""
        if not self.rope:
            return [None] * len(self.blocks)
        theta = torch.cat([block.theta for block in self.blocks], dim=1)
        angles = rotary_angles(positions, theta)
        cos, sin = (u.chunk(len(self.blocks), dim=1) for u in (angles.cos(), angles.sin()))
        return list(zip(cos, sin, strict=True))

    def forward(
        self, x: Tensor, vector: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Returns (batch, channel, *grid / patch_size * unpatch_size).

        Args:
            x: (batch, channel, *grid).
            vector: The conditioning (batch, embedding); None where there is no modulation.
            mask: 1 where a state is known, shaped to expand to `x`, whose channels it follows;
                None where there is no such input.

        Raises:
            LilasError: a vector for a network without modulation, or none for one with it.
        """
        if (vector is None) != (self.embedding is None):
            raise LilasError("A transformer takes a modulation vector where it has an embedding.")
        if mask is not None:
            x = torch.cat([x, mask.to(x.dtype).expand_as(x)], dim=1)
        x = space_to_depth(x, self.patch)
        # Exact sizes, where compilation would make them symbols: a graph is of one grid.
        sizes = tuple(operator.index(n) for n in x.shape[2:])
        grid = make_grid(sizes, self.embed.out_features, self.window, x.device)
        skip = self.embed(x.flatten(2).transpose(1, 2))
        y = skip + self._embedding(grid.encodings)
        for block, angles in zip(self.blocks, self._angles(grid.positions), strict=True):
            y = block(y, angles, grid.mask, vector, skip)
        y = self.project(y).transpose(1, 2).unflatten(2, sizes)
        return depth_to_space(y, self.unpatch).contiguous()


def make_encoder(
    pixel_channels: int, latent_channels: int, *, axes: int, patch_size: int, **options: Any
) -> Transformer:
    """Returns a transformer from states to latents (batch, channel, *space / patch_size).

    A patch becomes a token, a token a point of the latent. Options as `Transformer`.
    """
    return Transformer(
        pixel_channels,
        latent_channels,
        axes=axes,
        embedding=None,
        patch_size=(patch_size,) * axes,
        unpatch_size=(1,) * axes,
        **options,
    )


def make_decoder(
    pixel_channels: int, latent_channels: int, *, axes: int, patch_size: int, **options: Any
) -> Transformer:
    """Returns a transformer from latents to states: the encoder mirrored."""
    return Transformer(
        latent_channels,
        pixel_channels,
        axes=axes,
        embedding=None,
        patch_size=(1,) * axes,
        unpatch_size=(patch_size,) * axes,
        **options,
    )
