"""Official caches: out of our stores and back to the bit, and the official code's own into ours."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import xarray as xr

from lilas.data.well import open_files
from lilas.data.well_writer import write_well
from lilas.errors import LilasError
from lilas.files import read_json, sha256
from lilas.inspect.kinds import inspect
from lilas.models.build import make_autoencoder_for
from lilas.models.latents import open_latents
from lilas.official.caches import export_latents, import_latents
from lilas.records.provenance import provenance
from lilas.records.weights import write_weights
from lilas.study.entries import autoencoder_settings
from test_inspect import EMULATOR, TRAIN, stage, training

DATA = Path(__file__).parent / "data" / "lola_1.1.0"
OFFICIAL = next((DATA / "runs").rglob("cache/rayleigh_benard/train/*.hdf5"))
STATES = {"fields": ["u", "velocity"]}
ENTRY = {
    "architecture": "dcae",
    "latent_channels": 4,
    "channels": [4, 4],
    "blocks": [1, 1],
    "train": TRAIN,
}
# The files of the split in its order, which is not that of their names.
COUNTS = {"b": 4, "a": 2}
COPIES = 3


@dataclass
class Split:
    """A split as the stages encode it, and its export.

    Attributes:
        folder: Where all of it lies.
        files: The data files.
        weights: Of the autoencoder.
        manifest: Of the latents.
        caches: The export, in the order of the split.
    """

    folder: Path
    files: list[Path]
    weights: Path
    manifest: Path
    caches: list[Path]

    @property
    def store(self) -> xr.Dataset:
        return xr.open_zarr(self.manifest.with_suffix(".zarr"))

    def cache(self, path: Path) -> Path:
        """A copy of the caches, without what official ones lack."""
        folder = path / "cache" / "flow" / "train"
        folder.mkdir(parents=True)
        for cache in self.caches:
            shutil.copy(cache, folder)
            with h5py.File(folder / cache.name, "a") as file:
                del file["lilas"]
                file["label"].attrs.clear()
        return folder


def write_data(path: Path, trajectories: int) -> None:
    shape = (trajectories, 5, 16, 8)
    draw = np.random.default_rng(trajectories)
    write_well(
        path,
        dataset="flow",
        fields={"u": draw.normal(size=shape), "velocity": draw.normal(size=(*shape, 2))},
        time=2 + 0.5 * np.arange(5),
        coordinates={"x": np.arange(16) / 16, "y": np.arange(8) / 8},
        parameters={"Rayleigh": 10.0**trajectories, "Prandtl": np.arange(1.0, 1 + trajectories)},
        boundaries={"x": "periodic", "y": "wall"},
        attributes={"time_units": "free-fall time"},
    )


def write_model(path: Path, data: Path, statistics: Path, **replaced: Any) -> None:
    """Writes an untrained autoencoder's weights."""
    entry = {key: value for key, value in (ENTRY | replaced).items() if value is not None}
    torch.manual_seed(0)
    model = make_autoencoder_for(
        autoencoder_settings(entry), open_files([data], STATES["fields"])[0]
    )
    made = {"states": STATES, "autoencoder": entry}
    record = provenance("autoencoder", made, {"statistics": statistics})
    write_weights(path, model.state_dict(), record)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    folder = tmp_path_factory.mktemp("split")
    files = [folder / "data" / "train" / f"{name}.hdf5" for name in COUNTS]
    for file, count in zip(files, COUNTS.values(), strict=True):
        write_data(file, count)
    statistics, weights = folder / "statistics.json", folder / "weights.safetensors"
    stage("statistics", config={"states": STATES}, train=files, output=statistics)
    write_model(weights, files[0], statistics)
    manifest = folder / "latents" / "train.json"
    manifest.parent.mkdir()
    task = {
        "states": STATES,
        "label": {"Rayleigh": "log"},
        "augment": {"flip": ["x", "y"], "roll": ["x"], "copies": COPIES},
        "names": {"dataset": "flow"},
    }
    common = {"train": files, "statistics": statistics, "weights": weights}
    common |= {"folder": manifest.parent, "config": task, "device": "cpu"}
    stage("latents", "create", **common, done=folder / "done")
    for part in range(len(files)):
        stage("latents", "write", **common, parts=part, done=folder / "done")
    stage("latents", "finish", **common)
    return Split(
        folder, files, weights, manifest, export_latents(manifest, weights, folder / "run")
    )


