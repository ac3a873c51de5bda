"""Whether a Zarr store is whole: told by the files of its chunks, never by the values in them.

Zarr reads a chunk that is not there as the fill value, and a fill value may be a value like any
other. So our stores keep every chunk, of zeros or NaN too, each with the crc32c of its bytes; a
chunk without a file, or without a place in its shard, is lost.
"""

import os
from itertools import product
from pathlib import Path

import google_crc32c
import numpy as np
import zarr

# In the index at the end of a shard: there is no such chunk. The index's own crc32c follows it.
_ABSENT, _SUM = 2**64 - 1, 4

Place = tuple[int, ...]


def lost(store: Path, *, but: str = "") -> str | None:
    """Returns the first thing that the arrays of a store lack, in words; None if it is whole.

    Args:
        store: The store's folder.
        but: An array that is not looked at.
    """
    for name, array in zarr.open_group(store, mode="r").arrays():
        for place in product(*map(range, _counts(array.shape, array.shards or array.chunks))):
            if name != but and (what := lost_at(store / name, array, place)):
                return f"{what} of the array {name}"
    return None


def lost_at(folder: Path, array: zarr.Array, place: Place) -> str | None:
    """Returns what is lost of a shard, or of a chunk where there are none; None if nothing is.

    Args:
        folder: Of the array.
        array: Opened in any mode.
        place: Of the shard, along each axis.
    """
    key = array.metadata.encode_chunk_key(place)
    if not (folder / key).is_file():
        return f"the {'shard' if array.shards else 'chunk'} {key}"
    if array.shards is None:
        return None
    index = _index(folder / key, _counts(array.shards, array.chunks))
    if index is None:
        return f"the index of the shard {key}"
    # A shard at the array's end may reach beyond it.
    inside = tuple(
        slice(-(-(size - i * shard) // chunk))
        for size, i, shard, chunk in zip(
            array.shape, place, array.shards, array.chunks, strict=True
        )
    )
    absent = index[(*inside, 0)] == _ABSENT
    return f"{absent.sum()} of {absent.size} chunks in the shard {key}" if absent.any() else None


def damaged(store: Path) -> list[Path]:
    """Returns the files of shards, or of chunks where there are none, that are not as written.

    All of a store is read, a shard at a time. What is lost is named too, whether or not its file is
    there.
    """
    found = []
    for name, array in zarr.open_group(store, mode="r").arrays():
        each = array.shards or array.chunks
        for place in product(*map(range, _counts(array.shape, each))):
            if lost_at(store / name, array, place) or not _is_readable(array, place, each):
                found.append(store / name / array.metadata.encode_chunk_key(place))
    return found


def _is_readable(array: zarr.Array, place: Place, each: Place) -> bool:
    """Whether a shard can be read; what a disk does not give at all is another error."""
    try:
        array[tuple(slice(i * n, (i + 1) * n) for i, n in zip(place, each, strict=True))]
    except (ValueError, KeyError, TypeError, RuntimeError):
        return False
    return True


def _index(shard: Path, counts: list[int]) -> np.ndarray | None:
    """Returns offset and bytes of a shard's chunks, (*chunk, 2); None where that is damaged."""
    size = 16 * int(np.prod(counts)) + _SUM
    with open(shard, "rb") as file:
        if (length := file.seek(0, os.SEEK_END)) < size:
            return None
        file.seek(-size, os.SEEK_END)
        told = file.read()
    if google_crc32c.value(told[:-_SUM]) != int.from_bytes(told[-_SUM:], "little"):
        return None
    index = np.frombuffer(told[:-_SUM], "<u8").reshape(*counts, 2)
    ends = index[index[..., 0] != _ABSENT].sum(-1)
    return index if ends.max(initial=0) <= length - size else None


def _counts(shape: Place, part: Place) -> list[int]:
    """Returns how many parts a shape has along each axis."""
    return [-(-size // each) for size, each in zip(shape, part, strict=True)]
