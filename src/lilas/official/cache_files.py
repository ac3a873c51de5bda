"""Official caches one by one: what a file holds, whose it is, and whether files belong together."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lilas.data.hdf5 import open_hdf5
from lilas.errors import broken
from lilas.records.weights import read_record, read_shapes
from lilas.study.entries import autoencoder_settings

GROUP = "lilas"
FOREIGN = "Give files as the official code caches them, or as LILAS exports them."


@dataclass(frozen=True)
class Cache:
    """A checked cache file.

    Attributes:
        path: Where it lies.
        shape: Of its states, (N, time, channel, *space).
        features: Length of its labels.
        ours: Whether it has the group that an export of ours writes.
    """

    path: Path
    shape: tuple[int, ...]
    features: int
    ours: bool


@dataclass(frozen=True)
class Encoder:
    """What an autoencoder's weights say of its latents, without the model being built."""

    weights: Path
    record: dict[str, Any]
    factor: int
    pixel_channels: int
    latent_channels: int
    spatial: int


def read_encoder(weights: Path, cache: Path) -> Encoder:
    """Returns what an autoencoder's weights say of its latents.

    Args:
        weights: Of the autoencoder.
        cache: Of latents of it: a transformer's weights are alike in any number of space axes.

    Raises:
        LilasError: the weights are of pixel space, or of an autoencoder that the official code does
            not have.
    """
    record = read_record(weights)
    entry = autoencoder_settings(record["config"]["autoencoder"])
    if entry.is_pixel_space:
        action = "Give the autoencoder that encoded the caches."
        raise broken(weights, "weights of an autoencoder", "those of pixel space", action)
    shapes = read_shapes(weights)
    if entry.architecture == "dcae":
        _, patches, *kernel = shapes["encoder.layers.0.weight"]
        spatial = len(kernel)
    elif entry.architecture == "vit":
        _, patches = shapes["encoder.embed.weight"]
        with open_hdf5(cache) as file:
            state = file.get("state")
            # What is no cache is told when it is opened as one.
            spatial = state.ndim - 3 if isinstance(state, h5py.Dataset) else 2
        spatial = min(max(spatial, 1), 3)
    else:
        action = "Latents of a plug-in's autoencoder are made by the stage that encodes."
        raise broken(weights, "an autoencoder dcae or vit", entry.architecture, action)
    return Encoder(
        weights=weights,
        record=record,
        factor=entry.factor,
        pixel_channels=patches // entry.patch_size**spatial,
        latent_channels=entry.latent_channels,
        spatial=spatial,
    )


def open_cache(path: Path, encoder: Encoder) -> Cache:
    """Checks one cache, but for its values."""
    space = "xyz"[: encoder.spatial]
    axes = {"state": ("N", "time", "channel", *space), "label": ("N", "feature")}
    with open_hdf5(path) as file:
        for name, dims in axes.items():
            if not isinstance(file.get(name), h5py.Dataset):
                found = ", ".join(file) or "nothing"
                raise broken(path, f"the datasets {' and '.join(axes)}", found, FOREIGN)
            if file[name].dtype != np.float32:
                raise broken(path, f"{name} in float32", f"{file[name].dtype}", FOREIGN)
            if file[name].ndim != len(dims) or 0 in file[name].shape:
                expected = f"{name} of shape ({', '.join(dims)})"
                raise broken(path, expected, f"{file[name].shape}", FOREIGN)
        shape, label = file["state"].shape, file["label"].shape
        ours = GROUP in file
    if shape[2] != encoder.latent_channels:
        expected = f"{encoder.latent_channels} latent channels, as {encoder.weights} makes"
        raise broken(path, expected, f"{shape[2]}", "Give the autoencoder that encoded it.")
    if shape[0] != label[0]:
        raise broken(path, f"a label for each of {shape[0]} trajectories", f"{label[0]}", FOREIGN)
    return Cache(path, shape, label[1], ours)


def check_alike(caches: list[Cache]) -> None:
    """Refuses caches that are not of one split."""
    check_distinct([cache.path for cache in caches], "the caches given")
    first = caches[0]
    for cache in caches[1:]:
        for what, mine, theirs in (
            ("points of the latent grid", first.shape[3:], cache.shape[3:]),
            ("label features", first.features, cache.features),
            ("a group of LILAS", first.ours, cache.ours),
            ("folder of the split", folders(first)[1], folders(cache)[1]),
        ):
            if mine != theirs:
                raise broken(
                    cache.path,
                    f"{what}: {mine}, as in {first.path}",
                    f"{theirs}",
                    "Give the caches of one split, made by one program.",
                )


def folders(cache: Cache) -> tuple[str, str]:
    """The dataset and the split that the place of a cache names."""
    *_, dataset, split, _ = cache.path.resolve().parts
    return dataset, split


def check_distinct(paths: list[Path], what: str | Path) -> None:
    for one, other in pairwise(sorted(paths, key=lambda path: path.stem)):
        if one.stem == other.stem:
            action = "Files of a split are told apart by their names: rename one."
            raise broken(what, "files of different names", f"{one} and {other}", action)


def check_finite(cache: Cache) -> None:
    with open_hdf5(cache.path) as file:
        for name in ("state", "label"):
            for n in range(cache.shape[0]):
                if not np.isfinite(file[name][n]).all():
                    found = f"NaN or infinity in {name}, place {n} (the first)"
                    raise broken(cache.path, "finite values", found, "Encode the data again.")
