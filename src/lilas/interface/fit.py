"""Whether the dimensions and units of a user's states are those of a model."""

from collections.abc import Mapping
from dataclasses import asdict
from keyword import iskeyword
from typing import Any

import xarray as xr

from lilas.data.about import About
from lilas.data.roles import TRAJECTORIES
from lilas.data.units import differ, known_units, plain
from lilas.errors import LilasError

# Leading dimensions of states, in order.
TRAJECTORY, TIME = "trajectory", "time"


def check_dims(dataset: xr.Dataset, about: About) -> None:
    """Refuses states that lack a space axis, or have a dimension that is none of the model's.

    Raises:
        LilasError: which, and how it is renamed.
    """
    allowed = (TRAJECTORY, TIME, *about.axes)
    dims = list(map(str, dataset.dims))
    others = sorted(name for name in dims if name not in allowed)
    if missing := [name for name in about.axes if name not in dims]:
        old = others[0] if len(others) == 1 else "NAME"
        raise LilasError(
            f"states: without the space axis {missing[0]!r}; the model's are "
            f"{', '.join(about.axes)}, the dimensions found are {', '.join(dims) or 'none'}; "
            f"{renaming({old: missing[0]})}"
        )
    if others:
        raise LilasError(
            f"states: the dimension {others[0]!r} is none of the model's; "
            f"allowed: {', '.join(allowed)}; {_renamed(others, dims)}"
        )


def _renamed(others: list[str], dims: list[str]) -> str:
    """Returns what to call dimensions that a model does not know, as far as names are free."""
    free = [name for name in (TIME, TRAJECTORY) if name not in dims]
    if len(others) > len(free):
        return f"choose one state along it: .isel({others[0]}=0)"
    # What is called as trajectories are is one of them.
    others = sorted(others, key=lambda name: (name.lower() in TRAJECTORIES, name))
    if others[0].lower() in TRAJECTORIES and TRAJECTORY in free:
        free.reverse()
    return renaming(dict(zip(others, free, strict=False)))


def renaming(names: Mapping[str, str]) -> str:
    """Returns how variables and dimensions are renamed, in Python and from the shell."""
    plainly = all(old.isidentifier() and not iskeyword(old) for old in names)
    pairs = ", ".join(f"{old}={new!r}" for old, new in names.items())
    told = pairs if plainly else f"{dict(names)}"
    options = " ".join(f"{old}={new}" for old, new in names.items())
    return f"rename it: .rename({told}), or --rename {options} of `lilas rollout`"


def check_units(dataset: xr.Dataset, about: About) -> None:
    """Refuses channels and coordinates in other units than those of the training.

    Raises:
        LilasError: which, both units, and what to do.
    """
    known = known_units(asdict(about))
    for name, unit in (known["channels"] | known["axes"]).items():
        if name in dataset.variables:
            check_unit("states", name, dataset[name], unit)


def check_unit(what: str, name: str, values: Any, known: str) -> None:
    """Refuses values with an attribute `units` that is not what a model knows, where it does.

    Args:
        what: Of what they are, as errors begin.
        name: Of the values.
        values: Variable of xarray, or values without attributes.
        known: The model's unit.

    Raises:
        LilasError: both units, and what to do.
    """
    found = getattr(values, "attrs", {}).get("units")
    if differ(known, found):
        raise LilasError(
            f"{what}: {name} is in {plain(found)}, and the model was trained with {plain(known)}; "
            f"convert it, or, where both are one, drop its attribute `units` (from the shell: "
            f"--unit {name}='{plain(known)}')"
        )


def check_decoded(what: str, name: str, values: Any) -> None:
    """Refuses numbers that xarray has taken for dates or durations, which count nanoseconds.

    Raises:
        LilasError: how they are opened as the numbers that they are.
    """
    if getattr(values, "dtype", None) is not None and values.dtype.kind in "mM":
        raise LilasError(
            f"{what}: {name} holds dates or durations, and the model takes numbers; open the file "
            "with decode_times=False, or give the numbers in its unit"
        )
