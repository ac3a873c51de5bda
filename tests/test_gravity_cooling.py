"""Simulated clouds against free fall, Newton, exact cooling, their budgets, symmetry, The Well."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from the_well.data import WellDataset

REASON = "the simulators are not installed: make install EXTRAS=simulate"
pytest.importorskip("astronomix", reason=REASON)

from lilas.data.layout import BOUNDARIES  # noqa: E402
from lilas.data.well_writer import write_well  # noqa: E402
from lilas.errors import LilasError  # noqa: E402
from lilas.systems import gravity_cooling_files  # noqa: E402
from lilas.systems.cloud import COOLING, Cloud  # noqa: E402
from lilas.systems.gravity_cooling import GravityCooling  # noqa: E402
from lilas.systems.gravity_cooling_files import (  # noqa: E402
    CONTRAST,
    FREE_FALL,
    RADIUS,
    check_infall,
    evolve,
    initial,
    simulate_part,
    within,
)
from lilas.systems.runs import UnsoundError, imbalance  # noqa: E402

CELLS = 24
SIZE = (CELLS, CELLS, CELLS)
SETTINGS = {
    "kind": "simulate",
    "system": "turbulence_gravity_cooling",
    "density": [1, 4],
    "temperature": [0.2],
    "metallicity": [0.5],
    "trajectories": {"train": 2, "valid": 1, "test": 1},
    "size": [16, 16, 16],
    "interval": 0.03,
    "steps": 4,
    "seed": 3,
}


@pytest.fixture(scope="module")
def cloud():
    """It compiles once."""
    return Cloud(SIZE)


def centers(cells):
    axis = (np.arange(cells) + 0.5) / cells - 0.5
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))


def sphere(radius=RADIUS, temperature=1e-3, around=1 / CONTRAST):
    """A still sphere of density 1."""
    state = np.zeros((5, *SIZE))
    state[0] = np.where(within(CELLS, radius), 1, around)
    state[-1] = state[0] * temperature
    return state


# --- Gravity --------------------------------------------------------------------------------------


def test_potential_is_the_sum_over_all_cells():
    """Newton's, cell by cell; a cell's own is the mean of 1 / |x| over it."""
    small = Cloud((16, 16, 16))
    density = np.random.default_rng(0).uniform(size=(16, 16, 16))
    points, mass = centers(16).reshape(3, -1), density.ravel() / 16**3
    chosen = [0, 1, 255, 2000, 4095]
    for cell in chosen:
        distance = np.linalg.norm(points - points[:, [cell]], axis=0)
        distance[cell] = 1 / (2.3800774 * 16)
        found = np.asarray(small.potential(density)).ravel()[cell]
        assert found == pytest.approx(-(mass / distance).sum(), rel=1e-12)
    # The mean of 1 / |x| over a unit cube, by the midpoint rule on finer cells.
    fine = np.linalg.norm(centers(64), axis=0)
    assert (1 / fine).mean() == pytest.approx(2.3800774, rel=1e-3)


def test_gas_starts_to_fall_as_newton_says(cloud):
    """Inside a uniform sphere -4/3 π ρ r, outside -M / r²; without gravity nothing falls."""
    state = sphere(around=1e-6)
    time = 0.01
    moved, radiated = cloud.advance(state, time, 0.0, 0.0, 1.0)
    position = centers(CELLS)
    distance = np.linalg.norm(position, axis=0)
    fall = (moved[1:-1] * position).sum(0) / distance / time
    mass = state[0].mean()
    expected = -np.where(distance < RADIUS, 4 / 3 * np.pi * distance, mass / distance**2)
    deep = (distance < RADIUS - 2 / CELLS) & (distance > 2 / CELLS)
    np.testing.assert_allclose(fall[deep], expected[deep], rtol=0.08)
    assert fall[deep].mean() == pytest.approx(expected[deep].mean(), rel=0.02)
    assert radiated == pytest.approx(0, abs=1e-15)
    still, _ = cloud.advance(state, time, 0.0, 0.0, 0.0)
    assert np.abs((still[1:-1] * position).sum(0)[deep]).max() < 1e-3 * time


def test_cold_sphere_falls_freely(cloud):
    """Its shells keep their order, so that their radii shrink alike: r'' = -4/3 π / r² at r = 1.

    The density of its inner part is then r^-3 until shells meet at π / (2 √2) √(3 / 4 π).
    """
    law = solve_ivp(
        lambda _, y: [y[1], -4 / 3 * np.pi / y[0] ** 2], (0, 0.35), [1, 0], rtol=1e-10, atol=1e-12
    )
    assert pytest.approx(np.pi / 2 / np.sqrt(2) * np.sqrt(3 / 4 / np.pi)) == FREE_FALL
    moved, _ = cloud.advance(sphere(), 0.35, 0.0, 0.0, 1.0)
    inner = within(CELLS, 0.15)
    expected = law.y[0, -1] ** -3
    assert expected > 2
    assert moved[0][inner].mean() == pytest.approx(expected, rel=0.05)
    position = centers(CELLS)
    rate = ((moved[1:-1] * position).sum(0) / (position**2).sum(0))[inner].mean()
    assert rate == pytest.approx(law.y[1, -1] / law.y[0, -1], rel=0.05)


def test_infall_is_asserted(cloud, monkeypatch):
    state = initial(cloud, SIZE, 0.05, 0)
    check_infall(cloud, state, 0.02)

    def weightless(state, duration, metallicity, floor, gravity):
        return Cloud.advance(cloud, state, duration, metallicity, floor, 0.0)

    monkeypatch.setattr(cloud, "advance", weightless)
    with pytest.raises(LilasError, match=r"falls with -?0 of the gravity that it has"):
        check_infall(cloud, state, 0.02)


# --- Cooling --------------------------------------------------------------------------------------


def test_still_gas_cools_exactly_and_radiates_what_it_loses(cloud):
    """T^(1/2) falls by (γ - 1) Z Λ ρ t / 2, down to the coldest temperature."""
    state = np.zeros((5, *SIZE))
    state[0], state[-1] = 2.0, 2 * 0.16
    moved, radiated = cloud.advance(state, 0.3, 0.7, 0.01, 0.0)
    root = 0.4 - 2 / 3 * 0.7 * COOLING * 2.0 * 0.3 / 2
    np.testing.assert_allclose(moved[-1] / moved[0], root**2, rtol=1e-12)
    assert radiated == pytest.approx((state[-1] - moved[-1]).mean() * 1.5, rel=1e-10)
    frozen, _ = cloud.advance(state, 30.0, 0.7, 0.01, 0.0)
    np.testing.assert_allclose(frozen[-1] / frozen[0], 0.01, rtol=1e-12)
    colder, radiated = cloud.advance(state, 0.3, 0.7, 0.2, 0.0)
    np.testing.assert_allclose(colder[-1], state[-1], rtol=1e-12)
    assert radiated == pytest.approx(0, abs=1e-15)


# --- Budgets --------------------------------------------------------------------------------------


def test_budgets_of_a_cloud_close_and_without_gravity_or_radiation_do_not(cloud, monkeypatch):
    state = initial(cloud, SIZE, 0.05, 1)
    interval = 0.05 * FREE_FALL
    seen = {}

    def spied(amount, flux, interval, boundary, lost, scale):
        error = imbalance(amount, flux, interval, boundary, lost, scale)
        seen[len(seen)] = error, imbalance(amount, flux, interval, boundary, 0.0, scale)
        return error

    monkeypatch.setattr(gravity_cooling_files, "imbalance", spied)
    monkeypatch.setattr(gravity_cooling_files, "ENERGY", 0.05)
    fields = evolve(cloud, state, 13, interval, 3.0, 0.025)
    (mass, _), (energy, without_radiation) = seen.values()
    assert mass < 1e-3
    assert energy < 0.05 < 0.08 < without_radiation
    np.testing.assert_allclose(
        fields["temperature"] * fields["density"], fields["pressure"], rtol=1e-12
    )
    assert (fields["density"] > 0).all()

    def weightless(state, duration, metallicity, floor, gravity):
        return Cloud.advance(cloud, state, duration, metallicity, floor, 0.0)

    monkeypatch.setattr(cloud, "advance", weightless)
    with pytest.raises(UnsoundError, match=r"energy is off by .* at most 0\.05"):
        evolve(cloud, state, 13, interval, 3.0, 0.025)


def test_run_that_blows_up_is_unsound(cloud):
    state = sphere()
    state[1] = 1e3 * np.sign(centers(CELLS)[0])
    with pytest.raises(UnsoundError, match="waves have the speed"):
        cloud.advance(state, 0.1, 0.0, 0.0, 1.0)
    for value in (np.nan, 0.0, -1.0):
        broken = sphere()
        broken[-1, 3, 4, 5] = value
        with pytest.raises(UnsoundError, match="a density or a pressure is not positive"):
            cloud.advance(broken, 0.1, 0.0, 0.0, 1.0)


# --- Symmetries -----------------------------------------------------------------------------------


def flip(axis):
    def move(state):
        state = np.flip(state, 1 + axis).copy()
        state[1 + axis] *= -1
        return state

    return move


def permute(*axes):
    def move(state):
        moved = state.transpose(0, *(1 + axis for axis in axes))
        return moved[[0, *(1 + axis for axis in axes), 4]]

    return move


@pytest.mark.parametrize(
    "move",
    [flip(0), flip(1), flip(2), permute(1, 0, 2), permute(2, 0, 1)],
    ids=["flip x", "flip y", "flip z", "exchange x y", "rotate the axes"],
)
def test_evolution_commutes_with_flips_and_permutations(cloud, move):
    state = initial(cloud, SIZE, 0.05, 1)
    after, radiated = cloud.advance(state, 0.2, 1.0, 0.01, 1.0)
    assert np.abs(move(after) - after).max() > 0.1
    found, also = cloud.advance(move(state), 0.2, 1.0, 0.01, 1.0)
    np.testing.assert_allclose(found, move(after), atol=1e-9)
    assert also == pytest.approx(radiated, rel=1e-9)


# --- Initial states and files ---------------------------------------------------------------------


def test_initial_cloud_is_turbulent_and_bound(cloud):
    state = initial(cloud, SIZE, 0.05, 7)
    inside = within(CELLS, RADIUS)
    assert set(np.unique(state[0])) == {1, 1 / CONTRAST}
    np.testing.assert_allclose(state[-1] / state[0], 0.05)
    velocity = state[1:-1]
    np.testing.assert_allclose(velocity[:, inside].mean(axis=1), 0, atol=1e-12)
    kinetic = (velocity[:, inside] ** 2).sum() / 2 / CELLS**3
    mass, radius = inside.mean(), (inside.mean() * 3 / 4 / np.pi) ** (1 / 3)
    # Of a uniform sphere; what surrounds it adds a little.
    assert 2 * kinetic / (0.6 * mass**2 / radius) == pytest.approx(1, abs=0.25)
    # Amplitudes fall with the square of the wavenumber.
    power = np.zeros(CELLS)
    for seed in range(8):
        noise = initial(cloud, SIZE, 0.05, seed)[1:-1]
        spectrum = (np.abs(np.fft.fftn(noise, axes=(1, 2, 3))) ** 2).sum(0)
        power += spectrum[:, 0, 0]
    assert power[2] / power[6] == pytest.approx(3.0**4, rel=0.6)


@pytest.fixture(scope="module")
def simulated():
    settings = GravityCooling.model_validate(SETTINGS)
    return {part: simulate_part(settings, part) for part in settings.parts}


def test_seed_decides_the_bits(simulated):
    more = SETTINGS | {"trajectories": {"train": 1, "valid": 2, "test": 1}}
    part = "rho0_4_T0_0.2_Z_0.5"
    again = simulate_part(GravityCooling.model_validate(more), part)
    for split, trajectories in simulated[part].items():
        for name, values in trajectories.fields.items():
            np.testing.assert_array_equal(again[split].fields[name][:1], values[:1])
    train = simulated[part]["train"].fields["density"]
    assert np.abs(train[0] - train[1]).max() > 0.1


def test_files_are_in_units_of_the_studys_densities():
    """A cloud four times as dense, at four times the temperature, evolves alike, twice as fast."""
    settings = SETTINGS | {"trajectories": {"train": 1, "valid": 1, "test": 1}}
    small, cloud = GravityCooling.model_validate(settings | {"density": [4]}), Cloud((16,) * 3)
    state = initial(cloud, (16,) * 3, 0.05, 0)
    (part,) = small.parts
    given = simulate_part(small, part)["train"]
    assert given.parameters == {"rho0": 4, "Z": 0.5, "T0": 0.2}
    np.testing.assert_allclose(given.fields["density"][0, 0].max(), 4)
    np.testing.assert_allclose(given.fields["temperature"][0, 0], 0.2, rtol=1e-6)
    np.testing.assert_allclose(
        given.fields["pressure"], given.fields["density"] * given.fields["temperature"], rtol=1e-6
    )
    np.testing.assert_allclose(given.time, 0.03 * FREE_FALL / 2 * np.arange(4))
    inside = within(16, RADIUS)
    speed = np.sqrt((given.fields["velocity"][0, 0][inside] ** 2).sum())
    assert speed == pytest.approx(2 * np.sqrt((state[1:-1, inside] ** 2).sum()))
    # Continuity in these units: mass falls in as fast as the velocity says.
    density, velocity = given.fields["density"][0], given.fields["velocity"][0]
    flux = density[..., None] * velocity
    assert imbalance(density, flux, given.time[1], "open") < 1e-3


def test_the_well_reads_the_same_numbers(simulated, tmp_path):
    given = simulated["rho0_1_T0_0.2_Z_0.5"]["train"]
    write_well(
        tmp_path / "data" / "train" / "file.hdf5",
        dataset="turbulence_gravity_cooling",
        fields=given.fields,
        time=given.time,
        coordinates=given.coordinates,
        parameters=given.parameters,
        boundaries=given.boundaries,
        attributes=given.attributes,
    )
    theirs = WellDataset(
        path=str(tmp_path),
        well_split_name="train",
        n_steps_input=3,
        n_steps_output=1,
        normalize_time_grid=False,
    )
    names = [name for order in range(3) for name in theirs.metadata.field_names[order]]
    vector = ["velocity_x", "velocity_y", "velocity_z"]
    assert names == ["density", "pressure", "temperature", *vector]
    assert theirs.metadata.constant_scalar_names == ["rho0", "Z", "T0"]
    sample = theirs[1]
    for channel, name in enumerate(("density", "pressure", "temperature")):
        expected = given.fields[name][1, :3].astype(np.float32)
        np.testing.assert_array_equal(sample["input_fields"][..., channel], expected)
    expected = given.fields["velocity"][1, :3].astype(np.float32)
    np.testing.assert_array_equal(sample["input_fields"][..., 3:], expected)
    np.testing.assert_allclose(sample["constant_scalars"], [1, 0.5, 0.2])
    assert (sample["boundary_conditions"] == BOUNDARIES["open"]).all()
