"""Scores of ensembles against scoringrules, closed forms and brute force."""

import itertools
import math

import numpy as np
import pytest
import scoringrules
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, norm, wasserstein_distance
from torch import Tensor

from lilas.errors import LilasError
from lilas.evaluation.curves import curves
from lilas.evaluation.distances import sliced_emd, total_error
from lilas.evaluation.ensembles import Ensemble, comparators
from lilas.evaluation.field_scores import evaluate
from lilas.evaluation.metrics import METRICS
from lilas.evaluation.spectra import power_spectrum

PROBABILISTIC = ["crps", "energy_score", "coverage_range", "coverage_half", "rank_deviation"]


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# --- CRPS and energy score ----------------------------------------------------------------------


@pytest.mark.parametrize("members", [2, 3, 7, 16])
def test_crps_and_energy_score_equal_scoringrules(members: int) -> None:
    # A level far above the spread, where differences of float32 sums would be noise.
    u, v = 1000 + noise(2, 6, 7), 1000 + 0.5 * noise(members, 2, 6, 7, seed=1)
    found = evaluate(u, v, spatial=2, names=["crps", "energy_score"])
    obs, fct = u.double().numpy().reshape(2, -1), v.double().numpy().reshape(members, 2, -1)
    crps = scoringrules.crps_ensemble(obs, fct, m_axis=0, estimator="fair").mean(-1)
    energy = scoringrules.es_ensemble(obs, fct, m_axis=0, estimator="fair") / math.sqrt(42)
    np.testing.assert_allclose(found["crps"], crps, rtol=1e-6)
    np.testing.assert_allclose(found["energy_score"], energy, rtol=1e-6)


@pytest.mark.parametrize("members", [2, 5])
def test_crps_and_energy_score_equal_brute_force(members: int) -> None:
    u, v = noise(5, 6, dtype=torch.double), noise(members, 5, 6, seed=1, dtype=torch.double)
    crps = energy = 0.0
    fair = 1 / (2 * members * (members - 1))
    for one, other in itertools.product(v, repeat=2):
        crps -= fair * (one - other).abs().sum().item() / 30
        energy -= fair * math.sqrt((one - other).square().sum().item() / 30)
    for member in v:
        crps += (member - u).abs().sum().item() / members / 30
        energy += math.sqrt((member - u).square().sum().item() / 30) / members
    found = evaluate(u, v, spatial=2)
    assert found["crps"].item() == pytest.approx(crps, rel=1e-12)
    assert found["energy_score"].item() == pytest.approx(energy, rel=1e-12)
    # Over the standard deviation of the truth, as the VRMSE.
    mean = u.sum().item() / 30
    variance = sum((value - mean) ** 2 for value in u.flatten().tolist()) / 29
    scale = math.sqrt(variance + 1e-6)
    assert found["vcrps"].item() == pytest.approx(crps / scale, rel=1e-12)
    assert found["venergy_score"].item() == pytest.approx(energy / scale, rel=1e-12)


@pytest.mark.parametrize("truth", [-1.5, 0.0, 2.0])
def test_crps_of_a_gaussian_forecast(truth: float) -> None:
    # However few the members, the fair score's mean is the forecast's own: E|X - y| - E|X - X'|/2.
    points = 400_000
    u, v = torch.full((points,), 5 + 3 * truth), 5 + 3 * noise(3, points)
    expected = truth * (2 * norm.cdf(truth) - 1) + 2 * norm.pdf(truth) - 1 / math.sqrt(math.pi)
    found = evaluate(u, v, spatial=1, names=["crps"])["crps"].item()
    assert found == pytest.approx(3 * expected, abs=4 * 3 / math.sqrt(points))


def test_one_member_has_the_errors_of_a_deterministic_forecast() -> None:
    u, v = noise(3, 8, 9), noise(1, 3, 8, 9, seed=1)
    scores = evaluate(u, v, spatial=2)
    torch.testing.assert_close(scores["crps"], scores["mae"], rtol=1e-12, atol=0)
    torch.testing.assert_close(scores["energy_score"], scores["rmse"], rtol=1e-7, atol=0)
    torch.testing.assert_close(scores["venergy_score"], scores["vrmse"], rtol=1e-7, atol=0)


@pytest.mark.parametrize("count", range(1, 11))
def test_the_sorting_network_sorts(count: int) -> None:
    # A network that sorts all zeros and ones sorts everything (Knuth's 0-1 principle).
    for bits in itertools.product((0, 1), repeat=count):
        values = list(bits)
        for i, j in comparators(count):
            assert i < j
            values[i], values[j] = min(values[i], values[j]), max(values[i], values[j])
        assert values == sorted(bits)


