"""Guidance by observations: operators by brute force, a known posterior, and who sees what."""

import itertools
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
import yaml
from azula.guidance.mmps import MMPSDenoiser
from azula.linalg.covariance import IsotropicCovariance
from torch import Tensor, nn

from conftest import Pipeline
from lilas.data.masks import read_mask
from lilas.data.preprocess import Preprocessing
from lilas.data.transforms import Transform
from lilas.data.well import open_files
from lilas.data.well_writer import write_well
from lilas.draws import Draws
from lilas.errors import LilasError
from lilas.evaluation.observed import misfit
from lilas.files import read_json, sha256
from lilas.inspect.trace import trace
from lilas.models import observations as module
from lilas.models.autoencoder import Autoencoder, make_identity, make_vit
from lilas.models.diffusion import Denoiser, Inpainting, make_schedule
from lilas.models.guidance import mmps
from lilas.models.latents import PixelLatents
from lilas.models.methods import Diffusion
from lilas.models.observations import Guide, Observations, guided
from lilas.models.operators import make_operator
from lilas.models.rollout import Observed, Window, rollout
from lilas.models.rollout_store import write_rollouts
from lilas.official.parity import relative_error
from lilas.plan import check_masks
from lilas.records.metrics import read_metrics
from lilas.report.guidance import guidance_tables
from lilas.study.entries import SamplerEntry
from lilas.study.leads import rollout_steps
from lilas.study.paths import rollouts
from lilas.study.read import read_study
from lilas.study.samplers import MMPSSettings
from lilas.study.study import Study
from lilas.study.yaml import read_yaml
from test_sampling import Exact
from test_tables import STUDIES, constant, summed

DATA = Path(__file__).parent / "data"
CPU = torch.device("cpu")
SIZES = {2: (8, 4), 3: (8, 4, 6)}


def sampler(operator: dict, noise: float = 0.1, iterations: int = 1, **settings) -> SamplerEntry:
    guidance = {"kind": "mmps", "operator": operator, "noise": noise, "iterations": iterations}
    return SamplerEntry(**{"algorithm": "ab", "guidance": guidance} | settings)


# --- Operators --------------------------------------------------------------------------------


def a_mask(folder: Path, size: tuple[int, ...]) -> dict:
    mask = np.random.default_rng(0).random(size) < 0.3
    np.save(folder / "mask.npy", mask)
    return {"kind": "custom", "path": str(folder / "mask.npy")}


