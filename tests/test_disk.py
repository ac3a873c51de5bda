"""Writes that the disk takes no more of, and files of ours that have changed on it."""

import resource
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from PIL import Image

from conftest import fill_up
from lilas.errors import LilasError
from lilas.files import atomic, read_json, write_json
from lilas.records import stores
from lilas.records.histories import read_history, write_history
from lilas.records.metrics import KEYS, keep_metrics, read_metrics, write_metrics
from lilas.records.provenance import provenance
from lilas.records.weights import load_weights, write_weights
from lilas.report import figures, videos
from lilas.training.checkpoints import save_checkpoint

RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=(64, 64)).astype(np.float32)
RECORD = {"stage": "latents", "version": 0, "config": {}, "inputs": {}}


def metrics(path: Path) -> None:
    rows = 2000
    frame = pd.DataFrame({"value": RNG.normal(size=rows), "lead_time": 1, "trajectory": 0})
    frame = frame.assign(metric="rmse", field="u", relative_to="truth")
    names = dict.fromkeys(KEYS, "a") | {"compression": 1.0, "context": 1, "start": 0, "members": 1}
    write_metrics(path, [frame], names, provenance("evaluate", {}, {}))


def store(path: Path) -> None:
    path = path.with_name("train.zarr")
    stores.create(
        path,
        variable="latent",
        sizes={"trajectory": 1, "time": 64, "channel": 64},
        chunk={},
        shard={},
        dataset=xr.Dataset({"label": ("trajectory", [0.0])}),
        record=RECORD,
    )
    stores.fill(stores.open_to_fill(path, "latent"), (slice(1),), NOISE[None])


def figure(path: Path) -> None:
    drawn, axes = plt.subplots()
    axes.imshow(NOISE)
    figures.save(drawn, path, 200)


WRITERS: dict[str, Callable[[Path], None]] = {
    "statistics.json": lambda path: write_json(path, NOISE.tolist()),
    "history.jsonl": lambda path: write_history(path, [{"step": i} for i in range(2000)]),
    "weights.safetensors": lambda path: write_weights(path, {"w": torch.tensor(NOISE)}, {}),
    "checkpoint.pt": lambda path: save_checkpoint(path, {"w": torch.tensor(NOISE)}),
    "metrics.parquet": metrics,
    ".zarr": store,
    "figure": figure,
    "video.gif": lambda path: videos.save(
        [Image.fromarray(RNG.integers(0, 255, (128, 128), np.uint8))] * 2, path
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_told_by_file_and_volume(tiny_disk, name):
    fill_up(tiny_disk, 8192)
    old = tiny_disk / name
    if name not in (".zarr", "figure"):
        old.write_text("old")
    words = rf"{name}.*: expected room to write it, found \S+ GB left on {tiny_disk}: no space left"
    with pytest.raises(LilasError, match=words):
        WRITERS[name](old)
    # What is written whole or not at all leaves the file that was there.
    if old.is_file() and not name.endswith("gif"):
        assert old.read_text() == "old"
    assert not list(tiny_disk.glob(".*.part"))


@pytest.mark.parametrize("name", WRITERS)
def test_a_limit_on_the_size_of_files_is_told(tmp_path, name):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(LilasError, match=rf"{name}.*: the limit on the size of a file"):
            WRITERS[name](tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_not_for_want_of_room_is_left_as_it_is(tmp_path):
    with pytest.raises(PermissionError), atomic(tmp_path / "a.json"):
        raise PermissionError(13, "Permission denied", "/elsewhere/data.hdf5")
    with pytest.raises(KeyError), atomic(tmp_path / "a.json"):
        raise KeyError("a")
    assert list(tmp_path.iterdir()) == []


def model() -> torch.nn.Module:
    return torch.nn.Linear(8, 8)


READERS: dict[str, Callable[[Path], object]] = {
    "weights.safetensors": lambda path: load_weights(path, model()),
    "metrics.parquet": read_metrics,
    "history.jsonl": read_history,
    "statistics.json": read_json,
}
MAKERS: dict[str, Callable[[Path], None]] = WRITERS | {
    "weights.safetensors": lambda path: write_weights(path, model().state_dict(), RECORD),
    "history.jsonl": lambda path: write_history(
        path, [{"step": i, "loss": 1.0, "skipped": 0} for i in range(9)]
    ),
    "statistics.json": lambda path: write_json(path, {"channels": {"u": {"mean": 0.1}}}),
}


@pytest.mark.parametrize("name", READERS)
def test_a_truncated_file_of_ours_is_told(tmp_path, name):
    path = tmp_path / name
    MAKERS[name](path)
    READERS[name](path)
    whole = path.read_bytes()
    for end in (0, 1, 10, len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:end])
        # A history of no entries is one; cut between two lines, it cannot be told.
        if end or name != "history.jsonl":
            with pytest.raises(LilasError, match=name):
                READERS[name](path)
        if name == "metrics.parquet":
            assert not keep_metrics(path, provenance("evaluate", {}, {}))


def weights_of(path: Path) -> list[list[float]]:
    found = model()
    load_weights(path, found)
    return [value.flatten().tolist() for value in found.state_dict().values()]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("weights.safetensors", weights_of),
        ("metrics.parquet", lambda path: read_metrics(path).to_dict("list")),
    ],
)
def test_numbers_that_changed_on_the_disk_are_never_read(tmp_path, name, read):
    path = tmp_path / name
    MAKERS[name](path)
    whole, told = path.read_bytes(), 0
    numbers = read(path)
    places = range(0, len(whole), len(whole) // 150)
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 16
        path.write_bytes(flipped)
        try:
            assert read(path) == numbers
        except LilasError:
            told += 1
    # The rest is what no reader looks at, such as the lengths of what it skips.
    assert told > len(places) / 4
