"""LILAS on a CUDA device: beside the CPU, and the paper's models at their full size.

Run `python benchmarks/gpu.py`. Three tables:

parity     what small networks compute on the device in each precision, beside the CPU in float32:
           the largest difference over the largest value of outputs, losses, gradients of all
           weights, latents, a window of 16 steps, a rollout and its scores.
products   matrix products of 8192 x 8192, in each precision.
steps      training steps (forward, backward, clipping, optimiser) of the sizes of
           `workflow/studies/paper.yaml`, eager and compiled, and windows as `paper.py` has them:
           medians of warm, synchronised repetitions, and the most memory allocated.

Each model has a process of its own. `--together` prepares all of them at once (compiling takes
minutes) before each is measured alone; it takes the memory of all.
"""

import argparse
import fcntl
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from paper import MODELS, STUDY, autoencoder, emulator
from torch import nn

from lilas.devices import arithmetic, compile_modules, select_device
from lilas.official.parity import relative_error
from lilas.study.read import read_study
from lilas.study.training import Train
from lilas.training.optimizers import make_optimizer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from everywhere import computed, networks

PRECISIONS = ("float32", "tf32", "bfloat16")
# States or windows in a training step.
BATCHES = dict(zip(MODELS, (4, 2, 1, 4, 2, 1), strict=True))
CPU = torch.device("cpu")
# Seconds that a measurement goes on for, and repetitions that it has at least.
LONG, LEAST = 1.0, 5


# --- Parity -----------------------------------------------------------------------------------


def parity(device: torch.device) -> None:
    """Prints how far a device is from the CPU."""
    print("| network | quantity | " + " | ".join(PRECISIONS) + " |\n|---|---|" + "---|" * 3)
    for name, model, x in networks():
        expected = computed(model, x)
        model = model.to(device)
        found = [computed(model, x.to(device), precision) for precision in PRECISIONS]
        for quantity, values in expected.items():
            errors = [f"{relative_error(own[quantity], values):.1e}" for own in found]
            print(f"| {name} | {quantity} | {' | '.join(errors)} |", flush=True)


# --- Speed ------------------------------------------------------------------------------------


def seconds(call: Callable[[], object]) -> list[float]:
    """Returns the seconds of warm, synchronised repetitions."""
    found: list[float] = []
    for _ in range(2):
        call()
    while len(found) < LEAST or sum(found) < LONG:
        torch.cuda.synchronize()
        began = time.perf_counter()
        call()
        torch.cuda.synchronize()
        found.append(time.perf_counter() - began)
    return found


def products(device: torch.device) -> None:
    """Prints the rates of large matrix products."""
    size = 8192
    print("| product of 8192 x 8192 | TFLOP/s |\n|---|---|")
    for precision in PRECISIONS:
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        with arithmetic(precision, device):
            rate = 2 * size**3 / statistics.median(seconds(lambda: a @ b)) / 1e12  # noqa: B023
        print(f"| {precision} | {rate:.0f} |", flush=True)


def steps(name: str, device: torch.device, optimizer: str, compiles: bool, lock: Path) -> None:
    """Prints the rows of one model; what compiles does so beside others, measurements alone."""
    *of, latent = MODELS[name]
    torch.manual_seed(0)
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        with device:
            make, batch = (emulator if latent else autoencoder), BATCHES[name]
            model, loss, window = make(read_study(STUDY), *of, latent, batch)
        parts = [model.backbone] if latent else [model.encoder, model.decoder]
        begun = time.perf_counter()
        if compiles:
            compile_modules(device, *parts)
            for precision in PRECISIONS[1:]:
                with arithmetic(precision, device):
                    value = loss()
                value.backward()
                model.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
        print(f"{name}: ready in {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
        fcntl.flock(file, fcntl.LOCK_UN)
        fcntl.flock(file, fcntl.LOCK_EX)
        settings = {"optimizer": optimizer, "learning_rate": 1e-6, "steps": 1, "batch_size": 1}
        chosen = Train(**settings, validate_every=1).model_dump()
        update = make_optimizer(model.parameters(), chosen)

        def step(precision: str) -> None:
            with arithmetic(precision, device):
                value = loss()
            value.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            if not torch.isfinite(norm):
                raise SystemExit(f"{name}: the gradient is not finite in {precision}")
            update.step()
            update.zero_grad(set_to_none=True)

        def row(what: str, how: str, call: Callable[[], object]) -> None:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            try:
                median = statistics.median(seconds(call))
            except torch.OutOfMemoryError:
                print(f"| {name} | {what} | {how} | | out of memory |", flush=True)
                return
            peak = torch.cuda.max_memory_allocated() / 2**30
            print(f"| {name} | {what} | {how} | {median:.4f} | {peak:.1f} |", flush=True)

        what = f"step of {batch}, {optimizer}"
        if compiles:
            for precision in PRECISIONS[1:]:
                row(what, f"{precision}, compiled", lambda: step(precision))  # noqa: B023
        torch.compiler.set_stance("force_eager")
        for precision in PRECISIONS:
            row(what, precision, lambda: step(precision))  # noqa: B023
        model.eval()
        for precision in PRECISIONS:
            with torch.inference_mode(), arithmetic(precision, device):
                row("window", precision, window)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=["parity", "products", "steps"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--eager", action="store_true", help="compile nothing")
    parser.add_argument("--together", action="store_true", help="prepare all models at once")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--lock", type=Path, help="for one model, in this process")
    args = parser.parse_args()
    device = select_device(args.device)
    if args.lock:
        steps(args.models[0], device, args.optimizer, not args.eager, args.lock)
        return
    card = torch.cuda.get_device_name(device)
    print(f"{card}, torch {torch.__version__}, Python {platform.python_version()}\n", flush=True)
    if "parity" in args.what:
        parity(device)
    if "products" in args.what:
        products(device)
    if "steps" not in args.what:
        return
    print("| model | what | how | seconds | peak memory (GiB) |\n|---|---|---|---|---|", flush=True)
    command = [sys.executable, __file__, "--device", args.device, "--optimizer", args.optimizer]
    command += ["--eager"] if args.eager else []
    with tempfile.TemporaryDirectory() as folder:
        command += ["--lock", f"{folder}/lock", "--models"]
        running = []
        for name in args.models:
            running.append(subprocess.Popen([*command, name]))
            if not args.together:
                running[-1].wait()
        if any([one.wait() for one in running]):
            sys.exit("a model failed")


if __name__ == "__main__":
    main()
