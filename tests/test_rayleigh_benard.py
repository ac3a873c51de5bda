"""The convection solver against theory, published numbers and the equations themselves."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import chebyshev
from scipy.optimize import brentq

from lilas.errors import LilasError
from lilas.systems.rayleigh_benard_solver import RayleighBenard, coordinates, simulate


def smooth(size, trajectories=1, amplitude=0.1):
    """Returns conduction with a few long waves, the same function on every grid."""
    x, y = coordinates(size)
    random = np.random.default_rng(0)
    buoyancy = np.tile(1 - y, (trajectories, size[0], 1))
    for wave in range(1, 4):
        for mode in range(1, 3):
            phase = random.uniform(0, 2 * np.pi, (trajectories, 1, 1))
            shape = np.cos(np.pi * wave / 2 * x[:, None] + phase) * np.sin(np.pi * mode * y)
            buoyancy += amplitude * shape
    return buoyancy


def run(buoyancy, *, until, **parameters):
    solver = RayleighBenard(buoyancy, **parameters)
    while solver.steps < round(until / solver.time_step):
        solver.step()
    solver.check()
    return solver


def along_x(values):
    """Returns ∂/∂x of (..., x, y) by the whole discrete Fourier transform."""
    count = values.shape[-2]
    wavenumber = 2 * np.pi / 4 * np.fft.fftfreq(count, 1 / count)
    if count % 2 == 0:
        wavenumber[count // 2] = 0
    transform = np.fft.fft(values, axis=-2)
    return np.fft.ifft(1j * wavenumber[:, None] * transform, axis=-2).real


def series(values, y):
    """Returns the Chebyshev series in 2y - 1 through the values (..., y), degree first."""
    table = chebyshev.chebvander(2 * y - 1, len(y) - 1)
    return np.linalg.solve(table, np.moveaxis(values, -1, 0).reshape(len(y), -1))


def along_y(values, y):
    """Returns ∂/∂y of (..., x, y) by differentiating its Chebyshev series."""
    derivative = chebyshev.chebval(2 * y - 1, 2 * chebyshev.chebder(series(values, y)))
    return derivative.reshape(values.shape)


def over_y(values, y):
    """Returns the integral from 0 to 1 of (..., y) by integrating its Chebyshev series."""
    integral = chebyshev.chebint(series(values, y)) / 2
    difference = chebyshev.chebval(1, integral) - chebyshev.chebval(-1, integral)
    return difference.reshape(values.shape[:-1])


def laplacian(values, y):
    return along_x(along_x(values)) + along_y(along_y(values, y), y)


@pytest.fixture(scope="module")
def resolved():
    """Three states around t = 6 of a well resolved flow, and the parameters of the flow."""
    parameters = {"rayleigh": 5e3, "prandtl": 0.7, "time_step": 0.0025}
    solver = run(smooth((64, 32), trajectories=2), until=6, **parameters)
    states = []
    for _ in range(3):
        states.append((*solver.fields(), solver.pressure(), solver.nusselt()))
        solver.step()
    return states, parameters, coordinates((64, 32))[1]


def test_grid_is_uniform_in_x_and_holds_the_extrema_of_a_chebyshev_polynomial_in_y():
    x, y = coordinates((10, 17))
    np.testing.assert_allclose(np.diff(x, append=4.0), 0.4, rtol=1e-13)
    assert y[0] == 0
    assert y[-1] == 1
    assert (np.diff(y) > 0).all()
    extrema = chebyshev.chebval(2 * y - 1, [0] * 16 + [1])
    np.testing.assert_allclose(extrema, (-1.0) ** np.arange(17), atol=1e-12)


def test_heat_is_conducted_below_the_onset():
    size = (32, 16)
    parameters = {"rayleigh": 1000.0, "prandtl": 1.0, "time_step": 0.05}
    solver = run(smooth(size), until=10, **parameters)
    energies = []
    for _ in range(4):
        energies.append(np.square(solver.fields()[1]).sum())
        for _ in range(400):
            solver.step()
    assert energies[0] > 1e-3
    assert (np.diff(np.log(energies)) < -7).all()
    for nusselt in solver.nusselt():
        np.testing.assert_allclose(nusselt, 1, atol=1e-8)
    _, y = coordinates(size)
    np.testing.assert_allclose(solver.fields()[0][0], np.tile(1 - y, (32, 1)), atol=1e-5)


def test_steady_rolls_carry_the_published_heat():
    """Nu = 1.66 at Ra 3000 for rolls near the critical wavenumber (Clever and Busse, 1974)."""
    solver = run(smooth((48, 20)), rayleigh=3000.0, prandtl=1.0, time_step=0.1, until=250)
    volume, bottom, top = solver.nusselt()
    assert volume[0] == pytest.approx(1.66, abs=0.05)
    np.testing.assert_allclose([bottom[0], top[0]], volume[0], rtol=1e-4)


def marginal_rayleigh(wavenumber):
    """Returns the Rayleigh number at which waves between rigid plates neither grow nor decay.

    Marginal waves obey (d²/dy² - k²)³ v = -Ra k² v with v = dv/dy = (d²/dy² - k²)² v = 0 at
    y = ±1/2; the gravest is a sum of three cosh(q y) (Pellew and Southwell, 1940).
    """

    def determinant(rayleigh):
        roots = np.exp(1j * np.pi / 3 * np.array([3, 1, -1]))
        excess = (rayleigh * wavenumber**2) ** (1 / 3) * roots
        q = np.sqrt(wavenumber**2 + excess)
        conditions = [np.cosh(q / 2), q * np.sinh(q / 2), excess**2 * np.cosh(q / 2)]
        # The three roots are one real or imaginary and a conjugate pair: i times a real number.
        return np.linalg.det(np.array(conditions)).imag

    return brentq(determinant, 1000, 3000)


@pytest.mark.parametrize("prandtl", [0.5, 2.0])
def test_convection_sets_in_and_grows_as_theory_says(prandtl):
    """The growth rate crosses zero at the marginal Rayleigh number, with the known slope.

    Near the onset it is (Ra / Ra_c - 1) / τ per diffusion time (Ra Pr)^(1/2), with
    1/τ = 19.65 Pr / (Pr + 0.5117) (Cross and Hohenberg, 1993).
    """
    assert marginal_rayleigh(3.117) == pytest.approx(1707.762, abs=0.001)
    x, y = coordinates((12, 24))
    wave = 1e-6 * np.cos(np.pi * x)[:, None] * np.sin(np.pi * y)
    growth = {}
    for rayleigh in (1700.0, 1716.0):
        solver = run(
            1 - y + wave[None], rayleigh=rayleigh, prandtl=prandtl, time_step=0.1, until=80
        )
        before = np.abs(solver.fields()[1]).max()
        for _ in range(400):
            solver.step()
        growth[rayleigh] = np.log(np.abs(solver.fields()[1]).max() / before) / 40
    assert growth[1700.0] < 0 < growth[1716.0]
    slope = (growth[1716.0] - growth[1700.0]) / 16
    critical = marginal_rayleigh(np.pi)
    assert 1700 - growth[1700.0] / slope == pytest.approx(critical, abs=0.05)
    theory = 19.65 * prandtl / (prandtl + 0.5117) / critical / np.sqrt(critical * prandtl)
    assert slope == pytest.approx(theory, rel=0.01)


def test_turbulent_heat_flux_is_the_converged_one_and_the_same_everywhere():
    """Nu is 8.1 at Ra 1e6, Pr 1, and Dedalus finds about 8.

    Single trajectories of this length spread by 0.3, so the mean of eight does by 0.1.
    """
    size = (128, 32)
    solver = RayleighBenard(
        smooth(size, trajectories=8), rayleigh=1e6, prandtl=1.0, time_step=0.0125
    )
    samples = []
    while solver.time < 60:
        solver.step()
        if solver.steps % 20 == 0:
            solver.check()
            if solver.time > 15:
                samples.append(solver.nusselt())
    volume, bottom, top = np.mean(samples, axis=(0, 2))
    assert volume == pytest.approx(8.1, abs=0.4)
    np.testing.assert_allclose([bottom, top], volume, rtol=0.03)


def difference(first, second):
    """Returns the relative L2 difference of the buoyancy and of the velocity, the larger."""
    return max(
        np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(first, second, strict=True)
    )


def test_time_stepping_is_of_second_order():
    steps = (0.04, 0.02, 0.0025)
    coarse, fine, reference = (
        run(smooth((48, 24)), rayleigh=5e4, prandtl=1.0, time_step=time_step, until=4).fields()
        for time_step in steps
    )
    # (0.04² - 0.0025²) / (0.02² - 0.0025²)
    assert difference(coarse, reference) / difference(fine, reference) == pytest.approx(
        4.05, rel=0.15
    )


def test_halving_the_grid_spacing_removes_far_more_than_half_of_the_error():
    fields = {
        points: run(
            smooth((2 * points, points + 1)), rayleigh=1e5, prandtl=1.0, time_step=0.01, until=4
        ).fields()
        for points in (15, 30, 60)
    }
    reference = fields[60]
    errors = {
        points: difference(
            fields[points], [values[:, :: 60 // points, :: 60 // points] for values in reference]
        )
        for points in (15, 30)
    }
    assert errors[15] < 0.2
    assert errors[30] < errors[15] / 8


def test_velocity_has_no_divergence(resolved):
    states, _, y = resolved
    velocity = states[1][1]
    divergence = along_x(velocity[..., 0]) + along_y(velocity[..., 1], y)
    assert np.abs(velocity).max() > 0.1
    assert np.abs(divergence).max() < 1e-10


def test_plates_hold_the_fluid_and_the_buoyancy():
    flow = simulate(
        rayleigh=1e6,
        prandtl=1.0,
        size=(64, 32),
        time_step=0.0125,
        start=3.0,
        interval=0.5,
        steps=3,
        trajectories=2,
        seed=0,
    )
    assert np.abs(flow.velocity).max() > 0.1
    assert np.abs(flow.velocity[..., [0, -1], :]).max() < 1e-12
    assert np.abs(flow.buoyancy[..., 0] - 1).max() < 1e-12
    assert np.abs(flow.buoyancy[..., -1]).max() < 1e-12


def test_fields_and_pressure_satisfy_the_equations(resolved):
    """Each equation closes, with derivatives of another kind and a central time derivative."""
    (past, state, future), parameters, y = resolved
    kappa = (parameters["rayleigh"] * parameters["prandtl"]) ** -0.5
    nu = (parameters["rayleigh"] / parameters["prandtl"]) ** -0.5
    buoyancy, velocity, pressure, _ = state
    u, v = velocity[..., 0], velocity[..., 1]

    def rate(first, last):
        return (last - first) / (2 * parameters["time_step"])

    def carried(values):
        return u * along_x(values) + v * along_y(values, y)

    heat = rate(past[0], future[0]) + carried(buoyancy) - kappa * laplacian(buoyancy, y)
    assert np.abs(heat).max() < 3e-5 * np.abs(carried(buoyancy)).max()
    momentum_x = rate(past[1], future[1])[..., 0] + carried(u) + along_x(pressure)
    momentum_x -= nu * laplacian(u, y)
    momentum_y = rate(past[1], future[1])[..., 1] + carried(v) + along_y(pressure, y)
    momentum_y -= nu * laplacian(v, y) + buoyancy
    scale = np.abs(carried(u)).max()
    assert scale > 0.1
    assert np.abs(momentum_x).max() < 1e-5 * scale
    assert np.abs(momentum_y).max() < 1e-5 * scale


def test_pressure_integrates_to_zero(resolved):
    states, _, y = resolved
    pressure = states[1][2]
    assert np.abs(pressure).max() > 0.1
    assert np.abs(over_y(pressure.mean(axis=-2), y)).max() < 1e-12


def test_volume_nusselt_is_the_convective_flux(resolved):
    """The mean over the volume of v b - κ ∂b/∂y, over κ."""
    states, parameters, y = resolved
    buoyancy, velocity, _, (volume, bottom, top) = states[0]
    kappa = (parameters["rayleigh"] * parameters["prandtl"]) ** -0.5
    flux = over_y((velocity[..., 1] * buoyancy - kappa * along_y(buoyancy, y)).mean(axis=-2), y)
    gradient = along_y(buoyancy, y).mean(axis=-2)
    np.testing.assert_allclose(volume, flux / kappa, rtol=1e-4)
    np.testing.assert_allclose(bottom, -gradient[:, 0], rtol=1e-10)
    np.testing.assert_allclose(top, -gradient[:, -1], rtol=1e-10)


@settings(max_examples=5, deadline=None)
@given(shift=st.integers(0, 47), mirrored=st.booleans(), turned=st.booleans())
def test_symmetries_of_the_layer_are_kept(shift, mirrored, turned):
    """Translated, mirrored in x or turned upside down (b → 1 - b) flows stay so."""

    def move(buoyancy, velocity):
        if mirrored:
            buoyancy, velocity = buoyancy[:, ::-1], velocity[:, ::-1] * [-1, 1]
        if turned:
            buoyancy, velocity = 1 - buoyancy[..., ::-1], velocity[:, :, ::-1] * [1, -1]
        return np.roll(buoyancy, shift, axis=1), np.roll(velocity, shift, axis=1)

    parameters = {"rayleigh": 1e5, "prandtl": 0.5, "time_step": 0.02, "until": 4}
    initial = smooth((48, 24))
    moved, _ = move(initial, np.zeros((*initial.shape, 2)))
    expected = move(*run(initial, **parameters).fields())
    for values, wanted in zip(run(moved, **parameters).fields(), expected, strict=True):
        np.testing.assert_allclose(values, wanted, atol=1e-10)


def test_products_of_kept_modes_do_not_alias():
    """Computed on the grid, they hold the exact product's amplitudes and degrees."""
    size, kept_waves, kept_degrees = (24, 17), 8, 11
    solver = RayleighBenard(smooth(size), rayleigh=1e4, prandtl=1.0, time_step=0.1)
    assert solver._transform(np.zeros((*size, 1))).shape[0] == kept_waves
    x, y = coordinates(size)
    random = np.random.default_rng(0)
    first, second = random.standard_normal((2, kept_waves, kept_degrees))

    def values(coefficients):
        waves = np.cos(np.pi / 2 * np.outer(x, np.arange(len(coefficients))))
        return waves @ chebyshev.chebval(2 * y - 1, coefficients.T)

    def product(coefficients, others):
        """Multiplies sums of cos(kθ) T_m, with cos(jθ) cos(kθ) = (cos(j-k)θ + cos(j+k)θ) / 2."""
        total = np.zeros((2 * kept_waves - 1, 2 * kept_degrees - 1))
        for j, one in enumerate(coefficients):
            for k, other in enumerate(others):
                for wave in (abs(j - k), j + k):
                    total[wave] += chebyshev.chebmul(one, other) / 2
        return total

    exact = values(product(first, second)[:kept_waves, :kept_degrees])
    on_grid = solver._transform((values(first) * values(second))[..., None])
    found = solver._grid((solver._dealias @ on_grid.view(np.float64)).view(np.complex128))
    np.testing.assert_allclose(found[..., 0], exact, atol=1e-11)


