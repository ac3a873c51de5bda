"""Emulators that the laptop study does not have, by the same budget, on its validation split.

Run `python benchmarks/trials.py` with what is tried, after `snakemake --config study=laptop`.

`ensemble` or `retrofitted`: those of the study, trained with `--loss`.

`distilled`: a copy of the diffusion model whose window of one evaluation, a step of DDIM from noise
at t = 1, is trained to be the window that the model makes of the same noise in 8 steps of
Adams-Bashforth. Its own training has the budget of another emulator, evaluations of the model that
it learns from included; with that model's it is twice as much.

Either is scored beside the study's own, in latent space, each channel in units of its deviation:
fair CRPS, root mean square of the error of the ensemble's mean, and spread over that, as means over
the lead times of each horizon. docs/benchmarks.md has what it said.
"""

import argparse
import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from lilas.draws import Draws
from lilas.errors import LilasError
from lilas.evaluation.tuning import open_validation, score_temperatures, validation_span
from lilas.models.build import load_emulator, make_emulator_for
from lilas.models.context import training_loss
from lilas.models.diffusion import Inpainting
from lilas.models.ensemble import NORMS
from lilas.models.latents import open_latents
from lilas.models.masks import over_space
from lilas.models.sampling import make_sampler, start_noise
from lilas.official.start import start_from
from lilas.records.histories import read_history
from lilas.records.weights import read_record
from lilas.seeds import derive
from lilas.study.entries import SamplerEntry, emulator_settings
from lilas.study.read import read_study
from lilas.training.job import make_windows
from lilas.training.loop import fit
from lilas.training.objective import Loss

STUDY = "workflow/studies/laptop.yaml"
RUNS = "rayleigh_benard/c64-s0"
WEIGHTS, VALIDATION = "weights.safetensors", "latents/valid.json"
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


def distil(model: nn.Module) -> tuple[nn.Module, Loss]:
    """Returns a copy of a diffusion model, and the loss that teaches it to take one step."""
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

    return student, loss


def train(trial: str, score: str, folder: Path) -> tuple[nn.Module, Any]:
    """Returns what is tried, trained, and its settings."""
    sources = [
        open_latents(folder / "latents" / f"{split}.json", folder / WEIGHTS)
        for split in ("train", "valid")
    ]
    shape, features = sources[0].shape, sources[0].labels.shape[1]
    run = folder / ("diffusion-s0" if trial == "distilled" else f"{trial}-s0")
    config = read_record(run / WEIGHTS)["config"]
    steps = read_history(run / "history.jsonl").iloc[-1]["step"]
    torch.manual_seed(derive(config["seed"]))
    if trial == "distilled":
        model, entry = load_emulator(run / WEIGHTS, shape, features, CPU)
        model, loss = distil(model)
        # An evaluation is a third of a step: gradients cost twice as much as what they are of.
        steps /= 1 + STEPS_BEFORE / 3
    else:
        entry = emulator_settings(config["emulator"] | {"loss": score})
        model = make_emulator_for(entry, shape, features)
        start = entry.train.start
        parents = [] if start is None else [folder / "half_solver-s0" / WEIGHTS]
        start_from(model, "emulator", parents, start)

        def loss(states: Tensor, label: Tensor, draws: Draws) -> Tensor:
            return training_loss(model, entry, states, label, draws)

    settings = entry.train.model_dump() | {"budget": None, "steps": round(steps)}
    windows = make_windows(
        sources,
        sources[0].augmentation(config["augment"]),
        length=entry.states,
        stride=config["stride"],
        settings=settings,
        seed=config["seed"],
        device=CPU,
    )
    with tempfile.TemporaryDirectory() as checkpoints:
        outcome = fit(
            model.train(),
            loss,
            *windows,
            settings=settings,
            seed=derive(config["seed"], 2),
            folder=Path(checkpoints),
            making={"trial": trial},
            name=trial,
        )
    model.load_state_dict(outcome.last)
    print(f"{trial}: {round(steps)} steps")
    return model.eval(), entry


def scoring(folder: Path) -> Callable[[str, nn.Module, Any, dict[str, Any]], None]:
    """Returns what prints a row of scores of an emulator with a sampler."""
    manifest = folder / VALIDATION
    source = open_validation(manifest, folder / WEIGHTS)
    dataset = read_study(STUDY).datasets["rayleigh_benard"]

    def score(name: str, model: nn.Module, entry: Any, sampling: dict[str, Any]) -> None:
        sampler = SamplerEntry.model_validate(sampling)
        sampler = sampler.model_copy(update={"tune_temperature": [1.0]})
        span = validation_span(manifest, source, dataset.evaluation, dataset.stride, sampler)
        rows, steps = span
        options = {"settings": entry, "stride": dataset.stride, "sampler": sampler, "device": CPU}
        found, diverged = score_temperatures(model, source, rows=rows, steps=steps, **options)
        if diverged:
            raise LilasError(f"{name}: a rollout diverged")
        table = pd.DataFrame(found)
        table["ratio"] = table["spread"] / table["rmse"]
        cells = []
        for quantity in ("crps", "rmse", "ratio"):
            for first, last in dataset.evaluation.horizons:
                inside = table[table["lead_time"].between(first, last)]
                cells.append(f"{inside[quantity].mean():.3f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)

    return score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trial", choices=("distilled", "ensemble", "retrofitted"))
    parser.add_argument("results", nargs="?", type=Path, default=Path("results/laptop"))
    parser.add_argument("--loss", choices=NORMS, default="crps", help="of an ensemble")
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = args.results / RUNS
    trained = train(args.trial, args.loss, folder)
    score = scoring(folder)
    print(f"| | CRPS | | | RMSE | | | spread / skill | | |\n|---|{'---|' * 9}")
    distilled = args.trial == "distilled"
    name = args.trial if distilled else f"{args.trial}, {args.loss}"
    score(name, *trained, ONE if distilled else DIRECT)
    source = open_latents(folder / VALIDATION, folder / WEIGHTS)
    for name, (run, sampling) in OWN.items():
        path = folder / f"{run}-s0" / WEIGHTS
        score(name, *load_emulator(path, source.shape, source.labels.shape[1], CPU), sampling)


if __name__ == "__main__":
    main()
