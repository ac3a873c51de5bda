"""All states of data files read once, in memory bounded by a few of them."""

import math
from collections.abc import Sequence

import numpy as np

from lilas.data.headers import Fault, Header
from lilas.data.repeats import fingerprints, tell_repeats
from lilas.data.states import read_states
from lilas.data.well import WellFile, open_well
from lilas.errors import LilasError
from lilas.inspect.text import BLOCK_BYTES, Ranges
from lilas.progress import progress


def survey(headers: Sequence[Header]) -> tuple[list[str], list[Fault], list[Fault]]:
    """Returns the ranges of all channels in lines, what is wrong and what may be.

    Wrong is a value that is not finite in float32; doubtful are a channel of one value, a state
    that is the one before it and a field that stands still from some step to the end.

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
        steps = {}
        for row in range(file.trajectories):
            try:
                steps[row] = read_trajectory(file, row, ranges)
            except LilasError as error:
                told = str(error).removeprefix(f"{header.path}: ")
                faults.append(Fault(header.path, told))
        doubts += [Fault(header.path, text) for text in tell_repeats(steps)]
    if ranges is None:
        return [], faults, doubts
    alike = [name for i, name in enumerate(names) if ranges.low[i] == ranges.high[i]]
    doubts += [
        Fault(headers[0].path, f"the channel {name} has one value here and in all files")
        for name in alike
    ]
    return ["", *ranges.lines(names)], faults, doubts


def read_trajectory(file: WellFile, row: int, ranges: Ranges) -> dict[str, np.ndarray]:
    """Adds a trajectory to the ranges; returns the `fingerprints` of its steps by field, (time,).

    Raises:
        LilasError: a value is not finite.
    """
    size = 4 * len(file.channels) * math.prod(file.shape)
    block = max(1, BLOCK_BYTES // size)
    own = {
        name: [i for i, channel in enumerate(file.channels) if channel.field == name]
        for name in file.fields
    }
    found: dict[str, list[np.ndarray]] = {name: [] for name in own}
    for first in range(0, file.steps, block):
        states = read_states(file, row, slice(first, first + block))
        ranges.add(states, axis=1)
        for name, places in own.items():
            found[name].append(fingerprints(states[:, places], len(states)))
    return {name: np.concatenate(parts) for name, parts in found.items()}
