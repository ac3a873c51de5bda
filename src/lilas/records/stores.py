"""Zarr stores of latents, rollouts and frames: created whole, opened checked.

A store is built under a temporary name by one or many jobs and renamed when every part is there,
then a small manifest is written beside it: `train.zarr` and `train.json`. The manifest is what
the stages after it open; people open the store with `xarray.open_zarr`.

Every chunk is kept, whatever its values, with a crc32c of its bytes: what is lost or damaged is
told, and never read as a fill value (`lilas.records.chunks`).
"""

import errno
import json
import math
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec

from lilas.errors import LilasError, broken
from lilas.files import read_json, sha256, write_json, writing
from lilas.records import chunks
from lilas.records.provenance import as_json, making

# Trajectories share a shard up to this size: large enough for few files, small enough for memory.
SHARD_BYTES = 128 * 2**20
METADATA = "zarr.json"
# What Zarr raises where metadata or chunks are not as it left them.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, RuntimeError)
_CHECKED = (Crc32cCodec(),)


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
    write(path, dataset.assign_attrs(provenance=as_json(record)))
    zarr.open_group(path, mode="r+").create_array(
        variable,
        shape=tuple(sizes.values()),
        chunks=tuple(chunk.get(name, size) for name, size in sizes.items()),
        shards=tuple(shard.get(name, size) for name, size in sizes.items()),
        dtype="float32",
        fill_value=math.nan,
        dimension_names=tuple(sizes),
        compressors=_CHECKED,
        attributes={"units": "1"},
    )
    return path


def write(path: Path, dataset: xr.Dataset) -> None:
    """Writes arrays that are in memory to a store, every chunk of them with its crc32c."""
    with writing(path), warnings.catch_warnings():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Strings of variable length, as Zarr 3 has them, are known to be young.
        warnings.simplefilter("ignore")
        dataset.to_zarr(
            path,
            mode="w",
            zarr_format=3,
            consolidated=False,
            write_empty_chunks=True,
            encoding={name: {"compressors": _CHECKED} for name in dataset.variables},
        )


def open_to_fill(store: str | Path, variable: str) -> zarr.Array:
    """Returns the array of a partial store that jobs fill; what is written to it is kept whole."""
    array = zarr.open_array(partial(store), path=variable, mode="r+")
    # An argument of `open_array` that says so is ignored (zarr 3.1).
    return array.with_config({"write_empty_chunks": True})


def fill(array: zarr.Array, index: tuple[int | slice, ...], values: np.ndarray) -> None:
    """Writes values to an array that `open_to_fill` returned.

    Raises:
        LilasError: the disk takes no more.
    """
    with writing(_folder(array)):
        array[index] = values


def _folder(array: zarr.Array) -> Path:
    return Path(array.store_path.store.root, array.store_path.path)


