"""Methods: what an emulator learns, the distribution of a window or the window.

That of ensembles is in `lilas.models.ensemble`.

All methods have one interface, a loss for training and a step for rollouts, so that the rest of the
code knows only the word that chooses between them.
"""

from typing import Any

import torch
from torch import Tensor, nn

from lilas.draws import Draws
from lilas.models.diffusion import (
    PRIORS,
    Denoiser,
    Inpainting,
    Velocity,
    make_schedule,
)
from lilas.models.losses import LOSSES
from lilas.models.masks import over_space
from lilas.models.rollout import Step, Window
from lilas.models.sampling import start_noise
from lilas.nn.layers import sine_encoding
from lilas.plugins import load


class Backbone(nn.Module):
    """What an emulator learns with: a network that sees the mask, the label and the noise level.

    Args:
        network: Maps windows, a conditioning vector (batch, width) and a mask to windows.
        label_features: Features of a label.
        width: Width of the conditioning vector.
        noisy: Whether noise, or its level, enters beside the label.
    """

    def __init__(self, network: nn.Module, label_features: int, width: int, noisy: bool) -> None:
        super().__init__()
        self.network = network
        self.label = _perceptron(label_features, width)
        self.noise = _perceptron(width, width) if noisy else None
        self.width = width

    def forward(self, x: Tensor, mask: Tensor, noise: Tensor | None, label: Tensor) -> Tensor:
        """Returns what the network makes of windows.

        Args:
            x: (batch, channel, time, *space).
            mask: (batch, 1, time, 1, …).
            noise: The level (batch,), or noise itself (batch, width); None where none enters.
            label: (batch, feature).
        """
        vector = self.label(label)
        if self.noise is not None:
            level = noise.ndim == 1
            vector = vector + self.noise(sine_encoding(noise, self.width) if level else noise)
        return self.network(x, vector, mask)


class Diffusion(nn.Module):
    """Learns to denoise windows of which some states are known (paper section 4.2).

    Loss: mean of (mean - x)^2 / var over everything, known states included.

    Args:
        backbone: What it learns with.
        schedule: As the options that follow, of `make_schedule`.
        sigma_min: Of the schedule.
        sigma_max: Of the schedule.
        logit_scale: Of the schedule.
        logit_shift: Of the schedule.
        prior: Of the diffusion time in training, a key of `PRIORS`.
        prior_parameters: Its (a, b).
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        schedule: str = "log_logit",
        sigma_min: float = 1e-3,
        sigma_max: float = 1e3,
        logit_scale: float = 1.0,
        logit_shift: float = 0.0,
        prior: str = "uniform",
        prior_parameters: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.schedule = make_schedule(
            schedule, sigma_min, sigma_max, scale=logit_scale, shift=logit_shift
        )
        self.prior, self.prior_parameters = PRIORS[prior], prior_parameters

    @property
    def denoiser(self) -> Denoiser:
        """The denoiser; made when asked for, so that weights hold the backbone once."""
        return Denoiser(self.backbone, self.schedule)

    def loss(self, x: Tensor, label: Tensor, mask: Tensor, draws: Draws) -> Tensor:
        """Args: x (batch, channel, time, *space); label (batch, feature); mask (batch, time)."""
        t = self.prior(draws.uniform(), *self.prior_parameters).float().to(x.device)
        alpha, sigma = (u.view(-1, *[1] * (x.ndim - 1)) for u in self.schedule(t))
        x_t = alpha * x + sigma * draws.normal(x)
        q = self.denoiser(x_t, t, label=label, mask=over_space(mask, x), known=x)
        return ((q.mean - x).square() / q.var).mean()

    def stepper(self, label: Tensor, sampler: Any, draws: Draws) -> Step:
        """Returns the step of a rollout: sampling a window given its known states.

        Each window of a rollout goes on where the one before left off drawing.

        Args:
            label: (batch, feature).
            sampler: Settings, with `algorithm` and `guidance`.
            draws: Random numbers of the windows.
        """
        algorithm, guidance = sampler.algorithm, sampler.guidance

        # Not inference mode: guidance differentiates the denoiser.
        @torch.no_grad()
        def step(window: Window) -> Tensor:
            known, mask = window.known, over_space(window.mask, window.known)
            denoiser = Inpainting(self.denoiser, label, mask, known)
            if guidance is not None:
                denoiser = load(guidance.implementation)(guidance, denoiser, window)
            sampling = load(algorithm.implementation)(algorithm, denoiser, draws)
            return sampling(start_noise(denoiser.schedule, known, draws))

        return step


class Flow(Diffusion):
    """Learns the velocity of the paths from noise to windows: flow matching (Lipman et al., 2023).

    On a path x_t = alpha_t x + sigma_t eps, with v = alpha_t' x + sigma_t' eps its velocity:
    the mean over what is unknown of (F - v / sqrt(alpha_t'^2 + sigma_t'^2))^2, F the network. The
    arguments are those of `Diffusion`. Any sampler of a denoiser generates its windows; with the
    schedule `rectified` a step of `ddim` is Euler's along the velocity.
    """

    @property
    def denoiser(self) -> Velocity:
        """The denoiser; made when asked for, so that weights hold the backbone once."""
        return Velocity(self.backbone, self.schedule)

    def loss(self, x: Tensor, label: Tensor, mask: Tensor, draws: Draws) -> Tensor:
        """Args: x (batch, channel, time, *space); label (batch, feature); mask (batch, time)."""
        t = self.prior(draws.uniform(), *self.prior_parameters).float().to(x.device)
        eps, over = draws.normal(x), over_space(mask, x)
        shape = (-1, *[1] * (x.ndim - 1))
        alpha, sigma = (u.view(shape) for u in self.schedule(t))
        da, ds = (u.view(shape) for u in self.schedule.slope(t))
        output = self.denoiser.output(alpha * x + sigma * eps, t, label, over, x)
        error = (output - (da * x + ds * eps) / torch.hypot(da, ds)).square()
        # What is known has no noise that could be told from it.
        return (error * ~over).flatten(1).mean(1).div((~mask).float().mean(1)).mean()


class Solver(nn.Module):
    """Learns the window itself from its known states: the neural solver of the paper."""

    def __init__(self, backbone: Backbone, *, loss: str = "mse") -> None:
        super().__init__()
        self.backbone = backbone
        self.measure = LOSSES[loss]

    def predict(self, x: Tensor, label: Tensor, mask: Tensor) -> Tensor:
        """Returns the window that the network makes of the states where `mask` is 1."""
        over = over_space(mask, x)
        return self.backbone(x * over, over, None, label)

    def loss(self, x: Tensor, label: Tensor, mask: Tensor, _: Draws) -> Tensor:
        """Args: x (batch, channel, time, *space); label (batch, feature); mask (batch, time)."""
        y = self.predict(x, label, mask)
        # A field is normalised by its variance over space: a state is one sample.
        return self.measure(y.transpose(1, 2).flatten(0, 1), x.transpose(1, 2).flatten(0, 1))

    def stepper(self, label: Tensor, *_: Any) -> Step:
        """Returns the step of a rollout: one evaluation of the network."""

        @torch.inference_mode()
        def step(window: Window) -> Tensor:
            return self.predict(window.known, label, window.mask)

        return step


def _perceptron(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width))
