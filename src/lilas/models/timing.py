"""What a state costs: seconds, FLOPs and memory of rollouts, of encoding, decoding and training.

Everything is measured in one process and in turns, A B C, then C B A, so that whatever else slows
the machine slows all alike; the device has finished before a clock is read. What a call did before,
compilation and first allocations among it, is not counted.

No data are needed: states are random. For example, of the paper's sizes:

    settings = study.resolve("autoencoders", "f32c64", "rayleigh_benard").model
    coder = make_autoencoder(settings, 4, ("x", "y")).to(device)
    entry = study.resolve("emulators", "diffusion", "rayleigh_benard").model
    model = make_emulator(entry, 64, 8, 2).to(device)
    pieces = [
        *coding(coder, (4, 512, 128), device),
        generation(model, (64, 16, 4), 8, entry, study.samplers["ab16_c1"], device),
        gradient(model, (64, 16, 4), 8, entry, device),
        matmul(device),
    ]
    rows = measure(pieces, device, turns=9)

A row is a dict, of which `seconds` are those per state (of `gradient`, per window), one per turn.
`generation` and `coding` also take another batch and precision than the study's. A model that is
compiled for one piece is compiled for all: give those that are not a model of their own.
"""

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from lilas.devices import arithmetic, compile_modules
from lilas.draws import Draws
from lilas.models.autoencoder import Autoencoder
from lilas.models.coding import together
from lilas.models.context import training_loss
from lilas.models.rollout import make_step, rollout
from lilas.plugins import load
from lilas.progress import progress
from lilas.systems.base import System
from lilas.training.budget import count_flops

# Calls of each piece before the first that counts.
WARM_UP = 2
# A turn repeats calls that take less, in seconds; so many times at most.
LEAST, MOST = 0.02, 100
# Rows of the square matrices whose product is the device's peak.
SQUARE = {"cuda": 8192, "mps": 4096, "cpu": 2048}

Call = Callable[[], object]
Names = Mapping[str, Any]
NONE: Names = MappingProxyType({})


@dataclass(frozen=True)
class Piece:
    """What is measured.

    Attributes:
        kind: encode, decode, rollout, gradient, simulation or matmul.
        make: Returns the call of a batch of so many.
        batch: Of how many it is measured.
        states: States that a call makes of each of the batch.
        names: What else its row says.
        model: What it computes with, if it is a network.
        compiled: The part of the model that is compiled before it is measured.
        trains: Whether the model is in training.
        counted: Whether its FLOPs are.
    """

    kind: str
    make: Callable[[int], Call]
    batch: int
    states: int = 1
    names: Names = field(default_factory=dict)
    model: nn.Module | None = None
    compiled: nn.Module | None = None
    trains: bool = False
    counted: bool = True


# --- What there is to measure -----------------------------------------------------------------


def coding(
    autoencoder: Autoencoder,
    shape: Sequence[int],
    device: torch.device,
    *,
    batch: int | None = None,
    precision: str = "float32",
    names: Names = NONE,
) -> list[Piece]:
    """Returns encoding and decoding, as many states at once as evaluation takes.

    In pixel space there is neither.

    Args:
        autoencoder: On the device.
        shape: Of a state (channel, *space).
        device: Where to measure.
        batch: States at once; None takes evaluation's number.
        precision: Of the arithmetic, as `lilas.devices.arithmetic`.
        names: What else the rows say.
    """
    if isinstance(autoencoder.encoder, nn.Identity):
        return []
    parts = {
        "encode": (autoencoder.encode, tuple(shape)),
        "decode": (autoencoder.decode, autoencoder.latent_shape(shape)),
    }

    def make(function: Callable[[Tensor], Tensor], size: tuple[int, ...], count: int) -> Call:
        x = torch.randn(count, *size, device=device)

        def call() -> None:
            with torch.inference_mode(), arithmetic(precision, device):
                function(x)

        return call

    return [
        Piece(
            kind,
            lambda count, of=of: make(*of, count),
            batch or together(shape),
            names=names,
            model=autoencoder,
        )
        for kind, of in parts.items()
    ]


