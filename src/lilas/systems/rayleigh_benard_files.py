"""Rayleigh-Bénard convection as files hold it: the trajectories of one Rayleigh number."""

import copy
from collections.abc import Callable

import numpy as np

from lilas.progress import progress
from lilas.seeds import derive
from lilas.systems.base import SPLITS, Trajectories
from lilas.systems.chebyshev import Real
from lilas.systems.rayleigh_benard import RayleighBenard
from lilas.systems.rayleigh_benard_solver import BLOCK, coordinates, initial, simulate
from lilas.systems.rayleigh_benard_solver import RayleighBenard as Flow
from lilas.systems.runs import carried_on


def simulate_part(settings: RayleighBenard, part: str) -> dict[str, Trajectories]:
    """Returns the trajectories of one Rayleigh number by split, every Prandtl number in each."""
    rayleigh = settings.rayleigh[settings.parts.index(part)]
    counts, flows = settings.trajectories, []
    states = len(settings.prandtl) * settings.steps
    with progress(total=states, desc=f"Rayleigh {rayleigh:g}", unit="state") as bar:
        for prandtl in settings.prandtl:
            flows.append(
                simulate(
                    rayleigh=rayleigh,
                    prandtl=prandtl,
                    size=settings.size,
                    time_step=settings.time_step,
                    start=settings.start,
                    interval=settings.interval,
                    steps=settings.steps,
                    trajectories=counts.total,
                    # No two pairs of parameters share an initial perturbation.
                    seed=derive(settings.seed, int(rayleigh), round(1e6 * prandtl)),
                    progress=bar.update,
                )
            )
    x, y = coordinates(settings.size)
    found, first = {}, 0
    for split in SPLITS:
        count = getattr(counts, split)
        chosen = slice(first, first + count)
        first += count
        found[split] = Trajectories(
            fields={
                name: np.concatenate([getattr(flow, name)[chosen] for flow in flows])
                for name in settings.components
            },
            time=flows[0].time,
            coordinates={"x": x, "y": y},
            parameters={
                "Rayleigh": rayleigh,
                "Prandtl": np.repeat(np.asarray(settings.prandtl), count),
            },
            boundaries={"x": "periodic", "y": "wall"},
            attributes={"time_units": "free-fall time"},
        )
    return found


def stepper(
    settings: RayleighBenard, intervals: int
) -> tuple[Callable[[], tuple[Real, Real, Real]], int]:
    """Returns what carries trajectories on from their middle, as many as are advanced together.

    They are of the first Rayleigh and Prandtl number. Without the spin-up, since time steps of one
    length cost alike in any state.

    Returns:
        What returns buoyancy, velocity and pressure of the state after so many intervals, and the
        number of trajectories.
    """
    count = min(settings.trajectories.total, BLOCK)
    first = Flow(
        initial(settings.size, count, settings.seed),
        rayleigh=settings.rayleigh[0],
        prandtl=settings.prandtl[0],
        time_step=settings.time_step,
    )
    steps = round(settings.interval / settings.time_step)

    def advance(flow: Flow) -> Flow:
        # A step puts new arrays in the place of old ones.
        flow = copy.copy(flow)
        for _ in range(steps):
            flow.step()
        flow.check()
        return flow

    onward = carried_on(first, advance, settings.steps, intervals)

    def call() -> tuple[Real, Real, Real]:
        flow = onward()
        return *flow.fields(), flow.pressure()

    return call, count
