"""Runs of a simulator by split, each from a seed of its own, and drawn again if it is not sound."""

import sys
import zlib
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lilas.errors import LilasError
from lilas.progress import progress
from lilas.seeds import derive
from lilas.systems.base import SPLITS, System

# Attempts at a trajectory.
ATTEMPTS = 5
Run = TypeVar("Run")
Real = NDArray[np.float64]


class UnsoundError(LilasError):
    """A run whose numbers cannot be right, and why."""


def simulate_runs(
    settings: System, part: str, simulate: Callable[[int, Callable[[int], object]], Run]
) -> dict[str, tuple[list[Run], int]]:
    """Returns the runs of a part by split, and how many of each split were drawn again.

    The seed of a run belongs to part, split and trajectory: how many others there are does not
    matter to it.

    Args:
        settings: Of the system.
        part: Name of the part.
        simulate: Returns the run of a seed, and calls its second argument with 1 when a state is
            there; raises `UnsoundError` for a run that cannot be right.

    Raises:
        LilasError: several runs in a row are not sound.
    """
    counts, steps = settings.trajectories, settings.steps
    name = zlib.crc32(part.encode())
    found, reasons = {}, []
    with progress(total=counts.total * steps, desc=part, unit="state") as bar:
        for number, split in enumerate(SPLITS):
            runs, before = [], len(reasons)
            for trajectory in range(getattr(counts, split)):
                done = bar.n
                for attempt in range(ATTEMPTS):
                    seed = derive(settings.seed, name, number, trajectory, attempt)
                    try:
                        runs.append(simulate(seed, bar.update))
                        break
                    except UnsoundError as error:
                        reasons.append(f"{split} {trajectory}: {error}")
                        bar.n = done
                else:
                    raise LilasError(
                        f"{part}: {ATTEMPTS} runs in a row cannot be right, the last of them "
                        f"{reasons[-1]}. Choose a finer grid, a shorter interval, or "
                        "parameters further from the extremes."
                    )
            found[split] = runs, len(reasons) - before
    if reasons:
        print(
            f"{part}: {len(reasons)} runs were drawn again ({'; '.join(reasons)})", file=sys.stderr
        )
    return found


def carried_on(
    first: Run, advance: Callable[[Run], Run], states: int, intervals: int
) -> Callable[[], Run]:
    """Returns what carries a run on from its middle, from the same state with each call.

    Args:
        first: The initial state.
        advance: Returns the next state.
        states: Of a trajectory; half of them are made at once.
        intervals: How far a call carries it on.
    """

    def onward(state: Run, count: int) -> Run:
        for _ in range(count):
            state = advance(state)
        return state

    middle = onward(first, states // 2)
    return lambda: onward(middle, intervals)


def imbalance(
    amount: Real,
    flux: Real,
    interval: float,
    boundary: str,
    lost: Real | float = 0.0,
    scale: float | None = None,
) -> float:
    """Returns the largest change of an amount in a box of edge 1 that nothing explains.

    Args:
        amount: Per volume, (time, *space).
        flux: Through a unit of area, (time, *space, component).
        interval: Time between states.
        boundary: Through the sides of a periodic box nothing leaves.
        lost: What else has left since the first state, (time,).
        scale: What the change is relative to; None is the first amount.
    """
    space = tuple(range(1, amount.ndim))
    first = amount[0].mean()
    change = amount.mean(space) - first + lost
    if boundary == "open":
        outflow = np.zeros_like(change)
        for axis in space:
            through = flux[..., axis - 1]
            ends = through.take(-1, axis) - through.take(0, axis)
            outflow += ends.mean(tuple(range(1, ends.ndim)))
        steps = interval * (outflow[1:] + outflow[:-1]) / 2
        change = change + np.cumulative_sum(steps, include_initial=True)
    return float(np.abs(change).max() / (first if scale is None else scale))
