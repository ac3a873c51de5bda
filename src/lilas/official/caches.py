"""The official code's caches of latents, written from stores of ours and read into them.

Below the folder of an autoencoder's run lie `cache/DATASET/SPLIT/FILE.hdf5`, one for each data
file, with two datasets (official code 1.1.0): `state` (N, time, channel, *space) and `label`
(N, feature), both float32. N counts trajectories, and augmented copies of them. The official code
samples the N alike, so their order is ours to choose: with n trajectories in the data file, place
c · n + i holds copy c of the file's trajectory i.

What the format has no place for, an export puts into a group `lilas` beside the two, which the
official reader never opens: our store's other variables, and its attributes. A store that is
exported and imported again is the same to the bit.
"""

import json
import math
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
import zarr

from lilas.data.hdf5 import open_hdf5
from lilas.data.states import label_names
from lilas.data.well import WellFile, open_files
from lilas.errors import LilasError, broken
from lilas.files import atomic, sha256, writing
from lilas.models.latents import VARIABLE, PixelLatents, coordinates, create_store, open_latents
from lilas.records import stores
from lilas.records.provenance import provenance
from lilas.records.weights import read_record, read_shapes
from lilas.study.models import Autoencoder

GROUP = "lilas"
FOREIGN = "Give files as the official code caches them, or as LILAS exports them."


# --- Export -----------------------------------------------------------------------------------


def export_latents(manifest: Path, weights: Path, folder: Path) -> list[Path]:
    """Writes a split's latents as official caches, in memory bounded by a trajectory.

    Args:
        manifest: Of the latents; its name is the split's.
        weights: Of their autoencoder.
        folder: The run's folder, in which `cache` goes; files of the same names are replaced. The
            dataset's folder has the name that the first data file bears, also where a split mixes
            several datasets.

    Returns:
        The files written, in the order of the split.

    Raises:
        LilasError: as `open_latents`, the latents are pixels or not finite, two data files
            have one name, or the disk takes no more.
    """
    latents = open_latents(manifest, weights)
    if isinstance(latents, PixelLatents):
        action = "Give the latents of an autoencoder: pixels need no cache."
        raise broken(manifest, "a store of latents", "pixel space", action)
    names = [name for name, _ in latents.origins]
    places = {name: np.flatnonzero([name == other for other in names]) for name in names}
    folder = Path(folder) / "cache" / latents.dataset.attrs["dataset"] / Path(manifest).stem
    paths = [folder / Path(name).with_suffix(".hdf5") for name in places]
    _check_distinct(paths, manifest)
    for path, rows in zip(paths, places.values(), strict=True):
        count = latents.copies * len(rows)
        shape = (count, latents.steps, *latents.shape)
        with writing(path, 4 * math.prod(shape)), atomic(path) as part, h5py.File(part, "w") as to:
            state = to.create_dataset("state", shape, np.float32)
            for n, (copy, row) in enumerate(product(range(latents.copies), rows)):
                state[n] = latents.read(copy * latents.trajectories + row)
            _write_extras(to, latents.dataset.isel(trajectory=rows), latents.trajectories)
    return paths


def _write_extras(to: h5py.File, dataset: xr.Dataset, trajectories: int) -> None:
    """Writes the label, and all that official caches do not hold, of one file's trajectories.

    Args:
        to: The cache.
        dataset: The part of our store with the file's trajectories.
        trajectories: How many the whole split has.
    """
    group = to.create_group(GROUP)
    group.attrs["trajectories"] = trajectories
    # A dataset, since HDF5 limits attributes to 64 KiB and a record names every data file.
    group["attributes"] = json.dumps(dataset.attrs)
    for name, variable in dataset.variables.items():
        if name == VARIABLE:
            continue
        values = variable.values
        if name == "label":
            written = to.create_dataset(name, data=values.reshape(-1, values.shape[-1]))
        else:
            text = values.dtype.kind in "OTU"
            kind, values = (h5py.string_dtype(), values.astype(object)) if text else (None, values)
            written = group.create_dataset(f"variables/{name}", data=values, dtype=kind)
        written.attrs["dims"] = json.dumps(variable.dims)
        written.attrs["attributes"] = json.dumps(variable.attrs)
        written.attrs["coordinate"] = name in dataset.coords


# --- Import -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cache:
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
class _Encoder:
    """What an autoencoder's weights say of its latents, without the model being built."""

    weights: Path
    record: dict[str, Any]
    factor: int
    pixel_channels: int
    latent_channels: int
    dimensions: int


