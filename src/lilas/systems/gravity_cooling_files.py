"""Collapsing clouds as files hold them: the trajectories of one density, temperature, metallicity.

A run is in units of its cloud's density, of the box's edge, and G = 1; files are in units of the
study's densities, so that of two clouds with temperatures in the ratio of their densities one is
the other, with times in the inverse ratio of the densities' roots.
"""

from collections.abc import Callable

import numpy as np

from lilas.errors import LilasError
from lilas.systems.base import Trajectories
from lilas.systems.cloud import GAMMA, Cloud
from lilas.systems.gravity_cooling import GravityCooling
from lilas.systems.runs import Real, UnsoundError, carried_on, imbalance, simulate_runs

# Of the cloud, in edges of the box; how much denser it is than what surrounds it.
RADIUS, CONTRAST = 0.38, 30.0
# Twice the cloud's kinetic energy over that of its gravity.
VIRIAL = 1.0
# Cooling ends at this part of the first temperature.
FLOOR = 0.5
# Of a cloud of density 1 without pressure.
FREE_FALL = np.sqrt(3 * np.pi / 32)
# Relative errors of mass and energy, what flows out and is radiated counted.
MASS, ENERGY = 0.02, 0.2


def simulate_part(settings: GravityCooling, part: str) -> dict[str, Trajectories]:
    """Returns the trajectories of one density, temperature and metallicity by split."""
    density, temperature, metallicity = settings.triples[settings.parts.index(part)]
    cloud, interval = Cloud(settings.size), settings.interval * FREE_FALL
    # The law holds at first.
    begun = min(interval, 0.05 * FREE_FALL)
    check_infall(cloud, initial(cloud, settings.size, temperature / density, 0), begun)

    units = {
        "density": density,
        "pressure": density**2,
        "temperature": density,
        "velocity": np.sqrt(density),
    }

    def simulate(seed: int, progress: Callable[[int], object]) -> dict[str, np.ndarray]:
        state = initial(cloud, settings.size, temperature / density, seed)
        floor = FLOOR * temperature / density
        run = evolve(cloud, state, settings.steps, interval, metallicity, floor, progress)
        return {name: (unit * run[name]).astype(np.float32) for name, unit in units.items()}

    centers = (np.arange(settings.size[0]) + 0.5) / settings.size[0]
    found = {}
    for split, (runs, redrawn) in simulate_runs(settings, part, simulate).items():
        found[split] = Trajectories(
            fields={name: np.stack([run[name] for run in runs]) for name in units},
            time=interval / np.sqrt(density) * np.arange(settings.steps),
            coordinates=dict.fromkeys(settings.axes, centers),
            parameters={"rho0": density, "Z": metallicity, "T0": temperature},
            boundaries=settings.boundaries,
            attributes={"time_units": "dimensionless", "redrawn": redrawn},
        )
    return found


def stepper(settings: GravityCooling, intervals: int) -> tuple[Callable[[], Real], int]:
    """Returns what carries a trajectory of the first part on from its middle, and 1."""
    density, temperature, metallicity = settings.triples[0]
    cloud, interval = Cloud(settings.size), settings.interval * FREE_FALL
    floor = FLOOR * temperature / density

    def advance(state: Real) -> Real:
        return cloud.advance(state, interval, metallicity, floor, 1.0)[0]

    first = initial(cloud, settings.size, temperature / density, settings.seed)
    return carried_on(first, advance, settings.steps, intervals), 1


