"""Caches that the official code wrote: what they leave out is taken from their data files."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from lilas.data import axes
from lilas.data.hdf5 import open_hdf5
from lilas.data.states import label_names
from lilas.data.well import WellFile, open_files
from lilas.errors import broken
from lilas.models.latents import coordinates
from lilas.official.cache_files import Cache, Encoder, check_distinct, folders
from lilas.records import stores
from lilas.records.provenance import provenance


def complete(
    caches: list[Cache], encoder: Encoder, data_files: list[Path] | None
) -> tuple[list[Cache], list[int], xr.Dataset, dict[str, Any]]:
    """Returns the caches in order, their trajectories, and the dataset and record that fit."""
    config = {key: value for key, value in encoder.record["config"].items() if key == "states"}
    inputs: dict[str, Any] = {"autoencoder": encoder.weights, "cache": [c.path for c in caches]}
    name, split = folders(caches[0])
    if data_files is None:
        counts, copies = [cache.shape[0] for cache in caches], 1
        coords = _bare_coordinates(caches, counts)
    else:
        fields = config.get("states", {}).get("fields")
        data = open_files(data_files, fields)
        caches = _paired(caches, data, encoder)
        inputs["files"] = data_files
        counts = [file.trajectories for file in data]
        copies = caches[0].shape[0] // counts[0]
        coords = coordinates(data, copies, caches[0].shape[2:])
        name = data[0].dataset
    record = provenance(
        "latents",
        config | {"augment": {"copies": copies}, "names": {"dataset": name, "split": split}},
        inputs,
    )
    # What the autoencoder's states were standardised with; it need not lie here any more.
    if "statistics" in encoder.record["inputs"]:
        record["inputs"]["statistics"] = encoder.record["inputs"]["statistics"]
    labels = []
    for cache in caches:
        with open_hdf5(cache.path) as file:
            labels.append(file["label"][()].reshape(copies, -1, cache.features))
    pixels = encoder.pixel_channels * encoder.factor**encoder.spatial
    dataset = xr.Dataset(
        {
            "label": (
                ("augmentation", "trajectory", "feature"),
                np.concatenate(labels, axis=1),
                {"units": "1", "description": "parameters, then boundary codes"},
            )
        },
        coords,
        {
            "dataset": name,
            "autoencoder_sha256": record["inputs"]["autoencoder"]["sha256"],
            "compression": pixels / encoder.latent_channels,
        },
    )
    return caches, counts, dataset, record


def _bare_coordinates(caches: list[Cache], counts: list[int]) -> dict[str, Any]:
    """Returns the coordinates of caches without their data files."""
    _, _, channels, *space = caches[0].shape
    steps = [np.arange(float(cache.shape[1])) for cache in caches]
    times = [np.tile(time, (count, 1)) for time, count in zip(steps, counts, strict=True)]
    lengths = [len(time) for time in steps]
    names = [cache.path.name for cache in caches for _ in range(cache.shape[0])]
    return {
        "augmentation": np.arange(1),
        "trajectory": np.arange(sum(counts)),
        **axes.variables("time", times, axes.TIME_TOLERANCE, {"units": "solver steps"}),
        "steps": ("trajectory", np.repeat(lengths, counts)),
        "channel": np.arange(channels),
        "feature": stores.text([f"feature_{i}" for i in range(caches[0].features)]),
        "axis": stores.text(list("xyz"[: len(space)])),
        "file": ("trajectory", stores.text(names)),
        "index_in_file": ("trajectory", np.concatenate([np.arange(n) for n in counts])),
    } | {
        axis: (axis, np.arange(float(points)), {"units": "latent points"})
        for axis, points in zip("xyz", space, strict=False)
    }


def _paired(caches: list[Cache], data: list[WellFile], encoder: Encoder) -> list[Cache]:
    """Returns the caches in the order of their data files, after a check against them."""
    check_distinct([file.path for file in data], "the data files given")
    by_name = {cache.path.stem: cache for cache in caches}
    names = {file.path.stem for file in data}
    if alone := sorted(names ^ set(by_name)):
        raise broken(
            alone[0],
            "a cache and a data file of this name",
            "no data file" if alone[0] in by_name else "no cache",
            "Give the caches and the data files of one split.",
        )
    first = by_name[data[0].path.stem]
    for file in data:
        cache = by_name[file.path.stem]
        copies, left = divmod(cache.shape[0], file.trajectories)
        grid = tuple(points * encoder.factor for points in cache.shape[3:])
        for what, expected, found in (
            ("steps", file.steps, cache.shape[1]),
            (f"grid points, {encoder.factor} to a latent point", file.shape, grid),
            ("label features", len(label_names(file)), cache.features),
            (f"trajectories beyond copies of {file.trajectories}", 0, left),
            ("copies of each trajectory", first.shape[0] // data[0].trajectories, copies),
        ):
            if expected != found:
                raise broken(
                    cache.path,
                    f"{what}: {expected}, as {file.path} makes",
                    f"{found}",
                    "Give the data files that were cached.",
                )
    return [by_name[file.path.stem] for file in data]
