"""Training masks: which states of a window an emulator is given."""

import math

import torch
from torch import Tensor

from lilas.draws import Draws


def draw_masks(
    draws: Draws, length: int, *, rate: float, at_least: int = 1, forward: float = 1.0
) -> Tensor:
    """Draws which states of each training window are known: (batch, length), bool, on the CPU.

    c are, c = at_least + (Poisson(rate) mod (length - at_least)) (official code 1.1.0): the first
    c with probability `forward`, else the last c, from which the network learns to go backward in
    time. At least one state stays unknown.

    Args:
        draws: Random numbers of the windows.
        length: States in a window.
        rate: Poisson rate of the known states beyond `at_least`.
        at_least: Fewest known states, less than `length`.
        forward: Probability that the known states are the first ones.
    """
    # Poisson's inverse distribution function, up to where it is 1 in double precision.
    most = 40 + math.ceil(rate + 10 * math.sqrt(rate))
    counts = torch.arange(1, most, dtype=torch.double)
    below = torch.special.gammaincc(counts, torch.full_like(counts, rate))
    drawn = torch.searchsorted(below, draws.uniform())
    known = at_least + drawn % (length - at_least)
    masks = torch.arange(length) < known[:, None]
    return torch.where(draws.uniform()[:, None] < forward, masks, masks.flip(1))


def over_space(mask: Tensor, x: Tensor) -> Tensor:
    """Returns a mask (batch, time) shaped to expand to x (batch, channel, time, *space)."""
    return mask.view(*mask.shape[:1], 1, -1, *[1] * (x.ndim - 3))
