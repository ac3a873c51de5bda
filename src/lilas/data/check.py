"""The check of a dataset's files: each by itself, then all of all splits with each other.

What the files of a split share, all splits share: a label, a channel or an axis means the same in
training and in test. Times, grid points and numbers of steps belong to trajectories; where they
differ between splits that are else alike, that is told and not refused.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from lilas.data.channels import Channel, is_used
from lilas.data.headers import Fault, Header, identity, read_headers
from lilas.errors import LilasError, broken
from lilas.study.tasks import Expected

# What differs wherever something else does.
FOLLOWING = {
    "space axes": ("grid shape", "channels", "units of time and the axes"),
    "parameters": ("units of the parameters",),
}
KEEP_ALIKE = "Files of one dataset, in all its splits, are of one kind."
# Intervals and domains that differ by less are taken as one.
TOLERANCE = 0.1


@dataclass(frozen=True)
class Checked:
    """What a check has found.

    Attributes:
        headers: Of the files that could be read, by split.
        faults: What is wrong, a line each; such files are not used.
        doubts: What looks wrong and may be right, a line each.
    """

    headers: dict[str, list[Header]]
    faults: list[Fault]
    doubts: list[Fault]

    def refuse(self, where: str) -> None:
        """Refuses files with faults: the first, and how many more `lilas check` tells.

        Raises:
            LilasError: there is a fault.
        """
        if self.faults:
            more = len(self.faults) - 1
            told = f" And {more} more: `lilas check {where}` tells all." if more else ""
            raise LilasError(f"{self.faults[0]}{told}")


def check_files(
    files: Mapping[str, Sequence[str]],
    fields: Sequence[str] | None = None,
    kept: str | Path | None = None,
) -> Checked:
    """Checks the files of a dataset's splits.

    Args:
        files: Files by split; the first of the first split is what others are compared with.
        fields: Fields that are used; None is all.
        kept: File of the headers that were read before, as `read_headers` has it.
    """
    paths = [path for split in files.values() for path in split]
    read, wrong = read_headers(paths, kept)
    faults = [fault for fault in wrong if not fault.field or is_used(fault.field, fields)]
    known = [read[path] for path in dict.fromkeys(paths) if path in read]
    if fields is None and known:
        fields = list(known[0].fields)
    unfit = {fault.path for fault in faults}
    channels: dict[str, tuple[Channel, ...]] = {}
    for header in known:
        if header.path not in unfit:
            try:
                channels[header.path] = header.channels(fields)
            except LilasError as error:
                text = str(error).removeprefix(f"{header.path}: ")
                faults.append(Fault(header.path, text))
    fit = [header for header in known if header.path in channels]
    for other in fit[1:]:
        faults += disagreements(fit[0], other, channels[fit[0].path], channels[other.path])
    headers = {
        split: [read[path] for path in its if path in channels] for split, its in files.items()
    }
    doubts = [Fault(header.path, doubt) for header in fit for doubt in header.doubts]
    return Checked(headers, faults, doubts + _doubts(headers))


def disagreements(
    first: Any, other: Any, mine: Sequence[Channel], theirs: Sequence[Channel]
) -> list[Fault]:
    """Returns where a file is of another kind than the first.

    What follows from other axes or parameters is not told again.

    Args:
        first: A header or an opened file.
        other: Another.
        mine: Channels that are used of the first.
        theirs: Channels that are used of the other.
    """
    wanted, found = identity(first, mine), identity(other, theirs)
    told = {
        what for cause, its in FOLLOWING.items() if wanted[cause] != found[cause] for what in its
    }
    return [
        Fault(
            str(other.path),
            f"expected the {what} of {first.path}, {wanted[what]}, found {found[what]}. "
            f"{KEEP_ALIKE}",
        )
        for what in wanted
        if wanted[what] != found[what] and what not in told
    ]


def check_expected(file: Any, channels: Sequence[Channel], expected: Expected) -> None:
    """Refuses a file that lacks what a study relies on.

    Args:
        file: A header or an opened file.
        channels: Those of its channels that are used.
        expected: What is relied on.

    Raises:
        LilasError: its grid, fields, parameters, steps or channels are others than those that the
            study was planned with.
    """
    orders = {channel.field: channel.order for channel in channels}
    say = "If the file is right, say so in the dataset's source.{}."
    for what, wanted, found, action in (
        ("grid points along each axis", expected.size, list(file.shape), say.format("size")),
        ("orders of the fields", expected.orders, orders, "Take them out of states.fields."),
        ("steps", expected.steps, file.steps, say.format("steps")),
        ("channels", expected.channels, len(channels), say.format("channels")),
    ):
        if wanted is not None and found != wanted:
            raise broken(file.path, f"{what}: {wanted}", f"{found}", action)
    if missing := [name for name in expected.parameters if name not in file.parameters]:
        found = ", ".join(file.parameters) or "none"
        action = "Take it out of the dataset's label."
        raise broken(file.path, f"the parameter {missing[0]}", found, action)


def _doubts(headers: Mapping[str, list[Header]]) -> list[Fault]:
    """Returns what differs between splits and may be meant, and what is there twice."""
    ours = {split: its for split, its in headers.items() if its}
    found = []
    for one, two in combinations(ours, 2):
        first, second = ours[one][0], ours[two][0]
        for what, values in _spans(first, second, ours[one], ours[two]):
            told = f"{what} {values[1]:g}, and {values[0]:g} in {first.path} of the split {one}"
            found.append(Fault(second.path, told))
        for name in [name for name in first.fields if name in second.fields]:
            types = first.fields[name].dtype, second.fields[name].dtype
            if types[0] != types[1]:
                told = f"{name} is {types[1]}, and {types[0]} in {first.path}"
                found.append(Fault(second.path, told))
    return found + _copies(headers)


def _spans(
    first: Header, second: Header, ours: list[Header], theirs: list[Header]
) -> Iterable[tuple[str, tuple[float, float]]]:
    """Yields what is of one length within two splits and of another between them.

    A length along an axis is negative where the coordinate falls: there, states are mirrored.
    """
    lengths = {"states lie apart by": _interval} | {
        f"the domain's length along {axis} is": lambda file, axis=axis: _length(file, axis)
        for axis in first.axes
        if axis in second.domain
    }
    for what, length in lengths.items():
        spans = [_span(length(file) for file in its) for its in (ours, theirs)]
        inside = all(span and _near(*span) for span in spans)
        if inside and not _near(spans[0][0], spans[1][0]):
            yield what, (spans[0][0], spans[1][0])


def _span(values: Iterable[tuple[float, float] | None]) -> tuple[float, float] | None:
    known = [value for value in values if value]
    return (min(v[0] for v in known), max(v[1] for v in known)) if known else None


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= TOLERANCE * max(abs(a), abs(b))


def _interval(file: Header) -> tuple[float, float] | None:
    return tuple(file.intervals) or None


def _length(file: Header, axis: str) -> tuple[float, float]:
    first, last = file.domain[axis]
    return (last - first,) * 2


def _copies(headers: Mapping[str, list[Header]]) -> list[Fault]:
    """Returns a line for each file that is another's copy, or has a trajectory of another."""
    seen: dict[str, tuple[str, Header, int | None]] = {}
    found = []
    for split, its in headers.items():
        for header in its:
            keys = [(None, header.content), *enumerate(header.starts)]
            places = [(row, seen.setdefault(key, (split, header, row))) for row, key in keys if key]
            for row, (whose, other, place) in places:
                if other is not header or place != row:
                    found.append(Fault(header.path, _copy(row, whose, other, place, split)))
                    break
    return found


def _copy(row: int | None, whose: str, other: Header, place: int | None, split: str) -> str:
    mine = "it is a copy of" if row is None else f"its trajectory {row} begins and ends like that"
    theirs = other.path if place is None else f"{place} of {other.path}"
    risk = "" if whose == split else f" in the split {whose}: its scores would be of known states"
    return f"{mine} {theirs}{risk}"
