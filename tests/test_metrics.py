"""Metrics against closed forms and brute force; `test_official.py` has the official numbers."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lilas.errors import LilasError
from lilas.evaluation.bands import BANDS
from lilas.evaluation.comparison import Comparison
from lilas.evaluation.curves import curves
from lilas.evaluation.field_scores import evaluate
from lilas.evaluation.metrics import METRICS, OF_TRUTH

REFERENCE = Path(__file__).parent / "data/lola_1.1.0/metrics"
EVERYWHERE = [name for name, metric in METRICS.items() if metric.fields is None]
OF_MANY = {
    "spread",
    "spread_skill",
    "coverage_range",
    "coverage_half",
    "rank_deviation",
}


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("name", ["2d", "3d"])
def test_spread_skill_is_the_ratio_that_the_official_code_plots(name: str) -> None:
    data = np.load(REFERENCE / f"{name}.npz")
    u, v = torch.from_numpy(data["u"]), torch.from_numpy(data["v"])
    ratio = (float(data["spread"]) + 1e-3) / (float(data["rmse"]) + 1e-3)
    found = evaluate(u, v, spatial=u.ndim)["spread_skill"]
    assert found.item() == pytest.approx(ratio, rel=1e-5)


# --- Point by point -----------------------------------------------------------------------------


def test_spread_and_errors_by_brute_force() -> None:
    u, v = noise(5, 6, dtype=torch.double), noise(4, 5, 6, seed=1, dtype=torch.double)
    scores = {name: value.item() for name, value in evaluate(u, v, spatial=2).items()}
    squares, errors, absolute = 0.0, 0.0, 0.0
    for i, j in itertools.product(range(5), range(6)):
        values = [member[i, j].item() for member in v]
        mean = sum(values) / 4
        squares += sum((value - mean) ** 2 for value in values) / 4 / 30
        errors += (u[i, j].item() - mean) ** 2 / 30
        absolute += abs(u[i, j].item() - mean) / 30
    assert scores["spread"] == pytest.approx(math.sqrt(5 / 3 * squares), rel=1e-12)
    assert scores["rmse"] == scores["skill"] == pytest.approx(math.sqrt(errors), rel=1e-12)
    assert scores["mae"] == pytest.approx(absolute, rel=1e-12)


@pytest.mark.parametrize("members", [2, 5, 16])
def test_an_exchangeable_ensemble_has_spread_skill_one(members: int) -> None:
    # Truth and members differ from the same mean by the same noise: E[spread²] = E[skill²].
    points = 400_000
    mean = 5 * noise(points)
    u = mean + noise(points, seed=1)
    v = mean + noise(members, points, seed=2)
    scores = evaluate(u, v, spatial=1, names=["spread", "skill", "spread_skill"])
    assert scores["spread_skill"].item() == pytest.approx(1.0, abs=0.01)
    expected = math.sqrt((members + 1) / members)
    assert scores["spread"].item() == pytest.approx(expected, rel=0.01)
    assert scores["skill"].item() == pytest.approx(expected, rel=0.01)


def test_closed_forms() -> None:
    # A cosine of amplitude a about level c, forecast with the constant error d.
    a, c, d, points = 2.0, 3.0, 0.25, 64
    u = c + a * torch.cos(2 * math.pi * torch.arange(points, dtype=torch.double) / points)
    u = u.expand(32, points)
    scores = {name: x.item() for name, x in evaluate(u, u[None] + d, spatial=2).items()}
    count = 32 * points
    variance = a**2 / 2 * count / (count - 1)
    assert scores["rmse"] == pytest.approx(d, rel=1e-12)
    assert scores["mae"] == pytest.approx(d, rel=1e-12)
    assert scores["vrmse"] == pytest.approx(d / math.sqrt(variance + 1e-6), rel=1e-12)
    assert scores["nrmse"] == pytest.approx(d / math.sqrt(c**2 + a**2 / 2 + 1e-6), rel=1e-12)
    climatology = evaluate(u, torch.full_like(u, c)[None], spatial=2)["vrmse"].item()
    assert climatology == pytest.approx(math.sqrt((count - 1) / count), abs=1e-6)


@pytest.mark.parametrize("std", [1.0, 4.5e-4, 1e-9])
def test_the_vrmse_without_its_constant(std: float) -> None:
    """A field's mean scores 1 by definition; the paper's constant lowers that."""
    u = 3.0 + std * math.sqrt(2) * torch.cos(
        2 * math.pi * torch.arange(64, dtype=torch.double) / 64
    )
    found = evaluate(u, torch.full_like(u, 3.0)[None], spatial=1)
    assert found["vrmse_scale_free"].item() == pytest.approx(math.sqrt(63 / 64), rel=1e-6)
    share = std**2 / (std**2 + 1e-6 * 63 / 64)
    assert found["vrmse"].item() == pytest.approx(math.sqrt(63 / 64 * share), rel=1e-6)
    alone = Comparison(u, u[None], 1)
    assert OF_TRUTH["constant_matters"].function(alone).item() == (std < 1e-2)
    assert OF_TRUTH["uniform"].function(alone).item() == 0


def test_a_uniform_truth_is_told() -> None:
    """The paper's formula makes the error a thousand times; without its constant there is none."""
    u = torch.full((2, 8, 8), 0.1)
    u[1] += noise(8, 8)
    found = evaluate(u, u[None] + 0.3587, spatial=2)
    assert found["vrmse"][0].item() == pytest.approx(358.7, rel=1e-4)
    assert found["vrmse_scale_free"][0].item() == 1.0
    assert found["vrmse_scale_free"][1].item() == pytest.approx(found["vrmse"][1].item(), rel=1e-5)
    alone = Comparison(u, u[None], 2)
    for name in ("constant_matters", "uniform"):
        assert OF_TRUTH[name].function(alone).tolist() == [1, 0]


