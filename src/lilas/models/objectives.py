"""What an emulator learns: the distribution of a window, or the window.

Both objectives have one interface, a loss for training and a step for rollouts, so that the rest
of the code knows only the word that chooses between them.
"""

from typing import Any

import torch
from torch import Tensor, nn

from lilas.models.diffusion import PRIORS, Denoiser, Inpainting, make_schedule
from lilas.models.losses import LOSSES
from lilas.models.rollout import Step
from lilas.models.sampling import make_sampler, start_noise
from lilas.nn.layers import sine_encoding
from lilas.seeds import Draws


class Backbone(nn.Module):
    """What an emulator learns with: a network that sees the mask, the label and the noise level.

    Args:
        network: Maps windows, a conditioning vector (batch, width) and a mask to windows.
        label_features: Features of a label.
        width: Width of the conditioning vector.
        noisy: Whether a noise level enters (diffusion).
    """

    def __init__(self, network: nn.Module, label_features: int, width: int, noisy: bool) -> None:
        super().__init__()
        self.network = network
        self.label = _perceptron(label_features, width)
        self.noise = _perceptron(width, width) if noisy else None
        self.width = width

    def forward(self, x: Tensor, mask: Tensor, noise: Tensor | None, label: Tensor) -> Tensor:
        """Args: x (batch, channel, time, *space); mask (batch, 1, time, 1, …); noise (batch,)."""
        vector = self.label(label)
        if self.noise is not None:
            vector = vector + self.noise(sine_encoding(noise, self.width))
        return self.network(x, vector, mask)


class Diffusion(nn.Module):
    """Learns to denoise windows of which some states are known (paper section 4.2).

    Loss: mean of (mean - x)^2 / var over everything, known states included.
    """

    def __init__(self, backbone: Backbone, settings: dict[str, Any], _: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.schedule = make_schedule(
            settings["schedule"],
            settings["sigma_min"],
            settings["sigma_max"],
            scale=settings["logit_scale"],
            shift=settings["logit_shift"],
        )
        self.prior, self.parameters_of_prior = settings["prior"], settings["prior_parameters"]

    @property
    def denoiser(self) -> Denoiser:
        """The denoiser; made when asked for, so that weights hold the backbone once."""
        return Denoiser(self.backbone, self.schedule)

    def loss(self, x: Tensor, label: Tensor, mask: Tensor, draws: Draws) -> Tensor:
        """Args: x (batch, channel, time, *space); label (batch, feature); mask (batch, time)."""
        t = PRIORS[self.prior](draws.uniform(), *self.parameters_of_prior).float().to(x.device)
        alpha, sigma = (u.view(-1, *[1] * (x.ndim - 1)) for u in self.schedule(t))
        x_t = alpha * x + sigma * draws.normal(x)
        q = self.denoiser(x_t, t, label=label, mask=_over_space(mask, x), known=x)
        return ((q.mean - x).square() / q.var).mean()

    def stepper(self, label: Tensor, sampler: Any, draws: Draws) -> Step:
        """Returns the step of a rollout: sampling a window given its known states.

        Each window of a rollout goes on where the one before left off drawing.
        """

        # Not inference mode: guidance differentiates the denoiser.
        @torch.no_grad()
        def step(known: Tensor, mask: Tensor) -> Tensor:
            denoiser = Inpainting(self.denoiser, label, _over_space(mask, known), known)
            noise = start_noise(denoiser.schedule, known, draws)
            sampling = make_sampler(
                sampler.method, denoiser, steps=sampler.steps, order=sampler.order, draws=draws
            )
            return sampling(noise)

        return step


class Solver(nn.Module):
    """Learns the window itself from its known states: the neural solver of the paper."""

    def __init__(self, backbone: Backbone, _: dict[str, Any], loss: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.measure = LOSSES[loss]

    def predict(self, x: Tensor, label: Tensor, mask: Tensor) -> Tensor:
        """Returns the window that the network makes of the states where `mask` is 1."""
        over = _over_space(mask, x)
        return self.backbone(x * over, over, None, label)

    def loss(self, x: Tensor, label: Tensor, mask: Tensor, _: Draws) -> Tensor:
        """Args: x (batch, channel, time, *space); label (batch, feature); mask (batch, time)."""
        y = self.predict(x, label, mask)
        # A field is normalised by its variance over space: a state is one sample.
        return self.measure(y.transpose(1, 2).flatten(0, 1), x.transpose(1, 2).flatten(0, 1))

    def stepper(self, label: Tensor, *_: Any) -> Step:
        """Returns the step of a rollout: one evaluation of the network."""

        @torch.inference_mode()
        def step(known: Tensor, mask: Tensor) -> Tensor:
            return self.predict(known, label, mask)

        return step


OBJECTIVES = {"diffusion": Diffusion, "solver": Solver}


def _over_space(mask: Tensor, x: Tensor) -> Tensor:
    return mask.view(*mask.shape[:1], 1, -1, *[1] * (x.ndim - 3))


def _perceptron(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width))
