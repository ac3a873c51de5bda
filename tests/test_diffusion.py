"""Schedules, denoiser and methods: closed forms, and what must hold of any."""

import math
from types import SimpleNamespace

import pytest
import torch
from azula.noise import Schedule
from pydantic import ValidationError
from scipy import stats

from lilas.draws import Draws
from lilas.models.build import make_emulator
from lilas.models.diffusion import PRIORS, Denoiser, make_schedule
from lilas.models.rollout import Window, backward, rollout
from lilas.nn.vit import rotary_angles, sum_over_grid
from lilas.official.parity import relative_error
from lilas.study.emulators import NoiseSettings
from lilas.study.entries import SamplerEntry, emulator_settings

DRAWS = Draws(0, range(2))


@pytest.mark.parametrize("crop", [None, 3, 4, 5])
@pytest.mark.parametrize(("context", "overlap"), [(1, 1), (1, 2), (2, 1), (2, 2)])
def test_rollouts_count_on(context, overlap, crop):
    """Of an emulator that adds one per state, whatever is kept of a window and given on."""

    def count(window):
        known, given = window.known, window.mask[0].sum()
        later = known[:, :, given - 1 : given] + torch.arange(1, 6 - given).view(1, 1, -1, 1)
        return torch.cat([known[:, :, :given], later], dim=2)

    states = torch.arange(14.0).view(1, 1, -1, 1)
    made = rollout(count, states[:, :, :context], states=14, window=5, overlap=overlap, crop=crop)
    assert torch.equal(made, states)


@pytest.mark.parametrize("crop", [None, 4])
@pytest.mark.parametrize(("context", "overlap"), [(1, 1), (3, 2)])
def test_backward_rollouts_count_down(context, overlap, crop):
    """Of the emulator that sees a window as time goes, and takes one off per state before."""

    def count(window):
        known, given = window.known, window.mask[0].sum()
        assert window.mask[0].tolist() == [False] * (5 - given) + [True] * given
        first = known[:, :, 5 - given : 6 - given]
        earlier = first - torch.arange(5 - given, 0, -1).view(1, 1, -1, 1)
        return torch.cat([earlier, known[:, :, 5 - given :]], dim=2)

    states = torch.arange(13.0, -1, -1).view(1, 1, -1, 1)
    given = states[:, :, :context]
    made = rollout(backward(count), given, states=14, window=5, overlap=overlap, crop=crop)
    assert torch.equal(made, states)


def entry(noisy: bool = True, **network):
    method = "diffusion" if noisy else "solver"
    return emulator_settings({"method": method, "network": network})


def test_paper_size():
    with torch.device("meta"):
        model = make_emulator(entry(channels=1024, blocks=16, heads=8, embedding=256), 64, 6, 2)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == 222.9


TIMES = torch.linspace(0, 1, 11)


@pytest.mark.parametrize(
    ("schedule", "t", "alpha", "sigma"),
    [
        # At the middle logit(u) is 0, since u goes from 1/101 to 100/101.
        (("log_logit", 1e-2, 1e2), 0.5, 1.0, 1.0),
        (("log_logit", 1e-2, 1e2, 2.0, 0.7), 0.5, 1.0, math.exp(0.7)),
        (("log_logit", 1e-2, 1e2, 2.0, 0.7), 0.0, 1.0, 1e-4 * math.exp(0.7)),
        (("log_logit", 1e-2, 1e2, 0.5, 0.0), 1.0, 1.0, 10.0),
        (("log_linear", 1e-3, 10.0), 0.5, 1.0, 0.1),
        (("log_linear", 1e-3, 10.0), 0.25, 1.0, 0.01),
        (("rectified", 1e-3, 50.0), 0.0, 1.0, 1e-3),
        (("rectified", 1e-3, 50.0), 1.0, 0.02, 1.0),
        (("rectified", 1e-3, 50.0), 0.5, 0.51, 0.5005),
    ],
)
def test_schedules_closed_forms(schedule, t, alpha, sigma):
    name, low, high, *options = schedule
    options = dict(zip(("scale", "shift"), options, strict=False))
    found = make_schedule(name, low, high, **options)(torch.tensor(t))
    assert found[0].item() == pytest.approx(alpha, rel=1e-5)
    assert found[1].item() == pytest.approx(sigma, rel=1e-5)


def test_rectified_flow_is_log_logit_up_to_scale():
    """At every time, where sigma_min sigma_max = 1."""
    alpha, sigma = make_schedule("rectified", 1e-3, 1e3)(TIMES)
    assert torch.allclose(sigma / alpha, make_schedule("log_logit", 1e-3, 1e3)(TIMES)[1], rtol=1e-4)
    # Straight paths: linear in time.
    assert torch.allclose(alpha.diff(), alpha.diff()[0].expand(10), atol=1e-6)
    assert torch.allclose(sigma.diff(), sigma.diff()[0].expand(10), atol=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sigma_min": 1.0, "sigma_max": 1.0}, "smaller than sigma_max"),
        ({"schedule": "rectified", "logit_shift": 1.0}, "belong to log_logit"),
        ({"prior_parameters": (0.0, 1.0)}, "greater than 0"),
        ({"logit_scale": 0.0}, "greater than 0"),
    ],
)
def test_schedules_that_cannot_be_are_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        NoiseSettings(**values)


