"""Masks of grid points, files of NumPy."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lilas.errors import broken

_ACTION = "Correct the file, or the path that names it."


def read_mask(path: str | Path, size: Sequence[int] | None) -> np.ndarray:
    """Returns a mask of a grid, bool (*space).

    Args:
        path: A .npy file of booleans, or of zeros and ones.
        size: Grid points along each axis; None of a grid that is not known yet.

    Raises:
        LilasError: there is no such file, it is of another shape, holds other values, or none is 1.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else f"{error}"
        raise broken(path, "a mask, an array of NumPy (.npy)", told, _ACTION) from None
    if not isinstance(found, np.ndarray):
        raise broken(path, "a mask, an array of NumPy (.npy)", "several arrays", _ACTION)
    if size is not None and found.shape != tuple(size):
        raise broken(path, f"a mask of the shape {tuple(size)}", f"{found.shape}", _ACTION)
    if found.dtype.kind not in "biuf" or not np.isin(found, (0, 1)).all():
        raise broken(path, "a mask of true and false, or 1 and 0", "other values", _ACTION)
    if not found.any():
        raise broken(path, "a mask that observes a point", "none", _ACTION)
    return found.astype(bool)
