"""What a data file is called: by the study, whatever it is a link to, and by no other's name."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from lilas.data.origins import plain, told_apart
from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels
from lilas.data.statistics import compute_statistics
from lilas.data.well import open_files
from lilas.data.well_writer import write_well
from lilas.files import write_json
from lilas.models.latents import open_latents, write_pixel_manifest
from lilas.records.provenance import provenance
from lilas.records.weights import write_weights


def test_names_tell_files_apart() -> None:
    assert told_apart(["data/a.hdf5", "data/b.hdf5"]) == ["a.hdf5", "b.hdf5"]
    joined = [f"/d/{one}/data/test/{name}.h5" for one in ("p", "q") for name in "ab"]
    assert told_apart(joined) == [path.removeprefix("/d/") for path in joined]
    # Only those that share a name are called by more.
    assert told_apart(["/p/x/a.h5", "/q/x/a.h5", "/q/x/c.h5"]) == ["p/x/a.h5", "q/x/a.h5", "c.h5"]
    assert told_apart(["/a.h5", "/x/a.h5", "/y/a.h5"]) == ["//a.h5", "x/a.h5", "y/a.h5"]
    assert told_apart([]) == []


def test_links_are_not_followed_but_behind_dots(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "far" / "folder").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "folder")
    assert plain("link/a.h5") == tmp_path / "link" / "a.h5"
    assert plain("link/../link/a.h5") == tmp_path / "far" / "link" / "a.h5"
    assert plain("far/../link/a.h5") == tmp_path / "link" / "a.h5"


def laid_out(folder: Path) -> list[Path]:
    """Joined datasets whose test files have one name, as a cache of a hub lays them out."""
    (folder / "blobs").mkdir(parents=True)
    links = []
    for number, dataset in enumerate(("open", "closed")):
        blob = folder / "blobs" / f"caa{number}"
        write_well(
            folder / "made.hdf5",
            dataset=dataset,
            fields={"u": np.random.default_rng(number).normal(size=(2, 4, 8))},
            time=np.arange(4),
            coordinates={"x": np.arange(8)},
            parameters={},
            boundaries={"x": "open" if number else "periodic"},
        )
        shutil.move(folder / "made.hdf5", blob)
        link = folder / dataset / "data" / "test" / "a.hdf5"
        link.parent.mkdir(parents=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
        links.append(link)
    return links


@pytest.mark.parametrize("linked", [False, True])
def test_pixel_space_and_evaluation_call_trajectories_alike(tmp_path: Path, linked: bool) -> None:
    """Links named by hash, files of one name, results and datasets behind links."""
    links, results = laid_out(tmp_path / "data"), tmp_path / "results"
    results.mkdir()
    if linked:
        (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
        (tmp_path / "elsewhere" / "deep" / "latents").symlink_to(results)
        results = tmp_path / "elsewhere" / "deep" / "latents"
        shutil.move(tmp_path / "data" / "open", tmp_path / "moved")
        (tmp_path / "data" / "open").symlink_to(tmp_path / "moved")
        os.remove(tmp_path / "moved" / "data" / "test" / "a.hdf5")
        blob = tmp_path / "data" / "blobs" / "caa0"
        (tmp_path / "moved" / "data" / "test" / "a.hdf5").symlink_to(blob)
    files = open_files(links)
    write_json(results / "statistics.json", compute_statistics(files, {}))
    weights = tmp_path / "weights.safetensors"
    config = {"states": {"fields": ["u"]}, "label": {}}
    write_weights(weights, {}, provenance("autoencoder", config, {}))
    record = provenance("latents", config, {"autoencoder": weights, "files": links})
    write_pixel_manifest(results / "test.json", links, results / "statistics.json", record)
    latents = open_latents(results / "test.json", weights)
    pixels = Pixels(files, Preprocessing.read(results / "statistics.json"), {})
    origins = [pixels.origin(row) for row in range(4)]
    assert origins == [(f"{d}/data/test/a.hdf5", i) for d in ("open", "closed") for i in range(2)]
    assert [latents.origin(row) for row in range(4)] == origins
    for row in range(4):
        np.testing.assert_array_equal(latents.truth(row), pixels.truth(row))
