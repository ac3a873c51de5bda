"""Folders that a run holds: alone for who writes there, together for who only reads."""

import errno
import fcntl
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from lilas.errors import LilasError, broken

# Held alone by who writes into a folder.
LOCK = "lock"
# Held together by who reads files that are there, alone by who replaces such files.
READING = "reading.lock"
# Numbers of the system for "this file system knows no locks".
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextmanager
def locked(folder: str | Path, name: str = LOCK, *, shared: bool = False) -> Iterator[None]:
    """Holds a folder for this process; the lock dies with the process.

    Where the file system has no locks, a file that tells who holds the folder stands for one. A
    killed run leaves it, and the next run on that host sees that its process is gone.

    Args:
        folder: Made where it is not there.
        name: Of the lock.
        shared: Whether others may hold it too, who share it as well. Where this user may neither
            make the lock's file nor open it, a folder is shared without it.

    Raises:
        LilasError: another process holds it, or it is not permitted to.
    """
    path = Path(folder) / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _opened(path)
    except OSError as error:
        if shared and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            yield
            return
        raise _not_permitted(path, error) from None
    with ExitStack() as held:
        held.callback(os.close, file)
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(path) from None
        except OSError as error:
            if error.errno == errno.EBADF:
                # Network file systems lock alone only what one may write to.
                raise _not_permitted(path, error) from None
            if error.errno not in NO_LOCKS:
                raise
            held.enter_context(_marked(path, shared))
        yield


def _opened(path: Path) -> int:
    """Opens the file of a lock, made by whoever came first: to lock it, reading it is enough."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        try:
            return os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise error from None


@contextmanager
def _marked(path: Path, shared: bool) -> Iterator[None]:
    """Holds a folder by a file of its own, beside the lock's, that tells who does."""
    alone = path.with_name(f"{path.name}.held")
    own = (
        path.with_name(f"{path.name}.by.{socket.gethostname()}.{os.getpid()}") if shared else alone
    )
    try:
        _mark(own)
    except OSError as error:
        if shared:
            yield
            return
        raise _not_permitted(own, error) from None
    try:
        # Who shares is stopped by who holds it alone, and the other way round.
        for other in [alone] if shared else path.parent.glob(f"{path.name}.by.*"):
            _refuse_live(other, other)
        yield
    finally:
        own.unlink(missing_ok=True)


def _mark(path: Path) -> None:
    """Makes the file that tells who holds a folder; one of a process that is gone is replaced."""
    pid = os.getpid()
    holder = {"host": socket.gethostname(), "pid": pid, "started": _started(pid)}
    text = json.dumps(holder | {"since": time.strftime("%Y-%m-%d %H:%M:%S")})
    if path.exists():
        _refuse_live(path, path)
        # Moved away first: of two that come at once, the other may have made its own by now.
        left = path.with_name(f"{path.name}.{pid}.left")
        with suppress(FileNotFoundError):
            os.replace(path, left)
            try:
                _refuse_live(left, path)
            except LilasError:
                os.replace(left, path)
                raise
            left.unlink()
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise _busy(path) from None


def _refuse_live(mark: Path, path: Path) -> None:
    """Refuses a folder that a mark says is held, by a process that may still be at work."""
    try:
        holder = json.loads(mark.read_text(encoding="utf-8"))
        host, pid, started = holder["host"], holder["pid"], holder["started"]
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        raise _busy(path, "an unknown process") from None
    if host != socket.gethostname() or _started(pid) == started:
        raise _busy(path, f"process {pid} on {host}, since {holder.get('since')}")


def _started(pid: int) -> str | None:
    """Returns when a process of this host began, in the system's ticks; None if there is none.

    Numbers of processes come again, such as the first ones of a container.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()[19]


def _busy(path: Path, who: str = "") -> LilasError:
    told = f" It is {who}; if that is gone, delete {path.name} there." if who else ""
    return LilasError(
        f"{path.parent}: another run is at work here.{told} Wait for it, or stop it, then run "
        "again."
    )


def _not_permitted(path: Path, error: OSError) -> LilasError:
    return broken(
        path.parent,
        "a folder to write to",
        f"one whose {path.name} refuses it ({os.strerror(error.errno or 0).lower()})",
        "Ask its owner for permission, or set data and results in config.yaml.",
    )


def hold(
    written: Iterable[str], read: Iterable[str], data: Iterable[str], results: str
) -> ExitStack:
    """Holds for this process every folder that a run writes to or reads data from.

    Who adds data disturbs nobody that reads others; who replaces data has to be alone.

    Args:
        written: Files that the run makes.
        read: Files that it reads.
        data: Folders of data, each held as a whole.
        results: Folder of the results.

    Raises:
        LilasError: another run writes to one of them, or reads what this one would replace.
    """
    made = set(written)
    used = set(read) - made
    with ExitStack() as held:
        if _below(results, made):
            held.enter_context(locked(results))
        for folder in sorted(set(data)):
            new = _below(folder, made)
            if new:
                held.enter_context(locked(folder))
            replaces = any(os.path.lexists(file) for file in new)
            if replaces or _below(folder, used):
                held.enter_context(locked(folder, READING, shared=not replaces))
        return held.pop_all()


def _below(folder: str, files: set[str]) -> list[str]:
    return [file for file in files if Path(file).is_relative_to(folder)]


def in_a_thread(number: signal.Signals) -> None:
    """Lets the handler of a signal, where there is one, run in a thread of its own.

    A handler interrupts the main thread; one that waits for a lock which that thread holds would
    wait for ever.
    """
    handler = signal.getsignal(number)
    if callable(handler):
        signal.signal(number, lambda *frame: threading.Thread(target=handler, args=frame).start())
