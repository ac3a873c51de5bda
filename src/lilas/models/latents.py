"""Latents of a split: encoded once to Zarr, then read as the trajectories of an emulator.

Pixel space is the identity autoencoder: its manifest names the data files, and no copy is written.
"""

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import zarr

from lilas.data import axes
from lilas.data.about import About
from lilas.data.augment import (
    Augmentation,
    Transformation,
    apply,
    draw_distinct,
    move_codes,
    symmetries,
)
from lilas.data.origins import plain, told_apart
from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels, label_names, labels
from lilas.data.well import WellFile, open_files
from lilas.data.windows import Augment
from lilas.errors import broken
from lilas.files import read_json, sha256, write_json
from lilas.models.autoencoder import Autoencoder
from lilas.models.coding import encode, together
from lilas.progress import progress
from lilas.records import stores
from lilas.records.provenance import check_record
from lilas.seeds import derive

VARIABLE = "latent"
# What every store has, of latents or of rollouts: whatever the order of the files, the last two
# tell which trajectory is which.
STORED = (VARIABLE, "trajectory_time", "file", "index_in_file")
# Bytes of a chunk of latents: a trajectory, or steps of one.
CHUNK_BYTES = 2**24
# Bytes of states that are read at once to be encoded, but for those that are encoded together.
READ_BYTES = 2**26


