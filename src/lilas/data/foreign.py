"""Files of other formats, opened by xarray: NetCDF, Zarr, npz and whatever else it opens.

Nothing is read before it is asked for. Times stay the numbers that the file holds.
"""

import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import xarray as xr

from lilas.errors import LilasError, broken
from lilas.files import stand_in

# What libraries call axes that have no name.
UNNAMED = re.compile(r"(phony_)?dim_\d+")
# The axis of a vector's components, where `dims` names all others.
COMPONENT = "component"
_HDF5, _NETCDF3 = b"\x89HDF\r\n\x1a\n", (b"CDF\x01", b"CDF\x02")


class Sources:
    """Files that are opened one at a time; the last one stays open.

    Args:
        dims: Names of the axes of arrays that have none, in their order; an array with one axis
            more ends with components.
        renamed: New names of axes and variables by those that they have.
        scratch: Folder of arrays that are compressed in a file as a whole.
    """

    def __init__(self, dims: Sequence[str], renamed: Mapping[str, str], scratch: Path) -> None:
        self.dims, self.renamed, self._scratch = tuple(dims), dict(renamed), scratch
        self._open: tuple[Path, xr.Dataset] | None = None
        self._unpacked: dict[Path, xr.Dataset] = {}

    def open(self, path: Path) -> xr.Dataset:
        """Returns what a file holds, its axes named; it is closed when the next one is opened.

        Raises:
            LilasError: it is missing or damaged, xarray does not open it, or what is to be renamed
                is not there.
        """
        if self._open and self._open[0] == path:
            return self._open[1]
        self.close()
        try:
            found = self._npz(path) if path.suffix == ".npz" else _opened(path)
        except (
            OSError,
            ValueError,
            RuntimeError,
            KeyError,
            ImportError,
            zipfile.BadZipFile,
        ) as error:
            raise _unreadable(path, error) from None
        self._open = path, renamed(path, _named(found, self.dims), self.renamed)
        return self._open[1]

    def close(self) -> None:
        """Closes the file that is open."""
        if self._open:
            self._open[1].close()
        self._open = None

    def _npz(self, path: Path) -> xr.Dataset:
        """Returns the arrays of an npz file, unpacked once: they can be compressed as a whole."""
        if path not in self._unpacked:
            folder = self._scratch / str(len(self._unpacked))
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
            arrays = {
                str(file.relative_to(folder).with_suffix("")): np.load(file, mmap_mode="r")
                for file in sorted(folder.rglob("*.npy"))
            }
            self._unpacked[path] = xr.Dataset(
                {
                    name: ([f"dim_{i}_{name}" for i in range(values.ndim)], values)
                    for name, values in arrays.items()
                }
            )
        return self._unpacked[path]


@contextmanager
def sources(
    dims: Sequence[str] = (), renamed: Mapping[str, str] | None = None
) -> Iterator[Sources]:
    """Yields `Sources` with a scratch folder ($TMPDIR) that is deleted in the end."""
    with tempfile.TemporaryDirectory(prefix="lilas-") as folder:
        found = Sources(dims, renamed or {}, Path(folder))
        try:
            yield found
        finally:
            found.close()


def renamed(path: Path, found: xr.Dataset, names: Mapping[str, str]) -> xr.Dataset:
    """Returns what a file holds with other names of axes and variables.

    Args:
        path: The file that errors name.
        found: What it holds.
        names: New names by those that they have.

    Raises:
        LilasError: a name is not there, or a new one is there already.
    """
    there = [*map(str, found.variables), *map(str, found.dims)]
    if missing := [name for name in names if name not in there]:
        raise broken(
            path,
            f"{missing[0]}, which --rename names",
            ", ".join(dict.fromkeys(there)),
            "Correct the name.",
        )
    try:
        return found.rename(names)
    except ValueError as error:
        raise LilasError(f"{path}: --rename: {error}") from None


def _opened(path: Path) -> xr.Dataset:
    # Decoded times are dates, of which a model knows nothing.
    options = {"decode_times": False, "chunks": None, "cache": False}
    if path.is_dir():
        return xr.open_dataset(path, engine="zarr", consolidated=False, **options)
    with open(path, "rb") as file:
        head = file.read(8)
    if head == _HDF5 and find_spec("h5netcdf"):
        return xr.open_dataset(path, engine="h5netcdf", phony_dims="sort", **options)
    if head[:4] in _NETCDF3:
        return xr.open_dataset(path, engine="scipy", **options)
    return xr.open_dataset(path, **options)


def _unreadable(path: Path, error: Exception) -> LilasError:
    if not path.exists():
        found, action = stand_in(path) or ("nothing", "Correct the path.")
        return broken(path, "a file or a store of Zarr", found, action)
    if instead := stand_in(path):
        return broken(path, "a file that xarray opens", *instead)
    if path.is_file():
        with open(path, "rb") as file:
            netcdf4 = file.read(8) == _HDF5
        if netcdf4 and not find_spec("h5netcdf"):
            action = "Install it: `make install EXTRAS=netcdf`, or `pip install h5netcdf`."
            return broken(path, "h5netcdf, which reads NetCDF-4", "none", action)
    told = str(error).strip().splitlines()[:1] or [type(error).__name__]
    action = "Formats are NetCDF, Zarr (a folder), npz, and what a plug-in of xarray opens."
    return broken(path, "a file that xarray opens", f"an error ({told[0].rstrip('.')})", action)


def is_unnamed(dim: str) -> bool:
    """Returns whether an axis has a library's name, for want of its own."""
    return UNNAMED.match(dim) is not None


def _named(found: xr.Dataset, dims: Sequence[str]) -> xr.Dataset:
    """Returns a dataset whose unnamed axes have the names of `dims`, where those fit."""
    if not dims:
        return found
    arrays = {}
    for name, variable in found.variables.items():
        arrays[name] = variable.to_base_variable()
        names = _fitting(str(name), variable, found, dims)
        arrays[name].dims = [
            given if is_unnamed(str(own)) else own
            for own, given in zip(variable.dims, names, strict=True)
        ]
    try:
        return xr.Dataset(arrays, attrs=found.attrs)
    except ValueError as error:
        told = str(error).splitlines()[0]
        raise LilasError(f"--dims {','.join(dims)} does not fit the arrays: {told}") from None


def _fitting(
    name: str, variable: xr.Variable, found: xr.Dataset, dims: Sequence[str]
) -> Sequence[str]:
    """Returns the names of an array's axes: of all, or of the one that a list of numbers is along.

    A list is along the axis that it is called after, else along the only one of its length.
    """
    if variable.ndim == len(dims):
        return dims
    if variable.ndim == len(dims) + 1:
        return (*dims, COMPONENT)
    if variable.ndim != 1:
        return [str(dim) for dim in variable.dims]
    if name in dims:
        return [name]
    shapes = [each.shape for each in found.variables.values() if each.ndim == len(dims)]
    sizes = zip(dims, *shapes[:1], strict=False)
    fitting = [dim for dim, *size in sizes if size == [variable.size]]
    return fitting if len(fitting) == 1 else [str(variable.dims[0])]