SMALL = {
    "rayleigh": 1e5,
    "prandtl": 1.0,
    "size": (32, 16),
    "time_step": 0.025,
    "start": 1.0,
    "interval": 0.25,
    "steps": 3,
    "trajectories": 2,
    "seed": 7,
}


FIELDS = ("buoyancy", "pressure", "velocity")


def test_seed_decides_the_numbers():
    flow = simulate(**SMALL)
    again = simulate(**SMALL)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(again, name), getattr(flow, name))
    assert np.abs(flow.buoyancy[0] - flow.buoyancy[1]).max() > 0.1
    other = simulate(**SMALL | {"seed": 8})
    assert np.abs(flow.buoyancy - other.buoyancy).max() > 0.1


def test_trajectory_does_not_depend_on_how_many_there_are():
    whole = simulate(**SMALL | {"trajectories": 11})
    for count in (1, 9):
        part = simulate(**SMALL | {"trajectories": count})
        for name in FIELDS:
            np.testing.assert_allclose(
                getattr(part, name), getattr(whole, name)[:count], rtol=0, atol=1e-12
            )


def test_states_are_saved_when_asked():
    calls = []
    flow = simulate(**SMALL, progress=calls.append)
    assert calls == [1, 1, 1]
    np.testing.assert_allclose(flow.time, [1.0, 1.25, 1.5], rtol=1e-14)
    initial = simulate(**SMALL | {"start": 0.0, "steps": 1}).buoyancy[:, 0]
    solver = run(initial, rayleigh=1e5, prandtl=1.0, time_step=0.025, until=1.25)
    np.testing.assert_allclose(flow.buoyancy[:, 1], solver.fields()[0], atol=1e-12)
    np.testing.assert_allclose(flow.velocity[:, 1], solver.fields()[1], atol=1e-12)
    np.testing.assert_allclose(flow.pressure[:, 1], solver.pressure(), atol=1e-12)


