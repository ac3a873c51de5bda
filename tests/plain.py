"""The networks written plainly, as their formulas read: what LILAS's must equal and outrun.

Nothing is fused or kept: queries, keys and values apart, scores in full, coordinates, encodings
and angles anew in every block, norms by mean and variance. Parameters have the names of
`lilas.nn`, so that `load_state_dict` takes one's weights into the other.
"""

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def grid_coordinates(sizes: Sequence[int], device: torch.device) -> Tensor:
    """Returns the integer coordinates of a grid's points, (point, axis), last axis fastest."""
    axes = [torch.arange(n, dtype=torch.float32, device=device) for n in sizes]
    return torch.stack([axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")], dim=-1)


def sines(x: Tensor, features: int) -> Tensor:
    frequencies = 1e3 ** -torch.linspace(0, 1, features // 2, device=x.device)
    angles = x.unsqueeze(-1) * frequencies
    return torch.cat((torch.sin(angles), torch.cos(angles)), dim=-1)


def to_blocks(x: Tensor, size: Sequence[int]) -> Tensor:
    """Space to depth: "b c (h p) (w q) -> b (c p q) h w", for any number of axes."""
    batch, channels, *points = x.shape
    shape = [n for whole, s in zip(points, size, strict=True) for n in (whole // s, s)]
    x = x.reshape(batch, channels, *shape)
    x = x.permute(0, 1, *range(3, x.ndim, 2), *range(2, x.ndim, 2))
    return x.reshape(batch, channels * math.prod(size), *shape[::2])


def from_blocks(x: Tensor, size: Sequence[int]) -> Tensor:
    """Depth to space: "b (c p q) h w -> b c (h p) (w q)"."""
    batch, channels, *points = x.shape
    axes = len(size)
    x = x.reshape(batch, channels // math.prod(size), *size, *points)
    x = x.permute(0, 1, *[i for a in range(axes) for i in (2 + axes + a, 2 + a)])
    return x.reshape(*x.shape[:2], *[p * s for p, s in zip(points, size, strict=True)])


def attend(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None = None) -> Tensor:
    """Softmax attention, (batch, head, token, feature)."""
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -math.inf)
    return torch.softmax(scores, dim=-1) @ v


def split(x: Tensor, heads: int) -> Tensor:
    return x.reshape(*x.shape[:2], heads, -1).permute(0, 2, 1, 3)


def merge(x: Tensor) -> Tensor:
    return x.permute(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)


def neighbours(coordinates: Tensor, window: Sequence[int]) -> Tensor:
    """Whether token i sees token j: |i_a - j_a| <= (w_a - 1) / 2 along every axis a."""
    allowed = torch.ones(len(coordinates), len(coordinates), dtype=torch.bool)
    for i, j in itertools.product(range(len(coordinates)), repeat=2):
        for a, w in enumerate(window):
            if abs(coordinates[i, a] - coordinates[j, a]) > (w - 1) / 2:
                allowed[i, j] = False
    return allowed.to(coordinates.device)


class PlainAttention(nn.Module):
    def __init__(self, channels: int, heads: int, qk_norm: bool) -> None:
        super().__init__()
        self.heads, self.qk_norm = heads, qk_norm
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, angles: Tensor | None, allowed: Tensor | None) -> Tensor:
        q, k, v = (split(u, self.heads) for u in torch.chunk(self.qkv(x), 3, dim=-1))
        if self.qk_norm:
            q = q / torch.sqrt((q * q).mean(dim=-1, keepdim=True) + 1e-5)
            k = k / torch.sqrt((k * k).mean(dim=-1, keepdim=True) + 1e-5)
        if angles is not None:
            q, k = self.turn(q, angles), self.turn(k, angles)
        return self.out(merge(attend(q, k, v, allowed)))

    @staticmethod
    def turn(x: Tensor, angles: Tensor) -> Tensor:
        even, odd = x[..., 0::2], x[..., 1::2]
        cos, sin = torch.cos(angles), torch.sin(angles)
        pairs = (even * cos - odd * sin, even * sin + odd * cos)
        return torch.stack(pairs, dim=-1).reshape(x.shape)


class PlainBlock(nn.Module):
    def __init__(
        self,
        channels: int,
        heads: int,
        axes: int,
        embedding: int | None,
        ffn_factor: int,
        qk_norm: bool,
        rope: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.heads = heads
        if embedding is None:
            self.modulation = nn.Parameter(torch.zeros(4, channels))
        else:
            self.modulation = nn.Sequential(
                nn.Linear(embedding, embedding), nn.SiLU(), nn.Linear(embedding, 4 * channels)
            )
        self.theta = nn.Parameter(torch.zeros(axes, channels // 2)) if rope else None
        self.attention = PlainAttention(channels, heads, qk_norm)
        self.ffn = nn.Sequential(
            nn.Linear(channels, ffn_factor * channels),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(ffn_factor * channels, channels),
        )

    def forward(
        self,
        x: Tensor,
        sizes: Sequence[int],
        vector: Tensor | None,
        skip: Tensor,
        window: Sequence[int] | None,
    ) -> Tensor:
        if vector is None:
            a, b, c, d = self.modulation
        else:
            a, b, c, d = torch.chunk(self.modulation(vector)[:, None, :], 4, dim=-1)
        coordinates = grid_coordinates(sizes, x.device)
        angles = None
        if self.theta is not None:
            angles = coordinates @ self.theta
            angles = angles.reshape(len(angles), self.heads, -1).permute(1, 0, 2)
        allowed = None if window is None else neighbours(coordinates, window)
        mean = x.mean(dim=-1, keepdim=True)
        variance = ((x - mean) ** 2).mean(dim=-1, keepdim=True)
        y = (a + 1) * ((x - mean) / torch.sqrt(variance + 1e-5)) + b
        y = y + self.attention(y, angles, allowed)
        y = self.ffn(y)
        y = (x + c * y) / torch.sqrt(1 + c**2)
        return (y + d * skip) / torch.sqrt(1 + d**2)


class PlainTransformer(nn.Module):
    """Arguments as `lilas.nn.vit.Transformer`."""

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
    ) -> None:
        super().__init__()
        self.patch = patch_size or [1] * axes
        self.unpatch = unpatch_size or self.patch
        self.window = attention_window
        self.embed = nn.Linear(inputs * math.prod(self.patch), channels)
        self.position = nn.Linear(axes * channels, channels)
        self.blocks = nn.ModuleList(
            PlainBlock(channels, heads, axes, embedding, ffn_factor, qk_norm, rope, dropout)
            for _ in range(blocks)
        )
        self.project = nn.Linear(channels, outputs * math.prod(self.unpatch))

    def forward(self, x: Tensor, vector: Tensor | None = None) -> Tensor:
        x = to_blocks(x, self.patch)
        sizes = x.shape[2:]
        skip = self.embed(x.reshape(*x.shape[:2], -1).permute(0, 2, 1))
        coordinates = grid_coordinates(sizes, x.device)
        encoded = [sines(axis, skip.shape[-1]) for axis in coordinates.unbind(dim=-1)]
        y = skip + self.position(torch.cat(encoded, dim=-1))
        for block in self.blocks:
            y = block(y, sizes, vector, skip, self.window)
        y = self.project(y).permute(0, 2, 1)
        return from_blocks(y.reshape(*y.shape[:2], *sizes), self.unpatch)


class PlainBackbone(nn.Module):
    """A transformer with the embeddings of `lilas.models.methods.Backbone`."""

    def __init__(
        self, state_channels: int, label_features: int, space: int, noisy: bool, **options
    ) -> None:
        super().__init__()
        self.width = options["embedding"]
        self.network = PlainTransformer(
            2 * state_channels, state_channels, axes=1 + space, **options
        )
        self.label = self.perceptron(label_features)
        self.noise = self.perceptron(self.width) if noisy else None

    def perceptron(self, inputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(inputs, self.width), nn.SiLU(), nn.Linear(self.width, self.width)
        )

    def forward(self, x: Tensor, mask: Tensor, noise: Tensor | None, label: Tensor) -> Tensor:
        vector = self.label(label)
        if self.noise is not None:
            vector = vector + self.noise(sines(noise, self.width))
        mask = mask.to(x.dtype).expand(x.shape)
        return self.network(torch.cat((x, mask), dim=1), vector)


class PlainConv(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, kernel: int, periodic: Sequence[bool], stride: int = 1
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, *[kernel] * len(periodic)))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.periodic, self.stride = periodic, stride

    def forward(self, x: Tensor) -> Tensor:
        half = self.weight.shape[-1] // 2
        for axis, wraps in enumerate(self.periodic, start=2):
            if wraps:
                ends = x.narrow(axis, x.shape[axis] - half, half), x.narrow(axis, 0, half)
                x = torch.cat((ends[0], x, ends[1]), dim=axis)
        padding = [0 if wraps else half for wraps in self.periodic]
        conv = [F.conv1d, F.conv2d, F.conv3d][len(self.periodic) - 1]
        return conv(x, self.weight, self.bias, stride=self.stride, padding=padding)


class PlainSelfAttention(nn.Module):
    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.reshape(*x.shape[:2], -1).permute(0, 2, 1)
        q, k, v = (split(u, self.heads) for u in torch.chunk(self.qkv(tokens), 3, dim=-1))
        return self.out(merge(attend(q, k, v))).permute(0, 2, 1).reshape(x.shape)


class PlainResidualBlock(nn.Module):
    def __init__(
        self,
        channels: int,
        kernel: int,
        periodic: Sequence[bool],
        norm: str,
        heads: int | None,
        ffn_factor: int,
        dropout: float,
    ) -> None:
        super().__init__()
        kernel = 1 if heads else kernel
        self.groups = min(16, channels) if norm == "group" else None
        self.attention = PlainSelfAttention(channels, heads) if heads else None
        self.conv1 = PlainConv(channels, ffn_factor * channels, kernel, periodic)
        self.conv2 = PlainConv(ffn_factor * channels, channels, kernel, periodic)
        self.dropout = nn.Dropout(dropout)

    def normalise(self, x: Tensor) -> Tensor:
        if self.groups is None:
            mean = x.mean(dim=1, keepdim=True)
            variance = ((x - mean) ** 2).sum(dim=1, keepdim=True) / (x.shape[1] - 1)
            return (x - mean) / torch.sqrt(variance + 1e-5)
        y = x.reshape(len(x), self.groups, -1)
        mean = y.mean(dim=-1, keepdim=True)
        variance = ((y - mean) ** 2).mean(dim=-1, keepdim=True)
        return ((y - mean) / torch.sqrt(variance + 1e-5)).reshape(x.shape)

    def forward(self, x: Tensor) -> Tensor:
        h = self.normalise(x)
        if self.attention is not None:
            h = h + self.attention(h)
        h = self.conv1(h)
        return x + self.conv2(self.dropout(F.silu(h)))


class PlainDown(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, kernel: int, periodic: Sequence[bool], shuffle: bool
    ) -> None:
        super().__init__()
        self.block = [2] * len(periodic) if shuffle else None
        wide = inputs * 2 ** len(periodic) if shuffle else inputs
        self.conv = PlainConv(wide, outputs, kernel, periodic, stride=1 if shuffle else 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(to_blocks(x, self.block) if self.block else x)


class PlainUp(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, kernel: int, periodic: Sequence[bool], shuffle: bool
    ) -> None:
        super().__init__()
        self.block = [2] * len(periodic) if shuffle else None
        wide = outputs * 2 ** len(periodic) if shuffle else outputs
        self.conv = PlainConv(inputs, wide, kernel, periodic)

    def forward(self, x: Tensor) -> Tensor:
        if self.block:
            return from_blocks(self.conv(x), self.block)
        for axis in range(2, x.ndim):
            x = x.repeat_interleave(2, dim=axis)
        return self.conv(x)


class PlainEncoder(nn.Module):
    """Arguments as `lilas.nn.dcae.Encoder`."""

    mirrored = False

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
        norm: str = "layer",
        attention_heads: dict[int, int] | None = None,
        ffn_factor: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.patch = [patch_size] * len(periodic)
        pixels = pixel_channels * math.prod(self.patch)
        heads = attention_heads or {}
        levels = list(range(len(channels)))

        def stage(level: int) -> list[nn.Module]:
            made = (channels[level], kernel_size, periodic, norm, heads.get(level), ffn_factor)
            return [PlainResidualBlock(*made, dropout) for _ in range(blocks[level])]

        def conv(inputs: int, outputs: int) -> PlainConv:
            return PlainConv(inputs, outputs, kernel_size, periodic)

        between = (kernel_size, periodic, pixel_shuffle)
        if self.mirrored:
            layers: list[nn.Module] = [conv(latent_channels, channels[-1])]
            for level in reversed(levels):
                layers += stage(level)
                if level:
                    layers.append(PlainUp(channels[level], channels[level - 1], *between))
            layers.append(conv(channels[0], pixels))
        else:
            layers = [conv(pixels, channels[0])]
            for level in levels:
                if level:
                    layers.append(PlainDown(channels[level - 1], channels[level], *between))
                layers += stage(level)
            layers.append(conv(channels[-1], latent_channels))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(to_blocks(x, self.patch))


class PlainDecoder(PlainEncoder):
    mirrored = True

    def forward(self, z: Tensor) -> Tensor:
        return from_blocks(self.layers(z), self.patch)
