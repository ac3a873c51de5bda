"""Zarr stores of latents and rollouts: created whole, opened checked.

A store is built under a temporary name by one or many jobs and renamed when every part is there,
then a small manifest is written beside it: `train.zarr` and `train.json`. The manifest is what
the stages after it open; people open the store with `xarray.open_zarr`.
"""

import json
import math
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from lilas.errors import broken
from lilas.files import read_json, write_json
from lilas.records.provenance import as_json, making

# Trajectories share a shard up to this size: large enough for few files, small enough for memory.
SHARD_BYTES = 128 * 2**20


def partial(store: str | Path) -> Path:
    """Returns the temporary name under which a store is built."""
    store = Path(store)
    return store.with_name(f".{store.stem}.partial.zarr")


def create(
    store: str | Path,
    *,
    variable: str,
    sizes: dict[str, int],
    chunk: dict[str, int],
    shard: dict[str, int],
    dataset: xr.Dataset,
    record: dict[str, Any],
) -> Path:
    """Creates an empty partial store and returns its path; an older partial is removed.

    Args:
        store: The final path.
        variable: Name of the float32 array that jobs fill.
        sizes: Its dimensions, in order.
        chunk: Chunk sizes; a dimension that is not named is whole.
        shard: Shard sizes, multiples of the chunk's; a dimension not named is whole.
        dataset: Coordinates, small variables, attributes.
        record: Provenance.
    """
    path = partial(store)
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = dataset.assign_attrs(provenance=as_json(record))
    dataset.to_zarr(path, mode="w", zarr_format=3, consolidated=False)
    zarr.open_group(path, mode="r+").create_array(
        variable,
        shape=tuple(sizes.values()),
        chunks=tuple(chunk.get(name, size) for name, size in sizes.items()),
        shards=tuple(shard.get(name, size) for name, size in sizes.items()),
        dtype="float32",
        fill_value=math.nan,
        dimension_names=tuple(sizes),
        compressors=None,
        attributes={"units": "1"},
    )
    return path


def is_begun(store: str | Path, variable: str, record: dict[str, Any]) -> bool:
    """Whether a partial store of this very configuration is there, left by a killed run."""
    built = partial(store)
    return (built / variable / "zarr.json").is_file() and same_making(built, record)


def is_named(store: str | Path, variable: str, record: dict[str, Any]) -> bool:
    """Whether the store is whole and has its name: a run was killed before its manifest."""
    if not Path(store).is_dir() or partial(store).is_dir() or not same_making(store, record):
        return False
    array = zarr.open_group(store, mode="r")[variable]
    return array.nchunks_initialized == array.nchunks


def finish(store: str | Path, variable: str, manifest: str | Path, record: dict[str, Any]) -> None:
    """Renames a partial store that is full to its final name and writes its manifest.

    Raises:
        LilasError: a shard is missing, or the store is not the one that the record describes.
    """
    store, built = Path(store), partial(store)
    if built.is_dir():
        array = zarr.open_group(built, mode="r")[variable]
        if array.nchunks_initialized < array.nchunks:
            raise broken(
                built,
                f"{array.nchunks} chunks of {variable}",
                f"{array.nchunks_initialized}",
                "Run again: what is missing is made anew.",
            )
        with warnings.catch_warnings():
            # Consolidated metadata opens faster; that Zarr 3 does not specify it yet is known.
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(str(built))
        shutil.rmtree(store, ignore_errors=True)
        os.replace(built, store)
    # Without a partial store an earlier run was killed right after it had renamed it.
    if not store.is_dir() or not same_making(store, record):
        found = "another one" if store.is_dir() else "nothing"
        raise broken(store, "the store just built", found, "Delete it and run again.")
    write_json(manifest, {"kind": "zarr", "store": store.name, "provenance": _record(store)})


def same_making(store: str | Path, record: dict[str, Any]) -> bool:
    """Whether a store was created with this configuration from these inputs."""
    return making(_record(store)) == making(record)


def _record(store: str | Path) -> dict[str, Any]:
    return json.loads(zarr.open_group(store, mode="r").attrs["provenance"])


def store_record(dataset: xr.Dataset) -> dict[str, Any]:
    """Returns the provenance that a store carries."""
    return json.loads(dataset.attrs["provenance"])


def open_store(manifest: str | Path, *variables: str) -> xr.Dataset:
    """Opens the store behind a manifest, lazily.

    Raises:
        LilasError: the store is gone, lacks one of the variables, or is not the one that the
            manifest was written for.
    """
    manifest = Path(manifest)
    entry = read_json(manifest, ("kind", "store", "provenance"))
    path = manifest.with_name(entry["store"])
    action = f"Delete {path} and {manifest}, and run again."
    if not path.is_dir():
        raise broken(path, "a Zarr store", "nothing", action)
    dataset = xr.open_zarr(path)
    if not dataset.variables.keys() >= set(variables) or "provenance" not in dataset.attrs:
        found = ", ".join(map(str, dataset.variables))
        raise broken(path, f"the variables {', '.join(variables)} and provenance", found, action)
    if not same_making(path, entry["provenance"]):
        raise broken(path, "the store that the manifest describes", "another one", action)
    return dataset


def trajectories_per_shard(counts: list[int], trajectory_bytes: int) -> int:
    """Returns how many trajectories share a shard, so that no shard spans two source files.

    It divides every file's number of trajectories, and stays under SHARD_BYTES.
    """
    common = math.gcd(*counts)
    most = max(1, SHARD_BYTES // trajectory_bytes)
    return max(d for d in range(1, common + 1) if common % d == 0 and d <= most)


def text(values: Sequence[str]) -> np.ndarray:
    """Returns strings as the variable-length kind that Zarr 3 specifies."""
    return np.array(values, dtype=object)


def mark(path: str | Path) -> None:
    """Leaves an empty file that says a part is done."""
    Path(path).touch()
