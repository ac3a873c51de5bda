"""Whether the values of an HDF5 dataset are there at all.

HDF5 reads a fill value, mostly zero, and tells nothing, where a chunk was never written, a file
that a virtual dataset is made of is gone, or a file of raw data is too short.
"""

import math
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lilas.data.opening import open_to_read
from lilas.errors import broken

FILTERS = {
    h5py.h5z.FILTER_SZIP: "szip",
    305: "LZO",
    307: "bzip2",
    32000: "LZF",
    32001: "Blosc",
    32004: "LZ4",
    32008: "Bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32017: "SZ",
    32018: "FCIDECOMP",
    32026: "Blosc2",
    32028: "Sperr",
}
RESTORE = "Bring it there, or write the dataset again: HDF5 would read a fill value in its place."


def check_present(path: Path, dataset: h5py.Dataset) -> set[Path]:
    """Refuses a dataset some of whose values are in no file or can't be decoded here.

    Args:
        path: The file that errors name.
        dataset: The dataset.

    Returns:
        The other files that hold some of its values.

    Raises:
        LilasError: a filter is not installed; a chunk was never written; a virtual dataset lacks a
            source, or a part of one; a file of raw data is missing or too short.
    """
    return _check(path, dataset, ())


def _check(path: Path, dataset: h5py.Dataset, within: tuple[tuple[str, str], ...]) -> set[Path]:
    own = Path(dataset.file.filename)
    others = set() if own == path else {own}
    plist = dataset.id.get_create_plist()
    layout = plist.get_layout()
    size = dataset.size or 0
    if layout == h5py.h5d.VIRTUAL:
        key = (str(own.resolve()), dataset.name)
        if key in within:
            raise broken(path, f"values behind {dataset.name}", "a circle of links", RESTORE)
        return others | _check_sources(path, dataset, (*within, key))
    if layout == h5py.h5d.CHUNKED:
        _check_filters(path, dataset, plist)
        chunks = zip(dataset.shape, dataset.chunks, strict=True)
        expected = math.prod(-(-points // chunk) for points, chunk in chunks)
        found = dataset.id.get_num_chunks()
        if found < expected:
            _refuse_unwritten(path, dataset, f"{found} of its {expected} chunks")
    elif layout == h5py.h5d.CONTIGUOUS and plist.get_external_count():
        others |= _check_raw(path, dataset)
    elif (
        layout == h5py.h5d.CONTIGUOUS
        and dataset.id.get_storage_size() < size * dataset.dtype.itemsize
    ):
        _refuse_unwritten(path, dataset, "none of it")
    return others


def _refuse_unwritten(path: Path, dataset: h5py.Dataset, written: str) -> None:
    action = "Its making was cut short: make or download the file again."
    found = f"that {written} was ever written, and HDF5 reads a fill value"
    raise broken(path, f"all values of {dataset.name}", found, action)


def _check_filters(path: Path, dataset: h5py.Dataset, plist: h5py.h5p.PropDCID) -> None:
    for i in range(plist.get_nfilters()):
        number, _, _, label = plist.get_filter(i)
        if not h5py.h5z.filter_avail(number) and not _plugin(number):
            name = FILTERS.get(number) or label.decode(errors="replace") or "unknown"
            raise broken(
                path,
                f"an HDF5 filter that is installed, to read {dataset.name}",
                f"{name.strip(chr(0))} (filter {number}), which is not",
                "The file may be in order: `pip install hdf5plugin` brings most filters.",
            )


def _plugin(number: int) -> bool:
    """Whether hdf5plugin is installed and brings a filter; importing it makes its filters known."""
    try:
        import hdf5plugin  # noqa: F401
    except ImportError:
        return False
    return bool(h5py.h5z.filter_avail(number))


def _check_raw(path: Path, dataset: h5py.Dataset) -> set[Path]:
    """Refuses files of raw data that are missing or too short; returns them."""
    own = Path(dataset.file.filename)
    prefix = os.environ.get("HDF5_EXTFILE_PREFIX", "")
    prefix = prefix.replace("${ORIGIN}", str(own.absolute().parent))
    found = set()
    missing = dataset.size * dataset.dtype.itemsize
    for name, offset, size in dataset.external:
        raw = Path(prefix, name).absolute()
        if not raw.is_file():
            expected = f"{raw}, which holds values of {dataset.name}"
            raise broken(path, expected, "no such file", RESTORE)
        size = min(size, missing)
        if raw.stat().st_size < offset + size:
            expected = f"{offset + size} bytes in {raw}, of {dataset.name}"
            raise broken(path, expected, f"{raw.stat().st_size}", RESTORE)
        missing -= size
        found.add(raw)
    return found


def _check_sources(
    path: Path, dataset: h5py.Dataset, within: tuple[tuple[str, str], ...]
) -> set[Path]:
    """Refuses sources of a virtual dataset that are missing or lack values; returns their files."""
    own = Path(dataset.file.filename)
    others: set[Path] = set()
    mapped, growing = 0, False
    for source in dataset.virtual_sources():
        blocks = _blocks(source.vspace, dataset.shape)
        growing |= blocks is not None
        mapped += 0 if blocks is not None else source.vspace.get_select_npoints()
        # Of sources that are numbered, a name stands for all: %b is the number, %% a percent sign.
        numbered = "%b" in source.file_name + source.dset_name
        for number in range(blocks or 0) if numbered else [0]:
            file_name, name = (
                text.replace("%b", str(number)).replace("%%", "%")
                for text in (source.file_name, source.dset_name)
            )
            file = own if file_name == "." else _located(own, file_name)
            if file is None:
                expected = f"{file_name}, which holds values of {dataset.name}"
                raise broken(path, expected, "no such file", RESTORE)
            limited = None if blocks is not None else source
            others |= _check_source(path, dataset, file, name, limited, within) - {own}
    if not growing and mapped < dataset.size:
        found = f"sources for {mapped} of {dataset.size}, and HDF5 reads a fill value elsewhere"
        raise broken(path, f"all values of {dataset.name}", found, "Write the dataset again.")
    return others


def _check_source(
    path: Path,
    dataset: h5py.Dataset,
    file: Path,
    name: str,
    limited: Any,
    within: tuple[tuple[str, str], ...],
) -> set[Path]:
    """Refuses a source that isn't there or, where it is limited, too small; returns its files."""
    try:
        with open_to_read(file) as opened:
            held = opened.get(name)
            if not isinstance(held, h5py.Dataset):
                expected = f"the dataset {name} in {file}, which holds values of {dataset.name}"
                raise broken(path, expected, "no such dataset", RESTORE)
            if limited and not _holds(held, limited):
                expected = f"{name} in {file} as large as {dataset.name} takes it"
                raise broken(path, expected, f"one of shape {held.shape}", RESTORE)
            return {file} | _check(path, held, within)
    except (OSError, RuntimeError, KeyError) as error:
        expected = f"{file}, which holds values of {dataset.name}, to be whole"
        raise broken(path, expected, f"that it can't be read ({error})", RESTORE) from None


def _holds(held: h5py.Dataset, source: Any) -> bool:
    """Whether a source's dataset is as large as what a virtual dataset takes of it."""
    if source.src_space.get_select_type() == h5py.h5s.SEL_ALL:
        return held.size == source.vspace.get_select_npoints()
    last = source.src_space.get_select_bounds()[1]
    return len(last) == held.ndim and all(np.less(last, held.shape))


def _blocks(space: h5py.h5s.SpaceID, shape: tuple[int, ...]) -> int | None:
    """Returns how many blocks of an unlimited selection lie in a shape; None if it is limited."""
    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS or not space.is_regular_hyperslab():
        return None
    for points, start, stride, count, block in zip(
        shape, *space.get_regular_hyperslab(), strict=True
    ):
        if count == h5py.h5s.UNLIMITED:
            return (points - start - block) // stride + 1
    return None


def _located(own: Path, name: str) -> Path | None:
    """Returns the file that HDF5 finds by the name that a virtual dataset gives; None if none."""
    prefixes = [prefix for prefix in os.environ.get("HDF5_VDS_PREFIX", "").split(":") if prefix]
    prefixes = [prefix.replace("${ORIGIN}", str(own.absolute().parent)) for prefix in prefixes]
    # Where an absolute name leads nowhere, its last part is looked for like a relative name.
    relative = Path(name).name if Path(name).is_absolute() else name
    places = [*prefixes, own.parent, "", own.resolve().parent]
    found = [Path(name), *(Path(place, relative) for place in places)]
    found = found if Path(name).is_absolute() else found[1:]
    return next((file for file in found if file.is_file()), None)
