"""What an emulator is: settings of each method."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from lilas.settings import Model
from lilas.settings.values import PathText, Positive
from lilas.study.networks import Network
from lilas.study.training import Train

PriorParameter = Annotated[float, Field(gt=0, le=1000)]
Window = Annotated[int, Field(ge=2, le=10_000)]


class EmulatorSettings(Model):
    """What an emulator of any method has.

    A method's implementation takes the settings and a `lilas.models.methods.Backbone`, and returns
    a module with that `backbone`, a `loss(x, label, mask, draws)` and a
    `stepper(label, sampler, draws)`.
    """

    method: str = Field(description="What it learns.")
    network: Network = Field(description="The network.")
    window: Window = Field(default=5, description="States in a window.")
    context_rate: float = Field(
        default=1.0,
        gt=0,
        le=10_000,
        description="Poisson rate of the known states beyond the fewest.",
    )
    context_at_least: Positive = Field(
        default=1, description="Fewest known states of a training window."
    )
    context_forward: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Probability that the known states are a window's first ones, else its last.",
    )
    context_noise: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="Largest standard deviation of noise on the known states in training, which "
        "the network is told; 0 is none.",
    )
    train: Train | None = Field(
        default=None, description="Training; required where it is trained here."
    )

    implementation: ClassVar[str]
    # What samplers must fit: `denoiser` for sampling algorithms, `state` for a single evaluation.
    predicts: ClassVar[Literal["denoiser", "state"]]
    # Whether members differ.
    probabilistic: ClassVar[bool]
    # The paper's word for it; empty where the paper has no such method.
    published: ClassVar[str] = ""

    @property
    def modulated(self) -> bool:
        """Whether noise, or its level, enters through the network's modulation."""
        return self.predicts == "denoiser"

    @property
    def passes(self) -> int:
        """Windows that the network is called for, of each that is trained on."""
        return 1

    @property
    def states(self) -> int:
        """States of a trajectory that a training sample has."""
        return self.window

    @model_validator(mode="after")
    def _masks(self) -> "EmulatorSettings":
        if self.context_at_least >= self.window:
            raise ValueError(
                f"context_at_least {self.context_at_least} leaves nothing unknown in a window of "
                f"{self.window} states; allowed: at most {self.window - 1}"
            )
        return self


class NoiseSettings(Model):
    """The noise schedule and its training."""

    schedule: Literal["log_logit", "log_linear", "rectified"] = Field(
        default="log_logit", description="Noise schedule; `rectified` is rectified flow's."
    )
    sigma_min: float = Field(default=1e-3, ge=1e-9, description="Smallest noise-to-signal ratio.")
    sigma_max: float = Field(default=1e3, le=1e9, description="Largest noise-to-signal ratio.")
    logit_scale: float = Field(
        default=1.0,
        gt=0,
        le=100,
        description="log_logit's scale: sigma = exp(scale logit(u) + shift).",
    )
    logit_shift: float = Field(default=0.0, ge=-20, le=20, description="log_logit's shift.")
    prior: Literal["uniform", "beta", "kumaraswamy"] = Field(
        default="uniform", description="Distribution of the diffusion time in training."
    )
    prior_parameters: tuple[PriorParameter, PriorParameter] = Field(
        default=(1.0, 1.0), strict=False, description="Parameters (a, b) of beta and Kumaraswamy."
    )

    @model_validator(mode="after")
    def _noise(self) -> "NoiseSettings":
        if self.sigma_min >= self.sigma_max:
            raise ValueError(
                f"sigma_min {self.sigma_min} must be smaller than sigma_max {self.sigma_max}"
            )
        if self.schedule != "log_logit" and (self.logit_scale, self.logit_shift) != (1, 0):
            raise ValueError(
                f"logit_scale and logit_shift belong to log_logit; {self.schedule} has none"
            )
        if self.prior == "uniform" and self.prior_parameters != (1, 1):
            raise ValueError("prior_parameters belong to beta and kumaraswamy; uniform has none")
        return self


class DiffusionSettings(EmulatorSettings):
    """Learns to denoise windows: the paper's latent diffusion."""

    method: Literal["diffusion"] = Field(description="What it learns.")
    diffusion: NoiseSettings = Field(default=NoiseSettings(), description="Noise.")

    implementation: ClassVar = "lilas.models.build:from_diffusion"
    predicts: ClassVar = "denoiser"
    probabilistic: ClassVar = True
    published: ClassVar = "diffusion"


