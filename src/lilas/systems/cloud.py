"""Gas under its own gravity that cools, in an open box of edge 1.

    ∂ρ/∂t + ∇·(ρu) = 0,  ∂(ρu)/∂t + ∇·(ρuu + pI) = -ρ∇φ,
    ∂E/∂t + ∇·((E + p)u) = -ρu·∇φ - Z Λ ρ² T^(1/2),  φ(x) = -∫ρ(x') / |x - x'| dx',

with E = p / (γ - 1) + ρ|u|² / 2, γ = 5/3, T = p / ρ and G = 1. Cooling is that of hot ionised gas,
goes with the metallicity Z, and ends at a coldest temperature; nothing heats.

The flow is the work of `IdealGas`; gravity and cooling take half of their step before and half of
it after each of its steps. Those of astronomix 0.6.6 are not taken: its unsplit scheme leaves out
gravity without a word, the mass in its ghost cells attracts, and its split scheme does not mirror.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lilas.systems.ideal_gas import FASTEST, IdealGas, check_speed
from lilas.systems.runs import Real

GAMMA = 5 / 3
# Λ, in units of the box, the density and G.
COOLING = 0.25
# The mean of 1 / |x| over a cube of edge 1 about 0.
INVERSE_DISTANCE = 2.3800774


class Cloud:
    """The means to advance states (channel, x, y, z) of density, velocity, pressure, in cells.

    Args:
        size: Cells along x, y and z, the same number.
    """

    def __init__(self, size: tuple[int, int, int]) -> None:
        self.gas = IdealGas(size, "open", "robust")
        cells, self.spacing = size[0], 1 / size[0]
        # Of twice the box, so that a periodic convolution has no neighbours.
        offset = np.minimum(np.arange(2 * cells), 2 * cells - np.arange(2 * cells))
        square = offset**2
        distance = np.sqrt(square[:, None, None] + square[:, None] + square)
        distance[0, 0, 0] = 1 / INVERSE_DISTANCE
        self._kernel = jnp.fft.rfftn(jnp.asarray(-(self.spacing**2) / distance))
        self._potential = jax.jit(self.potential)
        self._advance = jax.jit(self._steps)

    def potential(self, density: ArrayLike) -> jax.Array:
        """Returns the potential φ of a density, both (x, y, z)."""
        density = jnp.asarray(density)
        double = [2 * cells for cells in density.shape]
        found = jnp.fft.irfftn(jnp.fft.rfftn(density, double) * self._kernel, double)
        return found[tuple(map(slice, density.shape))]

    def potentials(self, densities: Real) -> Real:
        """Returns the potentials of densities, (time, x, y, z)."""
        return np.stack([self._potential(density) for density in densities])

    def acceleration(self, density: ArrayLike) -> jax.Array:
        """Returns -∇φ, (component, x, y, z), of a density (x, y, z)."""
        return -jnp.stack(jnp.gradient(self.potential(density), self.spacing))

    def advance(
        self, state: ArrayLike, duration: float, metallicity: float, floor: float, gravity: float
    ) -> tuple[Real, float]:
        """Returns the state a duration later and the energy that was radiated meanwhile.

        Args:
            state: (channel, x, y, z).
            duration: Time.
            metallicity: Z.
            floor: Temperature at which cooling ends.
            gravity: G; 0 is none.

        Raises:
            UnsoundError: values become what no gas has, or waves faster than any that are resolved.
        """
        found, radiated, speed = self._advance(
            jnp.asarray(state, float), duration, metallicity, floor, gravity
        )
        check_speed(speed)
        return np.asarray(found), float(radiated)

    def _steps(self, state, duration, metallicity, floor, gravity):
        def cooled(state, time_step):
            """dT/dt = -(γ - 1) Z Λ ρ T^(1/2), exactly."""
            density, before = state[0], state[-1] / state[0]
            fall = (GAMMA - 1) * metallicity * COOLING * density * time_step / 2
            root = jnp.maximum(jnp.sqrt(before) - fall, jnp.sqrt(floor))
            after = jnp.minimum(before, root**2)
            radiated = (density * (before - after)).sum() * self.spacing**3 / (GAMMA - 1)
            return state.at[-1].set(density * after), radiated

        def one(carry):
            time, state, force, radiated, speed = carry
            time_step = self.gas.time_step(speed, duration - time)
            state = state.at[1:-1].add(force * time_step / 2)
            state, first = cooled(state, time_step / 2)
            state = self.gas.step(state, time_step, GAMMA)
            state, second = cooled(state, time_step / 2)
            force = gravity * self.acceleration(state[0])
            state = state.at[1:-1].add(force * time_step / 2)
            radiated += first + second
            return time + time_step, state, force, radiated, self.gas.wave_speed(state, GAMMA)

        def goes_on(carry):
            time, *_, speed = carry
            return (time < duration) & (speed < FASTEST)

        zero = jnp.zeros(())
        force = gravity * self.acceleration(state[0])
        start = (zero, state, force, zero, self.gas.wave_speed(state, GAMMA))
        _, state, _, radiated, speed = jax.lax.while_loop(goes_on, one, start)
        return state, radiated, speed
