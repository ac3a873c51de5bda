"""First studies: whatever the grid, parameters and boundaries, a plan takes them as they are."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lilas.data.check import check_files
from lilas.data.headers import Header
from lilas.data.ranges import Range, few_ranges
from lilas.data.well_writer import write_well
from lilas.errors import LilasError
from lilas.plan.draft import draft
from lilas.plan.draft_text import study_text
from lilas.plan.on_disk import extent_of
from lilas.plan.sizes import TIERS, fitting, tier_of
from lilas.study.read import read_study
from lilas.study.study import Study

SPLITS = ("train", "valid", "test")


def write(folder: Path, fields: dict[str, np.ndarray] | None = None, **changes: Any) -> None:
    """A dataset of two fields in each split, with a parameter over three orders of magnitude."""
    rng = np.random.default_rng(0)
    shape = (2, 6, 8, 4)
    for split in SPLITS:
        values = {"a b": rng.normal(size=shape), "velocity": rng.normal(size=(*shape, 2))}
        write_well(
            folder / "data" / split / "a.hdf5",
            **{
                "dataset": "flow",
                "fields": values if fields is None else fields,
                "time": np.arange(6.0),
                "coordinates": {"x": np.arange(8.0), "y": np.arange(4.0)},
                "parameters": {"drag": np.array([1e-3, 1.0]), "g": 9.81},
                "boundaries": {"x": "periodic", "y": "wall"},
                "units": {"velocity": "m s-1"} if fields is None else {},
            }
            | changes,
        )


def headers(folder: Path) -> dict[str, list[Header]]:
    files = {split: [str(folder / "data" / split / "a.hdf5")] for split in SPLITS}
    return check_files(files).headers


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "flow"
    write(folder)
    return folder


GRIDS = [
    *((64,), (17,), (6,), (2,), (128, 32), (100, 50), (33, 65), (30, 30), (66, 128), (16, 8)),
    *((512, 512), (1000, 1000), (24, 24, 24), (64, 64, 64), (40, 60, 100), (2, 2, 2)),
]


def read(text: str, folder: Path) -> Study:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return read_study(path)


@pytest.mark.parametrize("size", GRIDS, ids=lambda size: "x".join(map(str, size)))
def test_a_study_fits_whatever_the_grid_and_the_steps(
    size: tuple[int, ...], flow: Path, tmp_path: Path
) -> None:
    axes = "xyz"[: len(size)]
    held = headers(flow)
    for tier in TIERS:
        for steps, ends in ((2, "wall"), (3, "periodic"), (6, "open"), (300, "periodic")):
            first = dataclasses.replace(
                held["train"][0],
                shape=size,
                axes=list(axes),
                steps=steps,
                boundaries={axis: [ends, ends] for axis in axes},
                domain={axis: [0.0, 1.0] for axis in axes},
            )
            extent = extent_of({split: [first] for split in SPLITS}, ["a b", "velocity"])
            sizes = fitting(tier, size, len(extent.channels), steps, steps)
            ranges = dict.fromkeys(first.fields, Range(-1, 1, -0.9, 0.9)), 32
            text = study_text("flow", Path("flow"), first, extent, ranges, sizes, tier)
            study = read(text, tmp_path)
            # What a plan refuses, this does.
            study.check_extent("flow", extent)
            assert study.datasets["flow"].evaluation.last == min(steps - 1, 60)
            rolled = list(axes) if ends == "periodic" else []
            assert study.datasets["flow"].augment.roll == rolled
            (coder,) = study.autoencoders.values()
            assert getattr(coder.model, "periodic", rolled) == rolled
            latent = math.prod(size) // sizes.factor ** len(size)
            assert coder.model.is_pixel_space == (sizes.factor == 1)
            tokens = latent // math.prod(sizes.patches)
            if all(n & (n - 1) == 0 for n in size):
                assert tokens <= tier.tokens


def test_a_grid_that_nothing_divides_is_refused() -> None:
    assert fitting(TIERS[0], (61, 67), 1, 5, 5).factor == 1
    with pytest.raises(LilasError, match=r"127 x 131 points: no number divides .*multiples of 8"):
        fitting(TIERS[0], (127, 131), 1, 5, 5)


def test_models_are_as_large_as_there_is_to_learn_from() -> None:
    assert [tier_of(size) for size in (1e6, 1e9, 1e12)] == list(TIERS)
    # The demo's 128 x 32 points of 4 channels: 16 x 4 of 8, of which four make a token.
    sizes = fitting(TIERS[0], (128, 32), 4, 50, 50)
    assert (sizes.factor, sizes.levels, sizes.patch_size, sizes.latent_channels) == (8, 4, 1, 8)
    assert (sizes.batch_size, sizes.window) == (8, 5)
    assert sizes.horizons == [[1, 12], [13, 24], [25, 49]]
    assert TIERS[0].widths_of(2) == [64, 96]
    assert TIERS[0].widths_of(6) == [16, 32, 64, 96, 96, 96]
    # Where powers of two do not divide an axis, odd factors do, by patches.
    sizes = fitting(TIERS[0], (100, 50), 2, 4, 2)
    assert (sizes.factor, sizes.levels, sizes.patch_size) == (10, 2, 5)
    assert (sizes.window, sizes.horizons) == (4, [[1, 1]])


def test_ranges_suggest_transforms(tmp_path: Path) -> None:
    """Lognormal, over decades: log. Near 300, of both signs, or with a zero: none."""
    rng = np.random.default_rng(1)
    shape = (2, 6, 8, 4)
    dense = np.exp(3 * rng.normal(size=shape))
    fields = {
        "density": dense,
        "temperature": 300 + rng.normal(size=shape),
        "signed": dense * np.sign(rng.normal(size=shape)),
        "zero": dense * (dense > np.quantile(dense, 0.1)),
        "yes": rng.normal(size=shape),
    }
    write(tmp_path / "flow", fields)
    held = headers(tmp_path / "flow")
    ranges, count = few_ranges(held["train"])
    # All twelve are read: fewer than that many.
    assert count == 12
    assert ranges["density"].lowest == pytest.approx(dense.min())
    assert ranges["density"].highest == pytest.approx(dense.max())
    extent = extent_of(held, list(fields))
    sizes = fitting(TIERS[0], extent.size, 5, 6, 6)
    text = study_text(
        "flow", tmp_path / "flow", held["train"][0], extent, (ranges, count), sizes, TIERS[0]
    )
    study = read(text, tmp_path)
    states = study.datasets["flow"].states
    # In the file's order, each as a text, whatever YAML would read.
    assert states.fields == list(fields)
    assert list(states.transform) == ["density"]
    assert "- temperature  # 29" in text
    assert 0 < states.transform["density"].offset < dense.min() / 5
    assert study.datasets["flow"].label == {"drag": "log", "g": "none"}


def test_what_is_no_dataset_is_refused(flow: Path, tmp_path: Path) -> None:
    with pytest.raises(LilasError, match=r"data/train: expected HDF5 files.*lilas convert"):
        draft(tmp_path)
    write(tmp_path / "short", time=np.zeros(1), fields={"a": np.zeros((2, 1, 8, 4))})
    with pytest.raises(LilasError, match="expected two states at least, found 1"):
        draft(tmp_path / "short")