def test_initial_state_is_disturbed_conduction_at_rest():
    flow = simulate(**SMALL | {"start": 0.0, "steps": 1})
    _, y = coordinates((32, 16))
    for trajectory in range(2):
        stream = np.random.default_rng(np.random.SeedSequence([7, trajectory]))
        noise = np.fft.fft(stream.standard_normal((32, 16)), axis=0)
        # 32 points resolve products of wavenumbers up to 10.
        noise[11:22] = 0
        expected = 1 - y + 0.3 * y * (1 - y) * np.fft.ifft(noise, axis=0).real
        np.testing.assert_allclose(flow.buoyancy[trajectory, 0], expected, atol=1e-13)
    assert not flow.velocity.any()


def test_courant_number_is_that_of_the_fastest_cell():
    solver = run(smooth((24, 12)), rayleigh=1e5, prandtl=1.0, time_step=0.02, until=5)
    velocity = np.abs(solver.fields()[1][0])
    _, y = coordinates((24, 12))
    largest = max(
        velocity[i, j, 0] / (4 / 24) + velocity[i, j, 1] / ((y[j + 1] - y[j - 1]) / 2)
        for i in range(24)
        for j in range(1, 11)
    )
    assert solver.courant() == pytest.approx(0.02 * largest, rel=1e-12)


