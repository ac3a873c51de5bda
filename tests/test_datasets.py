"""Six of The Well's datasets by their twins, from files to report; the others have a target."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml

import datasets
from conftest import Pipeline
from datasets import DATASETS

SIX = (
    "active_matter",  # tensors
    "euler_multi_quadrants",  # two datasets joined
    "planetswe",  # a sphere, a year in three files
    "supernova_explosion_64",  # three dimensions, a time axis for each trajectory
    "turbulence_gravity_cooling",  # the paper's, with intervals that depend on the density
    "viscoelastic_instability",  # files of 12 and 24 steps
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The six, whole: twins and, in `results`, what was made of them."""
    pipeline = Pipeline(tmp_path_factory.mktemp("datasets") / "pipeline").lay_out()
    study = datasets.study(datasets.make(SIX, pipeline.folder))
    pipeline.study.write_text(yaml.safe_dump(study), encoding="utf-8")
    pipeline.run_here()
    written = {path.name for path in pipeline.results.glob("*.html")}
    assert written == {"report.html", "claims.html", *(f"report_{name}.html" for name in SIX)}
    return pipeline.folder


@pytest.mark.slow
@pytest.mark.parametrize("name", SIX)
def test_the_well_reads_the_same_numbers(folder: Path, name: str) -> None:
    assert datasets.read([str(folder / "twins" / twin) for twin in DATASETS[name]]) == "equal"


@pytest.mark.slow
@pytest.mark.parametrize("name", SIX)
def test_persistence_scores_what_the_files_say(folder: Path, name: str) -> None:
    """VRMSE of a scalar field at lead time 3, of every test trajectory, by h5py and numpy alone.

    The variance is the unbiased one, as in the official code.
    """
    paths = [
        path
        for twin in DATASETS[name]
        for path in sorted((folder / "twins" / twin / "data" / "test").iterdir())
    ]
    expected = []
    for path in paths:
        with h5py.File(path) as file:
            field = file["t0_fields"].attrs["field_names"][0]
            states = file["t0_fields"][field][:].astype(np.float64)
        error = ((states[:, 3] - states[:, 0]) ** 2).reshape(len(states), -1).mean(1)
        variance = states[:, 3].reshape(len(states), -1).var(1, ddof=1)
        expected += np.sqrt(error / (variance + 1e-6)).tolist()
    table = pd.read_parquet(folder / "results" / "miniature" / name / "baselines.parquet")
    chosen = table.query("method == 'persistence' and metric == 'vrmse' and lead_time == 3")
    found = chosen[chosen["field"] == field].set_index("trajectory")["value"].sort_index()
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIX)
def test_latents_know_the_times_of_their_trajectories(folder: Path, name: str) -> None:
    store = xr.open_zarr(
        folder / "results" / "miniature" / name / "a-s0" / "latents" / "train.zarr"
    )
    expected = []
    for twin in DATASETS[name]:
        for path in sorted((folder / "twins" / twin / "data" / "train").iterdir()):
            with h5py.File(path) as file:
                times, count = file["dimensions/time"][:], file.attrs["n_trajectories"]
                expected += list(np.broadcast_to(times, (count, times.shape[-1])))
    assert store.sizes["trajectory"] == len(expected)
    for row, times in enumerate(expected):
        found = store["trajectory_time"].values[row]
        np.testing.assert_array_equal(found[: len(times)], times)
        assert np.isnan(found[len(times) :]).all()
        latent = store["latent"].isel(augmentation=0, trajectory=row).values
        assert np.isfinite(latent[: len(times)]).all()
        assert np.isnan(latent[len(times) :]).all()


@pytest.mark.slow
def test_only_the_periodic_half_of_joined_datasets_rolls(folder: Path) -> None:
    latents = folder / "results" / "miniature" / "euler_multi_quadrants" / "a-s0" / "latents"
    store = xr.open_zarr(latents / "train.zarr")
    periodic = np.array(["periodic" in name for name in store["file"].values.tolist()])
    assert periodic.tolist() == [False] * 4 + [True] * 4
    rolled = store["roll"].values[1].any(axis=-1)
    assert rolled[periodic].all()
    assert not rolled[~periodic].any()
    codes = store["label"].isel(augmentation=0).values[:, -4:]
    np.testing.assert_array_equal(codes, np.where(periodic, 2, 1)[:, None].repeat(4, 1))


def test_the_page_of_data_has_a_row_for_every_dataset() -> None:
    page = (datasets.ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    table = page.partition(datasets.BEGIN)[2].partition(datasets.END)[0]
    rows = [line.split("|")[1].strip() for line in table.strip().splitlines()[2:]]
    assert rows == sorted(DATASETS)
