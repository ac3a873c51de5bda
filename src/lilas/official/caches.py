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
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr

from lilas.data.hdf5 import open_hdf5
from lilas.errors import LilasError, broken
from lilas.files import atomic, sha256
from lilas.models.latents import VARIABLE, PixelLatents, create_store, open_latents
from lilas.official.cache_files import (
    GROUP,
    Cache,
    Encoder,
    check_alike,
    check_distinct,
    check_finite,
    open_cache,
    read_encoder,
)
from lilas.official.foreign import complete
from lilas.records import stores

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
    check_distinct(paths, manifest)
    for path, rows in zip(paths, places.values(), strict=True):
        count = latents.copies * len(rows)
        shape = (count, int(latents.steps[rows[0]]), *latents.shape)
        with atomic(path, 4 * math.prod(shape)) as part, h5py.File(part, "w", locking=False) as to:
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
    if not files:
        raise LilasError("no caches were given: a split holds at least one")
    encoder = read_encoder(weights, Path(files[0]))
    caches = [open_cache(Path(path), encoder) for path in files]
    check_alike(caches)
    if caches[0].ours:
        if data_files is not None:
            raise LilasError(
                f"{caches[0].path}: holds the data's coordinates itself, since LILAS exported it. "
                "Leave the data files out."
            )
        caches, counts, dataset, record = _restored(caches, encoder)
    else:
        caches, counts, dataset, record = complete(caches, encoder, data_files)
    for cache in caches:
        check_finite(cache)
    create_store(store, dataset, counts, record)
    array = stores.open_to_fill(store, VARIABLE)
    first, shared = 0, array.shards[1]
    for cache, count in zip(caches, counts, strict=True):
        with open_hdf5(cache.path) as file:
            for copy, start in product(range(array.shape[0]), range(0, count, shared)):
                block = slice(first + start, first + start + shared)
                place = copy * count + start
                states = _filled(file["state"][place : place + shared], array.shape[2])
                stores.fill(array, (copy, block), states)
        first += count
    stores.finish(store, manifest, record)


def _filled(states: np.ndarray, steps: int) -> np.ndarray:
    """Returns states (trajectory, time, …) with NaN beyond their own steps."""
    beyond = [(0, 0), (0, steps - states.shape[1]), *[(0, 0)] * (states.ndim - 2)]
    return np.pad(states, beyond, constant_values=np.nan)


# --- Caches that an export of ours wrote ------------------------------------------------------


def _restored(
    caches: list[Cache], encoder: Encoder
) -> tuple[list[Cache], list[int], xr.Dataset, dict[str, Any]]:
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
    record, sha = stores.store_record(one), sha256(encoder.weights)
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


def _read_extras(cache: Cache) -> tuple[xr.Dataset, int]:
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
        except (KeyError, ValueError) as error:
            expected, action = f"a group {GROUP} as LILAS writes it", "Export it again."
            raise broken(cache.path, expected, f"{error}", action) from None
        space = [sizes[axis] for axis in variables["axis"].values]
        shape = (copies * count, int(variables["steps"][0]), sizes["channel"], *space)
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
