"""A store is whole or refused: no lost or damaged chunk of any array is read as a value."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from lilas.errors import LilasError
from lilas.inspect.kinds import inspect
from lilas.models.latents import Latents
from lilas.records import stores

RUN = "convection/c16-s0"
KINDS = {
    "latents": f"{RUN}/latents/train.json",
    "rollouts": f"{RUN}/diffusion-s0/ab4/rollouts.json",
    "frames": f"{RUN}/diffusion-s0/ab4/frames.json",
}
# Arrays of states, read when they are needed; the others are read when a store is opened.
STATES = {"latent", "truth", "autoencoder", "mean", "spread", "member"}
RECORD = {"stage": "latents", "version": 0, "config": {}, "inputs": {}}


@pytest.fixture
def copied(miniature, tmp_path, request):
    """The manifest of a copy of a store of the miniature."""
    original = miniature.results / KINDS[request.param]
    shutil.copytree(original.with_suffix(".zarr"), tmp_path / f"{original.stem}.zarr")
    return Path(shutil.copy(original, tmp_path))


def files(manifest: Path) -> dict[str, list[Path]]:
    """The files of the chunks of each array of a store."""
    store = manifest.with_suffix(".zarr")
    return {
        array.name: sorted(path for path in array.glob("c/**/*") if path.is_file()) or [array / "c"]
        for array in store.iterdir()
        if array.is_dir()
    }


def read_all(manifest: Path) -> None:
    """Reads every state of a store, as the stages do."""
    dataset = stores.open_store(manifest)
    for name in STATES & set(dataset.variables):
        stores.read(dataset, name)
    if "augmentation" in dataset.dims:
        latents = Latents(dataset)
        for row in range(latents.rows):
            latents.read(row)


@pytest.mark.parametrize("copied", KINDS, indirect=True)
def test_a_store_without_a_chunk_of_any_array_is_refused(copied):
    read_all(copied)
    arrays = files(copied)
    assert len(arrays) >= 8
    for name, chunks in arrays.items():
        for chunk in chunks:
            whole = chunk.read_bytes()
            chunk.unlink()
            words = rf"without the (chunk|shard) c.* of the array {name}\. Delete"
            with pytest.raises(LilasError, match=words):
                stores.open_store(copied)
            with pytest.raises(LilasError, match=words):
                inspect(copied.with_suffix(".zarr"))
            chunk.write_bytes(whole)
    read_all(copied)


@pytest.mark.parametrize("copied", KINDS, indirect=True)
def test_a_flipped_byte_of_any_array_is_told(copied):
    for name, chunks in files(copied).items():
        whole = chunks[0].read_bytes()
        for place in (0, len(whole) // 2, len(whole) - 1):
            flipped = bytearray(whole)
            flipped[place] ^= 1
            chunks[0].write_bytes(flipped)
            with pytest.raises(LilasError, match=rf"\.zarr: expected .*{name}"):
                read_all(copied)
            if name not in STATES:
                with pytest.raises(LilasError, match=f"the array {name} as it was written"):
                    stores.open_store(copied)
        chunks[0].write_bytes(whole[: len(whole) // 2])
        with pytest.raises(LilasError, match=rf"\.zarr: expected .*{name}"):
            read_all(copied)
        chunks[0].write_bytes(whole)
    read_all(copied)


@pytest.mark.parametrize("copied", ["rollouts"], indirect=True)
def test_what_the_metadata_say_is_what_the_manifest_was_written_for(copied):
    """A context of another length would compare rollouts with other steps of the truth."""
    metadata = copied.with_suffix(".zarr") / "zarr.json"
    text = metadata.read_text()
    old = '"context": 2' if '"context": 2' in text else '"context": 1'
    assert old in text
    metadata.write_text(text.replace(old, '"context": 3'))
    with pytest.raises(LilasError, match="what the manifest was written for"):
        stores.open_store(copied)
    metadata.write_text(text[: len(text) // 2])
    with pytest.raises(LilasError, match="expected a Zarr store"):
        stores.open_store(copied)


@pytest.mark.parametrize("copied", KINDS, indirect=True)
def test_an_array_is_read_by_what_the_manifest_was_written_for(copied):
    """Its own zarr.json says the same a second time, and its bytes are nobody's."""
    before = inspect(copied).lines
    for metadata in copied.with_suffix(".zarr").glob("*/zarr.json"):
        metadata.write_text(metadata.read_text()[:99])
    read_all(copied)
    assert inspect(copied).lines == before


@pytest.mark.parametrize("copied", ["latents"], indirect=True)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_labels_that_are_not_finite_are_refused(copied, value):
    zarr.open_group(copied.with_suffix(".zarr"), mode="r+")["label"][0, 0, 0] = value
    with pytest.raises(LilasError, match=r"train\.zarr: expected finite labels"):
        Latents(stores.open_store(copied))


def store_of(folder: Path, values: np.ndarray, written: slice = slice(None)) -> zarr.Array:
    """A partial store of 4 trajectories, two to a shard, some of them written."""
    stores.create(
        folder / "train.zarr",
        variable="latent",
        sizes={"trajectory": 4, "time": 3, "channel": 2},
        chunk={"trajectory": 1},
        shard={"trajectory": 2},
        dataset=xr.Dataset(
            {"label": ("trajectory", np.zeros(4)), "flip": ("trajectory", np.zeros(4, bool))},
            {"file": ("trajectory", stores.text([""] * 4)), "c": ("trajectory", np.zeros(4, int))},
        ),
        record=RECORD,
    )
    array = stores.open_to_fill(folder / "train.zarr", "latent")
    array[written] = values[written]
    return array


