"""Compressed chunks of HDF5 datasets, read by several threads at once.

HDF5 decompresses under a lock of the whole process, so that its threads wait for each other. Here
only the bytes of a chunk are read under the lock; libdeflate decompresses them outside it, in about
two thirds of zlib's time.
"""

import math
from itertools import product

import deflate
import h5py
import numpy as np

# Pipelines of filters that are undone here; HDF5 itself undoes the others.
_PIPELINES = ([h5py.h5z.FILTER_DEFLATE], [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE])


def read(dataset: h5py.Dataset, index: tuple[int | slice, ...]) -> np.ndarray:
    """Returns `dataset[index]`, an integer or an ascending slice for each of the first axes."""
    plist = dataset.id.get_create_plist()
    pipeline = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    if pipeline not in _PIPELINES:
        return dataset[index]
    try:
        return _read(dataset, index, shuffled=len(pipeline) > 1)
    except (OSError, RuntimeError, ValueError, deflate.DeflateError):
        # A chunk that was never written, skipped a filter or is damaged: HDF5 knows which.
        return dataset[index]


def _read(dataset: h5py.Dataset, index: tuple[int | slice, ...], shuffled: bool) -> np.ndarray:
    full = (*index, *[slice(None)] * (dataset.ndim - len(index)))
    wanted = [
        range(size)[i if isinstance(i, slice) else slice(i, i + 1)]
        for i, size in zip(full, dataset.shape, strict=True)
    ]
    found = np.empty([len(axis) for axis in wanted], dataset.dtype)
    if not found.size:
        return dataset[index]
    pairs = list(zip(wanted, dataset.chunks, strict=True))
    spans = [range(axis[0] // size * size, axis[-1] + 1, size) for axis, size in pairs]
    for corner in product(*spans):
        # Of each axis, the first and last of the wanted that lie in the chunk.
        inside = [
            (
                max(0, -((axis.start - first) // axis.step)),
                min(len(axis), -((axis.start - first - size) // axis.step)),
            )
            for (axis, size), first in zip(pairs, corner, strict=True)
        ]
        if any(low >= high for low, high in inside):
            continue
        skipped, stored = dataset.id.read_direct_chunk(corner)
        if skipped:
            raise ValueError("a chunk that skipped a filter")
        chunk = _decode(stored, dataset.dtype, dataset.chunks, shuffled)
        source = tuple(
            slice(axis[low] - first, axis[high - 1] - first + 1, axis.step)
            for axis, first, (low, high) in zip(wanted, corner, inside, strict=True)
        )
        found[tuple(slice(low, high) for low, high in inside)] = chunk[source]
    return found[tuple(slice(None) if isinstance(i, slice) else 0 for i in full)]


def _decode(stored: bytes, dtype: np.dtype, shape: tuple[int, ...], shuffled: bool) -> np.ndarray:
    plain = deflate.zlib_decompress(stored, math.prod(shape) * dtype.itemsize)
    if shuffled:
        # First bytes of all numbers, then second bytes, and so on. A plane at a time is twice as
        # fast as a transpose.
        planes = np.frombuffer(plain, np.uint8).reshape(dtype.itemsize, -1)
        plain = np.empty(planes.shape[::-1], np.uint8)
        for i, plane in enumerate(planes):
            plain[:, i] = plane
    return np.frombuffer(plain, dtype).reshape(shape)
