"""Being asked to stop: SIGTERM, which schedulers send before the time of a job is over."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Yields whether SIGTERM has come; within the context it does not end the process.

    A thread that is not the main one hears nothing, and leaves the signal as it is.
    """
    asked = False

    def hear(_: int, __: FrameType | None) -> None:
        nonlocal asked
        asked = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGTERM, hear)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGTERM, before)
