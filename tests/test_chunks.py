"""Chunks decompressed here are what HDF5 makes of them."""

from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilas.data import chunks
from lilas.data.well import open_hdf5
from lilas.errors import LilasError

FILTERS = {
    "none": {},
    "gzip": {"compression": "gzip"},
    "shuffled": {"compression": "gzip", "shuffle": True},
    "checked": {"compression": "gzip", "fletcher32": True},
    "lzf": {"compression": "lzf"},
}


def values(shape, dtype="f4"):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    name=st.sampled_from(sorted(FILTERS)),
    dtype=st.sampled_from(["<f4", ">f4", "<f8", "<i2"]),
    shape=st.tuples(*[st.integers(1, 7)] * 3),
)
def test_chunks_are_read_as_hdf5_reads_them(tmp_path_factory, data, name, dtype, shape):
    sizes = tuple(data.draw(st.integers(1, n)) for n in shape)
    start = data.draw(st.integers(0, shape[1] - 1))
    steps = slice(start, data.draw(st.integers(start + 1, shape[1])), data.draw(st.integers(1, 3)))
    row = data.draw(st.integers(0, shape[0] - 1))
    path = tmp_path_factory.mktemp("chunks") / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=values(shape, dtype), chunks=sizes, **FILTERS[name])
    with h5py.File(path) as file:
        for index in ((row, steps), (slice(row, None), steps), (slice(None),), (row, slice(0))):
            found, expected = chunks.read(file["x"], index), file["x"][index]
            assert found.dtype == expected.dtype
            assert np.array_equal(found, expected)


@pytest.mark.parametrize("name", ["gzip", "shuffled"])
def test_compressed_chunks_are_not_left_to_hdf5(tmp_path, monkeypatch, name):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=values((4, 6)), chunks=(2, 4), **FILTERS[name])
    with h5py.File(tmp_path / "a.h5") as file:
        dataset = file["x"]
        expected = dataset[1:, :]
        monkeypatch.setattr(h5py.Dataset, "__getitem__", None)
        assert np.array_equal(chunks.read(dataset, (slice(1, None),)), expected)


def test_chunks_never_written_hold_the_fill_value(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset(
            "x", (4, 6), "f4", chunks=(2, 3), compression="gzip", fillvalue=7
        )
        made[:2, :3] = 1
    with h5py.File(tmp_path / "a.h5") as file:
        assert chunks.read(file["x"], (slice(None),)).sum() == 6 + 18 * 7


def test_damaged_chunks_are_told(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        made = file.create_dataset("x", data=values((4, 600)), chunks=(2, 600), compression="gzip")
        place = made.id.get_chunk_info(1)
    with open(path, "r+b") as file:
        file.seek(place.byte_offset + 100)
        file.write(bytes(200))
    with pytest.raises(LilasError, match="damaged"), open_hdf5(path) as file:
        chunks.read(file["x"], (slice(None),))


def test_threads_read_at_once(tmp_path):
    path, whole = tmp_path / "a.h5", values((16, 30, 40))
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=whole, chunks=(1, 30, 40), compression="gzip")

    def read(row):
        with h5py.File(path) as file:
            return chunks.read(file["x"], (row,))

    with ThreadPoolExecutor(4) as pool:
        assert np.array_equal(np.stack(list(pool.map(read, range(16)))), whole)