def generation(
    emulator: nn.Module,
    shape: Sequence[int],
    features: int,
    settings: Any,
    sampler: Any,
    device: torch.device,
    *,
    batch: int | None = None,
    precision: str = "float32",
    names: Names = NONE,
) -> Piece:
    """Returns the generation of a window in the midst of a rollout: the networks alone.

    Args:
        emulator: On the device.
        shape: Of a latent (channel, *space).
        features: Of a label.
        settings: The emulator's, a `lilas.study.emulators.EmulatorSettings`; of a window's states,
            those that the next one is given are not new.
        sampler: A `lilas.study.entries.SamplerEntry`.
        device: Where to measure.
        batch: Windows at once; None takes the sampler's.
        precision: Of the arithmetic, as `lilas.devices.arithmetic`.
        names: What else the row says.
    """
    window = settings.window
    kept = sampler.crop or window
    whole = sampler.members * max(1, sampler.batch_size // sampler.members)

    def make(count: int) -> Call:
        context = torch.randn(count, shape[0], sampler.overlap, *shape[1:], device=device)
        label = torch.randn(count, features, device=device)
        step = make_step(emulator, settings, label, sampler, Draws(sampler.seed, range(count)))
        size = {"states": kept, "window": window, "overlap": sampler.overlap, "crop": sampler.crop}

        def call() -> None:
            with arithmetic(precision, device):
                rollout(step, context, **size)

        return call

    return Piece(
        "rollout",
        make,
        batch or whole,
        kept - sampler.overlap,
        names,
        emulator,
        emulator.backbone if sampler.compile else None,
    )


def emulation(
    load: Callable[[], tuple[nn.Module, Any]],
    shape: Sequence[int],
    features: int,
    samplers: Mapping[str, Any],
    device: torch.device,
    *,
    names: Names = NONE,
) -> list[Piece]:
    """Returns an emulator's generation with each sampler, and its gradient if it was trained here.

    Args:
        load: Returns the emulator and its settings. It is called a second time where one piece
            compiles the emulator and another does not.
        shape: Of a latent (channel, *space).
        features: Of a label.
        samplers: By name.
        device: Where to measure.
        names: What else the rows say.
    """
    loaded = functools.cache(lambda compiled: load())
    _, settings = loaded(next(iter(samplers.values())).compile)
    names, pieces = {**names, "method": settings.method}, []
    for name, sampler in samplers.items():
        emulator, _ = loaded(sampler.compile)
        sizes, own = (shape, features, settings), {**names, "sampler": name}
        pieces.append(generation(emulator, *sizes, sampler, device, names=own))
    if settings.train is not None:
        emulator, _ = loaded(settings.train.compile)
        pieces.append(gradient(emulator, shape, features, settings, device, names=names))
    return pieces


def gradient(
    emulator: nn.Module,
    shape: Sequence[int],
    features: int,
    settings: Any,
    device: torch.device,
    *,
    batch: int | None = None,
    names: Names = NONE,
) -> Piece:
    """Returns the loss of a batch of windows and its gradient, without the optimiser's own work.

    Args:
        emulator: On the device.
        shape: Of a latent (channel, *space).
        features: Of a label.
        settings: A `lilas.study.emulators.EmulatorSettings` that is trained; its `train` has batch,
            precision and whether it is compiled.
        device: Where to measure.
        batch: Windows at once; None takes those of a pass in the training.
        names: What else the row says.
    """
    train = settings.train

    def make(count: int) -> Call:
        states = torch.randn(count, shape[0], settings.states, *shape[1:], device=device)
        label = torch.randn(count, features, device=device)
        draws = Draws(0, range(count))

        def call() -> None:
            with arithmetic(train.precision, device):
                value = training_loss(emulator, settings, states, label, draws)
            value.backward()
            emulator.zero_grad(set_to_none=True)

        return call

    return Piece(
        "gradient",
        make,
        batch or train.micro_batch or train.batch_size,
        names={**names, "windows": train.steps and train.steps * train.batch_size},
        model=emulator,
        compiled=emulator.backbone if train.compile else None,
        trains=True,
        counted=False,
    )


def simulation(system: System, stride: int) -> Piece:
    """Returns one state more of as many trajectories as the simulator carries on together.

    Args:
        system: What is simulated.
        stride: Intervals of the simulated data from a state to the next.
    """
    call, together = load(system.stepper)(system, stride)
    return Piece("simulation", lambda _: call, together, counted=False)


def matmul(device: torch.device, *, precision: str = "float32", names: Names = NONE) -> Piece:
    """Returns a large product of matrices, which is about the most that the device computes."""
    a = torch.randn(SQUARE[device.type], SQUARE[device.type], device=device)

    def call() -> None:
        with torch.inference_mode(), arithmetic(precision, device):
            torch.mm(a, a)

    return Piece("matmul", lambda _: call, 1, names=names)


# --- Measuring --------------------------------------------------------------------------------


def measure(
    pieces: Sequence[Piece],
    device: torch.device,
    *,
    turns: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[dict[str, Any]]:
    """Returns a row per piece: its names, sizes, FLOPs and memory, and its seconds in each turn.

    FLOPs and seconds are per state; a multiplication and an addition are two FLOPs, and those of
    elementwise operations are not counted. Memory in bytes is that of the model and of the most
    that a call has beside it, as CUDA's allocator tells; elsewhere it is None.

    Args:
        pieces: What to measure; kinds and names tell them apart.
        device: Where their tensors are.
        turns: How often each is measured.
        clock: Tells the time in seconds.
    """
    rows = []
    for piece in pieces:
        _ready(piece)
        rows.append(
            {
                "kind": piece.kind,
                **piece.names,
                "batch": piece.batch,
                "states": piece.batch * piece.states,
                "parameters": _parameters(piece.model),
                "flops": count_flops(piece.make(1)) / piece.states if piece.counted else None,
            }
        )
    for module in {id(p.compiled): p.compiled for p in pieces if p.compiled is not None}.values():
        compile_modules(device, module)
    calls = [piece.make(piece.batch) for piece in pieces]
    repeats = []
    for piece, call, row in zip(pieces, calls, rows, strict=True):
        _ready(piece)
        seconds = [_seconds(call, 1, device, clock) for _ in range(WARM_UP)][-1]
        repeats.append(max(1, min(MOST, math.ceil(LEAST / seconds) if seconds else MOST)))
        row["memory"] = _memory(piece.model, call, device)
        row["seconds"] = []
    for turn in progress(range(turns), desc="time", unit="turn"):
        for i in range(len(pieces))[:: 1 - turn % 2 * 2]:
            _ready(pieces[i])
            seconds = _seconds(calls[i], repeats[i], device, clock)
            rows[i]["seconds"].append(seconds / rows[i]["states"])
    return rows


def _ready(piece: Piece) -> None:
    """Makes a piece's model train, or not."""
    if piece.model is not None:
        piece.model.train(piece.trains)


def _seconds(call: Call, repeats: int, device: torch.device, clock: Callable[[], float]) -> float:
    """Returns what a call takes; the device is done with all before it, and with it."""
    _synchronize(device)
    begun = clock()
    for _ in range(repeats):
        call()
    _synchronize(device)
    return (clock() - begun) / repeats


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _parameters(model: nn.Module | None) -> int | None:
    return None if model is None else sum(p.numel() for p in model.parameters())


def _memory(model: nn.Module | None, call: Call, device: torch.device) -> int | None:
    if model is None or device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    torch.cuda.synchronize(device)
    own = sum(p.numel() * p.element_size() for p in model.parameters())
    return own + torch.cuda.max_memory_allocated(device) - before