def import_latents(
    files: list[Path], weights: Path, manifest: Path, data_files: list[Path] | None = None
) -> None:
    """Makes a store of latents, `SPLIT.zarr` beside `SPLIT.json`, from the caches of a split.

    Caches that `export_latents` wrote bring everything back, whatever their order. Of official
    ones, the rest is taken from the data files, paired by name, in their order: time, coordinates,
    parameters, names of the label's features, and the number of trajectories n, so that N / n is
    the number of copies. Without data files every one of the N is a trajectory of its own, time
    counts steps and coordinates count latent points from 0, features are named by number, and
    files as their caches: rollouts from such latents can be compared with data of the caches'
    names, of which no copies were made. Which symmetries made official copies is not known:
    `flip`, `roll` and `permutation` are left out, and the first copy need not be the data as they
    are.

    Nothing is written unless every value is there and finite. Memory holds a shard at most.

    Args:
        files: The caches.
        weights: Of the autoencoder that encoded them.
        manifest: Of the new store.
        data_files: The files of The Well that the caches were made of, in order.

    Raises:
        LilasError: the manifest or its store exists already; a cache is not one, is damaged,
            not float32 or not finite; its latents are not of the autoencoder's shape; caches
            disagree with each other or with the data files; the caches of an export are not all
            there or of another autoencoder.
    """
    manifest, weights = Path(manifest), Path(weights)
    store = manifest.with_suffix(".zarr")
    for path in (manifest, store):
        if path.exists():
            raise broken(path, "nothing yet", "latents", "Delete them, or choose another name.")
    encoder = _encoder(weights)
    caches = [_open(Path(path), encoder) for path in files]
    if not caches:
        raise LilasError("no caches were given: a split holds at least one")
    _check_alike(caches)
    if caches[0].ours:
        if data_files is not None:
            raise LilasError(
                f"{caches[0].path}: holds the data's coordinates itself, since LILAS exported it. "
                "Leave the data files out."
            )
        caches, counts, dataset, record = _restored(caches, encoder)
    else:
        caches, counts, dataset, record = _foreign(caches, encoder, data_files)
    for cache in caches:
        _check_finite(cache)
    create_store(store, dataset, counts, record)
    array = zarr.open_array(stores.partial(store), path=VARIABLE, mode="r+")
    first, shared = 0, array.shards[1]
    for cache, count in zip(caches, counts, strict=True):
        with open_hdf5(cache.path) as file:
            for copy, start in product(range(array.shape[0]), range(0, count, shared)):
                block = slice(first + start, first + start + shared)
                place = copy * count + start
                array[copy, block] = file["state"][place : place + shared]
        first += count
    stores.finish(store, VARIABLE, manifest, record)


def _encoder(weights: Path) -> _Encoder:
    record = read_record(weights)
    entry = Autoencoder(**record["config"]["autoencoder"])
    if entry.latent_channels is None:
        action = "Give the autoencoder that encoded the caches."
        raise broken(weights, "weights of an autoencoder", "those of pixel space", action)
    _, patches, *kernel = read_shapes(weights)["encoder.layers.0.weight"]
    return _Encoder(
        weights=weights,
        record=record,
        factor=entry.factor,
        pixel_channels=patches // entry.patch_size ** len(kernel),
        latent_channels=entry.latent_channels,
        dimensions=len(kernel),
    )


def _open(path: Path, encoder: _Encoder) -> _Cache:
    """Checks one cache, but for its values."""
    space = "xyz"[: encoder.dimensions]
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
    return _Cache(path, shape, label[1], ours)


def _check_alike(caches: list[_Cache]) -> None:
    """Refuses caches that are not of one split."""
    _check_distinct([cache.path for cache in caches], "the caches given")
    first = caches[0]
    for cache in caches[1:]:
        for what, mine, theirs in (
            ("steps", first.shape[1], cache.shape[1]),
            ("points of the latent grid", first.shape[3:], cache.shape[3:]),
            ("label features", first.features, cache.features),
            ("a group of LILAS", first.ours, cache.ours),
            ("folder of the split", _folders(first)[1], _folders(cache)[1]),
        ):
            if mine != theirs:
                raise broken(
                    cache.path,
                    f"{what}: {mine}, as in {first.path}",
                    f"{theirs}",
                    "Give the caches of one split, made by one program.",
                )


def _folders(cache: _Cache) -> tuple[str, str]:
    """The dataset and the split that the place of a cache names."""
    *_, dataset, split, _ = cache.path.resolve().parts
    return dataset, split


def _check_distinct(paths: list[Path], what: str | Path) -> None:
    for one, other in pairwise(sorted(paths, key=lambda path: path.stem)):
        if one.stem == other.stem:
            action = "Files of a split are told apart by their names: rename one."
            raise broken(what, "files of different names", f"{one} and {other}", action)


def _check_finite(cache: _Cache) -> None:
    with open_hdf5(cache.path) as file:
        for name in ("state", "label"):
            for n in range(cache.shape[0]):
                if not np.isfinite(file[name][n]).all():
                    found = f"NaN or infinity in {name}, place {n} (the first)"
                    raise broken(cache.path, "finite values", found, "Encode the data again.")


# --- Caches that an export of ours wrote ------------------------------------------------------


