"""Ensembles, and what of them does not depend on the truth that they are compared with.

An ensemble v has the shape (member, *leading, *space), in physical units. States are worked on in
blocks that fit a cache, so that memory beyond the ensemble's own stays small.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from lilas.errors import LilasError
from lilas.evaluation import spectra
from lilas.evaluation.distances import pooled

# Numbers worked on at once: what a processor's cache holds; a GPU needs more to be busy.
_BLOCK, _BLOCK_GPU = 2**20, 2**26


@dataclass(frozen=True)
class MeanModes:
    """The members' Fourier modes, averaged.

    Attributes:
        power: Isotropic power spectrum (*leading, bin), float64.
        amplitude: <|F v_k|> over members (*leading, *modes), float64.
    """

    power: Tensor
    amplitude: Tensor


class Ensemble:
    """An ensemble; each property is computed once, when first needed.

    Args:
        v: Members (member, *leading, *space), physical units.
        spatial: Number of space axes.

    Raises:
        LilasError: there is no member, no space axis or no point, or a value is not finite.
    """

    def __init__(self, v: Tensor, spatial: int) -> None:
        if not 0 < spatial < v.ndim or v.numel() == 0:
            raise LilasError(
                f"metrics: expected an ensemble (member, *leading, *space) with {spatial} space "
                f"axes, found {tuple(v.shape)}"
            )
        if not finite(v):
            bad = next(i for i, member in enumerate(v) if not finite(member))
            raise LilasError(f"metrics: member {bad} holds NaN or infinity; the rollout diverged")
        self.v, self.spatial, self.members = v, spatial, len(v)
        self.points = math.prod(v.shape[-spatial:])
        self._leading = v.shape[1 : v.ndim - spatial]
        self._states = v.reshape(len(v), -1, *v.shape[-spatial:])

    def blocks(self, *states: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Yields blocks of states: the members (member, state, *space), then of each argument.

        Args:
            states: Of the shape (*leading, *space); yielded as (state, *space).
        """
        most = _BLOCK if self.v.device.type == "cpu" else _BLOCK_GPU
        length = max(1, most // (self.members * self.points))
        flat = [x.reshape(-1, *x.shape[-self.spatial :]) for x in states]
        for i in range(0, self._states.shape[1], length):
            yield self._states[:, i : i + length], *(x[i : i + length] for x in flat)

    def unflatten(self, blocks: list[Tensor]) -> Tensor:
        """Returns results of blocks (state, …) as one (*leading, …)."""
        whole = torch.cat(blocks)
        return whole.reshape((*self._leading, *whole.shape[1:]))

    @cached_property
    def mean(self) -> Tensor:
        """v̄ = (1/K) Σ v_k (*leading, *space), in the members' precision."""
        return self.unflatten([_mean(members).to(self.v.dtype) for (members,) in self.blocks()])

    @cached_property
    def products(self) -> Tensor:
        """<(v_i - v̄) (v_j - v̄)> over space, float64 (*leading, member, member)."""
        found = []
        for members, mean in self.blocks(self.mean):
            centred = (members - mean).flatten(2).movedim(0, 1).double()
            found.append(centred @ centred.mT / self.points)
        return self.unflatten(found)

    @cached_property
    def spread(self) -> Tensor | None:
        """sqrt((K+1)/(K-1) <(1/K) Σ (v_k - v̄)²>) (*leading), undefined for one member."""
        if self.members == 1:
            return None
        total = self.products.diagonal(dim1=-2, dim2=-1).sum(-1)
        return torch.sqrt((self.members + 1) / (self.members - 1) * total / self.members)

    @cached_property
    def absolute_difference(self) -> Tensor:
        """The mean over the pairs of two members of <|v_i - v_j|> (*leading); 0 of one member.

        By the members sorted at each point, Σ_{i<j} |v_i - v_j| = Σ i (K-i) (v_(i+1) - v_(i)).
        """
        found = []
        for (members,) in self.blocks():
            ordered = list(members.flatten(2))
            for i, j in comparators(self.members):
                low, high = ordered[i], ordered[j]
                ordered[i], ordered[j] = torch.minimum(low, high), torch.maximum(low, high)
            found.append(torch.stack([x.mean(-1, dtype=torch.double) for x in ordered], -1))
        rank = torch.arange(1, self.members, dtype=torch.double, device=self.v.device)
        pairs = max(1, self.members * (self.members - 1) / 2)
        return self.unflatten(found).diff(dim=-1) @ (rank * (self.members - rank) / pairs)

    @cached_property
    def distance(self) -> Tensor:
        """The mean over the pairs of two members of sqrt(<(v_i - v_j)²>) (*leading); 0 of one."""
        squares = self.products.diagonal(dim1=-2, dim2=-1)
        squared = squares[..., :, None] + squares[..., None, :] - 2 * self.products
        pairs = max(1, self.members * (self.members - 1))
        return squared.clamp(min=0).sqrt().sum((-2, -1)) / pairs

    @cached_property
    def values(self) -> Tensor:
        """The values of all members and points, sorted (*leading, value)."""
        return self.unflatten([pooled(members, self.spatial) for (members,) in self.blocks()])

    @cached_property
    def transform(self) -> Tensor:
        """F v̄, complex (*leading, *modes)."""
        return spectra.transform(self.mean, self.spatial)

    @cached_property
    def modes(self) -> MeanModes:
        """The members' Fourier modes, averaged."""
        powers, amplitudes = [], []
        for (members,) in self.blocks():
            V = spectra.transform(members, self.spatial)
            power = spectra.product(V, V)
            powers.append(_mean(power))
            amplitudes.append(_mean(power.sqrt_()))
        return MeanModes(
            power=spectra.shells_of(self.v, self.spatial).average(self.unflatten(powers)),
            amplitude=self.unflatten(amplitudes),
        )


def _mean(members: Tensor) -> Tensor:
    """Returns the mean over members (member, …), float64."""
    total = torch.zeros_like(members[0], dtype=torch.double)
    # One after another: nothing as large as the members is made in double precision.
    for member in members:
        total += member
    return total / len(members)


def finite(x: Tensor) -> bool:
    """Whether all values are finite; the extremes say it many times faster than each value."""
    return all(extreme.isfinite().item() for extreme in x.aminmax())


@lru_cache(maxsize=8)
def comparators(count: int) -> tuple[tuple[int, int], ...]:
    """Returns Batcher's sorting network: the pairs to put in order, one after another.

    It sorts the members of all points at once, by the minimum and maximum of two states each
    (Knuth, The Art of Computer Programming 3, algorithm 5.2.2M).
    """
    found, p = [], 1
    while p < count:
        k = p
        while k >= 1:
            for j in range(k % p, count - k, 2 * k):
                for i in range(j, j + min(k, count - j - k)):
                    if i // (2 * p) == (i + k) // (2 * p):
                        found.append((i, i + k))
            k //= 2
        p *= 2
    return tuple(found)
