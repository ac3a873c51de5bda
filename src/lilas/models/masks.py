"""Training masks: which states of a window an emulator is given."""

import torch
from torch import Tensor


def draw_masks(
    batch: int, length: int, *, rate: float, at_least: int = 1, forward: float = 1.0
) -> Tensor:
    """Draws which states of each training window are known: (batch, length), bool, on the CPU.

    c are, c = at_least + (Poisson(rate) mod (length - at_least)) (official code 1.1.0): the first
    c with probability `forward`, else the last c, from which the network learns to go backward in
    time. At least one state stays unknown.

    Args:
        batch: Windows.
        length: States in a window.
        rate: Poisson rate of the known states beyond `at_least`.
        at_least: Fewest known states, less than `length`.
        forward: Probability that the known states are the first ones.
    """
    drawn = torch.poisson(torch.full((batch,), rate))
    count = at_least + drawn % (length - at_least)
    masks = torch.arange(length) < count[:, None]
    # Nothing more is drawn where nothing is left to chance.
    if forward < 1:
        masks = torch.where(torch.rand(batch, 1) < forward, masks, masks.flip(1))
    return masks
