"""Peak memory of the streaming stages with few, with many, and with long trajectories.

Run `python benchmarks/memory.py`. Statistics, encoding and evaluation of one file of 128 x 64
points, each stage in a process of its own: 4 trajectories of 50 steps, 32 of 50, and 4 of 400. The
file grows eightfold either way, the peak should not.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from lilas.data.well_writer import write_well

SIZE = (128, 64)
STATES = {"fields": ["buoyancy", "velocity"], "transform": {}}
AUTOENCODER = {
    "architecture": "dcae",
    "latent_channels": 4,
    "channels": [8, 16, 16],
    "blocks": [1, 1, 1],
    "train": {
        "steps": 2,
        "batch_size": 2,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "validate_every": 2,
    },
}


def write_file(path: Path, trajectories: int, steps: int) -> None:
    rng = np.random.default_rng(0)
    shape = (trajectories, steps, *SIZE)
    write_well(
        path,
        dataset="noise",
        fields={
            "buoyancy": rng.normal(size=shape).astype(np.float32),
            "velocity": rng.normal(size=(*shape, 2)).astype(np.float32),
        },
        time=np.arange(steps, dtype=float),
        coordinates={"x": np.linspace(0, 4, SIZE[0]), "y": np.linspace(0, 1, SIZE[1])},
        parameters={"Rayleigh": 1e5},
        boundaries={"x": "periodic", "y": "wall"},
    )


def peak(*arguments: str | Path) -> float:
    """Runs a stage and returns its peak resident memory in MB."""
    command = [sys.executable, "-m", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


def measure(folder: Path, trajectories: int, steps: int) -> dict[str, float]:
    file = folder / "file.hdf5"
    write_file(file, trajectories, steps)
    statistics, weights = folder / "statistics.json", folder / "weights.safetensors"

    def config(**parts: object) -> str:
        return json.dumps({"states": STATES, **parts})

    augment = {"copies": 2, "flip": ["x"], "roll": ["x"]}
    found = {}
    found["statistics"] = peak(
        "lilas.stages.statistics", "--config", config(), "--train", file, "--output", statistics
    )
    peak(
        *("lilas.stages.autoencoder", "--config"),
        config(augment={}, autoencoder=AUTOENCODER, seed=0),
        *("--statistics", statistics, "--train", file, "--valid", file, "--weights", weights),
        *("--best", folder / "best", "--history", folder / "h", "--checkpoint", folder / "c"),
    )
    shared = ("--train", file, "--statistics", statistics, "--weights", weights)
    found["latents"] = peak(
        *("lilas.stages.latents", "finish", "--config", config(augment=augment, label={})),
        *(*shared, "--folder", folder),
    )
    evaluation = {"start": 0, "horizons": [[1, steps - 1]]}
    names = {"dataset": "noise", "autoencoder": "c-s0"}
    found["evaluate"] = peak(
        *("lilas.stages.evaluate", "reconstruction", "--config"),
        config(stride=1, evaluation=evaluation, names=names),
        *("--statistics", statistics, "--test", file, "--autoencoder", weights),
        *("--output", folder / "metrics.parquet"),
    )
    return found


def main() -> None:
    peaks = {}
    for sizes in ((4, 50), (32, 50), (4, 400)):
        with tempfile.TemporaryDirectory() as folder:
            peaks[sizes] = measure(Path(folder), *sizes)
    for (trajectories, steps), found in peaks.items():
        print(f"{trajectories} trajectories of {steps} steps")
        for stage, now in found.items():
            print(f"  {stage:<11} {now:6.0f} MB, {now / peaks[4, 50][stage]:.2f} x")


if __name__ == "__main__":
    main()
