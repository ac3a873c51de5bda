"""All states of data files read once, in memory bounded by a few of them."""

import math
from collections.abc import Sequence

import numpy as np

from lilas.data.headers import Fault, Header
from lilas.data.states import read_states
from lilas.data.well import WellFile, open_well
from lilas.errors import LilasError
from lilas.inspect.text import BLOCK_BYTES, Ranges
from lilas.progress import progress


def survey(headers: Sequence[Header]) -> tuple[list[str], list[Fault], list[Fault]]:
    """Returns the ranges of all channels in lines, what is wrong and what may be.

    Wrong is a value that is not finite in float32; doubtful are a channel of one value and a state
    that is the one before it.

    Args:
        headers: Of files of one kind.
    """
    faults: list[Fault] = []
    doubts: list[Fault] = []
    ranges, names = None, []
    for header in progress(headers, desc="reading states", unit="file"):
        file = open_well(header.path)
        ranges = ranges or Ranges(len(file.channels))
        names = names or [channel.name for channel in file.channels]
        repeated = {}
        for row in range(file.trajectories):
            try:
                repeated[row] = read_trajectory(file, row, ranges)
            except LilasError as error:
                told = str(error).removeprefix(f"{header.path}: ")
                faults.append(Fault(header.path, told))
        doubts += [Fault(header.path, text) for text in repeats(repeated)]
    if ranges is None:
        return [], faults, doubts
    alike = [name for i, name in enumerate(names) if ranges.low[i] == ranges.high[i]]
    doubts += [
        Fault(headers[0].path, f"the channel {name} has one value here and in all files")
        for name in alike
    ]
    return ["", *ranges.lines(names)], faults, doubts


def read_trajectory(file: WellFile, row: int, ranges: Ranges) -> list[int]:
    """Adds a trajectory to the ranges; returns the steps whose state is the one before.

    Raises:
        LilasError: a value is not finite.
    """
    size = 4 * len(file.channels) * math.prod(file.shape)
    block, before, found = max(1, BLOCK_BYTES // size), None, []
    for first in range(0, file.steps, block):
        states = read_states(file, row, slice(first, first + block))
        ranges.add(states, axis=1)
        for i, state in enumerate(states):
            if before is not None and np.array_equal(state, before):
                found.append(first + i)
            before = state
    return found


def repeats(repeated: dict[int, list[int]]) -> list[str]:
    """Returns a line on the states that repeat the one before, by trajectory; none without any."""
    rows = {row: steps for row, steps in repeated.items() if steps}
    if not rows:
        return []
    row, steps = next(iter(rows.items()))
    others = f", and {len(rows) - 1} more trajectories repeat states" if len(rows) > 1 else ""
    states = f"{len(steps)} state{'s' * (len(steps) > 1)}"
    return [f"trajectory {row} repeats {states}, the first at step {steps[0]}{others}"]