# --- Out --------------------------------------------------------------------------------------


def test_an_export_is_a_tree_of_official_caches(split):
    """Place c · n + i of a file's n trajectories is copy c of trajectory i, in every value."""
    folder = split.folder / "run" / "cache" / "flow" / "train"
    assert split.caches == [folder / "b.hdf5", folder / "a.hdf5"]
    assert sorted(folder.iterdir()) == sorted(split.caches)
    latent, label = split.store["latent"].values, split.store["label"].values
    first = 0
    for path, count in zip(split.caches, COUNTS.values(), strict=True):
        with h5py.File(path) as file, h5py.File(OFFICIAL) as official:
            for name in ("state", "label"):
                assert (file[name].dtype, file[name].ndim) == (
                    official[name].dtype,
                    official[name].ndim,
                )
            assert file["state"].shape == (COPIES * count, 5, 4, 8, 4)
            for copy in range(COPIES):
                for i in range(count):
                    place, row = copy * count + i, first + i
                    assert (file["state"][place] == latent[copy, row]).all()
                    assert (file["label"][place] == label[copy, row]).all()
        first += count
    # Copies and trajectories differ, so that an exchange would have been seen.
    assert len(np.unique(latent.reshape(COPIES * 6, -1), axis=0)) == COPIES * 6


