"""States that repeat the one before them."""

import zlib
from collections.abc import Mapping

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


def tell_repeats(file: Steps) -> list[str]:
    """Returns a line on the states that repeat the one before; none without any."""
    rows = find_repeats(file)
    if not rows:
        return []
    row, steps = next(iter(rows.items()))
    others = f", and {len(rows) - 1} more trajectories repeat states" if len(rows) > 1 else ""
    states = f"{len(steps)} state{'s' * (len(steps) > 1)}"
    return [f"trajectory {row} repeats {states}, the first at step {steps[0]}{others}"]
