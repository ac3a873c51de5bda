"""Speed and memory of the networks, eager and compiled, against the same mathematics plainly.

Run `OMP_NUM_THREADS=1 python benchmarks/networks.py --size demo`, or `laptop`, or `paper` (its
Rayleigh-Bénard networks at batch 1). What the studies run, in float32: an inference; a training
step (forward, backward) with the dropout of the study, alone and with an optimiser's step; a
window sampled in 16 steps. LILAS's networks and their plain twins of `tests/plain.py` start from
the same weights and take turns in one process, so that ratios hold on a busy machine too: the
median over turns of the twin's time over LILAS's, with its 95 % interval by order statistics. On
a CPU time is the process's own. Memory is the peak of a process of its own on a CPU, of the
allocator on a GPU.
"""

import argparse
import copy
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lilas.devices import select_device
from lilas.draws import Draws
from lilas.evaluation.uncertainty import median_interval
from lilas.models.methods import Backbone, Diffusion
from lilas.models.rollout import Window
from lilas.nn.dcae import Decoder, Encoder
from lilas.nn.vit import Transformer
from lilas.study.entries import SamplerEntry
from lilas.study.training import Train
from lilas.training.optimizers import make_optimizer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from plain import PlainBackbone, PlainDecoder, PlainEncoder

NETWORKS = ("transformer", "autoencoder")
OPTIMIZERS = {"SOAP": "soap", "AdamW": "adamw"}
STEP, SAMPLING = "training step", "16-step sampling"
TASKS = {
    "transformer": ("inference", STEP, *(f"{STEP}, {name}" for name in OPTIMIZERS), SAMPLING),
    "autoencoder": ("inference", STEP, *(f"{STEP}, {name}" for name in OPTIMIZERS)),
}
# Latent channels, label features, latent grid, batch, options.
TRANSFORMERS = {
    "demo": (
        *(8, 2, (16, 4), 16),
        {"channels": 128, "blocks": 4, "heads": 4, "embedding": 128, "patch_size": (1, 2, 2)},
    ),
    "laptop": (
        *(8, 2, (16, 4), 32),
        {"channels": 256, "blocks": 8, "heads": 4, "embedding": 256},
    ),
    "paper": (
        *(64, 6, (16, 4), 1),
        {"channels": 1024, "blocks": 16, "heads": 8, "embedding": 256},
    ),
}
# Latent channels, pixels, batch, options; dropout where it is not the default.
AUTOENCODERS = {
    "demo": (
        *(8, (128, 32), 16),
        {"channels": (16, 32, 64, 96), "blocks": (1,) * 4, "periodic": (True, False)},
    ),
    "laptop": (
        *(8, (128, 32), 32),
        {"channels": (32, 64, 96, 128), "blocks": (2,) * 4, "periodic": (True, False)},
    ),
    "paper": (
        *(64, (256, 64), 1),
        {
            "channels": (64, 128, 256, 512, 768, 1024),
            "blocks": (3,) * 6,
            "periodic": (False, False),
        },
    ),
}
DROPOUT = {("autoencoder", "demo"): 0.0}

Call = Callable[[], None]
Variant = tuple[str, bool]


def make(name: str, size: str, plain: bool, dropout: float) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Returns a network of a study's size and inputs of it."""
    if name == "transformer":
        channels, features, grid, batch, options = TRANSFORMERS[size]
        options = options | {"dropout": dropout}
        if plain:
            network = PlainBackbone(channels, features, 2, True, **options)
        else:
            transformer = Transformer(2 * channels, channels, axes=3, **options)
            network = Backbone(transformer, features, options["embedding"], True)
        mask = (torch.arange(5) < 2).view(1, 1, 5, 1, 1)
        x = torch.randn(batch, channels, 5, *grid)
        return network, (x, mask, torch.randn(batch), torch.randn(batch, features))
    latents, pixels, batch, options = AUTOENCODERS[size]
    options = options | {"dropout": dropout}
    kinds = (PlainEncoder, PlainDecoder) if plain else (Encoder, Decoder)
    if not plain:
        options |= {"norm": "layer", "ffn_factor": 1, "checkpointing": False}
    network = nn.Sequential(*[kind(4, latents, **options) for kind in kinds])
    return network, (torch.randn(batch, 4, *pixels),)


def compiled(network: nn.Module) -> nn.Module:
    """Returns a compiled copy, compiled in the parts in which the stages compile it."""
    network = copy.deepcopy(network)
    for part in network if isinstance(network, nn.Sequential) else [network]:
        part.compile()
    return network


