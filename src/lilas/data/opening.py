"""HDF5 files opened, on file systems that know no locks too."""

from pathlib import Path

import h5py

from lilas.locks import NO_LOCKS


def open_to_read(path: str | Path) -> h5py.File:
    """Opens an HDF5 file for reading.

    HDF5 locks what it reads and goes on without locks under one of the system's numbers for "there
    are none", ENOSYS; under the others, of network file systems, it has to be told to.

    Raises:
        OSError, RuntimeError, KeyError: as h5py.
    """
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return h5py.File(path, "r", locking=False)
