"""Guidance: denoisers of windows of which something is observed."""

from typing import Any

from azula.denoise import Denoiser, DiracPosterior
from azula.guidance.mmps import MMPSDenoiser
from azula.linalg.covariance import IsotropicCovariance
from azula.noise import Schedule
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from lilas.models.rollout import Window
from lilas.study.samplers import MMPSSettings


class InMathMode(Denoiser):
    """A denoiser that differentiates networks forward, which fused attention does not allow."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    @property
    def schedule(self) -> Schedule:
        """Of the noise."""
        return self.denoiser.schedule

    def forward(self, x_t: Tensor, t: Tensor, **given: Any) -> DiracPosterior:
        """Returns the posterior; arguments as the denoiser's."""
        with sdpa_kernel(SDPBackend.MATH):
            return self.denoiser(x_t, t, **given)


def mmps(settings: MMPSSettings, denoiser: Denoiser, window: Window) -> Denoiser:
    """Returns a denoiser guided by moment matching posterior sampling (Rozet et al., 2024).

    Its mean is x + V A' (noise² + A V A')⁻¹ (y - A(x)), where x is the denoiser's mean, V = s²/a J'
    the covariance that its derivative J implies, and A what is observed of the window.
    """
    observed = window.observed
    return InMathMode(
        MMPSDenoiser(
            denoiser,
            observed.values,
            observed.operator,
            IsotropicCovariance(settings.noise**2),
            solver=settings.solver,
            iterations=settings.iterations,
        )
    )
