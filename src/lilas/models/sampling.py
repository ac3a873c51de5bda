"""Samplers of the diffusion model, by name, from azula."""

import math
from typing import Any

import torch
from azula import sample
from azula.denoise import Denoiser
from torch import Tensor

from lilas.draws import Draws
from lilas.study.samplers import SamplingSettings


class DDPM(sample.DDPMSampler):
    """azula's ancestral sampler, with noise of each sample's own."""

    def __init__(self, denoiser: Denoiser, draws: Draws, **options: Any) -> None:
        super().__init__(denoiser, **options)
        self.draws = draws

    def step(self, x_t: Tensor, t: Tensor, s: Tensor) -> Tensor:
        alpha_s, sigma_s = self.denoiser.schedule(s)
        alpha_t, sigma_t = self.denoiser.schedule(t)
        tau = 1 - (alpha_t / alpha_s * sigma_s / sigma_t) ** 2
        mean = self.denoiser(x_t, t).mean
        x_s = alpha_s * mean + sigma_s * torch.sqrt(1 - tau) / sigma_t * (x_t - alpha_t * mean)
        return x_s + sigma_s * torch.sqrt(tau) * self.draws.normal(x_t)


class PC(sample.PCSampler):
    """azula's predictor and corrector, with noise of each sample's own."""

    def __init__(self, denoiser: Denoiser, draws: Draws, **options: Any) -> None:
        # The corrections are made here; azula's step is left the prediction.
        super().__init__(denoiser, corrections=0, **options)
        self.draws = draws

    def step(self, x_t: Tensor, t: Tensor, s: Tensor) -> Tensor:
        alpha_t, sigma_t = self.denoiser.schedule(t)
        mean = alpha_t * self.denoiser(x_t, t).mean
        kept, added = math.sqrt(1 - self.delta), math.sqrt(self.delta)
        x_t = mean + kept * (x_t - mean) + added * sigma_t * self.draws.normal(x_t)
        return super().step(x_t, t, s)


# The paper's `ab` is third-order Adams-Bashforth on noise predictions (azula's zABSampler). A step
# evaluates the denoiser once; of heun and of pc (a DDIM step after one of Langevin) twice.
SAMPLERS: dict[str, Any] = {
    "ab": sample.zABSampler,
    "eab": sample.zEABSampler,
    "ddim": sample.DDIMSampler,
    "ddpm": DDPM,
    "heun": sample.HeunSampler,
    "pc": PC,
}


def make_sampler(
    method: str, denoiser: Denoiser, *, steps: int, order: int, draws: Draws | None = None
) -> sample.Sampler:
    """Returns a sampler from noise at t = 1 to data at t = 0.

    Args:
        method: Of `SAMPLERS`.
        denoiser: Estimates clean windows.
        steps: Steps from t = 1 to t = 0.
        order: Of ab and eab; the others have none.
        draws: Random numbers of the windows, for ddpm and pc; the others draw nothing.
    """
    options: dict[str, Any] = {"order": order} if method in ("ab", "eab") else {}
    options |= {"draws": draws} if method in ("ddpm", "pc") else {}
    return SAMPLERS[method](denoiser, steps=steps, silent=True, **options)


def from_settings(settings: SamplingSettings, denoiser: Denoiser, draws: Draws) -> sample.Sampler:
    """Returns the sampler of some settings."""
    order = getattr(settings, "order", 1)
    return make_sampler(
        settings.algorithm, denoiser, steps=settings.steps, order=order, draws=draws
    )


def start_noise(schedule: Any, like: Tensor, draws: Draws) -> Tensor:
    """Returns the noise that sampling starts from: N(0, alpha^2 + sigma^2) at t = 1."""
    alpha, sigma = schedule(torch.ones((), dtype=like.dtype, device=like.device))
    return torch.sqrt(alpha**2 + sigma**2) * draws.normal(like)
