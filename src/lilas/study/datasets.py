"""The section `datasets` of a study."""

import math
import os
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lilas import systems
from lilas.settings import Model, choice, extended, listed, refuse_unknown, several
from lilas.settings.values import (
    Distinct,
    Natural,
    PathText,
    Positive,
    Seed,
    Text,
    Width,
    shown,
)
from lilas.study.extent import Extent
from lilas.study.laws import LawName
from lilas.study.well import Facts, component_names, find_facts
from lilas.systems.base import SPLITS, System

FilesBySplit = dict[Literal["train", "valid", "test"], Positive]


class Well(Model):
    """A dataset of The Well, or several joined, downloaded file by file from its own registry.

    What The Well says of its grid, fields, parameters and steps is known (`lilas datasets`).
    """

    kind: Literal["well"] = Field(description="The Well has it.")
    name: several(Text) = Field(
        description="Name in The Well's registry, or names of datasets that are used as one."
    )
    size: list[Width] | None = Field(
        default=None,
        min_length=1,
        description="Grid points along each axis, where The Well's facts are wrong.",
    )
    steps: Positive | None = Field(
        default=None, description="States per trajectory, likewise; files must agree."
    )
    channels: Positive | None = Field(
        default=None, description="Channels of the fields used, likewise; files must agree."
    )
    include: Distinct[Text] = Field(
        default=[], description="Keep only files whose name contains one of these; [] keeps all."
    )
    files: FilesBySplit = Field(
        default={},
        description="Number of files to use of each split, such as {train: 10}: the first by name; "
        "a split not named keeps all. Of several datasets, of each.",
    )

    @model_validator(mode="after")
    def _known(self) -> "Well":
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
    path: several(PathText) = Field(
        description="Folder that holds data/{train,valid,test}/*.hdf5, or folders used as one; `~` "
        "and variables such as `$SCRATCH` stand for what they name."
    )
    include: Distinct[Text] = Field(
        default=[], description="Keep only files whose name contains one of these; [] keeps all."
    )
    files: FilesBySplit = Field(
        default={},
        description="Number of files to use of each split, such as {train: 10}: the first by name; "
        "a split not named keeps all. Of several datasets, of each.",
    )

    @model_validator(mode="after")
    def _apart(self) -> "Folder":
        places: dict[str, str] = {}
        for path in self.paths:
            if (other := places.setdefault(os.path.realpath(path), path)) != path:
                raise ValueError(f"path: {path!r} and {other!r} are one folder; allowed: once")
        return self

    @property
    def paths(self) -> tuple[str, ...]:
        """The folders, one or several."""
        return _several(self.path)


def _several(values: str | list[str]) -> tuple[str, ...]:
    return (values,) if isinstance(values, str) else tuple(values)


class LogTransform(Model):
    """A transform before standardisation, log(x + offset)."""

    kind: Literal["log"] = Field(description="The logarithm, of what is above -offset.")
    offset: float = Field(ge=0, le=1e150, description="Added to the field, in its unit.")


class ArcsinhTransform(Model):
    """A transform before standardisation, arcsinh(x / scale)."""

    kind: Literal["arcsinh"] = Field(
        description="Linear for values below the scale, logarithmic above; of both signs."
    )
    scale: float = Field(ge=1e-150, le=1e150, description="In the field's unit.")


Transform = choice([LogTransform, ArcsinhTransform], "kind")
SYSTEMS = extended("lilas.systems", System, systems.OURS, "system")
Source = choice({"simulate": choice(SYSTEMS, "system"), "well": Well, "path": Folder}, "kind")


class States(Model):
    """What a state is: which fields, how transformed.

    Fields and transforms may name single components of a vector or a tensor, such as `velocity_x`
    or `C_xy`. A tensor that its file calls symmetric has each of its components once.
    """

    fields: Distinct[Text] = Field(
        min_length=1, description="Fields, or single components of them, in channel order."
    )
    transform: dict[str, Transform] = Field(
        default={},
        description="Transform by field or component, whose own comes first; what is not named is "
        "only standardised.",
    )

    @model_validator(mode="after")
    def _known_fields(self) -> "States":
        for name in self.transform:
            # Which components there are is known with the axes.
            if not any(name == field or name.startswith(f"{field}_") for field in self.fields):
                raise ValueError(
                    f"transform names {shown(name)}, which is not in fields; allowed: "
                    f"{listed(self.fields)}"
                )
        return self


class Augment(Model):
    """The symmetries of the flow that augment the training data."""

    flip: Distinct[Text] = Field(default=[], description="Axes to flip at random.")
    roll: Distinct[Text] = Field(
        default=[], description="Axes to roll at random, where a file has them periodic."
    )
    permute: bool = Field(default=False, description="Permute the axes at random.")
    copies: Positive = Field(
        default=1, description="Augmented encodings of each training trajectory; 1 is none."
    )
    seed: Seed = Field(default=0, description="Seed of the augmented encodings.")


