"""HDF5 files of The Well, opened and looked into; whatever is wrong is told as an error of ours."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lilas.data.opening import open_to_read
from lilas.data.presence import check_present
from lilas.data.registry import SUFFIXES
from lilas.errors import broken
from lilas.files import stand_in

REPLACE = "Delete it and make or download it again."
FOREIGN = "docs/data.md describes the layout of The Well's files."


@contextmanager
def open_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """Opens an HDF5 file for reading and tells every failure of the block's reads as its own.

    Raises:
        LilasError: the file is missing, locked, not permitted, not HDF5, truncated or damaged.
    """
    path = Path(path)
    try:
        with open_to_read(path) as file:
            yield file
    except FileNotFoundError:
        found, action = stand_in(path) or ("nothing", "Make or download it.")
        raise broken(path, "an HDF5 file", found, action) from None
    except PermissionError:
        action = "Ask its owner for permission to read it (chmod), or correct the path."
        raise broken(path, "a file this user may read", "permission denied", action) from None
    except BlockingIOError:
        action = "Wait for the program that writes it, then run again."
        raise broken(path, "a finished file", "one that is being written", action) from None
    except (OSError, RuntimeError, KeyError, UnicodeError) as error:
        # HDF5 raises the others where the file opens but its structure cannot be followed.
        if isinstance(error, OSError) and error.errno is not None:
            # HDF5's own text is of several lines.
            found, action = os.strerror(error.errno), "See that its path and disk are in order."
        elif "truncated" in str(error):
            found, action = "a truncated file", REPLACE
        elif "signature not found" in str(error):
            found, action = stand_in(path) or ("something else than HDF5", REPLACE)
            if path.name.startswith("."):
                action = "Hidden files are no data but what another program left: leave it, or not."
            elif path.suffix not in SUFFIXES:
                action = FOREIGN
        elif "already open for write" in str(error):
            found = "one that its writer has not closed"
            action = "Wait for the writer; if it was killed, clear its mark with `h5clear -s`."
        else:
            found, action = f"a damaged file ({error})", REPLACE
        raise broken(path, "a whole HDF5 file", found, action) from None


def group(path: Path, parent: h5py.Group, name: str) -> h5py.Group:
    """Returns a group of a group, refused where it is missing or no group."""
    return _member(path, parent, name, h5py.Group)


def dataset(path: Path, parent: h5py.Group, name: str) -> h5py.Dataset:
    """Returns a dataset of a group, refused where it is missing or no dataset."""
    return _member(path, parent, name, h5py.Dataset)


def _member(path: Path, parent: h5py.Group, name: str, kind: type) -> Any:
    expected = f"the {kind.__name__.lower()} {parent.name.rstrip('/')}/{name}"
    try:
        found = parent[name]
    except (KeyError, OSError):
        link = parent.get(name, getlink=True)
        if link is None:
            raise broken(
                path, expected, f"only {', '.join(map(str, parent)) or 'nothing'}", FOREIGN
            ) from None
        if isinstance(link, h5py.HardLink):
            raise
        where = f"{link.path} of {link.filename}" if hasattr(link, "filename") else link.path
        action = "Bring what it leads to, or replace the link by the data."
        raise broken(path, expected, f"a link to {where}, which is not there", action) from None
    if not isinstance(found, kind):
        raise broken(path, expected, f"a {type(found).__name__.lower()}", FOREIGN)
    return found


def require(path: Path, owner: h5py.Group | h5py.Dataset, *names: str) -> bool:
    """Refuses what lacks attributes, all of them in one line; returns True."""
    if missing := [name for name in names if name not in owner.attrs]:
        wanted = f"the attribute{'s' * (len(missing) > 1)} {', '.join(missing)} of {owner.name}"
        raise broken(path, wanted, f"only {', '.join(map(str, owner.attrs)) or 'none'}", FOREIGN)
    return True


def attribute(path: Path, owner: h5py.Group | h5py.Dataset, name: str) -> Any:
    """Returns an attribute, refused where it is missing."""
    require(path, owner, name)
    return owner.attrs[name]


def integer(path: Path, file: h5py.File, name: str) -> int:
    """Returns an attribute of the file that is an integer above 0."""
    value = np.asarray(attribute(path, file, name))
    # Other tools write every number as a double.
    whole = value.dtype.kind in "iu" or (value.dtype.kind == "f" and (value == value // 1).all())
    if value.size != 1 or not whole or value.item() < 1:
        raise broken(path, f"{name} to be an integer above 0", f"{value}", FOREIGN)
    return int(value.item())


def text(path: Path, owner: h5py.Group, name: str) -> str:
    """Returns an attribute that is a text."""
    values = names(path, owner, name)
    if len(values) != 1:
        raise broken(path, f"a text as {name} of {owner.name}", f"{values}", FOREIGN)
    return values[0]


def names(path: Path, owner: h5py.Group, name: str) -> tuple[str, ...]:
    """Returns an attribute that lists names, none twice."""
    value = attribute(path, owner, name)
    # A list without an element has no type: it may be any, or a dataspace without values.
    values = [] if isinstance(value, h5py.Empty) else np.atleast_1d(value).ravel()
    if not all(isinstance(v, bytes | str) for v in values):
        raise broken(path, f"texts in {name} of {owner.name}", f"{value}", FOREIGN)
    found = [v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in values]
    if repeated := [v for v in found if found.count(v) > 1]:
        raise broken(path, f"each name once in {name} of {owner.name}", repeated[0], FOREIGN)
    return tuple(found)


def flag(path: Path, owner: h5py.Dataset, name: str) -> bool:
    """Returns an attribute that is true or false."""
    value = np.asarray(attribute(path, owner, name))
    if value.size != 1 or value.dtype.kind not in "biu":
        raise broken(path, f"a boolean {name} of {owner.name}", f"{value}", FOREIGN)
    return bool(value.item())


def numbers(path: Path, dataset: h5py.Dataset) -> np.ndarray:
    """Returns a dataset of finite numbers, float64."""
    if dataset.dtype.kind not in "fiu":
        raise broken(path, f"numbers in {dataset.name}", f"{dataset.dtype}", FOREIGN)
    check_present(path, dataset)
    values = np.asarray(dataset[()], np.float64)
    if not np.isfinite(values).all():
        action = "Write the number that belongs there, or make or download the file again."
        raise broken(path, f"finite numbers in {dataset.name}", "NaN or infinity", action)
    return values


def check_shape(path: Path, dataset: h5py.Dataset, axes: list[tuple[str, int]]) -> None:
    """Refuses a dataset whose shape is not that of its axes."""
    if dataset.shape != tuple(size for _, size in axes):
        named = ", ".join(f"{name} {size}" for name, size in axes)
        raise broken(path, f"{dataset.name} of shape ({named})", f"{dataset.shape}", FOREIGN)
