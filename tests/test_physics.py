"""Laws in closed form: gradients, Nusselt and Mach numbers, residuals."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lilas.errors import LilasError
from lilas.evaluation import physics
from lilas.evaluation.physics import Flow
from lilas.systems import rayleigh_benard_solver as rayleigh_benard

X = np.linspace(0, 2 * np.pi, 64, endpoint=False)


def flow(channels, *, y=X, periodic=(True, True), **parameters):
    return Flow(tuple(channels), ("x", "y"), (X, y), periodic, parameters)


def field(function, y=X):
    return torch.from_numpy(function(X[:, None], y[None, :]) * np.ones((len(X), len(y))))


def test_gradients_are_exact_for_parabolas_between_plates():
    """On uneven points, the plates among them."""
    y = (1 - np.cos(np.pi * np.arange(24) / 23)) / 2
    plates = flow(["u"], y=y, periodic=(True, False))
    states = field(lambda x, y: 3 * y**2 - y, y)
    expected = field(lambda x, y: 6 * y - 1, y)
    torch.testing.assert_close(plates.derivative(states, 1), expected, rtol=0, atol=1e-10)


def test_a_trajectory_has_the_grid_of_its_own():
    """The second one's box is twice as wide, so its gradients are half as steep."""
    file = SimpleNamespace(axes=("x",), boundaries=np.full((1, 2), 2), parameters={}, channels=[])
    file.coordinates = {"x": np.stack([X, 2 * X])}
    wave = torch.from_numpy(np.sin(X))
    first, second = (Flow.of(file, row).derivative(wave, 0) for row in range(2))
    torch.testing.assert_close(second, first / 2)


def test_periodic_gradients_are_those_of_central_differences():
    """Of a wave of wavenumber k they are cos(kx) sin(kh)/h, at the seam as elsewhere."""
    states, h = field(lambda x, y: np.sin(3 * x)), X[1]
    expected = field(lambda x, y: np.cos(3 * x) * np.sin(3 * h) / h)
    torch.testing.assert_close(flow(["u"]).derivative(states, 0), expected)


@pytest.mark.parametrize(
    ("w_x", "w_y", "expected"),
    [
        (lambda x, y: np.sin(x), lambda x, y: 0, 1.0),
        (lambda x, y: np.sin(y), lambda x, y: np.sin(x), 0.0),
        # ∇·w = 2 cos x cos y and |∇w|² has the mean 1/4 (1 + 1 + 1 + 1).
        (lambda x, y: np.sin(x) * np.cos(y), lambda x, y: np.cos(x) * np.sin(y), 1.0),
        (lambda x, y: np.sin(x), lambda x, y: np.sin(x), 0.5**0.5),
        (lambda x, y: 1.0, lambda x, y: 2.0, 0.0),
    ],
    ids=["compression", "rotation", "potential", "half", "uniform"],
)
def test_divergence_in_closed_form(w_x, w_y, expected):
    states = torch.stack([field(w_x), field(w_y)])[None, None]
    found = physics.divergence(states[0], states, flow(["velocity_x", "velocity_y"]))
    assert found["velocity"].item() == pytest.approx(expected, abs=1e-6)


def test_nusselt_of_conduction_and_of_a_uniform_updraft():
    y = (1 - np.cos(np.pi * np.arange(24) / 23)) / 2
    plates = flow(
        ["buoyancy", "velocity_y"], y=y, periodic=(True, False), Rayleigh=1e6, Prandtl=4.0
    )
    conduction = torch.stack([field(lambda x, y: 1 - y, y), field(lambda x, y: 0, y)])
    assert physics.nusselt_number(conduction, plates).item() == 1
    # The trapezoidal rule is exact for the linear profile: the mean of 1 - y is 1/2.
    updraft = torch.stack([field(lambda x, y: 1 - y, y), field(lambda x, y: 0.01, y)])
    assert physics.nusselt_number(updraft, plates).item() == pytest.approx(1 + 2000 * 0.005)
    found = physics.nusselt(updraft[None], torch.stack([conduction, updraft])[:, None], plates)
    assert found["state"].item() == pytest.approx(5 / 11)


