"""Samplers against closed forms: flows, ancestral steps, correctors, conditional Gaussians."""

import math
from types import SimpleNamespace

import pytest
import torch
from azula.sample import DDPMSampler, PCSampler
from pydantic import ValidationError
from scipy import stats
from torch import nn

from lilas.draws import Draws
from lilas.models.diffusion import Denoiser, Inpainting, make_schedule
from lilas.models.methods import Diffusion
from lilas.models.rollout import ensemble, sampling_draws
from lilas.models.sampling import make_sampler, start_noise
from lilas.official.parity import relative_error
from lilas.seeds import derive
from lilas.study.entries import SamplerEntry
from lilas.study.tasks import Task


class Exact(nn.Module):
    """The network whose denoiser is exact, from E[x | z = x + r noise] as a function.

    `posterior` maps (z, r (batch, 1, …), mask, known) to that mean. The network sees
    y = x_t/sqrt(a^2 + s^2) with r = s/a, so z = y sqrt(1 + r^2).
    """

    def __init__(self, posterior):
        super().__init__()
        self.posterior = posterior

    def forward(self, y, mask, noise, label):
        r = torch.exp(noise / 10).view(-1, *[1] * (y.ndim - 1))
        root = torch.sqrt(1 + r * r)
        return (root * self.posterior(y * root, r, mask, y) - y) / r


def gaussian(variance):
    """The denoiser's mean for x ~ N(0, variance)."""
    return Exact(lambda z, r, mask, known: z * variance / (variance + r * r))


def unconditional(network, schedule, count=1, dtype=torch.float32):
    """A denoiser of `count` windows of one number each, none known."""
    mask = torch.zeros(count, 1, 1, dtype=torch.bool)
    known = torch.zeros(count, 1, 1, dtype=dtype)
    return Inpainting(Denoiser(network, schedule), known, mask, known)


def draws(count):
    return Draws(0, range(count))


def flow_error(method, steps, order=3, schedule="log_linear", variance=0.25):
    """The relative error at t = 0 of the flow from x = 1 at t = 1, in float64.

    For x ~ N(0, v), x_t/sqrt(a^2 v + s^2) is constant along the flow.
    """
    denoiser = unconditional(gaussian(variance), make_schedule(schedule), dtype=torch.float64)
    alpha, sigma = denoiser.schedule(torch.tensor([0.0, 1.0]))
    scale = torch.sqrt(alpha.double() ** 2 * variance + sigma.double() ** 2)
    sampler = make_sampler(method, denoiser, steps=steps, order=order)
    return sampler(torch.ones(1, 1, 1, dtype=torch.float64)).item() * scale[1] / scale[0] - 1


@pytest.mark.parametrize("schedule", ["log_logit", "log_linear", "rectified"])
@pytest.mark.parametrize(
    ("method", "order", "tolerance"),
    [("ab", 3, 1e-3), ("eab", 3, 1e-3), ("heun", 1, 2e-3), ("ddim", 1, 15e-3)],
)
def test_flows_reach_the_closed_form(method, order, tolerance, schedule):
    assert abs(flow_error(method, 256, order, schedule)) < tolerance


@pytest.mark.parametrize(
    ("method", "order", "expected"),
    [
        *[("ab", 1, 1), ("ab", 2, 2), ("ab", 3, 3), ("eab", 1, 1), ("eab", 2, 2)],
        *[("heun", 1, 2), ("ddim", 1, 1)],
    ],
)
def test_halved_steps_shrink_the_error_at_the_methods_order(method, order, expected):
    coarse, fine = (abs(flow_error(method, steps, order)) for steps in (128, 256))
    assert math.log2(coarse / fine) == pytest.approx(expected, abs=0.2)


def test_third_order_exponential_steps_beat_second_order():
    assert 20 * abs(flow_error("eab", 64, 3)) < abs(flow_error("eab", 64, 2))


@pytest.mark.parametrize("method", ["ab", "eab", "ddim", "heun"])
def test_rectified_flow_samples_as_log_logit_does(method):
    """The same signal-to-noise ratios at the same times: the same samples, from the same noise."""
    torch.manual_seed(0)
    noise = torch.randn(64, 1, 1)
    samples = []
    for name in ("log_logit", "rectified"):
        denoiser = unconditional(gaussian(0.25), make_schedule(name), 64)
        alpha, sigma = denoiser.schedule(torch.ones(()))
        start = torch.sqrt(alpha**2 + sigma**2) * noise
        samples.append(make_sampler(method, denoiser, steps=16, order=3)(start))
    assert relative_error(samples[1], samples[0]) < 1e-3