def make_task(task: str, network: nn.Module, inputs: tuple[Tensor, ...]) -> Call:
    def infer() -> None:
        with torch.inference_mode():
            network(*inputs)

    if task == "inference":
        return infer
    if task == SAMPLING:
        x, mask, _, label = inputs
        method = Diffusion(network)
        sampler = SamplerEntry(algorithm="ab", order=3, steps=16)
        step = method.stepper(label, sampler, Draws(0, range(len(label))))
        known = mask.flatten(1).expand(len(x), -1)
        window = Window(x, known, 0)
        return lambda: step(window)

    def train() -> None:
        network(*inputs).square().mean().backward()

    if task == STEP:

        def forget() -> None:
            train()
            network.zero_grad(set_to_none=True)

        return forget
    settings = {"optimizer": OPTIMIZERS[task.removeprefix(f"{STEP}, ")], "precondition_every": 10}
    settings |= {"steps": 1, "batch_size": 1, "learning_rate": 1e-4, "validate_every": 1}
    optimizer = make_optimizer(network.parameters(), Train(**settings).model_dump())

    def update() -> None:
        train()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return update


def seconds(call: Call, device: torch.device) -> float:
    if device.type == "cpu":
        began = time.process_time()
        call()
        return time.process_time() - began
    torch.cuda.synchronize(device)
    began = time.perf_counter()
    call()
    torch.cuda.synchronize(device)
    return time.perf_counter() - began


def peak_of(name: str, size: str, kind: str, device: torch.device) -> float:
    """Returns the peak memory in MB of an eager training step in this process, once warm."""
    network, inputs = make(name, size, kind == "plain", 0.0)
    inputs = tuple(x.to(device) for x in inputs)
    call = make_task(STEP, network.to(device), inputs)
    call()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) / 1024**2
    # Linux forgets the peak so far.
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    call()
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def peak(*arguments: str) -> float:
    """Returns `peak_of` these arguments, in a process of its own."""
    command = [sys.executable, __file__, "--peak", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def measure(
    name: str,
    size: str,
    tasks: list[str],
    dropout: float,
    device: torch.device,
    repeats: int,
    compiles: bool,
) -> None:
    """Prints the rows of a network."""
    torch.manual_seed(0)
    ours, inputs = make(name, size, False, dropout)
    plain, _ = make(name, size, True, dropout)
    plain.load_state_dict(ours.state_dict())
    ours, plain, inputs = ours.to(device), plain.to(device), tuple(x.to(device) for x in inputs)
    with torch.inference_mode():
        expected = plain.eval()(*inputs)
        error = ((ours.eval()(*inputs) - expected).abs().max() / expected.abs().max()).item()
    if error > 1e-5:
        raise SystemExit(f"{name}: LILAS and the plain twin differ by {error:.1e}")
    for task in tasks:
        calls: dict[Variant, Call] = {}
        for whose, network in (("plain", plain), ("LILAS", ours)):
            # A copy for each: optimisers change the weights.
            network = copy.deepcopy(network).train(task.startswith(STEP))
            calls[whose, False] = make_task(task, network, inputs)
            if compiles:
                calls[whose, True] = make_task(task, compiled(network), inputs)
        for call in calls.values():
            call()
        # Forwards and backwards, so that none always follows the same other.
        turns = [
            {key: seconds(calls[key], device) for key in list(calls)[:: 1 - turn % 2 * 2]}
            for turn in range(repeats)
        ]
        for key in calls:
            milliseconds = 1e3 * statistics.median(turn[key] for turn in turns)
            cells = [f"{name}, {size}, dropout {dropout}", task, key[0]]
            cells += ["compiled" if key[1] else "eager", f"{milliseconds:.1f}"]
            for twin in [("plain", False), ("plain", True)][: 1 + compiles]:
                ratios = [turn[twin] / turn[key] for turn in turns]
                low, high = median_interval(np.array(ratios))
                same = f"{statistics.median(ratios):.2f} [{low:.2f}, {high:.2f}]"
                cells.append("1" if key == twin else same)
            print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=TRANSFORMERS, default="demo")
    parser.add_argument("--networks", choices=NETWORKS, nargs="+", default=NETWORKS)
    tasks = TASKS["transformer"]
    parser.add_argument("--tasks", choices=tasks, nargs="+", default=tasks)
    parser.add_argument("--dropout", type=float, help="instead of the study's")
    parser.add_argument("--eager", action="store_true", help="compile nothing")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--repeats", type=int, default=15, help="turns of every variant")
    parser.add_argument("--peak", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        *which, device = args.peak
        print(peak_of(*which, select_device(device)))
        return
    device = select_device(args.device)
    print(f"{device}, torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    twins = ["times plain eager [95 %]", "times plain compiled [95 %]"][: 2 - args.eager]
    print(f"| {' | '.join(['network', 'task', 'whose', 'how', 'ms', *twins])} |")
    print("|---" * (5 + len(twins)) + "|")
    for name in args.networks:
        dropout = args.dropout
        if dropout is None:
            dropout = DROPOUT.get((name, args.size), 0.05)
        tasks = [task for task in TASKS[name] if task in args.tasks]
        measure(name, args.size, tasks, dropout, device, args.repeats, not args.eager)
    for name in args.networks:
        peaks = [peak(name, args.size, kind, str(device)) for kind in ("plain", "LILAS")]
        print(f"\n{name}, {STEP}, eager: peak {peaks[0]:.0f} MB plainly, {peaks[1]:.0f} by LILAS")


if __name__ == "__main__":
    main()
