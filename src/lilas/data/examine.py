"""One data file examined: its header, and all that is wrong with it."""

import hashlib
import os
from pathlib import Path

import h5py
import numpy as np

from lilas.data.hdf5 import open_hdf5
from lilas.data.headers import Fault, Header
from lilas.data.layout import BOUNDARIES, Faults, Layout, read_layout
from lilas.errors import LilasError

# Bytes that are compared of a file, in so many places, and of a compressed chunk.
PLACES, BLOCK = 8, 1024


def examine(path: str | Path) -> tuple[Header | None, list[Fault]]:
    """Returns a file's header, None where it has faults of its own, and all faults.

    Those of a field, which another study may not use, leave it its header.
    """
    path, faults, header = Path(path), Faults(), None
    try:
        with open_hdf5(path) as file:
            layout = read_layout(path, file, None, faults)
            if not faults.among(()):
                header = _header(path, file, layout)
    except LilasError as error:
        faults.found.append(("", error))
    told = [
        Fault(str(path), str(error).removeprefix(f"{path}: "), field)
        for field, error in faults.found
    ]
    return header, told


def _header(path: Path, file: h5py.File, layout: Layout) -> Header:
    kinds = {code: kind for kind, code in BOUNDARIES.items()}
    intervals = np.median(np.diff(layout.times), axis=1) if layout.times.shape[1] > 1 else []
    return Header(
        path=str(path),
        bytes=path.stat().st_size,
        dataset=layout.dataset,
        grid=layout.grid,
        axes=list(layout.axes),
        shape=list(layout.sizes[2:]),
        trajectories=layout.trajectories,
        steps=layout.sizes[1],
        time_units=layout.time_units,
        intervals=[float(np.min(intervals)), float(np.max(intervals))] if len(intervals) else [],
        domain={
            axis: [float(points[0, 0]), float(points[0, -1])]
            for axis, points in layout.coordinates.items()
        },
        fields=layout.fields,
        constants=layout.constants,
        parameters={
            name: [float(values.min()), float(values.max())]
            for name, values in layout.parameters.items()
        },
        boundaries={
            axis: [kinds[code] for code in codes]
            for axis, codes in zip(layout.axes, layout.codes.tolist(), strict=True)
        },
        axis_units=layout.axis_units,
        parameter_units=layout.parameter_units,
        content=_content(path),
        starts=_starts(path, file, layout),
        doubts=layout.doubts(),
        others=sorted(map(str, layout.others)),
    )


def _content(path: Path) -> str:
    """Returns a digest of a few blocks of a file and of its size."""
    size = path.stat().st_size
    found = hashlib.blake2b(str(size).encode(), digest_size=16)
    with open(path, "rb") as file:
        for place in range(PLACES):
            file.seek(place * max(0, size - BLOCK) // (PLACES - 1))
            found.update(file.read(BLOCK))
    return found.hexdigest()


def _starts(path: Path, file: h5py.File, layout: Layout) -> list[str]:
    """Returns a digest of a few values of each trajectory's first and last state.

    Of a plain dataset they are a line through the middle; of a compressed one, whose chunks may
    take long to read, the first bytes of the chunk. "" says nothing: they are all alike.
    """
    nothing = [""] * layout.trajectories
    for name, held in layout.fields.items():
        dataset = file[f"t{held.order}_fields"][name]
        if dataset.ndim < 3 or not dataset.attrs["sample_varying"] or dataset.is_virtual:
            continue
        if dataset.chunks and dataset.id.get_create_plist().get_nfilters():
            return _chunk_starts(path, dataset) or nothing
        space = dataset.shape[2 : dataset.ndim - held.order]
        middle = (*(points // 2 for points in space[:-1]), slice(None), *([0] * held.order))
        lines = [dataset[(slice(None), step, *middle)] for step in {0, dataset.shape[1] - 1}]
        values = np.concatenate(lines, axis=1)
        return [
            hashlib.blake2b(row.tobytes(), digest_size=16).hexdigest()
            if (row != row[0]).any()
            else ""
            for row in values
        ]
    return nothing


def _chunk_starts(path: Path, dataset: h5py.Dataset) -> list[str]:
    if dataset.chunks[0] > 1 or dataset.file.filename != str(path):
        return []
    raw = int(np.prod(dataset.chunks)) * dataset.dtype.itemsize
    last = (dataset.shape[1] - 1) // dataset.chunks[1] * dataset.chunks[1]
    found = []
    with open(path, "rb") as file:
        for trajectory in range(len(dataset)):
            digest, alike = hashlib.blake2b(digest_size=16), False
            for step in (0, last):
                corner = (trajectory, step, *[0] * (dataset.ndim - 2))
                stored = dataset.id.get_chunk_info_by_coord(corner)
                # What shrinks so far is a state with one value.
                alike |= stored.size * 50 < raw
                digest.update(str(stored.size).encode())
                digest.update(os.pread(file.fileno(), min(BLOCK, stored.size), stored.byte_offset))
            found.append("" if alike else digest.hexdigest())
    return found
