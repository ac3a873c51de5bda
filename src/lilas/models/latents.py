"""Latents of a split: encoded once to Zarr, then read as the trajectories of an emulator.

Pixel space is the identity autoencoder: its manifest names the data files, and no copy is written.
"""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import zarr
from torch import Tensor

from lilas.data.augment import Augmentation, Transformation, apply, draw_distinct, symmetries
from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels, label, label_names
from lilas.data.well import WellFile, open_files
from lilas.errors import broken
from lilas.files import read_json, sha256, write_json
from lilas.models.autoencoder import Autoencoder
from lilas.progress import progress
from lilas.records import stores
from lilas.seeds import derive

VARIABLE = "latent"
# What every store has, of latents or of rollouts: whatever the order of the files, the last two
# tell which trajectory is which.
STORED = (VARIABLE, "file", "index_in_file")
# States that an autoencoder sees at once: one would waste the device, a whole trajectory of the
# paper's its memory.
TOGETHER = 16


class Latents:
    """The encoded trajectories of a split, each augmented copy a row; a `Source` of windows."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self.dataset = dataset
        sizes = dataset.sizes
        self.copies, self.trajectories = sizes["augmentation"], sizes["trajectory"]
        self.rows, self.steps = self.copies * self.trajectories, sizes["time"]
        self.shape = dataset[VARIABLE].shape[3:]
        self.labels = dataset["label"].values.reshape(self.rows, -1)
        names, indices = dataset["file"].values.tolist(), dataset["index_in_file"].values.tolist()
        self.origins = list(zip(names, indices, strict=True))
        self.time = dataset["time"].values
        self.time_units = dataset["time"].attrs["units"]
        self._array = zarr.open_array(dataset.encoding["source"], path=VARIABLE, mode="r")

    def read(self, row: int) -> np.ndarray:
        """Returns a trajectory, float32 (time, channel, *space).

        Raises:
            LilasError: it holds values that are not finite.
        """
        states = self._array[divmod(row, self.trajectories)]
        if not np.isfinite(states).all():
            raise broken(
                self.dataset.encoding["source"],
                "finite latents",
                f"others in row {row}",
                "Delete it and its manifest and run again.",
            )
        return states

    def origin(self, row: int) -> tuple[str, int]:
        """Returns where a trajectory lies: its file's name and its index in the file."""
        return self.origins[row % self.trajectories]

    def augmentation(self, _: dict[str, Any]) -> None:
        """Latents were augmented before they were encoded."""
        return None


class PixelLatents(Pixels):
    """The states of a split as the latents of the identity; augmented as they are drawn."""

    def __init__(self, files: list[WellFile], preprocessing: Preprocessing, transforms: Any):
        super().__init__(files, preprocessing, transforms)
        self.copies, self.trajectories = 1, self.rows
        self.time, self.time_units = files[0].time, files[0].time_units

    def augmentation(self, settings: dict[str, Any]) -> Callable[..., torch.Tensor]:
        """Returns the augmentation of a batch of windows."""
        return Augmentation(settings, self.files, self.preprocessing)


def open_latents(manifest: Path, weights: Path) -> Latents | PixelLatents:
    """Opens the latents behind a manifest, for use with one autoencoder.

    Raises:
        LilasError: the store is damaged, or another autoencoder made it.
    """
    entry = read_json(manifest, ("kind", "provenance"))
    check_autoencoder(manifest, entry["provenance"], weights)
    if entry["kind"] == "zarr":
        return Latents(stores.open_store(manifest, *STORED))
    folder = Path(manifest).parent.resolve()
    config = entry["provenance"]["config"]
    files = open_files([folder / file for file in entry["files"]], config["states"]["fields"])
    preprocessing = Preprocessing.read(folder / entry["statistics"])
    return PixelLatents(files, preprocessing, config["label"])


def open_rollouts(manifest: Path, weights: Path) -> xr.Dataset:
    """Opens the rollouts behind a manifest, for decoding with one autoencoder.

    Raises:
        LilasError: the store is damaged, or in the latent space of another autoencoder.
    """
    check_autoencoder(manifest, read_json(manifest, ("provenance",))["provenance"], weights)
    return stores.open_store(manifest, *STORED)


def check_autoencoder(manifest: Path, record: dict[str, Any], weights: Path) -> None:
    """Refuses latents, of the data or of rollouts, that another autoencoder made.

    Raises:
        LilasError: the SHA-256 of the weights is not the recorded one.
    """
    made = record["inputs"]["autoencoder"]["sha256"]
    if made != (now := sha256(weights)):
        raise broken(
            manifest,
            f"latents of the autoencoder {weights} (SHA-256 {now[:12]}…)",
            f"latents of one with SHA-256 {made[:12]}…, which has changed since",
            f"Delete {manifest} and run again.",
        )


