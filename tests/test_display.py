"""What is shown of much: places told by hand and by their gaps, and texts in columns."""

import itertools

import numpy as np
import pytest

from lilas.display import aligned, plane, spaced


@pytest.mark.parametrize(
    ("count", "most", "places"),
    [(9, 3, [0, 4, 8]), (3, 5, [0, 1, 2]), (41, 1, [0]), (1, 4, [0]), (6, 4, [0, 2, 3, 5])],
)
def test_places_by_hand(count, most, places):
    assert spaced(count, most).tolist() == places


def test_places_reach_from_end_to_end_in_steps_alike():
    for count, most in itertools.product(range(1, 60), range(2, 62)):
        places = spaced(count, most)
        assert len(places) == min(count, most)
        assert (places[0], places[-1]) == (0, count - 1)
        if count > 1:
            assert np.ptp(np.diff(places)) <= 1


def test_of_space_the_middle_of_z_is_shown_and_planes_stay():
    states = np.broadcast_to(np.arange(6.0), (2, 3, 4, 6))
    assert np.array_equal(plane(states, 3), np.full((2, 3, 4), 3.0))
    assert plane(states, 2) is states


def test_texts_stand_in_columns():
    rows = [["name", "n", "which"], ["a", "12", "b"], ["", "3", ""]]
    assert aligned(rows) == ["name   n  which", "a     12      b", "       3"]
    assert aligned(rows, left=(0, 2)) == ["name   n  which", "a     12  b", "       3"]
