"""An ideal gas in a box of edge 1, stepped by astronomix: the compressible Euler equations.

    ∂ρ/∂t + ∇·(ρu) = 0,  ∂(ρu)/∂t + ∇·(ρuu + pI) = 0,  ∂E/∂t + ∇·((E + p)u) = 0,

with E = p / (γ - 1) + ρ|u|² / 2. The scheme is a second-order finite-volume one, unsplit, with two
Runge-Kutta stages (SSP). Of astronomix 0.6.6 the split scheme is not taken: its predictor of the
pressure takes the gradient of u_x along every axis, so that flows of two dimensions do not mirror.

Numbers are float64: on a CPU they take no longer than float32, and mass and energy are then kept to
rounding, so that a run that loses any is known.
"""

import astronomix
import jax
import jax.numpy as jnp
import numpy as np
from astronomix.option_classes import simulation_config as options
from jax.typing import ArrayLike

from lilas.systems.runs import Real, UnsoundError

# The time step, as a fraction of the largest stable one.
COURANT = 0.8
# In units in which sound and flow have speeds of about 1: beyond, time steps would not end.
FASTEST = 100.0
BOUNDARIES = {"open": options.OPEN_BOUNDARY, "periodic": options.PERIODIC_BOUNDARY}
# Sharp waves, or those that stay positive where gas is cold and fast.
FLUXES = {
    "sharp": (options.HLLC, options.DOUBLE_MINMOD),
    "robust": (options.HLL, options.MINMOD),
}

# Small grids do not fill an accelerator, and parallel jobs would share one.
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)


class IdealGas:
    """The means to advance states of an ideal gas on one grid.

    A state is an array (channel, *space) of density, velocity by axis, and pressure, in cells.

    Args:
        size: Cells along each axis, two or three and the same number; the box's edges are 1.
        boundary: `open` or `periodic`, of all sides.
        fluxes: `sharp` or `robust`.
    """

    def __init__(self, size: tuple[int, ...], boundary: str, fluxes: str = "sharp") -> None:
        ends = options.BoundarySettings1D(BOUNDARIES[boundary], BOUNDARIES[boundary])
        riemann_solver, limiter = FLUXES[fluxes]
        config = options.SimulationConfig(
            backend=options.NATIVE_JAX,
            solver_mode=options.FINITE_VOLUME,
            split=options.UNSPLIT,
            time_integrator=options.RK2_SSP,
            riemann_solver=riemann_solver,
            limiter=limiter,
            dimensionality=len(size),
            num_cells=size[0],
            box_size=1.0,
            boundary_settings=options.BoundarySettings(ends, ends, ends),
        )
        self.config = astronomix.finalize_config(config, (len(size) + 2, *size))
        self.variables = astronomix.get_registered_variables(self.config)

        # Compiled for this grid; the heat capacity ratio may change from call to call.
        self._advance = jax.jit(self._steps)

    def advance(self, state: ArrayLike, duration: float, gamma: float) -> Real:
        """Returns the state a duration later.

        Raises:
            UnsoundError: values become what no gas has, or waves faster than any that are resolved.
        """
        found, speed = self._advance(jnp.asarray(state, float), duration, gamma)
        check_speed(speed)
        return np.asarray(found)

    def step(self, state: jax.Array, time_step: ArrayLike, gamma: ArrayLike) -> jax.Array:
        """Returns the state one time step later."""
        params = astronomix.SimulationParams(
            # The step is the caller's, below this one's limit.
            C_cfl=1.0,
            gamma=gamma,
            t_end=time_step,
            dt_max=time_step,
        )
        return astronomix.time_integration(state, self.config, params, self.variables)

    def wave_speed(self, state: jax.Array, gamma: ArrayLike) -> jax.Array:
        """Returns the sum over axes of the fastest wave along each; infinite in what no gas is."""
        density, *velocities, pressure = state
        sound = jnp.sqrt(gamma * pressure / density)
        speed = sum(jnp.max(jnp.abs(velocity) + sound) for velocity in velocities)
        # XLA's maximum passes NaN over.
        sane = jnp.isfinite(state).all() & (density > 0).all() & (pressure > 0).all()
        return jnp.where(sane, speed, jnp.inf)

    def time_step(self, speed: jax.Array, left: jax.Array) -> jax.Array:
        """Returns the time step at a wave speed, not beyond the time that is left."""
        return jnp.minimum(COURANT * self.config.grid_spacing / speed, left)

    def _steps(
        self, state: jax.Array, duration: float, gamma: float
    ) -> tuple[jax.Array, jax.Array]:
        def one(carry):
            time, state, speed = carry
            time_step = self.time_step(speed, duration - time)
            state = self.step(state, time_step, gamma)
            return time + time_step, state, self.wave_speed(state, gamma)

        def goes_on(carry):
            time, _, speed = carry
            return (time < duration) & (speed < FASTEST)

        start = (jnp.zeros(()), state, self.wave_speed(state, gamma))
        _, state, speed = jax.lax.while_loop(goes_on, one, start)
        return state, speed


def check_speed(speed: jax.Array) -> None:
    """Refuses what came of the last time step.

    Raises:
        UnsoundError: waves are faster than any that are resolved, or there is no gas.
    """
    if not speed < FASTEST:
        raise UnsoundError(
            "a density or a pressure is not positive"
            if np.isinf(speed)
            else f"waves have the speed {speed:.3g}"
        )
