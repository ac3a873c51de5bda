"""Files that are dated later than now: a clock was set back, or another machine's is ahead."""

import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from lilas.errors import broken

# Seconds that another machine's clock may be ahead: so long a run waits at most.
SLACK = 60


def date_back(files: Iterable[str], read: Iterable[str], results: str, made: Iterable[str]) -> None:
    """Dates now, in their order, what of a run's files is dated later.

    To Snakemake what is made of a file from the future is never new: each run would make it, refuse
    it and delete it. Our own files are dated anew, those of others are told, or waited for. Of a
    link its own date and its target's count, and its own alone is set.

    Args:
        files: All that a run reads or makes, or would if it were not there.
        read: Those that its jobs read.
        results: Folder of its results, all of which are ours. It is there.
        made: Folders of data that the pipeline makes.

    Raises:
        LilasError: a file that is read is dated later than in a minute, and cannot be dated by us.
    """
    # What this run does not know of, another one will find newer than what this one makes.
    dates = _dates({*files, *read, *_below(results)})
    # After them: what jobs at work write meanwhile is not from the future.
    now, ours = _now(results), [results, *made]
    late = {file: date for file, date in dates.items() if date > now}
    places = {date: place for place, date in enumerate(sorted(set(late.values()), reverse=True))}
    for file, date in late.items():
        if any(Path(file).is_relative_to(folder) for folder in ours):
            # Files of one date keep one; what is made from now on is newer than all.
            new = now - 1000 * places[date]
            # A job that is still at work may delete it, another user own it; not every file system
            # sets times. What keeps its date is seen below.
            with suppress(OSError):
                os.utime(file, ns=(new, new), follow_symlinks=False)
    found = _dates(late)
    left = {file: date for file, date in found.items() if date > now}
    if dated := found.keys() - left.keys():
        _tell(
            f"warning: {len(dated)} files were dated later than now, up to "
            f"{_date(max(late[file] for file in dated))}, as where a clock was set back; they are "
            "dated now"
        )
    _wait({file: left[file] for file in {*read} & left.keys()}, now)


def _now(folder: str) -> int:
    """Returns what a file is dated that is made in a folder now, in nanoseconds.

    The clock is that of the file system, which may be another machine's.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"now")
        file.flush()
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_mtime_ns


def _dates(files: Iterable[str]) -> dict[str, int]:
    """Returns the dates of those files that are there, as Snakemake has them."""
    found = {}
    for file in files:
        # What is gone by now, or cannot be looked at, is for the jobs that read it.
        with suppress(OSError):
            found[file] = max(os.lstat(file).st_mtime_ns, os.stat(file).st_mtime_ns)
    return found


def _wait(late: dict[str, int], now: int) -> None:
    """Waits until no file is from the future, and refuses those that are so for long."""
    if told := sorted(file for file, date in late.items() if date > now + SLACK * 10**9):
        more = f", and so are {len(told) - 1} more that are read" if told[1:] else ""
        how = f"-h {told[0]} {os.path.realpath(told[0])}" if os.path.islink(told[0]) else told[0]
        raise broken(
            told[0],
            "a file from before now",
            f"one dated {_date(late[told[0]])}{more}",
            f"Set the clock, or date it now (touch {how}): what is made of it would never be new.",
        )
    if late:
        date, file = max((date, file) for file, date in late.items())
        seconds = (date - now) / 10**9
        _tell(f"waiting {seconds:.1f} s, until {file} is no longer from the future")
        time.sleep(seconds)


def _below(folder: str) -> Iterator[str]:
    """Yields the files of a folder, without those of stores, which jobs know by their manifest."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.endswith(".zarr")]
        yield from (os.path.join(place, name) for name in files)


def _date(nanoseconds: int) -> str:
    return f"{datetime.fromtimestamp(nanoseconds // 10**9)}"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
