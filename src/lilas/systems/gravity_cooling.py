"""A turbulent cloud under its own gravity, with cooling, as a study describes it."""

import itertools
import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from lilas.settings.values import Distinct, Width
from lilas.systems.base import System, exponent

Cells = Annotated[Width, Field(ge=16)]
Metallicity = Annotated[float, Field(ge=0, le=1000)]
# Of densities and temperatures; only their ratio shapes a flow.
Scale = Annotated[float, Field(gt=0, le=1e6)]


class GravityCooling(System):
    """A turbulent cloud of gas that its own gravity draws together while it cools.

    One file per density, temperature, metallicity and split. Needs `make install EXTRAS=simulate`.
    """

    system: Literal["turbulence_gravity_cooling"] = Field(description="The equations to solve.")
    density: Distinct[Scale] = Field(
        min_length=1, description="Densities of the cloud at first; 1 makes a free-fall time 0.54."
    )
    temperature: Distinct[Scale] = Field(
        min_length=1,
        description="Temperatures at first, pressure over density; 0.02 to 0.1 of the density is "
        "cold enough to collapse and warm enough to be resolved.",
    )
    metallicity: Distinct[Metallicity] = Field(
        min_length=1, description="Metallicities, which cooling is proportional to."
    )
    size: tuple[Cells, Cells, Cells] = Field(
        strict=False, description="Cells along x, y and z, the same number."
    )
    interval: float = Field(
        gt=0, le=0.2, description="Time between states, in free-fall times of the cloud."
    )

    components: ClassVar = {"density": 1, "pressure": 1, "temperature": 1, "velocity": 3}
    lowest: ClassVar = {"velocity": -math.inf}
    axes: ClassVar = ("x", "y", "z")
    boundaries: ClassVar = {"x": "open", "y": "open", "z": "open"}
    parameters: ClassVar = ("rho0", "Z", "T0")
    requires: ClassVar = {"astronomix": "make install EXTRAS=simulate"}
    implementation: ClassVar = "lilas.systems.gravity_cooling_files:simulate_part"
    stepper: ClassVar = "lilas.systems.gravity_cooling_files:stepper"

    @model_validator(mode="after")
    def _cubic(self) -> "GravityCooling":
        if len(set(self.size)) > 1:
            raise ValueError(
                f"size {' x '.join(map(str, self.size))}; allowed: as many cells along each axis"
            )
        return self

    @model_validator(mode="after")
    def _named_apart(self) -> "GravityCooling":
        for key in ("density", "temperature", "metallicity"):
            values = getattr(self, key)
            if len({exponent(value) for value in values}) < len(values):
                raise ValueError(
                    f"{key} {values}: two of them have one name of a file; allowed: numbers that "
                    "differ in their first seven digits"
                )
        return self

    @property
    def parameter_values(self) -> dict[str, list[float]]:
        """Values of the parameters."""
        return {"rho0": self.density, "Z": self.metallicity, "T0": self.temperature}

    @property
    def triples(self) -> list[tuple[float, float, float]]:
        """Density, temperature and metallicity of each part."""
        return list(itertools.product(self.density, self.temperature, self.metallicity))

    @property
    def parts(self) -> list[str]:
        """A part per density, temperature and metallicity."""
        return ["rho0_{}_T0_{}_Z_{}".format(*map(exponent, triple)) for triple in self.triples]
