"""Ensembles: members of one evaluation of a network each, trained on a proper score."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lilas.draws import Draws
from lilas.models.masks import over_space
from lilas.models.methods import Backbone
from lilas.models.rollout import Step, Window


class Ensemble(nn.Module):
    """Learns to draw a window given its known states and noise, in one evaluation.

    The noise is standard normal: in the place of the unknown states, or a vector beside the label,
    as the backbone takes it.

    Loss: the almost fair score of M members v_i of each sample x (Lang et al. 2024, arXiv
    2412.15832), 1/M sum_i |v_i - x| - (1 - (1 - a)/M) / (2 M (M - 1)) sum_ij |v_i - v_j|, where
    a = 1 is fair for so few members and a = 0 counts them as the whole distribution. |x| is the
    mean over values of the absolute value (CRPS), that plus the mean absolute value of the Fourier
    coefficients over space (spectral; both as FourCastNet 3, Bonev et al. 2025, arXiv 2507.12144),
    or the mean over states of their root mean square (energy score). Where a sample has more states
    than a window, the members go on from their own last states, window after window.

    Args:
        backbone: What it learns with.
        loss: A key of `NORMS`.
        members: M, at least 2.
        fair: a.
    """

    def __init__(
        self, backbone: Backbone, *, loss: str = "crps", members: int = 2, fair: float = 1.0
    ) -> None:
        super().__init__()
        self.backbone, self.norm = backbone, NORMS[loss]
        self.members, self.fair = members, fair

    def draw(self, known: Tensor, label: Tensor, mask: Tensor, noise: Tensor) -> Tensor:
        """Returns windows; their known states are those given.

        Args:
            known: (batch, channel, time, *space), anything where unknown.
            label: (batch, feature).
            mask: (batch, time).
            noise: Of the shape of `known`, or (batch, width).
        """
        over = over_space(mask, known)
        if self.backbone.noise is not None:
            y = self.backbone(known * over, over, noise, label)
        else:
            y = self.backbone(torch.where(over, known, noise), over, None, label)
        return torch.where(over, known, y)

    def noise(self, like: Tensor, draws: Draws) -> Tensor:
        """Returns the noise of windows (sample, member, channel, time, *space)."""
        if self.backbone.noise is not None:
            like = like.flatten(2)[..., :1].expand(-1, -1, self.backbone.width)
        return draws.normal(like)

    def loss(self, x: Tensor, label: Tensor, mask: Tensor, draws: Draws) -> Tensor:
        """Args: x (batch, channel, state, *space), states of one or more windows; label
        (batch, feature); mask (batch, time) of the first window.
        """
        window, count = mask.shape[1], self.members
        label = label.repeat_interleave(count, 0)
        known, mask = (u.repeat_interleave(count, 0) for u in (x[:, :, :window], mask))
        scores = []
        for first in range(0, x.shape[2] - 1, window - 1):
            noise = self.noise(known.unflatten(0, (-1, count)), draws).flatten(0, 1)
            y = self.draw(known, label, mask, noise)
            truth = x[:, :, first : first + window]
            scores.append(self.score(y.unflatten(0, (-1, count)), truth))
            mask = (torch.arange(window, device=x.device) < 1).expand_as(mask)
            known = y[:, :, -1:].expand_as(y)
        return torch.stack(scores).mean()

    def score(self, members: Tensor, truth: Tensor) -> Tensor:
        """Args: members (batch, member, channel, time, *space), truth without `member`."""
        m = self.members
        error = self.norm(members - truth[:, None]).mean()
        # Of each pair once; a member is no distance from itself.
        i, j = torch.triu_indices(m, m, 1, device=truth.device)
        apart = self.norm(members[:, i] - members[:, j]).mean()
        return error - (1 - (1 - self.fair) / m) / 2 * apart

    def stepper(self, label: Tensor, sampler: Any, draws: Draws) -> Step:
        """Returns the step of a rollout: one evaluation of the network."""

        @torch.inference_mode()
        def step(window: Window) -> Tensor:
            known = window.known
            noise = self.noise(known[:, None], draws).squeeze(1)
            return self.draw(known, label, window.mask, noise)

        return step


def _of_states(x: Tensor) -> Tensor:
    """Returns root mean squares over channels and space of (batch, member, channel, time, …)."""
    squares = x.square().movedim(3, 2).flatten(3).mean(-1)
    # The root of zero has no gradient, and known states have no error.
    return torch.where(squares > 0, squares, 1).sqrt() * (squares > 0)


def _with_modes(x: Tensor) -> Tensor:
    """Returns the absolute values of (batch, member, channel, time, *space) and of its modes."""
    modes = torch.fft.fftn(x.float(), dim=tuple(range(4, x.ndim)), norm="ortho")
    return x.abs() + modes.abs()


NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "crps": torch.abs,
    "spectral": _with_modes,
    "energy": _of_states,
}
