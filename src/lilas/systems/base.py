"""The seam of simulated systems: what a study says of one, and what its simulator returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from lilas.errors import LilasError
from lilas.files import digest
from lilas.settings import Model
from lilas.settings.values import Positive, Seed, Width

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "valid", "test")


class Counts(Model):
    """Numbers of trajectories in the three splits, for each combination of parameters."""

    train: Width = Field(description="Trajectories to train on.")
    valid: Width = Field(description="Trajectories to validate on while training.")
    test: Width = Field(description="Trajectories that only the evaluation sees.")

    @property
    def total(self) -> int:
        """Trajectories of all splits."""
        return self.train + self.valid + self.test


class System(Model):
    """What every simulated system has; each has settings of its own beside it.

    A system declares what its data hold and names its implementation, a function that takes the
    settings and a part's name and returns its `Trajectories` by split.
    """

    kind: Literal["simulate"] = Field(description="LILAS simulates it.")
    system: str = Field(description="The equations to solve.")
    trajectories: Counts = Field(
        description="Trajectories per combination of parameters and split."
    )
    size: tuple[Width, ...] = Field(strict=False, description="Grid points along each axis.")
    steps: Positive = Field(description="States per trajectory.")
    seed: Seed = Field(description="Seed of the initial states.")

    # Fields, and how many components each has.
    components: ClassVar[dict[str, int]]
    # Lowest value of fields where it is known: minus infinity where a field takes both signs.
    lowest: ClassVar[dict[str, float]] = {}
    axes: ClassVar[tuple[str, ...]]
    # `periodic`, `wall` or `open` by axis.
    boundaries: ClassVar[dict[str, str]] = {}
    parameters: ClassVar[tuple[str, ...]]
    # Modules that the implementation imports and LILAS itself does not need, and how each is had.
    requires: ClassVar[dict[str, str]] = {}
    implementation: ClassVar[str]
    # A function of the settings and a number of intervals, for timing: it returns a function that
    # carries trajectories so far on from their middle, from the same states with each call, and
    # returns the states after it; and how many trajectories they are. Empty where there is none.
    stepper: ClassVar[str] = ""

    @property
    def folder(self) -> str:
        """The data folder's name: a hash of everything that decides the numbers."""
        return f"simulate-{digest(self.model_dump(mode='json'))[:8]}"

    @property
    def parts(self) -> list[str]:
        """Names of the parts, each simulated by a job of its own into a file per split."""
        return [self.system]

    @property
    def boundary_kinds(self) -> dict[str, set[str]]:
        """Kinds of the boundaries by axis, in any of the files; empty where unknown."""
        return {axis: {kind} for axis, kind in self.boundaries.items()}

    @property
    def parameter_values(self) -> dict[str, list[float]]:
        """Values of the parameters that some trajectory has; empty where unknown."""
        return {}

    def states(self, split: str) -> int:
        """Returns how many states a file of a split holds."""
        return getattr(self.trajectories, split) * self.steps

    def count(self, split: str) -> int:
        """Returns how many trajectories a split has."""
        return len(self.parts) * self.states(split) // self.steps

    def check_installed(self) -> None:
        """Refuses a simulator whose modules are not installed; imports none of them.

        Raises:
            LilasError: which is missing, and how it is had.
        """
        for module, command in self.requires.items():
            if find_spec(module) is None:
                raise LilasError(
                    f"{self.system} is simulated by {module}, which is not installed. "
                    f"Run `{command}`."
                )

    @property
    def simulated(self) -> float:
        """States that are simulated in all, those before the first kept one included."""
        return len(self.parts) * self.trajectories.total * self.steps


@dataclass(frozen=True)
class Trajectories:
    """Trajectories of one file, as `lilas.data.well_writer.write_well` takes them.

    Attributes:
        fields: By name, (trajectory, time, *space[, component]).
        time: Of the states (time,).
        coordinates: Grid points by axis (point,).
        parameters: One number, or (trajectory,), by name.
        boundaries: `periodic`, `wall` or `open` by axis.
        attributes: Of the file, such as its unit of time.
    """

    fields: Mapping[str, "np.ndarray"]
    time: "np.ndarray"
    coordinates: Mapping[str, "np.ndarray"]
    parameters: Mapping[str, "np.ndarray | float"]
    boundaries: Mapping[str, str]
    attributes: Mapping[str, str | float] = field(default_factory=dict)


def exponent(value: float) -> str:
    """Returns a number as people name it in file names: 1e6, 3e5, 250."""
    mantissa, power = f"{value:e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(power)}" if abs(int(power)) > 3 else f"{value:g}"