def weights(settings: dict, size: tuple[int, ...]) -> list[dict[tuple[int, ...], float]]:
    """The points and weights of each observed number, from the words that describe an operator."""
    points = list(itertools.product(*map(range, size)))
    kind = settings["kind"]
    if kind in ("subsample", "downscale"):
        factor = settings["factor"]
        blocks = itertools.product(*(range(n // factor) for n in size))
        if kind == "subsample":
            return [{tuple(b * factor + factor // 2 for b in block): 1.0} for block in blocks]
        share = factor ** -len(size)
        return [
            {p: share for p in points if tuple(i // factor for i in p) == block} for block in blocks
        ]
    if kind == "border":
        width = settings["width"]
        return [
            {p: 1.0}
            for p in points
            if any(i < width or i >= n - width for i, n in zip(p, size, strict=True))
        ]
    if kind == "stripe":
        axis = "xyz".index(settings["axis"])
        return [{p: 1.0} for p in points if p[axis] % settings["spacing"] < settings["width"]]
    mask = np.load(settings["path"])
    return [{p: 1.0} for p in points if mask[p]]


@pytest.mark.parametrize("spatial", [2, 3])
@pytest.mark.parametrize("kind", ["subsample", "downscale", "border", "stripe", "custom"])
def test_operators_and_their_adjoints_by_brute_force(tmp_path, kind, spatial):
    size = SIZES[spatial]
    settings = {
        "subsample": {"kind": "subsample", "factor": 2},
        "downscale": {"kind": "downscale", "factor": 2},
        "border": {"kind": "border", "width": 1},
        "stripe": {"kind": "stripe", "axis": "xyz"[spatial - 1], "width": 2, "spacing": 3},
        "custom": a_mask(tmp_path, size),
    }[kind]
    operator = make_operator(sampler(settings).guidance.operator, "xyz"[:spatial], size)
    known = weights(settings, size)
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 3, *size, generator=generator, dtype=torch.double, requires_grad=True)
    seen = operator.observe(states)
    assert seen.shape == (2, 3, len(known))
    expected = torch.stack(
        [sum(w * states[:, :, *point] for point, w in one.items()) for one in known], -1
    )
    torch.testing.assert_close(seen, expected)
    # The adjoint gives each number back to the points that it is of.
    numbers = torch.randn(seen.shape, generator=generator, dtype=torch.double)
    back = torch.zeros_like(states)
    for j, one in enumerate(known):
        for point, w in one.items():
            back[:, :, *point] += w * numbers[:, :, j]
    torch.testing.assert_close(torch.autograd.grad(seen, states, numbers)[0], back.detach())
    # On the grid each number is where it is observed, and nothing is where nothing is.
    painted = operator.paint(numbers)
    assert painted.shape == states.shape
    torch.testing.assert_close(operator.observe(painted), numbers)
    points = {point for one in known for point in one}
    covered = len(points) if kind not in ("subsample", "downscale") else np.prod(size)
    assert int(painted[0, 0].isfinite().sum()) == covered


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (None, "No such file"),
        (np.ones((4, 8)), r"shape \(8, 4\), found \(4, 8\)"),
        (np.full((8, 4), 0.5), "found other values"),
        (np.full((8, 4), np.nan), "found other values"),
        (np.full((8, 4), "a"), "found other values"),
        (np.zeros((8, 4), bool), "observes a point, found none"),
    ],
)
def test_masks_that_do_not_fit_are_told(tmp_path, array, words):
    if array is not None:
        np.save(tmp_path / "mask.npy", array)
    with pytest.raises(LilasError, match=words):
        read_mask(tmp_path / "mask.npy", (8, 4))


def test_masks_are_looked_at_before_their_grids_are_known(tmp_path):
    """Data that are yours have no grid before their files are read."""
    values = read_yaml(DATA / "miniature.yaml")
    values["datasets"]["convection"]["source"] = {"kind": "path", "path": "not/there/yet"}
    operator = {"kind": "custom", "path": str(tmp_path / "mask.npy")}
    values["samplers"]["ab4"]["guidance"] = {"kind": "mmps", "operator": operator, "noise": 0.1}
    study = Study(**values)
    with pytest.raises(LilasError, match=r"ab4.guidance.operator, on convection: .*No such file"):
        check_masks(study, {})
    for array, words in ((np.zeros((8, 4)), "found none"), (np.full((8, 4), 2), "other values")):
        np.save(tmp_path / "mask.npy", array)
        with pytest.raises(LilasError, match=words):
            check_masks(study, {})
    np.save(tmp_path / "mask.npy", np.eye(8))
    check_masks(study, {})


def test_what_is_no_mask_is_told(tmp_path):
    (tmp_path / "mask.npy").write_text("no array")
    with pytest.raises(LilasError, match="expected a mask, an array of NumPy"):
        read_mask(tmp_path / "mask.npy", (8, 4))
    np.savez(tmp_path / "mask.npz", a=np.ones((8, 4)))
    with pytest.raises(LilasError, match="found several arrays"):
        read_mask(tmp_path / "mask.npz", (8, 4))


# --- The guided denoiser ----------------------------------------------------------------------


class Curved(nn.Module):
    """A network that is not linear, for the denoiser's derivative."""

    def forward(self, x: Tensor, mask: Tensor, noise: Tensor, label: Tensor) -> Tensor:
        return torch.tanh(x + x.roll(1, -1) / 2) - x.roll(1, 2) / 4


def attentive(monkeypatch, few: int) -> tuple[Autoencoder, Inpainting, Window, Tensor]:
    """A decoder with attention, windows of 1 known and 2 new states, and what is seen of these."""
    monkeypatch.setattr(module, "together", lambda _: few)
    torch.manual_seed(0)
    options = {"patch_size": 2, "spatial": 2, "channels": 8, "blocks": 1, "heads": 2}
    autoencoder = make_vit(1, 2, **options).eval()
    known, mask = torch.zeros(2, 2, 3, 2, 2), torch.tensor([[True, False, False]]).expand(2, 3)
    known[:, :, 0] = torch.randn(2, 2, 2, 2)
    over = mask.view(2, 1, 3, 1, 1)
    denoiser = Inpainting(
        Denoiser(Curved(), make_schedule("log_logit")), torch.zeros(2, 1), over, known
    )
    half = make_operator(
        sampler({"kind": "subsample", "factor": 2}).guidance.operator, "xy", (4, 4)
    )
    operator = module._of_new(
        lambda z: half.observe(autoencoder.decode(z)), torch.tensor([1, 2]), autoencoder
    )
    observed = Observed(torch.randn(2, 8), operator)
    return denoiser, Window(known, mask, 0, observed), torch.randn(2, 2, 3, 2, 2)


@pytest.mark.parametrize("few", [1, 16])
def test_a_guided_mean_is_that_of_its_formula_through_attention(monkeypatch, few):
    denoiser, window, x_t = attentive(monkeypatch, few)
    t = torch.tensor(0.45)
    settings = MMPSSettings(
        kind="mmps", operator={"kind": "subsample", "factor": 2}, noise=0.3, iterations=8
    )
    with torch.no_grad():
        found = mmps(settings, denoiser, window)(x_t, t).mean
    alpha, sigma = denoiser.schedule(t)
    gamma = sigma**2 / alpha
    mean = denoiser(x_t, t).mean
    jacobian = torch.autograd.functional.jacobian(lambda x: denoiser(x, t).mean, x_t)
    slope = torch.autograd.functional.jacobian(window.observed.operator, mean)
    with torch.no_grad():
        residual = window.observed.values - window.observed.operator(mean)
    for i in range(2):
        own = jacobian[i, :, :, :, :, i].reshape(24, 24)
        a = slope[i, :, i].reshape(8, 24)
        cov = 0.3**2 * torch.eye(8) + a @ (gamma * own.T) @ a.T
        step = gamma * own.T @ a.T @ torch.linalg.solve(cov, residual[i])
        expected = mean[i].flatten() + step
        assert relative_error(found[i].flatten(), expected) < 1e-3
        assert relative_error(mean[i].flatten(), expected) > 0.05
    # What is known stays.
    torch.testing.assert_close(found[:, :, 0], window.known[:, :, 0])


def test_fused_attention_is_not_differentiated_forward(monkeypatch):
    """Why guidance computes attention in math mode; it may leave that when this fails."""
    denoiser, window, x_t = attentive(monkeypatch, 16)
    plain = MMPSDenoiser(
        denoiser, window.observed.values, window.observed.operator, IsotropicCovariance(0.1)
    )
    with pytest.raises(RuntimeError, match="scaled_dot_product"):
        plain(x_t, torch.tensor(0.45))


# --- A known posterior ------------------------------------------------------------------------

RHO, WINDOW, STATES, DIMENSIONS = 0.8, 3, 5, 8


def write_file(path: Path, steps: int, size: tuple[int, ...], trajectories: int = 1) -> None:
    """A field that differs from step to step, trajectory to trajectory and point to point."""
    points = np.meshgrid(*map(np.arange, size), indexing="ij")
    place = sum(p * 0.37 ** (i + 1) for i, p in enumerate(points))
    when = np.arange(steps).reshape(-1, *[1] * len(size))
    who = np.arange(trajectories).reshape(-1, 1, *[1] * len(size))
    write_well(
        path,
        dataset="waves",
        fields={"u": (np.sin(3 * place + 0.5 * when) + 0.1 * who).astype(np.float32)},
        time=np.arange(float(steps)),
        coordinates={name: np.arange(float(n)) for name, n in zip("xyz", size, strict=False)},
        parameters={"c": 1.0},
        boundaries={name: "periodic" for name, _ in zip("xyz", size, strict=False)},
    )


def opened(path: Path, mean: float = 0.0, std: float = 1.0) -> PixelLatents:
    return PixelLatents(
        open_files([path]), Preprocessing(("u",), (Transform(),), (mean,), (std,)), {}
    )


def chain_posterior(z: Tensor, r: Tensor, mask: Tensor, known: Tensor) -> Tensor:
    """E[x | noisy new states, the first state] of x[t + 1] = rho x[t] + sqrt(1 - rho²) e."""
    steps = torch.arange(1.0, WINDOW)
    prior = torch.minimum(steps[:, None], steps)
    cov = RHO ** (steps[:, None] - steps).abs() * (1 - RHO ** (2 * prior))
    first = (known * mask).sum(2)
    mean = RHO ** steps.view(-1, 1, 1) * first[:, :, None]
    gain = cov @ torch.linalg.inv(cov + r.view(-1, 1, 1) ** 2 * torch.eye(WINDOW - 1))
    new = mean + torch.einsum("bts,bcsxy->bctxy", gain, z[:, :, 1:] - mean)
    return torch.cat([z[:, :, :1], new], 2)


def known_posterior(a: np.ndarray, y: np.ndarray, first: np.ndarray, noise: float):
    """The mean and covariance of all new states, each window guided by its own alone."""
    steps = np.arange(1, WINDOW)
    cov = RHO ** np.abs(steps[:, None] - steps) * (
        1 - RHO ** (2 * np.minimum(steps[:, None], steps))
    )
    c, m = np.kron(cov, np.eye(DIMENSIONS)), np.kron(RHO ** steps[:, None], np.eye(DIMENSIONS))
    whole = np.kron(np.eye(len(steps)), a)
    gain = c @ whole.T @ np.linalg.inv(whole @ c @ whole.T + noise**2 * np.eye(len(whole)))
    left = np.eye(len(c)) - gain @ whole
    mean, spread = first, np.zeros((DIMENSIONS, DIMENSIONS))
    means, variances = [], []
    for window in y.reshape(-1, len(whole)):
        means.append(left @ m @ mean + gain @ window)
        of = left @ c + left @ m @ spread @ (left @ m).T
        variances.append(np.diag(of))
        mean, spread = means[-1][-DIMENSIONS:], of[-DIMENSIONS:, -DIMENSIONS:]
    return np.concatenate(means), np.concatenate(variances)


def test_guided_rollouts_have_the_known_posterior(tmp_path, monkeypatch):
    """A Gaussian chain of latents, a linear decoder, means over blocks: mean and spread in 5 %."""
    monkeypatch.setattr(module, "together", lambda _: 10**6)
    write_file(tmp_path / "a.hdf5", STATES, (4, 4))
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 2, 2, stride=2), nn.ConvTranspose2d(2, 1, 2, stride=2, bias=False)
    sizes = {"pixel_channels": 1, "latent_channels": 2, "factor": 2, "spatial": 2}
    autoencoder = Autoencoder(*layers, **sizes).eval()
    blocks = torch.tensor([[[[1.5]]], [[[-0.8]]]]) + 0.2 * torch.randn(2, 1, 2, 2)
    autoencoder.decoder.weight.data = blocks
    members, noise = 2000, 0.1
    settings = sampler(
        {"kind": "downscale", "factor": 2}, noise, iterations=2, steps=48, members=members
    )
    observations = Observations(settings, opened(tmp_path / "a.hdf5"))
    draws = Draws(0, range(members))
    step = Diffusion(Exact(chain_posterior)).stepper(torch.zeros(members, 1), settings, draws)
    step = guided(step, Guide(observations, autoencoder), [0], range(STATES), settings)
    first = torch.randn(1, 2, 1, 2, 2)
    found = rollout(
        step, first.expand(members, -1, -1, -1, -1), states=STATES, window=WINDOW, overlap=1
    )
    found = found[:, :, 1:].transpose(1, 2).flatten(2)

    # A mean over a block of decoded points is that of the decoder's weights, of both channels.
    a = np.kron(blocks.mean((1, 2, 3)).numpy()[None], np.eye(4))
    y = observations.of(0, range(1, STATES)).flatten(1)
    mean, variance = known_posterior(a, y.numpy(), first.flatten().numpy(), noise)
    spread = torch.from_numpy(np.sqrt(variance)).float()
    error = found.mean(0).flatten() - torch.from_numpy(mean).float()
    assert error.norm() < 0.05 * spread.norm()
    assert relative_error(found.std(0).flatten(), spread) < 0.05
    assert spread.max() > 3 * spread.min() / 2
    seen = (found @ torch.from_numpy(a).float().T)[:, :, None]
    fit = misfit(seen / noise, y[:, None] / noise)
    assert fit.tolist() == pytest.approx([1.0] * (STATES - 1), abs=0.1)


# --- Who sees what ----------------------------------------------------------------------------


class Recorder:
    """An emulator that writes down the windows that it is to generate."""

    def __init__(self) -> None:
        self.windows: list[tuple[Window, int]] = []

    def stepper(self, label: Tensor, settings: SamplerEntry, draws: Draws):
        def step(window: Window) -> Tensor:
            self.windows.append(window)
            return window.known

        return step


def recorded(folder: Path, settings: SamplerEntry, steps: range, rows: list[int], window: int = 4):
    latents = opened(folder / "a.hdf5", mean=0.2, std=2.0)
    emulator = Recorder()
    write_rollouts(
        *(folder / f"{len(list(folder.iterdir()))}.zarr", latents, emulator),
        rows=rows,
        steps=steps,
        settings=SimpleNamespace(window=window, context_noise=0),
        stride=abs(steps.step),
        sampler=settings,
        record={"stage": "rollout", "version": 1, "config": {}, "inputs": {}},
        device=CPU,
        guide=Guide(Observations(settings, latents), make_identity(1, len(latents.shape) - 1)),
    )
    return emulator.windows, latents


@pytest.mark.parametrize("size", [(4, 4), (4, 4, 4)])
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("context", [1, 2])
def test_a_window_is_guided_by_its_own_new_states(tmp_path, direction, context, size):
    """Every third step, windows of 4 states of which `context` are known, over 6 lead times."""
    write_file(tmp_path / "a.hdf5", 25, size, trajectories=2)
    steps = rollout_steps(2, context, 3, 18, direction)
    settings = sampler(
        {"kind": "subsample", "factor": 2},
        noise=1e-6,
        **{"context": context, "overlap": context, "direction": direction, "members": 2},
    )
    windows, latents = recorded(tmp_path, settings, steps, [0, 1])
    places = []
    for window in windows:
        order = np.arange(window.first, window.first + 4)
        order = order[::-1] if direction == "backward" else order
        new = order[(~window.mask[0]).numpy() & (order < len(steps))]
        places += sorted(new.tolist())
        truth = np.stack(
            [[latents.read(row)[steps[place]] for place in new] for row in (0, 0, 1, 1)]
        )
        expected = truth[(slice(None),) * 3 + (slice(1, None, 2),) * len(size)].reshape(4, -1)
        np.testing.assert_allclose(window.observed.values, expected, atol=1e-5)
        np.testing.assert_allclose(
            window.observed.operator(torch.from_numpy(_in_window(truth, window))),
            expected,
            atol=1e-5,
        )
    # Every state but the context is observed, once.
    assert places == list(range(context, len(steps)))


def _in_window(truth: np.ndarray, window: Window) -> np.ndarray:
    """States (window, new, channel, *space) where they are in windows, and 9 elsewhere."""
    whole = np.full((len(truth), 1, 4, *truth.shape[3:]), 9.0, np.float32)
    new = np.flatnonzero(~window.mask[0].numpy())
    kept = new[: truth.shape[1]] if window.mask[0, 0] else new[-truth.shape[1] :]
    whole[:, 0, kept] = truth[:, :, 0]
    return whole


def test_observations_belong_to_states(tmp_path):
    """The same for members, blocks and windows of any length; others by step, row and seed."""
    write_file(tmp_path / "a.hdf5", 9, (4, 4), trajectories=3)
    operator, found = {"kind": "border", "width": 1}, []
    for batch_size, window in ((1, 3), (64, 5)):
        settings = sampler(operator, members=2, batch_size=batch_size)
        windows, latents = recorded(tmp_path, settings, range(9), [0, 2], window)
        per_block = len(windows[0].known) // 2
        seen: dict[int, list[Tensor]] = {}
        for place, one in enumerate(windows):
            values = one.observed.values.unflatten(0, (per_block, 2))
            assert (values[:, 0] == values[:, 1]).all()
            for i in range(per_block):
                block = place // (len(windows) * per_block // 2)
                seen.setdefault(block + i, []).append(values[i, 0])
        found.append(torch.stack([torch.cat(seen[row]) for row in (0, 1)]))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    observations = Observations(settings, latents)
    whole = observations.of(2, range(1, 9))
    torch.testing.assert_close(whole.flatten(), found[0][1], rtol=0, atol=0)
    alone = observations.of(2, range(4, 5))
    torch.testing.assert_close(alone[0], whole[3], rtol=0, atol=0)
    # The noise, of the deviation asked for, is its own everywhere.
    exact = Observations(sampler(operator, noise=1e-12), latents)
    noise = torch.stack(
        [observations.of(row, range(9)) - exact.of(row, range(9)) for row in range(3)]
    )
    assert noise.std().item() == pytest.approx(0.1, rel=0.1)
    assert len(noise.unique()) == noise.numel()
    other = Observations(sampler(operator, seed=1), latents).of(2, range(1, 9))
    assert (other != whole).all()


def test_observations_of_other_trajectories_are_refused(tmp_path):
    for name in "ab":
        write_file(tmp_path / f"{name}.hdf5", 9, (4, 4))
    settings = sampler({"kind": "border", "width": 1})
    guide = Guide(Observations(settings, opened(tmp_path / "a.hdf5")), make_identity(1, 2))
    with pytest.raises(LilasError, match=r"0 of b\.hdf5, of the test files 0 of a\.hdf5"):
        guide.check(opened(tmp_path / "b.hdf5"), [0])


def test_observations_that_are_not_finite_are_refused(tmp_path):
    write_file(tmp_path / "a.hdf5", 9, (4, 4))
    settings = sampler({"kind": "border", "width": 1})
    observations = Observations(settings, opened(tmp_path / "a.hdf5", std=1e-39))
    with pytest.raises(LilasError, match="finite observations of standardised states"):
        observations.of(0, range(2))


# --- Guided and unguided samplers of a study --------------------------------------------------


def test_twins_make_the_same_numbers_but_for_guidance():
    values = read_yaml(DATA / "miniature.yaml")
    operator = {"kind": "subsample", "factor": 4}
    guidance = {"kind": "mmps", "operator": operator, "noise": 0.1}
    changes = {
        "alike": {},
        "fewer": {"batch_size": 8},
        "compiled": {"compile": True, "batch_size": 1},
        "others": {"seed": 1},
        "longer": {"context": 3, "overlap": 2},
    }
    for name, change in changes.items():
        values["samplers"][name] = values["samplers"]["ab4"] | {"guidance": guidance} | change
    twins = {"alike": "ab4", "fewer": "ab4", "compiled": "ab4", "others": "", "longer": ""}
    assert Study(**values).twins() == twins


def test_the_table_says_where_no_twin_is():
    numbers = {"vrmse": 0.2, "misfit": 1.5, "misfit_floor": 1.1}
    guided = [
        constant(value, sampler=sampler, metric=metric)
        for sampler in ("points", "border")
        for metric, value in numbers.items()
    ]
    summary = summed(*guided, constant(0.5))
    (table,) = guidance_tables(summary, {"points": "ab16", "border": ""})
    found = [(row.heads[0], row.heads[2]) for row in table.rows]
    points, border = (name for name, what in found if what == "VRMSE, guided")
    assert (points, "difference") in found
    assert (border, "difference") not in found
    assert table.note.endswith(f" Of {border} no run differs in guidance alone.")
    (table,) = guidance_tables(summary, {"points": "ab16", "border": "ab16"})
    assert "no run" not in table.note


@pytest.mark.parametrize("name", ["paper", "released"])
def test_figure_6_is_in_the_papers_studies(name):
    """Of two axes by blocks of 32, of three by blocks of 8 and by the border, at every rate."""
    study = read_study(STUDIES / f"{name}.yaml")
    runs, twins, found = rollouts(study), study.twins(), {}
    for run in runs:
        if run["sampler"] in twins:
            assert run | {"sampler": twins[run["sampler"]]} in runs
            guidance = study.samplers[run["sampler"]].guidance
            operator = guidance.operator
            size = getattr(operator, "factor", None) or operator.width
            how = (operator.kind, size, guidance.noise, guidance.iterations)
            found.setdefault((run["dataset"], how), set()).add(run["autoencoder"])
    flat, solid = (
        [("subsample", factor, 0.1, 1), ("downscale", factor, 0.1, 1)] for factor in (32, 8)
    )
    rates = {n: {f"f{n}c{channels}-s0" for channels in (64, 16, 4)} for n in (32, 8)}
    expected = {
        (dataset, how): rates[32]
        for dataset in ("euler_multi_quadrants", "rayleigh_benard")
        for how in flat
    }
    solid.append(("border", 4, 0.01, 2))
    assert found == expected | {("turbulence_gravity_cooling", how): rates[8] for how in solid}


# --- From a study to its report ---------------------------------------------------------------


@pytest.fixture(scope="module")
def run(miniature, tmp_path_factory) -> Pipeline:
    """The miniature, finished, and a sampler that is guided through a mask of every other point."""
    pipeline = miniature.copy(tmp_path_factory.mktemp("guided") / "pipeline")
    np.save(pipeline.folder / "mask.npy", np.indices((32, 16)).sum(0) % 2)
    operator = {"kind": "custom", "path": "mask.npy"}
    values = yaml.safe_load(pipeline.study.read_text())
    guidance = {"kind": "mmps", "operator": operator, "noise": 0.5}
    values["samplers"]["guided"] = values["samplers"]["ab4"] | {"guidance": guidance}
    values["emulators"]["diffusion"]["samplers"].insert(0, "guided")
    pipeline.study.write_text(yaml.safe_dump(values))
    # What is not guided stays as it is.
    last = {"tables": 1, "claims": 1, "figures": 1, "report": 1}
    assert pipeline.planned() == {"rollout": 1, "evaluate": 1} | last
    pipeline.run()
    return pipeline


@pytest.mark.slow
def test_the_error_with_guidance_stands_beside_that_without(run):
    table = pd.read_csv(run.results / "tables/guidance.csv", keep_default_na=False)
    assert set(table["horizon"]) == {"1-3", "4-8"}
    values = table.set_index(["quantity", "horizon"])["value"].astype(float)
    plain = pd.read_csv(run.results / "tables/horizons.csv", keep_default_na=False)
    plain = plain[(plain["metric"] == "vrmse") & (plain["relative_to"] == "truth")]
    plain = plain[plain["sampler"] == "ab4"].set_index("horizon")["value"]
    rows = read_metrics(run.results / "convection/c16-s0/diffusion-s0/guided/metrics.parquet")
    for horizon, leads in (("1-3", (1, 3)), ("4-8", (4, 8))):
        inside = rows[rows["lead_time"].between(*leads) & (rows["relative_to"] == "truth")]
        means = inside.groupby("metric", observed=True)["value"].mean()
        assert values["VRMSE, guided", horizon] == pytest.approx(means["vrmse"], rel=1e-5)
        assert values["VRMSE, unguided", horizon] == pytest.approx(plain[horizon], rel=1e-5)
        difference = means["vrmse"] - plain[horizon]
        assert values["difference", horizon] == pytest.approx(difference, rel=1e-4)
        assert values["misfit", horizon] == pytest.approx(means["misfit"], rel=1e-5)
        floor = values["misfit of the auto-encoded truth", horizon]
        assert floor == pytest.approx(means["misfit_floor"], rel=1e-5)
        # A decoder of 8 steps of training leaves more of the truth than the noise.
        assert floor > 1
    traced = trace("convection/c16-s0/diffusion-s0/guided/vrmse/1-3", run.results)
    assert any(line.startswith("Value") and ", as the table" in line for line in traced.lines)


@pytest.mark.slow
def test_what_saw_the_truth_is_no_forecast(run):
    """Nowhere but in its own table and figure."""
    for path in (run.results / "tables").iterdir():
        if path.suffix in (".csv", ".md"):
            assert ("guided" in path.read_text()) == (path.stem == "guidance"), path
    figures = {path.stem for path in (run.results / "figures").glob("*.png")}
    assert [name for name in figures if "guided" in name] == ["guided_convection_0_guided"]
    report = (run.results / "report.html").read_text()
    assert "guided_convection_0_guided.png" in report
    assert "Rollouts guided by observations" in report
    # Neither in the answer nor in the viewer.
    assert "guided" not in report.split('<h2 id="claims"')[0].split('<section id="answer"')[1]
    claims = json.loads((run.results / "claims.json").read_text())["claims"]
    told = {claim["number"] for claim in claims if "guided" in "".join(claim["evidence"])}
    assert told == {6}


@pytest.mark.slow
def test_frames_hold_what_is_observed(run):
    frames = xr.open_zarr(run.results / "convection/c16-s0/diffusion-s0/guided/frames.zarr")
    seen, truth = frames["observation"].values[0], frames["truth"].values[0]
    mask = np.load(run.folder / "mask.npy").astype(bool)
    assert np.isnan(seen[0]).all()
    assert (np.isfinite(seen[1:]) == mask).all()
    statistics = Preprocessing.read(run.results / "convection/statistics.json")
    for i, std in enumerate(statistics.std):
        error = (seen[1:, i] - truth[1:, i])[:, mask] / std
        assert error.std() == pytest.approx(0.5, rel=0.1)
        assert abs(error.mean()) < 0.05


@pytest.mark.slow
def test_guided_states_fit_what_guides_them_better_than_unguided_ones(run):
    folder = run.results / "convection/c16-s0/diffusion-s0"
    guided, plain = (xr.open_zarr(folder / name / "frames.zarr") for name in ("guided", "ab4"))
    std = np.array(Preprocessing.read(run.results / "convection/statistics.json").std)
    seen = guided["observation"].values[:, None, 1:]
    fit, without = (
        np.nanmean(((store["member"].values[:, :, 1:] - seen) / std[:, None, None]) ** 2)
        for store in (guided, plain)
    )
    assert fit < 0.8 * without


@pytest.mark.slow
def test_an_edited_mask_rolls_out_again(run):
    assert run.planned() == {}
    path = run.folder / "mask.npy"
    before, when = path.read_bytes(), path.stat()
    try:
        np.save(path, np.ones((32, 16)))
        planned = run.planned()
        assert (planned["rollout"], planned["evaluate"]) == (1, 1)
        np.save(path, np.ones((16, 32)))
        done = run.run("--dry-run", check=False)
        assert "samplers.guided.guidance.operator, on convection: mask.npy: expected" in done.stderr
        assert "shape (32, 16), found (16, 32)" in done.stderr
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(when.st_atime_ns, when.st_mtime_ns))
    record = read_json(run.results / "convection/c16-s0/diffusion-s0/guided/rollouts.json")
    assert record["provenance"]["inputs"]["mask"]["sha256"] == sha256(path)