# --- Ranks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [2, 5, 16])
def test_exchangeable_members_have_a_flat_rank_histogram(members: int) -> None:
    points = 100_000
    every = 4 * noise(points) + noise(members + 1, points, seed=1)
    ranks, histogram = curves(every[0], every[1:], spatial=1)["rank_histogram"]
    assert ranks.tolist() == list(range(members + 1))
    assert histogram.sum().item() == pytest.approx(1.0, rel=1e-12)
    statistic = ((histogram * (members + 1) - 1) ** 2).sum() * points / (members + 1)
    assert 1e-4 < chi2.cdf(statistic.item(), members) < 1 - 1e-4
    scores = evaluate(every[0], every[1:], spatial=1, names=PROBABILISTIC)
    # A multinomial's mean absolute deviation of (members + 1) fractions.
    expected = math.sqrt(2 * members / math.pi / points)
    assert scores["rank_deviation"].item() == pytest.approx(expected, rel=0.9)
    for name in ("coverage_range", "coverage_half"):
        assert scores[name].item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(("members", "r"), [(2, 1), (5, 2), (8, 2), (16, 4)])
def test_coverage_by_sorting(members: int, r: int) -> None:
    # Whole numbers, so that the truth often equals members, at the interval's ends too.
    u, v = torch.round(2 * noise(3, 20, 20)), torch.round(noise(members, 3, 20, 20, seed=1))
    ordered = np.sort(v.numpy(), 0)
    scores = evaluate(u, v, spatial=2, names=PROBABILISTIC)
    for name, k in (("coverage_range", 1), ("coverage_half", r)):
        inside = (ordered[k - 1] <= u.numpy()) & (u.numpy() <= ordered[members - k])
        expected = inside.mean((-2, -1)) * (members + 1) / (members + 1 - 2 * k)
        np.testing.assert_allclose(scores[name], expected, rtol=1e-12)


def test_ranks_by_hand() -> None:
    # Members 0, 1, 2, 2 at every point; the last two truths tie with one and with two of them.
    v = torch.tensor([2.0, 0.0, 1.0, 2.0])[:, None].expand(4, 6)
    u = torch.tensor([-1.0, 0.5, 3.0, 1.5, 1.0, 2.0])
    _, histogram = curves(u, v, spatial=1)["rank_histogram"]
    # Ranks 0, 1, 4, 2, floor(3/2) = 1 and floor((2 + 4)/2) = 3.
    assert (6 * histogram).tolist() == pytest.approx([1, 2, 1, 1, 1])
    deviation = evaluate(u, v, spatial=1, names=["rank_deviation"])["rank_deviation"]
    assert deviation.item() == pytest.approx(4 * (1 / 5 - 1 / 6) + (2 / 6 - 1 / 5))


def test_a_constant_ensemble_has_its_truth_in_the_middle() -> None:
    u = torch.full((2, 7, 9), 0.1)
    _, histogram = curves(u, u.expand(16, *u.shape), spatial=2)["rank_histogram"]
    assert torch.equal(histogram, torch.eye(17, dtype=torch.double)[[8, 8]])


# --- Values, totals, patterns -------------------------------------------------------------------


def test_wasserstein_pools_the_members() -> None:
    u, v = noise(2, 9, 5), 2 * noise(3, 2, 9, 5, seed=1) + 1
    found = evaluate(u, v, spatial=2, names=["wasserstein"])["wasserstein"]
    for i in range(2):
        expected = wasserstein_distance(u[i].flatten(), v[:, i].flatten())
        assert found[i].item() == pytest.approx(expected, rel=1e-6)


def test_total_is_the_official_one_without_its_sign() -> None:
    u, v = noise(3, 8, 9).abs(), noise(4, 3, 8, 9, seed=1).abs()
    for sign in (1, -1):
        found = evaluate(sign * u, sign * v, spatial=2, names=["total"])["total"]
        torch.testing.assert_close(found, total_error(u, v, 2).abs(), rtol=1e-5, atol=0)
    # A wave has no total, of which the official error is a part.
    wave = torch.cos(2 * math.pi * torch.arange(8) / 8).expand(4, 8)
    found = evaluate(wave, wave[None] + 0.5, spatial=2, names=["total"])["total"]
    assert found.item() == pytest.approx(0.5 / wave.abs().mean().item(), rel=1e-6)
    nothing = torch.zeros(4, 8)
    assert evaluate(nothing, nothing[None], spatial=2, names=["total"])["total"].item() == 0.0


def test_correlation_is_the_pattern_correlation() -> None:
    u, v = noise(3, 8, 9) + 4, 0.3 * noise(4, 3, 8, 9, seed=1) - 50
    v = v + u
    found = evaluate(u, v, spatial=2, names=["correlation"])["correlation"]
    for i in range(3):
        expected = np.corrcoef(u[i].flatten(), v[:, i].mean(0).flatten())[0, 1]
        assert found[i].item() == pytest.approx(expected, rel=1e-5)
        assert 0.8 < expected < 0.999
    opposite = evaluate(u, 7 - 2 * u[None], spatial=2, names=["correlation"])["correlation"]
    torch.testing.assert_close(opposite, -torch.ones_like(opposite), rtol=1e-6, atol=0)


