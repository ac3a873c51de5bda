"""How a split is encoded: in how many jobs, and what a killed one leaves to do."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import zarr

from lilas import plan
from lilas.data.about import About
from lilas.data.preprocess import Preprocessing
from lilas.data.statistics import compute_statistics
from lilas.data.well import open_files, open_well
from lilas.data.well_writer import write_well
from lilas.files import write_json
from lilas.models.autoencoder import Autoencoder
from lilas.models.latents import (
    STORED,
    VARIABLE,
    Latents,
    begin_latents,
    coordinates,
    encode_files,
)
from lilas.records import stores
from lilas.study.datasets import Dataset

COUNTS, STEPS, SHAPE = (4, 2), 3, (16, 8)
AUGMENT = {"flip": ["x"], "roll": ["x"], "permute": False, "copies": 2, "seed": 0}
RECORD = {"stage": "latents", "version": 1, "config": {}}
RECORD["inputs"] = {"autoencoder": {"sha256": "known"}}


@pytest.fixture
def split(tmp_path):
    """Two files of 4 and 2 trajectories, an autoencoder that counts, and its preprocessing."""
    rng = np.random.default_rng(0)
    for part, count in enumerate(COUNTS):
        write_well(
            tmp_path / f"{part}.hdf5",
            dataset="noise",
            fields={"buoyancy": rng.normal(size=(count, STEPS, *SHAPE)).astype(np.float32)},
            time=np.arange(STEPS, dtype=float),
            coordinates={"x": np.linspace(0, 4, SHAPE[0]), "y": np.linspace(0, 1, SHAPE[1])},
            parameters={"Rayleigh": 1e5},
            boundaries={"x": "periodic", "y": "wall"},
        )
    files = open_files([tmp_path / f"{part}.hdf5" for part in range(len(COUNTS))], ["buoyancy"])
    write_json(tmp_path / "statistics.json", compute_statistics(files, {}))
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(1, 2, 2, stride=2), torch.nn.ConvTranspose2d(2, 1, 2, stride=2)
    sizes = {"pixel_channels": 1, "latent_channels": 2, "factor": 2, "spatial": 2}
    model = Autoencoder(*layers, **sizes).eval()
    seen: list[int] = []
    model.encoder.register_forward_hook(lambda *_: seen.append(1))
    return files, model, Preprocessing.read(tmp_path / "statistics.json"), seen


def encode(store: Path, split, parts=(0, 1), record=RECORD) -> np.ndarray:
    files, model, preprocessing, _ = split
    about = About.of(files, preprocessing)
    how = {"label_transforms": {}, "augment": AUGMENT, "about": about, "record": record}
    begin_latents(store, files, model, **how)
    device = torch.device("cpu")
    encode_files(store, files, parts, model, preprocessing, augment=AUGMENT, device=device)
    return zarr.open_array(stores.partial(store), path=VARIABLE, mode="r")[:]


def test_parts_side_by_side_make_the_store_that_one_job_makes(split, tmp_path):
    whole = encode(tmp_path / "whole.zarr", split)
    assert whole.shape[:3] == (2, sum(COUNTS), STEPS)
    assert np.isfinite(whole).all()
    half = encode(tmp_path / "parts.zarr", split, parts=[1])
    assert np.isnan(half[:, : COUNTS[0]]).all()
    np.testing.assert_array_equal(half[:, COUNTS[0] :], whole[:, COUNTS[0] :])
    np.testing.assert_array_equal(encode(tmp_path / "parts.zarr", split, parts=[0]), whole)


def test_what_a_killed_run_encoded_is_kept(split, tmp_path, monkeypatch):
    # A shard of 2 trajectories: the first file has two of each copy, the second one.
    seen = split[-1]
    whole = encode(tmp_path / "whole.zarr", split)
    assert len(seen) == 2 * sum(COUNTS)
    store = tmp_path / "killed.zarr"
    array, shards = zarr.Array.__setitem__, []

    def write(self, key, value):
        if self.path == VARIABLE:
            if len(shards) == 3:
                raise KeyboardInterrupt
            shards.append(key)
        array(self, key, value)

    monkeypatch.setattr(zarr.Array, "__setitem__", write)
    with pytest.raises(KeyboardInterrupt):
        encode(store, split)
    monkeypatch.undo()
    seen.clear()
    # Of the second block a copy is missing, so both are made again; the first is kept.
    np.testing.assert_array_equal(encode(store, split), whole)
    assert len(seen) == 2 * (sum(COUNTS) - 2)
    seen.clear()
    encode(store, split)
    assert seen == []
    # What another configuration began is nothing to go on from.
    encode(store, split, record=RECORD | {"version": 2})
    assert len(seen) == 2 * sum(COUNTS)


def test_steps_of_a_large_trajectory_are_read_by_chunks(split, tmp_path, monkeypatch):
    """Chunks of two of three steps, 2 channels of 8 x 4 points each: the layout, not the values."""
    whole = encode(tmp_path / "whole.zarr", split)
    monkeypatch.setattr("lilas.models.latents.CHUNK_BYTES", 2 * 4 * 2 * 8 * 4 + 1)
    np.testing.assert_array_equal(encode(tmp_path / "parts.zarr", split), whole)
    array = zarr.open_array(stores.partial(tmp_path / "parts.zarr"), path=VARIABLE, mode="r")
    assert array.chunks[2] == 2
    assert array.shards[2] == 4
    stores.finish(tmp_path / "parts.zarr", tmp_path / "parts.json", RECORD)
    latents = Latents(stores.open_store(tmp_path / "parts.json", *STORED))
    for row in range(latents.rows):
        expected = whole[divmod(row, sum(COUNTS))]
        np.testing.assert_array_equal(latents.read(row), expected)
        np.testing.assert_array_equal(latents.read(row, slice(1, 3)), expected[1:])
        np.testing.assert_array_equal(latents.read(row, slice(0, 3, 2)), expected[::2])


def test_files_share_a_job_up_to_its_size_and_a_download_has_one_each(tmp_path):
    for name, size in {"a": 3, "b": 3, "c": 4, "d": 9, "e": 1}.items():
        (tmp_path / name).write_bytes(bytes(size))
    files = {"train": [str(tmp_path / name) for name in "abcde"], "test": [str(tmp_path / "a")]}
    common = {"states": {"fields": ["u"]}, "evaluation": {"start": 0, "horizons": [[1, 2]]}}
    disk = Dataset(source={"kind": "path", "path": str(tmp_path)}, **common)
    assert plan.parts(disk, files, 23) == {}
    assert plan.parts(disk, files, 7) == {"train": [[0, 1], [2], [3], [4]], "test": [[0]]}
    assert plan.parts(disk, files, 10) == {"train": [[0, 1, 2], [3, 4]], "test": [[0]]}
    source = {"kind": "well", "name": "shear_flow"}
    well = Dataset(source=source, **common)
    assert plan.parts(well, files, 1e12) == {"train": [[i] for i in range(5)], "test": [[0]]}


def test_the_size_of_a_simulation_is_known_before_it_is_there():
    source = {"kind": "simulate", "system": "rayleigh_benard", "rayleigh": [1, 2], "prandtl": [1]}
    source |= {"trajectories": {"train": 3, "valid": 2, "test": 2}, "size": (32, 16), "steps": 12}
    source |= {"time_step": 0.1, "start": 0, "interval": 0.5, "seed": 0}
    common = {"states": {"fields": ["buoyancy"]}, "evaluation": {"start": 0, "horizons": [[1, 2]]}}
    dataset = Dataset(source=source, **common)
    # Two files of float32: 3 trajectories, 12 states, 4 channels.
    size = 2 * 4 * math.prod([3, 12, 4, 32, 16])
    files = {"train": ["1", "2"]}
    assert plan.parts(dataset, files, size) == {}
    assert plan.parts(dataset, files, size - 1) == {"train": [[0], [1]]}


def test_every_parameter_is_a_coordinate_whatever_its_name(tmp_path):
    names = {"time": "parameter_time", "a/b": "parameter_a_b", "a_b": "a_b", "c/d/e": "c_d_e"}
    names |= {"Time/x": "Time_x", "trajectory/time": "parameter_trajectory_time"}
    names |= {"__f": "parameter___f"}
    path = tmp_path / "a.hdf5"
    write_well(
        path,
        dataset="noise",
        fields={"heat": np.zeros((2, 3, 4))},
        time=np.arange(3.0),
        coordinates={"x": np.arange(4.0)},
        parameters={name: np.array([i, -i - 1.0]) for i, name in enumerate(names)},
        boundaries={"x": "periodic"},
    )
    file = open_well(path)
    assert list(file.parameters) == list(names)
    dataset = xr.Dataset(coords=coordinates([file], 1, (1, 4)))
    stores.write(tmp_path / "a.zarr", dataset)
    read = xr.open_zarr(tmp_path / "a.zarr", consolidated=False)
    for original, name in names.items():
        np.testing.assert_array_equal(read[name], file.parameters[original])
    np.testing.assert_array_equal(read["trajectory_time"], [np.arange(3.0)] * 2)
