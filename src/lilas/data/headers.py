"""Headers of data files: what each says of itself, in numbers and texts that are kept and compared.

To read one takes milliseconds, and a plan asks for those of all files each time: they are kept in a
file, and read again where a file's size or time has changed.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lilas.data.channels import Channel, Field, select
from lilas.files import atomic

# Of these modules the headers are made: what another version has kept is not taken.
_CODE = ("axes", "channels", "examine", "hdf5", "headers", "layout", "presence")


class Fault(NamedTuple):
    """A line on a file; `field` is the one that it concerns, "" the whole file."""

    path: str
    text: str
    field: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Attributes:
        path: Where it lies.
        bytes: Its size.
        dataset: Name of the dataset.
        grid: Kind of grid.
        axes: Names of the space axes.
        shape: Number of grid points along each space axis.
        trajectories: Number of trajectories.
        steps: Number of states per trajectory.
        time_units: Unit of time.
        intervals: Of its trajectories, the shortest and the longest median interval between states;
            empty where they have one state.
        domain: First and last grid point by axis.
        fields: The fields that vary in time, in the file's order.
        constants: Names of the fields that do not.
        parameters: Lowest and highest value of each constant scalar, in the file's order.
        boundaries: By axis, the kinds of its first and last end.
        axis_units: Units of time and of the space axes, where their datasets give one.
        parameter_units: Units of the parameters, where they give one.
        content: A digest of a few of its bytes, the same in copies.
        starts: A digest of a few values of each trajectory's first and last state; "" where they
            are all alike or would take long to read.
        doubts: What looks wrong and may be right, a line each.
        others: Other files that hold some of its values.
    """

    path: str
    bytes: int
    dataset: str
    grid: str
    axes: Sequence[str]
    shape: Sequence[int]
    trajectories: int
    steps: int
    time_units: str
    intervals: Sequence[float]
    domain: dict[str, Sequence[float]]
    fields: dict[str, Field]
    constants: Sequence[str]
    parameters: dict[str, Sequence[float]]
    boundaries: dict[str, Sequence[str]]
    axis_units: dict[str, str]
    parameter_units: dict[str, str]
    content: str
    starts: Sequence[str]
    doubts: Sequence[str]
    others: Sequence[str]

    def channels(self, fields: Sequence[str] | None) -> tuple[Channel, ...]:
        """Returns the channels that fields or components stand for; None is all of them.

        Raises:
            LilasError: there is no such field.
        """
        return select(Path(self.path), list(self.fields.values()), self.axes, fields)


def identity(file: Any, channels: Sequence[Channel]) -> dict[str, Any]:
    """Returns what the files of a dataset share.

    Args:
        file: A `Header` or a `WellFile`.
        channels: Those of its channels that are used.
    """
    units = {channel.field: file.fields[channel.field].units or "none" for channel in channels}
    axes, parameters = file.axis_units, file.parameter_units
    return {
        "grid": file.grid,
        "space axes": tuple(file.axes),
        "grid shape": tuple(file.shape),
        "time unit": file.time_units,
        "channels": tuple(channel.name for channel in channels),
        "units of the fields": tuple(units.values()),
        "parameters": tuple(file.parameters),
        "units of time and the axes": tuple(
            axes.get(name, "none") for name in ("time", *file.axes)
        ),
        "units of the parameters": tuple(parameters.get(n, "none") for n in file.parameters),
    }


def read_headers(
    paths: Sequence[str], kept: str | Path | None = None
) -> tuple[dict[str, Header], list[Fault]]:
    """Returns the headers of files by path, and what is wrong with those that have none.

    A bar tells how far it is where many files are to be read.

    Args:
        paths: The files.
        kept: File of the headers that were read before; None reads all. It may be missing, damaged
            or not writable.
    """
    known = _load(kept) if kept else {}
    found, faults, missing = {}, [], []
    for path in dict.fromkeys(paths):
        entry = known.get(os.path.abspath(path))
        if entry and entry["stamps"] == _stamps([path, *entry["header"]["others"]]):
            found[path] = _header(entry["header"] | {"path": path})
        else:
            missing.append(path)
    if missing:
        # HDF5 and what it needs take a while to import: not where all is known.
        from lilas.data.examine import examine
        from lilas.progress import progress

        for path in progress(missing, desc="checking data files", unit="file", delay=1):
            header, wrong = examine(path)
            faults += wrong
            if header is not None:
                found[path] = header
                # Faults are looked at again: what they lack may be elsewhere.
                if not wrong and (stamps := _stamps([path, *header.others])) is not None:
                    entry = {"stamps": stamps, "header": asdict(header)}
                    known[os.path.abspath(path)] = entry
        if kept:
            _keep(kept, known)
    return {path: found[path] for path in paths if path in found}, faults


def _header(value: dict[str, Any]) -> Header:
    fields = {name: Field(**held) for name, held in value["fields"].items()}
    return Header(**value | {"fields": fields})


def _stamps(paths: Sequence[str]) -> list[list[int]] | None:
    """Returns the sizes and times of files, None where one is missing."""
    try:
        return [[(stat := os.stat(path)).st_size, stat.st_mtime_ns] for path in paths]
    except OSError:
        return None


def _version() -> str:
    code = b"".join(Path(__file__).with_name(f"{name}.py").read_bytes() for name in _CODE)
    return hashlib.sha256(code).hexdigest()


def _load(kept: str | Path) -> dict[str, Any]:
    try:
        value = json.loads(Path(kept).read_bytes())
        return value["files"] if value["version"] == _version() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _keep(kept: str | Path, known: dict[str, Any]) -> None:
    there = {path: entry for path, entry in known.items() if os.path.exists(path)}
    # Without it the next plan takes longer, and that is all.
    with suppress(OSError), atomic(kept) as part:
        part.write_text(json.dumps({"version": _version(), "files": there}), encoding="utf-8")
