"""The paper's models at their full size: a training step and a window each, on this machine.

Run `python benchmarks/paper.py`. Sizes are those of `workflow/studies/paper.yaml`; parameters and
states are random. Each model, in a process of its own, takes one training step (batch 1, AdamW,
float32) and, in another, makes a window: an autoencoder encodes and decodes one of five states, an
emulator generates one as its sampler has it. Printed are parameters, seconds and the most memory
that the process ever had.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from lilas.draws import Draws
from lilas.models.build import make_autoencoder, make_emulator
from lilas.models.rollout import Window
from lilas.study.read import read_study
from lilas.study.study import Study

STUDY = Path(__file__).parents[1] / "workflow" / "studies" / "paper.yaml"
EULER, CONVECTION, COOLING = (
    "euler_multi_quadrants",
    "rayleigh_benard",
    "turbulence_gravity_cooling",
)
# The entry, its dataset, and the autoencoder in whose latents an emulator works.
MODELS = {
    "autoencoder, 2-D, Rayleigh-Bénard": ("f32c64", CONVECTION, ""),
    "autoencoder, 2-D, Euler": ("f32c64", EULER, ""),
    "autoencoder, 3-D": ("f8c64", COOLING, ""),
    "diffusion, 2-D latents, Euler": ("diffusion", EULER, "f32c64"),
    "diffusion, 3-D latents": ("diffusion", COOLING, "f8c64"),
    "pixel-space solver, Euler": ("pixel_solver", EULER, "pixel"),
}
Made = tuple[nn.Module, Callable[[], Tensor], Callable[[], None]]
# Features of a label: parameters, then a code of three for both ends of each axis.
FEATURES = {EULER: 1 + 12, CONVECTION: 2 + 12, COOLING: 3 + 18}


def autoencoder(study: Study, entry: str, dataset: str, _: str, batch: int = 1) -> Made:
    """Returns an autoencoder, its loss of a batch, and five states encoded and decoded."""
    extent = study.datasets[dataset].extent()
    settings = study.resolve("autoencoders", entry, dataset).model
    model = make_autoencoder(settings, len(extent.channels), extent.axes)
    states = torch.randn(max(5, batch), len(extent.channels), *extent.size)

    def loss() -> Tensor:
        draws = Draws(0, range(batch))
        return model.loss(states[:batch], settings.loss, settings.similarity_weight, draws)

    def window() -> None:
        for state in states[:5]:
            model.decode(model.encode(state[None]))

    return model, loss, window


def emulator(study: Study, entry: str, dataset: str, latent: str, batch: int = 1) -> Made:
    """Returns an emulator, its loss of a batch, and one window generated."""
    extent = study.datasets[dataset].extent()
    coder = study.resolve("autoencoders", latent, dataset).model
    channels = getattr(coder, "latent_channels", len(extent.channels))
    size = [points // coder.factor for points in extent.size]
    found = study.resolve("emulators", entry, dataset)
    model = make_emulator(found.model, channels, FEATURES[dataset], len(size))
    label = torch.randn(batch, FEATURES[dataset])
    states = torch.randn(batch, channels, found.model.window, *size)
    mask = (torch.arange(states.shape[2]) < 1).expand(batch, -1)
    known = (states * mask.view(batch, 1, -1, *[1] * len(size)))[:1]
    sampler = study.samplers[found.samplers[0]]

    def loss() -> Tensor:
        return model.loss(states, label, mask, Draws(0, range(batch)))

    def window() -> None:
        model.stepper(label[:1], sampler, Draws(0, [0]))(Window(known, mask[:1], 0))

    return model, loss, window


def measure(name: str, what: str) -> str:
    """Returns parameters, seconds and peak memory of one model, as a row of a table."""
    torch.manual_seed(0)
    *of, latent = MODELS[name]
    model, loss, window = (emulator if latent else autoencoder)(read_study(STUDY), *of, latent)
    parameters = sum(p.numel() for p in model.parameters())
    begun = time.perf_counter()
    if what == "window":
        with torch.inference_mode():
            model.eval()
            window()
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        loss().backward()
        optimizer.step()
    seconds = time.perf_counter() - begun
    # In kB, but in bytes on macOS.
    unit = 2**20 if sys.platform == "linux" else 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return f"| {name} | {parameters / 1e6:.1f} | {what} | {seconds:.1f} | {peak:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, help="this one alone, in this process")
    parser.add_argument("--what", choices=["training step", "window"], default="window")
    args = parser.parse_args()
    if args.model:
        print(measure(args.model, args.what))
        return
    print("| model | parameters (M) | what | seconds | peak memory (GiB) |\n|---|---|---|---|---|")
    for name in MODELS:
        for what in ("training step", "window"):
            command = [sys.executable, __file__, "--model", name, "--what", what]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            lost = f"| {name} | | {what} | failed: {(done.stderr.splitlines() or [''])[-1]} | |"
            print(done.stdout.strip() or lost, flush=True)


if __name__ == "__main__":
    main()