CHAOTIC = SMALL | {"rayleigh": 1e6, "size": (128, 32), "start": 10.0}


def test_flow_that_outruns_the_resolution_is_refused():
    """At a time step of 0.025 it does from about t = 6 on, and blows up a time unit later."""
    with pytest.raises(LilasError, match=r"Ra 1e\+06, Pr 1: .* smaller than 0\.025") as error:
        simulate(**CHAOTIC)
    courant, time = re.search(r"number of ([\d.]+) at time ([\d.]+)\.", str(error.value)).groups()
    assert 0.5 <= float(courant) < 1
    assert 5 < float(time) < 7.5


def test_saved_states_are_checked_too():
    """The CFL number exceeds 0.5 within three steps, long before the next check between states."""
    late = {"time_step": 1.0, "start": 3.0, "interval": 1.0}
    with pytest.raises(LilasError, match=r"found a CFL number of .* at time 3"):
        simulate(**CHAOTIC | late)


def test_overflow_between_checks_is_refused():
    with pytest.raises(LilasError, match="found values that are not finite at time 40"):
        simulate(**CHAOTIC | {"time_step": 2.0, "start": 100.0, "interval": 2.0})


def test_flow_that_is_not_finite_is_refused_at_once():
    buoyancy = smooth((16, 12))
    buoyancy[0, 3, 3] = np.nan
    solver = RayleighBenard(buoyancy, rayleigh=1e4, prandtl=1.0, time_step=0.1)
    with pytest.raises(LilasError, match="values that are not finite at time 0"):
        solver.check()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"start": 1.01}, "start"),
        ({"start": -1.0}, "start"),
        ({"interval": 0.26}, "interval"),
        ({"interval": 0.0}, "interval"),
        ({"time_step": 0.0}, "time step 0"),
        ({"rayleigh": -1.0}, "rayleigh"),
        ({"prandtl": 0.0}, "prandtl"),
        ({"size": (32, 4)}, "size"),
        ({"steps": 0}, "state"),
        ({"trajectories": 0}, "trajectory"),
    ],
)
def test_bad_parameters_are_refused(changes, named):
    with pytest.raises(LilasError, match=named):
        simulate(**SMALL | changes)
