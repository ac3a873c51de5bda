"""Gas from random blocks as files hold it: the trajectories of one boundary and one γ.

Units are those of the initial state: lengths of the square's edge, densities and pressures about 1,
so that velocities and times are about 1 too.
"""

from collections.abc import Callable

import numpy as np

from lilas.systems.base import Trajectories
from lilas.systems.euler import Euler
from lilas.systems.ideal_gas import IdealGas
from lilas.systems.runs import Real, UnsoundError, carried_on, imbalance, simulate_runs

# Least and most of each block's density, components of velocity and pressure.
DENSITY, SPEED, PRESSURE = (0.2, 1.8), 0.6, (0.2, 2.0)
# Edges of blocks lie anywhere in this part of a block, about where equal blocks have them.
JITTER = 0.5
# Relative errors of mass and energy. A periodic square keeps both to rounding; of an open one the
# outflow is known at the states alone, so that it is integrated from them.
KEPT, BALANCED = 1e-9, 0.03


def simulate_part(settings: Euler, part: str) -> dict[str, Trajectories]:
    """Returns the trajectories of one boundary and heat capacity ratio by split."""
    boundary, gamma = settings.pairs[settings.parts.index(part)]
    gas = IdealGas(settings.size, boundary)

    def simulate(seed: int, progress: Callable[[int], object]) -> dict[str, np.ndarray]:
        state = initial(settings.size, settings.blocks, boundary, seed)
        run = evolve(gas, state, settings.steps, settings.interval, boundary, gamma, progress)
        return {name: values.astype(np.float32) for name, values in run.items()}

    cells = settings.size[0]
    centers = (np.arange(cells) + 0.5) / cells
    found = {}
    for split, (runs, redrawn) in simulate_runs(settings, part, simulate).items():
        found[split] = Trajectories(
            fields={name: np.stack([run[name] for run in runs]) for name in settings.components},
            time=settings.interval * np.arange(settings.steps),
            coordinates={"x": centers, "y": centers},
            parameters={"gamma": gamma},
            boundaries={"x": boundary, "y": boundary},
            attributes={"time_units": "dimensionless", "redrawn": redrawn},
        )
    return found


def stepper(settings: Euler, intervals: int) -> tuple[Callable[[], Real], int]:
    """Returns what carries a trajectory of the first part on from its middle, and 1."""
    boundary, gamma = settings.pairs[0]
    gas = IdealGas(settings.size, boundary)
    first = initial(settings.size, settings.blocks, boundary, settings.seed)

    def advance(state: Real) -> Real:
        return gas.advance(state, settings.interval, gamma)

    return carried_on(first, advance, settings.steps, intervals), 1


def initial(size: tuple[int, int], blocks: tuple[int, int], boundary: str, seed: int) -> Real:
    """Returns uniform blocks of gas, density, velocity and pressure of each drawn evenly.

    Args:
        size: Cells along x and y.
        blocks: Fewest and most blocks along an axis.
        boundary: Of a periodic square the blocks are moved along both axes, by any distance.
        seed: Of all draws.

    Returns:
        The state (channel, x, y): density, velocity along x and y, pressure.
    """
    random = np.random.default_rng(seed)
    indices = []
    for cells in size:
        count = random.integers(blocks[0], blocks[1], endpoint=True)
        edges = np.arange(1, count) + JITTER * random.uniform(-0.5, 0.5, count - 1)
        cuts = np.rint(cells * edges / count)
        index = np.searchsorted(cuts, np.arange(cells), side="right")
        indices.append(np.roll(index, random.integers(cells) if boundary == "periodic" else 0))
    ranges = np.array([DENSITY, (-SPEED, SPEED), (-SPEED, SPEED), PRESSURE])
    shape = [index.max() + 1 for index in indices]
    values = random.uniform(*ranges.T[..., None, None], (len(ranges), *shape))
    return values[:, indices[0][:, None], indices[1]]


def evolve(
    gas: IdealGas,
    state: Real,
    steps: int,
    interval: float,
    boundary: str,
    gamma: float,
    progress: Callable[[int], object] = lambda _: None,
) -> dict[str, Real]:
    """Returns the fields of a run, (time, x, y[, component]).

    Raises:
        UnsoundError: a value is not finite, a density or pressure not positive, or mass or energy
            comes or goes.
    """
    states = [state]
    for step in range(steps):
        if step:
            states.append(gas.advance(states[-1], interval, gamma))
        progress(1)
    density, velocity, pressure = (np.stack(states)[:, part] for part in (0, slice(1, -1), -1))
    velocity = np.moveaxis(velocity, 1, -1)
    momentum = density[..., None] * velocity
    energy = pressure / (gamma - 1) + (momentum * velocity).sum(-1) / 2
    tolerance = KEPT if boundary == "periodic" else BALANCED
    flows = {
        "mass": (density, momentum),
        "energy": (energy, (energy + pressure)[..., None] * velocity),
    }
    for name, (amount, flux) in flows.items():
        error = imbalance(amount, flux, interval, boundary)
        if error > tolerance:
            raise UnsoundError(
                f"{name} is off by {error:.1e} of it, at most {tolerance:g} is right"
            )
    return {"energy": energy, "density": density, "pressure": pressure, "momentum": momentum}
