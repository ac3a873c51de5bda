"""Methods: what they learn of a system that is known, their scores, and studies of them."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scoringrules
import torch
import xarray as xr
import yaml
from safetensors.torch import load_file
from torch import nn

from conftest import Pipeline
from lilas.draws import Draws
from lilas.errors import LilasError
from lilas.interface.bundles import write_bundle
from lilas.models.build import make_emulator
from lilas.models.context import training_loss
from lilas.models.diffusion import Denoiser, Inpainting, Velocity, make_schedule
from lilas.models.ensemble import Ensemble
from lilas.models.rollout import ensemble
from lilas.models.sampling import make_sampler
from lilas.study.entries import SamplerEntry, emulator_settings
from lilas.study.yaml import read_yaml

# A state x of 4 points follows one x' as x = SLOPE x' + SPREAD noise; both have variance 1.
SLOPE, SPREAD, POINTS = 0.8, 0.6, 4
NETWORK = {"channels": 32, "blocks": 1, "heads": 2, "embedding": 16}
METHODS = {
    "diffusion": ({}, {"algorithm": "ab"}),
    "flow": ({}, {"algorithm": "ab"}),
    "ensemble": ({}, {"algorithm": "direct"}),
    "ensemble, spectral": ({"loss": "spectral"}, {"algorithm": "direct"}),
    "ensemble, energy": ({"loss": "energy"}, {"algorithm": "direct"}),
    "ensemble, modulation": ({"noise": "modulation"}, {"algorithm": "direct"}),
}


def trajectories(count: int, states: int, seed: int) -> torch.Tensor:
    """Returns trajectories of the system, (batch, channel, time, space)."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(states, count, POINTS, generator=random)
    found = [noise[0]]
    for step in noise[1:]:
        found.append(SLOPE * found[-1] + SPREAD * step)
    return torch.stack(found, 1)[:, None]


