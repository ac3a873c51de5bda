"""A truth and an ensemble, and the quantities that scores share."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lilas.errors import LilasError
from lilas.evaluation import spectra
from lilas.evaluation.ensembles import Ensemble, finite


@dataclass(frozen=True)
class Spectra:
    """Spectra of a truth and an ensemble, float64 (*leading, bin) each.

    Attributes:
        bands: As of `spectra.bands`.
        power_u: Of the truth.
        power_v: Of the members, averaged.
        cross: Of truth and member, without phase, averaged over members.
    """

    bands: dict[str, Tensor]
    power_u: Tensor
    power_v: Tensor
    cross: Tensor


class Comparison:
    """A truth and an ensemble, with what scores share: each is computed once, when first needed.

    Args:
        u: Truth (*leading, *space).
        v: Ensemble (member, *leading, *space).
        spatial: Number of space axes.

    Raises:
        LilasError: the shapes do not fit, or a value is not finite.
    """

    def __init__(self, u: Tensor, v: Tensor | Ensemble, spatial: int) -> None:
        ensemble = v if isinstance(v, Ensemble) else Ensemble(v, spatial)
        if ensemble.v.shape[1:] != u.shape or ensemble.spatial != spatial:
            raise LilasError(
                "metrics: expected a truth (*leading, *space) and an ensemble (member, *leading, "
                f"*space), found {tuple(u.shape)} with {spatial} space axes and "
                f"{tuple(ensemble.v.shape)} with {ensemble.spatial}"
            )
        if not finite(u):
            raise LilasError("metrics: the truth holds NaN or infinity")
        self.u, self.ensemble, self.spatial = u, ensemble, spatial
        self.axes = tuple(range(-spatial, 0))

    def average(self, x: Tensor) -> Tensor:
        """Returns the mean over space, float64 (*leading)."""
        return x.mean(self.axes, dtype=torch.double)

    @cached_property
    def error(self) -> Tensor:
        """u - mean v (*leading, *space)."""
        return self.u - self.ensemble.mean

    @cached_property
    def mse(self) -> Tensor:
        """<(u - mean v)²> (*leading)."""
        return self.average(self.error.square())

    @cached_property
    def variance(self) -> Tensor:
        """Unbiased variance of the truth over space (*leading)."""
        points = self.ensemble.points
        if points == 1:
            raise LilasError("metrics: a state of one point has no variance")
        centred = self.u - self.u.mean(self.axes, keepdim=True)
        return self.average(centred.square()) * points / (points - 1)

    @cached_property
    def is_uniform(self) -> Tensor:
        """Whether the truth has no variance but for rounding, bool (*leading)."""
        rounding = torch.finfo(self.u.dtype).eps ** 2 * self.average(self.u.square())
        return self.variance <= rounding

    @cached_property
    def member_errors(self) -> tuple[Tensor, Tensor]:
        """<|v_k - u|> and sqrt(<(v_k - u)²>), both averaged over members (*leading)."""
        found = []
        for members, truth in self.ensemble.blocks(self.u):
            # One member's error fits a cache where all of them do not.
            errors = ((member - truth).flatten(1).double() for member in members)
            norms = [torch.stack([e.abs().mean(-1), e.square().mean(-1).sqrt()]) for e in errors]
            found.append(torch.stack(norms).mean(0).T)
        absolute, rms = self.ensemble.unflatten(found).unbind(-1)
        return absolute, rms

    @cached_property
    def ranks(self) -> tuple[Tensor, Tensor]:
        """How many members lie below the truth, and how many not above it (*leading, *space)."""
        below, not_above = [], []
        for members, truth in self.ensemble.blocks(self.u):
            for counts in (below, not_above):
                counts.append(torch.zeros_like(truth, dtype=torch.int16))
            for member in members:
                below[-1] += member < truth
                not_above[-1] += member <= truth
        return self.ensemble.unflatten(below), self.ensemble.unflatten(not_above)

    @cached_property
    def rank_histogram(self) -> Tensor | None:
        """The fraction of points where the truth has each rank among the members, 0 to K.

        Equal values share the middle of the ranks that they could have, rounded down. Float64
        (*leading, rank); undefined for one member.
        """
        ranks = self.ensemble.members + 1
        if ranks == 2:
            return None
        rank = (sum(self.ranks) // 2).reshape(-1, self.ensemble.points).long()
        state = torch.arange(len(rank), device=rank.device)[:, None]
        count = torch.bincount((rank + ranks * state).flatten(), minlength=ranks * len(rank))
        leading = self.u.shape[: self.u.ndim - self.spatial]
        return count.reshape(*leading, ranks).double() / self.ensemble.points

    @cached_property
    def transform(self) -> Tensor:
        """F u, complex (*leading, *modes)."""
        return spectra.transform(self.u, self.spatial)

    @cached_property
    def spectra(self) -> Spectra:
        """Spectra of truth and members."""
        bins, modes = spectra.shells_of(self.u, self.spatial), self.ensemble.modes
        power = spectra.product(self.transform, self.transform)
        return Spectra(
            bands=spectra.bands(bins.k),
            power_u=bins.average(power),
            power_v=modes.power,
            # Linear in |F v_k|, so that its mean over members stands for all.
            cross=bins.average(power.sqrt() * modes.amplitude),
        )

    @cached_property
    def coherent(self) -> Tensor:
        """<Re F u conj(F v_k)> averaged over members, which is that of v̄ (*leading, bin)."""
        bins = spectra.shells_of(self.u, self.spatial)
        return bins.average(spectra.product(self.transform, self.ensemble.transform))
