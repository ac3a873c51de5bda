"""Downloads of data and models: resumed where they stopped, verified before they are named."""

import os
import re
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import requests

from lilas.data.hdf5 import REPLACE, open_hdf5
from lilas.data.registry import SUFFIXES
from lilas.errors import LilasError, broken
from lilas.files import no_room, read_json, write_json, writing
from lilas.progress import progress as progress_bar

BACKOFF = 2.0  # seconds before the second attempt; doubles with each that fails
TIMEOUT = (15.0, 60.0)  # seconds to connect, and between two blocks
BLOCK = 1 << 20  # bytes
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class _TransferError(Exception):
    """A transfer that may succeed when it is tried again."""


@dataclass(frozen=True)
class _Part:
    """What has arrived of a file, and a record of the file it is the beginning of."""

    data: Path
    record: Path

    @property
    def size(self) -> int:
        return self.data.stat().st_size if self.data.exists() else 0

    def whole(self, url: str) -> dict[str, Any] | None:
        """Returns the record; None, and nothing is kept, where the bytes can't be continued."""
        if self.size and self.record.exists():
            record = read_json(self.record, ("url", "length", "version"))
            if record["url"] == url and self.size <= record["length"]:
                return record
        self.remove()
        return None

    def remove(self) -> None:
        self.data.unlink(missing_ok=True)
        self.record.unlink(missing_ok=True)


def download(
    url: str,
    path: str | Path,
    *,
    check: Callable[[Path], None] | None = None,
    attempts: int = 5,
    progress: bool = True,
) -> None:
    """Downloads a file; `path` appears only when all of it has arrived and been verified.

    What has arrived lies in `<path>.part`, and in `<path>.part.json` the address, length and
    version (ETag or date) of the file it belongs to. The next attempt, or the next run, asks for
    the rest alone and never joins parts of two versions, as far as the server names versions.
    Before it gets its name, an HDF5 file is opened and every object in it visited, and every file
    in a zip archive is read and compared with its CRC.

    Args:
        url: Address of the file.
        path: Where it goes; its folder is made.
        check: Refuses with a LilasError a whole file that is another than was expected. What has
            arrived is kept, so that nothing is downloaded again once that is mended.
        attempts: Attempts in a row that bring no new byte before giving up.
        progress: Whether to show a bar of the bytes.

    Raises:
        LilasError: the server refuses, the connection fails for good, there is no room or
            permission on the disk, or what arrived is not the file.
    """
    path = Path(path)
    part = _Part(path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json"))
    with writing(path, 0):
        path.parent.mkdir(parents=True, exist_ok=True)
    failed, furthest = 0, part.size
    while True:
        try:
            _transfer(url, part, path.name, progress)
            break
        except _TransferError as error:
            failed = 1 if part.size > furthest else failed + 1
            furthest = max(furthest, part.size)
            if failed >= attempts:
                raise LilasError(
                    f"{url}: no further after {failed} attempts: {error}. {part.size} bytes are "
                    "kept: run again to continue."
                ) from None
            time.sleep(BACKOFF * 2 ** (failed - 1))
    if verify := VERIFIED.get(path.suffix):
        try:
            verify(part.data)
        except LilasError as error:
            part.remove()
            text = f"{url}: what arrived is not the file, and was removed. {error}"
            raise LilasError(text) from None
    if check is not None:
        check(part.data)
    os.replace(part.data, path)
    part.record.unlink()


def _transfer(url: str, part: _Part, name: str, progress: bool) -> None:
    """Brings the bytes that a part lacks."""
    whole = part.whole(url)
    if whole and part.size == whole["length"]:
        return
    try:
        # A compressed reply would have another length than the file.
        headers = {"Accept-Encoding": "identity"}
        if whole:
            headers["Range"] = f"bytes={part.size}-"
            if whole["version"]:
                headers["If-Range"] = whole["version"]
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as reply:
            start, length = _range(url, reply, part, whole)
            _receive(url, reply, part, start, length, desc=name, disable=not progress)
    except (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
    ) as error:
        raise _TransferError(error) from None
    except requests.RequestException as error:
        raise LilasError(f"{url}: cannot be downloaded: {error}") from None
    if part.size != length:
        raise _TransferError(f"{part.size} of {length} bytes arrived")


def _range(
    url: str, reply: requests.Response, part: _Part, whole: dict[str, Any] | None
) -> tuple[int, int]:
    """Returns the first byte of a reply's body within the file, and the file's length."""
    status = f"the server answers {reply.status_code} {reply.reason}"
    if reply.status_code in TRANSIENT:
        raise _TransferError(status)
    if reply.status_code == 416 or (reply.status_code == 206 and whole):
        given = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", reply.headers.get("Content-Range", ""))
        wanted = whole and (part.size, whole["length"])
        same = whole and _version(reply) in (None, whole["version"])
        if given and same and (int(given[1]), int(given[2])) == wanted:
            return wanted
        part.remove()
        raise _TransferError("the file has changed on the server, and is downloaded anew")
    if reply.status_code != 200:
        raise LilasError(f"{url}: {status}. See that the address is right and the file public.")
    length = reply.headers.get("Content-Length", "")
    if not length.isdecimal():
        raise LilasError(f"{url}: the server tells no length to verify the download by")
    return 0, int(length)


def _receive(
    url: str, reply: requests.Response, part: _Part, start: int, length: int, **options: Any
) -> None:
    """Appends a reply's body to a part, from the byte `start` on."""
    lacking = length - start
    with writing(part.data, lacking):
        if start == 0:
            part.remove()
            record = {"url": url, "length": length, "version": _version(reply)}
            write_json(part.record, record)
        if shutil.disk_usage(part.data.parent).free < lacking:
            raise no_room(part.data, lacking)
        with (
            progress_bar(total=length, initial=start, unit="B", unit_scale=True, **options) as bar,
            open(part.data, "ab") as file,
        ):
            for block in reply.iter_content(BLOCK):
                file.write(block)
                bar.update(len(block))
            file.flush()
            os.fsync(file.fileno())


def _version(reply: requests.Response) -> str | None:
    """Returns what names the file's version in `If-Range`; a weak ETag may not be used there."""
    tag = reply.headers.get("ETag", "W/")
    return reply.headers.get("Last-Modified") if tag.startswith("W/") else tag


def _verify_hdf5(path: Path) -> None:
    """Refuses what is not a whole HDF5 file."""
    with open_hdf5(path) as file:
        file.visititems(_look)


def _look(name: str, item: h5py.Group | h5py.Dataset) -> None:
    dict(item.attrs)


def _verify_zip(path: Path) -> None:
    """Refuses what is not a whole zip archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        # The last three, without a number, are what damaged headers lead zipfile to.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise broken(path, "a whole zip archive", f"another file ({error})", REPLACE) from None
    if damaged is not None:
        raise broken(path, "a whole zip archive", f"a damaged file in it, {damaged}", REPLACE)


# How files are verified, by suffix; others have nothing to be verified by.
VERIFIED = dict.fromkeys(SUFFIXES, _verify_hdf5) | {".zip": _verify_zip}