@pytest.mark.parametrize("level", [0.0, 0.1, 1e5])
def test_a_constant_correlates_with_nothing(level: float) -> None:
    # 7 x 9 points, whose sum of 0.1 is not exact.
    for dtype in (torch.float32, torch.double):
        constant, u = torch.full((7, 9), level, dtype=dtype), noise(7, 9, dtype=dtype)
        for truth, forecast in ((u, constant), (constant, u), (constant, constant)):
            score = evaluate(truth, forecast[None], spatial=2, names=["correlation"])
            assert score["correlation"].item() == 0.0


def test_what_varies_by_rounding_correlates_with_nothing() -> None:
    u = torch.full((8, 8), 0.1)
    u[::2] = torch.nextafter(u[0, 0], torch.tensor(1.0))
    assert evaluate(u, u[None], spatial=2, names=["correlation"])["correlation"].item() == 0.0
    u[::2] = 0.1 + 1e-6
    found = evaluate(u, u[None], spatial=2, names=["correlation"])["correlation"].item()
    assert found == pytest.approx(1.0, rel=1e-12)


def test_sliced_emd_is_of_density_alone() -> None:
    u, v = noise(8, 6).abs(), noise(3, 8, 6, seed=1).abs()
    assert METRICS["sliced_emd"].fields == ("density",)
    assert "sliced_emd" not in evaluate(u, v, spatial=2)
    found = evaluate(u, v, spatial=2, names=["sliced_emd"])["sliced_emd"]
    assert found.item() == pytest.approx(sliced_emd(u, v, 2).item(), rel=1e-6)


# --- Curves -------------------------------------------------------------------------------------


def test_power_spectra_are_of_the_truth_and_of_the_mean_member() -> None:
    u, v = (
        noise(2, 12, 10),
        noise(3, 2, 12, 10, seed=1) * torch.tensor([1.0, 2, 3])[:, None, None, None],
    )
    found = curves(u, v, spatial=2)
    k, power = power_spectrum(v, 2)
    assert torch.equal(found["power_spectrum"][0], k)
    torch.testing.assert_close(found["power_spectrum"][1], power.mean(0), rtol=1e-6, atol=0)
    assert torch.equal(found["power_spectrum_truth"][0], k)
    assert torch.equal(found["power_spectrum_truth"][1], power_spectrum(u, 2)[1])


# --- Invariances and sharing --------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.integers(-2000, 2000), st.integers(0, 1000))
def test_a_shift_of_both_changes_no_difference(shift: int, seed: int) -> None:
    # Multiples of 1/64 are exact in float32 when shifted by whole numbers.
    u = torch.round(64 * noise(2, 8, 10, seed=seed)) / 64
    v = torch.round(64 * noise(4, 2, 8, 10, seed=seed + 1)) / 64
    before, after = (evaluate(u + s, v + s, spatial=2) for s in (0, shift))
    for name in before.keys() - {"nrmse", "total"}:
        torch.testing.assert_close(after[name], before[name], rtol=1e-3, atol=1e-3, msg=name)
    for name in PROBABILISTIC:
        torch.testing.assert_close(after[name], before[name], rtol=1e-6, atol=0)


def test_a_shared_ensemble_gives_the_same_numbers() -> None:
    v = noise(5, 2, 3, 12, 10).abs()
    ensemble = Ensemble(v, 2)
    for seed in (1, 2):
        u = noise(2, 3, 12, 10, seed=seed).abs()
        shared = evaluate(u, ensemble, spatial=2, names=list(METRICS))
        fresh = evaluate(u, v, spatial=2, names=list(METRICS))
        assert list(shared) == list(fresh) == list(METRICS)
        assert all(torch.equal(shared[name], fresh[name]) for name in METRICS)
        drawn = curves(u, ensemble, spatial=2)
        for name, (at, values) in curves(u, v, spatial=2).items():
            assert torch.equal(drawn[name][0], at)
            assert torch.equal(drawn[name][1], values)
    with pytest.raises(LilasError, match=r"ensemble .* with 2$"):
        evaluate(u, ensemble, spatial=1)


def test_blocks_of_states_are_put_together_in_order() -> None:
    # Four states of 4 members and 2^16 points are a block, and the axes are not in their order.
    v = noise(2, 3, 4, 256, 256).movedim(2, 0).transpose(-2, -1)
    u = noise(3, 2, 256, 256, seed=1).transpose(0, 1)
    blocks = [members.shape[1] for (members,) in Ensemble(v, 2).blocks()]
    assert blocks == [4, 2]
    whole = evaluate(u, v, spatial=2)
    for i, j in itertools.product(range(2), range(3)):
        for name, value in evaluate(u[i, j], v[:, i, j], spatial=2).items():
            torch.testing.assert_close(whole[name][i, j], value, rtol=1e-5, atol=1e-9, msg=name)
