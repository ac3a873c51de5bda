"""Zarr stores: latents, rollouts and frames."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure

from lilas.data.preprocess import Preprocessing
from lilas.data.well import WellFile, open_well
from lilas.display import spaced
from lilas.errors import LilasError, broken
from lilas.files import read_json, sha256
from lilas.inspect import pictures, text
from lilas.inspect.inspection import ELSEWHERE, Inspection
from lilas.inspect.pictures import PANELS
from lilas.models.autoencoder import Autoencoder
from lilas.models.build import load_autoencoder
from lilas.models.coding import decode
from lilas.models.latents import STORED
from lilas.records.provenance import check_record, located
from lilas.records.stores import open_folder, opened_array, read, reading, store_record

# Rows of latent channels and of members at most.
CHANNELS, MEMBERS = 8, 4

Decoder = tuple[Autoencoder, Preprocessing, WellFile]


def inspect_store(path: Path) -> Inspection:
    """Inspects a Zarr store, by its variables."""
    dataset = open_folder(path, action=ELSEWHERE)
    if {"truth", "member", "lead_time"} <= dataset.variables.keys():
        return inspect_frames(path, dataset)
    if not dataset.variables.keys() >= set(STORED):
        found = ", ".join(map(str, dataset.variables)) or "nothing"
        raise broken(path, f"the variables {', '.join(STORED)}", found, ELSEWHERE)
    return inspect_latents(path, dataset)


def inspect_latents(path: Path, dataset: xr.Dataset) -> Inspection:
    """Inspects a store of latents or of rollouts: they differ in their leading axes."""
    record = check_record(path, store_record(dataset))
    rollouts = record["stage"] == "rollout"
    latent = dataset["latent"]
    array = opened_array(dataset, "latent")

    def held(sizes: tuple[int, ...]) -> str:
        bytes_ = math.prod(sizes) * array.dtype.itemsize
        return f"{text.shape(latent.dims, sizes)}, {text.size(bytes_)}"

    facts = {
        "latent": f"{array.dtype} {text.shape(latent.dims, latent.shape)}, unit "
        f"{latent.attrs['units']}, {text.size(array.nbytes)}",
        "chunk": held(array.chunks),
        "shard": held(array.shards),
        "time": f"{text.times(dataset['trajectory_time'].values)}, unit: "
        f"{dataset['trajectory_time'].attrs['units']}",
    }
    if rollouts:
        leads = dataset["lead_time"].values
        facts["lead time"] = f"{leads[0]} to {leads[-1]} solver steps, every {dataset.stride}"
        facts["context"] = f"{dataset.context} true state{'s' * (dataset.context > 1)}"
        facts["trajectories"] = text.plain(dataset["trajectory"].values.tolist())
        what = "rollouts, stored as latents"
    else:
        facts["steps"] = text.counts(dataset["steps"].values)
        facts["compression"] = f"{dataset.compression:g}"
        facts["autoencoder"] = f"SHA-256 {dataset.autoencoder_sha256[:12]}"
        facts["features"] = ", ".join(dataset["feature"].values)
        what = f"latents of {dataset.dataset}"
    facts["files"] = ", ".join(dict.fromkeys(dataset["file"].values))
    with reading(dataset.encoding["source"], "the array latent"):
        ranges = text.array_ranges(array, latent.dims)
    channels = [f"latent {i}" for i in range(latent.sizes["channel"])]
    lines = [f"{path}: {what}", "", *text.facts(facts), "", "Channels", *ranges.lines(channels)]
    lines += text.origin(record, path)
    try:
        decoder = _decoder(record, path)
    except LilasError as error:
        decoder = None
        lines += ["", f"Picture shows latents alone; they cannot be decoded: {error}"]
    draw = _rollout_picture if rollouts else _latent_picture
    return Inspection(lines, lambda: draw(dataset, decoder))


def _decoder(record: dict[str, Any], artifact: Path) -> Decoder:
    """Returns what decodes latents: the recorded autoencoder, statistics and a data file.

    Raises:
        LilasError: one of them is gone, or the autoencoder is another by now.
    """
    inputs = record["inputs"]

    def here(entry: dict[str, Any]) -> Path:
        return located(entry["path"], artifact) or Path(entry["path"])

    weights = here(inputs["autoencoder"])
    if record["stage"] == "rollout":
        manifest = here(inputs["latents"])
        latents = check_record(manifest, read_json(manifest, ("provenance",))["provenance"])
    else:
        latents = record
    if missing := sorted({"files", "statistics"} - set(latents["inputs"])):
        raise LilasError(f"they were imported without {' and '.join(missing)}")
    made = inputs["autoencoder"]["sha256"]
    if weights.is_file() and (now := sha256(weights)) != made:
        action = "Run the pipeline again."
        raise broken(weights, f"SHA-256 {made[:12]}", now[:12], action)
    preprocessing = Preprocessing.read(here(latents["inputs"]["statistics"]))
    first = here(latents["inputs"]["files"][0])
    file = open_well(first, latents["config"]["states"]["fields"])
    return load_autoencoder(weights, file, torch.device("cpu")), preprocessing, file


def _latent_picture(dataset: xr.Dataset, decoder: Decoder | None) -> Figure:
    """Draws the first trajectory: its decoded fields, then its latent channels."""
    times = dataset["trajectory_time"].values[0, : int(dataset["steps"][0])]
    steps = spaced(len(times), PANELS)
    latents = read(dataset, "latent", augmentation=0, trajectory=0, time=steps)
    rows = {}
    if decoder:
        autoencoder, preprocessing, file = decoder
        decoded = _decode(latents, autoencoder, preprocessing)
        rows = {f"decoded {c.name}": decoded[:, i] for i, c in enumerate(file.channels)}
    rows |= {f"latent {i}": latents[:, i] for i in range(min(CHANNELS, latents.shape[1]))}
    titles = [f"time {times[i]:g}" for i in steps]
    return pictures.panels(rows, titles, "Trajectory 0, first copy")


def _rollout_picture(dataset: xr.Dataset, decoder: Decoder | None) -> Figure:
    """Draws the members of the first trajectory over lead time, in the first field."""
    steps = spaced(dataset.sizes["time"], PANELS)
    members = range(min(MEMBERS, dataset.sizes["member"]))
    chosen = read(dataset, "latent", trajectory=0, member=list(members), time=steps)
    states, name = chosen[:, :, 0], "latent 0"
    if decoder:
        autoencoder, preprocessing, file = decoder
        states = _decode(chosen, autoencoder, preprocessing)[:, :, 0]
        name = f"decoded {file.channels[0].name}"
    titles = [f"lead time {dataset['lead_time'].values[i]}" for i in steps]
    row = int(dataset["trajectory"][0])
    return pictures.panels(
        {f"member {i}": states[i] for i in members},
        titles,
        f"{name}, test trajectory {row}",
        shared=True,
    )


def inspect_frames(path: Path, dataset: xr.Dataset) -> Inspection:
    """Inspects a store of frames."""
    truth, leads, source = dataset["truth"], dataset["lead_time"].values, dataset.encoding["source"]
    facts = {name: str(dataset.attrs[name]) for name in ("dataset", "autoencoder")}
    facts |= {name: str(dataset.attrs[name]) for name in ("emulator", "sampler", "compression")}
    facts["states"] = f"{truth.dtype} {text.shape(truth.dims, truth.shape)}, physical units"
    facts["members"] = f"{dataset.sizes['member']}, beside mean and spread of all"
    facts["lead time"] = f"{len(leads)} from {leads[0]} to {leads[-1]} solver steps"
    facts["trajectories"] = text.plain(dataset["trajectory"].values.tolist())
    lines = [f"{path}: frames, decoded rollouts beside the truth", "", *text.facts(facts)]
    for name in ("truth", "mean", "spread"):
        with reading(source, f"the array {name}"):
            ranges = text.array_ranges(opened_array(dataset, name), truth.dims)
        lines += ["", f"Channels of {name}", *ranges.lines(dataset["channel"].values.tolist())]

    def draw() -> Figure:
        steps = spaced(len(leads), PANELS)
        rows = {
            name: read(dataset, name, trajectory=0, channel=0, time=steps)
            for name in ("truth", "autoencoder", "mean")
        }
        for i in range(dataset.sizes["member"]):
            index = {"trajectory": 0, "member": i, "channel": 0, "time": steps}
            rows[f"member {i}"] = read(dataset, "member", **index)
        field, row = dataset["channel"].values[0], int(dataset["trajectory"][0])
        titles = [f"lead time {leads[i]}" for i in steps]
        return pictures.panels(rows, titles, f"{field}, test trajectory {row}", shared=True)

    return Inspection([*lines, *text.origin(check_record(path, store_record(dataset)), path)], draw)


@torch.inference_mode()
def _decode(
    latents: np.ndarray, autoencoder: Autoencoder, preprocessing: Preprocessing
) -> np.ndarray:
    return decode(latents, autoencoder, preprocessing, torch.device("cpu")).numpy()
