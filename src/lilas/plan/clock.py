"""Files that are dated later than now: a clock was set back, or another machine's is ahead."""

import errno
import os
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from lilas.errors import broken

# Seconds that another machine's clock may be ahead: most jobs take longer.
SLACK = 60
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def date_back(files: Iterable[str], read: Iterable[str], results: str, data: str) -> None:
    """Dates now, in their order, what of a run's files is dated later.

    To Snakemake what is made of a file from the future is never new: each run would make it, refuse
    it and delete it. Our own files are dated anew, those of others are told.

    Args:
        files: All that a run reads or makes, or would if it were not there.
        read: Those that its jobs read.
        results: Folder of its results, all of which are ours.
        data: Folder of data that the pipeline makes.

    Raises:
        LilasError: a file that is read is dated later than in a minute, and is not ours to date.
    """
    now = time.time_ns()
    # What this run does not know of, another one will find newer than what this one makes.
    known = {*files, *read, *_below(results)}
    dates = {file: os.stat(file).st_mtime_ns for file in known if os.path.exists(file)}
    late = {file: date for file, date in dates.items() if date > now}
    places = {date: place for place, date in enumerate(sorted(set(late.values()), reverse=True))}
    left = {}
    for file, date in late.items():
        # Files of one date keep one; what is made from now on is newer than all.
        new = now - 1000 * places[date]
        if not any(Path(file).is_relative_to(folder) for folder in (results, data)):
            left[file] = date
            continue
        try:
            os.utime(file, ns=(new, new))
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            left[file] = date
    told = sorted(file for file in {*read} & left.keys() if left[file] > now + SLACK * 10**9)
    if told:
        more = f", and so are {len(told) - 1} more that are read" if told[1:] else ""
        raise broken(
            told[0],
            "a file from before now",
            f"one dated {_date(left[told[0]])}{more}",
            f"Set this machine's clock, or date it now (touch {told[0]}): what is made of it would "
            "never be new.",
        )
    if len(late) > len(left):
        print(
            f"warning: {len(late) - len(left)} files were dated later than now, up to "
            f"{_date(max(late.values()))}, as where a clock was set back; they are dated now",
            file=sys.stderr,
            flush=True,
        )


def _below(folder: str) -> Iterator[str]:
    """Yields the files of a folder, without those of stores, which jobs know by their manifest."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.endswith(".zarr")]
        yield from (os.path.join(place, name) for name in files)


def _date(nanoseconds: int) -> str:
    return f"{datetime.fromtimestamp(nanoseconds // 10**9)}"