@pytest.mark.parametrize(
    ("noise", "schedule"),
    [({}, "rectified"), ({"prior": "beta"}, "rectified"), ({"schedule": "log_logit"}, "log_logit")],
)
def test_a_flows_paths_are_straight_unless_it_says_otherwise(noise, schedule):
    """Also beside other settings, and when what is left at its default is left out of a task."""
    network = {"channels": 8, "blocks": 1, "heads": 2}
    asked = emulator_settings({"method": "flow", "network": network, "diffusion": noise})
    again = emulator_settings(asked.model_dump(mode="json", exclude_defaults=True))
    assert asked.diffusion.schedule == again.diffusion.schedule == schedule


@pytest.mark.parametrize(
    ("prior", "distribution"),
    [
        ("uniform", stats.uniform()),
        ("beta", stats.beta(2.0, 3.0)),
        # Kumaraswamy(a, b) is the a-th root of Beta(1, b).
        ("kumaraswamy", SimpleNamespace(cdf=lambda t: stats.beta(1.0, 3.0).cdf(t**2.0))),
    ],
)
def test_priors_of_time_follow_their_distributions(prior, distribution):
    t = PRIORS[prior](Draws(0, range(20_000)).uniform(), 2.0, 3.0)
    assert stats.kstest(t.numpy(), distribution.cdf).statistic < 0.014


