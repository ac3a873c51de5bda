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
from lilas.metrics import (
    BANDS,
    METRICS,
    bands,
    coherence,
    cross_spectrum,
    evaluate,
    power_spectrum,
    shells,
)

REFERENCE = Path(__file__).parent / "data/lola_1.1.0/metrics"
SHAPES = [(16, 16), (5, 5), (24, 10), (9, 12), (7, 15), (8, 6, 10), (5, 7, 6), (6, 6, 9)]


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("name", ["2d", "3d"])
def test_spread_skill_is_the_ratio_that_the_official_code_plots(name: str) -> None:
    data = np.load(REFERENCE / f"{name}.npz")
    u, v = torch.from_numpy(data["u"]), torch.from_numpy(data["v"])
    ratio = (float(data["spread"]) + 1e-3) / (float(data["rmse"]) + 1e-3)
    found = evaluate(u, v, spatial=u.ndim)["spread_skill"]
    assert found.item() == pytest.approx(ratio, rel=1e-5)


# --- Spectra ------------------------------------------------------------------------------------


def brute_force(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns k, <|U|²>, <|U conj V|>, Re <U conj V> by a loop over the full complex spectrum."""
    shape = u.shape
    U, V = (np.fft.fftn(x) / math.sqrt(x.size) for x in (u, v))
    axes = [np.fft.fftfreq(size) for size in shape]
    largest = math.sqrt(sum(max(abs(axis)) ** 2 for axis in axes))
    count = int(math.sqrt(len(shape)) * min(shape) / 2)
    edges = [largest * i / count for i in range(count + 1)]
    inside: list[list[tuple[complex, complex]]] = [[] for _ in edges]
    for place in itertools.product(*(range(size) for size in shape)):
        k = math.sqrt(sum(axis[i] ** 2 for axis, i in zip(axes, place, strict=True)))
        inside[next(i for i, edge in enumerate(edges) if k <= edge + 1e-12)].append(
            (U[place], V[place])
        )
    full = [(edge, pairs) for edge, pairs in zip(edges, inside, strict=True) if pairs and edge > 0]
    return (
        np.array([edge for edge, _ in full]),
        np.array([np.mean([abs(a) ** 2 for a, _ in pairs]) for _, pairs in full]),
        np.array([np.mean([abs(a * b.conjugate()) for a, b in pairs]) for _, pairs in full]),
        np.array([np.mean([(a * b.conjugate()).real for a, b in pairs]) for _, pairs in full]),
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_spectra_equal_brute_force(shape: tuple[int, ...]) -> None:
    u, v = (noise(*shape, seed=seed, dtype=torch.double) for seed in (1, 2))
    v = v + 0.5 * u
    k, power, cross, coherent = brute_force(u.numpy(), v.numpy())
    found_k, found_power = power_spectrum(u, len(shape))
    np.testing.assert_allclose(found_k, k, rtol=1e-12)
    np.testing.assert_allclose(found_power, power, rtol=1e-9)
    np.testing.assert_allclose(cross_spectrum(u, v, len(shape))[1], cross, rtol=1e-9)
    power_v = brute_force(v.numpy(), v.numpy())[1]
    expected = (coherent + 1e-6) / (np.sqrt(power * power_v) + 1e-6)
    np.testing.assert_allclose(coherence(u, v, len(shape))[1], expected, rtol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_parseval(shape: tuple[int, ...]) -> None:
    u = noise(3, *shape) + 2.0
    axes = tuple(range(1, u.ndim))
    energy = (u - u.mean(axes, keepdim=True)).double().square().sum(axes)
    _, power = power_spectrum(u, len(shape))
    modes = shells(shape, torch.device("cpu")).modes
    assert modes.sum() == math.prod(shape) - 1
    torch.testing.assert_close((power * modes).sum(-1), energy, rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", [(24, 32), (12, 15, 10)])
def test_white_noise_is_flat(shape: tuple[int, ...]) -> None:
    states, sigma = 64, 3.0
    _, power = power_spectrum(sigma * noise(states, *shape, seed=4), len(shape))
    modes = shells(shape, torch.device("cpu")).modes
    # A bin averages modes / 2 independent exponentials of mean and deviation sigma².
    deviation = sigma**2 / torch.sqrt(states * modes / 2)
    assert ((power.mean(0) - sigma**2).abs() < 4.5 * deviation).all()
    assert deviation.max() < 0.1 * sigma**2


@pytest.mark.parametrize(
    ("shape", "mode"),
    [
        ((16, 16), (3, 0)),
        ((16, 16), (0, 8)),
        ((32, 12), (5, 2)),
        ((9, 11), (4, 5)),
        ((8, 10, 12), (1, 2, 3)),
        ((8, 8, 8), (0, 0, 1)),
    ],
)
def test_a_mode_lands_in_its_bin(shape: tuple[int, ...], mode: tuple[int, ...]) -> None:
    phase = sum(
        2
        * math.pi
        * m
        * torch.arange(size, dtype=torch.double).view(-1, *[1] * (len(shape) - i))
        / size
        for i, (m, size) in enumerate(zip(mode, shape, strict=True), 1)
    )
    u = torch.cos(phase).expand(shape)
    k, power = power_spectrum(u, len(shape))
    where = int(
        torch.searchsorted(k, math.hypot(*(m / n for m, n in zip(mode, shape, strict=True))) - 1e-9)
    )
    energy = power * shells(shape, torch.device("cpu")).modes
    total = u.square().sum()
    assert energy[where].item() == pytest.approx(total.item(), rel=1e-9)
    assert energy.sum().item() == pytest.approx(total.item(), rel=1e-9)


def test_a_large_mean_does_not_drown_the_spectrum() -> None:
    # Multiples of 1/64 about 8192 are exact in float32.
    u = torch.round(64 * noise(32, 32, seed=7)) / 64
    _, power = power_spectrum(u, 2)
    _, shifted = power_spectrum(u + 8192, 2)
    torch.testing.assert_close(shifted, power, rtol=1e-5, atol=0)


def test_bands_by_hand() -> None:
    k = torch.tensor([1 / 16, 1 / 8, 0.13, 1 / 4, 0.3, 1 / 2, 0.6], dtype=torch.double)
    expected = {
        "low": [1, 1, 0, 0, 0, 0, 0],
        "mid": [0, 1, 1, 1, 0, 0, 0],
        "high": [0, 0, 0, 1, 1, 1, 0],
        "beyond": [0, 0, 0, 0, 0, 1, 1],
    }
    assert {name: inside.int().tolist() for name, inside in bands(k).items()} == expected


def test_coherence_sees_the_phase_that_the_cross_spectrum_does_not() -> None:
    u, v = noise(8, 64, 64, seed=1), noise(8, 64, 64, seed=2)
    modes = shells((64, 64), torch.device("cpu")).modes
    # For complex Gaussian modes, <|U|><|V|> / <|U|²> = pi / 4.
    cross = (cross_spectrum(u, v, 2)[1] * modes).sum(-1) / modes.sum()
    assert cross.mean().item() == pytest.approx(math.pi / 4, abs=0.01)
    coherent = coherence(u, v, 2)[1]
    deviation = 1 / torch.sqrt(modes / 2 * len(u))
    assert (coherent.mean(0).abs() < 4.5 * deviation).all()
    assert torch.equal(coherence(u, u, 2)[1], torch.ones_like(coherent))
    torch.testing.assert_close(
        coherence(u, -u, 2)[1], -torch.ones_like(coherent), rtol=1e-3, atol=0
    )
    # Shifted by a quarter of its wave, a cosine is orthogonal to itself.
    wave = torch.cos(2 * math.pi * torch.arange(64, dtype=torch.double) / 16).expand(64, 64)
    k, shifted = coherence(wave, wave.roll(4, -1), 2)
    where = int(torch.searchsorted(k, 1 / 16 - 1e-9))
    assert abs(shifted[where].item()) < 1e-6
    power, cross = power_spectrum(wave, 2)[1], cross_spectrum(wave, wave.roll(4, -1), 2)[1]
    assert cross[where].item() == pytest.approx(power[where].item(), rel=1e-9)


@pytest.mark.parametrize("shape", [(12, 16), (9, 7, 8)])
def test_band_errors_equal_brute_force(shape: tuple[int, ...]) -> None:
    u = noise(*shape, seed=1, dtype=torch.double)
    v = 0.7 * u + 0.6 * noise(3, *shape, seed=2, dtype=torch.double)
    members = [brute_force(u.numpy(), member.numpy()) for member in v]
    k, power_u, *_ = members[0]
    power_v = np.mean([brute_force(m.numpy(), m.numpy())[1] for m in v], 0)
    ratios = {
        "power_spectrum": (power_v + 1e-6) / (power_u + 1e-6),
        "cross_spectrum": (np.mean([m[2] for m in members], 0) + 1e-6)
        / np.sqrt(power_u * power_v + 1e-12),
        "coherence": (np.mean([m[3] for m in members], 0) + 1e-6)
        / (np.sqrt(power_u * power_v) + 1e-6),
    }
    edges = [*np.geomspace(k[0], 0.5, 4), np.inf]
    scores = evaluate(u, v, spatial=len(shape))
    for name, ratio in ratios.items():
        for band, low, high in zip(BANDS, edges[:-1], edges[1:], strict=True):
            inside = (k >= low - 1e-12) & (k <= high + 1e-12)
            expected = np.sqrt(np.mean((1 - ratio[inside]) ** 2))
            assert scores[f"{name}_{band}"].item() == pytest.approx(expected, rel=1e-8)


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


@settings(max_examples=20, deadline=None)
@given(st.integers(-6, 6), st.booleans(), st.integers(0, 1000))
def test_scale(power: int, negative: bool, seed: int) -> None:
    scale = (-1.0 if negative else 1.0) * 2.0**power
    u = 1e4 * noise(12, 12, seed=seed, dtype=torch.double)
    v = u + 3e3 * noise(3, 12, 12, seed=seed + 1, dtype=torch.double)
    before, after = (evaluate(s * u, s * v, spatial=2) for s in (1.0, scale))
    assert before.keys() == after.keys() == METRICS.keys()
    for name, metric in METRICS.items():
        expected = before[name] * (abs(scale) if metric.units == "field" else 1.0)
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
    for name, score in scores.items():
        if name.startswith("cross_spectrum"):
            # The official constants leave 1 - (p + e) / sqrt(p² + e²), not small where p is.
            tolerance = 1e-5 if level >= 1 else 0.5
        elif name == "spread_skill":
            assert torch.equal(score, torch.ones(2, dtype=torch.double))
            continue
        else:
            tolerance = 1e-12
        assert score.abs().max() <= tolerance, name


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
    assert list(whole) == list(METRICS)
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
    with pytest.raises(LilasError, match="unknown 'crps'; allowed: rmse, "):
        evaluate(u, v, spatial=2, names=["crps"])


def test_undefined_scores_are_left_out() -> None:
    u, v = noise(8, 8), noise(1, 8, 8, seed=1)
    assert METRICS.keys() - evaluate(u, v, spatial=2).keys() == {"spread", "spread_skill"}
    # A 4 x 4 grid has two bins, at k = 0.35 and 0.71: none in the middle bands.
    small = evaluate(u[:4, :4], noise(2, 4, 4), spatial=2)
    assert METRICS.keys() - small.keys() == {
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
    u[0, 0, 0] = value
    with pytest.raises(LilasError, match="the truth holds NaN or infinity"):
        evaluate(u, v, spatial=2)


@pytest.mark.parametrize(
    ("truth", "ensemble", "spatial"),
    [((8, 8), (8, 8), 2), ((8, 8), (2, 8, 7), 2), ((8, 8), (0, 8, 8), 2), ((8, 8), (2, 8, 8), 3)],
)
def test_shapes_that_do_not_fit_are_refused(
    truth: tuple[int, ...], ensemble: tuple[int, ...], spatial: int
) -> None:
    with pytest.raises(LilasError, match="expected a truth"):
        evaluate(noise(*truth), noise(*ensemble), spatial=spatial)