def begin_latents(
    store: Path,
    files: list[WellFile],
    autoencoder: Autoencoder,
    *,
    label_transforms: dict[str, str],
    augment: dict[str, Any],
    record: dict[str, Any],
) -> None:
    """Creates the empty store of a split: dimensions, coordinates, labels, augmentations.

    A store that a killed run of the same configuration began stays as it is.
    """
    if stores.is_begun(store, VARIABLE, record):
        return
    first = files[0]
    pixels = (len(first.channels), *first.shape)
    shape = autoencoder.latent_shape(pixels)
    counts = [file.trajectories for file in files]
    copies = augment["copies"]
    maps = [transformations(file, i, augment) for i, file in enumerate(files)]
    per_row = [[m for part in maps for m in part[copy]] for copy in range(copies)]
    rows = ("augmentation", "trajectory")
    labels = np.concatenate([label(file, label_transforms) for file in files])
    dataset = xr.Dataset(
        data_vars={
            "label": (
                (*rows, "feature"),
                np.stack([_labels(labels, maps, len(first.axes)) for maps in per_row]),
                {"units": "1", "description": "parameters, then boundary codes"},
            ),
            "flip": ((*rows, "axis"), np.array([[m.flips for m in r] for r in per_row], bool)),
            "roll": ((*rows, "axis"), np.array([[m.rolls for m in r] for r in per_row], int)),
            "permutation": (
                (*rows, "axis"),
                np.array([[m.permutation for m in r] for r in per_row], int),
            ),
        },
        coords=coordinates(files, copies, shape),
        attrs={
            "dataset": first.dataset,
            "autoencoder_sha256": record["inputs"]["autoencoder"]["sha256"],
            "compression": float(np.prod(pixels) / np.prod(shape)),
        },
    )
    create_store(store, dataset, counts, record)


def coordinates(files: list[WellFile], copies: int, shape: Sequence[int]) -> dict[str, Any]:
    """Returns the coordinates of a store of latents (channel, *space) of a split's files."""
    first = files[0]
    counts = [file.trajectories for file in files]
    return (
        {
            "augmentation": np.arange(copies),
            "trajectory": np.arange(sum(counts)),
            "time": ("time", first.time, {"units": first.time_units}),
            "channel": np.arange(shape[0]),
            "feature": stores.text(label_names(first)),
            "axis": stores.text(first.axes),
            "file": (
                "trajectory",
                stores.text([f.path.name for f in files for _ in range(f.trajectories)]),
            ),
            "index_in_file": ("trajectory", np.concatenate([np.arange(n) for n in counts])),
        }
        | {
            name: (name, first.coordinates[name].reshape(size, -1).mean(1))
            for name, size in zip(first.axes, shape[1:], strict=True)
        }
        | {
            name: ("trajectory", np.concatenate([file.parameters[name] for file in files]))
            for name in first.parameters
        }
    )


def create_store(
    store: Path, dataset: xr.Dataset, counts: list[int], record: dict[str, Any]
) -> None:
    """Creates the empty store of a split's latents, sized by its coordinates.

    Args:
        store: The final path of the store.
        dataset: Coordinates, labels and attributes.
        counts: Trajectories in each source file, in order; no shard spans two files.
        record: Provenance.
    """
    names = ("augmentation", "trajectory", "time", "channel", *dataset["axis"].values.tolist())
    sizes = {name: dataset.sizes[name] for name in names}
    shared = stores.trajectories_per_shard(counts, 4 * math.prod(list(sizes.values())[2:]))
    stores.create(
        store,
        variable=VARIABLE,
        sizes=sizes,
        chunk={"augmentation": 1, "trajectory": 1},
        shard={"augmentation": 1, "trajectory": shared},
        dataset=dataset,
        record=record,
    )


def transformations(file: WellFile, part: int, augment: dict[str, Any]) -> list[Any]:
    """Returns the augmentations of a file's trajectories by copy: [copy][trajectory].

    The first copy is the trajectory as it is; the others are distinct from it and each other.
    """
    group = symmetries(augment, [file])
    drawn = [
        draw_distinct(augment["copies"], group, seed=derive(augment["seed"], part, trajectory))
        for trajectory in range(file.trajectories)
    ]
    return [[maps[copy] for maps in drawn] for copy in range(augment["copies"])]


def _labels(labels: np.ndarray, maps: list[Transformation], axes: int) -> np.ndarray:
    """Returns labels whose boundary codes are moved as the augmentations move the axes."""
    moved = labels.copy()
    codes = moved[:, moved.shape[1] - 2 * axes :].reshape(len(labels), axes, 2)
    for row, transformation in enumerate(maps):
        codes[row] = transformation.boundaries(codes[row])
    moved[:, moved.shape[1] - 2 * axes :] = codes.reshape(len(labels), -1)
    return moved