@settings(max_examples=20, deadline=None)
@given(st.integers(-6, 6), st.booleans(), st.integers(0, 1000))
def test_scale(power: int, negative: bool, seed: int) -> None:
    scale = (-1.0 if negative else 1.0) * 2.0**power
    u = 1e4 * noise(12, 12, seed=seed, dtype=torch.double)
    v = u + 3e3 * noise(3, 12, 12, seed=seed + 1, dtype=torch.double)
    before, after = (evaluate(s * u, s * v, spatial=2) for s in (1.0, scale))
    assert list(before) == list(after) == EVERYWHERE
    for name in EVERYWHERE:
        expected = before[name] * (abs(scale) if METRICS[name].units == "field" else 1.0)
        # The constants are far below the field at every scale.
        assert after[name].item() == pytest.approx(expected.item(), rel=1e-3, abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(4)), st.integers(0, 1000))
def test_members_are_exchangeable(order: list[int], seed: int) -> None:
    u, v = noise(2, 8, 10, seed=seed), noise(4, 2, 8, 10, seed=seed + 1)
    before, after = evaluate(u, v, spatial=2), evaluate(u, v[list(order)], spatial=2)
    for name in before:
        torch.testing.assert_close(after[name], before[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("level", [1e-4, 1.0, 1e3])
def test_exact_copies_have_no_error(level: float) -> None:
    u = level * noise(2, 16, 16, seed=3)
    scores = evaluate(u, u.expand(3, *u.shape), spatial=2)
    # Every point has rank 1 of 0 to 3, in the middle; half of the ranks are inside.
    perfect = {
        "spread_skill": 1.0,
        "correlation": 1.0,
        "coverage_range": 2.0,
        "coverage_half": 2.0,
        "rank_deviation": 1.5,
    }
    for name, score in scores.items():
        # The official constants leave 1 - (p + e) / sqrt(p² + e²), not small where p is.
        cross = 1e-5 if level >= 1 else 0.5
        tolerance = cross if name.startswith("cross_spectrum") else 1e-12
        assert (score - perfect.get(name, 0.0)).abs().max() <= tolerance, name


def test_uniform_states_are_defined_by_the_constants() -> None:
    u = torch.full((8, 8), 2.0)
    v = torch.stack([torch.full((8, 8), level) for level in (2.0, 3.0)])
    scores = {name: x.item() for name, x in evaluate(u, v, spatial=2).items()}
    assert scores["vrmse"] == pytest.approx(0.5 / 1e-3, rel=1e-6)
    assert scores["spread"] == pytest.approx(math.sqrt(3 * 0.25), rel=1e-6)
    assert scores["spread_skill"] == pytest.approx((math.sqrt(0.75) + 1e-3) / 0.501, rel=1e-6)
    for band in BANDS:
        for name in ("power_spectrum", "cross_spectrum", "coherence"):
            assert scores[f"{name}_{band}"] == 0.0


# --- The interface ------------------------------------------------------------------------------


def test_leading_axes_are_states_of_their_own() -> None:
    u, v = noise(2, 3, 8, 12, seed=1), noise(4, 2, 3, 8, 12, seed=2)
    whole = evaluate(u, v, spatial=2)
    assert list(whole) == EVERYWHERE
    for i, j in itertools.product(range(2), range(3)):
        for name, value in evaluate(u[i, j], v[:, i, j], spatial=2).items():
            torch.testing.assert_close(whole[name][i, j], value, rtol=1e-6, atol=1e-9)
            assert value.dtype == torch.double


def test_names_choose() -> None:
    u, v = noise(8, 8), noise(2, 8, 8, seed=1)
    assert list(evaluate(u, v, spatial=2, names=["mae", "coherence_low"])) == [
        "mae",
        "coherence_low",
    ]
    with pytest.raises(LilasError, match="unknown 'ssim'; allowed: rmse, "):
        evaluate(u, v, spatial=2, names=["ssim"])


def test_undefined_scores_are_left_out() -> None:
    u, v = noise(8, 8), noise(1, 8, 8, seed=1)
    assert set(EVERYWHERE) - evaluate(u, v, spatial=2).keys() == OF_MANY
    assert curves(u, v, spatial=2).keys() == {"power_spectrum", "power_spectrum_truth"}
    # A 4 x 4 grid has two bins, at k = 0.35 and 0.71: none in the middle bands.
    small = evaluate(u[:4, :4], noise(2, 4, 4), spatial=2)
    assert set(EVERYWHERE) - small.keys() == {
        f"{name}_{band}"
        for name in ("power_spectrum", "cross_spectrum", "coherence")
        for band in ("mid", "high")
    }
    assert all(score.isfinite() for score in small.values())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    u, v = noise(2, 8, 8), noise(3, 2, 8, 8, seed=1)
    v[1, 0, 3, 4] = value
    with pytest.raises(LilasError, match="member 1 holds NaN or infinity"):
        evaluate(u, v, spatial=2)
    v[1, 0, 3, 4], u[0, 0, 0] = 0.0, -value
    with pytest.raises(LilasError, match="the truth holds NaN or infinity"):
        evaluate(u, v, spatial=2)


@pytest.mark.parametrize(
    ("truth", "ensemble", "spatial"),
    [((8, 8), (8, 8), 2), ((8, 8), (2, 8, 7), 2), ((8, 8), (0, 8, 8), 2), ((8, 8), (2, 8, 8), 3)],
)
def test_shapes_that_do_not_fit_are_refused(
    truth: tuple[int, ...], ensemble: tuple[int, ...], spatial: int
) -> None:
    with pytest.raises(LilasError, match=r"expected an? (truth|ensemble) "):
        evaluate(noise(*truth), noise(*ensemble), spatial=spatial)
