"""Spectra against brute force and closed forms; `test_official.py` has the official numbers."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from lilas.evaluation.bands import BANDS, band_limits
from lilas.evaluation.field_scores import evaluate
from lilas.evaluation.spectra import (
    bands,
    coherence,
    cross_spectrum,
    power_spectrum,
    shells,
)

SHAPES = [(16, 16), (5, 5), (24, 10), (9, 12), (7, 15), (8, 6, 10), (5, 7, 6), (6, 6, 9)]


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


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
    expected = (coherent + 1e-6) / np.sqrt((power + 1e-6) * (power_v + 1e-6))
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
    # A constant knows nothing of a state that varies, and all of another constant.
    flat = torch.ones_like(u)
    assert coherence(u, flat, 2)[1].max() < 0.01
    assert torch.equal(coherence(flat, flat, 2)[1], torch.ones_like(coherent))
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
        / np.sqrt((power_u + 1e-6) * (power_v + 1e-6)),
    }
    edges = [*np.geomspace(k[0], 0.5, 4), np.inf]
    scores = evaluate(u, v, spatial=len(shape))
    for name, ratio in ratios.items():
        for band, low, high in zip(BANDS, edges[:-1], edges[1:], strict=True):
            inside = (k >= low - 1e-12) & (k <= high + 1e-12)
            expected = np.sqrt(np.mean((1 - ratio[inside]) ** 2))
            assert scores[f"{name}_{band}"].item() == pytest.approx(expected, rel=1e-8)


def test_limits_of_bands_by_hand():
    # From 1/16 to 1/2 each band doubles k.
    found = band_limits(1 / 16)
    assert list(found) == list(BANDS)
    edges = [low for low, _ in found.values()] + [found["beyond"][1]]
    assert edges == pytest.approx([1 / 16, 1 / 8, 1 / 4, 1 / 2, float("inf")])
    assert [high for _, high in found.values()] == edges[1:]
