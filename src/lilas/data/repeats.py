"""States that repeat the one before them, and fields that stand still from some step on.

Both may be right, and both may be what is left of a writer that was stopped: of a contiguous
dataset that was written in part, HDF5 reads zeros, and cannot tell.
"""

import zlib
from collections.abc import Mapping, Sized

import numpy as np

# Of a file, by trajectory and field: the fingerprints of its steps, (time,).
Steps = Mapping[int, Mapping[str, np.ndarray]]


def fingerprints(values: np.ndarray, count: int) -> np.ndarray:
    """Returns a number, uint64 (count,), of each of `count` parts of equal size.

    Parts have one number where all their values are equal, -0 and 0 too, and are of one type; two
    others have it by a chance of about 2^-64.

    Args:
        values: The parts, one after the other.
        count: How many.
    """
    rows = np.ascontiguousarray(values.reshape(count, -1) + 0)
    return np.array([zlib.crc32(row) << 32 | zlib.adler32(row) for row in rows], np.uint64)


def find_repeats(file: Steps) -> dict[int, np.ndarray]:
    """Returns the steps, by trajectory, at which all fields are what they were one step before."""
    found = {}
    for row, fields in file.items():
        same = np.logical_and.reduce([steps[1:] == steps[:-1] for steps in fields.values()])
        if same.any():
            found[row] = np.flatnonzero(same) + 1
    return found


def find_standing(file: Steps) -> dict[str, dict[int, int]]:
    """Returns, by field and trajectory, the step from which a field stands still to the end.

    It varies before, and another field goes on varying after; what is one throughout a trajectory
    may well be so.
    """
    found: dict[str, dict[int, int]] = {}
    for row, fields in file.items():
        still = {name: _still(steps) for name, steps in fields.items()}
        for name, steps in fields.items():
            if 0 < still[name] < len(steps) - 1 and still[name] > min(still.values()):
                found.setdefault(name, {})[row] = len(steps) - 1 - still[name]
    return found


def _still(steps: np.ndarray) -> int:
    """Returns how many of the last steps are what they were one step before."""
    moves = np.flatnonzero(steps[1:] != steps[:-1])
    return len(steps) - 1 - (moves[-1] + 1 if len(moves) else 0)


def tell_repeats(file: Steps) -> list[str]:
    """Returns a line on states that repeat the one before, and one for each field that stands."""
    lines = []
    if rows := find_repeats(file):
        row, steps = next(iter(rows.items()))
        states = f"{len(steps)} state{'s' * (len(steps) > 1)}"
        line = f"trajectory {row} repeats {states}, the first at step {steps[0]}"
        lines.append(line + _more(rows, "repeat states"))
    for name, found in find_standing(file).items():
        row, step = next(iter(found.items()))
        line = f"{name} stands still in trajectory {row} from step {step} to the end"
        why = "; other fields go on: was it written whole?"
        lines.append(line + _more(found, "have such an end") + why)
    return lines


def _more(rows: Sized, do: str) -> str:
    more = len(rows) - 1
    return f", and {more} more trajectories {do}" if more else ""
