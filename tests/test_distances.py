"""Distances of distributions, against scipy's on the same values and weights."""

import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from lilas.evaluation.distances import sliced_emd, total_error, wasserstein


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("space", [(6, 5), (3, 4, 5)])
def test_wasserstein_pools_the_members(space):
    u, v = noise(2, *space), 2 * noise(3, 2, *space, seed=1) + 1
    found = wasserstein(u, v, len(space))
    for i in range(2):
        expected = wasserstein_distance(u[i].flatten(), v[:, i].flatten())
        assert found[i].item() == pytest.approx(expected, rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(shift=st.floats(-10, 10), scale=st.floats(0.1, 10))
def test_wasserstein_of_a_shift_is_the_shift(shift, scale):
    u = scale * noise(4, 9).double()
    v = (u + shift).flip(0)[None]
    assert wasserstein(u, v, 2).item() == pytest.approx(abs(shift), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("space", [(6, 5), (3, 4, 5)])
def test_sliced_emd_is_the_mean_over_directions(space):
    u, v = noise(2, *space).abs(), noise(3, 2, *space, seed=1).abs()
    found = sliced_emd(u, v, len(space), projections=5, seed=7)
    directions = torch.randn(len(space), 5, generator=torch.Generator().manual_seed(7)).double()
    directions /= directions.square().sum(0).sqrt()
    lines = [torch.linspace(0, 1, n, dtype=torch.double) for n in space]
    points = torch.cartesian_prod(*lines)
    for i in range(2):
        expected = sum(
            wasserstein_distance(points @ d, points @ d, u[i].flatten(), v[:, i].mean(0).flatten())
            for d in directions.T
        )
        assert found[i].item() == pytest.approx(expected / 5, rel=1e-6)


def test_mass_that_moves_along_an_axis():
    """One point of mass, moved by a whole axis: each direction sees its own component of it."""
    u, v = torch.zeros(1, 8, 8), torch.zeros(1, 8, 8)
    u[0, 0, 3], v[0, 7, 3] = 1.0, 5.0
    directions = torch.randn(2, 16, generator=torch.Generator().manual_seed(42)).double()
    expected = (directions[0] / directions.norm(dim=0)).abs().mean()
    assert sliced_emd(u[0], v, 2).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("value", [-1.0, 0.0])
def test_what_is_no_mass_has_none_anywhere(value):
    """A field of both signs that is called density, or a model's that has lost its mass."""
    u, v = torch.ones(2, 4, 4), torch.ones(1, 2, 4, 4)
    v[:, 1] = value
    directions = torch.randn(2, 16, generator=torch.Generator().manual_seed(42)).double()
    places = torch.cartesian_prod(*[torch.linspace(0, 1, 4).double()] * 2)
    along = (places @ (directions / directions.norm(dim=0))).T.sort(-1)[0]
    expected = (along.diff(dim=-1) * torch.arange(1, 16) / 16).sum(-1).mean().item()
    for found in (sliced_emd(u, v, 2), sliced_emd(v[0], u[None], 2)):
        assert found.tolist() == [0, pytest.approx(expected, rel=1e-6)]
    assert sliced_emd(v[0], v, 2).tolist() == [0, 0]


def test_the_part_of_the_total_that_is_missing():
    u, v = torch.full((2, 3, 4), 2.0), torch.full((5, 2, 3, 4), 1.5)
    v[:, 1] = 3.0
    assert total_error(u, v, 2).tolist() == [0.25, -0.5]


@pytest.mark.parametrize("space", [(16, 12), (6, 5, 7)])
def test_sliced_emd_draws_and_sums_as_pot_does(space):
    u, v = noise(*space).abs(), noise(*space, seed=1).abs()
    lines = [torch.linspace(0, 1, n) for n in space]
    points = torch.cartesian_prod(*lines)
    weights = [(x / x.sum()).flatten() for x in (u, v)]
    expected = ot.sliced_wasserstein_distance(
        points, points, *weights, n_projections=16, p=1, seed=42
    )
    assert sliced_emd(u, v[None], len(space)).item() == pytest.approx(expected.item(), rel=1e-4)


def test_sliced_emd_of_a_mean_that_is_negative_somewhere():
    """A dipole beside the truth's mass: the formula, direction by direction."""
    u = torch.ones(5, 6)
    v = u.clone()
    v[1, 2], v[4, 3] = -0.5, 2.5
    directions = torch.randn(2, 16, generator=torch.Generator().manual_seed(42)).double()
    directions /= directions.norm(dim=0)
    # 1.5 / 30 of the mass moves from one point to the other.
    moved = torch.tensor([3 / 4, 1 / 5], dtype=torch.double) @ directions
    expected = 1.5 / 30 * moved.abs().mean().item()
    assert sliced_emd(u, v[None], 2).item() == pytest.approx(expected, rel=1e-6)
    # The auto-encoded truth may be negative in places too.
    assert sliced_emd(v, u[None], 2).item() == pytest.approx(expected, rel=1e-6)
