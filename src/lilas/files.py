"""Whole files or none: atomic writes, hashes, JSON."""

import difflib
import errno
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lilas.errors import LilasError, broken

# Of results: raised when what they are called changes, so that no version continues another's.
FORMAT = 2
# Why a file cannot be written further, by the system's number.
_FULL = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the limit on the size of a file is reached",
}
# How pointers begin and where links lead, of what keeps the content of large files elsewhere.
_KEPT_BY = {
    "version https://git-lfs": "git-LFS",
    "version https://hawser": "git-LFS",
    "/annex/objects/": "git-annex",
    "outs:": "DVC",
    ".dvc/cache/": "DVC",
}


@contextmanager
def atomic(path: str | Path, needed: int = 0, keep: Path | None = None) -> Iterator[Path]:
    """Yields a temporary path beside `path` and renames it to `path` when the block succeeds.

    A reader sees the old file or the new one, never a part of one; a killed writer leaves at
    most a `.part` file, which nothing reads. Whatever writes it, its mode is a new file's: as the
    umask, or the folder's default access list, has it.

    Args:
        path: The file.
        needed: Its bytes, where they are known; for messages.
        keep: What the old file is called from then on. For a moment it alone is there.

    Raises:
        LilasError: as `writing`; the old file is kept.
    """
    path = Path(path)
    # A job whose run was killed may be at work on the same file: each has a part of its own.
    part = path.with_name(f".{path.name}.{os.getpid()}-{platform.node()}.part")
    with writing(path, needed):
        path.parent.mkdir(parents=True, exist_ok=True)
        _forget_dead(path)
        part.unlink(missing_ok=True)
        part.touch()
        mode = part.stat().st_mode
        try:
            yield part
            # Some libraries write to a temporary file of their own, which is private to its user.
            if part.stat().st_mode != mode:
                part.chmod(mode)
            with open(part, "rb+") as file:
                os.fsync(file.fileno())
            if keep and path.exists():
                os.replace(path, keep)
            os.replace(part, path)
            _sync(path.parent)
        finally:
            part.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Has the names in a folder on the disk, where its file system and mode allow that."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _forget_dead(path: Path) -> None:
    """Deletes the parts of a file that processes of this host left which are gone."""
    host = glob.escape(platform.node())
    for left in path.parent.glob(f".{glob.escape(path.name)}.*-{host}.part"):
        pid = left.name[len(path.name) + 2 :].partition("-")[0]
        if not pid.isdecimal():
            continue
        try:
            os.kill(int(pid), 0)
        except (ProcessLookupError, OverflowError):
            with suppress(PermissionError):
                left.unlink(missing_ok=True)
        except PermissionError:
            # Another user's, and alive.
            continue


