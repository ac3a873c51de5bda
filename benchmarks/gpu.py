"""LILAS on a CUDA device: beside the CPU, and the paper's models at their full size.

Run `python benchmarks/gpu.py`, or with some of its tables:

parity     what small networks compute on the device in each precision, beside the CPU in float32:
           the largest difference over the largest value of outputs, losses, gradients of all
           weights, latents, a window of 16 steps, a rollout and its scores.
products   products of two matrices of 8192 x 8192.
steps      training steps (forward, backward, clipping, optimiser), eager and compiled, with the
           most memory allocated; a process for each model.
states     a state encoded, decoded and rolled out, as `lilas.models.timing` measures it, eager.

Sizes are those of `workflow/studies/paper.yaml`; parameters and states are random.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from paper import CONVECTION, COOLING, EULER, FEATURES, MODELS, STUDY, autoencoder, emulator
from torch import nn

from lilas.devices import arithmetic, compile_modules, select_device
from lilas.models.build import make_autoencoder, make_emulator
from lilas.models.timing import Piece, coding, generation, measure
from lilas.official.parity import relative_error
from lilas.study.read import read_study
from lilas.study.study import Study
from lilas.study.training import Train
from lilas.training.optimizers import make_optimizer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from everywhere import computed, networks

PRECISIONS = ("float32", "tf32", "bfloat16")
# States or windows in a training step; states, and windows of latents, that are made at once.
BATCHES = dict(zip(MODELS, (4, 2, 1, 4, 2, 1), strict=True))
TOGETHER = 4
# Seconds that a measurement goes on for, and repetitions that it has at least.
LONG, LEAST = 1.0, 5


def parity(device: torch.device) -> None:
    """Prints how far a device is from the CPU."""
    print(f"| network | quantity | {' | '.join(PRECISIONS)} |\n|---|---|---|---|---|", flush=True)
    for name, model, x in networks():
        expected = computed(model, x)
        model = model.to(device)
        found = [computed(model, x.to(device), precision) for precision in PRECISIONS]
        for quantity, values in expected.items():
            errors = [f"{relative_error(own[quantity], values):.1e}" for own in found]
            print(f"| {name} | {quantity} | {' | '.join(errors)} |", flush=True)


def seconds(call: Callable[[], object]) -> float:
    """Returns the median of warm, synchronised repetitions."""
    found: list[float] = []
    for _ in range(2):
        call()
    while len(found) < LEAST or sum(found) < LONG:
        torch.cuda.synchronize()
        began = time.perf_counter()
        call()
        torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def rates(device: torch.device) -> dict[str, float]:
    """Returns the FLOPs per second of large products of matrices, by precision."""
    found, size = {}, 8192
    for precision in PRECISIONS:
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        arithmetic("tf32" if precision == "tf32" else "float32", device)
        found[precision] = 2 * size**3 / seconds(lambda: a @ b)  # noqa: B023
    return found


def products(device: torch.device) -> None:
    """Prints `rates`."""
    print("| product of 8192 x 8192 | TFLOP/s |\n|---|---|")
    for precision, rate in rates(device).items():
        print(f"| {precision} | {rate / 1e12:.0f} |", flush=True)


def steps(
    name: str, device: torch.device, optimizer: str, precisions: list[str], eager: bool
) -> None:
    """Prints the training steps of one model."""
    *of, latent = MODELS[name]
    torch.manual_seed(0)
    with device:
        make, batch = (emulator if latent else autoencoder), BATCHES[name]
        model, loss, _ = make(read_study(STUDY), *of, latent, batch)
    settings = {"optimizer": optimizer, "learning_rate": 1e-6, "steps": 1, "batch_size": batch}
    train = Train(**settings, validate_every=1).model_dump()
    update = make_optimizer(model.parameters(), train)

    def step(precision: str) -> None:
        with arithmetic(precision, device):
            value = loss()
        value.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), train["clip"])
        if not torch.isfinite(norm):
            raise SystemExit(f"{name}: the gradient is not finite in {precision}")
        update.step()
        update.zero_grad(set_to_none=True)

    for compiled in (False,) if eager else (False, True):
        if compiled:
            compile_modules(
                device, *([model.backbone] if latent else [model.encoder, model.decoder])
            )
        for precision in precisions:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            began = time.perf_counter()
            step(precision)
            first = f"{time.perf_counter() - began:.0f}" if compiled else ""
            how = "compiled" if compiled else "eager"
            cells = [name, f"{batch}, {optimizer}", precision, how]
            cells += [f"{1e3 * seconds(lambda: step(precision)):.1f}"]  # noqa: B023
            cells += [f"{torch.cuda.max_memory_allocated() / 2**30:.1f}", first]
            print(f"| {' | '.join(cells)} |", flush=True)


def pieces(study: Study, dataset: str, device: torch.device) -> list[Piece]:
    """Returns what a state of a dataset is made by, in every precision."""
    extent, found = study.datasets[dataset].extent(), []
    shape, features = (len(extent.channels), *extent.size), FEATURES[dataset]
    coder = "f8c64" if dataset == COOLING else "f32c64"
    with device:
        settings = study.resolve("autoencoders", coder, dataset).model
        model = make_autoencoder(settings, shape[0], extent.axes)
        made = []
        for name in ("diffusion", "solver") + (("pixel_solver",) if dataset != COOLING else ()):
            entry = study.resolve("emulators", name, dataset)
            latent = shape if name == "pixel_solver" else model.latent_shape(shape)
            one = make_emulator(entry.model, latent[0], features, len(extent.axes))
            sampler = study.samplers[entry.samplers[0]].model_copy(update={"compile": False})
            made.append((name, one, latent, entry.model, sampler))
    for precision in PRECISIONS:
        own = {"precision": precision}
        names = own | {"of": "autoencoder"}
        found += coding(model, shape, device, batch=TOGETHER, precision=precision, names=names)
        for name, one, latent, settings, sampler in made:
            batch = 1 if name == "pixel_solver" else TOGETHER
            options = {"batch": batch, "precision": precision, "names": own | {"of": name}}
            found.append(generation(one, latent, features, settings, sampler, device, **options))
    return found


def states(device: torch.device, datasets: list[str], turns: int) -> None:
    """Prints what a state costs."""
    study, peaks = read_study(STUDY), rates(device)
    columns = "dataset | what | at once | precision | ms | TFLOP | share of a product's rate | GiB"
    print(f"| {columns} |\n|{'---|' * 8}", flush=True)
    for dataset in datasets:
        for row in measure(pieces(study, dataset, device), device, turns=turns):
            median, flops = statistics.median(row["seconds"]), row["flops"]
            what = row["kind"] if row["kind"] != "rollout" else row["of"]
            share = f"{flops / median / peaks[row['precision']]:.2f}"
            cells = [dataset, what, f"{row['batch']}", row["precision"], f"{1e3 * median:.2f}"]
            cells += [f"{flops / 1e12:.3f}", share, f"{row['memory'] / 2**30:.1f}"]
            print(f"| {' | '.join(cells)} |", flush=True)
        torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tables, datasets = ("parity", "products", "steps", "states"), (EULER, CONVECTION, COOLING)
    parser.add_argument("tables", nargs="*", default=tables, metavar="TABLE", help=str(tables))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--optimizer", default="adamw", help="of the steps")
    parser.add_argument("--eager", action="store_true", help="compile no steps")
    parser.add_argument("--datasets", nargs="+", choices=datasets, default=datasets)
    parser.add_argument("--turns", type=int, default=5, help="of the states")
    parser.add_argument("--model", choices=MODELS, help="the steps of this one, in this process")
    args = parser.parse_args()
    device = select_device(args.device)
    if args.model:
        steps(args.model, device, args.optimizer, args.precisions, args.eager)
        return
    card = torch.cuda.get_device_name(device)
    print(f"{card}, torch {torch.__version__}, Python {platform.python_version()}", flush=True)
    if "parity" in args.tables:
        parity(device)
    if "products" in args.tables:
        products(device)
    if "steps" in args.tables:
        columns = "model | of a step | precision | how | ms | GiB | first step (s)"
        print(f"| {columns} |\n|{'---|' * 7}", flush=True)
        for name in MODELS:
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--model", name], check=False)
    if "states" in args.tables:
        states(device, args.datasets, args.turns)


if __name__ == "__main__":
    main()
