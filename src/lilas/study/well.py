"""What The Well says of its datasets, so that a study need not: the facts lie in `well.yaml`.

This module imports neither torch nor HDF5, so that asking for a name takes milliseconds.
"""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import yaml

# The Well splits its trajectories 8 : 1 : 1; its facts are of the validation split.
SHARES = {"train": 8, "valid": 1, "test": 1}


@dataclass(frozen=True)
class Facts:
    """A dataset of The Well.

    Attributes:
        name: Name in The Well's registry.
        grid: Kind of grid, such as `cartesian`.
        axes: Names of the space axes.
        size: Grid points along each of them.
        fields: Orders of the fields that vary in time, by name: 0 scalar, 1 vector, 2 tensor.
        constant_fields: Those of the fields that do not.
        parameters: Names of the constant scalars, such as a Reynolds number.
        boundaries: Kinds of boundary that occur.
        files: Files of the validation split.
        trajectories: Trajectories of each of them; a single number is of all.
        steps: States of each trajectory, likewise.
    """

    name: str
    grid: str
    axes: tuple[str, ...]
    size: tuple[int, ...]
    fields: dict[str, int]
    constant_fields: dict[str, int]
    parameters: tuple[str, ...]
    boundaries: tuple[str, ...]
    files: int
    trajectories: tuple[int, ...]
    steps: tuple[int, ...]

    def components(self, field: str) -> list[str]:
        """Returns the names of a field's components."""
        return component_names(field, self.fields[field], self.axes)

    @property
    def states(self) -> int:
        """States of the validation split, as far as the facts are right."""
        trajectories, steps = (
            values * self.files if len(values) == 1 else values
            for values in (self.trajectories, self.steps)
        )
        return sum(map(math.prod, zip(trajectories, steps, strict=True)))

    @property
    def state_bytes(self) -> int:
        """Bytes of a state of all fields, in float32."""
        channels = sum(len(self.components(field)) for field in self.fields)
        return 4 * channels * math.prod(self.size)


def component_names(field: str, order: int, axes: Sequence[str]) -> list[str]:
    """Returns the names of a field's components, as the_well's: `velocity_x`, `C_xy`."""
    indices = product(axes, repeat=order)
    return [f"{field}_{''.join(one)}" if one else field for one in indices]


@cache
def well_facts() -> dict[str, Facts]:
    """Returns what The Well says of its datasets, by name."""
    text = Path(__file__).with_name("well.yaml").read_text(encoding="utf-8")
    return {name: Facts(name, **_plain(entry)) for name, entry in yaml.safe_load(text).items()}


def _plain(entry: dict) -> dict:
    """Returns an entry with its lists as tuples; a single count is a list of one."""
    counts = {key: entry[key] for key in ("trajectories", "steps")}
    counts = {key: [n] if isinstance(n, int) else n for key, n in counts.items()}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in (entry | counts).items()}


def find_facts(names: Sequence[str]) -> tuple[Facts, ...]:
    """Returns the facts of datasets that are used together.

    Raises:
        ValueError: The Well has no such dataset, or they do not hold states of one kind.
    """
    known = well_facts()
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"The Well has no {name!r}{hint}; `lilas datasets` lists them")
    first, *others = (known[name] for name in names)
    for other in others:
        for what in ("grid", "axes", "size", "fields", "parameters", "steps"):
            mine, theirs = getattr(first, what), getattr(other, what)
            if theirs != mine:
                raise ValueError(
                    f"joined datasets must agree, and {other.name} has {what} {_text(theirs)}, "
                    f"{first.name} {_text(mine)}"
                )
    return first, *others


def _text(values: str | Sequence[str | int] | dict[str, int]) -> str:
    return values if isinstance(values, str) else ", ".join(map(str, values)) or "none"