def initial(cloud: Cloud, size: tuple[int, int, int], temperature: float, seed: int) -> Real:
    """Returns a turbulent cloud of density 1: density, velocity along x, y, z, pressure.

    Each component of the velocity is a Gaussian field with amplitudes that fall with the square of
    the wavenumber. Mass within the sphere has no momentum in all, and its kinetic energy is a
    given part of that of gravity. Temperature is the same everywhere.

    Args:
        cloud: Of the grid.
        size: Cells along x, y and z.
        temperature: In units of the cloud.
        seed: Of all draws.
    """
    sphere = within(size[0], RADIUS)
    density = np.where(sphere, 1.0, 1 / CONTRAST)
    noise = np.random.default_rng(seed).standard_normal((3, *size))
    waves = np.fft.fftfreq(size[0]), np.fft.fftfreq(size[1]), np.fft.rfftfreq(size[2])
    square = sum(wave**2 for wave in np.meshgrid(*waves, indexing="ij"))
    square[0, 0, 0] = np.inf
    velocity = np.fft.irfftn(np.fft.rfftn(noise, axes=(1, 2, 3)) / square, size, axes=(1, 2, 3))
    velocity -= velocity[:, sphere].mean(axis=1)[:, None, None, None]
    kinetic = (velocity[:, sphere] ** 2).sum() / 2
    gravity = -(density * cloud.potential(density)).sum() / 2
    velocity *= np.sqrt(VIRIAL / 2 * gravity / kinetic)
    return np.concatenate([density[None], velocity, density[None] * temperature])


def within(cells: int, radius: float) -> np.ndarray:
    """Returns which cells have their centers within a sphere about the box's center."""
    square = ((np.arange(cells) + 0.5) / cells - 0.5) ** 2
    return square[:, None, None] + square[:, None] + square < radius**2


def evolve(
    cloud: Cloud,
    state: Real,
    steps: int,
    interval: float,
    metallicity: float,
    floor: float,
    progress: Callable[[int], object] = lambda _: None,
) -> dict[str, Real]:
    """Returns the fields of a run, (time, x, y, z[, component]).

    Raises:
        UnsoundError: a value is not finite, a density or pressure not positive, or mass or energy
            comes or goes.
    """
    states, radiated = [state], [0.0]
    for step in range(steps):
        if step:
            after, loss = cloud.advance(states[-1], interval, metallicity, floor, 1.0)
            states.append(after)
            radiated.append(radiated[-1] + loss)
        progress(1)
    density, velocity, pressure = (np.stack(states)[:, part] for part in (0, slice(1, -1), -1))
    velocity = np.moveaxis(velocity, 1, -1)
    potential = cloud.potentials(density)
    own = pressure / (GAMMA - 1) + density * (velocity**2).sum(-1) / 2
    budgets = {
        "mass": (MASS, density, density, 0.0, None),
        "energy": (
            ENERGY,
            own + density * potential / 2,
            own + pressure + density * potential,
            np.array(radiated),
            -(density[0] * potential[0]).mean() / 2,
        ),
    }
    for name, (tolerance, amount, carried, lost, scale) in budgets.items():
        flux = carried[..., None] * velocity
        error = imbalance(amount, flux, interval, "open", lost=lost, scale=scale)
        if error > tolerance:
            raise UnsoundError(
                f"{name} is off by {error:.1e} of it, at most {tolerance:g} is right"
            )
    return {
        "density": density,
        "pressure": pressure,
        "temperature": pressure / density,
        "velocity": velocity,
    }


def check_infall(cloud: Cloud, state: Real, duration: float) -> None:
    """Refuses a simulator that lets a cloud not fall.

    Gravity changes ∫ρ x·u by its own energy ∫ρφ / 2 per time (the virial theorem).

    Raises:
        LilasError: it changes by less than half of that, or more than twice.
    """
    centers = (np.arange(state.shape[1]) + 0.5) / state.shape[1] - 0.5
    position = np.stack(np.meshgrid(*[centers] * 3, indexing="ij"))
    outward = []
    for gravity in (0.0, 1.0):
        density, *velocity, _ = cloud.advance(state, duration, 0.0, 0.0, gravity)[0]
        outward.append((density * (position * velocity).sum(0)).mean())
    expected = duration * (state[0] * np.asarray(cloud.potential(state[0]))).mean() / 2
    ratio = (outward[1] - outward[0]) / expected
    if not 0.5 < ratio < 2:
        raise LilasError(
            f"the cloud falls with {ratio:.2g} of the gravity that it has. Install the "
            "versions of astronomix and jax in envs/constraints.txt."
        )
