"""Two-dimensional Rayleigh-Bénard convection between two plates, many trajectories at once.

The Boussinesq equations in free-fall units (heights of the layer, free-fall velocities), as The
Well's dataset `rayleigh_benard` states them, with κ = (Ra Pr)^(-1/2) and ν = (Ra / Pr)^(-1/2):

    ∂b/∂t + u·∇b = κ ∇²b,    ∂u/∂t + u·∇u = -∇p + ν ∇²u + b e_y,    ∇·u = 0.

The domain is 4 wide and 1 high, periodic in x; the plates do not let the fluid slip and hold the
buoyancy b at 1 (y = 0) and 0 (y = 1). The pressure has zero volume integral.

Space is Fourier in x and Chebyshev collocation in y, with the upper third of the modes of each
product of fields set to zero in both directions. Time is SBDF2 (Ascher, Ruuth and Wetton, 1995,
"Implicit-explicit methods for time-dependent partial differential equations"): diffusion
implicit, through one precomputed inverse per wavenumber; advection and buoyancy explicit.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from lilas.errors import LilasError
from lilas.systems.chebyshev import Real, angles, differentiation, integration, truncation

Complex = NDArray[np.complex128]

WIDTH = 4.0
NOISE = 0.3
MAX_COURANT = 0.5
STEPS_BETWEEN_CHECKS = 20
# Trajectories advanced together: more of them share the work of an operator, fewer fit the cache.
BLOCK = 8


@dataclass(frozen=True)
class Solution:
    """Trajectories in free-fall units, float64.

    Attributes:
        buoyancy: shape (trajectory, time, x, y).
        pressure: shape (trajectory, time, x, y).
        velocity: shape (trajectory, time, x, y, 2), along x then along y.
        time: shape (time,).
    """

    buoyancy: Real
    pressure: Real
    velocity: Real
    time: Real


def coordinates(size: tuple[int, int]) -> tuple[Real, Real]:
    """Returns the grid of `size` points: x_i = 4i / n_x and y_j = (1 - cos(πj / (n_y - 1))) / 2.

    Returns:
        x, shape (x,), uniform in [0, 4), and y, shape (y,), Chebyshev nodes from 0 to 1.

    Raises:
        LilasError: the grid has fewer than 4 x 8 points.
    """
    if size[0] < 4 or size[1] < 8:
        raise LilasError(
            f"Rayleigh-Bénard: expected a size of at least 4 x 8 points, found {size[0]} x "
            f"{size[1]}. Correct the size."
        )
    x = WIDTH * np.arange(size[0]) / size[0]
    y = np.sin(angles(size[1]) / 2) ** 2
    return x, y


class RayleighBenard:
    """A batch of trajectories of one Rayleigh and one Prandtl number, and the means to advance it.

    The velocity comes from a streamfunction ψ: u = ∂ψ/∂y, v = -∂ψ/∂x. Its Laplacian
    q = ∇²ψ = ∂u/∂y - ∂v/∂x follows ∂q/∂t + u·∇q = ν ∇²q - ∂b/∂x, with ψ = ∂ψ/∂y = 0 on the
    plates. The mean over x of u, which no such ψ carries, follows its own momentum equation; it
    takes the place of ψ and of q at wavenumber 0.

    Attributes:
        steps: time steps taken since the initial state.
    """

    def __init__(
        self, buoyancy: Real, *, rayleigh: float, prandtl: float, time_step: float
    ) -> None:
        """Starts from fluid at rest.

        Arguments:
            buoyancy: initial buoyancy, shape (trajectory, x, y), on the grid of `coordinates`.
            rayleigh: Rayleigh number Ra.
            prandtl: Prandtl number Pr.
            time_step: time step, in free-fall times.

        Raises:
            LilasError: a number is not positive, or the grid has fewer than 4 x 8 points.
        """
        for name, value in (("rayleigh", rayleigh), ("prandtl", prandtl), ("time_step", time_step)):
            if not (np.isfinite(value) and value > 0):
                raise LilasError(
                    f"Rayleigh-Bénard: expected a positive {name}, found {value:g}. Correct it."
                )
        self.rayleigh, self.prandtl, self.time_step = rayleigh, prandtl, time_step
        _, *size = buoyancy.shape
        self.size = (size[0], size[1])
        self.diffusivity = (rayleigh * prandtl) ** -0.5
        self.viscosity = (rayleigh / prandtl) ** -0.5
        self.steps = 0

        _, y = coordinates(self.size)
        self._spacing_y = np.gradient(y)
        self._weights = integration(size[1])
        self._d_dy = differentiation(size[1])
        self._dealias = truncation(size[1])
        # Products of two fields of these wavenumbers alias only onto wavenumbers left out.
        self._wavenumber = 2 * np.pi / WIDTH * np.arange((size[0] - 1) // 3 + 1)
        self._ik = 1j * self._wavenumber[:, None, None]
        identity = np.eye(size[1])
        self._laplacian = self._d_dy @ self._d_dy - self._wavenumber[:, None, None] ** 2 * identity
        # From ψ (at wavenumber 0: from the mean of u) to u, to ∇²ψ, and to the quantity advanced.
        self._to_velocity = np.broadcast_to(self._d_dy, self._laplacian.shape).copy()
        self._to_velocity[0] = identity
        self._to_vorticity = self._laplacian.copy()
        self._to_vorticity[0] = self._d_dy
        self._to_advanced = self._laplacian.copy()
        self._to_advanced[0] = identity
        self._inverses = self._implicit(1.5)
        self._pressure_inverse = self._poisson()

        self._buoyancy = self._transform(np.moveaxis(buoyancy, 0, -1))
        self._flow = np.zeros_like(self._buoyancy)
        self._past: tuple[Complex, Complex, Complex, Complex] | None = None

    @property
    def time(self) -> float:
        """Time since the initial state, in free-fall times."""
        return self.steps * self.time_step

    def step(self) -> None:
        """Advances by one time step: SBDF2, the first one SBDF1.

        With N the explicit and L the implicit terms of a quantity q,
        (3/2 q⁺ - 2 q + 1/2 q⁻) / Δt = 2 N - N⁻ + L q⁺.
        """
        dt = self.time_step
        # Overflow is left to `check`, which knows what to advise.
        with np.errstate(over="ignore", invalid="ignore"):
            buoyancy, flow = self._buoyancy, _apply(self._to_advanced, self._flow)
            heat, force = self._explicit()
            if self._past is None:
                inverses = self._implicit(1.0)
                new_buoyancy = buoyancy + dt * heat
                new_flow = flow + dt * force
            else:
                inverses = self._inverses
                past_buoyancy, past_flow, past_heat, past_force = self._past
                new_buoyancy = 2 * buoyancy - 0.5 * past_buoyancy + dt * (2 * heat - past_heat)
                new_flow = 2 * flow - 0.5 * past_flow + dt * (2 * force - past_force)
            new_buoyancy[:, [0, -1]] = 0
            new_buoyancy[0, 0] = 1
            new_flow[:, [0, -1]] = 0
            new_flow[1:, [1, -2]] = 0
            self._past = (buoyancy, flow, heat, force)
            self._buoyancy = _apply(inverses[0], new_buoyancy)
            self._flow = _apply(inverses[1], new_flow)
        self.steps += 1

    def fields(self) -> tuple[Real, Real]:
        """Returns the present state on the grid.

        Returns:
            The buoyancy, shape (trajectory, x, y), and the velocity, shape (trajectory, x, y, 2).
        """
        velocity = np.stack([self._grid(component) for component in self._velocity()], axis=-1)
        return np.moveaxis(self._grid(self._buoyancy), -1, 0), np.moveaxis(velocity, 2, 0)

    def pressure(self) -> Real:
        """Returns the present pressure, shape (trajectory, x, y), of zero volume integral.

        It solves ∇²p = ∇·(b e_y - u·∇u), with ∂p/∂y = ν ∂²v/∂y² + b on the plates: the momentum
        equation along y where the velocity is zero.
        """
        u, v = self._velocity()
        grid_u, grid_v = self._grid(u), self._grid(v)
        force_x = -self._advection(grid_u, grid_v, u)
        force_y = self._buoyancy - self._advection(grid_u, grid_v, v)
        source = self._ik * force_x + _apply(self._d_dy, force_y)
        wall = self.viscosity * _apply(self._laplacian, v) + self._buoyancy
        source[:, [0, -1]] = wall[:, [0, -1]]
        source[0] = force_y[0]
        source[0, 0] = 0
        return np.moveaxis(self._grid(_apply(self._pressure_inverse, source)), -1, 0)

    def nusselt(self) -> tuple[Real, Real, Real]:
        """Returns the Nusselt numbers of the present state, each of shape (trajectory,).

        Returns:
            1 + <v b> / κ over the volume, and -<∂b/∂y> over the bottom and over the top plate.
            All three have the same mean over time in a statistically steady flow.
        """
        flux = (self._grid(self._velocity()[1]) * self._grid(self._buoyancy)).mean(axis=0)
        gradient = self._d_dy[[0, -1]] @ self._buoyancy[0].real
        return 1 + self._weights @ flux / self.diffusivity, -gradient[0], -gradient[1]

    def courant(self) -> float:
        """Returns the CFL number Δt max(|u| / Δx + |v| / Δy) of the present state.

        Δx and Δy are the spacings of the grid, the maximum is over the batch.
        """
        u, v = (np.abs(self._grid(component)) for component in self._velocity())
        rate = u * (self.size[0] / WIDTH) + v / self._spacing_y[:, None]
        return float(self.time_step * rate.max())

    def check(self) -> None:
        """Refuses a state that the scheme no longer resolves.

        Raises:
            LilasError: the state is not finite or its CFL number is 0.5 or more.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            courant = self.courant()
        finite = np.isfinite(courant) and np.isfinite(self._buoyancy).all()
        if not finite or courant >= MAX_COURANT:
            found = f"a CFL number of {courant:.3g}" if finite else "values that are not finite"
            raise LilasError(
                f"Rayleigh-Bénard at Ra {self.rayleigh:g}, Pr {self.prandtl:g}: expected finite "
                f"fields and a CFL number below {MAX_COURANT:g}, found {found} at time "
                f"{self.time:g}. Choose a time_step smaller than {self.time_step:g}; if that does "
                f"not help, a grid finer than {self.size[0]} x {self.size[1]} as well."
            )

    def _transform(self, values: Real) -> Complex:
        """Returns the kept amplitudes, (wavenumber, y, trajectory), of (x, y, trajectory)."""
        return scipy.fft.rfft(values, axis=0, norm="forward")[: len(self._wavenumber)]

    def _grid(self, amplitudes: Complex) -> Real:
        """Returns the values, (x, y, trajectory), of amplitudes (wavenumber, y, trajectory)."""
        return scipy.fft.irfft(amplitudes, n=self.size[0], axis=0, norm="forward")

    def _velocity(self) -> tuple[Complex, Complex]:
        """Returns the amplitudes of both components of the velocity."""
        return _apply(self._to_velocity, self._flow), -self._ik * self._flow

    def _advection(self, u: Real, v: Real, carried: Complex) -> Complex:
        """Returns the amplitudes of u·∇c: velocity on the grid, c as amplitudes."""
        advection = u * self._grid(self._ik * carried)
        advection += v * self._grid(_apply(self._d_dy, carried))
        return _apply(self._dealias, self._transform(advection))

    def _explicit(self) -> tuple[Complex, Complex]:
        """Returns the explicit terms of the buoyancy and of the flow."""
        u, v = self._velocity()
        grid_u, grid_v = self._grid(u), self._grid(v)
        heat = -self._advection(grid_u, grid_v, self._buoyancy)
        vorticity = _apply(self._to_vorticity, self._flow)
        force = -self._advection(grid_u, grid_v, vorticity) - self._ik * self._buoyancy
        # The mean over x of v ∂u/∂y; that of u ∂u/∂x is zero.
        mean = 2 * (v.conj() * _apply(self._d_dy, u)).real.sum(axis=0)
        force[0] = -self._dealias @ mean
        return heat, force

    def _implicit(self, lead: float) -> tuple[Real, Real]:
        """Returns the inverses of lead - Δt L, each (wavenumber, y, y), for buoyancy and flow.

        Rows next to a plate hold the conditions on it instead of the equation.
        """
        identity = np.eye(self.size[1])
        ends = [0, -1]
        heat = lead * identity - self.time_step * self.diffusivity * self._laplacian
        heat[:, ends] = identity[ends]
        flow = lead * self._to_advanced - self.time_step * self.viscosity * (
            self._laplacian @ self._to_advanced
        )
        flow[:, ends] = identity[ends]
        flow[1:, [1, -2]] = self._d_dy[ends]
        return np.linalg.inv(heat), np.linalg.inv(flow)

    def _poisson(self) -> Real:
        """Returns the inverse of the pressure's equations, (wavenumber, y, y).

        At wavenumber 0 they are ∂p/∂y, with the volume integral instead of the first.
        """
        poisson = self._laplacian.copy()
        poisson[:, [0, -1]] = self._d_dy[[0, -1]]
        poisson[0] = self._d_dy
        poisson[0, 0] = self._weights
        return np.linalg.inv(poisson)


