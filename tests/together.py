"""What tests have processes do that torchrun started: each keeps what it found in a file.

python -m together WHAT FOLDER, by `lilas.training.launch`; alone it is the twin of one process.
"""

import os
import sys
import time
import warnings
from pathlib import Path

import torch
from torch import nn

import test_training
from lilas import processes
from lilas.data.windows import Windows
from lilas.errors import LilasError
from lilas.models.losses import similarity
from lilas.stages import execute
from lilas.training.objective import Objective
from test_windows import CPU, Counted

STEPS = 50
# Bytes of two streamed pools, and of one that fits once and not twice: 7 trajectories of 216.
MEMORIES = {"pieces": 4 * 216, "windows": 1, "in memory": 7 * 216, "twice": 14 * 216}


def losses(folder: Path, micro: int | None = None, **options) -> list[float]:
    """The losses of every step of the toy's training without dropout."""
    options = {"steps": STEPS, "ema": 0.5, "micro_batch": micro, "validate_every": 10} | options
    found = test_training.fit(folder, test_training.settings(**options), dropout=0.0)
    return [entry[key] for entry in found.history for key in ("loss", "valid_loss") if key in entry]


def trainings(folder: Path) -> dict:
    """Losses by optimiser; weights after 300 steps with dropout; a step that one process spoils."""
    found = {name: losses(folder / name, optimizer=name) for name in ("adamw", "psgd")}
    found["psgd micro"] = losses(folder / "micro", 2, optimizer="psgd")
    found["soap"] = losses(folder / "soap", optimizer="soap", steps=10)
    options = test_training.settings(optimizer="psgd", steps=300, validate_every=100)
    found["weights"] = test_training.fit(folder / "long", options, seconds=60).last
    spoils = processes.rank() == processes.count() - 1
    nan = [(1, lambda value: value * float("nan"))] if spoils else []
    spoilt = test_training.fit(
        folder / "nan", test_training.settings(steps=4, ema=0.0), broken=nan, dropout=0.0
    )
    found["skipped"] = [entry["skipped"] for entry in spoilt.history]
    found["spoilt"] = spoilt.last
    return found


def windows(memory: float) -> dict:
    """Batches over three epochs of trajectories that differ in steps, and what is held and read."""
    pool = Windows(
        Counted(rows=7, steps=[9, 5, 7, 7, 9, 6, 8]),
        length=2,
        stride=2,
        batch_size=6,
        seed=4,
        device=CPU,
        memory=memory,
        augment=lambda x, label, rows, draws: (
            x + draws.normal(x),
            label + torch.from_numpy(rows)[:, None],
        ),
    )
    batches = [pool.batch(step) for step in range(20)]
    return {"batches": batches, "held": pool.states.nbytes, "read": pool.source.reads}


def dropped(label: torch.Tensor) -> dict:
    """Masks of dropout in each process, and what the optimiser draws after them."""
    mask = nn.Dropout(0.5)
    model = nn.Linear(1, 1)
    seen = []

    def loss(x, label, draws):
        seen.append(mask(torch.ones(100)))
        return model(label).square().mean()

    objective = Objective(model, loss, test_training.settings())
    torch.manual_seed(11)
    objective.gradients(label, label, 11)
    return {"mask": seen[0], "drawn": torch.rand(3), "gradient": model.weight.grad.clone()}


def similar() -> dict:
    """The similarity of latents, and its gradient as `DistributedDataParallel` averages it."""
    part = processes.part(6)
    torch.manual_seed(5)
    z, model = torch.randn(6, 4), nn.Linear(4, 3)
    value = similarity(model(z[part]))
    value.backward()
    return {"value": value.detach(), "gradient": processes.mean(model.weight.grad)}


def unused() -> str:
    """What is said of a parameter that takes no part in the loss."""
    model = nn.ModuleDict({"used": nn.Linear(1, 1), "unused": nn.Linear(1, 1)})
    objective = Objective(
        model, lambda x, label, _: model["used"](x).mean(), test_training.settings()
    )
    samples = torch.zeros(8, 1)[processes.part(8)]
    try:
        objective.gradients(samples, samples, 0)
    except LilasError as error:
        return str(error)
    return ""


def everything(folder: Path) -> None:
    found = trainings(folder) | {name: windows(size) for name, size in MEMORIES.items()}
    found["similarity"], found["unused"] = similar(), unused()
    other = torch.full((2, 3), -0.0 if processes.rank() else 0.0)
    found["alike"] = [processes.alike([torch.ones(3), one]) for one in (torch.tensor(7), other)]
    found["dropout"] = dropped(torch.arange(8.0)[processes.part(8)][:, None])
    torch.save(found, folder / f"of-{processes.rank()}.pt")


def trains(folder: Path, seconds: float = 0.05, until: int = -1, saves: float = 0) -> None:
    """A training whose steps take a while, and that tells who takes part; it may be stopped."""
    (folder / f"pid-{processes.rank()}").write_text(str(os.getpid()))
    options = test_training.settings(steps=60, validate_every=20, optimizer="psgd", ema=0.5)
    slow = [(call, lambda value: time.sleep(seconds) or value) for call in range(60)]
    slow.append((until, test_training.stop))
    test_training.fit(folder, options, dropout=0.0, broken=slow, seconds=saves)


def saves_at_the_end(folder: Path) -> None:
    trains(folder, saves=float("inf"))


def meets(folder: Path) -> None:
    """Each process tells the mean of all ranks, and the threads that it may use."""
    mean = processes.mean(torch.tensor(float(processes.rank())))
    # As it began; tests have one thread.
    began = Path("/proc/self/environ").read_text().split("\0")
    threads = next(entry for entry in began if entry.startswith("OMP_NUM_THREADS="))
    (folder / f"of-{processes.rank()}").write_text(f"{mean.item()} {threads}")


def fails(folder: Path) -> None:
    """Two processes find a fault while the first waits for them; all warn of something."""
    warnings.warn("a field stands still", stacklevel=1)
    if processes.rank():
        raise LilasError(f"{folder}: expected a file, found none.")
    processes.mean(torch.zeros(1))


def main() -> None:
    what, folder = sys.argv[1], Path(sys.argv[2])
    processes.join("cpu")
    processes.use_threads(1)
    globals()[what](folder)


if __name__ == "__main__":
    execute(main)
