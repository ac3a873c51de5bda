"""Ranges of a few states of a dataset: what its fields look like, before statistics are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lilas.data.headers import Header
from lilas.data.states import read_states
from lilas.data.well import open_well
from lilas.display import spaced

# States that are read, and files that they are from, at most.
STATES, FILES = 32, 8


@dataclass(frozen=True)
class Range:
    """What a field's values are in a few states.

    Attributes:
        lowest: The lowest value.
        highest: The highest value.
        low: What one value in a hundred is below.
        high: What one value in a hundred is above.
    """

    lowest: float
    highest: float
    low: float
    high: float


def few_ranges(headers: Sequence[Header]) -> tuple[Mapping[str, Range], int]:
    """Returns the range of each field, of all its components, and of how many states it is.

    Args:
        headers: Of the files, from which states are taken that lie evenly in files, trajectories
            and time.

    Raises:
        LilasError: as `read_states`.
    """
    chosen = [headers[i] for i in spaced(len(headers), FILES)]
    parts: dict[str, list[np.ndarray]] = {}
    count = 0
    for header in chosen:
        file = open_well(header.path)
        most = max(1, STATES // len(chosen))
        places = spaced(file.trajectories * file.steps, most)
        for place in places.tolist():
            trajectory, step = divmod(place, file.steps)
            states = read_states(file, trajectory, slice(step, step + 1))[0]
            count += 1
            for channel, values in zip(file.channels, states, strict=True):
                parts.setdefault(channel.field, []).append(
                    np.quantile(values, (0, 0.01, 0.99, 1)).astype(np.float64)
                )
    return {name: _range(np.array(found)) for name, found in parts.items()}, count


def _range(quantiles: np.ndarray) -> Range:
    return Range(
        lowest=float(quantiles[:, 0].min()),
        highest=float(quantiles[:, 3].max()),
        low=float(quantiles[:, 1].min()),
        high=float(quantiles[:, 2].max()),
    )
