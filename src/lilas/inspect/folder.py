"""A folder of data checked, in lines: what it holds, and all that is wrong with it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from lilas.data.check import Checked, check_files
from lilas.data.headers import Fault, Header
from lilas.data.registry import SUFFIXES, data_in, in_place_of_data
from lilas.display import aligned, measured
from lilas.errors import broken
from lilas.systems.base import SPLITS

# Files that a line names of those with the same fault.
NAMED = 3


@dataclass(frozen=True)
class Folder:
    """What a check of a folder tells.

    Attributes:
        lines: What to print.
        faults: Number of faults.
        files: Number of files that have one.
    """

    lines: list[str]
    faults: int
    files: int


def check_folder(folder: Path, states: bool = False) -> Folder:
    """Checks the data files of a folder.

    Args:
        folder: A dataset's folder, which holds data/{train,valid,test}; its folder `data`; a folder
            of files; or a file.
        states: Whether to read all states as well.

    Raises:
        LilasError: there is nothing there.
    """
    files, faults = _files(folder)
    checked = check_files({split: list(map(str, its)) for split, its in files.items()})
    faults += checked.faults
    doubts = checked.doubts + _unread(files, checked)
    ranges: list[str] = []
    if states:
        # It needs torch, which takes seconds to import.
        from lilas.inspect.survey import survey

        ranges, wrong, doubtful = survey(list(chain(*checked.headers.values())))
        faults += wrong
        doubts += doubtful
    lines = [*_summary(folder, files, checked), *ranges]
    for title, told in (("Faults", faults), ("Warnings", doubts)):
        lines += ["", f"{title}: {len(told) or 'none'}", *_grouped(told, folder)]
    return Folder(lines, len(faults), len({fault.path for fault in faults}))


def _files(folder: Path) -> tuple[dict[str, list[Path]], list[Fault]]:
    """Returns the data files of a folder by split, and what is wrong with its layout."""
    if folder.is_file():
        return {"file": [folder]}, []
    if not folder.is_dir():
        raise broken(folder, "a folder of data", "nothing", "Correct the path.")
    root = folder / "data" if (folder / "data").is_dir() else folder
    if not any((root / split).is_dir() for split in SPLITS) and data_in(root):
        missing = "expected the folders data/train, data/valid and data/test, found files alone."
        action = "Sort them into the three: a study trains, validates and tests on them."
        return {"files": data_in(root)}, [Fault(str(folder), f"{missing} {action}")]
    faults, files = [], {}
    for split in SPLITS:
        place = root / split
        files[split] = data_in(place)
        if not files[split]:
            missing = "none" if place.is_dir() else "no such folder"
            found, action = in_place_of_data(place) or (missing, "Put the split there.")
            text = f"expected HDF5 files (*.hdf5, *.h5), found {found}. {action}"
            faults.append(Fault(str(place), text))
    others = in_place_of_data(folder, root, *(root / split for split in SPLITS))
    if others and not any(files.values()):
        text = "expected HDF5 files (*.hdf5, *.h5) in data/train, data/valid and data/test, found"
        return files, [Fault(str(folder), f"{text} {others[0]}. {others[1]}")]
    return files, faults


def _unread(files: dict[str, list[Path]], checked: Checked) -> list[Fault]:
    """Returns what lies beside data files and is none, nor holds values of one."""
    read = {Path(path) for its in checked.headers.values() for one in its for path in one.others}
    read |= {path for its in files.values() for path in its}
    folders = dict.fromkeys(path.parent for its in files.values() for path in its)
    text = f"is not read: data files end in {' or '.join(SUFFIXES)}"
    return [
        Fault(str(path), text)
        for folder in folders
        for path in sorted(folder.iterdir())
        if len(files) > 1 and path not in read and not path.name.startswith(".")
    ]


def _summary(folder: Path, files: dict[str, list[Path]], checked: Checked) -> list[str]:
    rows = [["split", "files", "trajectories", "steps", "GB"]]
    for split, its in checked.headers.items():
        steps = sorted({header.steps for header in its})
        rows.append(
            [
                *(split, str(len(files[split])), str(sum(header.trajectories for header in its))),
                f"{steps[0]} to {steps[-1]}" if len(steps) > 1 else str(*steps),
                f"{sum(path.stat().st_size for path in files[split] if path.exists()) / 1e9:.3g}",
            ]
        )
    headers = list(chain(*checked.headers.values()))
    lines = [f"{folder}: data in The Well's layout", "", *aligned(rows)]
    return lines + (["", *aligned(_facts(headers), left=(0, 1))] if headers else [])


def _facts(headers: Sequence[Header]) -> list[list[str]]:
    """Returns what files without faults hold, as the first of them says and the ranges of all."""
    first = headers[0]
    points = " x ".join(
        f"{axis} {size}" for axis, size in zip(first.axes, first.shape, strict=True)
    )
    kinds = {0: "", 1: " (vector)", 2: " (tensor)"}
    fields = [
        f"{name}{kinds[field.order]}{f' in {field.units}' if field.units else ''}"
        for name, field in first.fields.items()
    ]
    rows = [
        ["dataset", ", ".join(dict.fromkeys(header.dataset for header in headers))],
        ["grid", f"{first.grid}: {points}"],
        ["boundaries", "; ".join(dict.fromkeys(_boundaries(header) for header in headers))],
        ["fields", ", ".join(fields)],
        ["constant fields", ", ".join(first.constants) or "none"],
        ["time between states", f"{_range(header.intervals for header in headers)}"],
        ["unit of time", first.time_units],
    ]
    for name in first.parameters:
        held = (header.parameters[name] for header in headers if name in header.parameters)
        unit = first.parameter_units.get(name, "")
        rows.append([f"parameter {name}", measured(_range(held), unit)])
    return rows


def _boundaries(header: Header) -> str:
    ends = (
        f"{axis} {' / '.join(dict.fromkeys(kinds))}" for axis, kinds in header.boundaries.items()
    )
    return ", ".join(ends)


def _range(spans: Iterable[Sequence[float]]) -> str:
    values = list(chain(*spans))
    if not values:
        return "none"
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _grouped(told: list[Fault], folder: Path) -> list[str]:
    """Returns a line for each text, with the files that it is of."""
    by_text: dict[str, list[str]] = {}
    for fault in told:
        name = Path(fault.path)
        named = str(name.relative_to(folder)) if name.is_relative_to(folder) else str(name)
        by_text.setdefault(fault.text.replace(f"{folder}/", ""), []).append(named)
    lines = []
    for text, names in by_text.items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        lines.append(f"  {', '.join(names[:NAMED])}{more}: {text}")
    return lines
