"""Channels of a state: which components of which fields, and what they are called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from lilas.errors import LilasError, broken

if TYPE_CHECKING:
    import numpy as np

# How far two components may differ that are one, as a part of the largest: solvers round.
SYMMETRY_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Field:
    """A field that varies in time.

    Attributes:
        name: Its name.
        order: 0 scalar, 1 vector, 2 tensor.
        symmetry: Of a tensor, 1 where it is symmetric, -1 where it is antisymmetric, as the file
            says; else 0.
        dtype: Type of its numbers in the file.
        units: Its unit, where the file gives one.
    """

    name: str
    order: int
    symmetry: int = 0
    dtype: str = "float32"
    units: str = ""


@dataclass(frozen=True)
class Channel:
    """One channel of a state: a scalar field, or one component of a vector or tensor field.

    Attributes:
        field: Name of the field.
        order: Order of the field: 0 scalar, 1 vector, 2 tensor.
        axes: Space axes of the component, one index per order.
        dims: Names of those axes.
        symmetry: Sign of the component with its axes exchanged: 1 or -1 of a symmetric or
            antisymmetric tensor; 0 where they have nothing to do with each other.
    """

    field: str
    order: int
    axes: tuple[int, ...]
    dims: tuple[str, ...]
    symmetry: int = 0

    @property
    def name(self) -> str:
        """Name of the channel, as the_well's: `buoyancy`, `velocity_x`, `stress_xy`."""
        return f"{self.field}_{''.join(self.dims)}" if self.dims else self.field


def unit_of(channel: Channel, fields: Mapping[str, Field], given: Mapping[str, str]) -> str:
    """Returns the unit of a channel: one that is given, of itself or its field, or the file's."""
    return given.get(channel.name, given.get(channel.field, fields[channel.field].units))


def components(field: Field, dims: Sequence[str]) -> list[Channel]:
    """Returns all components of a field on the axes `dims`."""
    return [
        Channel(field.name, field.order, axes, tuple(dims[axis] for axis in axes), field.symmetry)
        for axes in product(range(len(dims)), repeat=field.order)
    ]


def is_used(field: str, names: Sequence[str] | None) -> bool:
    """Whether names, of fields or of single components, ask for a field; None asks for all."""
    return names is None or any(name == field or name.startswith(f"{field}_") for name in names)


def is_independent(channel: Channel) -> bool:
    """Whether a component is kept of a whole field: of an xy and a yx that are one, it is xy.

    An antisymmetric tensor has no diagonal either, which is zero.
    """
    if channel.symmetry == 0:
        return True
    first, second = channel.axes
    return first < second or (first == second and channel.symmetry == 1)


def select(
    path: Path, fields: Sequence[Field], dims: Sequence[str], names: Sequence[str] | None
) -> tuple[Channel, ...]:
    """Returns the channels that names stand for: fields, each with its independent components.

    Args:
        path: The file that holds the fields.
        fields: Those that it has.
        dims: Names of the space axes.
        names: Of fields or of single components, in channel order; None is every field.

    Raises:
        LilasError: there is no such field or component, or one is named twice.
    """
    known = {field.name: field for field in fields}
    single = {channel.name: channel for field in fields for channel in components(field, dims)}
    chosen = tuple(known) if names is None else tuple(names)
    if missing := [name for name in chosen if name not in known and name not in single]:
        raise broken(
            path,
            f"the fields {', '.join(missing)}, varying in time",
            f"only {', '.join(known) or 'none'}",
            "Correct the fields in states, or take a file that holds them.",
        )
    channels: list[Channel] = []
    for name in chosen:
        if name in known:
            channels += filter(is_independent, components(known[name], dims))
        else:
            channels.append(single[name])
    if not channels or len(set(channels)) < len(channels):
        raise LilasError(f"{path}: asked for the fields {chosen}; name each field once")
    return tuple(channels)


def check_symmetry(path: Path, channels: Sequence[Channel], values: "np.ndarray") -> None:
    """Refuses a tensor that is not as symmetric as its file says, where channels rely on it.

    Args:
        path: The file.
        channels: Those of the tensor.
        values: The tensor (time, *space, axis, axis).

    Raises:
        LilasError: a component that is no channel is not what the channel in its place is.
    """
    # A plan, which asks for names alone, does not wait for it.
    import numpy as np

    own = {channel.axes: channel for channel in channels}
    symmetry = channels[0].symmetry
    pairs = [(axes, axes[::-1]) for axes in own if symmetry and axes[::-1] not in own]
    if symmetry == -1 and all(first != second for first, second in own):
        pairs += [((axis, axis), (axis, axis)) for axis in range(values.shape[-1])]
    allowed = SYMMETRY_TOLERANCE * np.abs(values).max(initial=0.0) if pairs else 0.0
    for axes, mirrored in pairs:
        if (np.abs(values[(..., *axes)] - symmetry * values[(..., *mirrored)]) > allowed).any():
            name = channels[0].field
            kind = "symmetric" if symmetry == 1 else "antisymmetric"
            raise broken(
                path,
                f"{name} to be {kind}, as its attribute says",
                f"axes {axes} and {mirrored} that differ",
                f"Correct the attribute, or name every component of {name} in states.fields.",
            )
