"""What a state costs by method, in turns, and where the time of a large rollout goes.

Run `python benchmarks/methods.py --size demo`, or `laptop`, or `paper` (its Rayleigh-Bénard latents
and emulators); `--device cuda`. Sampling alone, without decoding, the same network and batch for
all: seconds per member and state, as the median over turns, over those of diffusion in 16 steps,
with the 95 % interval of the ratio by order statistics. Then a rollout of 64 trajectories of 16
members: the share of its time that is the network's, whose calls are timed one by one.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from lilas.devices import select_device
from lilas.evaluation.uncertainty import median_interval
from lilas.models.build import make_emulator
from lilas.models.rollout import ensemble
from lilas.models.timing import generation, measure
from lilas.study.entries import SamplerEntry, emulator_settings

SMALL = {"channels": 128, "blocks": 4, "heads": 4, "embedding": 128, "patch_size": [2, 2]}
# Latent (channel, *space), label features, network.
SIZES = {
    "demo": ((8, 16, 4), 2, SMALL),
    "laptop": ((4, 16, 4), 2, SMALL),
    "paper": ((64, 16, 4), 6, {"channels": 1024, "blocks": 16, "heads": 8, "embedding": 256}),
}
AB16, DIRECT = {"algorithm": "ab", "steps": 16}, {"algorithm": "direct"}
METHODS = {
    "diffusion, 16 steps": ({"method": "diffusion"}, AB16),
    "flow, 16 steps": ({"method": "flow"}, AB16),
    "ensemble": ({"method": "ensemble"}, DIRECT),
    "ensemble, modulation": ({"method": "ensemble", "noise": "modulation"}, DIRECT),
    "solver": ({"method": "solver"}, DIRECT),
}
# Of the rollout whose network is timed: trajectories, members, states.
TRAJECTORIES, MEMBERS, STATES = 64, 16, 21


def make(size: str, name: str, device: torch.device) -> tuple[nn.Module, object, SamplerEntry]:
    """Returns an emulator, its settings and its sampler."""
    shape, features, network = SIZES[size]
    method, sampling = METHODS[name]
    settings = emulator_settings({**method, "network": network})
    model = make_emulator(settings, shape[0], features, len(shape) - 1).to(device).eval()
    return model, settings, SamplerEntry.model_validate(sampling)


def costs(size: str, batch: int, device: torch.device, turns: int) -> None:
    """Prints what a member's state costs by each method."""
    shape, features, _ = SIZES[size]
    pieces = []
    for name in METHODS:
        model, settings, sampler = make(size, name, device)
        options = {"batch": batch, "names": {"of": name}}
        pieces.append(generation(model, shape, features, settings, sampler, device, **options))
    rows = measure(pieces, device, turns=turns)
    first = np.array(rows[0]["seconds"])
    print(f"\n{size}, batch {batch}\n| method | ms per member and state | over diffusion's |")
    print("|---|---|---|")
    for row in rows:
        ratio = np.array(row["seconds"]) / first
        low, high = median_interval(ratio)
        seconds = 1e3 * np.median(row["seconds"])
        print(f"| {row['of']} | {seconds:.3g} | {np.median(ratio):.3f} [{low:.3f}, {high:.3f}] |")


class Timed:
    """A function that counts the seconds that it takes."""

    def __init__(self, function: Callable[..., torch.Tensor], device: torch.device) -> None:
        self.function, self.device, self.seconds = function, device, 0.0

    def __call__(self, *values: object) -> torch.Tensor:
        began = clock(self.device)
        result = self.function(*values)
        self.seconds += clock(self.device) - began
        return result


def shares(size: str, device: torch.device) -> None:
    """Prints which share of a large rollout's time is the network's."""
    shape, features, _ = SIZES[size]
    print("\n| method | rollout (s) | network (s) | share |\n|---|---|---|---|")
    for name in METHODS:
        model, settings, sampler = make(size, name, device)
        if settings.method == "solver":
            continue
        sampler = sampler.model_copy(update={"members": MEMBERS})
        calls = Timed(model.backbone.forward, device)
        model.backbone.forward = calls
        context = torch.randn(TRAJECTORIES, 1, *shape, device=device)
        labels = torch.randn(TRAJECTORIES, features, device=device)
        options = {"settings": settings, "sampler": sampler}
        # The first one compiles kernels and fills caches.
        ensemble(model, context, labels, range(TRAJECTORIES), states=5, **options)
        calls.seconds, began = 0.0, clock(device)
        ensemble(model, context, labels, range(TRAJECTORIES), states=STATES, **options)
        whole = clock(device) - began
        print(
            f"| {name} | {whole:.2f} | {calls.seconds:.2f} | {calls.seconds / whole:.3f} |",
            flush=True,
        )


def clock(device: torch.device) -> float:
    """Returns the time when the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="demo")
    parser.add_argument("--batch", type=int, default=16, help="windows at once")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    device = select_device(args.device)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {device}")
    with torch.no_grad():
        costs(args.size, args.batch, device, args.turns)
        shares(args.size, device)


if __name__ == "__main__":
    main()
