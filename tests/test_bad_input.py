"""Bad input at the level of stages and studies: a clear message, and no partial file taken whole.

What a single file can get wrong is in test_well.py; what a study can, in test_workflow.py.
"""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from conftest import mounted
from lilas.errors import LilasError
from lilas.files import atomic, read_json, write_json
from lilas.models.latents import open_latents
from lilas.records import stores
from lilas.records.metrics import read_metrics
from lilas.records.weights import read_record

AE = "results/miniature/convection/c16-s0"


@pytest.fixture
def own_data(miniature, tmp_path):
    """The miniature on data that lie on disk, a copy that may be broken."""
    pipeline = miniature.copy(tmp_path / "own")
    shutil.rmtree(pipeline.folder / "results" / "miniature")
    (made,) = (pipeline.folder / "results" / "data").glob("simulate-*")
    data = tmp_path / "my data"
    shutil.move(made / "rayleigh_benard", data)
    text = pipeline.study.read_text()
    start, end = text.index("      kind: simulate"), text.index("    states:")
    pipeline.study.write_text(text[:start] + f"      kind: path\n      path: {data}\n" + text[end:])
    return pipeline, data


TARGET = "results/miniature/convection/statistics.json"


def test_a_folder_of_data_is_used_in_place(own_data, miniature):
    pipeline, data = own_data
    before = sorted(data.rglob("*"))
    pipeline.run(TARGET)
    assert sorted(data.rglob("*")) == before
    ours = read_json(pipeline.folder / TARGET)["channels"]
    assert ours == read_json(miniature.folder / TARGET)["channels"]


def test_a_split_of_one_file_is_enough(own_data):
    pipeline, data = own_data
    for split in ("train", "valid", "test"):
        (data / "data" / split / "Rayleigh_2e4.hdf5").unlink()
    pipeline.run(f"{AE}/latents/valid.json".replace("c16", "pixel"))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("truncated", ["Rayleigh_5e4.hdf5", "truncated"]),
        ("foreign", ["Rayleigh_5e4.hdf5", "expected"]),
        ("missing field", ["Rayleigh_5e4.hdf5", "buoyancy"]),
        ("NaN", ["Rayleigh_5e4.hdf5", "pressure"]),
        ("wrong order", ["Rayleigh_5e4.hdf5", "pressure"]),
    ],
)
def test_a_broken_data_file_stops_the_run_with_its_name(own_data, harm, words):
    pipeline, data = own_data
    path = data / "data" / "train" / "Rayleigh_5e4.hdf5"
    if harm == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    elif harm == "foreign":
        with h5py.File(path, "w") as file:
            file["x"] = np.zeros(3)
    else:
        with h5py.File(path, "r+") as file:
            scalars = file["t0_fields"]
            if harm == "missing field":
                scalars.attrs["field_names"] = ["pressure"]
                del scalars["buoyancy"]
            elif harm == "NaN":
                scalars["pressure"][1, 2, 3, 4] = np.nan
            else:
                values = scalars["pressure"][:].swapaxes(2, 3)
                attributes = dict(scalars["pressure"].attrs)
                del scalars["pressure"]
                scalars["pressure"] = values
                scalars["pressure"].attrs.update(attributes)
    done = pipeline.run(TARGET, check=False)
    assert done.returncode != 0
    (message,) = [
        line for line in (done.stdout + done.stderr).splitlines() if line.startswith("error: ")
    ]
    for word in words:
        assert word in message
    assert not (pipeline.folder / TARGET).exists()


def test_an_empty_split_is_refused_before_the_dag(own_data):
    pipeline, data = own_data
    for path in (data / "data" / "valid").iterdir():
        path.unlink()
    done = pipeline.run("--dry-run", check=False)
    assert done.returncode != 0
    assert "data/valid: expected HDF5 files" in done.stderr


def test_latents_of_a_changed_autoencoder_are_refused(miniature, tmp_path):
    twin = miniature.copy(tmp_path / "twin")
    weights = twin.folder / AE / "weights.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    with pytest.raises(LilasError, match="which has changed since"):
        open_latents(twin.folder / AE / "latents" / "train.json", weights)
    # Snakemake sees it too, and encodes anew.
    assert "latents" in twin.planned()