class FlowNoiseSettings(NoiseSettings):
    """The noise schedule of a flow and its training: straight paths unless it says otherwise."""

    schedule: Literal["log_logit", "log_linear", "rectified"] = Field(
        default="rectified", description="Noise schedule; `rectified` is rectified flow's."
    )


class FlowSettings(EmulatorSettings):
    """Learns the velocity from noise to windows: flow matching."""

    method: Literal["flow"] = Field(description="What it learns.")
    diffusion: FlowNoiseSettings = Field(default=FlowNoiseSettings(), description="Noise.")

    implementation: ClassVar = "lilas.models.build:from_flow"
    predicts: ClassVar = "denoiser"
    probabilistic: ClassVar = True


class SolverSettings(EmulatorSettings):
    """Learns windows themselves: the paper's neural solver."""

    method: Literal["solver"] = Field(description="What it learns.")
    loss: Literal["mse", "mae", "vmse", "vrmse"] = Field(default="mse", description="Loss.")

    implementation: ClassVar = "lilas.models.build:from_solver"
    predicts: ClassVar = "state"
    probabilistic: ClassVar = False
    published: ClassVar = "neural_solver"


class EnsembleSettings(EmulatorSettings):
    """Learns to draw windows in one evaluation: an ensemble trained on a proper score."""

    method: Literal["ensemble"] = Field(description="What it learns.")
    loss: Literal["crps", "spectral", "energy"] = Field(
        default="crps",
        description="Score of the members: the CRPS of each value, that together with the CRPS of "
        "each Fourier coefficient over space, or the energy score of each state.",
    )
    fair: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="How much of the score is fair for so few members; the rest counts them as "
        "the whole distribution, and has them spread less.",
    )
    members: int = Field(
        default=2, le=64, description="Members of each training sample, which cost one each."
    )
    noise: Literal["field", "modulation"] = Field(
        default="field",
        description="Where noise enters: `field` in the place of unknown states, as a solver's "
        "network has room for; `modulation` through that of every block.",
    )
    unroll: Positive = Field(
        default=1, description="Windows, one after another, that a training sample is rolled out."
    )

    implementation: ClassVar = "lilas.models.build:from_ensemble"
    predicts: ClassVar = "state"
    probabilistic: ClassVar = True

    @property
    def modulated(self) -> bool:
        """As of `EmulatorSettings`."""
        return self.noise == "modulation"

    @property
    def passes(self) -> int:
        """As of `EmulatorSettings`."""
        return self.members * self.unroll

    @property
    def states(self) -> int:
        """As of `EmulatorSettings`; each window begins with the last state of the one before."""
        return 1 + self.unroll * (self.window - 1)

    @model_validator(mode="after")
    def _scored(self) -> "EnsembleSettings":
        if self.members < 2:
            raise ValueError(
                f"members {self.members}: the score of a single member is its error, which teaches "
                "no spread; allowed: at least 2"
            )
        if self.unroll > 1 and self.context_forward < 1:
            raise ValueError(
                f"unroll {self.unroll}: windows follow each other forward in time; allowed: "
                "context_forward 1, or unroll 1"
            )
        if self.unroll > 1 and self.context_noise:
            raise ValueError(
                f"unroll {self.unroll}: later windows begin with members' own states, not with "
                f"noise as context_noise {self.context_noise:g} tells; allowed: one of the two"
            )
        return self


class GivenEmulator(Model):
    """An emulator whose weights are taken as they are, which decide everything about it."""

    model: PathText = Field(
        min_length=1,
        description="Whose weights are taken: the folder of a bundle or of a run, or a file of "
        "weights, that LILAS wrote; the id of a released run of the paper, or the folder or zip of "
        "such a run.",
    )
    method: str = Field(
        description="What it has learned: `diffusion`, `flow`, `ensemble`, `solver` or a plug-in's."
    )
    window: Window = Field(default=5, description="States in a window.")


# The methods of LILAS; plug-ins add theirs.
OURS = (DiffusionSettings, FlowSettings, EnsembleSettings, SolverSettings)