@pytest.mark.parametrize("name", ["log_logit", "rectified"])
def test_sampling_starts_from_noise_of_the_marginal_at_the_end(name):
    """The variance of a x + s noise where x has variance 1."""
    schedule = make_schedule(name, 1e-3, 1.5)
    alpha, sigma = schedule(torch.ones(()))
    noise = start_noise(schedule, torch.zeros(100_000), draws(100_000))
    assert noise.var().item() == pytest.approx((alpha**2 + sigma**2).item(), rel=0.02)


@pytest.mark.parametrize("name", ["log_linear", "rectified"])
def test_an_ancestral_step_has_the_exact_mean_and_variance(name):
    """DDPM: x_s given x_t and x, from the joint Gaussian of the chain x -> x_s -> x_t.

    With x_t = (a_t/a_s) x_s + noise, conditioning on x_t is one Kalman update of N(a_s x, s_s^2).
    """
    variance, value, t, s = 0.25, 0.7, torch.tensor(0.6), torch.tensor(0.45)
    denoiser = unconditional(gaussian(variance), make_schedule(name), 200_000)
    (a_t, a_s), (s_t, s_s) = (u.double() for u in denoiser.schedule(torch.stack([t, s])))
    x_t = value * s_t
    x = a_t * variance * x_t / (a_t**2 * variance + s_t**2)
    slope = a_t / a_s
    added = s_t**2 - slope**2 * s_s**2
    gain = slope * s_s**2 / (slope**2 * s_s**2 + added)
    mean, var = a_s * x + gain * (x_t - slope * a_s * x), (1 - gain * slope) * s_s**2
    sampler = make_sampler("ddpm", denoiser, steps=1, order=1, draws=draws(200_000))
    x_s = sampler.step(torch.full((200_000, 1, 1), x_t.item()), t, s)
    assert x_s.mean().item() == pytest.approx(mean.item(), abs=0.01 * var.sqrt().item())
    assert x_s.var().item() == pytest.approx(var.item(), rel=0.01)


@pytest.mark.parametrize("variance", [0.25, 4.0])
def test_a_corrector_step_is_closed_form_and_keeps_the_marginal(variance):
    """For x ~ N(0, v): x_t <- (1 - w e) x_t + sqrt(d) s noise.

    w = s^2/(a^2 v + s^2), e = 1 - sqrt(1 - d), and d = 0.01 of the noise is exchanged.
    A step from t to t leaves the predictor nothing to do.
    """
    torch.manual_seed(0)
    t = torch.tensor(0.5)
    denoiser = unconditional(gaussian(variance), make_schedule("rectified"), 100_000)
    alpha, sigma = (u.item() for u in denoiser.schedule(t))
    marginal = alpha**2 * variance + sigma**2
    before = math.sqrt(marginal) * torch.randn(100_000, 1, 1)
    sampler = make_sampler("pc", denoiser, steps=1, order=1, draws=draws(100_000))
    after = sampler.step(before, t, t)
    slope = 1 - sigma**2 / marginal * (1 - math.sqrt(0.99))
    change = after - slope * before
    assert change.var().item() == pytest.approx(0.01 * sigma**2, rel=0.02)
    assert (change * before).mean().item() == pytest.approx(0, abs=0.01 * 0.1 * sigma)
    assert after.var().item() == pytest.approx(marginal, rel=0.01)


def test_correctors_alone_reach_the_marginal():
    """From three times its deviation: what is left of the excess after n steps is (1 - w e)^2n."""
    torch.manual_seed(0)
    t, variance = torch.tensor(0.5), 0.25
    denoiser = unconditional(gaussian(variance), make_schedule("log_logit"), 20_000)
    sigma = denoiser.schedule(t)[1].item()
    x = 3 * math.sqrt(variance + sigma**2) * torch.randn(20_000, 1, 1)
    sampler = make_sampler("pc", denoiser, steps=1, order=1, draws=draws(20_000))
    for _ in range(1000):
        x = sampler.step(x, t, t)
    assert x.var().item() == pytest.approx(variance + sigma**2, rel=0.03)