def test_a_store_that_lacks_a_part_gets_no_manifest(miniature, tmp_path):
    store = miniature.folder / AE / "latents" / "train.zarr"
    built = stores.partial(tmp_path / "train.zarr")
    shutil.copytree(store, built)
    shards = sorted(path for path in (built / "latent" / "c").rglob("*") if path.is_file())
    shards[-1].unlink()
    with pytest.raises(LilasError, match=r"without the shard c/1/.* of the array latent"):
        stores.finish(tmp_path / "train.zarr", tmp_path / "train.json", {})
    assert not (tmp_path / "train.json").exists()
    assert not (tmp_path / "train.zarr").exists()


def test_a_manifest_without_its_store_is_told(tmp_path):
    record = {"config": {}, "inputs": {}}
    entry = {"kind": "zarr", "store": "train.zarr", "metadata": "", "provenance": record}
    write_json(tmp_path / "train.json", entry)
    with pytest.raises(LilasError, match="expected a Zarr store, found nothing"):
        stores.open_store(tmp_path / "train.json", "latent")


def test_latents_that_are_not_finite_are_refused(miniature, tmp_path):
    twin = miniature.copy(tmp_path / "twin")
    folder = twin.folder / AE / "latents"
    zarr.open_group(folder / "train.zarr", mode="r+")["latent"][1, 2, 3, 0] = np.nan
    source = open_latents(folder / "train.json", twin.folder / AE / "weights.safetensors")
    with pytest.raises(LilasError, match="expected finite latents"):
        source.read(1 * 6 + 2)


def test_damaged_files_are_told_apart_from_missing_ones(miniature, tmp_path):
    weights = tmp_path / "weights.safetensors"
    with pytest.raises(LilasError, match="expected a weights file, found nothing"):
        read_record(weights)
    weights.write_bytes((miniature.folder / AE / "weights.safetensors").read_bytes()[:-10])
    with pytest.raises(LilasError, match="a damaged file"):
        read_record(weights)
    metrics = tmp_path / "metrics.parquet"
    whole = miniature.folder / AE / "reconstruction.parquet"
    metrics.write_bytes(whole.read_bytes()[:-10])
    with pytest.raises(LilasError, match=r"metrics\.parquet"):
        read_metrics(metrics)
    (tmp_path / "statistics.json").write_text("{")
    with pytest.raises(LilasError, match="expected JSON"):
        read_json(tmp_path / "statistics.json")


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError, match="stopped"), atomic(path) as part:  # noqa: PT012
        part.write_text("half")
        raise RuntimeError("stopped")
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": 1}


@pytest.fixture
def full_disk(tmp_path):
    """A file system with room for bytes, where it seems, but not for another file."""
    with mounted(tmp_path / "disk", "size=64m,nr_inodes=12") as folder:
        yield folder


def test_a_full_disk_is_told_and_leaves_nothing(pipeline, full_disk: Path):
    pipeline.edit("data: results/data", f"data: {full_disk}", pipeline.folder / "config.yaml")
    done = pipeline.run("all_data", check=False)
    assert done.returncode != 0
    messages = [
        line for line in (done.stdout + done.stderr).splitlines() if line.startswith("error: ")
    ]
    assert messages
    assert all("space" in message and str(full_disk) in message for message in messages)
    assert list(full_disk.rglob("*.hdf5")) == []
    assert list(full_disk.rglob("*.part")) == []


def test_a_study_of_version_0_1_0_is_refused_in_one_line(pipeline):
    text = pipeline.study.read_text()
    text = text.replace("algorithm: ", "method: ").replace("    method: ", "    objective: ")
    pipeline.study.write_text(text)
    done = pipeline.run("--dry-run", check=False)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    for words in ("version 0.1.0", "emulators.diffusion.objective to method", "CHANGELOG.md"):
        assert words in line
    assert len(line) <= 300


def test_results_of_version_0_1_0_are_refused_and_left_as_they_are(pipeline):
    """0.1.0 wrote the study's path alone."""
    pipeline.results.mkdir(parents=True)
    owner = pipeline.results / "study.json"
    owner.write_text('{"study": "../../miniature.yaml"}\n')
    for arguments in (("--dry-run",), ()):
        done = pipeline.run(*arguments, check=False)
        assert done.returncode != 0
        (line,) = [line for line in done.stderr.splitlines() if "error" in line]
        assert "holds results of version 0.1.0" in line
        assert "another `results` folder" in line
    assert list(pipeline.results.iterdir()) == [owner]
    assert owner.read_text() == '{"study": "../../miniature.yaml"}\n'
