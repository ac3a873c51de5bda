"""The diffusion model: noise schedules and the preconditioned denoiser."""

import math
from collections.abc import Callable

import torch
from azula.denoise import Denoiser as AzulaDenoiser
from azula.denoise import GaussianPosterior
from azula.noise import Schedule
from torch import Tensor, nn


class LogLogit(Schedule):
    """alpha = 1, sigma = exp(logit(u)), u from smin/(1+smin) to smax/(1+smax) (paper section 4.2).

    Equal to rectified flow up to scale.
    """

    def __init__(self, sigma_min: float = 1e-3, sigma_max: float = 1e3) -> None:
        self.first = sigma_min / (1 + sigma_min)
        self.last = sigma_max / (1 + sigma_max)

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        u = t * (self.last - self.first) + self.first
        return torch.ones_like(t), torch.exp(torch.logit(u))


class LogLinear(Schedule):
    """alpha = 1, sigma geometric in t from sigma_min to sigma_max."""

    def __init__(self, sigma_min: float = 1e-3, sigma_max: float = 1e3) -> None:
        self.first, self.last = math.log(sigma_min), math.log(sigma_max)

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), torch.exp(self.first + (self.last - self.first) * t)


SCHEDULES = {"log_logit": LogLogit, "log_linear": LogLinear}


def _beta(u: Tensor, a: float, b: float) -> Tensor:
    parameters = torch.tensor([a, b], device=u.device).expand(*u.shape, 2)
    x, y = torch._standard_gamma(parameters).unbind(-1)
    return x / (x + y)


# Priors of the diffusion time in training: maps uniform draws and (a, b) to times in (0, 1).
PRIORS: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "uniform": lambda u, a, b: u,
    "beta": _beta,
    "kumaraswamy": lambda u, a, b: (1 - (1 - u) ** (1 / b)) ** (1 / a),
}


class Denoiser(AzulaDenoiser):
    """Estimates the mean and variance of clean windows given noisy ones (EDM preconditioning).

    With alpha = 1: mean = c_skip x_t + c_out net(c_in x_t, c_noise), c_in = 1/sqrt(1 + s^2),
    c_skip = 1/(1 + s^2), c_out = s/sqrt(1 + s^2), c_noise = 10 ln s; var = s^2/(1 + s^2).
    Known states enter as they are: sqrt(1 + s^2) x in place of x_t.

    Args:
        network: Maps (window, mask, noise level (batch,), label) to a window.
        schedule: Maps times to (alpha, sigma).
    """

    def __init__(self, network: nn.Module, schedule: Schedule) -> None:
        super().__init__()
        self.network, self.schedule = network, schedule

    def forward(
        self, x_t: Tensor, t: Tensor, *, label: Tensor, mask: Tensor, known: Tensor
    ) -> GaussianPosterior:
        """Returns the posterior; its mean is the network's own, at known states too.

        Args:
            x_t: Noisy windows (batch, channel, time, *space).
            t: Times (batch,) or ().
            label: (batch, feature).
            mask: 1 where known, (batch, 1, time, 1, …).
            known: Known states (batch, channel, time, *space), anything where unknown.
        """
        t = t.expand(len(x_t))
        shape = (-1, *[1] * (x_t.ndim - 1))
        sigma = self.schedule(t)[1].to(x_t.dtype)
        s = sigma.view(shape)
        scale = torch.sqrt(1 + s * s)
        inputs = torch.where(mask, known * scale, x_t)
        output = self.network(inputs / scale, mask, 10 * sigma.log(), label)
        mean = inputs / (scale * scale) + s / scale * output
        return GaussianPosterior(mean, (s / scale).square())


class Inpainting(AzulaDenoiser):
    """A denoiser for sampling: at every step the known states of its mean are the true ones."""

    def __init__(self, denoiser: Denoiser, label: Tensor, mask: Tensor, known: Tensor) -> None:
        super().__init__()
        self.denoiser, self.schedule = denoiser, denoiser.schedule
        self.given = {"label": label, "mask": mask, "known": known}

    def forward(self, x_t: Tensor, t: Tensor) -> GaussianPosterior:
        posterior = self.denoiser(x_t, t, **self.given)
        mean = torch.where(self.given["mask"], self.given["known"], posterior.mean)
        return GaussianPosterior(mean, posterior.var)
