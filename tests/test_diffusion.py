"""Denoiser, samplers and solver against the official code's outputs."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lilas.diffusion import SCHEDULES, Denoiser, Inpainting, LogLogit
from lilas.nn.vit import rotary_angles, sum_over_grid
from lilas.objectives import Backbone, Diffusion, Solver, draw_masks
from lilas.rollout import rollout
from lilas.sampling import make_sampler
from official import DATA, Run, emulator_state, relative_error, runs


def folders(kind: str, arch: str) -> list[Path]:
    """The run folders whose network is `arch`."""
    section = {"dm": "denoiser", "sm": "surrogate"}[kind]
    return [folder for folder in runs(kind) if Run(folder).config[section]["arch"] == arch]


def official_backbone(run: Run, kind: str) -> Backbone:
    entry = run.config[kind]
    space = entry["spatial"] - 1
    patch = entry["patch_size"]
    model = Backbone(
        entry["channels"],
        entry["label_features"],
        space,
        noisy=kind == "denoiser",
        channels=entry["hid_channels"],
        blocks=entry["hid_blocks"],
        heads=entry["attention_heads"],
        embedding=entry["emb_features"],
        ffn_factor=entry["ffn_factor"],
        patch_size=patch if isinstance(patch, list) else [patch] * (1 + space),
        qk_norm=entry["qk_norm"],
        rope=entry["rope"],
        dropout=entry["dropout"],
        checkpointing=entry["checkpointing"],
    )
    model.load_state_dict(emulator_state(run.state))
    return model.eval()


def over_space(mask, x):
    return mask.view(1, 1, -1, *[1] * (x.ndim - 3)).expand(len(x), *[-1] * (x.ndim - 1))


@pytest.mark.parametrize("folder", folders("dm", "vit"), ids=lambda folder: folder.name)
@torch.inference_mode()
def test_denoiser_equals_the_official_code(folder):
    run = Run(folder)
    e = run.expected
    entry = run.config["denoiser"]["schedule"]
    schedule = SCHEDULES[entry["name"]](entry["sigma_min"], entry["sigma_max"])
    denoiser = Denoiser(official_backbone(run, "denoiser"), schedule)
    first = over_space(torch.arange(5) < 1, e["x"])
    for t in (0.0, 0.3, 0.5, 0.8, 1.0):
        time = torch.full((len(e["x"]),), t)
        alpha, sigma = denoiser.schedule(time)
        assert relative_error(alpha, e[f"alpha_{t}"]) < 1e-5
        assert relative_error(sigma, e[f"sigma_{t}"]) < 1e-5
        x_t = e["x"] + sigma.view(-1, *[1] * (e["x"].ndim - 1)) * e["eps"]
        q = denoiser(x_t, time, label=e["label"], mask=first, known=e["x"])
        assert relative_error(q.mean, e[f"mean_{t}"]) < 1e-5
        assert relative_error(q.var, e[f"var_{t}"]) < 1e-5


@pytest.mark.parametrize("folder", folders("dm", "vit"), ids=lambda folder: folder.name)
def test_samples_equal_the_official_code(folder):
    run = Run(folder)
    e = run.expected
    schedule = SCHEDULES[run.config["denoiser"]["schedule"]["name"]]()
    denoiser = Denoiser(official_backbone(run, "denoiser"), schedule)
    tags = [name.removeprefix("sample_") for name in e if name.startswith("sample_")]
    assert tags
    for tag in tags:
        method = tag.split("16")[0]
        known = torch.arange(5) < (2 if "ctx2" in tag else 1)
        mask = over_space(known.flip(0) if "backward" in tag else known, e["x"])
        inpainting = Inpainting(denoiser, e["label"], mask, e["x"])
        sample = make_sampler(method, inpainting, steps=16, order=3)(e[f"init_{tag}"])
        assert relative_error(sample, e[f"sample_{tag}"]) < 1e-4, tag


@pytest.mark.parametrize("folder", folders("sm", "vit"), ids=lambda folder: folder.name)
def test_solver_equals_the_official_code(folder):
    run = Run(folder)
    e = run.expected
    solver = Solver(official_backbone(run, "surrogate"), {}, "mse").eval()
    label = e["label"].view(1, -1)
    step = solver.stepper(label, None)
    x = e["x"][None]
    mask = torch.arange(5)[None] < 1
    window = torch.where(mask.view(1, 1, 5, *[1] * (x.ndim - 3)), x[:, :, :5], 0)
    assert relative_error(step(window, mask), e["step_ctx1"]) < 1e-5
    for name in [name for name in e if name.startswith("rollout_") and "crop" not in name]:
        context = int(name.split("ctx")[1][0])
        overlap = int(name.split("overlap")[1]) if "overlap" in name else context
        states = e[name].shape[2]
        result = rollout(step, x[:, :, :context], states=states, window=5, overlap=overlap)
        assert relative_error(result, e[name]) < 1e-4, name


def test_paper_size():
    with torch.device("meta"):
        backbone = Backbone(
            64, 6, 2, noisy=True, channels=1024, blocks=16, heads=8, embedding=256, ffn_factor=4
        )
    assert round(sum(p.numel() for p in backbone.parameters()) / 1e6, 1) == 222.9


def test_masks_follow_the_official_distribution():
    torch.manual_seed(0)
    reference = np.load(DATA / "context_mask.npz")
    masks = draw_masks(200_000, 5)
    for pattern, probability in zip(reference["patterns"], reference["probability"], strict=True):
        share = (masks == torch.from_numpy(pattern)).all(1).float().mean().item()
        assert abs(share - probability) < 0.005


class Gaussian(torch.nn.Module):
    """The network whose denoiser is exact for x ~ N(0, 1): c_skip alone."""

    def forward(self, x, mask, noise, label):
        return torch.zeros_like(x)


@pytest.mark.parametrize("method", ["ab", "eab", "ddim", "heun", "ddpm"])
def test_samplers_reach_the_closed_form(method):
    """For x ~ N(0, 1) the flow is x_0 = x_1 sqrt((1 + s0^2) / (1 + s1^2))."""
    torch.manual_seed(0)
    denoiser = Denoiser(Gaussian(), LogLogit())
    mask = torch.zeros(4096, 1, 1, dtype=torch.bool)
    known = torch.zeros(4096, 1, 1)
    sampler = make_sampler(method, Inpainting(denoiser, known, mask, known), steps=256, order=3)
    x1 = 1e3 * torch.randn(4096, 1, 1)
    x0 = sampler(x1)
    if method == "ddpm":
        assert abs(x0.std().item() - 1) < 0.05
    else:
        assert relative_error(x0, x1 / np.sqrt(1 + 1e6)) < 0.02


def test_known_states_come_out_as_they_went_in():
    torch.manual_seed(0)
    backbone = Backbone(2, 3, 1, noisy=True, channels=16, blocks=1, heads=2, embedding=8)
    settings = {"schedule": "log_logit", "sigma_min": 1e-3, "sigma_max": 1e3}
    settings |= {"prior": "uniform", "prior_parameters": (1.0, 1.0)}
    model = Diffusion(backbone, settings, "mse").eval()
    known = torch.randn(2, 2, 5, 4)
    mask = torch.tensor([[1, 1, 0, 0, 0], [1, 0, 0, 0, 0]], dtype=torch.bool)
    sampler = SimpleNamespace(method="ab", steps=16, order=3)
    window = model.stepper(torch.zeros(2, 3), sampler)(known, mask)
    over = mask.view(2, 1, 5, 1).expand_as(known)
    assert torch.allclose(window[over], known[over], atol=1e-2)


def emulator(noisy: bool = True, **changes):
    torch.manual_seed(0)
    options = {"channels": 16, "blocks": 2, "heads": 2, "embedding": 8, "dropout": 0.0} | changes
    backbone = Backbone(2, 3, 2, noisy=noisy, **options)
    settings = {"schedule": "log_logit", "sigma_min": 1e-3, "sigma_max": 1e3}
    settings |= {"prior": "uniform", "prior_parameters": (1.0, 1.0)}
    return Diffusion(backbone, settings, "mse") if noisy else Solver(backbone, settings, "mse")


def batch(size: int = 2):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(size, 2, 5, 4, 6, generator=generator)
    return x, torch.randn(size, 3, generator=generator), torch.arange(5).expand(size, 5) < 2


def gradients(model, *arguments):
    torch.manual_seed(2)
    model.zero_grad()
    model.loss(*arguments).backward()
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
    model.stepper(label, SimpleNamespace(method="ab", steps=2, order=3))(x, mask)
    after = gradients(model, x, label, mask)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("noisy", [True, False])
def test_checkpointing_changes_no_gradient(noisy):
    first, second = (
        gradients(emulator(noisy, checkpointing=on, dropout=0.1), *batch()) for on in (False, True)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


class Differentiated(torch.nn.Module):
    """The network of `Gaussian`, that differentiates as guidance does: x - grad(x^2/2) = 0."""

    def forward(self, x, mask, noise, label):
        with torch.enable_grad():
            z = x.detach().requires_grad_()
            return x - torch.autograd.grad(z.square().sum() / 2, z)[0]


def test_denoisers_may_differentiate_inside_a_step():
    x, label, _ = batch()
    model = emulator()
    model.backbone = Differentiated()
    step = model.stepper(label, SimpleNamespace(method="eab", steps=64, order=3))
    torch.manual_seed(3)
    window = step(x, torch.zeros(2, 5, dtype=torch.bool))
    torch.manual_seed(3)
    assert relative_error(window, torch.randn_like(x)) < 1e-2


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
    block = emulator().backbone.transformer.blocks[0]
    x = torch.randn(1, 12, 16, generator=torch.Generator().manual_seed(0))
    shifted, here, stretched = (
        block.attention(
            x,
            rotary_angles([scale * torch.arange(12.0) + start], block.theta[:1])
            .unflatten(-1, (2, -1))
            .transpose(0, 1),
        )
        for start, scale in ((100.0, 1), (0.0, 1), (0.0, 9))
    )
    assert relative_error(shifted, here) < 1e-4
    assert relative_error(stretched, here) > 1e-3


@pytest.mark.parametrize("noisy", [True, False])
def test_compiles_without_graph_breaks(noisy):
    x, label, mask = batch()
    backbone = emulator(noisy, patch_size=(1, 2, 2)).backbone
    arguments = (x, mask.view(2, 1, 5, 1, 1), torch.tensor([-3.0, 40.0]), label)
    compiled = torch.compile(backbone, fullgraph=True, backend="eager")
    assert relative_error(compiled(*arguments), backbone(*arguments)) < 1e-5


def test_the_same_seed_gives_the_same_window():
    x, label, mask = batch()
    step = emulator().stepper(label, SimpleNamespace(method="ddpm", steps=4, order=3))
    windows = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        windows.append(step(x, mask))
    assert torch.equal(windows[0], windows[1])
    assert not torch.allclose(windows[0], windows[2])
