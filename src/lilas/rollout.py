"""Rollouts: windows generated one after another, each from the end of the one before."""

from collections.abc import Callable

import torch
from torch import Tensor

# Maps known states (batch, channel, time, *space) of a window, zero where unknown, and a mask
# over its time (batch, time) to the whole window.
Step = Callable[[Tensor, Tensor], Tensor]


def rollout(step: Step, context: Tensor, *, states: int, window: int, overlap: int) -> Tensor:
    """Returns a rollout that starts with its context (paper section 3.2).

    A window is generated from its first states; the last `overlap` of them begin the next one.

    Args:
        step: Generates a window.
        context: The true states given, (batch, channel, time, *space).
        states: Length of the rollout, context included.
        window: States in a window.
        overlap: Generated states that the next window is given.

    Returns:
        (batch, channel, states, *space).
    """
    trajectory = context
    while trajectory.shape[2] < states:
        given = context.shape[2] if trajectory is context else overlap
        known = torch.zeros_like(trajectory[:, :, :1]).repeat_interleave(window, 2)
        known[:, :, :given] = trajectory[:, :, -given:]
        mask = torch.zeros(len(context), window, dtype=torch.bool, device=context.device)
        mask[:, :given] = True
        generated = step(known, mask)
        trajectory = torch.cat([trajectory, generated[:, :, given:]], dim=2)
    return trajectory[:, :, :states]