@pytest.mark.parametrize("name", METHODS)
def test_methods_learn_mean_and_spread(name):
    """Of a linear system with Gaussian noise, within 5 % of both, and independent by point."""
    options, sampling = METHODS[name]
    settings = emulator_settings(
        {"method": name.partition(",")[0], "network": NETWORK, "window": 2, **options}
    )
    torch.manual_seed(0)
    emulator = make_emulator(settings, 1, 1, 1)
    steps, batch = 400, 128
    optimizer = torch.optim.Adam(emulator.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    label = torch.zeros(batch, 1)
    for step in range(steps):
        states = trajectories(batch, 2, step)
        loss = training_loss(emulator, settings, states, label, Draws(step, range(batch)))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(emulator.parameters(), 1.0)
        optimizer.step()
        schedule.step()

    sampler = SamplerEntry(members=64, **sampling)
    context = trajectories(64, 1, 10**6).transpose(1, 2)
    found = ensemble(
        emulator.eval(),
        context,
        torch.zeros(64, 1),
        range(64),
        states=2,
        settings=settings,
        sampler=sampler,
    )
    # Diffusion ends at its smallest noise.
    assert (found[:, :, 0] - context[:, None, 0]).abs().max() < 6e-3
    new, first = found[:, :, 1, 0].double(), context[:, None, 0, 0].double()
    mean = new.mean(1, keepdim=True)
    slope = float((mean * first).sum() / first.square().sum())
    spread = float((new - mean).square().sum(1).div(63).mean().sqrt())
    assert slope == pytest.approx(SLOPE, rel=0.05)
    assert spread == pytest.approx(SPREAD, rel=0.05)
    apart = (new - mean).flatten(0, 1)
    correlation = np.corrcoef(apart.T.numpy()) - np.eye(POINTS)
    # A vector for all points moves them all alike, where the network knows none from another.
    assert np.abs(correlation).max() < 0.1 or "modulation" in name


@pytest.mark.parametrize("members", [2, 5])
@pytest.mark.parametrize("loss", ["crps", "spectral", "energy"])
def test_scores_are_those_of_scoringrules(loss, members):
    """Fair, and of the whole distribution; energy scores by the root mean square of a state.

    A Fourier coefficient is a pair of numbers, whose CRPS is the energy score.
    """
    random = torch.Generator().manual_seed(members)
    v = torch.randn(3, members, 2, 4, 6, generator=random, dtype=torch.double)
    x = torch.randn(3, 2, 4, 6, generator=random, dtype=torch.double)
    if loss != "energy":
        expected = {
            estimator: scoringrules.crps_ensemble(
                x.numpy(), v.numpy(), m_axis=1, estimator=estimator
            ).mean()
            for estimator in ("fair", "nrg")
        }
    else:
        # (batch, time, member, value)
        flat = v.permute(0, 3, 1, 2, 4).flatten(3), x.transpose(1, 2).flatten(2)
        expected = {
            estimator: scoringrules.es_ensemble(
                flat[1].numpy(), flat[0].numpy(), m_axis=-2, estimator=estimator
            ).mean()
            / math.sqrt(12)
            for estimator in ("fair", "nrg")
        }
    if loss == "spectral":
        points = np.arange(6)
        waves = np.exp(-2j * np.pi * np.outer(points, points) / 6) / math.sqrt(6)
        pairs = [np.stack([(u @ waves).real, (u @ waves).imag], -1) for u in (x.numpy(), v.numpy())]
        for estimator in expected:
            modes = scoringrules.es_ensemble(
                pairs[0], np.moveaxis(pairs[1], 1, -2), m_axis=-2, estimator=estimator
            )
            expected[estimator] += modes.mean()
    for fair, estimator in ((1.0, "fair"), (0.0, "nrg")):
        method = Ensemble(SimpleBackbone(), loss=loss, members=members, fair=fair)
        assert float(method.score(v, x)) == pytest.approx(expected[estimator], rel=1e-6)
    method = Ensemble(SimpleBackbone(), loss=loss, members=members, fair=0.25)
    mixed = 0.25 * expected["fair"] + 0.75 * expected["nrg"]
    assert float(method.score(v, x)) == pytest.approx(mixed, rel=1e-6)


class SimpleBackbone(nn.Module):
    """Adds what it is given where states are unknown to the last known state."""

    noise = None

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x, mask, noise, label):
        assert noise is None
        self.seen.append((x, label))
        known = torch.where(mask, x, 0)
        count = int(mask[0].sum())
        return known[:, :, count - 1 : count] + x


def test_an_energy_score_of_members_alike_has_gradients():
    """Its root has none at zero, where members or truth agree."""
    v = torch.ones(2, 2, 1, 3, 4, requires_grad=True)
    Ensemble(SimpleBackbone(), loss="energy").score(v, torch.ones(2, 1, 3, 4)).backward()
    assert torch.equal(v.grad, torch.zeros_like(v))


def test_unrolled_windows_go_on_from_each_members_own_states():
    """Of three windows of three states, the loss of what is made by hand."""
    settings = emulator_settings(
        {"method": "ensemble", "network": NETWORK, "window": 3, "unroll": 3, "context_rate": 1e-9}
    )
    assert (settings.states, settings.passes) == (7, 6)
    states = torch.randn(4, 2, 7, 5, generator=torch.Generator().manual_seed(0))
    method = Ensemble(SimpleBackbone())
    found = training_loss(method, settings, states, torch.zeros(4, 1), Draws(0, range(4)))

    draws = Draws(0, range(4))
    for _ in range(2):
        # What the mask draws: how many states are known, and at which end.
        draws.uniform()
    made = [states[:, None, :, :1].expand(-1, 2, -1, -1, -1)]
    for _ in range(3):
        noise = draws.normal(torch.zeros(4, 2, 2, 3, 5))
        made.append(made[-1][:, :, :, -1:] + noise[:, :, :, 1:])
    scores = []
    for window in range(3):
        first = 2 * window
        members = torch.cat(made[: window + 2], 3)[:, :, :, first : first + 3]
        truth = states[:, None, :, first : first + 3]
        error = (members - truth).abs().mean()
        scores.append(error - (members[:, 0] - members[:, 1]).abs().mean() / 2)
    assert float(found) == pytest.approx(float(sum(scores) / 3), rel=1e-5)