class Constant(torch.nn.Module):
    """A network that always answers the same."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x, mask, noise, label):
        return torch.full_like(x, self.value)


@pytest.mark.parametrize("schedule", [make_schedule("log_logit"), make_schedule("rectified")])
def test_denoiser_knows_data_of_unit_variance(schedule):
    """Bayes: for x ~ N(0, 1), E[x | x_t] = a x_t/(a^2 + s^2), V[x | x_t] = s^2/(a^2 + s^2).

    The network's answer moves the mean by as many standard deviations of the posterior.
    """
    a, s = (u.view(-1, 1, 1) for u in schedule(TIMES))
    x_t = torch.randn(11, 1, 1, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(11, 1, 1, dtype=torch.bool)
    for value in (0.0, 2.0):
        q = Denoiser(Constant(value), schedule)(x_t, TIMES, label=None, mask=mask, known=x_t)
        mean, var = a * x_t / (a**2 + s**2), s**2 / (a**2 + s**2)
        assert torch.allclose(q.mean, mean + value * var.sqrt(), rtol=1e-5, atol=1e-7)
        assert torch.allclose(q.var, var, rtol=1e-5, atol=0)


class Fixed(Schedule):
    """One alpha and one sigma at all times."""

    def __init__(self, alpha, sigma):
        self.alpha, self.sigma = alpha, sigma

    def __call__(self, t):
        return torch.full_like(t, self.alpha), torch.full_like(t, self.sigma)


@pytest.mark.parametrize("alpha", [1e-3, 0.3, 4.0])
def test_denoiser_depends_on_the_ratio_of_noise_to_signal_alone(alpha):
    """The same state, told at another scale, has the same clean estimate; known states too."""
    x, label, mask = batch()
    backbone = emulator().backbone.eval()
    mask, t = mask.view(2, 1, 5, 1, 1), torch.tensor([0.2, 0.7])
    x_t = x + 0.8 * torch.randn(x.shape, generator=torch.Generator().manual_seed(4))
    given = {"label": label, "mask": mask, "known": x}
    with torch.no_grad():
        one = Denoiser(backbone, Fixed(1.0, 0.8))(x_t, t, **given)
        other = Denoiser(backbone, Fixed(alpha, 0.8 * alpha))(alpha * x_t, t, **given)
        off = Denoiser(backbone, Fixed(alpha, 0.9 * alpha))(alpha * x_t, t, **given)
    assert relative_error(other.mean, one.mean) < 1e-5
    assert relative_error(other.var, one.var) < 1e-5
    assert relative_error(off.mean, one.mean) > 1e-2


def test_known_states_come_out_as_they_went_in():
    torch.manual_seed(0)
    model = make_emulator(entry(channels=16, blocks=1, heads=2, embedding=8), 2, 3, 1).eval()
    known = torch.randn(2, 2, 5, 4)
    mask = torch.tensor([[1, 1, 0, 0, 0], [1, 0, 0, 0, 0]], dtype=torch.bool)
    sampler = SamplerEntry(algorithm="ab", steps=16)
    window = model.stepper(torch.zeros(2, 3), sampler, DRAWS)(Window(known, mask, 0))
    over = mask.view(2, 1, 5, 1).expand_as(known)
    assert torch.allclose(window[over], known[over], atol=1e-2)


def emulator(noisy: bool = True, **changes):
    torch.manual_seed(0)
    options = {"channels": 16, "blocks": 2, "heads": 2, "embedding": 8, "dropout": 0.0} | changes
    return make_emulator(entry(noisy, **options), 2, 3, 2)


def batch(size: int = 2):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(size, 2, 5, 4, 6, generator=generator)
    return x, torch.randn(size, 3, generator=generator), torch.arange(5).expand(size, 5) < 2


def gradients(model, *arguments):
    torch.manual_seed(2)
    model.zero_grad()
    model.loss(*arguments, Draws(2, range(2))).backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


@pytest.mark.parametrize("noisy", [True, False])
def test_weights_hold_each_parameter_once(noisy):
    model = emulator(noisy)
    assert list(model.state_dict()) == [name for name, _ in model.named_parameters()]


@pytest.mark.parametrize("noisy", [True, False])
def test_a_rollout_leaves_training_as_it_was(noisy):
    x, label, mask = batch()
    before = gradients(emulator(noisy), x, label, mask)
    model = emulator(noisy)
    model.stepper(label, SamplerEntry(algorithm="ab", steps=4), DRAWS)(Window(x, mask, 0))
    after = gradients(model, x, label, mask)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("noisy", [True, False])
def test_checkpointing_changes_no_gradient(noisy):
    first, second = (
        gradients(emulator(noisy, checkpointing=on, dropout=0.1), *batch()) for on in (False, True)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


class Differentiated(torch.nn.Module):
    """The network of x ~ N(0, 1), that differentiates as guidance does: x - grad(x^2/2) = 0."""

    def forward(self, x, mask, noise, label):
        with torch.enable_grad():
            z = x.detach().requires_grad_()
            return x - torch.autograd.grad(z.square().sum() / 2, z)[0]


def test_denoisers_may_differentiate_inside_a_step():
    x, label, _ = batch()
    model = emulator()
    model.backbone = Differentiated()
    sampler = SamplerEntry(algorithm="eab", steps=64)
    step = model.stepper(label, sampler, Draws(3, range(2)))
    window = step(Window(x, torch.zeros(2, 5, dtype=torch.bool), 0))
    assert relative_error(window, Draws(3, range(2)).normal(x)) < 1e-2


def test_sum_over_grid_and_angles_equal_the_sum_at_every_point():
    """Under autocast too: bfloat16 would turn distant tokens by whole radians."""
    sizes, theta = (3, 64, 48), torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    positions = [torch.arange(n, dtype=torch.float32) for n in sizes]
    points = torch.tensor([[i, j, k] for i in range(3) for j in range(64) for k in range(48)])
    exact = points.double() @ theta.double()
    with torch.autocast("cpu", torch.bfloat16):
        assert (rotary_angles(positions, theta) - exact).abs().max() < 1e-4
    assert torch.equal(sum_over_grid([p[:, None] for p in positions])[:, 0], points.sum(1).float())


def test_attention_sees_positions_only_by_their_differences():
    """Rotary positions alone: tokens shifted together see each other as before."""
    block = emulator().backbone.network.blocks[0]
    x = torch.randn(1, 12, 16, generator=torch.Generator().manual_seed(0))
    shifted, here, stretched = (
        block.attention(x, (angles.cos(), angles.sin()))
        for angles in (
            rotary_angles([scale * torch.arange(12.0) + start], block.theta[:1])
            for start, scale in ((100.0, 1), (0.0, 1), (0.0, 9))
        )
    )
    assert relative_error(shifted, here) < 1e-4
    assert relative_error(stretched, here) > 1e-3


@pytest.mark.parametrize("noisy", [True, False])
def test_compiles_without_graph_breaks(noisy):
    x, label, mask = batch()
    backbone = emulator(noisy, patch_size=[2, 2]).backbone
    arguments = (x, mask.view(2, 1, 5, 1, 1), torch.tensor([-3.0, 40.0]), label)
    compiled = torch.compile(backbone, fullgraph=True, backend="eager")
    assert relative_error(compiled(*arguments), backbone(*arguments)) < 1e-5


def test_the_same_seed_gives_the_same_window():
    x, label, mask = batch()
    sampler, model = SamplerEntry(algorithm="ddpm", steps=4), emulator()
    windows = [
        model.stepper(label, sampler, Draws(seed, range(2)))(Window(x, mask, 0))
        for seed in (0, 0, 1)
    ]
    assert torch.equal(windows[0], windows[1])
    assert not torch.allclose(windows[0], windows[2])