def contents(store: Path) -> dict[str, Any]:
    """Every file of a store: metadata parsed, chunks as bytes."""
    return {
        str(path.relative_to(store)): json.loads(path.read_text())
        if path.suffix == ".json"
        else path.read_bytes()
        for path in store.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("order", [1, -1])
def test_an_export_comes_back_to_the_bit(split, tmp_path, order):
    manifest = tmp_path / "train.json"
    import_latents(split.caches[::order], split.weights, manifest)
    assert manifest.read_bytes() == split.manifest.read_bytes()
    found, expected = (contents(m.with_suffix(".zarr")) for m in (manifest, split.manifest))
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    assert len([name for name in expected if "latent/c/" in name]) == COPIES * 3


def test_an_export_of_a_transformers_latents_comes_back_to_the_bit(split, tmp_path):
    """In latents-in of its weights was once another architecture's name of a weight."""
    entry = {"architecture": "vit", "patch_size": 2}
    entry["transformer"] = {"channels": 8, "blocks": 1, "heads": 2}
    weights = tmp_path / "weights.safetensors"
    removed = dict.fromkeys(("channels", "blocks"))
    write_model(weights, split.files[0], split.folder / "statistics.json", **entry | removed)
    task = {"states": STATES, "label": {"Rayleigh": "log"}, "names": {"dataset": "flow"}}
    task["augment"] = {"flip": ["x"], "copies": 2}
    common = {"train": split.files, "statistics": split.folder / "statistics.json"}
    common |= {"weights": weights, "folder": tmp_path, "config": task, "device": "cpu"}
    stage("latents", "finish", **common)
    caches = export_latents(tmp_path / "train.json", weights, tmp_path / "run")
    manifest = tmp_path / "again" / "train.json"
    import_latents(caches, weights, manifest)
    stores = [xr.open_zarr(path.with_suffix(".zarr")) for path in (manifest, tmp_path / "train")]
    xr.testing.assert_identical(*stores)
    # So do official ones, which lack the group: their compression is known from the weights.
    for cache in caches:
        with h5py.File(cache, "a") as file:
            del file["lilas"]
    manifest = tmp_path / "official" / "train.json"
    import_latents(caches, weights, manifest)
    found = xr.open_zarr(manifest.with_suffix(".zarr"))
    assert found.attrs["compression"] == stores[0].attrs["compression"] == 3 * 4 / 4


def test_caches_of_differing_steps_end_where_they_end(split, tmp_path):
    """Official ones are filled up in our store, and exported again without what fills them."""
    folder, manifest = split.cache(tmp_path), tmp_path / "train.json"
    with h5py.File(folder / "a.hdf5", "a") as file:
        reshaped("state", slice(None), slice(2))(file)
    files = [folder / cache.name for cache in split.caches]
    import_latents(files, split.weights, manifest)
    latents = open_latents(manifest, split.weights)
    counts = [COPIES * count for count in COUNTS.values()]
    assert latents.steps.tolist() == [5] * counts[0] + [2] * counts[1]
    assert np.isnan(latents.dataset["latent"][0, counts[0] :, 2:]).all()
    for exported in export_latents(manifest, split.weights, tmp_path / "again"):
        with h5py.File(folder / exported.name) as given, h5py.File(exported) as found:
            assert (found["state"][()] == given["state"][()]).all()
    again = [tmp_path / "again" / "cache" / "flow" / "train" / file.name for file in files]
    import_latents(again, split.weights, tmp_path / "again.json")
    xr.testing.assert_identical(
        xr.open_zarr(tmp_path / "again.zarr"), xr.open_zarr(tmp_path / "train.zarr")
    )


def test_latents_of_another_autoencoder_are_not_exported(split, tmp_path):
    weights = tmp_path / "weights.safetensors"
    write_model(weights, split.files[0], split.folder / "statistics.json", kernel_size=1)
    with pytest.raises(LilasError, match="which has changed since"):
        export_latents(split.manifest, weights, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_pixels_are_neither_exported_nor_imported(split, tmp_path):
    weights, manifest = tmp_path / "weights.safetensors", tmp_path / "train.json"
    statistics = split.folder / "statistics.json"
    made = {"states": STATES, "autoencoder": {"architecture": "identity"}}
    write_weights(weights, {}, provenance("autoencoder", made, {}))
    paths = {"train": split.files, "statistics": statistics, "weights": weights}
    paths |= {"folder": tmp_path, "device": "cpu"}
    stage("latents", "finish", config={"states": STATES, "label": {}, "augment": {}}, **paths)
    with pytest.raises(LilasError, match="expected a store of latents, found pixel space"):
        export_latents(manifest, weights, tmp_path / "run")
    with pytest.raises(LilasError, match="found those of pixel space"):
        import_latents(split.caches, weights, tmp_path / "valid.json")


# --- In ---------------------------------------------------------------------------------------


def test_official_caches_with_their_data_are_our_store_but_for_the_symmetries(split, tmp_path):
    folder = split.cache(tmp_path)
    manifest = tmp_path / "train.json"
    import_latents(sorted(folder.iterdir()), split.weights, manifest, split.files)
    found = open_latents(manifest, split.weights)
    expected = open_latents(split.manifest, split.weights)
    assert found.origins == expected.origins
    assert found.origins[:5] == [("b.hdf5", i) for i in range(4)] + [("a.hdf5", 0)]
    xr.testing.assert_identical(
        found.dataset.drop_attrs(deep=False),
        expected.dataset.drop_vars(["flip", "roll", "permutation"]).drop_attrs(deep=False),
    )
    for name in ("dataset", "autoencoder_sha256", "compression"):
        assert found.dataset.attrs[name] == expected.dataset.attrs[name]
    # The record leads to all that a picture of the decoded fields needs.
    inspect(manifest).draw()
    assert "decoded" not in "\n".join(inspect(manifest).lines)


def test_the_official_cache_alone_trains_an_emulator(split, tmp_path):
    """What it does not hold is counted from 0."""
    manifest = tmp_path / "train.json"
    import_latents([OFFICIAL], split.weights, manifest)
    latents = open_latents(manifest, split.weights)
    with h5py.File(OFFICIAL) as file:
        state, label = file["state"][()], file["label"][()]
    assert (latents.copies, latents.rows, latents.steps.tolist()) == (1, 6, [8] * 6)
    assert all((latents.read(row) == state[row]).all() for row in range(6))
    assert (latents.labels == label).all()
    assert latents.origins == [(OFFICIAL.name, i) for i in range(6)]
    assert latents.times(5).tolist() == latents.dataset["time"].values.tolist() == list(range(8))
    assert latents.dataset["feature"].values.tolist() == [f"feature_{i}" for i in range(6)]
    assert latents.dataset["y"].values.tolist() == [0, 1, 2, 3]
    assert latents.dataset.attrs["dataset"] == "rayleigh_benard"
    # Three channels of 16 x 8 points become four of 8 x 4.
    assert latents.dataset.attrs["compression"] == 3
    record = read_json(manifest)["provenance"]
    assert record["config"]["names"] == {"dataset": "rayleigh_benard", "split": "train"}
    assert record["inputs"]["cache"][0]["path"] == str(OFFICIAL)
    assert "cannot be decoded: they were imported without files" in "\n".join(
        inspect(manifest).lines
    )
    stage(
        "emulator",
        config={"stride": 1, "augment": {}, "emulator": EMULATOR, "seed": 0},
        autoencoder=split.weights,
        train=manifest,
        valid=manifest,
        **training(tmp_path / "solver"),
    )
    assert (tmp_path / "solver" / "weights.safetensors").is_file()


def test_large_caches_are_read_shard_by_shard(split, tmp_path, monkeypatch):
    """Shards of one trajectory, where a file holds several, change the layout alone."""
    monkeypatch.setattr("lilas.records.stores.SHARD_BYTES", 1)
    manifest = tmp_path / "train.json"
    import_latents(split.caches, split.weights, manifest)
    xr.testing.assert_identical(xr.open_zarr(manifest.with_suffix(".zarr")), split.store)
    shards = (tmp_path / "train.zarr" / "latent" / "c").rglob("*")
    assert sum(path.is_file() for path in shards) == COPIES * 6


# --- Refusals ---------------------------------------------------------------------------------


def drop(file: h5py.File) -> None:
    del file["label"]


def double(file: h5py.File) -> None:
    values = file["state"][()]
    del file["state"]
    file["state"] = values.astype(np.float64)


def flatten(file: h5py.File) -> None:
    values = file["state"][()]
    del file["state"]
    file["state"] = values[..., 0]


def reshaped(name: str, *index: Any) -> Any:
    def change(file: h5py.File) -> None:
        values = file[name][()]
        del file[name]
        file[name] = values[index]

    return change


def valued(name: str, value: float, *index: int) -> Any:
    def change(file: h5py.File) -> None:
        file[name][index] = value

    return change


ALL = slice(None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop, ["a.hdf5: expected the datasets state and label, found .*state"]),
        (double, ["a.hdf5: expected state in float32, found float64"]),
        (flatten, ["a.hdf5", "state of shape .N, time, channel, x, y", "found .6, 5, 4, 8."]),
        (reshaped("state", ALL, ALL, [0, 1]), ["a.hdf5: expected 4 latent channels", "found 2"]),
        (reshaped("state", ..., [0]), ["a.hdf5: expected points.*8, 4.*b.hdf5, found .8, 1."]),
        (reshaped("label", [0, 1]), ["a.hdf5: expected a label for each of 6", "found 2"]),
        (reshaped("label", ALL, [0]), ["a.hdf5: expected label features: 6, .*b.hdf5, found 1"]),
        (reshaped("state", []), ["a.hdf5: expected state of shape", "found .0, 5"]),
        (valued("state", np.nan, 5, 4, 3, 7, 3), ["a.hdf5: expected finite.*state, place 5"]),
        (valued("label", -np.inf, 2, 1), ["a.hdf5: expected finite.*label, place 2"]),
    ],
)
@pytest.mark.parametrize("ours", [False, True])
def test_a_bad_cache_is_refused_before_anything_is_written(split, tmp_path, change, words, ours):
    folder = split.cache(tmp_path)
    if ours:
        for cache in split.caches:
            shutil.copy(cache, folder)
    with h5py.File(folder / "a.hdf5", "a") as file:
        change(file)
    files = [folder / cache.name for cache in split.caches]
    with pytest.raises(LilasError, match=".*".join(words)):
        import_latents(files, split.weights, tmp_path / "train.json")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_caches_that_do_not_belong_together_are_refused(split, tmp_path):
    folder = split.cache(tmp_path)
    a, b = folder / "a.hdf5", folder / "b.hdf5"
    other = tmp_path / "cache" / "flow" / "valid" / "c.hdf5"
    other.parent.mkdir()
    shutil.copy(a, other)
    cases = [
        ([b, split.caches[1]], "expected a group of LILAS: False"),
        ([b, other], "expected folder of the split: train"),
        ([a, b, a], "files of different names"),
        ([], "no caches were given"),
        ([folder / "d.hdf5"], "d.hdf5: expected an HDF5 file, found nothing"),
    ]
    for files, words in cases:
        with pytest.raises(LilasError, match=words):
            import_latents(files, split.weights, tmp_path / "train.json")
    data = [
        ([a, b], split.files[:1], "a: expected a cache and a data file.*found no data file"),
        ([b], split.files, "a: expected a cache and a data file.*found no cache"),
    ]
    for files, given, words in data:
        with pytest.raises(LilasError, match=words):
            import_latents(files, split.weights, tmp_path / "train.json", given)
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (reshaped("state", slice(5)), "a.hdf5: expected a label"),
        ((5,), "a.hdf5: expected trajectories beyond copies of 2: 0, .*found 1"),
        ((4,), "a.hdf5: expected copies of each trajectory: 3, .*found 2"),
    ],
)
def test_caches_of_other_data_are_refused(split, tmp_path, change, words):
    folder = split.cache(tmp_path)
    with h5py.File(folder / "a.hdf5", "a") as file:
        if callable(change):
            change(file)
        else:
            reshaped("state", slice(*change))(file)
            reshaped("label", slice(*change))(file)
    with pytest.raises(LilasError, match=words):
        import_latents(sorted(folder.iterdir()), split.weights, tmp_path / "t.json", split.files)


