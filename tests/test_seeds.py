"""Random numbers that belong to samples: their distributions, and that company changes nothing."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from lilas.data.augment import Augmentation
from lilas.draws import Draws
from lilas.models.autoencoder import Autoencoder
from lilas.models.build import make_emulator
from lilas.models.masks import draw_masks
from lilas.models.rollout import rollout
from lilas.official.parity import relative_error
from lilas.seeds import derive
from lilas.study.entries import SamplerEntry, emulator_settings


class Recorded(Draws):
    """Keeps what it gave."""

    def __init__(self, *names):
        super().__init__(*names)
        self.given = []

    def uniform(self):
        self.given.append(super().uniform())
        return self.given[-1]

    def normal(self, like):
        self.given.append(super().normal(like))
        return self.given[-1]


def emulator(method="diffusion"):
    torch.manual_seed(0)
    network = {"channels": 16, "blocks": 1, "heads": 2, "embedding": 8}
    settings = emulator_settings({"method": method, "network": network})
    return make_emulator(settings, 2, 3, 2).eval()


# --- Distributions ----------------------------------------------------------------------------


def test_uniform_numbers_are_uniform_and_open():
    u = np.stack([Draws(derive(seed), range(1000)).uniform() for seed in range(200)])
    assert stats.kstest(u.ravel(), "uniform").pvalue > 0.001
    assert 0 < u.min() < u.max() < 1
    # 0 and 1 themselves cannot be drawn: the ends of the words that they are made of.
    draws = Draws(0, [0])
    for word in (0, -1):
        draws._words = lambda count, keys, word=word: torch.full((1, 1), word)
        assert 0 < draws.uniform().item() < 1


def test_integers_are_uniform():
    counts = torch.bincount(Draws(1, range(70_000)).below(7), minlength=7)
    assert len(counts) == 7
    assert stats.chisquare(counts.numpy()).pvalue > 0.001


@pytest.mark.parametrize("seed", [0, 1, 2**62])
def test_normal_numbers_are_normal(seed):
    x = Draws(seed, range(100)).normal(torch.empty(100, 3, 1117)).flatten().double().numpy()
    assert stats.kstest(x, "norm").pvalue > 0.001
    spread = len(x) ** -0.5
    # Moments 1 to 4 of N(0, 1), whose estimates have variances 1, 2, 15 and 96 over n.
    for power, (moment, variance) in enumerate([(0, 1), (1, 2), (0, 15), (3, 96)], start=1):
        assert abs((x**power).mean() - moment) < 4 * spread * variance**0.5
    assert 4.2 < abs(x).max() < 7


def test_what_is_drawn_for_different_names_is_independent():
    """Numbers side by side in a sample, samples, steps, members, and one call after another."""
    like = torch.empty(64, 501)
    steps = [Draws(derive(0, step), range(64)) for step in range(8)]
    x = torch.stack([torch.stack([d.normal(like), d.normal(like)]) for d in steps])
    pairs = torch.cartesian_prod(torch.arange(8), torch.arange(8))
    members = Draws(derive(0), pairs).normal(like).unflatten(0, (8, 8))
    cases = [(x[:-1], x[1:]), (x[:, 0], x[:, 1]), (x[..., :-1, :], x[..., 1:, :])]
    cases += [(x[..., :-lag], x[..., lag:]) for lag in (1, 2, 3)]
    cases += [(members[:-1], members[1:]), (members[:, :-1], members[:, 1:])]
    cases += [(members, members.transpose(0, 1).roll(1, 0))]
    for a, b in cases:
        for f in (lambda z: z, torch.square, torch.abs):
            found = stats.pearsonr(f(a).flatten().numpy(), f(b).flatten().numpy())
            assert abs(found.statistic) < 4 * a.numel() ** -0.5
    # All samples against each other: off-diagonal correlations have variance 1/n.
    flat = members.flatten(0, 1).numpy()
    correlation = np.corrcoef(flat)[np.triu_indices(64, 1)]
    assert (correlation * 501**0.5).std() == pytest.approx(1, abs=0.06)


# --- Company ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5, 16, 1117])
@pytest.mark.parametrize("cut", [1, 3, 4, 7])
def test_a_sample_draws_the_same_alone_and_in_company(size, cut):
    names, like = torch.arange(8), torch.empty(8, size)
    whole = Draws(5, names)
    parts = [Draws(5, part) for part in names.split(cut)]
    for _ in range(2):
        normal = torch.cat([part.normal(like[: len(part)]) for part in parts])
        assert torch.equal(whole.normal(like), normal)
        assert torch.equal(whole.uniform(), torch.cat([part.uniform() for part in parts]))


def test_numbers_are_those_of_the_hash():
    """By hand, in Python's integers; SplitMix64's first output from seed 0 is known."""

    def mix(z):
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31

    def spread(n):
        return mix((n + 1) * 0x9E3779B97F4A7C15 % 2**64)

    assert spread(0) == 0xE220A8397B1DCDAF
    draws = Draws(11, [[3, 4]])
    key = mix((mix((mix(11) + spread(3)) % 2**64) + spread(4)) % 2**64)
    for place in range(3):
        word = mix((key + spread(place)) % 2**64)
        assert draws.uniform().item() == ((word >> 12) + 0.5) / 2**52


def test_micro_batches_draw_what_the_batch_draws():
    """Times, masks, noise and augmentation of 8 windows at once, and of 4 and 4."""
    model, given = emulator(), []
    channels = [SimpleNamespace(name="a", field="a", order=0, axes=())]
    file = SimpleNamespace(grid="cartesian", axes=("x", "y"), shape=(4, 6), path="a")
    file.boundaries, file.channels, file.trajectories = np.full((2, 2), 2), channels, 1
    augment = Augmentation({"flip": ["x"], "roll": ["y"], "permute": False}, [file], None)
    x = torch.randn(8, 1, 5, 4, 6, generator=torch.Generator().manual_seed(1))
    for parts in ([range(8)], [range(4), range(4, 8)]):
        found, masks, moved = [], [], []
        for part in parts:
            draws = Recorded(7, part)
            label, rows = torch.zeros(len(part), 4), np.zeros(len(part), int)
            window, _ = augment(x[part.start : part.stop], label, rows, draws)
            mask = draw_masks(draws, 5, rate=2.0, forward=0.5)
            model.loss(window.repeat(1, 2, 1, 1, 1), torch.zeros(len(part), 3), mask, draws)
            found.append(draws.given)
            masks.append(mask)
            moved.append(window)
        given.append([torch.cat(u) for u in [*zip(*found, strict=True), masks, moved]])
    # A flip, a roll, a permutation; how many states are known, on which side; a time and noise.
    assert len(given[0]) == 7 + 2
    for whole, cut in zip(*given, strict=True):
        assert torch.equal(whole, cut)
    assert not torch.equal(given[0][-1], x)


def test_noise_on_latents_is_the_samples_own_and_only_in_training():
    model = Autoencoder(
        torch.nn.Identity(),
        torch.nn.Identity(),
        pixel_channels=2,
        latent_channels=2,
        factor=1,
        spatial=2,
        latent_noise=0.5,
    )
    z = torch.zeros(8, 2, 4, 6)
    noise = model.decode(z, Draws(1, range(8)))
    parts = [model.decode(z[:4], Draws(1, part)) for part in (range(4), range(4, 8))]
    assert torch.equal(noise, torch.cat(parts))
    assert noise.std().item() == pytest.approx(0.5, rel=0.1)
    assert torch.equal(model.eval().decode(z, Draws(1, range(8))), z)


@pytest.mark.parametrize("algorithm", ["ab", "ddpm", "pc"])
def test_trajectories_roll_out_alone_as_in_company(algorithm):
    """3 trajectories of 2 members, one, two and all at once: the same noise to the bit."""
    model = emulator()
    sampler = SamplerEntry(algorithm=algorithm, steps=3)
    generator = torch.Generator().manual_seed(1)
    start, label = torch.randn(3, 2, 1, 4, 6, generator=generator), torch.randn(3, 3)
    runs = []
    for together in (1, 2, 3):
        found, noise = [], []
        for block in torch.arange(3).split(together):
            draws = Recorded(9, torch.cartesian_prod(block, torch.arange(2)))
            step = model.stepper(label[block].repeat_interleave(2, 0), sampler, draws)
            context = start[block].repeat_interleave(2, 0)
            found.append(rollout(step, context, states=9, window=5, overlap=1))
            noise.append(torch.stack(draws.given))
        runs.append((torch.cat(found), torch.cat(noise, 1)))
    for found, noise in runs[1:]:
        assert torch.equal(noise, runs[0][1])
        assert relative_error(found, runs[0][0]) < 1e-5
    # Neither members nor windows share their noise.
    noise = runs[0][1].flatten(2).flatten(0, 1)
    assert len(noise.unique(dim=0)) == len(noise)
