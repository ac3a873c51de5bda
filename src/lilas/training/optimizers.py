"""Optimisers by name."""

import warnings
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lilas.errors import LilasError

# Momentum factors, and steps between preconditioner updates, where the settings leave them out.
BETAS = {
    "adam": (0.9, 0.99),
    "adamw": (0.9, 0.99),
    "psgd": (0.9,),
    "soap": (0.9, 0.99, 0.99),
    "muon": (0.95, 0.9, 0.99),
}


PRECONDITION_EVERY = {"psgd": 64, "soap": 16}


def make_optimizer(parameters: Iterable[Tensor], settings: dict[str, Any]) -> torch.optim.Optimizer:
    """Returns the optimiser of a training (paper section 4 and Table 4; official code 1.1.0).

    psgd is heavyball's Kronecker-factored PSGD, soap its SOAP; both run uncompiled, since
    compiling them costs a CPU more than a minute. PSGD updates its preconditioner with
    probability max(1/precondition_every, 0.999^step).

    Raises:
        LilasError: muon is asked to train a model without matrices.
    """
    common = {"lr": settings["learning_rate"], "weight_decay": settings["weight_decay"]}
    name = settings["optimizer"]
    betas = tuple(settings["betas"] or BETAS[name])
    if name in ("adam", "adamw"):
        kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
        return kind(parameters, betas=betas, **common)
    if name == "muon":
        return Muon(parameters, *betas, **common)

    import heavyball

    heavyball.utils.compile_mode = None
    # It warns of schedules that set the rate from outside; ours is such a one.
    warnings.filterwarnings("ignore", "Learning rate changed between steps", UserWarning)
    every = settings["precondition_every"] or PRECONDITION_EVERY[name]
    size = settings["precondition_size"]
    if name == "soap":
        return heavyball.SOAP(
            parameters,
            betas=betas[:2],
            shampoo_beta=betas[2],
            precondition_frequency=every,
            max_precond_dim=size,
            merge_dims=False,
            **common,
        )
    return heavyball.PSGDKron(
        parameters,
        beta=betas[0],
        preconditioner_update_probability=partial(_update_probability, every=every),
        max_size_triangular=size,
        merge_dims=False,
        **common,
    )


class Muon(torch.optim.Optimizer):
    """torch's Muon on the matrices of a model, AdamW on all that is not a matrix.

    A matrix (m, n) moves by lr 0.2 sqrt(max(m, n)) times its momentum with the singular values
    replaced by about 1 (arXiv 2502.16982), so that its entries move as far as AdamW moves them and
    one learning rate serves both. Convolution kernels are not matrices.

    Args:
        parameters: Of the model.
        momentum: Of the matrices.
        beta1: Of AdamW.
        beta2: Of AdamW.
        lr: Learning rate.
        weight_decay: Decoupled weight decay.

    Raises:
        LilasError: there is no matrix.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        momentum: float,
        beta1: float,
        beta2: float,
        *,
        lr: float,
        weight_decay: float,
    ) -> None:
        parameters = list(parameters)
        matrices = [parameter for parameter in parameters if parameter.ndim == 2]
        others = [parameter for parameter in parameters if parameter.ndim != 2]
        if not matrices:
            raise LilasError(
                "optimizer muon: it trains matrices, and this model has only convolutions and "
                "vectors. Choose adamw, soap or psgd."
            )
        common = {"lr": lr, "weight_decay": weight_decay}
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, momentum=momentum, adjust_lr_fn="match_rms_adamw", **common)
        ]
        if others:
            self.parts.append(torch.optim.AdamW(others, betas=(beta1, beta2), **common))
        super().__init__([group for part in self.parts for group in part.param_groups], common)

    @torch.no_grad()
    def step(self) -> None:
        """Takes one step."""
        for part, group in zip(self.parts, self.param_groups, strict=True):
            # The groups and the state are this optimiser's, which loads and saves them.
            part.param_groups, part.state = [group], self.state
            part.step()


def _update_probability(step: int, every: int) -> float:
    return max(1 / every, 0.999**step)