Horizon = Annotated[tuple[Positive, Positive], Field(strict=False)]


class Evaluation(Model):
    """What the test split is asked."""

    start: Natural = Field(description="Step at which rollouts start (the last context state).")
    horizons: Distinct[Horizon] = Field(
        min_length=1, description="Lead times averaged together: [first, last], in solver steps."
    )
    trajectories: Positive | None = Field(
        default=None, description="Test trajectories, drawn with `seed`; null is all of them."
    )
    seed: Seed = Field(default=0, description="Seed of the draw of test trajectories.")
    physics: LawName | None = Field(
        default=None,
        description="Laws that the states obey, and are scored by: `convection` of Rayleigh-Bénard "
        "in free-fall units, `gas` of an ideal gas; null is none.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> "Evaluation":
        for first, last in self.horizons:
            if last < first:
                raise ValueError(
                    f"horizons: [{first}, {last}] ends before it begins; allowed: [first, last]"
                )
        for one, other in combinations(sorted(self.horizons), 2):
            if other[0] <= one[1]:
                raise ValueError(
                    f"horizons: {list(one)} and {list(other)} overlap; allowed: lead times that "
                    "belong to one horizon"
                )
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
    units: dict[str, Text] = Field(
        default={},
        description="Units of fields, components and axes, in place of the files': of tables, "
        "figures and frames.",
    )
    evaluation: Evaluation = Field(description="Rollout start and horizons.")

    def extent(self) -> Extent | None:
        """Returns what is known of the data before they are there; None where nothing is.

        Of a symmetric tensor, whose file says that it is one, its channels are more than there will
        be.

        Raises:
            ValueError: a field, or what a transform names, is not among those that there are, or
                has no logarithm.
        """
        source = self.source
        if isinstance(source, System):
            axes = source.axes
            orders = {
                name: next(order for order in range(3) if len(axes) ** order == count)
                for name, count in source.components.items()
            }
            channels = self._channels(orders, axes)
            self._check_logarithms(source)
            return Extent(
                size=source.size,
                channels=channels,
                steps=dict.fromkeys(SPLITS, source.steps),
                trajectories={split: source.count(split) for split in SPLITS},
                axes=axes,
                boundaries=source.boundary_kinds,
                parameters=source.parameters,
                values=source.parameter_values,
            )
        if isinstance(source, Well):
            facts = source.facts
            return Extent(
                size=source.size or facts.size,
                channels=self._channels(facts.fields, facts.axes),
                # Of trajectories and steps The Well's facts are not always right.
                steps=dict.fromkeys(SPLITS, source.steps or max(facts.steps)),
                trajectories={},
                axes=facts.axes,
                boundaries=_boundaries(find_facts(source.names)),
                parameters=facts.parameters,
                grid=facts.grid,
            )
        return None

    def _channels(self, orders: Mapping[str, int], axes: Sequence[str]) -> list[str]:
        """Returns the names of the channels, of fields of these orders."""
        states = self.states
        named = {field: component_names(field, order, axes) for field, order in orders.items()}
        single = {name for names in named.values() for name in names}
        unknown = [name for name in states.fields if name not in named and name not in single]
        refuse_unknown("states.fields", unknown, named)
        channels = [name for field in states.fields for name in named.get(field, [field])]
        if twice := [name for name in channels if channels.count(name) > 1]:
            raise ValueError(f"states.fields: {twice[0]!r} is there twice")
        known = dict.fromkeys([*states.fields, *channels])
        refuse_unknown("states.transform", states.transform, known)
        return channels

    def _check_logarithms(self, system: System) -> None:
        """Refuses the logarithm of a field that a simulation makes with values that have none."""
        for name, transform in self.states.transform.items():
            field = name if name in system.components else name.rpartition("_")[0]
            where, lowest = f"states.transform.{name}", system.lowest.get(field, math.inf)
            if transform.kind != "log":
                continue
            if lowest == -math.inf:
                raise ValueError(
                    f"{where}.kind log: {field} takes both signs, so it has no logarithm; allowed: "
                    "arcsinh"
                )
            if lowest + transform.offset <= 0:
                raise ValueError(
                    f"{where}.offset {transform.offset:g}: {field} is {lowest:g} somewhere; "
                    f"allowed: more than {0 - lowest:g}"
                )


def _boundaries(joined: Sequence[Facts]) -> dict[str, set[str]]:
    """Returns the boundaries by axis where The Well's, of all axes together, tell those of each."""
    kinds = [set(facts.boundaries) for facts in joined]
    if any("periodic" in one and len(one) > 1 for one in kinds):
        return {}
    return dict.fromkeys(joined[0].axes, set().union(*kinds))