# A mixture of two Gaussians: weights, means, common deviation.
WEIGHTS, MEANS, DEVIATION = torch.tensor([0.3, 0.7]), torch.tensor([-1.0, 1.0]), 0.3


def mixture(z, r, mask, known):
    """E[x | z] for the mixture: its components' means, weighted by how likely each made z."""
    v = DEVIATION**2
    z = z.unsqueeze(-1)
    r = r.unsqueeze(-1)
    odds = torch.log(WEIGHTS) - (z - MEANS).square() / (2 * (v + r * r))
    means = MEANS + v / (v + r * r) * (z - MEANS)
    return (odds.softmax(-1) * means).sum(-1)


@pytest.mark.parametrize(
    ("method", "schedule"),
    [
        *[(method, "log_logit") for method in ("ab", "eab", "ddim", "ddpm", "heun", "pc")],
        *[(method, "rectified") for method in ("ddpm", "pc")],
    ],
)
def test_samples_follow_a_mixture(method, schedule):
    count = 20_000
    denoiser = unconditional(Exact(mixture), make_schedule(schedule), count)
    random = draws(count)
    sampler = make_sampler(method, denoiser, steps=192, order=3, draws=random)
    x = sampler(start_noise(denoiser.schedule, torch.zeros(count, 1, 1), random)).flatten().numpy()
    components = [stats.norm(mean, DEVIATION) for mean in MEANS.tolist()]

    def cdf(value):
        return sum(w * c.cdf(value) for w, c in zip(WEIGHTS.tolist(), components, strict=True))

    # 0.0115 is the statistic's 99th percentile for exact samples.
    assert stats.kstest(x, cdf).statistic < 0.016


# A Gaussian process over a window of five states: variance 1.5, correlation exp(-lag/2).
TIME = torch.arange(5.0)
COVARIANCE = 1.5 * torch.exp(-(TIME[:, None] - TIME).abs() / 2)


def conditional(z, r, mask, known):
    """E[x | known states, noisy others] for the process, row by row of windows (batch, 1, 5)."""
    mask = mask.expand_as(z)[:, 0]
    seen = torch.where(mask, known[:, 0], z[:, 0])
    noise = torch.where(mask, 0.0, r[:, 0] ** 2)
    covariance = COVARIANCE.to(z.dtype)
    return (covariance @ torch.linalg.solve(covariance + torch.diag_embed(noise), seen)[..., None])[
        ..., 0
    ][:, None]


def kriging(mask, known):
    """The exact mean and covariance of the unknown states given the known ones."""
    covariance = COVARIANCE.double()
    weights = covariance[~mask][:, mask] @ torch.linalg.inv(covariance[mask][:, mask])
    mean = weights @ known[mask].double()
    return mean, covariance[~mask][:, ~mask] - weights @ covariance[mask][:, ~mask]


KNOWN = torch.tensor([1.3, -0.4, 0.9, 0.2, -1.1])
MASKS = [[1, 0, 0, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 1, 1], [0, 1, 0, 1, 0]]


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("method", "schedule"), [("ab", "log_logit"), ("heun", "rectified")])
def test_windows_follow_the_conditional_distribution(method, schedule, mask):
    """The flow is affine, x_0 = A x_1 + b: five unit vectors give its samples' exact moments."""
    mask = torch.tensor(mask, dtype=torch.bool)
    unknown = ~mask
    rows = mask.expand(6, 5)[:, None]
    denoiser = Denoiser(Exact(conditional), make_schedule(schedule))
    inpainting = Inpainting(denoiser, None, rows, KNOWN.double().expand(6, 1, 5))
    alpha, sigma = denoiser.schedule(torch.ones(()))
    scale = torch.sqrt(alpha**2 + sigma**2).double()
    start = torch.cat([torch.zeros(1, 5), torch.eye(5)]).double()[:, None] * scale
    end = make_sampler(method, inpainting, steps=192, order=3)(start)[:, 0]
    assert torch.allclose(end[0, mask], KNOWN[mask].double(), atol=3e-3)
    mean, matrix = end[0], (end[1:] - end[0]).T
    expected_mean, expected_covariance = kriging(mask, KNOWN)
    assert torch.allclose(mean[unknown], expected_mean, atol=1e-2)
    assert torch.allclose((matrix @ matrix.T)[unknown][:, unknown], expected_covariance, atol=1e-2)


