"""Two-dimensional Rayleigh-Bénard convection as a study describes it."""

from typing import ClassVar, Literal

from pydantic import Field

from lilas.settings import Positive
from lilas.systems.base import System


class RayleighBenard(System):
    """Two-dimensional Rayleigh-Bénard convection, in free-fall units.

    One file per Rayleigh number and split holds every Prandtl number.
    """

    system: Literal["rayleigh_benard"] = Field(description="The equations to solve.")
    rayleigh: list[float] = Field(min_length=1, description="Rayleigh numbers.")
    prandtl: list[float] = Field(min_length=1, description="Prandtl numbers.")
    size: tuple[Positive, Positive] = Field(description="Grid points along x and y.")
    time_step: float = Field(gt=0, description="Solver time step, in free-fall times.")
    start: float = Field(ge=0, description="Time of the first state that is kept.")
    interval: float = Field(gt=0, description="Time between states.")

    components: ClassVar = {"buoyancy": 1, "pressure": 1, "velocity": 2}
    axes: ClassVar = ("x", "y")
    parameters: ClassVar = ("Rayleigh", "Prandtl")
    implementation: ClassVar = "lilas.systems.rayleigh_benard_files:simulate_part"

    @property
    def parts(self) -> list[str]:
        """A part per Rayleigh number."""
        return [f"Rayleigh_{exponent(rayleigh)}" for rayleigh in self.rayleigh]

    def states(self, split: str) -> int:
        """Returns how many states a file of a split holds: of every Prandtl number."""
        return len(self.prandtl) * super().states(split)

    @property
    def simulated(self) -> float:
        """States that are simulated in all, the spin-up counted in intervals."""
        pairs = len(self.rayleigh) * len(self.prandtl)
        return pairs * self.trajectories.total * (self.start / self.interval + self.steps - 1)


def exponent(value: float) -> str:
    """Returns a number as people name it in file names: 1e6, 3e5, 250."""
    mantissa, power = f"{value:e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(power)}" if abs(int(power)) > 3 else f"{value:g}"
