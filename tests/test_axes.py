"""Axes of trajectories: when they are one, and what a store says of them."""

import numpy as np
import pytest

from lilas.data.axes import (
    SPACE_TOLERANCE,
    TIME_TOLERANCE,
    common,
    stacked,
    standing,
    variables,
)

T = np.array([0.0, 1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("tolerance", "shift", "alike"),
    [
        # The largest interval is 2: a tenth of it for times, a whole one for grid points.
        (TIME_TOLERANCE, 0.19, True),
        (TIME_TOLERANCE, -0.21, False),
        (SPACE_TOLERANCE, 1.9, True),
        (SPACE_TOLERANCE, 2.1, False),
    ],
)
def test_axes_are_one_within_a_part_of_an_interval(tolerance, shift, alike):
    found = common([T[None], np.stack([T, T + shift])], tolerance)
    assert (found is not None) == alike
    if alike:
        np.testing.assert_array_equal(found, T)


def test_a_shorter_axis_is_the_beginning_of_a_longer_one():
    short, long = T[None, :2] + 0.1, np.stack([T, T])
    np.testing.assert_array_equal(common([short, long], TIME_TOLERANCE), T)
    assert common([short + 1, long], TIME_TOLERANCE) is None
    rows = stacked([short, long])
    np.testing.assert_array_equal(rows, [[0.1, 1.1, np.nan, np.nan], T, T])


def test_axes_of_one_point_agree_where_they_are_equal():
    assert common([np.ones((2, 1))], SPACE_TOLERANCE).tolist() == [1]
    assert common([np.array([[1.0], [1.5]])], SPACE_TOLERANCE) is None


def test_a_store_has_every_trajectorys_axis_and_one_for_all_where_they_agree():
    """Cells of two points: their middle."""
    jittered = [T[None], T[None] + 0.1]
    found = variables("x", jittered, TIME_TOLERANCE, {"units": "m"}, cells=2)
    assert found["x"][0] == "x"
    np.testing.assert_allclose(found["x"][1], [0.5, 3])
    dims, values, attributes = found["trajectory_x"]
    assert (dims, attributes) == (("trajectory", "x"), {"units": "m"})
    np.testing.assert_allclose(values, [[0.5, 3], [0.6, 3.1]])
    apart = variables("time", [T[None], 2 * T[None]], TIME_TOLERANCE, {})
    assert apart.keys() == {"trajectory_time"}


def test_where_times_stand_still():
    assert standing(np.stack([T, 2 * T])) is None
    assert standing(np.zeros((1, 1))) is None
    found = standing(np.array([[0, 1, 2], [0, 3, 3], [2, 1, 0]]))
    assert found == (
        "time does not grow in trajectory 1: step 1 is at 3, step 2 at 3, and in 1 more trajectory"
    )
