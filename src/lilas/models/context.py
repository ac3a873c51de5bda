"""Known states of windows, in training and in rollouts: which they are, and noise on them."""

from typing import Any

import torch
from torch import Tensor, nn

from lilas.draws import Draws
from lilas.models.masks import draw_masks, over_space


def training_loss(
    emulator: nn.Module, settings: Any, states: Tensor, label: Tensor, draws: Draws
) -> Tensor:
    """Returns the loss of windows of which some states, drawn at random, are known.

    With `context_noise` c these carry noise of a standard deviation that is uniform in (0, c) for
    each window, and are to be reproduced with it; the network is told which, as a share of c.

    Args:
        emulator: A method.
        settings: A `lilas.study.emulators.EmulatorSettings`.
        states: (batch, channel, time, *space).
        label: (batch, feature).
        draws: Random numbers of the windows.
    """
    mask = draw_masks(
        draws,
        settings.window,
        rate=settings.context_rate,
        at_least=settings.context_at_least,
        forward=settings.context_forward,
    ).to(states.device)
    if settings.context_noise:
        share = draws.uniform().to(states)
        level = settings.context_noise * share.view(-1, *[1] * (states.ndim - 1))
        known = noised(states[:, :, : settings.window], mask, level, draws)
        states = torch.cat([known, states[:, :, settings.window :]], 2)
        label = torch.cat([label, share[:, None]], 1)
    return emulator.loss(states, label, mask, draws)


def noised(known: Tensor, mask: Tensor, level: float | Tensor, draws: Draws) -> Tensor:
    """Returns the known states of windows with noise of a standard deviation on them.

    Args:
        known: (batch, channel, time, *space).
        mask: Which they are, (batch, time).
        level: The standard deviation, a number or one that expands to `known`.
        draws: Random numbers of the windows.
    """
    return torch.where(over_space(mask, known), known + level * draws.normal(known), known)


def told(label: Tensor, settings: Any, sampler: Any) -> Tensor:
    """Returns labels with what a network is told of the noise on its known states, if anything.

    Args:
        label: (batch, feature).
        settings: A `lilas.study.emulators.EmulatorSettings`.
        sampler: A `lilas.study.entries.SamplerEntry`.
    """
    if not settings.context_noise:
        return label
    share = sampler.context_noise / settings.context_noise
    return torch.cat([label, torch.full_like(label[:, :1], share)], 1)
