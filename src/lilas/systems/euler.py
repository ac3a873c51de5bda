"""The compressible Euler equations from random blocks of gas, as a study describes them."""

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from lilas.settings.values import Distinct, Width
from lilas.systems.base import System, exponent

# The heat capacities of one gas: 5/3 without inner degrees of freedom, towards 1 with many.
Gamma = Annotated[float, Field(ge=1.01, le=3)]
Boundary = Literal["open", "periodic"]
# Cells that a block of the initial state has at least along an axis.
LEAST_CELLS = 4


class Euler(System):
    """The compressible Euler equations in a unit square, from random blocks of gas.

    One file per boundary, heat capacity ratio and split. Needs `make install EXTRAS=simulate`.
    """

    system: Literal["euler_multi_quadrants"] = Field(description="The equations to solve.")
    gamma: Distinct[Gamma] = Field(min_length=1, description="Heat capacity ratios.")
    boundary: Distinct[Boundary] = Field(
        min_length=1, description="Boundaries of all four sides, some files with each of them."
    )
    blocks: tuple[Width, Width] = Field(
        default=(2, 4),
        strict=False,
        description="Fewest and most blocks along an axis of the initial state.",
    )
    size: tuple[Annotated[Width, Field(ge=16)], Annotated[Width, Field(ge=16)]] = Field(
        strict=False, description="Cells along x and y, the same number."
    )
    interval: float = Field(
        gt=0, le=0.1, description="Time between states; sound takes about 1 to cross the square."
    )

    components: ClassVar = {"energy": 1, "density": 1, "pressure": 1, "momentum": 2}
    lowest: ClassVar = {"momentum": -math.inf}
    axes: ClassVar = ("x", "y")
    parameters: ClassVar = ("gamma",)
    requires: ClassVar = {"astronomix": "make install EXTRAS=simulate"}
    implementation: ClassVar = "lilas.systems.euler_files:simulate_part"
    stepper: ClassVar = "lilas.systems.euler_files:stepper"

    @model_validator(mode="after")
    def _square(self) -> "Euler":
        if self.size[0] != self.size[1]:
            raise ValueError(
                f"size {self.size[0]} x {self.size[1]}; allowed: as many cells along x as along y"
            )
        return self

    @model_validator(mode="after")
    def _resolved(self) -> "Euler":
        fewest, most = self.blocks
        if not 1 <= fewest <= most or most * LEAST_CELLS > self.size[0]:
            raise ValueError(
                f"blocks {fewest} to {most} of {self.size[0]} cells; allowed: the fewest first, "
                f"and at most {self.size[0] // LEAST_CELLS}, of {LEAST_CELLS} cells each"
            )
        return self

    @model_validator(mode="after")
    def _named_apart(self) -> "Euler":
        if len(set(self.parts)) < len(self.parts):
            raise ValueError(
                f"gamma {self.gamma}: two of them have one name of a file; allowed: numbers that "
                "differ in their first seven digits"
            )
        return self

    @property
    def boundary_kinds(self) -> dict[str, set[str]]:
        """Kinds of the boundaries of each axis in any of the files."""
        return {axis: set(self.boundary) for axis in self.axes}

    @property
    def parameter_values(self) -> dict[str, list[float]]:
        """Values of the parameters."""
        return {"gamma": self.gamma}

    @property
    def pairs(self) -> list[tuple[Boundary, float]]:
        """Boundary and heat capacity ratio of each part."""
        return [(kind, gamma) for kind in self.boundary for gamma in self.gamma]

    @property
    def parts(self) -> list[str]:
        """A part per boundary and heat capacity ratio."""
        return [f"{kind}_gamma_{exponent(gamma)}" for kind, gamma in self.pairs]