def is_filled(array: zarr.Array, *index: slice) -> bool:
    """Whether the shards of an array that a slice of each of its first axes needs were written.

    Values do not tell: a rollout that diverged may hold nothing but NaN.
    """
    folder = _folder(array)
    whole = (slice(None),) * (array.ndim - len(index))
    spans = [range(size)[i] for i, size in zip((*index, *whole), array.shape, strict=True)]
    places = product(
        *(range(s.start // n, -(-s.stop // n)) for s, n in zip(spans, array.shards, strict=True))
    )
    return all(chunks.lost_at(folder, array, place) is None for place in places)


def is_begun(store: str | Path, variable: str, record: dict[str, Any]) -> bool:
    """Whether a partial store of this very configuration is there, left by a killed run."""
    built = partial(store)
    if not (built / variable / "zarr.json").is_file() or not same_making(built, record):
        return False
    return _is_whole(built, but=variable)


def is_named(store: str | Path, record: dict[str, Any], *, mend: bool = False) -> bool:
    """Whether the store is whole and has its name: a run was killed before its manifest.

    Args:
        store: The final path.
        record: Provenance of what would be made.
        mend: Whether all of the store is read. If something is damaged, the store becomes a partial
            one without it, so that no more than this is made again.
    """
    store = Path(store)
    if not store.is_dir() or partial(store).is_dir() or not same_making(store, record):
        return False
    if mend and (files := chunks.damaged(store)):
        for file in files:
            file.unlink(missing_ok=True)
        os.replace(store, partial(store))
        return False
    return _is_whole(store)


def _is_whole(store: Path, **but: str) -> bool:
    try:
        return chunks.lost(store, **but) is None
    except _DAMAGE:
        return False


def finish(store: str | Path, manifest: str | Path, record: dict[str, Any]) -> None:
    """Renames a partial store that is full to its final name and writes its manifest.

    Raises:
        LilasError: a chunk is missing, or the store is not the one that the record describes.
    """
    store, built = Path(store), partial(store)
    if built.is_dir():
        if what := chunks.lost(built):
            action = "Run again: what is missing is made anew."
            raise broken(built, "every chunk of a store", f"it without {what}", action)
        with writing(built), warnings.catch_warnings():
            # Consolidated metadata opens faster; that Zarr 3 does not specify it yet is known.
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(str(built))
        shutil.rmtree(store, ignore_errors=True)
        os.replace(built, store)
    # Without a partial store an earlier run was killed right after it had renamed it.
    if not store.is_dir() or not same_making(store, record):
        found = "another one" if store.is_dir() else "nothing"
        raise broken(store, "the store just built", found, "Delete it and run again.")
    entry = {"kind": "zarr", "store": store.name, "metadata": sha256(store / METADATA)}
    write_json(manifest, entry | {"provenance": _record(store)})


def same_making(store: str | Path, record: dict[str, Any]) -> bool:
    """Whether a store was created with this configuration from these inputs."""
    try:
        return making(_record(store)) == making(record)
    except _DAMAGE:
        return False


def _record(store: str | Path) -> dict[str, Any]:
    return json.loads(zarr.open_group(store, mode="r").attrs["provenance"])


def store_record(dataset: xr.Dataset) -> dict[str, Any]:
    """Returns the provenance that a store carries."""
    try:
        return json.loads(dataset.attrs["provenance"])
    except (ValueError, TypeError) as error:
        path, action = dataset.encoding["source"], "Delete it and its manifest, and run again."
        raise broken(path, "provenance in JSON", f"a damaged one ({error})", action) from None


def open_store(manifest: str | Path, *variables: str) -> xr.Dataset:
    """Opens the store behind a manifest; its states, (…, time, channel, *space), lazily.

    Raises:
        LilasError: the store is gone, lacks one of the variables or a chunk of any, is damaged, or
            is not the one that the manifest was written for.
    """
    manifest = Path(manifest)
    entry = read_json(manifest, ("kind", "store", "metadata", "provenance"))
    path = manifest.with_name(entry["store"])
    action = f"Delete {path} and {manifest}, and run again."
    if not path.is_dir():
        raise broken(path, "a Zarr store", "nothing", action)
    dataset = open_folder(path, *variables, action=action)
    if not same_making(path, entry["provenance"]):
        raise broken(path, "the store that the manifest describes", "another one", action)
    if sha256(path / METADATA) != entry["metadata"]:
        raise broken(path / METADATA, "what the manifest was written for", "another text", action)
    return dataset


def open_folder(path: Path, *variables: str, action: str) -> xr.Dataset:
    """Opens a store by its folder, as `open_store`, without what the manifest knows.

    Args:
        path: The folder.
        variables: Which it must have.
        action: What to do about one that is not of ours.
    """
    try:
        group, dataset = zarr.open_group(path, mode="r"), None
        if not (what := chunks.lost(path)):
            for name, array in group.arrays():
                if not {"time", "channel"} <= set(array.metadata.dimension_names or ()):
                    with reading(path, f"the array {name}"):
                        array[...]
            dataset = xr.open_zarr(path)
    except _DAMAGE as error:
        raise _damaged(path, "a Zarr store of LILAS", error, action) from None
    if not set(group.array_keys()) >= set(variables) or "provenance" not in group.attrs:
        found = ", ".join(sorted(group.array_keys())) or "nothing"
        raise broken(path, f"the variables {', '.join(variables)} and provenance", found, action)
    if dataset is None:
        raise broken(path, "every chunk of a store", f"it without {what}", _mended(path))
    return dataset


def opened_array(dataset: xr.Dataset, name: str) -> zarr.Array:
    """Returns an array of an open store, by the metadata that its manifest was written for.

    They lie in the store's own `zarr.json`; the array's, which says the same, is not read.
    """
    return zarr.open_group(dataset.encoding["source"], mode="r")[name]


@contextmanager
def reading(path: str | Path, what: str) -> Iterator[None]:
    """Tells a chunk of a store that cannot be read.

    Raises:
        LilasError: its bytes are not those that were written.
    """
    try:
        yield
    except _DAMAGE as error:
        raise _damaged(path, f"{what} as it was written", error, _mended(path)) from None


def _mended(store: str | Path) -> str:
    manifest = f"{str(store).removesuffix('.zarr')}.json"
    return f"Delete {manifest} and run again: what is whole is kept."


def _damaged(path: str | Path, expected: str, error: Exception, action: str) -> LilasError:
    if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):
        found, action = os.strerror(error.errno), "See that its path and disk are in order."
    else:
        found = f"damage ({(str(error).splitlines() or [type(error).__name__])[0]})"
    return broken(path, expected, found, action)


def read(dataset: xr.Dataset, name: str, **index: Any) -> np.ndarray:
    """Returns states of a store, by index along named axes.

    Raises:
        LilasError: their chunks are damaged.
    """
    where = "".join(f", {axis} {i}" for axis, i in index.items() if isinstance(i, int))
    # Of a dataset in memory there is no damage to tell.
    with reading(dataset.encoding.get("source", ""), f"{name}{where}"):
        return dataset[name].isel(index).values


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
