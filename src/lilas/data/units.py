"""Units: text that is compared, and converts nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from lilas.data.channels import Channel

# What files say that name no unit of time.
_UNKNOWN = ("", "unspecified")


def plain(unit: Any) -> str:
    """Returns a unit as it is compared; of dates, whose numbers count from some day, that alone."""
    return str("" if unit is None else unit).split(" since ")[0].strip()


def differ(one: Any, other: Any) -> bool:
    """Returns whether two units are known, and are not the same text."""
    one, other = plain(one), plain(other)
    return one != other and not {one, other} & {*_UNKNOWN}


def units_of(file: Any, channels: Sequence[Channel]) -> dict[str, dict[str, str]]:
    """Returns the units of a file's channels, axes (with `time`) and parameters, by their names.

    Args:
        file: A header or an opened file.
        channels: Those of its channels that are used.
    """
    return {
        "channels": {channel.name: file.fields[channel.field].units for channel in channels},
        "axes": {"time": file.time_units}
        | {name: file.axis_units.get(name, "") for name in file.axes},
        "parameters": {name: file.parameter_units.get(name, "") for name in file.parameters},
    }


def known_units(about: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Returns the units that a model knows, as `units_of` has them of a file.

    Args:
        about: What it knows of its data, as `lilas.data.about.About` has it.
    """
    found = {
        kind: {name: known["units"] for name, known in about[kind].items()}
        for kind in ("channels", "axes", "parameters")
    }
    return found | {"axes": {"time": about["time_units"]} | found["axes"]}
