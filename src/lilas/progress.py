"""Progress of long work: a bar in a terminal, a line now and then in a log."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from lilas import processes


class _Lines:
    """Writes each state of a bar as a line of its own, for logs and parallel jobs."""

    def write(self, text: str) -> None:
        # A bar inside another moves the cursor up when it is done; a log has no cursor.
        text = text.replace("\x1b[A", "").strip("\r\n ")
        if text:
            sys.stderr.write(text + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


def progress(items: Iterable[Any] | None = None, **options: Any) -> tqdm:
    """Returns a tqdm bar: redrawn in a terminal, a line every ten seconds elsewhere.

    Of processes that work together, the first has one.
    """
    if not processes.is_first():
        return tqdm(items, disable=True, **options)
    if sys.stderr.isatty():
        return tqdm(items, dynamic_ncols=True, **options)
    return tqdm(items, file=_Lines(), mininterval=10.0, maxinterval=10.0, ncols=88, **options)
