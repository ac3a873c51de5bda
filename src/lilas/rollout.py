"""Rollouts: windows generated one after another, each from the end of the one before."""

from collections.abc import Callable

import torch
from torch import Tensor

# Maps known states (batch, channel, time, *space) of a window, zero where unknown, and a mask
# over its time (batch, time) to the whole window.
Step = Callable[[Tensor, Tensor], Tensor]


def rollout(
    step: Step,
    context: Tensor,
    *,
    states: int,
    window: int,
    overlap: int,
    crop: int | None = None,
) -> Tensor:
    """Returns a rollout that starts from its context (paper section 3.2).

    A window is generated from its first states and cropped to its first `crop`; the last `overlap`
    of those begin the next one. As in the official code 1.1.0 a window is taken as the emulator
    returns it: where it changes known states, the rollout begins, and goes on, with its version of
    them.

    Args:
        step: Generates a window.
        context: The true states given, (batch, channel, time, *space).
        states: Length of the rollout, context included.
        window: States in a window.
        overlap: Generated states that the next window is given.
        crop: States kept of each window, more than context and overlap; None is all.

    Returns:
        (batch, channel, states, *space).
    """
    kept = slice(crop)
    generated = trajectory = step(*_window(context, window))[:, :, kept]
    while trajectory.shape[2] < states:
        generated = step(*_window(generated[:, :, -overlap:], window))[:, :, kept]
        trajectory = torch.cat([trajectory, generated[:, :, overlap:]], dim=2)
    return trajectory[:, :, :states]


def _window(given: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Returns a window that begins with the states given, and its mask over time."""
    batch, channels, count, *space = given.shape
    known = given.new_zeros(batch, channels, window, *space)
    known[:, :, :count] = given
    mask = (torch.arange(window, device=given.device) < count).expand(batch, window)
    return known, mask