class Latents:
    """The encoded trajectories of a split, each augmented copy a row; a `Source` of windows."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self.dataset = dataset
        sizes = dataset.sizes
        self.copies, self.trajectories = sizes["augmentation"], sizes["trajectory"]
        self.rows = self.copies * self.trajectories
        self.steps = np.tile(dataset["steps"].values, self.copies)
        self.shape = dataset[VARIABLE].shape[3:]
        self.labels = dataset["label"].values.reshape(self.rows, -1)
        self.features = dataset["feature"].values.tolist()
        if not np.isfinite(self.labels).all():
            raise broken(
                dataset.encoding["source"],
                "finite labels",
                "NaN or infinity",
                "Delete it and its manifest and run again.",
            )
        names, indices = dataset["file"].values.tolist(), dataset["index_in_file"].values.tolist()
        self.origins = list(zip(names, indices, strict=True))
        self.time_units = dataset["trajectory_time"].attrs["units"]
        # Those written before 0.2.0, and the official code's, know nothing of their data.
        self.about = dataset.attrs.get("about")
        self._array = stores.opened_array(dataset, VARIABLE)

    def read(self, row: int, steps: slice = slice(None)) -> np.ndarray:
        """Returns steps of a trajectory, float32 (time, channel, *space).

        Raises:
            LilasError: they are damaged or hold values that are not finite.
        """
        own = range(self.steps[row])[steps]
        place = (*divmod(row, self.trajectories), slice(own.start, own.stop, own.step))
        with stores.reading(self.dataset.encoding["source"], f"{VARIABLE} of row {row}"):
            states = self._array[place]
        if not np.isfinite(states).all():
            raise broken(
                self.dataset.encoding["source"],
                "finite latents",
                f"others in row {row}",
                "Delete it and its manifest and run again.",
            )
        return states

    def times(self, row: int) -> np.ndarray:
        """Returns the times of a trajectory, float64 (time,)."""
        return self.dataset["trajectory_time"].values[row % self.trajectories, : self.steps[row]]

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
        self.features = label_names(files[0])
        self.time_units = files[0].time_units
        self.about = About.of(files, preprocessing).as_json()

    def augmentation(self, settings: dict[str, Any]) -> Augment:
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
    config = check_record(manifest, entry["provenance"], "states", "label")["config"]
    paths = [os.path.normpath(folder / file) for file in entry["files"]]
    files = open_files(paths, config["states"]["fields"])
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
        LilasError: the SHA-256 of the weights is not the recorded one, or the record is damaged.
    """
    made = check_record(manifest, record)["inputs"]["autoencoder"]["sha256"]
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
    about: About,
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
    own = labels(files, label_transforms)
    dataset = xr.Dataset(
        data_vars={
            "label": (
                (*rows, "feature"),
                np.stack([_labels(own, maps) for maps in per_row]),
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
            "about": about.as_json(),
        },
    )
    create_store(store, dataset, counts, record)


def coordinates(files: list[WellFile], copies: int, shape: Sequence[int]) -> dict[str, Any]:
    """Returns the coordinates of a store of latents (channel, *space) of a split's files.

    A parameter that has the name of another coordinate or variable is called `parameter_NAME`; its
    name has a _ for each /, which no variable of a store has.
    """
    first = files[0]
    counts = [file.trajectories for file in files]
    names = np.repeat(told_apart([file.path for file in files]), counts).tolist()
    found = {
        "augmentation": np.arange(copies),
        "trajectory": np.arange(sum(counts)),
        "steps": ("trajectory", np.repeat([file.steps for file in files], counts)),
        "channel": np.arange(shape[0]),
        "feature": stores.text(label_names(first)),
        "axis": stores.text(first.axes),
        "file": ("trajectory", stores.text(names)),
        "index_in_file": ("trajectory", np.concatenate([np.arange(n) for n in counts])),
    }
    times, units = [file.times for file in files], {"units": first.time_units}
    found |= axes.variables("time", times, axes.TIME_TOLERANCE, units)
    for name, size in zip(first.axes, shape[1:], strict=True):
        points = [file.coordinates[name] for file in files]
        its = axes.units(first.axis_units.get(name))
        found |= axes.variables(name, points, axes.SPACE_TOLERANCE, its, cells=size)
    for parameter in first.parameters:
        values = np.concatenate([file.parameters[parameter] for file in files])
        name = parameter.replace("/", "_")
        others = first.parameters if name != parameter else ()
        # Some file systems take capital and small letters for one.
        taken = {other.casefold() for other in (*found, *first.axes, *axes.TAKEN, *others)}
        # Zarr keeps names that begin with __ to itself.
        while name.casefold() in taken or name.startswith("__"):
            name = f"parameter_{name}"
        found[name] = ("trajectory", values, axes.units(first.parameter_units.get(parameter)))
    return found


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
    state = 4 * math.prod(list(sizes.values())[3:])
    shared = stores.trajectories_per_shard(counts, sizes["time"] * state)
    # Large trajectories are read by pieces; a chunk is read whole.
    steps = min(sizes["time"], max(1, CHUNK_BYTES // state))
    whole = -(-sizes["time"] // steps) * steps
    stores.create(
        store,
        variable=VARIABLE,
        sizes=sizes,
        chunk={"augmentation": 1, "trajectory": 1, "time": steps},
        shard={"augmentation": 1, "trajectory": shared, "time": whole},
        dataset=dataset,
        record=record,
    )


def transformations(file: WellFile, part: int, augment: dict[str, Any]) -> list[Any]:
    """Returns the augmentations of a file's trajectories by copy: [copy][trajectory].

    The first copy is the trajectory as it is; the others are distinct from it and each other.
    """
    group = symmetries(augment, file)
    drawn = [
        draw_distinct(augment["copies"], group, seed=derive(augment["seed"], part, trajectory))
        for trajectory in range(file.trajectories)
    ]
    return [[maps[copy] for maps in drawn] for copy in range(augment["copies"])]


def _labels(labels: np.ndarray, maps: list[Transformation]) -> np.ndarray:
    """Returns labels whose boundary codes are moved as the augmentations move the axes."""
    flips, orders = (
        torch.tensor([getattr(m, key) for m in maps]) for key in ("flips", "permutation")
    )
    return move_codes(torch.from_numpy(labels), flips, orders).numpy()


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
    array = stores.open_to_fill(store, VARIABLE)
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
        if stores.is_filled(array, slice(None), rows):
            bar.update(len(block) * len(maps))
            continue
        # Each state is read once; only latents are kept until their shard is full.
        shape = (len(block), *array.shape[2:])
        latents = [np.full(shape, np.nan, np.float32) for _ in maps]
        for place, row in enumerate(block):
            for steps in _few(int(pixels.steps[row]), pixels.shape):
                states = torch.from_numpy(pixels.truth(row, steps))
                for copy, encoded in enumerate(latents):
                    inputs = prepare(states, maps[copy][row])
                    encoded[place, steps] = encode(inputs, autoencoder, device)
            bar.update(len(maps))
        for copy, encoded in enumerate(latents):
            stores.fill(array, (copy, rows), encoded)


def _few(steps: int, shape: Sequence[int]) -> Iterator[slice]:
    """Yields the steps of a trajectory, at once a multiple of what an autoencoder sees."""
    once = together(shape)
    few = once * max(1, READ_BYTES // (4 * once * math.prod(shape)))
    yield from (slice(start, min(start + few, steps)) for start in range(0, steps, few))


def write_pixel_manifest(
    manifest: Path, files: list[Path], statistics: Path, record: dict[str, Any]
) -> None:
    """Writes the manifest of pixel space: the data files themselves are its latents."""
    # The folder is resolved, so that the way back holds where results are reached through a link;
    # a file is not, since its name is that of a link, not of what it leads to.
    folder = Path(manifest).parent.resolve()
    write_json(
        manifest,
        {
            "kind": "files",
            "files": [os.path.relpath(plain(file), folder) for file in files],
            "statistics": os.path.relpath(plain(statistics), folder),
            "provenance": record,
        },
    )
