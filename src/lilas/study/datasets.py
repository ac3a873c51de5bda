"""The section `datasets` of a study."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from lilas import systems
from lilas.settings import Model, Positive, choice, expanded, extended, refuse_unknown
from lilas.study.well import Facts, find_facts
from lilas.systems.base import System


class Well(Model):
    """A dataset of The Well, or several joined, downloaded file by file from its own registry.

    What The Well says of its grid, fields, parameters and steps is known (`lilas datasets`).
    """

    kind: Literal["well"] = Field(description="The Well has it.")
    name: str | list[str] = Field(
        description="Name in The Well's registry, or names of datasets that are used as one."
    )
    size: list[Positive] | None = Field(
        default=None, description="Grid points along each axis, where The Well's facts are wrong."
    )
    steps: Positive | None = Field(
        default=None, description="States per trajectory, likewise; files must agree."
    )
    channels: Positive | None = Field(
        default=None, description="Channels of the fields used, likewise; files must agree."
    )
    include: list[str] = Field(
        default=[], description="Keep only files whose name contains one of these; [] keeps all."
    )

    @model_validator(mode="after")
    def _known(self) -> "Well":
        _refuse_repeated("name", self.names)
        try:
            facts = self.facts
        except ValueError as error:
            raise ValueError(f"name: {error}") from None
        if self.size and len(self.size) != len(facts.axes):
            raise ValueError(
                f"size {self.size}: expected a number for each axis, {', '.join(facts.axes)}"
            )
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the datasets, one or several."""
        return _several(self.name)

    @property
    def facts(self) -> Facts:
        """What The Well says of each of them; they agree but for their files and boundaries."""
        return find_facts(self.names)[0]


class Folder(Model):
    """A dataset that lies on disk in The Well's layout, or several joined, read in place."""

    kind: Literal["path"] = Field(description="It lies on disk.")
    path: str | list[str] = Field(
        description="Folder that holds data/{train,valid,test}/*.hdf5, or folders used as one; `~` "
        "and variables such as `$SCRATCH` stand for what they name."
    )
    include: list[str] = Field(
        default=[], description="Keep only files whose name contains one of these; [] keeps all."
    )

    @field_validator("path")
    @classmethod
    def _expanded(cls, path: str | list[str]) -> str | list[str]:
        return expanded(path) if isinstance(path, str) else [expanded(each) for each in path]

    @model_validator(mode="after")
    def _named(self) -> "Folder":
        _refuse_repeated("path", self.paths)
        return self

    @property
    def paths(self) -> tuple[str, ...]:
        """The folders, one or several."""
        return _several(self.path)


def _several(values: str | list[str]) -> tuple[str, ...]:
    return (values,) if isinstance(values, str) else tuple(values)


def _refuse_repeated(key: str, values: tuple[str, ...]) -> None:
    if not values:
        raise ValueError(f"{key}: expected a {key}, or several, found none")
    if repeated := [value for value in values if values.count(value) > 1]:
        raise ValueError(f"{key}: {repeated[0]!r} is there twice")


class Transform(Model):
    """A field's transform before it is standardised: log(x + offset)."""

    kind: Literal["log"] = Field(description="The transform.")
    offset: float = Field(ge=0, description="Added to the field before the logarithm.")


SYSTEMS = extended("lilas.systems", System, systems.OURS, "system")
Source = choice({"simulate": choice(SYSTEMS, "system"), "well": Well, "path": Folder}, "kind")


class States(Model):
    """What a state is: which fields, how transformed."""

    fields: list[str] = Field(min_length=1, description="Fields, in channel order.")
    transform: dict[str, Transform] = Field(
        default={}, description="Transform by field; fields not named are only standardised."
    )

    @model_validator(mode="after")
    def _known_fields(self) -> "States":
        for name in self.transform:
            if name not in self.fields:
                raise ValueError(f"transform names {name!r}, which is not in fields {self.fields}")
        return self


class Augment(Model):
    """The symmetries of the flow that augment the training data."""

    flip: list[str] = Field(default=[], description="Axes to flip at random.")
    roll: list[str] = Field(default=[], description="Periodic axes to roll at random.")
    permute: bool = Field(default=False, description="Permute the axes at random.")
    copies: Positive = Field(
        default=1, description="Augmented encodings of each training trajectory; 1 is none."
    )
    seed: int = Field(default=0, ge=0, description="Seed of the augmented encodings.")


class Evaluation(Model):
    """What the test split is asked."""

    start: int = Field(ge=0, description="Step at which rollouts start (the last context state).")
    horizons: list[tuple[Positive, Positive]] = Field(
        min_length=1, description="Lead times averaged together: [first, last], in solver steps."
    )
    trajectories: Positive | None = Field(
        default=None, description="Test trajectories, drawn with `seed`; null is all of them."
    )
    seed: int = Field(default=0, ge=0, description="Seed of the draw of test trajectories.")
    physics: Literal["convection", "gas"] | None = Field(
        default=None,
        description="Laws that the states obey, and are scored by: `convection` of Rayleigh-Bénard "
        "in free-fall units, `gas` of an ideal gas; null is none.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> "Evaluation":
        for first, last in self.horizons:
            if last < first:
                raise ValueError(f"horizon [{first}, {last}] ends before it begins")
        return self

    @property
    def last(self) -> int:
        """The longest lead time, in solver steps."""
        return max(last for _, last in self.horizons)


class Dataset(Model):
    """One dataset: where it comes from and how it enters the models."""

    source: Source = Field(description="Where the data come from: simulate, well or path.")
    states: States = Field(description="What a state is.")
    label: dict[str, Literal["log", "none"]] = Field(
        default={}, description="Transform of each parameter in the label; others stay raw."
    )
    augment: Augment = Field(default=Augment(), description="Augmentation.")
    stride: Positive = Field(default=1, description="Solver steps between the states of a window.")
    evaluation: Evaluation = Field(description="Rollout start and horizons.")

    def extent(self) -> tuple[list[int], int, int] | None:
        """Returns grid points, steps and channels where the settings alone tell them.

        Raises:
            ValueError: a field is not among those that the system has.
        """
        source = self.source
        if isinstance(source, System):
            refuse_unknown("states.fields", self.states.fields, source.components)
            channels = sum(source.components[field] for field in self.states.fields)
            return list(source.size), source.steps, channels
        if isinstance(source, Well):
            facts = source.facts
            refuse_unknown("states.fields", self.states.fields, facts.fields)
            channels = sum(len(facts.components(field)) for field in self.states.fields)
            return (
                source.size or list(facts.size),
                source.steps or max(facts.steps),
                source.channels or channels,
            )
        return None