def sha256(path: str | Path) -> str:
    """Returns the SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: str | Path, value: Any) -> None:
    """Writes a JSON file atomically; NaN is refused, since JSON has none."""
    text = json.dumps(value, indent=2, allow_nan=False)
    with atomic(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path, keys: tuple[str, ...] = ()) -> dict[str, Any]:
    """Returns the mapping in a JSON file.

    Raises:
        LilasError: the file is missing, is not a JSON mapping, or lacks one of `keys`.
    """
    path = Path(path)
    if not path.is_file():
        raise broken(path, "a file", "nothing", "Run the stage that makes it.")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        # What is named by mistake, such as weights, is nothing to delete.
        ours = path.suffix in (".json", ".jsonl")
        action = "Delete it and run again." if ours else "Name a file of JSON."
        damage = f"text that breaks at {error}", action
        found, action = stand_in(path) or damage
        raise broken(path, "JSON", found, action) from None
    missing = [key for key in keys if not isinstance(value, dict) or key not in value]
    if missing or not isinstance(value, dict):
        raise broken(
            path,
            f"a mapping with the keys {', '.join(keys)}",
            f"none of {', '.join(missing)}" if missing else type(value).__name__,
            "It comes from another program or version: delete it and run again.",
        )
    return value


def stand_in(path: str | Path) -> tuple[str, str] | None:
    """Returns what is in place of a file's content and what brings it; None where nothing is.

    git-LFS, git-annex and DVC keep large files elsewhere until they are fetched, and leave a small
    text or a link that leads nowhere.
    """
    path = Path(path)
    if path.is_symlink() and not path.exists():
        target = os.readlink(path)
        tool = next((name for part, name in _KEPT_BY.items() if part in target), None)
        found = f"a link to {target}, which is not there"
    elif not path.is_file():
        return None
    else:
        with open(path, "rb") as file:
            head = file.read(64).decode("ascii", "replace")
        tool = next((name for start, name in _KEPT_BY.items() if head.startswith(start)), None)
        if tool is None:
            return None
        found = f"a pointer of {tool} in place of its content"
    fetch = {"git-LFS": "git lfs pull", "git-annex": "git annex get", "DVC": "dvc pull"}
    if tool is None:
        return found, "Bring what it leads to, or replace the link by the file."
    return found, f"Fetch the content: `{fetch[tool]}` in its folder."


def nearest(path: str | Path) -> Path | None:
    """Returns the path that a misspelt one may have meant, if there is one alike."""
    at = Path(path)
    while not at.parent.is_dir():
        at = at.parent
    names = [one.name for one in at.parent.iterdir()]
    near = difflib.get_close_matches(at.name, names, n=1)
    return at.parent / near[0] if near else None


def check_writable(
    folder: str | Path, action: str = "Set data and results in config.yaml."
) -> None:
    """Refuses a folder that cannot be made or written to.

    Args:
        folder: The folder.
        action: What to do about it.

    Raises:
        LilasError: the folder, or the nearest one above it that exists, is not writable.
    """
    nearest = Path(folder).absolute()
    while not nearest.exists():
        nearest = nearest.parent
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise broken(
            nearest,
            "a folder to write to",
            f"one that refuses it ({error.strerror})",
            action,
        ) from None


def check_owner(root: str | Path, study: str | Path) -> None:
    """Refuses a results folder that belongs to another study, or to another version.

    Raises:
        LilasError: the folder was made by a study in another file that says something else, or by
            a version whose results have other names in them.
    """
    marker = Path(root) / "study.json"
    if not marker.is_file():
        return
    made = read_json(marker, ("study",))
    if made.get("format") != FORMAT:
        raise LilasError(
            f"{root}: holds results of version 0.1.0, in which methods and samplers have other "
            "names. Rename the folder, or set another `results` folder in config.yaml: results of "
            "two versions never mix."
        )
    # A study that is edited stays where it is; one that is moved or renamed stays as it is.
    if made["study"] == _from_results(root, study) or made.get("sha256") == sha256(study):
        return
    raise LilasError(
        f"{root}: holds the results of the study in {Path(root) / made['study']}, not of {study}. "
        "Rename your study, or set another `results` folder in config.yaml: results of two studies "
        f"never mix. If it is the same one, moved and edited: lilas adopt {root} {study}"
    )


def called_before(root: str | Path, study: str | Path) -> Path | None:
    """Returns the results of this very study that lie under another name beside where they would.

    A study that was renamed alone begins anew, and none of its results are lost.
    """
    root = Path(root)
    if root.exists():
        return None
    same = {"format": FORMAT, "sha256": sha256(study)}
    for marker in sorted(root.parent.glob("*/study.json")):
        made = read_json(marker)
        # Of two files that say the same each may have results of its own.
        if made.items() >= same.items() and not (marker.parent / made["study"]).is_file():
            return marker.parent
    return None


def take_ownership(root: str | Path, study: str | Path, **settings: Any) -> None:
    """Records in a results folder which study it belongs to, and what else it is held to.

    What it is called is added to what it was called before, by which records name its files.
    """
    marker = Path(root) / "study.json"
    called = [*(read_json(marker).get("called", []) if marker.is_file() else []), str(root)]
    made = {"study": _from_results(root, study), "sha256": sha256(study), "format": FORMAT}
    write_json(marker, made | {"called": list(dict.fromkeys(called))} | settings)


def _from_results(root: str | Path, study: str | Path) -> str:
    """The way from the results to the study's file, the same when both are moved together."""
    return os.path.relpath(Path(study).resolve(), Path(root).resolve())


def digest(value: Any) -> str:
    """Returns the SHA-256 of a JSON value, the same whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def writing(path: str | Path, needed: int = 0) -> Iterator[None]:
    """Tells a failure to write a file for want of room or permission.

    Args:
        path: The file, or a folder of files.
        needed: Its bytes, where they are known.

    Raises:
        LilasError: the folder is not permitted, or a disk, quota or size limit is exceeded.
    """
    try:
        yield
    except Exception as error:
        code, other = _system_error(error)
        if code in _FULL:
            raise no_room(path, needed, code) from None
        # What was not permitted may be a file that the block reads.
        if code in (errno.EACCES, errno.EPERM, errno.EROFS) and _is_beside(other, path):
            action = "Choose a folder this user may write to."
            raise broken(path, "a folder to write in", os.strerror(code).lower(), action) from None
        raise


def _system_error(error: BaseException | None) -> tuple[int | None, Any]:
    """Returns the system's number of an error, and its file, however a library has wrapped it.

    Where HDF5 or safetensors close a file, the number is in the message alone; torch raises
    another error while it cleans up after the first.
    """
    while error is not None:
        told = re.search(r"(?:errno =|os error) (\d+)", str(error))
        if told or getattr(error, "errno", None) is not None:
            return int(told[1]) if told else error.errno, getattr(error, "filename", None)
        error = error.__context__
    return None, None


def _is_beside(other: Any, path: str | Path) -> bool:
    return other is None or Path(path).parent in (Path(str(other)), *Path(str(other)).parents)


def no_room(path: str | Path, needed: int = 0, code: int = errno.ENOSPC) -> LilasError:
    """Returns the error for a disk, quota or size limit that cannot take a file's bytes."""
    volume = Path(path).absolute()
    while not os.path.ismount(volume):
        volume = volume.parent
    left = f"{shutil.disk_usage(volume).free / 1e9:.3g} GB left on {volume}"
    return broken(
        path,
        f"{needed / 1e9:.3g} GB of room for it" if needed else "room to write it",
        f"{left}: {_FULL[code]}",
        "Free space, or choose another folder, and run again.",
    )
