"""Speed and memory of the networks, eager and compiled, against the same mathematics plainly.

Run `python benchmarks/networks.py`, with `--paper` for the paper's Rayleigh-Bénard networks at
batch 1. A training step (forward, backward) and an inference in float32, by LILAS's networks and
by their plain twins of `tests/plain.py` with the same weights. Variants take turns in one
process, so that ratios hold on a busy machine too: each is the median over turns of plain time
over its own. Memory is the peak of a process of its own on a CPU, of the allocator on a GPU.
"""

import argparse
import copy
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lilas.devices import select_device
from lilas.models.methods import Backbone
from lilas.nn.dcae import Decoder, Encoder
from lilas.nn.vit import Transformer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from plain import PlainBackbone, PlainDecoder, PlainEncoder

VARIANTS = ("plain, eager", "LILAS, eager", "LILAS, compiled")
TASKS = ("inference", "training step")
DEMO, PAPER = "demo", "paper"
# Latent channels, label features, latent grid, batch, options.
TRANSFORMERS = {
    DEMO: (
        *(8, 2, (16, 4), 16),
        {"channels": 128, "blocks": 4, "heads": 4, "embedding": 128, "patch_size": (1, 2, 2)},
    ),
    PAPER: (
        *(64, 6, (16, 4), 1),
        {"channels": 1024, "blocks": 16, "heads": 8, "embedding": 256, "patch_size": (1, 1, 1)},
    ),
}
# Latent channels, pixels, batch, options.
AUTOENCODERS = {
    DEMO: (
        *(8, (128, 32), 16),
        {"channels": (16, 32, 64, 96), "blocks": (1,) * 4, "periodic": (True, False)},
    ),
    PAPER: (
        *(64, (512, 128), 1),
        {
            "channels": (64, 128, 256, 512, 768, 1024),
            "blocks": (3,) * 6,
            "periodic": (False, False),
        },
    ),
}
NETWORKS = ("transformer", "autoencoder")

Call = Callable[[], None]


def make(name: str, size: str, plain: bool) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Returns a network of `demo` or `paper` size and inputs of it."""
    if name == "transformer":
        channels, features, grid, batch, options = TRANSFORMERS[size]
        if plain:
            network = PlainBackbone(channels, features, 2, True, **options)
        else:
            transformer = Transformer(2 * channels, channels, axes=3, **options)
            network = Backbone(transformer, features, options["embedding"], True)
        mask = (torch.arange(5) < 2).view(1, 1, 5, 1, 1)
        x = torch.randn(batch, channels, 5, *grid)
        return network, (x, mask, torch.randn(batch), torch.randn(batch, features))
    latents, pixels, batch, options = AUTOENCODERS[size]
    kinds = (PlainEncoder, PlainDecoder) if plain else (Encoder, Decoder)
    if not plain:
        options = options | {
            "norm": "layer",
            "ffn_factor": 1,
            "dropout": 0.0,
            "checkpointing": False,
        }
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

    def train() -> None:
        network(*inputs).square().mean().backward()
        network.zero_grad(set_to_none=True)

    return {"inference": infer, "training step": train}[task]


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(call: Call, device: torch.device) -> float:
    synchronise(device)
    began = time.perf_counter()
    call()
    synchronise(device)
    return time.perf_counter() - began


def peak_of(name: str, size: str, variant: str, task: str, device: torch.device) -> float:
    """Returns the peak memory in MB of a task in this process, once it has warmed up."""
    network, inputs = make(name, size, plain=variant.startswith("plain"))
    network, inputs = network.to(device), tuple(x.to(device) for x in inputs)
    call = make_task(task, compiled(network) if "compiled" in variant else network, inputs)
    call()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) / 1024**2
    # Linux forgets the peak so far, which compilation may have set.
    Path("/proc/self/clear_refs").write_text("5")
    call()
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def peak(*arguments: str) -> float:
    """Returns `peak_of` these arguments, in a process of its own."""
    command = [sys.executable, __file__, "--peak", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def measure(name: str, size: str, device: torch.device, repeats: int) -> None:
    """Prints the rows of a network."""
    torch.manual_seed(0)
    ours, inputs = make(name, size, plain=False)
    plain, _ = make(name, size, plain=True)
    plain.load_state_dict(ours.state_dict())
    ours, plain, inputs = ours.to(device), plain.to(device), tuple(x.to(device) for x in inputs)
    networks = dict(zip(VARIANTS, (plain, ours, compiled(ours)), strict=True))
    with torch.inference_mode():
        expected = plain(*inputs)
        error = ((ours(*inputs) - expected).abs().max() / expected.abs().max()).item()
    if error > 1e-5:
        raise SystemExit(f"{name}: LILAS and the plain twin differ by {error:.1e}")
    square = torch.randn(2048, 2048, device=device)
    for task in TASKS:
        calls = {variant: make_task(task, network, inputs) for variant, network in networks.items()}
        calls["matmul"] = lambda: torch.mm(square, square)
        with FlopCounterMode(display=False) as counter:
            calls["LILAS, eager"]()
        work = counter.get_total_flops()
        for call in calls.values():
            call()
        turns = [
            {key: seconds(call, device) for key, call in calls.items()} for _ in range(repeats)
        ]
        top = 2 * 2048**3 / statistics.median(turn["matmul"] for turn in turns)
        for variant in VARIANTS:
            median = statistics.median(turn[variant] for turn in turns)
            ratio = statistics.median(turn[VARIANTS[0]] / turn[variant] for turn in turns)
            memory = peak(name, size, variant, task, str(device))
            print(
                f"| {name}, {size} | {task} | {variant} | {1e3 * median:.1f} | {ratio:.2f} "
                f"| {work / median / 1e9:.0f} | {work / median / top:.2f} | {memory:.0f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paper", action="store_true", help="the paper's sizes, at batch 1")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--repeats", type=int, default=15, help="turns of every variant")
    parser.add_argument("--peak", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        *which, device = args.peak
        print(peak_of(*which, select_device(device)))
        return
    device = select_device(args.device)
    print(f"{device}, torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print("| network | task | variant | ms | times plain | GFLOP/s | of matmul | peak MB |")
    print("|---|---|---|---|---|---|---|---|")
    for name in NETWORKS:
        measure(name, PAPER if args.paper else DEMO, device, args.repeats)


if __name__ == "__main__":
    main()