def _restored(
    caches: list[_Cache], encoder: _Encoder
) -> tuple[list[_Cache], list[int], xr.Dataset, dict[str, Any]]:
    """Returns the caches in order, their trajectories, and the dataset and record exported."""
    parts = [(cache, *_read_extras(cache)) for cache in caches]
    parts.sort(key=lambda part: int(part[1]["trajectory"][0]))
    first, one, total = parts[0]
    shared = one.drop_dims("trajectory")
    for cache, dataset, other in parts[1:]:
        if other != total or not dataset.drop_dims("trajectory").identical(shared):
            action = "Give the files of one export."
            raise broken(cache.path, f"an export like that of {first.path}", "another", action)
    found = np.concatenate([dataset["trajectory"].values for _, dataset, _ in parts])
    if not np.array_equal(found, np.arange(total)):
        raise broken(
            first.path.parent,
            f"the trajectories 0 to {total - 1} of the exported split, each once",
            f"{', '.join(map(str, found))}",
            "Give all its files.",
        )
    record, sha = json.loads(one.attrs["provenance"]), sha256(encoder.weights)
    if (made := record["inputs"]["autoencoder"]["sha256"]) != sha:
        raise broken(
            first.path,
            f"latents of the autoencoder {encoder.weights} (SHA-256 {sha[:12]}…)",
            f"latents of one with SHA-256 {made[:12]}…",
            "Give the weights that they were exported with.",
        )
    dataset = xr.concat(
        [dataset for _, dataset, _ in parts],
        "trajectory",
        data_vars="minimal",
        coords="minimal",
        compat="identical",
        join="exact",
        combine_attrs="identical",
    )
    counts = [dataset.sizes["trajectory"] for _, dataset, _ in parts]
    return [cache for cache, *_ in parts], counts, dataset, record


def _read_extras(cache: _Cache) -> tuple[xr.Dataset, int]:
    """Returns what an export put into a cache beside its states, and the split's trajectories."""
    with open_hdf5(cache.path) as file:
        group = file[GROUP]
        found = {**group["variables"], "label": file["label"]}
        try:
            variables = {name: _variable(dataset) for name, dataset in group["variables"].items()}
            sizes = {dim: n for variable in variables.values() for dim, n in variable.sizes.items()}
            copies, count = sizes["augmentation"], sizes["trajectory"]
            variables["label"] = _variable(file["label"], (copies, count, cache.features))
            coordinates = {name for name, dataset in found.items() if dataset.attrs["coordinate"]}
            dataset = xr.Dataset(
                {name: variables[name] for name in variables if name not in coordinates},
                {name: variables[name] for name in variables if name in coordinates},
                json.loads(group["attributes"].asstr()[()]),
            )
        except ValueError as error:
            expected, action = f"a group {GROUP} as LILAS writes it", "Export it again."
            raise broken(cache.path, expected, f"{error}", action) from None
        space = [sizes[axis] for axis in variables["axis"].values]
        shape = (copies * count, sizes["time"], sizes["channel"], *space)
        if shape != cache.shape:
            expected = f"states of shape {shape}, as the group {GROUP} says"
            raise broken(cache.path, expected, f"{cache.shape}", "Export it again.")
        return dataset, int(group.attrs["trajectories"])


def _variable(dataset: h5py.Dataset, shape: tuple[int, ...] | None = None) -> xr.Variable:
    values = dataset.asstr()[()] if h5py.check_string_dtype(dataset.dtype) else dataset[()]
    return xr.Variable(
        json.loads(dataset.attrs["dims"]),
        values if shape is None else values.reshape(shape),
        json.loads(dataset.attrs["attributes"]),
    )


# --- Caches of the official code --------------------------------------------------------------


def _foreign(
    caches: list[_Cache], encoder: _Encoder, data_files: list[Path] | None
) -> tuple[list[_Cache], list[int], xr.Dataset, dict[str, Any]]:
    """Returns the caches in order, their trajectories, and the dataset and record that fit."""
    config = {key: value for key, value in encoder.record["config"].items() if key == "states"}
    inputs: dict[str, Any] = {"autoencoder": encoder.weights, "cache": [c.path for c in caches]}
    name, split = _folders(caches[0])
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
    pixels = encoder.pixel_channels * encoder.factor**encoder.dimensions
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


def _bare_coordinates(caches: list[_Cache], counts: list[int]) -> dict[str, Any]:
    """Returns the coordinates of caches without their data files."""
    _, steps, channels, *space = caches[0].shape
    axes = "xyz"[: len(space)]
    names = [cache.path.name for cache in caches for _ in range(cache.shape[0])]
    return {
        "augmentation": np.arange(1),
        "trajectory": np.arange(sum(counts)),
        "time": ("time", np.arange(float(steps)), {"units": "solver steps"}),
        "channel": np.arange(channels),
        "feature": stores.text([f"feature_{i}" for i in range(caches[0].features)]),
        "axis": stores.text(list(axes)),
        "file": ("trajectory", stores.text(names)),
        "index_in_file": ("trajectory", np.concatenate([np.arange(n) for n in counts])),
    } | {
        axis: (axis, np.arange(float(points)), {"units": "latent points"})
        for axis, points in zip(axes, space, strict=True)
    }


def _paired(caches: list[_Cache], data: list[WellFile], encoder: _Encoder) -> list[_Cache]:
    """Returns the caches in the order of their data files, after a check against them."""
    _check_distinct([file.path for file in data], "the data files given")
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
