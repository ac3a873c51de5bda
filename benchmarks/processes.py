"""Steps of a training in two processes, against one of one thread and one of two.

Run `python benchmarks/processes.py`. The laptop study's latent diffusion with AdamW, eager, on
random latents of its shape; each process has one thread but for the last. The three take turns, and
the ratios are of medians within a turn. Seconds are those of the history: steps, no validations.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from lilas import processes
from lilas.draws import Draws
from lilas.models.build import make_emulator_for
from lilas.models.masks import draw_masks
from lilas.study.read import read_study
from lilas.training.job import make_windows
from lilas.training.loop import fit

STUDY = Path(__file__).parents[1] / "workflow" / "studies" / "laptop.yaml"
# A latent of c32: channels and grid; parameters and boundary codes of a label.
SHAPE, FEATURES = (8, 16, 4), 6
# Processes and threads of each.
WAYS = {"one process": (1, 1), "two processes": (2, 1), "one process, two threads": (1, 2)}


class Random:
    rows, steps, shape = 16, np.full(16, 50), SHAPE
    labels = np.zeros((16, FEATURES), np.float32)

    def read(self, row: int, steps: slice) -> np.ndarray:
        count = len(range(50)[steps])
        return np.random.default_rng(row).normal(size=(count, *SHAPE)).astype(np.float32)

    def origin(self, row: int) -> tuple[str, int]:
        return "random", row


def train(steps: int, batch: int, threads: int) -> None:
    """Trains, and prints the seconds of each step but the first two."""
    device = processes.join("cpu")
    torch.set_num_threads(threads)
    entry = read_study(STUDY).emulators["diffusion"].model
    settings = entry.train.model_dump() | {
        **{"optimizer": "adamw", "steps": steps, "batch_size": batch},
        **{"validate_every": steps, "validation_batches": 1},
    }
    options = {"length": entry.window, "settings": settings, "seed": 0, "device": device}
    windows = make_windows([Random(), Random()], None, **options)
    torch.manual_seed(0)
    emulator = make_emulator_for(entry, SHAPE, FEATURES)

    def loss(states: torch.Tensor, label: torch.Tensor, draws: Draws) -> torch.Tensor:
        mask = draw_masks(draws, entry.window, rate=entry.context_rate)
        return emulator.loss(states, label, mask, draws)

    with tempfile.TemporaryDirectory() as folder:
        found = fit(
            emulator,
            loss,
            *windows,
            settings=settings,
            seed=0,
            folder=Path(folder),
            making={},
            name="benchmark",
            checkpoint_seconds=1e9,
        )
    seconds = [entry["seconds"] for entry in found.history]
    if processes.is_first():
        print(json.dumps(np.diff(seconds)[1:].tolist()))
    processes.leave()


def timed(way: str, steps: int, batch: int) -> float:
    """Returns the median seconds of a step."""
    count, threads = WAYS[way]
    line = [sys.executable, "-m", "lilas.training.launch", "--processes", str(count), "processes"]
    line += ["--steps", str(steps), "--batch", str(batch), "--threads", str(threads)]
    # `processes` is this file, as a module.
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"OMP_NUM_THREADS": str(count * threads), "PYTHONPATH": path}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return statistics.median(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="of each training")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, help="trains, in processes that are there")
    args = parser.parse_args()
    if args.threads:
        train(args.steps, args.batch, args.threads)
        return
    turns = [{way: timed(way, args.steps, args.batch) for way in WAYS} for _ in range(args.turns)]
    for way in WAYS:
        print(f"{way:<26} {statistics.median(turn[way] for turn in turns):8.3f} s per step")
    for way in list(WAYS)[::2]:
        ratios = sorted(turn[way] / turn["two processes"] for turn in turns)
        told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{way} over two processes: {statistics.median(ratios):.2f} (turns: {told})")


if __name__ == "__main__":
    main()
