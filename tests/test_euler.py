"""Simulated Euler flows against the exact Riemann solution, conservation, symmetry, The Well."""

import numpy as np
import pytest
from scipy.optimize import brentq
from the_well.data import WellDataset

REASON = "the simulators are not installed: make install EXTRAS=simulate"
pytest.importorskip("astronomix", reason=REASON)

from lilas.data.layout import BOUNDARIES  # noqa: E402
from lilas.data.well_writer import write_well  # noqa: E402
from lilas.systems import euler_files  # noqa: E402
from lilas.systems.euler import Euler  # noqa: E402
from lilas.systems.euler_files import evolve, initial, simulate_part  # noqa: E402
from lilas.systems.ideal_gas import IdealGas  # noqa: E402
from lilas.systems.runs import UnsoundError  # noqa: E402

CELLS = 32
SETTINGS = {
    "kind": "simulate",
    "system": "euler_multi_quadrants",
    "gamma": [1.4],
    "boundary": ["open", "periodic"],
    "trajectories": {"train": 2, "valid": 1, "test": 1},
    "size": [16, 16],
    "interval": 0.02,
    "steps": 4,
    "seed": 3,
}


@pytest.fixture(scope="module")
def gases():
    """Each compiles once."""
    return {boundary: IdealGas((CELLS, CELLS), boundary) for boundary in ("open", "periodic")}


# --- The equations ------------------------------------------------------------------------------


def riemann(left, right, gamma, speed):
    """Returns density, velocity and pressure at x / t = `speed` of a shock tube, exactly.

    Toro, "Riemann Solvers and Numerical Methods for Fluid Dynamics", chapter 4: the pressure
    between the waves is the one at which the velocities on both sides of the contact agree.
    """

    def change(pressure, state):
        density, _, before = state
        if pressure > before:
            a, b = 2 / ((gamma + 1) * density), (gamma - 1) / (gamma + 1) * before
            return (pressure - before) * np.sqrt(a / (pressure + b))
        sound = np.sqrt(gamma * before / density)
        return 2 * sound / (gamma - 1) * ((pressure / before) ** ((gamma - 1) / 2 / gamma) - 1)

    middle = brentq(
        lambda p: change(p, left) + change(p, right) + right[1] - left[1], 1e-9, 100, xtol=1e-14
    )
    contact = left[1] - change(middle, left)
    # The right side is the left one in a mirror.
    side = 1 if speed < contact else -1
    density, velocity, pressure = left if side == 1 else right
    speed, velocity, contact = side * speed, side * velocity, side * contact
    sound, ratio = np.sqrt(gamma * pressure / density), middle / pressure
    if ratio > 1:
        g = (gamma - 1) / (gamma + 1)
        front = velocity - sound * np.sqrt(
            (gamma + 1) / (2 * gamma) * ratio + (gamma - 1) / (2 * gamma)
        )
        inside = density * (ratio + g) / (g * ratio + 1), contact, middle
        found = inside if speed > front else (density, velocity, pressure)
    else:
        tail = contact - sound * ratio ** ((gamma - 1) / 2 / gamma)
        if speed < velocity - sound:
            found = density, velocity, pressure
        elif speed > tail:
            found = density * ratio ** (1 / gamma), contact, middle
        else:
            local = 2 / (gamma + 1) * (sound + (gamma - 1) / 2 * (velocity - speed))
            found = (
                density * (local / sound) ** (2 / (gamma - 1)),
                speed + local,
                pressure * (local / sound) ** (2 * gamma / (gamma - 1)),
            )
    return found[0], side * found[1], found[2]


SOD = (1.0, 0.0, 1.0), (0.125, 0.0, 0.1)


def sod(gamma, cells, time):
    x = (np.arange(cells) + 0.5) / cells - 0.5
    return np.array([riemann(*SOD, gamma, speed) for speed in x / time]).T


def test_exact_solution_has_the_published_values():
    """Toro's Table 4.2: Sod's tube has the pressure 0.30313 and velocity 0.92745 in the middle."""
    density, velocity, pressure = riemann(*SOD, 1.4, 0.5)
    assert (pressure, velocity) == (pytest.approx(0.30313, abs=1e-5), pytest.approx(0.92745, 1e-5))
    assert density == pytest.approx(0.42632, abs=1e-5)
    assert riemann(*SOD, 1.4, 1.2)[0] == pytest.approx(0.26557, abs=1e-5)
    assert riemann(*SOD, 1.4, -1.5) == SOD[0]
    assert riemann(*SOD, 1.4, 2.0) == SOD[1]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("gamma", [1.4, 1.76])
