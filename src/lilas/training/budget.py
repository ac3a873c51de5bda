"""Trainings of a budget of FLOPs: how many steps it is."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lilas import processes
from lilas.data.windows import Windows
from lilas.devices import arithmetic
from lilas.draws import Draws
from lilas.errors import LilasError
from lilas.settings import describe
from lilas.study.training import Train

# It takes torch's processes along, which a timing has no use for.
if TYPE_CHECKING:
    from lilas.training.objective import Loss


def in_steps(
    model: nn.Module, loss: "Loss", windows: Windows, settings: dict[str, Any], name: str
) -> dict[str, Any]:
    """Returns the settings of a training, with the steps that a budget of FLOPs is.

    Of another training they are as they were.

    Args:
        model: The module that is trained, with what is frozen frozen.
        loss: As `lilas.training.loop.fit` has it.
        windows: Those to train on.
        settings: The keys of `lilas.study.training.Train`.
        name: For messages.

    Raises:
        LilasError: the budget is less than a step, or than what the settings ask for.
    """
    budget = settings["budget"]
    if budget is None or budget["flops"] is None:
        return settings
    each = step_flops(model, loss, windows, settings)
    steps = int(budget["flops"] // each)
    told = f"{name}: budget.flops {budget['flops']:g}: a step takes {each:.4g}"
    if steps < 1:
        raise LilasError(f"{told}; allowed: at least as many")
    try:
        Train.model_validate(settings | {"budget": None, "steps": steps})
    except ValidationError as error:
        raise LilasError(f"{told}, and in {steps} steps {describe(error, Train)}") from None
    if processes.is_first():
        print(f"{told}, which makes {steps} steps", file=sys.stderr, flush=True)
    return settings | {"steps": steps}


def step_flops(model: nn.Module, loss: "Loss", windows: Windows, settings: dict[str, Any]) -> float:
    """Returns the FLOPs of the loss of a whole batch and its gradients, counted on a part of it.

    They are the same on every device and in any number of processes.
    """
    states, label = windows.batch(0)
    few = min(settings["micro_batch"] or len(states), len(states))
    states, label = states[:few], label[:few]

    def call() -> None:
        with arithmetic(settings["precision"], states.device):
            loss(states, label, Draws(0, range(few))).backward()

    model.eval()
    # What is compiled runs as fused operations, which nobody counts.
    compiled = settings["compile"]
    with torch.compiler.set_stance("force_eager") if compiled else nullcontext():
        flops = count_flops(call)
    model.zero_grad(set_to_none=True)
    return flops * settings["batch_size"] / few


def count_flops(call: Callable[[], object]) -> int:
    """Returns the FLOPs of matrix products, convolutions and attention in a call.

    A multiplication and an addition are two. Attention is computed as such products: those of a
    fused one are not seen on every device.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()
