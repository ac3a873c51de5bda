"""Emulators that the laptop study does not have, by the same budget, on its validation split.

Run `python benchmarks/trials.py distilled` or `spectral` after `snakemake --config study=laptop`.

`distilled`: a copy of the diffusion model whose window of one evaluation, a step of DDIM from noise
at t = 1, is trained to be the window that the model makes of the same noise in 8 steps of
Adams-Bashforth. Its own training has the budget of another emulator, evaluations of the model that
it learns from included.

`spectral`: the ensemble from scratch, whose score is the CRPS of values and that of their Fourier
coefficients over space (orthonormal, absolute values of complex numbers) together.

Either is scored beside the study's own, in latent space, each channel in units of its deviation:
fair CRPS, root mean square of the error of the ensemble's mean, and spread over that, as means over
the lead times of each horizon. docs/benchmarks.md has what it said.
"""

import argparse
import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from lilas.draws import Draws
from lilas.evaluation.tuning import open_validation, score_temperatures, validation_span
from lilas.models.build import load_emulator, make_emulator_for
from lilas.models.context import training_loss
from lilas.models.diffusion import Inpainting
from lilas.models.latents import open_latents
from lilas.models.masks import over_space
from lilas.models.sampling import make_sampler, start_noise
from lilas.records.histories import read_history
from lilas.records.weights import read_record
from lilas.seeds import derive
from lilas.study.entries import SamplerEntry
from lilas.study.read import read_study
from lilas.training.job import make_windows
from lilas.training.loop import fit
from lilas.training.objective import Loss

STUDY = "workflow/studies/laptop.yaml"
RUNS = "rayleigh_benard/c64-s0"
CPU = torch.device("cpu")
MEMBERS = {"members": 8, "batch_size": 64}
DIRECT = {"algorithm": "direct", **MEMBERS}
ONE = {"algorithm": "ddim", "steps": 1, **MEMBERS}
AB16 = {"algorithm": "ab", "order": 3, "steps": 16, **MEMBERS}
OWN = {
    "diffusion, 16 steps": ("diffusion", AB16),
    "diffusion, 1 step": ("diffusion", ONE),
    "ensemble": ("ensemble", DIRECT),
    "retrofitted": ("retrofitted", DIRECT),
}
STEPS_BEFORE = 8


def distilled(model: nn.Module) -> tuple[nn.Module, Loss, float]:
    """Returns a copy, its loss, and what a step costs in steps of the model's own training."""
    student = copy.deepcopy(model).requires_grad_()

    def loss(states: Tensor, label: Tensor, draws: Draws) -> Tensor:
        first = torch.arange(states.shape[2]) < 1
        mask = over_space(first.expand(len(states), -1), states)
        noise = start_noise(model.schedule, states, draws)
        known = states * mask
        with torch.no_grad():
            denoiser = Inpainting(model.denoiser, label, mask, known)
            target = make_sampler("ab", denoiser, steps=STEPS_BEFORE, order=3)(noise)
        given = {"label": label, "mask": mask, "known": known}
        mean = student.denoiser(noise, torch.ones(()), **given).mean
        return ((mean - target).square() * ~mask).mean() / (~mask).float().mean()

    # An evaluation is a third of a step: gradients cost twice as much as what they are of.
    return student, loss, 1 + STEPS_BEFORE / 3


def spectral(x: Tensor) -> Tensor:
    """Returns the absolute values of (batch, member, channel, time, *space) and of its modes."""
    space = tuple(range(4, x.ndim))
    return x.abs() + torch.fft.fftn(x, dim=space, norm="ortho").abs()


def train(name: str, results: Path) -> tuple[nn.Module, object]:
    """Returns a trained trial and its settings."""
    weights = results / RUNS / "weights.safetensors"
    sources = [
        open_latents(results / RUNS / "latents" / f"{split}.json", weights)
        for split in ("train", "valid")
    ]
    shape, features = sources[0].shape, sources[0].labels.shape[1]
    run = results / RUNS / {"distilled": "diffusion-s0", "spectral": "ensemble-s0"}[name]
    config = read_record(run / "weights.safetensors")["config"]
    model, entry = load_emulator(run / "weights.safetensors", shape, features, CPU)
    cost = 1.0
    torch.manual_seed(derive(config["seed"]))
    if name == "distilled":
        student, loss, cost = distilled(model)
    else:
        student = make_emulator_for(entry, shape, features)
        student.norm = spectral

        def loss(states: Tensor, label: Tensor, draws: Draws) -> Tensor:
            return training_loss(student, entry, states, label, draws)

    steps = round(read_history(run / "history.jsonl").iloc[-1]["step"] / cost)
    settings = entry.train.model_dump() | {"budget": None, "steps": steps}
    windows = make_windows(
        sources,
        sources[0].augmentation(config["augment"]),
        length=entry.states,
        stride=config["stride"],
        settings=settings,
        seed=config["seed"],
        device=CPU,
    )
    with tempfile.TemporaryDirectory() as folder:
        outcome = fit(
            student.train(),
            loss,
            *windows,
            settings=settings,
            seed=derive(config["seed"], 2),
            folder=Path(folder),
            making={"trial": name},
            name=name,
        )
    student.load_state_dict(outcome.last)
    print(f"{name}: {steps} steps, last validation loss {outcome.history[-1]['valid_loss']:.4g}")
    return student.eval(), entry


def scored(results: Path) -> Callable[[str, nn.Module, object, dict[str, object]], None]:
    """Returns what prints a row of scores of an emulator with a sampler."""
    manifest, weights = (
        results / RUNS / "latents/valid.json",
        results / RUNS / "weights.safetensors",
    )
    source = open_validation(manifest, weights)
    dataset = read_study(STUDY).datasets["rayleigh_benard"]

    def row(name: str, model: nn.Module, entry: object, sampling: dict[str, object]) -> None:
        sampler = SamplerEntry.model_validate({**sampling, "tune_temperature": [1.0, 2.0]})
        sampler = sampler.model_copy(update={"tune_temperature": [1.0]})
        rows, steps = validation_span(manifest, source, dataset.evaluation, dataset.stride, sampler)
        found, _ = score_temperatures(
            model,
            source,
            rows=rows,
            steps=steps,
            settings=entry,
            stride=dataset.stride,
            sampler=sampler,
            device=CPU,
        )
        table = pd.DataFrame(found)
        table["ratio"] = table["spread"] / table["rmse"]
        cells = []
        for quantity in ("crps", "rmse", "ratio"):
            for first, last in dataset.evaluation.horizons:
                inside = table[table["lead_time"].between(first, last)]
                cells.append(f"{inside[quantity].mean():.3f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)

    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trial", choices=("distilled", "spectral"))
    parser.add_argument("results", nargs="?", type=Path, default=Path("results/laptop"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    trained = train(args.trial, args.results)
    row = scored(args.results)
    print(
        "| | CRPS | | | RMSE | | | spread / skill | | |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    row(args.trial, *trained, ONE if args.trial == "distilled" else DIRECT)
    source = open_latents(
        args.results / RUNS / "latents/valid.json", args.results / RUNS / "weights.safetensors"
    )
    for name, (run, sampling) in OWN.items():
        path = args.results / RUNS / f"{run}-s0" / "weights.safetensors"
        row(name, *load_emulator(path, source.shape, source.labels.shape[1], CPU), sampling)


if __name__ == "__main__":
    main()
