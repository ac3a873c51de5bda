"""Samplers of the diffusion model, by name, from azula."""

from typing import Any

import torch
from azula import sample
from azula.denoise import Denoiser
from torch import Tensor

from lilas.study.samplers import SamplingSettings

# The paper's `ab` is third-order Adams-Bashforth on noise predictions (azula's zABSampler). A step
# evaluates the denoiser once; of heun and of pc (a DDIM step after one of Langevin) twice.
SAMPLERS: dict[str, Any] = {
    "ab": sample.zABSampler,
    "eab": sample.zEABSampler,
    "ddim": sample.DDIMSampler,
    "ddpm": sample.DDPMSampler,
    "heun": sample.HeunSampler,
    "pc": sample.PCSampler,
}


def make_sampler(method: str, denoiser: Denoiser, *, steps: int, order: int) -> sample.Sampler:
    """Returns a sampler from noise at t = 1 to data at t = 0; `order` matters to ab and eab."""
    options = {"order": order} if method in ("ab", "eab") else {}
    return SAMPLERS[method](denoiser, steps=steps, silent=True, **options)


def from_settings(settings: SamplingSettings, denoiser: Denoiser) -> sample.Sampler:
    """Returns the sampler of some settings."""
    order = getattr(settings, "order", 1)
    return make_sampler(settings.algorithm, denoiser, steps=settings.steps, order=order)


def start_noise(schedule: Any, like: Tensor) -> Tensor:
    """Returns the noise that sampling starts from: N(0, alpha^2 + sigma^2) at t = 1."""
    alpha, sigma = schedule(torch.ones((), dtype=like.dtype, device=like.device))
    return torch.sqrt(alpha**2 + sigma**2) * torch.randn_like(like)