class Velocities(nn.Module):
    """The network of a flow whose velocity is exact, for x ~ N(mean, variance)."""

    def __init__(self, mean, variance, schedule):
        super().__init__()
        self.mean, self.variance, self.schedule = mean, variance, schedule
        self.t = None

    def forward(self, y, mask, noise, label):
        (alpha, sigma), (da, ds) = self.schedule(self.t), self.schedule.slope(self.t)
        x_t, power = y * torch.hypot(alpha, sigma), alpha**2 * self.variance + sigma**2
        apart = (x_t - alpha * self.mean) / power
        x = self.mean + alpha * self.variance * apart
        return (da * x + ds * sigma * apart) / torch.hypot(da, ds)


class Means(Velocities):
    """The network of a denoiser that is exact, likewise."""

    def forward(self, y, mask, noise, label):
        r = torch.exp(noise / 10).view(-1, 1, 1)
        z = y * torch.sqrt(1 + r * r)
        x = (z * self.variance + self.mean * r * r) / (self.variance + r * r)
        return (torch.sqrt(1 + r * r) * x - y) / r


@pytest.mark.parametrize("schedule", ["rectified", "log_logit"])
def test_flow_and_diffusion_give_the_same_samples(schedule):
    """Of a Gaussian, from the same noise: their paths differ in scale and time alone."""
    count = 64
    noise = torch.randn(count, 1, 1, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(count, 1, 1, dtype=torch.bool)
    known = torch.zeros(count, 1, 1, dtype=torch.double)
    found = []
    for kind, network, name in (
        (Velocity, Velocities, schedule),
        (Denoiser, Means, "log_logit"),
    ):
        own = make_schedule(name)
        exact = network(0.7, 0.25, own)

        class Timed(kind):
            def forward(self, x_t, t, **given):
                self.network.t = t.to(x_t.dtype)
                return super().forward(x_t, t, **given)

        denoiser = Inpainting(Timed(exact, own), known[:, 0], mask, known)
        alpha, sigma = own(torch.ones((), dtype=torch.double))
        start = torch.hypot(alpha, sigma) * noise
        sampling = make_sampler("ab", denoiser, steps=256, order=3)
        found.append(sampling(start))
    assert (found[0] - found[1]).abs().max() < 1e-4
    # Not because nothing was sampled: the Gaussian's own, from which the noise is told.
    assert (found[0] - (0.7 + 0.5 * noise)).abs().max() < 5e-3


@pytest.mark.parametrize("name", ["log_logit", "log_linear", "rectified"])
def test_velocities_are_derivatives_of_schedules(name):
    schedule, t = make_schedule(name), torch.linspace(0.05, 0.95, 7, dtype=torch.double)
    step = 1e-6
    for found, after, before in zip(
        schedule.slope(t), schedule(t + step), schedule(t - step), strict=True
    ):
        assert torch.allclose(found, (after - before) / (2 * step), rtol=1e-6, atol=1e-9)


class Recording(nn.Module):
    """A method that keeps what it is given."""

    def loss(self, x, label, mask, draws):
        self.given = x, label, mask
        return x.sum()

    def stepper(self, label, sampler, draws):
        self.label = label

        def step(window):
            self.windows.append(window)
            return window.known + 1

        self.windows = []
        return step


def test_context_noise_is_on_known_states_and_told():
    """Noise of a level that is uniform up to the largest, to the states known alone."""
    settings = emulator_settings(
        {"method": "solver", "network": NETWORK, "context_noise": 0.4, "window": 4}
    )
    states, label = torch.zeros(512, 3, 4, 50), torch.ones(512, 2)
    method = Recording()
    training_loss(method, settings, states, label, Draws(0, range(512)))
    noised_states, told, mask = method.given
    assert torch.equal(told[:, :2], label)
    share = told[:, 2]
    assert 0 < share.min() < 0.01
    assert 0.99 < share.max() < 1
    assert share.mean() == pytest.approx(0.5, abs=0.04)
    known = mask[:, None, :, None].expand_as(states)
    assert (noised_states[~known] == 0).all()
    level = (noised_states.square() * known).sum((1, 2, 3)) / known.sum((1, 2, 3))
    assert torch.allclose(level.sqrt(), 0.4 * share, rtol=0.35, atol=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_rollouts_add_their_own_context_noise(temperature):
    """To each window's known states, as much as the sampler says, which the network is told.

    That is no noise of what is sampled, and no temperature's.
    """
    settings = SimpleNamespace(window=3, context_noise=0.5)
    sampler = SamplerEntry(algorithm="direct", context_noise=0.1, temperature=temperature)
    method = Recording()
    contexts = torch.zeros(64, 1, 2, 30)
    options = {"states": 5, "settings": settings, "sampler": sampler}
    made = ensemble(method, contexts, torch.zeros(64, 1), range(64), **options)
    # The rollout has the context as it was given.
    assert (made[:, :, 0] == 0).all()
    assert torch.equal(method.label, torch.tensor([[0.0, 0.2]]).expand(64, 2))
    first, second = (window.known for window in method.windows)
    assert float(first[:, :, 0].std()) == pytest.approx(0.1, rel=0.05)
    assert (first[:, :, 1:] == 0).all()
    # What was made of the first window is 1, and has noise anew.
    assert float((second[:, :, 0] - 1).std()) == pytest.approx(0.1, rel=0.05)
    assert float((second[:, :, 0] - 1 - first[:, :, 0]).std()) > 0.13


class Affine(nn.Module):
    """A backbone that is affine in the noise that it is given, in either place."""

    def __init__(self, width):
        super().__init__()
        self.noise, self.width = (None if width is None else nn.Identity()), width

    def forward(self, x, mask, noise, label):
        return 2 * x - 1 + (0 if noise is None else noise.sum(1).view(-1, 1, 1, 1))


@pytest.mark.parametrize("width", [None, 6], ids=["field", "modulation"])
def test_members_of_one_evaluation_lie_as_much_further_apart_as_noise_is_warmer(width):
    found = {}
    for temperature in (1.0, 1.5):
        sampler = SamplerEntry(algorithm="direct", members=500, temperature=temperature)
        options = {"states": 3, "settings": SimpleNamespace(window=3, context_noise=0)}
        method = Ensemble(Affine(width))
        contexts = torch.full((1, 1, 1, 4), 0.3)
        whole = ensemble(method, contexts, torch.zeros(1, 1), [0], sampler=sampler, **options)[0]
        assert (whole[:, 0] == 0.3).all()
        found[temperature] = whole[:, 1:] + 1
    torch.testing.assert_close(found[1.5], 1.5 * found[1.0])
    deviation = 2.0 if width is None else math.sqrt(width)
    assert float(found[1.5].std()) == pytest.approx(1.5 * deviation, rel=0.1)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"members": 1}, ["members 1", "at least 2"]),
        ({"unroll": 2, "context_forward": 0.5}, ["unroll 2", "context_forward 1"]),
        ({"fair": 1.5}, ["fair"]),
        ({"loss": "mse"}, ["loss"]),
    ],
)
def test_ensembles_that_teach_no_spread_are_refused(settings, told):
    with pytest.raises(LilasError) as error:
        emulator_settings({"method": "ensemble", "network": NETWORK, **settings})
    for word in told:
        assert word in str(error.value)