def test_nusselt_agrees_with_the_simulation():
    """Simulated convection, its Nusselt number by the simulation's own quadrature."""
    found = rayleigh_benard.simulate(
        rayleigh=1e5,
        prandtl=1.0,
        trajectories=1,
        size=(64, 32),
        time_step=0.0125,
        start=10.0,
        interval=1.0,
        steps=3,
        seed=0,
    )
    x, y = rayleigh_benard.coordinates((64, 32))
    states = torch.from_numpy(
        np.stack([found.buoyancy[0], found.velocity[0, ..., 0], found.velocity[0, ..., 1]], 1)
    )
    channels = ("buoyancy", "velocity_x", "velocity_y")
    parameters = {"Rayleigh": 1e5, "Prandtl": 1.0}
    convection = Flow(channels, ("x", "y"), (x, y), (True, False), parameters)
    coefficients = np.polynomial.chebyshev.chebfit(
        2 * y - 1, (states[:, 0] * states[:, 2]).mean(1).T, 31
    )
    integral = np.polynomial.chebyshev.chebint(coefficients)
    ends = np.polynomial.chebyshev.chebval(np.array([1.0, -1.0]), integral)
    exact = 1 + np.sqrt(1e5) * (ends[:, 0] - ends[:, 1]) / 2
    assert exact.min() > 1.5
    nu = physics.nusselt_number(states, convection)
    np.testing.assert_allclose(nu.numpy(), exact, rtol=0.01)
    residual = physics.divergence(states, states[None], convection)["velocity"]
    assert 0 < residual.max() < 0.1


GAS = ["density", "pressure", "momentum_x", "momentum_y", "energy"]


def gas(density, pressure, momentum, energy):
    values = [density, pressure, *momentum, energy]
    return torch.stack([field(lambda x, y, v=v: v) for v in values])[None]


def test_mach_number_and_energy_of_a_uniform_gas():
    at = flow(GAS, gamma=1.4)
    # |m| = 5, c² = 1.4 p/ρ: M = |m| / sqrt(γ p ρ) = 5 / sqrt(1.4 · 2 · 0.5).
    state = gas(0.5, 2.0, (3.0, 4.0), 2.0 / 0.4 + 25.0)
    expected = 5 / np.sqrt(1.4)
    assert physics.mach_number(state[0], at).mean().item() == pytest.approx(expected)
    still = gas(0.5, 2.0, (0.0, 0.0), 5.0)
    found = physics.mach(still, torch.stack([still, state]), at)["state"]
    assert found.item() == pytest.approx(expected / 2)
    # An ideal gas has no residual; three tenths of the energy too much are 0.3/1.3 of it.
    assert physics.energy_residual(state, state[None], at)["state"].item() == pytest.approx(0)
    wrong = gas(0.5, 2.0, (3.0, 4.0), 1.3 * 30.0)
    found = physics.energy_residual(state, torch.stack([wrong, state]), at)["state"]
    assert found.item() == pytest.approx(0.3 / 1.3 / 2)


def test_a_gas_below_zero_is_counted_and_has_no_mach_number_there():
    at, state = flow(GAS, gamma=1.4), gas(0.5, 2.0, (3.0, 4.0), 30.0)
    broken = state.clone()
    broken[:, 0, :16] = -0.1
    found = physics.negative(state, torch.stack([state, broken]), at)
    assert found["density"].item() == pytest.approx(0.25 / 2)
    assert found["pressure"].item() == 0
    assert set(found) == {"density", "pressure", "energy"}
    # Where all members have a Mach number there is no error; elsewhere none is made up.
    assert physics.mach(state, torch.stack([state, broken]), at)["state"].item() == 0
    residual = physics.energy_residual(state, broken[None], at)["state"]
    assert residual.item() == pytest.approx(0.5)
    broken[:, 0] = -0.1
    with pytest.raises(LilasError, match="no Mach number"):
        physics.mach(state, broken[None], at)


def test_what_a_law_needs_and_lacks_is_named():
    state = gas(0.5, 2.0, (3.0, 4.0), 30.0)
    with pytest.raises(LilasError, match="parameter 'gamma'; the files have none"):
        physics.mach_number(state, flow(GAS))
    with pytest.raises(LilasError, match="channel 'velocity_x'; the states have density"):
        physics.divergence(state, state[None], flow(GAS))
