"""Distances between fields as distributions: of their values, and of their mass in space.

Truth u has the shape (*leading, *space) and ensemble v (member, *leading, *space), in physical
units; every distance has the shape (*leading), in float64.
"""

from functools import lru_cache

import torch
from torch import Tensor

from lilas.errors import LilasError


def total_error(u: Tensor, v: Tensor, spatial: int) -> Tensor:
    """Returns 1 - Σ v̄ / Σ u: the part of the field's total that the ensemble mean v̄ lacks.

    A total of the truth that is zero makes it infinite or undefined (official code 1.1.0).
    """
    axes = tuple(range(-spatial, 0))
    return 1 - v.double().mean(0).sum(axes) / u.double().sum(axes)


def wasserstein(u: Tensor, v: Tensor, spatial: int) -> Tensor:
    """Returns the 1-Wasserstein distance of the values of u and of all members, pooled.

    W = ∫ |Q_u - Q_v|, Q the quantile functions over the points of space: with K members, the mean
    of |v_(i) - u_(i/K)| over sorted values (paper Tables 12 and 13; official code 1.1.0).
    """
    truth = u.flatten(-spatial).double().sort(-1).values
    pooled = v.flatten(-spatial).movedim(0, -2).flatten(-2).double().sort(-1).values
    return (pooled - truth.repeat_interleave(len(v), -1)).abs().mean(-1)


def sliced_emd(
    u: Tensor, v: Tensor, spatial: int, *, projections: int = 16, seed: int = 42
) -> Tensor:
    """Returns the sliced earth mover's distance of mass in space, of u to the ensemble mean.

    The mean over random directions θ of ∫ |F_u - F_v| ds, F the cumulative mass along s = θ · x, x
    from 0 to 1 along each axis, masses u / Σ u and v̄ / Σ v̄ (paper Table 11; official code 1.1.0).

    Raises:
        LilasError: a mass is negative, or a total is zero.
    """
    mean = v.mean(0)
    masses = []
    for name, field in (("truth", u), ("ensemble mean", mean)):
        mass = field.flatten(-spatial).double()
        if (mass < 0).any() or not (mass.sum(-1) > 0).all():
            raise LilasError(
                f"sliced_emd: the {name} is no mass: it must be positive somewhere and "
                "negative nowhere"
            )
        masses.append(mass / mass.sum(-1, keepdim=True))
    difference = masses[0] - masses[1]
    orders, gaps = _directions(tuple(u.shape[-spatial:]), projections, seed, u.device)
    total = torch.zeros_like(difference[..., 0])
    for order, gap in zip(orders, gaps, strict=True):
        total += difference[..., order].cumsum(-1)[..., :-1].abs() @ gap
    return total / projections


@lru_cache(maxsize=8)
def _directions(
    shape: tuple[int, ...], projections: int, seed: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Returns, by direction, the points' order along it and the gaps between them.

    They are the same for every state on a grid; sorting is what a sliced distance costs most.
    """
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(len(shape), projections, generator=generator).double()
    directions = directions / directions.norm(dim=0)
    lines = [torch.linspace(0, 1, n, dtype=torch.double) for n in shape]
    points = torch.stack(torch.meshgrid(*lines, indexing="ij"), -1).flatten(0, -2)
    along, orders = (points @ directions).T.sort(-1)
    return orders.to(device), along.diff(dim=-1).to(device)