def encode_files(
    store: Path,
    files: list[WellFile],
    parts: Sequence[int],
    autoencoder: Autoencoder,
    preprocessing: Preprocessing,
    *,
    augment: dict[str, Any],
    device: torch.device,
) -> None:
    """Encodes the trajectories of some files of a split into their own shards of a partial store.

    What is there already, from a killed run or another job, is kept.

    Args:
        store: The final path of the store.
        files: Every file of the split, in order.
        parts: Indices of the files to encode.
        autoencoder: On `device`.
        preprocessing: What states enter it with.
        augment: The keys of `lilas.study.datasets.Augment`.
        device: Where to encode.
    """
    array = zarr.open_array(stores.partial(store), path=VARIABLE, mode="r+")
    firsts = np.cumsum([0, *(file.trajectories for file in files)])
    for part in parts:
        pixels = Pixels([files[part]], preprocessing, {})
        maps = transformations(files[part], part, augment)
        name = "/".join(files[part].path.parts[-2:])
        total = augment["copies"] * pixels.rows
        with progress(total=total, desc=f"encode {name}", unit="trajectory") as bar:
            _encode_file(array, int(firsts[part]), pixels, maps, autoencoder, device, bar)


@torch.inference_mode()
def _encode_file(
    array: zarr.Array,
    first: int,
    pixels: Pixels,
    maps: list[list[Transformation]],
    autoencoder: Autoencoder,
    device: torch.device,
    bar: Any,
) -> None:
    channels = pixels.files[0].channels

    def prepare(states: torch.Tensor, transformation: Transformation) -> torch.Tensor:
        moved = apply(states, transformation, channels, None)
        return pixels.preprocessing.forward(moved, channel_axis=1)

    for start in range(0, pixels.rows, array.shards[1]):
        block = range(start, min(start + array.shards[1], pixels.rows))
        rows = slice(first + block.start, first + block.stop)
        # A shard is written whole, so its last trajectory speaks for it.
        if np.isfinite(array[:, rows.stop - 1, -1]).all():
            bar.update(len(block) * len(maps))
            continue
        # Each trajectory is read once; only its latents are kept until their shard is full.
        latents: list[list[np.ndarray]] = [[] for _ in maps]
        for row in block:
            states = torch.from_numpy(pixels.truth(row))
            for copy, encoded in enumerate(latents):
                encoded.append(_encode(autoencoder, prepare(states, maps[copy][row]), device))
                bar.update()
        for copy, encoded in enumerate(latents):
            array[copy, rows] = np.stack(encoded)


def _encode(autoencoder: Autoencoder, states: torch.Tensor, device: torch.device) -> np.ndarray:
    return torch.cat(
        [autoencoder.encode(chunk.to(device)).float().cpu() for chunk in states.split(TOGETHER)]
    ).numpy()


def write_pixel_manifest(
    manifest: Path, files: list[Path], statistics: Path, record: dict[str, Any]
) -> None:
    """Writes the manifest of pixel space: the data files themselves are its latents."""
    # Resolved, so that the way back holds where results or data are reached through links.
    folder = Path(manifest).parent.resolve()
    write_json(
        manifest,
        {
            "kind": "files",
            "files": [os.path.relpath(Path(file).resolve(), folder) for file in files],
            "statistics": os.path.relpath(Path(statistics).resolve(), folder),
            "provenance": record,
        },
    )


@torch.inference_mode()
def decode(
    latents: np.ndarray, autoencoder: Autoencoder, preprocessing: Preprocessing, device: Any
) -> Tensor:
    """Returns latents (…, channel, *space) decoded to physical units, a few states at a time."""
    leading = latents.shape[: latents.ndim - 1 - autoencoder.spatial]
    flat = torch.from_numpy(latents).flatten(0, len(leading) - 1)
    decoded = torch.cat([autoencoder.decode(z.to(device)) for z in flat.split(TOGETHER)])
    return preprocessing.inverse_(decoded, channel_axis=1).unflatten(0, leading)


@torch.inference_mode()
def autoencode(states: Tensor, autoencoder: Autoencoder, preprocessing: Preprocessing) -> Tensor:
    """Returns states (time, channel, *space) encoded and decoded, physical units in and out."""
    inputs = preprocessing.forward(states, channel_axis=1)
    rebuilt = [autoencoder.decode(autoencoder.encode(x)) for x in inputs.split(TOGETHER)]
    return preprocessing.inverse_(torch.cat(rebuilt), channel_axis=1)
