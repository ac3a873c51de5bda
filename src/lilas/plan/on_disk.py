"""Data files that exist before a run: all of them are checked, and the study against them."""

import sys
from itertools import chain
from pathlib import Path

from lilas.data.check import Checked, check_expected, check_files
from lilas.data.headers import Header
from lilas.data.units import units_of
from lilas.errors import LilasError
from lilas.settings import refuse_unknown
from lilas.study.datasets import Folder
from lilas.study.extent import Extent
from lilas.study.study import Study
from lilas.study.tasks import expected

# Warnings of a dataset that a plan prints; `lilas check` tells all.
MOST = 3


def check_on_disk(
    study: Study, files: dict[str, dict[str, list[str]]], kept: str | Path | None = None
) -> dict[str, Extent]:
    """Checks the data files that exist, in all splits, and the study against them.

    Warnings go to standard error. Returns what the files of a dataset tell where all are there.

    Args:
        study: The study.
        files: Files by dataset and split, whether or not they exist.
        kept: File of the headers that were read before; None reads all.

    Raises:
        LilasError: a file is broken or of another kind than the others, or the study asks for what
            the data do not have.
    """
    found = {}
    for name, entry in study.datasets.items():
        there = {
            split: [path for path in paths if isinstance(entry.source, Folder) or _is_there(path)]
            for split, paths in files[name].items()
        }
        if not any(there.values()):
            continue
        checked = check_files(there, entry.states.fields, kept)
        where = _folder(there)
        checked.refuse(where)
        _warn(checked, where)
        if (wanted := expected(entry)) is not None:
            for header in chain(*checked.headers.values()):
                check_expected(header, header.channels(entry.states.fields), wanted)
        if there == files[name]:
            found[name] = extent_of(checked.headers, entry.states.fields)
            _check_study(study, name, found[name], checked.headers)
    return found


def _is_there(path: str) -> bool:
    return Path(path).is_file()


def _folder(files: dict[str, list[str]]) -> str:
    """Returns the folder of a dataset, whose files lie in data/SPLIT."""
    return str(Path(next(path for its in files.values() for path in its)).parents[2])


def _warn(checked: Checked, where: str) -> None:
    for doubt in checked.doubts[:MOST]:
        print(f"warning: {doubt}", file=sys.stderr)
    if len(checked.doubts) > MOST:
        more = len(checked.doubts) - MOST
        print(f"warning: {more} more: `lilas check {where}` tells all.", file=sys.stderr)


def extent_of(headers: dict[str, list[Header]], fields: list[str]) -> Extent:
    """Returns what the files of a dataset's splits tell, of the fields that are used."""
    train = headers["train"]
    first = train[0]
    channels = first.channels(fields)
    return Extent(
        size=first.shape,
        channels=[channel.name for channel in channels],
        steps={split: min(header.steps for header in its) for split, its in headers.items()},
        trajectories={
            split: sum(header.trajectories for header in its) for split, its in headers.items()
        },
        axes=first.axes,
        boundaries={
            axis: {kind for header in train for kind in header.boundaries[axis]}
            for axis in first.axes
        },
        parameters=tuple(first.parameters),
        grid=first.grid,
        values={
            name: {value for header in train for value in header.parameters[name]}
            for name in first.parameters
        },
        units=units_of(first, channels),
    )


def _check_study(study: Study, name: str, extent: Extent, headers: dict[str, list[Header]]) -> None:
    """Refuses settings that do not fit the files of a dataset, which are all there."""
    entry, where = study.datasets[name], f"datasets.{name}"
    try:
        study.check_extent(name, extent)
        known = dict.fromkeys([*entry.states.fields, *extent.channels])
        refuse_unknown(f"{where}.states.transform", entry.states.transform, known)
    except ValueError as error:
        raise LilasError(str(error)) from None
    for header in chain(*headers.values()):
        for parameter, transform in entry.label.items():
            lowest = header.parameters[parameter][0]
            if transform == "log" and lowest <= 0:
                raise LilasError(
                    f"{where}.label.{parameter}: it is {lowest:g} in {header.path}, which has no "
                    "logarithm; allowed: none"
                )