def test_data_of_another_grid_or_label_are_refused(split, tmp_path):
    shutil.copy(OFFICIAL, tmp_path / "b.hdf5")
    with pytest.raises(LilasError, match=r"steps: 5, as .* makes, found 8"):
        import_latents(
            [tmp_path / "b.hdf5"], split.weights, tmp_path / "train.json", split.files[:1]
        )
    folder = split.cache(tmp_path)
    for cache in folder.iterdir():
        with h5py.File(cache, "a") as file:
            reshaped("state", ..., [0, 1])(file)
    files = sorted(folder.iterdir())
    with pytest.raises(LilasError, match=r"grid points, 2 .*\(16, 8\), .*found \(16, 4\)"):
        import_latents(files, split.weights, tmp_path / "train.json", split.files)


def test_a_part_of_an_export_is_refused(split, tmp_path):
    manifest = tmp_path / "train.json"
    for files in (split.caches[:1], split.caches[1:]):
        with pytest.raises(LilasError, match="trajectories 0 to 5 of the exported split"):
            import_latents(files, split.weights, manifest)
    with pytest.raises(LilasError, match="Leave the data files out"):
        import_latents(split.caches, split.weights, manifest, split.files)
    weights = tmp_path / "weights.safetensors"
    write_model(weights, split.files[0], split.folder / "statistics.json", kernel_size=1)
    with pytest.raises(
        LilasError, match=f"latents of one with SHA-256 {sha256(split.weights)[:12]}"
    ):
        import_latents(split.caches, weights, manifest)


def test_exports_of_two_stores_are_not_joined(split, tmp_path):
    folder = tmp_path / "train"
    folder.mkdir()
    for cache in split.caches:
        shutil.copy(cache, folder)
    with h5py.File(folder / "a.hdf5", "a") as file:
        file["lilas/variables/time"][0] = 7.0
    with pytest.raises(LilasError, match=r"a.hdf5: expected an export like that of .*b.hdf5"):
        import_latents(sorted(folder.iterdir()), split.weights, tmp_path / "train.json")
    with h5py.File(folder / "a.hdf5", "a") as file:
        del file["lilas/variables/time"]
        file["lilas/variables/time"] = np.arange(4.0)
    with pytest.raises(LilasError, match=r"a.hdf5: "):
        import_latents(sorted(folder.iterdir()), split.weights, tmp_path / "train.json")


def test_latents_that_are_there_are_not_replaced(split, tmp_path):
    manifest = tmp_path / "train.json"
    manifest.with_suffix(".zarr").mkdir()
    with pytest.raises(LilasError, match=r"train.zarr: expected nothing yet"):
        import_latents(split.caches, split.weights, manifest)
