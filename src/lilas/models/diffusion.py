"""The diffusion model: noise schedules and the preconditioned denoiser."""

import math
from collections.abc import Callable

import torch
from azula.denoise import Denoiser as AzulaDenoiser
from azula.denoise import GaussianPosterior
from azula.noise import RectifiedSchedule, Schedule, VESchedule
from torch import Tensor, nn


class LogLogit(Schedule):
    """alpha = 1, sigma = exp(scale logit(u) + shift) (paper section 4.2).

    u goes linearly from sigma_min/(1 + sigma_min) to sigma_max/(1 + sigma_max), so that with scale
    1 and shift 0 sigma goes from sigma_min to sigma_max.
    """

    def __init__(
        self,
        sigma_min: float = 1e-3,
        sigma_max: float = 1e3,
        scale: float = 1.0,
        shift: float = 0.0,
    ) -> None:
        self.first = sigma_min / (1 + sigma_min)
        self.last = sigma_max / (1 + sigma_max)
        self.scale, self.shift = scale, shift

    def _u(self, t: Tensor) -> Tensor:
        return t * (self.last - self.first) + self.first

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), torch.exp(self.scale * torch.logit(self._u(t)) + self.shift)

    def slope(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the derivatives of alpha and sigma by the time."""
        u, (_, sigma) = self._u(t), self(t)
        return torch.zeros_like(t), sigma * self.scale * (self.last - self.first) / (u * (1 - u))


class LogLinear(VESchedule):
    """alpha = 1, sigma geometric in the time, from sigma_min to sigma_max."""

    def slope(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the derivatives of alpha and sigma by the time."""
        return torch.zeros_like(t), math.log(self.sigma_max / self.sigma_min) * self.sigma(t)


class Rectified(RectifiedSchedule):
    """The straight paths of rectified flow: alpha = 1 - (1 - 1/sigma_max) t, sigma = sigma_min +
    (1 - sigma_min) t; where sigma_min sigma_max = 1 it is `LogLogit`, up to scale, at every t.
    """

    def __init__(self, sigma_min: float = 1e-3, sigma_max: float = 1e3) -> None:
        super().__init__(alpha_min=1 / sigma_max, sigma_min=sigma_min)

    def slope(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the derivatives of alpha and sigma by the time."""
        return torch.full_like(t, self.alpha_min - 1), torch.full_like(t, 1 - self.sigma_min)


NoiseSchedule = LogLogit | LogLinear | Rectified

# By name, from the bounds of sigma/alpha.
SCHEDULES: dict[str, Callable[..., NoiseSchedule]] = {
    "log_logit": LogLogit,
    "log_linear": LogLinear,
    "rectified": Rectified,
}


def make_schedule(
    name: str,
    sigma_min: float = 1e-3,
    sigma_max: float = 1e3,
    *,
    scale: float = 1.0,
    shift: float = 0.0,
) -> NoiseSchedule:
    """Returns a noise schedule: a map from times in [0, 1] to (alpha, sigma).

    Args:
        name: Of `SCHEDULES`.
        sigma_min: sigma/alpha at t = 0.
        sigma_max: sigma/alpha at t = 1.
        scale: Of log_logit; the others have none.
        shift: Of log_logit; the others have none.
    """
    options = {"scale": scale, "shift": shift} if name == "log_logit" else {}
    return SCHEDULES[name](sigma_min, sigma_max, **options)


def _beta(u: Tensor, a: float, b: float) -> Tensor:
    # Half a second to import, for one of three priors.
    from scipy.special import betaincinv

    return torch.from_numpy(betaincinv(a, b, u.numpy()))


# Priors of the diffusion time in training: maps uniform draws, on the CPU, and (a, b) to times in
# (0, 1), by the inverse distribution function.
PRIORS: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "uniform": lambda u, a, b: u,
    "beta": _beta,
    "kumaraswamy": lambda u, a, b: (1 - (1 - u) ** (1 / b)) ** (1 / a),
}


class Denoiser(AzulaDenoiser):
    """Estimates the mean and variance of clean windows given noisy ones (EDM preconditioning).

    With a = alpha, s = sigma: mean = c_skip x_t + c_out net(c_in x_t, c_noise),
    c_in = 1/sqrt(a^2 + s^2), c_skip = a/(a^2 + s^2), c_out = s/sqrt(a^2 + s^2),
    c_noise = 10 ln(s/a); var = s^2/(a^2 + s^2). So the network sees the same whatever the scale of
    a schedule. Known states enter as they are: sqrt(a^2 + s^2) x in place of x_t.

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
        alpha, sigma = (u.to(x_t.dtype) for u in self.schedule(t))
        noise = 10 * torch.log(sigma / alpha)
        a, s = alpha.view(shape), sigma.view(shape)
        scale = torch.sqrt(a * a + s * s)
        inputs = torch.where(mask, known * scale, x_t)
        output = self.network(inputs / scale, mask, noise, label)
        mean = a / (scale * scale) * inputs + s / scale * output
        return GaussianPosterior(mean, (s / scale).square())


class Velocity(AzulaDenoiser):
    """Estimates the mean and variance of clean windows from the velocity that a network predicts.

    With a = alpha, s = sigma and derivatives a', s': v = sqrt(a'^2 + s'^2) net(c_in x_t, c_noise),
    c_in = 1/sqrt(a^2 + s^2) and c_noise = 10 ln(s/a) as of `Denoiser`, known states too; then
    mean = (s' x_t - s v) / (a s' - s a'). The variance is that of `Denoiser`.

    Args:
        network: As of `Denoiser`.
        schedule: Maps times to (alpha, sigma), and by `slope` to their derivatives.
    """

    def __init__(self, network: nn.Module, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.network, self.schedule = network, schedule

    def output(self, x_t: Tensor, t: Tensor, label: Tensor, mask: Tensor, known: Tensor) -> Tensor:
        """Returns what the network predicts; the arguments are those of `Denoiser`."""
        alpha, sigma = self.schedule(t)
        scale = torch.hypot(alpha, sigma).view(-1, *[1] * (x_t.ndim - 1))
        inputs = torch.where(mask, known, x_t / scale)
        return self.network(inputs, mask, 10 * torch.log(sigma / alpha), label)

    def forward(
        self, x_t: Tensor, t: Tensor, *, label: Tensor, mask: Tensor, known: Tensor
    ) -> GaussianPosterior:
        """Returns the posterior; the arguments are those of `Denoiser`."""
        t = t.expand(len(x_t)).to(x_t.dtype)
        shape = (-1, *[1] * (x_t.ndim - 1))
        a, s = (u.view(shape) for u in self.schedule(t))
        da, ds = (u.view(shape) for u in self.schedule.slope(t))
        v = torch.hypot(da, ds) * self.output(x_t, t, label, mask, known)
        mean = (ds * x_t - s * v) / (a * ds - s * da)
        return GaussianPosterior(mean, s * s / (a * a + s * s))


class Inpainting(AzulaDenoiser):
    """A denoiser for sampling: at every step the known states of its mean are the true ones."""

    def __init__(self, denoiser: AzulaDenoiser, label: Tensor, mask: Tensor, known: Tensor) -> None:
        super().__init__()
        self.denoiser, self.schedule = denoiser, denoiser.schedule
        self.given = {"label": label, "mask": mask, "known": known}

    def forward(self, x_t: Tensor, t: Tensor) -> GaussianPosterior:
        posterior = self.denoiser(x_t, t, **self.given)
        mean = torch.where(self.given["mask"], self.given["known"], posterior.mean)
        return GaussianPosterior(mean, posterior.var)