@pytest.mark.parametrize(("method", "steps"), [("ddpm", 512), ("pc", 128)])
def test_random_samplers_follow_the_conditional_distribution(method, steps):
    mask, count = torch.tensor(MASKS[0], dtype=torch.bool), 8192
    denoiser = Denoiser(Exact(conditional), make_schedule("log_logit"))
    known = KNOWN.expand(count, 1, 5)
    inpainting = Inpainting(denoiser, None, mask.expand(count, 5)[:, None], known)
    random = draws(count)
    start = start_noise(denoiser.schedule, known, random)
    sampler = make_sampler(method, inpainting, steps=steps, order=1, draws=random)
    x = sampler(start)[:, 0, ~mask].double()
    expected_mean, expected_covariance = kriging(mask, KNOWN)
    assert torch.allclose(x.mean(0), expected_mean, atol=0.05)
    assert torch.allclose(x.T.cov(), expected_covariance, atol=0.08)


@pytest.mark.parametrize(("method", "theirs"), [("ddpm", DDPMSampler), ("pc", PCSampler)])
def test_noise_of_samples_own_changes_nothing_else(method, theirs, monkeypatch):
    """azula's sampler, where it is given the same noise."""
    denoiser = unconditional(Exact(mixture), make_schedule("rectified"), 64)
    start = start_noise(denoiser.schedule, torch.zeros(64, 1, 1), draws(64))
    ours = make_sampler(method, denoiser, steps=8, order=1, draws=draws(64))(start)
    monkeypatch.setattr(torch, "randn_like", draws(64).normal)
    assert relative_error(ours, theirs(denoiser, steps=8, silent=True)(start)) < 1e-5


def heated(temperature, algorithm, members, steps=16):
    """Unknown states (member, 4) of windows whose first state is known, by the whole rollout."""
    options = {"steps": steps, "members": members, "temperature": temperature}
    sampler = SamplerEntry(algorithm=algorithm, **options, batch_size=members)
    given = KNOWN[:1].view(1, 1, 1)
    found = ensemble(
        *(Diffusion(Exact(conditional)), given, torch.zeros(1, 1), [0]),
        states=5,
        settings=SimpleNamespace(window=5, context_noise=0),
        sampler=sampler,
    )
    return found[0, :, 1:, 0].double()


@pytest.mark.parametrize("algorithm", ["ab", "eab", "ddim", "ddpm", "heun", "pc"])
def test_members_of_a_gaussian_lie_as_much_further_apart_as_noise_is_warmer(algorithm):
    """Every algorithm is affine in all its noise: x = b + T c, b of no noise at all."""
    middle, plain, warm = (heated(t, algorithm, 32) for t in (1e-6, 1.0, 1.5))
    assert middle.std(0).max() < 1e-3
    assert torch.allclose(warm - middle, 1.5 * (plain - middle), atol=5e-3)
    assert plain.std(0).min() > 0.5


def test_the_temperature_is_a_factor_of_the_known_deviation():
    found = heated(1.3, "ab", 8192, 64)
    mean, covariance = kriging(torch.tensor(MASKS[0], dtype=torch.bool), KNOWN)
    assert torch.allclose(found.mean(0), mean, atol=0.05)
    assert torch.allclose(found.T.cov(), 1.3**2 * covariance, atol=0.1)


def test_a_temperature_of_one_leaves_every_bit_and_every_record():
    names, like = [(3, 0), (3, 1)], torch.zeros(2, 5)
    sampler = SamplerEntry(algorithm="ddpm")
    own = sampling_draws(sampler, names)
    assert torch.equal(own.normal(like), Draws(derive(sampler.seed), names).normal(like))
    warm = sampling_draws(sampler.model_copy(update={"temperature": 2.0}), names)
    assert torch.equal(warm.uniform(), Draws(derive(sampler.seed), names).uniform())
    assert "temperature" not in Task(sampler=sampler).record()["sampler"]


def test_crops_that_keep_no_new_state_are_refused():
    for given in ({"context": 3}, {"overlap": 3}):
        with pytest.raises(ValidationError, match=r"crop 3 keeps no new state .* at least 4"):
            SamplerEntry(algorithm="ab", crop=3, **given)
    assert SamplerEntry(algorithm="ab", crop=4, context=3).crop == 4