@pytest.mark.parametrize("value", [0.0, math.nan], ids=["zeros", "fill values"])
def test_chunks_of_zeros_and_of_fill_values_are_values_like_others(tmp_path, value):
    values = np.full((4, 3, 2), value, np.float32)
    array = store_of(tmp_path, values)
    assert stores.is_filled(array, slice(0, 4))
    stores.finish(tmp_path / "train.zarr", tmp_path / "train.json", RECORD)
    dataset = stores.open_store(tmp_path / "train.json", "latent", "label", "flip", "file", "c")
    np.testing.assert_array_equal(stores.read(dataset, "latent"), values)
    for name, expected in (("label", 0.0), ("flip", False), ("file", ""), ("c", 0)):
        assert dataset[name].values.tolist() == [expected] * 4


def test_a_shard_that_is_partly_filled_is_told(tmp_path):
    array = store_of(tmp_path, np.ones((4, 3, 2), np.float32), slice(3))
    assert stores.is_filled(array, slice(0, 2))
    assert not stores.is_filled(array, slice(2, 4))
    assert not stores.is_filled(array, slice(0, 4))
    words = "without 1 of 2 chunks in the shard c/1/0/0 of the array latent"
    with pytest.raises(LilasError, match=words):
        stores.finish(tmp_path / "train.zarr", tmp_path / "train.json", RECORD)
    assert not (tmp_path / "train.json").exists()
    # So is one that lost a chunk after it was finished.
    array[3] = 1.0
    stores.finish(tmp_path / "train.zarr", tmp_path / "train.json", RECORD)
    store = tmp_path / "train.zarr"
    whole = (store / "latent/c/1/0/0").read_bytes()
    store_of(tmp_path / "other", np.ones((4, 3, 2), np.float32), slice(3))
    partly = stores.partial(tmp_path / "other/train.zarr") / "latent/c/1/0/0"
    shutil.copy(partly, store / "latent/c/1/0/0")
    with pytest.raises(LilasError, match=words):
        stores.open_store(tmp_path / "train.json")
    # And one whose bytes were cut from the middle, its index intact.
    (store / "latent/c/1/0/0").write_bytes(whole[8:])
    with pytest.raises(LilasError, match="without the index of the shard c/1/0/0"):
        stores.open_store(tmp_path / "train.json")


def test_a_shard_at_the_end_of_an_array_may_reach_beyond_it(tmp_path):
    stores.create(
        tmp_path / "train.zarr",
        variable="latent",
        sizes={"trajectory": 3, "time": 3, "channel": 2},
        chunk={"trajectory": 1},
        shard={"trajectory": 2},
        dataset=xr.Dataset(),
        record=RECORD,
    )
    stores.open_to_fill(tmp_path / "train.zarr", "latent")[:] = 1.0
    stores.finish(tmp_path / "train.zarr", tmp_path / "train.json", RECORD)
    dataset = stores.open_store(tmp_path / "train.json", "latent")
    assert (stores.read(dataset, "latent") == 1.0).all()


def test_a_store_begun_without_all_its_coordinates_is_begun_again(tmp_path):
    store_of(tmp_path, np.ones((4, 3, 2), np.float32), slice(2))
    assert stores.is_begun(tmp_path / "train.zarr", "latent", RECORD)
    (stores.partial(tmp_path / "train.zarr") / "label" / "c" / "0").unlink()
    assert not stores.is_begun(tmp_path / "train.zarr", "latent", RECORD)


def test_a_rollout_that_diverged_is_kept_when_others_are_made(tmp_path):
    """Its values are the fill value of a chunk that is not there; its shard tells them apart."""
    array = store_of(tmp_path, np.full((4, 3, 2), np.nan, np.float32), slice(2))
    assert stores.is_filled(array, slice(0, 2))
    assert not stores.is_filled(array, slice(2, 4))


@pytest.mark.parametrize("harm", ["flipped", "cut", "gone"])
@pytest.mark.parametrize("name", ["latent", "label"])
def test_of_a_store_no_more_is_made_again_than_what_is_damaged(tmp_path, name, harm):
    values = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
    store, manifest = tmp_path / "train.zarr", tmp_path / "train.json"
    store_of(tmp_path, values)
    stores.finish(store, manifest, RECORD)
    before = manifest.read_bytes()
    assert stores.is_named(store, RECORD, mend=True)
    shard = store / {"latent": "latent/c/1/0/0", "label": "label/c/0"}[name]
    whole = bytearray(shard.read_bytes())
    whole[3] ^= 1
    if harm == "gone":
        shard.unlink()
    else:
        shard.write_bytes(whole if harm == "flipped" else whole[: len(whole) // 2])
    # Of what another configuration would make nothing is touched.
    assert not stores.is_named(store, RECORD | {"version": 1}, mend=True)
    assert store.is_dir()
    assert not stores.is_named(store, RECORD, mend=True)
    assert not store.exists()
    # Coordinates and labels are made with their store; latents by the shard.
    assert stores.is_begun(store, "latent", RECORD) == (name == "latent")
    if name == "latent":
        array = stores.open_to_fill(store, "latent")
        assert stores.is_filled(array, slice(0, 2))
        assert not stores.is_filled(array, slice(2, 4))
        array[2:] = values[2:]
        stores.finish(store, manifest, RECORD)
        assert manifest.read_bytes() == before
        dataset = stores.open_store(manifest, "latent")
        np.testing.assert_array_equal(stores.read(dataset, "latent"), values)
