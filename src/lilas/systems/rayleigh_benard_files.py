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


def stepper(settings: RayleighBenard) -> tuple[Callable[[], tuple[Real, Real, Real]], int]:
    """Returns what carries trajectories on, as many as are advanced together, and their number.

    Each call returns buoyancy, velocity and pressure of their next state. They are of the first
    Rayleigh and Prandtl number, and begin anew where those of the study end.
    """
    count = min(settings.trajectories.total, BLOCK)
    begun = Flow(
        initial(settings.size, count, settings.seed),
        rayleigh=settings.rayleigh[0],
        prandtl=settings.prandtl[0],
        time_step=settings.time_step,
    )
    stride = round(settings.interval / settings.time_step)
    last = round(settings.start / settings.time_step) + stride * (settings.steps - 1)
    flow = copy.deepcopy(begun)

    def call() -> tuple[Real, Real, Real]:
        nonlocal flow
        if flow.steps >= last:
            flow = copy.deepcopy(begun)
        for _ in range(stride):
            flow.step()
        flow.check()
        return *flow.fields(), flow.pressure()

    return call, count