def test_shock_tube_is_the_exact_one(gases, axis, gamma):
    """And further from that of another heat capacity ratio."""
    left, right = SOD
    along = np.repeat(np.array([left, right]).T, CELLS // 2, axis=1)
    state = np.zeros((4, CELLS, CELLS))
    for channel, values in zip((0, 1 + axis, 3), along, strict=True):
        state[channel] = values[:, None] if axis == 0 else values
    found = gases["open"].advance(state, 0.2, gamma)
    assert found.std(axis=2 - axis).max() < 1e-12
    assert np.abs(found[2 - axis]).max() < 1e-12
    line = found.mean(axis=2 - axis)[[0, 1 + axis, 3]]
    error = np.abs(line - sod(gamma, CELLS, 0.2)).mean(axis=1)
    assert (error < [0.016, 0.03, 0.016]).all()
    other = 1.76 if gamma == 1.4 else 1.4
    assert (np.abs(line - sod(other, CELLS, 0.2)).mean(axis=1) > 1.5 * error).all()


def test_periodic_square_keeps_mass_momentum_and_energy(gases):
    state = initial((CELLS, CELLS), (2, 4), "periodic", 5)
    fields = evolve(gases["periodic"], state, 11, 0.03, "periodic", 1.3)
    assert fields["density"][-1].std() > 0.1
    for name in ("density", "energy", "momentum"):
        sums = fields[name].sum(axis=(1, 2))
        assert np.abs(fields[name][-1] - fields[name][0]).max() > 0.1
        np.testing.assert_allclose(sums, sums[:1].repeat(11, axis=0), atol=1e-10)
    internal = fields["pressure"] / 0.3
    kinetic = (fields["momentum"] ** 2).sum(-1) / fields["density"] / 2
    np.testing.assert_allclose(internal + kinetic, fields["energy"], rtol=1e-13)


def test_what_flows_out_of_an_open_square_accounts_for_what_it_loses(gases, monkeypatch):
    monkeypatch.setattr(euler_files, "BALANCED", 2e-3)
    state = initial((CELLS, CELLS), (2, 4), "open", 5)
    fields = evolve(gases["open"], state, 26, 0.02, "open", 1.4)
    for name in ("density", "energy"):
        assert abs(fields[name][-1].mean() / fields[name][0].mean() - 1) > 0.02


def test_runs_that_lose_mass_are_unsound(gases):
    """An open square, held for a periodic one, loses what flows out."""
    state = initial((CELLS, CELLS), (2, 4), "open", 5)
    evolve(gases["open"], state, 6, 0.02, "open", 1.4)
    with pytest.raises(UnsoundError, match=r"mass is off by .* at most 1e-09"):
        evolve(gases["open"], state, 6, 0.02, "periodic", 1.4)


def test_run_that_blows_up_is_unsound(gases):
    """Gas that leaves a vacuum behind."""
    state = np.ones((4, CELLS, CELLS))
    state[1] = np.where(np.arange(CELLS) < CELLS // 2, -50.0, 50.0)[:, None]
    with pytest.raises(UnsoundError, match="a density or a pressure is not positive"):
        evolve(gases["open"], state, 11, 0.02, "open", 1.4)
    for value in (np.nan, 0.0, -1.0):
        broken = np.ones((4, CELLS, CELLS))
        broken[-1, 3, 4] = value
        with pytest.raises(UnsoundError, match="a density or a pressure is not positive"):
            gases["open"].advance(broken, 0.02, 1.4)


# --- Symmetries ---------------------------------------------------------------------------------


def flip(axis):
    def move(state):
        state = np.flip(state, 1 + axis).copy()
        state[1 + axis] *= -1
        return state

    return move


def permute(state):
    return state.swapaxes(1, 2)[[0, 2, 1, 3]]


def roll(state):
    return np.roll(state, (5, 11), (1, 2))


@pytest.mark.parametrize("move", [flip(0), flip(1), permute], ids=["flip x", "flip y", "permute"])
@pytest.mark.parametrize("boundary", ["open", "periodic"])
def test_evolution_commutes_with_flips_and_permutation(gases, boundary, move):
    state = initial((CELLS, CELLS), (2, 4), boundary, 5)
    gas = gases[boundary]
    after = gas.advance(state, 0.4, 1.3)
    assert np.abs(move(after) - after).max() > 0.1
    np.testing.assert_allclose(gas.advance(move(state), 0.4, 1.3), move(after), atol=1e-10)


def test_evolution_commutes_with_rolls_of_a_periodic_square_alone(gases):
    state = initial((CELLS, CELLS), (2, 4), "periodic", 5)
    after = gases["periodic"].advance(state, 0.4, 1.3)
    np.testing.assert_allclose(
        gases["periodic"].advance(roll(state), 0.4, 1.3), roll(after), atol=1e-10
    )
    after = gases["open"].advance(state, 0.4, 1.3)
    assert np.abs(gases["open"].advance(roll(state), 0.4, 1.3) - roll(after)).max() > 0.1


# --- Initial states and files -------------------------------------------------------------------


@pytest.mark.parametrize("boundary", ["open", "periodic"])
def test_initial_blocks_are_uniform_within_their_ranges(boundary):
    counts, lowest, highest = set(), np.full(4, np.inf), np.full(4, -np.inf)
    for seed in range(200):
        state = initial((CELLS, CELLS), (2, 4), boundary, seed)
        for axis in (0, 1):
            edges = (np.diff(state, axis=1 + axis) != 0).any(axis=(0, 2 - axis)).sum()
            # A periodic square may have its first edge between the last cell and the first.
            counts.add((edges + 1, boundary))
            assert len(np.unique(state[0])) <= 16
        lowest = np.minimum(lowest, state.min(axis=(1, 2)))
        highest = np.maximum(highest, state.max(axis=(1, 2)))
    most = {"open": {2, 3, 4}, "periodic": {2, 3, 4, 5}}[boundary]
    assert {count for count, _ in counts} == most
    np.testing.assert_allclose(lowest, [0.2, -0.6, -0.6, 0.2], atol=0.01)
    np.testing.assert_allclose(highest, [1.8, 0.6, 0.6, 2.0], atol=0.01)


@pytest.fixture(scope="module")
def simulated():
    settings = Euler.model_validate(SETTINGS)
    return {part: simulate_part(settings, part) for part in settings.parts}


def test_seed_decides_the_bits(simulated):
    again = simulate_part(Euler.model_validate(SETTINGS), "periodic_gamma_1.4")
    more = {"trajectories": {"train": 1, "valid": 2, "test": 1}}
    other = simulate_part(Euler.model_validate(SETTINGS | more), "periodic_gamma_1.4")
    for split, trajectories in simulated["periodic_gamma_1.4"].items():
        for name, values in trajectories.fields.items():
            np.testing.assert_array_equal(again[split].fields[name], values)
            np.testing.assert_array_equal(other[split].fields[name][:1], values[:1])
    train = simulated["periodic_gamma_1.4"]["train"].fields["density"]
    assert np.abs(train[0] - train[1]).max() > 0.1


def test_the_well_reads_the_same_numbers(simulated, tmp_path):
    for part, splits in simulated.items():
        boundary = part.split("_")[0]
        given = splits["train"]
        write_well(
            tmp_path / part / "data" / "train" / "file.hdf5",
            dataset="euler_multi_quadrants",
            fields=given.fields,
            time=given.time,
            coordinates=given.coordinates,
            parameters=given.parameters,
            boundaries=given.boundaries,
            attributes=given.attributes,
        )
        theirs = WellDataset(
            path=str(tmp_path / part),
            well_split_name="train",
            n_steps_input=3,
            n_steps_output=1,
            normalize_time_grid=False,
        )
        names = [name for order in range(3) for name in theirs.metadata.field_names[order]]
        assert names == ["energy", "density", "pressure", "momentum_x", "momentum_y"]
        assert theirs.metadata.constant_scalar_names == ["gamma"]
        sample = theirs[1]
        for channel, name in enumerate(("energy", "density", "pressure")):
            expected = given.fields[name][1, :3].astype(np.float32)
            np.testing.assert_array_equal(sample["input_fields"][..., channel], expected)
        expected = given.fields["momentum"][1, :3].astype(np.float32)
        np.testing.assert_array_equal(sample["input_fields"][..., 3:], expected)
        assert sample["constant_scalars"].tolist() == [pytest.approx(1.4)]
        assert (sample["boundary_conditions"] == BOUNDARIES[boundary]).all()
        np.testing.assert_allclose(sample["input_time_grid"], [0, 0.02, 0.04], atol=1e-7)
        assert given.attributes["redrawn"] == 0
