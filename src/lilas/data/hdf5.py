"""HDF5 files of The Well, opened and looked into; whatever is wrong is told as an error of ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lilas.errors import broken

REPLACE = "Delete it and make or download it again."
FOREIGN = "It is not a file of The Well: see the_well's data format."


@contextmanager
def open_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """Opens an HDF5 file for reading and tells every failure of the block's reads as its own.

    Raises:
        LilasError: the file is missing, locked, not permitted, not HDF5, truncated or damaged.
    """
    path = Path(path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except FileNotFoundError:
        raise broken(path, "an HDF5 file", "nothing", "Make or download it.") from None
    except PermissionError:
        action = "Ask its owner for permission to read it (chmod), or correct the path."
        raise broken(path, "a file this user may read", "permission denied", action) from None
    except BlockingIOError:
        action = "Wait for the program that writes it, then run again."
        raise broken(path, "a finished file", "one that is being written", action) from None
    except (OSError, RuntimeError, KeyError) as error:
        # HDF5 raises the last two where the file opens but its structure cannot be followed.
        if isinstance(error, OSError) and error.errno is not None:
            found, action = error.strerror or str(error), "See that its path and disk are in order."
        elif "truncated" in str(error):
            found, action = "a truncated file", REPLACE
        elif "signature not found" in str(error):
            found, action = "something else than HDF5", REPLACE
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
    if name not in parent:
        raise broken(path, expected, f"only {', '.join(parent) or 'nothing'}", FOREIGN)
    if not isinstance(parent[name], kind):
        raise broken(path, expected, f"a {type(parent[name]).__name__.lower()}", FOREIGN)
    return parent[name]


def attribute(path: Path, owner: h5py.Group | h5py.Dataset, name: str) -> Any:
    """Returns an attribute, refused where it is missing."""
    if name not in owner.attrs:
        found = f"only {', '.join(owner.attrs) or 'none'}"
        raise broken(path, f"the attribute {name} of {owner.name}", found, FOREIGN)
    return owner.attrs[name]


def integer(path: Path, file: h5py.File, name: str) -> int:
    """Returns an attribute of the file that is an integer above 0."""
    value = np.asarray(attribute(path, file, name))
    if value.size != 1 or value.dtype.kind not in "iu" or value.item() < 1:
        raise broken(path, f"{name} to be an integer above 0", f"{value}", FOREIGN)
    return int(value.item())


def text(path: Path, file: h5py.File, name: str) -> str:
    """Returns an attribute that is a text."""
    value = attribute(path, file, name)
    return value.decode() if isinstance(value, bytes) else str(value)


def names(path: Path, owner: h5py.Group, name: str) -> tuple[str, ...]:
    """Returns an attribute that lists names."""
    values = np.atleast_1d(attribute(path, owner, name))
    return tuple(v.decode() if isinstance(v, bytes) else str(v) for v in values)


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
    values = np.asarray(dataset[()], np.float64)
    if not np.isfinite(values).all():
        raise broken(path, f"finite numbers in {dataset.name}", "NaN or infinity", REPLACE)
    return values


def check_shape(path: Path, dataset: h5py.Dataset, axes: list[tuple[str, int]]) -> None:
    """Refuses a dataset whose shape is not that of its axes."""
    if dataset.shape != tuple(size for _, size in axes):
        named = ", ".join(f"{name} {size}" for name, size in axes)
        raise broken(path, f"{dataset.name} of shape ({named})", f"{dataset.shape}", FOREIGN)
