"""Foreign files in The Well's layout: dealt to splits, and written a few steps at a time."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lilas.data.runs import Run, Runs
from lilas.data.streams import field_type
from lilas.data.well_writer import write_well
from lilas.display import aligned
from lilas.errors import LilasError, broken
from lilas.files import check_writable, write_json
from lilas.progress import progress
from lilas.systems.base import SPLITS

# About what a file holds at most, but for a trajectory that is larger: jobs share files.
FILE_BYTES = 2**30


@dataclass(frozen=True)
class Split:
    """How trajectories are dealt to the splits.

    Attributes:
        parts: Of train, valid and test: fractions that sum to 1, or numbers of trajectories.
        seed: Of the order in which they are dealt.
    """

    parts: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0

    def deal(self, count: int) -> dict[str, list[int]]:
        """Returns the numbers of trajectories by split, ascending.

        Fractions are rounded, and a split has one trajectory at least.

        Raises:
            LilasError: there are fewer than splits, or the parts do not add up.
        """
        if count < len(SPLITS):
            raise LilasError(
                f"{count} trajector{'ies' if count > 1 else 'y'} for {len(SPLITS)} splits: "
                "training, validation and test need one each"
            )
        whole = all(part == int(part) and part >= 1 for part in self.parts)
        told = " ".join(f"{part:g}" for part in self.parts)
        if min(self.parts) <= 0 or not (whole or math.isclose(sum(self.parts), 1, abs_tol=1e-6)):
            raise LilasError(
                f"--split {told}: expected fractions above 0 that sum to 1, or numbers of "
                "trajectories"
            )
        if whole and sum(self.parts) != count:
            raise LilasError(
                f"--split {told}: they sum to {sum(self.parts):g} of {count} "
                "trajectories; name the numbers of all"
            )
        counts = [int(part) for part in self.parts]
        if not whole:
            rest = [max(1, round(part * count)) for part in self.parts[1:]]
            counts = [count - sum(rest), *rest]
        if counts[0] < 1:
            raise LilasError(f"--split {told}: of {count} trajectories none is left for training")
        order = np.random.default_rng(self.seed).permutation(count).tolist()
        ends = np.cumsum([0, *counts])
        return {
            split: sorted(order[a:b])
            for split, a, b in zip(SPLITS, ends[:-1], ends[1:], strict=True)
        }


def describe(runs: Runs, dealt: Mapping[str, Sequence[int]], seed: int) -> list[str]:
    """Returns what is taken of foreign files as what, in lines."""
    roles, first = runs.roles, runs.runs[0]
    unit = {name: f" {unit}" for name, unit in roles.units.items()}

    def span(points: np.ndarray, axis: str, name: str) -> str:
        held = f"{points[0]:g} to {points[-1]:g}{unit.get(name, '')}"
        return f"numbered {held}: the file has no points" if axis in runs.numbered else held

    rows = [["trajectory", roles.trajectory or "files", f"{len(runs.runs)}"]]
    rows.append(
        ["time", roles.time, f"{runs.steps} states, {span(first.time, roles.time, 'time')}"]
    )
    for axis in roles.space:
        points = first.coordinates[axis]
        text = f"{len(points)} points, {span(points, axis, axis)}, {roles.boundaries[axis]}"
        rows.append(["space", axis, text])
    rows.append(["grid", "grid", roles.grid])
    for name, parts in roles.fields.items():
        pairs = zip(parts, roles.space, strict=False)
        own = [f"{part} along {axis}" for part, axis in pairs] if len(parts) > 1 else []
        own += [roles.units[name]] if name in roles.units else []
        rows.append(["field", name, ", ".join(own)])
    for name in roles.parameters:
        values = [run.parameters[name] for run in runs.runs]
        low, high = min(values), max(values)
        text = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        rows.append(["parameter", name, f"{text}{unit.get(name, '')}"])
    counts = ", ".join(f"{split} {len(its)}" for split, its in dealt.items())
    rows.append(["splits", f"seed {seed}", counts])
    rows = [[*row, "guessed" if row[1] in roles.guessed else ""] for row in rows]
    lines = aligned(rows, left=(0, 1, 2, 3))
    return lines + [f"not taken: {name}, {why}" for name, why in roles.left.items()]


def write(runs: Runs, dealt: Mapping[str, Sequence[int]], folder: Path, split: Split) -> None:
    """Writes trajectories into a new folder in The Well's layout, all of them or none.

    Args:
        runs: The trajectories.
        dealt: Their numbers by split.
        folder: What is made; it may be there and empty.
        split: How they were dealt, which `convert.json` in the folder tells.

    Raises:
        LilasError: the folder holds something, a value is not finite, or the disk cannot take it.
    """
    name = folder.resolve().name
    files = {
        Path("data", one, f"{name}_{i:04d}.hdf5"): [runs.runs[j] for j in part]
        for one, its in dealt.items()
        for i, part in enumerate(_cut(runs, its))
    }
    fields = progress(runs.roles.fields, desc="reading fields", unit="field", delay=1)
    types = {name: _type(runs, name, folder) for name in fields}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        part = Path(scratch, "whole")
        for path, chosen in progress(files.items(), desc="writing", unit="file", delay=1):
            _write_file(runs, part / path, chosen, name, types)
        record = {"seed": split.seed, "split": list(split.parts)}
        record["files"] = {str(path): [str(run) for run in its] for path, its in files.items()}
        write_json(part / "convert.json", record)
        part.rename(folder.resolve())


def _type(runs: Runs, name: str, folder: Path) -> type:
    """Returns the type of a field in all files."""
    values = runs.stream(name, runs.runs)
    # What float32 holds is read once, when it is written.
    exact = np.can_cast(values.dtype, np.float32)
    return np.float32 if exact else field_type(folder, name, values, runs.order(name))


def check_new(folder: Path) -> None:
    """Refuses a folder that holds something, or cannot be made.

    Raises:
        LilasError: it is so.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise broken(folder, "a new folder", "one that is there", "Name another, or remove it.")
    check_writable(folder, "Name another folder: --to FOLDER.")


def _cut(runs: Runs, numbers: Sequence[int]) -> list[list[int]]:
    """Returns trajectories by file: those of one have the same times and points."""
    roles = runs.roles
    fields = [runs.stream(name, runs.runs[:1]) for name in roles.fields]
    most = max(1, FILE_BYTES // sum(4 * each.size for each in fields))
    groups: dict[bytes, list[int]] = {}
    for number in numbers:
        run = runs.runs[number]
        key = b"".join(axis.tobytes() for axis in (run.time, *run.coordinates.values()))
        groups.setdefault(key, []).append(number)
    return [its[i : i + most] for its in groups.values() for i in range(0, len(its), most)]


def _write_file(
    runs: Runs, path: Path, chosen: Sequence[Run], dataset: str, types: Mapping[str, type]
) -> None:
    roles, first = runs.roles, chosen[0]
    values = {name: [run.parameters[name] for run in runs.runs] for name in roles.parameters}
    parameters = {
        name: its[0] if len(set(its)) == 1 else np.array([run.parameters[name] for run in chosen])
        for name, its in values.items()
    }
    write_well(
        path,
        dataset=dataset,
        fields={name: runs.stream(name, chosen) for name in roles.fields},
        time=first.time,
        coordinates=first.coordinates,
        parameters=parameters,
        boundaries=roles.boundaries,
        grid=roles.grid,
        units=roles.units,
        types=types,
    )
