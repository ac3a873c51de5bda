"""Losses of states, and of latents."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lilas.errors import LilasError
from lilas.processes import gathered


def _per_field(error: Tensor, x: Tensor) -> Tensor:
    """Mean over space of an error, over the unbiased variance of x plus 1e-2: (batch, field)."""
    return error.flatten(2).mean(2) / (x.flatten(2).var(2) + 1e-2)


def similarity(z: Tensor) -> Tensor:
    """Mean cosine similarity over pairs of latents in a batch (batch, channel, *space).

    Of several processes it is that of the pairs in the latents of all.

    Raises:
        LilasError: there is no pair.
    """
    unit = gathered(F.normalize(z.flatten(1), dim=1))
    if len(unit) < 2:
        raise LilasError("Latent similarity needs a batch of at least 2. Raise batch_size.")
    pairs = torch.triu(unit @ unit.T, diagonal=1)
    return pairs.sum() / math.comb(len(unit), 2)


# Losses of an estimate y of states x (batch, channel, *rest), in preprocessed space. VMSE is the
# paper's: mean over (batch, field) of mean((x - y)^2) / (var(x) + 1e-2).
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": lambda y, x: F.mse_loss(y, x),
    "mae": lambda y, x: F.l1_loss(y, x),
    "vmse": lambda y, x: _per_field((x - y).square(), x).mean(),
    "vrmse": lambda y, x: _per_field((x - y).square(), x).sqrt().mean(),
}
