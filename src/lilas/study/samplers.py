"""How a rollout is sampled: settings of each algorithm, and of a denoiser's wrapper."""

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from lilas.settings import Model
from lilas.settings.values import Positive
from lilas.study.operators import Operator


class AlgorithmSettings(Model):
    """What every algorithm declares: which emulators it fits."""

    algorithm: str = Field(description="How a window is generated.")

    implementation: ClassVar[str]
    # Of `EmulatorSettings.predicts`.
    fits: ClassVar[Literal["denoiser", "state"]] = "denoiser"


class SamplingSettings(AlgorithmSettings):
    """A sampling algorithm, from noise to data.

    Its implementation takes the settings, an azula denoiser and the windows' `lilas.draws.Draws`,
    and returns a function of noise (batch, channel, time, *space) that returns windows.
    """

    steps: Positive = Field(default=16, description="Steps from noise to data.")


class AzulaSettings(SamplingSettings):
    """An algorithm of azula."""

    implementation: ClassVar = "lilas.models.sampling:from_settings"


class DDIMSettings(AzulaSettings):
    """Deterministic sampling with noise predictions."""

    algorithm: Literal["ddim"] = Field(description="First order.")


class DDPMSettings(AzulaSettings):
    """Ancestral sampling."""

    algorithm: Literal["ddpm"] = Field(description="New noise in every step.")


class MultistepSettings(AzulaSettings):
    """An algorithm that combines the evaluations of several steps."""

    order: Positive = Field(default=3, description="Evaluations that a step combines.")

    @model_validator(mode="after")
    def _enough_steps(self) -> "MultistepSettings":
        if self.order > self.steps:
            raise ValueError(
                f"order {self.order} combines more evaluations than steps {self.steps} make; "
                f"allowed: an order of at most {self.steps}"
            )
        return self


class ABSettings(MultistepSettings):
    """Adams-Bashforth, the paper's."""

    algorithm: Literal["ab"] = Field(description="On noise predictions.")


class EABSettings(MultistepSettings):
    """Exponential Adams-Bashforth."""

    algorithm: Literal["eab"] = Field(description="On noise predictions.")


class HeunSettings(AzulaSettings):
    """Heun's method; a step evaluates the network twice."""

    algorithm: Literal["heun"] = Field(description="Second order.")


class PCSettings(AzulaSettings):
    """Predictor and corrector; a step evaluates the network twice."""

    algorithm: Literal["pc"] = Field(description="A DDIM step after one of Langevin.")


class DirectSettings(AlgorithmSettings):
    """A single evaluation of a network that predicts states."""

    algorithm: Literal["direct"] = Field(description="One evaluation.")

    fits: ClassVar = "state"


class GuidanceSettings(Model):
    """A wrapper of the denoiser, such as guidance by observations.

    Its implementation takes the settings, an azula denoiser and the `lilas.models.rollout.Window`
    that is generated, and returns an azula denoiser.
    """

    kind: str = Field(description="The wrapper.")

    implementation: ClassVar[str]


class ObservingSettings(GuidanceSettings):
    """Guidance by observations of the truth: the window holds those of its new states.

    An observation is y = A(x) + noise N(0, 1) of a state x as models see it, standardised; it is
    the same for all members. What is guided by it is no forecast, and is shown apart.
    """

    operator: Operator = Field(description="A: what is observed of a state.")
    noise: float = Field(
        gt=0,
        le=1000,
        description="Standard deviation of an observation's error, in standardised units.",
    )


class MMPSSettings(ObservingSettings):
    """Moment matching posterior sampling, the paper's, by observations of the truth.

    These are made of the test split, not given, so that none is outside the range of its field;
    one that is not finite ends the rollout, which names the file.
    """

    kind: Literal["mmps"] = Field(description="By the covariance that the denoiser implies.")
    iterations: Positive = Field(default=1, description="Iterations of the linear solver.")
    solver: Literal["gmres", "cg"] = Field(default="gmres", description="Linear solver.")

    implementation: ClassVar = "lilas.models.guidance:mmps"


def observes(sampler: Any) -> bool:
    """Whether a sampler is guided by observations of what it is to forecast."""
    return isinstance(sampler.guidance, ObservingSettings)


# The algorithms and the guidance of LILAS; plug-ins add theirs.
GUIDANCE = (MMPSSettings,)
OURS = (
    ABSettings,
    EABSettings,
    DDIMSettings,
    DDPMSettings,
    HeunSettings,
    PCSettings,
    DirectSettings,
)