# --- In a study -------------------------------------------------------------------------------

RUNS = {"tuned": "ab4", "retrofitted": "drawn", "flow": "ab4"}


@pytest.fixture(scope="module")
def study(miniature: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The miniature with a flow, an ensemble from its solver, and what docs/python.md shows."""
    pipeline = miniature.copy(tmp_path_factory.mktemp("methods") / "pipeline")
    weights = pipeline.results / "convection/c16-s0/diffusion-s0/weights.safetensors"
    beside = weights.parents[1] / "weights.safetensors"
    write_bundle(pipeline.folder / "my_model", weights, beside, scores=None, licence="")
    values = json.loads(json.dumps(read_yaml(pipeline.study), default=float))
    emulators = values["emulators"]
    page = (Path(__file__).parents[1] / "docs/python.md").read_text()
    shown = page.partition("```yaml\n")[2].partition("```")[0]
    ((name, tuned),) = yaml.safe_load(shown)["emulators"].items()
    assert name == "finetuned"
    # What the page leaves out is as it was, and next to no rate leaves it where it begins.
    del tuned["train"]["…"]
    assert tuned["train"].pop("steps") == 200
    train = emulators["diffusion"]["train"] | {"learning_rate": 1e-9, "ema": 0.0}
    emulators["tuned"] = emulators["diffusion"] | {"train": train | tuned["train"]}
    flow = {"method": "flow", "samplers": ["ab4"], "context_noise": 0.1}
    emulators["flow"] = emulators["diffusion"] | flow
    solver = emulators["solver"]
    ensemble = {"method": "ensemble", "samplers": ["drawn"]}
    start = {"start": {"from": {"training": "solver"}}}
    emulators["retrofitted"] = solver | ensemble | {"train": solver["train"] | start}
    values["samplers"]["drawn"] = {"algorithm": "direct", "members": 3}
    # JSON is YAML, too.
    pipeline.study.write_text(json.dumps(values))
    names = ("rollouts.json", "metrics.parquet")
    runs = [f"results/miniature/convection/c16-s0/{name}-s0/{RUNS[name]}" for name in RUNS]
    pipeline.run_here(*(f"{run}/{name}" for run in runs for name in names))
    return pipeline


def test_weights_that_are_trained_on_begin_where_they_were(study):
    """As docs/python.md has it: those of a bundle, which is a file."""
    found = load_file(study.results / "convection/c16-s0/tuned-s0/weights.safetensors")
    given = load_file(study.folder / "my_model/model.safetensors")
    for name, values in given.items():
        assert torch.allclose(found[name], values, atol=1e-6), name


def test_an_ensemble_begins_with_a_solvers_weights(study):
    """Eight steps of Adam at 1e-3 at most take a weight that far from them."""
    runs = study.results / "convection/c16-s0"
    found = load_file(runs / "retrofitted-s0/weights.safetensors")
    solver = load_file(runs / "solver-s0/weights.safetensors")
    assert list(found) == list(solver)
    apart = {name: (found[name] - solver[name]).abs().max() for name in found}
    assert 0 < max(apart.values()) < 9e-3


@pytest.mark.parametrize(("name", "members"), [("retrofitted", 3), ("flow", 2)])
def test_other_methods_are_rolled_out_and_scored_like_any(study, name, members):
    folder = study.results / f"convection/c16-s0/{name}-s0/{RUNS[name]}"
    latent = xr.open_zarr(folder / "rollouts.zarr", chunks=None).latent
    assert latent.sizes["member"] == members
    first, later = latent[:, :, 0], latent[:, :, 1:]
    assert float(abs(first - first[:, :1]).max()) == 0
    assert float(later.std("member").min("time").max()) > 0
    scores = pd.read_parquet(folder / "metrics.parquet")
    truth = scores[scores["relative_to"] == "truth"]
    crps, mae = (truth[truth["metric"] == metric]["value"].mean() for metric in ("crps", "mae"))
    # One member alone has its error; of several that differ, some of it is taken off.
    assert 0 < crps < 1.2 * mae
    assert {"spread_skill", "coverage_half", "energy_score"} <= set(truth["metric"])
