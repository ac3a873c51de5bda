"""Videos show each value in its colour, where it is, and say what and when it is."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import colormaps
from PIL import Image

from lilas.report import videos

GAP, TEXT = videos.GAP, videos.TEXT


def read(path: Path) -> np.ndarray:
    """The frames of a GIF as Pillow plays them, uint8 (time, row, column, RGB)."""
    with Image.open(path) as film:
        assert film.info["loop"] == 0
        frames = []
        for time in range(film.n_frames):
            film.seek(time)
            frames.append(np.asarray(film.convert("RGB")))
        return np.stack(frames)


def tile(frame: np.ndarray, place: int, width: int, height: int) -> np.ndarray:
    """The tile at a place of a column of tiles."""
    top = place * (height + TEXT + GAP) + 2 * TEXT + GAP
    return frame[top : top + height, GAP : GAP + width]


def test_a_video_has_the_colour_of_every_value_in_every_frame(tmp_path) -> None:
    rng = np.random.default_rng(0)
    x, y = np.arange(64.0), np.arange(16.0)
    rows = {name: rng.uniform(-1, 1, (5, 64, 16)) for name in ("truth", "run")}
    rows["truth"][0, 0, :2] = [-1, 1]
    rows["run"][3, 0, 0] = 7
    videos.save(videos.rollout_video(rows, [0, 1, 2, 4, 8], "u", x, y), tmp_path / "film.gif")
    film = read(tmp_path / "film.gif")
    # Each point is four by four pixels; tiles this wide are stacked.
    assert film.shape == (5, 2 * (64 + TEXT + GAP) + TEXT + GAP, 256 + 2 * GAP, 3)
    for place, states in enumerate(rows.values()):
        for time in range(5):
            steps = np.floor((states[time] + 1) / 2 * videos.SHADES)
            middles = (np.clip(steps, 0, videos.SHADES - 1) + 0.5) / videos.SHADES
            expected = np.round(255 * colormaps["RdBu_r"](middles)[..., :3])
            # y upward: the last row of pixels is the first of y.
            expected = expected.transpose(1, 0, 2)[::-1].repeat(4, 0).repeat(4, 1)
            np.testing.assert_array_equal(tile(film[time], place, 256, 64), expected)


def test_names_and_lead_times_are_burnt_in(tmp_path) -> None:
    states = np.linspace(1, 2, 3 * 32 * 32).reshape(3, 32, 32)
    axis = np.arange(32.0)
    written = {}
    for name, leads in (("one", [1, 2, 88]), ("other", [1, 2, 88]), ("one", [1, 2, 99])):
        frames = videos.rollout_video({"truth": states, name: states}, leads, "u", axis, axis)
        videos.save(frames, tmp_path / "film.gif")
        written[name, leads[-1]] = read(tmp_path / "film.gif")
    film = written["one", 88]
    black = (film == 0).all(-1)
    # The line of the lead time changes with it, that of the names with the names.
    assert black[:, :TEXT].any((1, 2)).all()
    assert (film[0, :TEXT] != film[1, :TEXT]).any()
    assert (film[2, :TEXT] != written["one", 99][2, :TEXT]).any()
    np.testing.assert_array_equal(film[0, TEXT:], written["one", 99][0, TEXT:])
    assert (film[0, TEXT:] != written["other", 88][0, TEXT:]).any()
    np.testing.assert_array_equal(film[0, :TEXT], written["other", 88][0, :TEXT])


def test_values_beyond_the_truth_have_the_colour_of_its_end() -> None:
    truth = np.array([2.0, 3.0])
    found = videos.indices(np.array([-9, 2, 2.5, 3, 99]), truth)
    last = videos.SHADES - 1
    np.testing.assert_array_equal(found, [0, 0, videos.SHADES // 2, last, last])
    # In powers of ten the middle of 1 and 10,000 is 100, and what is negative is lowest.
    found = videos.indices(np.array([[[-1.0, 1.0]], [[100.0, 1e5]]]), np.array([1.0, 1e4]))
    np.testing.assert_array_equal(found, [[[0, 0]], [[videos.SHADES // 2, last]]])
    colours = videos.palette(truth)
    assert (colours[videos.BLACK] == 0).all()
    assert (colours[videos.WHITE] == 255).all()


@pytest.mark.parametrize(
    ("points", "width", "step"), [(512, 256, 2), (600, 200, 3), (257, 128, 2), (300, 150, 2)]
)
def test_large_grids_are_thinned_evenly(points: int, width: int, step: int) -> None:
    columns, rows = videos.sampled(np.arange(points) / 7, np.arange(points // 4) / 7)
    assert len(columns) == width
    assert len(rows) == pytest.approx(width / 4, abs=1)
    assert set(np.diff(columns)) <= ({step} if points % step == 0 else {step, step + 1})
    assert columns[-1] < points


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_each_pixel_shows_the_nearest_point(width: int, height: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = (np.cumsum(rng.uniform(0.1, 1, count)) for count in (width, height))
    columns, rows = videos.sampled(x, y)
    assert max(len(columns), len(rows)) <= videos.LONGEST
    # By brute force, with cells that reach half a step beyond the first and last point.
    for axis, places in ((x, columns), (y, rows[::-1])):
        low, high = 1.5 * axis[0] - 0.5 * axis[1], 1.5 * axis[-1] - 0.5 * axis[-2]
        for pixel, place in enumerate(places):
            at = low + (pixel + 0.5) / len(places) * (high - low)
            distance = np.abs(axis - at)
            assert distance[place] <= distance.min() + 1e-5
