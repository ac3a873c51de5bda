"""Two-dimensional Rayleigh-Bénard convection as a study describes it."""

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from lilas.settings.values import Distinct, Width
from lilas.systems.base import System, exponent

# Beyond these nothing that a study simulates is resolved, or moves.
Rayleigh = Annotated[float, Field(gt=0, le=1e14)]
Prandtl = Annotated[float, Field(ge=1e-6, le=1e6)]
# More time steps than any computer takes.
MOST_STEPS = 10**9


class RayleighBenard(System):
    """Two-dimensional Rayleigh-Bénard convection, in free-fall units.

    One file per Rayleigh number and split holds every Prandtl number.
    """

    system: Literal["rayleigh_benard"] = Field(description="The equations to solve.")
    rayleigh: Distinct[Rayleigh] = Field(min_length=1, description="Rayleigh numbers.")
    prandtl: Distinct[Prandtl] = Field(min_length=1, description="Prandtl numbers.")
    size: tuple[Annotated[Width, Field(ge=4)], Annotated[Width, Field(ge=8)]] = Field(
        strict=False, description="Grid points along x and y."
    )
    time_step: float = Field(gt=0, description="Solver time step, in free-fall times.")
    start: float = Field(ge=0, description="Time of the first state that is kept.")
    interval: float = Field(gt=0, description="Time between states.")

    components: ClassVar = {"buoyancy": 1, "pressure": 1, "velocity": 2}
    # The upper plate holds the buoyancy at 0.
    lowest: ClassVar = {"buoyancy": 0.0, "pressure": -math.inf, "velocity": -math.inf}
    axes: ClassVar = ("x", "y")
    boundaries: ClassVar = {"x": "periodic", "y": "wall"}
    parameters: ClassVar = ("Rayleigh", "Prandtl")
    implementation: ClassVar = "lilas.systems.rayleigh_benard_files:simulate_part"
    stepper: ClassVar = "lilas.systems.rayleigh_benard_files:stepper"

    @model_validator(mode="after")
    def _named_apart(self) -> "RayleighBenard":
        if len(set(self.parts)) < len(self.parts):
            raise ValueError(
                f"rayleigh {self.rayleigh}: two of them have one name of a file; allowed: numbers "
                "that differ in their first seven digits"
            )
        return self

    @model_validator(mode="after")
    def _whole_steps(self) -> "RayleighBenard":
        for key, least in (("start", 0), ("interval", 1)):
            duration = getattr(self, key)
            if (ratio := duration / self.time_step) > MOST_STEPS:
                raise ValueError(
                    f"{key} {duration:g} at time_step {self.time_step:g} takes {ratio:.0e} steps; "
                    f"allowed: at most {MOST_STEPS:.0e}"
                )
            if abs(ratio - round(ratio)) >= 1e-6 or round(ratio) < least:
                raise ValueError(
                    f"time_step {self.time_step:g} does not divide {key} {duration:g}; allowed: a "
                    f"whole number of time steps, at least {least}"
                )
        if (taken := (self.steps - 1) * self.interval / self.time_step) > MOST_STEPS:
            raise ValueError(
                f"steps {self.steps} at time_step {self.time_step:g} take {taken:.0e} steps; "
                f"allowed: at most {MOST_STEPS:.0e}"
            )
        return self

    @property
    def parts(self) -> list[str]:
        """A part per Rayleigh number."""
        return [f"Rayleigh_{exponent(rayleigh)}" for rayleigh in self.rayleigh]

    @property
    def parameter_values(self) -> dict[str, list[float]]:
        """Values of the parameters."""
        return {"Rayleigh": self.rayleigh, "Prandtl": self.prandtl}

    def states(self, split: str) -> int:
        """Returns how many states a file of a split holds: of every Prandtl number."""
        return len(self.prandtl) * super().states(split)

    @property
    def simulated(self) -> float:
        """States that are simulated in all, the spin-up counted in intervals."""
        pairs = len(self.rayleigh) * len(self.prandtl)
        return pairs * self.trajectories.total * (self.start / self.interval + self.steps - 1)