def simulate(
    *,
    rayleigh: float,
    prandtl: float,
    size: tuple[int, int] = (128, 32),
    time_step: float,
    start: float,
    interval: float,
    steps: int,
    trajectories: int,
    seed: int,
    progress: Callable[[int], object] | None = None,
) -> Solution:
    """Returns trajectories that start from fluid at rest and disturbed conduction.

    The initial buoyancy is that of `initial`: no trajectory depends on the number of them, but for
    rounding.

    Arguments:
        rayleigh: Rayleigh number Ra.
        prandtl: Prandtl number Pr.
        size: grid points along x and y.
        time_step: time step, in free-fall times.
        start: time of the first saved state, a multiple of `time_step`; 0 is the initial state.
        interval: time between saved states, a multiple of `time_step`.
        steps: saved states per trajectory.
        trajectories: number of trajectories.
        seed: seed of the initial states.
        progress: called with 1 each time one more state of all trajectories is there.

    Raises:
        LilasError: a time is not a multiple of the time step, a number is out of range, or the
            flow outran the resolution (not finite, or a CFL number of 0.5 or more).
    """
    if steps < 1 or trajectories < 1:
        raise LilasError(
            f"Rayleigh-Bénard: expected at least one state and one trajectory, found {steps} and "
            f"{trajectories}. Correct them."
        )
    spin_up = _multiple("start", start, time_step, least=0)
    stride = _multiple("interval", interval, time_step, least=1)
    begun = initial(size, trajectories, seed)
    blocks = [slice(first, first + BLOCK) for first in range(0, trajectories, BLOCK)]
    solvers = [
        RayleighBenard(begun[block], rayleigh=rayleigh, prandtl=prandtl, time_step=time_step)
        for block in blocks
    ]
    buoyancy = np.empty((trajectories, steps, *size))
    pressure = np.empty_like(buoyancy)
    velocity = np.empty((*buoyancy.shape, 2))
    for state in range(steps):
        for block, solver in zip(blocks, solvers, strict=True):
            while solver.steps < spin_up + state * stride:
                solver.step()
                if solver.steps % STEPS_BETWEEN_CHECKS == 0:
                    solver.check()
            solver.check()
            buoyancy[block, state], velocity[block, state] = solver.fields()
            pressure[block, state] = solver.pressure()
        if progress is not None:
            progress(1)
    return Solution(buoyancy, pressure, velocity, start + interval * np.arange(steps))


