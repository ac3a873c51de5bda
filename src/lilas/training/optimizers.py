"""Optimisers by name."""

import math
import warnings
from collections.abc import Iterable
from functools import lru_cache, partial
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
    # A convolution's step contracts five tensors, the same ones every time.
    torch.backends.opt_einsum.strategy = remembered_paths()
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


@lru_cache(maxsize=1)
def remembered_paths() -> str:
    """Returns the name of an einsum strategy: `auto`, which searches once for each contraction."""
    paths = torch.backends.opt_einsum.get_opt_einsum().paths
    found: dict[tuple[Any, ...], Any] = {}

    def search(
        inputs: list[frozenset[str]], output: frozenset[str], sizes: dict[str, int], limit: Any
    ) -> Any:
        key = (*inputs, output, *sorted(sizes.items()), limit)
        if key not in found:
            found[key] = paths.auto(inputs, output, sizes, limit)
        return found[key]

    paths.register_path_fn("remembered", search)
    return "remembered"


class Muon(torch.optim.Optimizer):
    """Muon on the matrices of a model, AdamW on all that is not a matrix.

    A matrix (m, n) moves by lr 0.2 sqrt(max(m, n)) times its momentum with the singular values
    replaced by about 1 (arXiv 2502.16982), so that its entries move as far as AdamW moves them and
    one learning rate serves both. Convolution kernels are not matrices.

    Args:
        parameters: Of the model.
        momentum: Of the matrices; Nesterov's.
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
        groups: list[dict[str, Any]] = [{"params": matrices, "momentum": momentum}]
        self.adamw: torch.optim.AdamW | None = None
        if others:
            self.adamw = torch.optim.AdamW(others, betas=(beta1, beta2), **common)
            groups += self.adamw.param_groups
        super().__init__(groups, common)

    @torch.no_grad()
    def step(self) -> None:
        """Takes one step."""
        matrices, *others = self.param_groups
        for parameter in matrices["params"]:
            if parameter.grad is not None:
                self._move(parameter, **matrices)
        if self.adamw is not None:
            # The groups and the state are this optimiser's, which loads and saves them.
            self.adamw.param_groups, self.adamw.state = others, self.state
            self.adamw.step()

    def _move(
        self, matrix: Tensor, *, lr: float, weight_decay: float, momentum: float, **_: Any
    ) -> None:
        state = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix.grad)
        mean = state["momentum_buffer"].lerp_(matrix.grad, 1 - momentum)
        # Processors without bfloat16 take tens of times as long with it as with float32.
        precision = torch.float32 if matrix.device.type == "cpu" else torch.bfloat16
        update = orthogonalised(matrix.grad.lerp(mean, momentum).to(precision))
        matrix.mul_(1 - lr * weight_decay)
        matrix.add_(update, alpha=-lr * 0.2 * math.sqrt(max(matrix.shape)))


def orthogonalised(x: Tensor) -> Tensor:
    """Returns a matrix with its singular values replaced by 0.7 to 1.2, in its own precision.

    Five quintic Newton-Schulz steps X ← a X + (b A + c A²) X, A = X Xᵀ, from X / |X|: those of
    torch.optim.Muon and Keller Jordan's Muon (kellerjordan.github.io/posts/muon).
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    y = x.T if x.shape[0] > x.shape[1] else x
    y = y / y.norm().clamp(min=1e-7)
    for _ in range(5):
        gram = y @ y.T
        y = torch.addmm(y, torch.addmm(gram, gram, gram, beta=b, alpha=c), y, beta=a)
    return y.T if x.shape[0] > x.shape[1] else y


def _update_probability(step: int, every: int) -> float:
    return max(1 / every, 0.999**step)