def initial(size: tuple[int, int], trajectories: int, seed: int) -> Real:
    """Returns the initial buoyancy (trajectory, x, y): 1 - y + 0.3 y (1 - y) ε.

    ε is standard normal at each grid point, of the stream `SeedSequence([seed, trajectory])`.
    """
    _, y = coordinates(size)
    noise = np.stack(
        [
            np.random.default_rng(np.random.SeedSequence([seed, trajectory])).standard_normal(size)
            for trajectory in range(trajectories)
        ]
    )
    return 1 - y + NOISE * y * (1 - y) * noise


def _multiple(name: str, duration: float, time_step: float, least: int) -> int:
    """Returns `duration` in time steps, refusing one that is no multiple or less than `least`."""
    ratio = duration / time_step if time_step > 0 else np.nan
    if not (np.isfinite(ratio) and abs(ratio - round(ratio)) < 1e-6 and round(ratio) >= least):
        raise LilasError(
            f"Rayleigh-Bénard: expected {name} to be a multiple of the time step {time_step:g}, "
            f"at least {least} of it, found {duration:g}. Correct {name} or time_step."
        )
    return round(ratio)


def _apply(operator: Real, amplitudes: Complex) -> Complex:
    """Returns a real operator, (y, y) or (wavenumber, y, y), applied along y of amplitudes
    (wavenumber, y, trajectory)."""
    # Real and imaginary parts side by side: half the work of a complex product.
    return np.matmul(operator, amplitudes.view(np.float64)).view(np.complex128)
