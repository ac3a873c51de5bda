"""The error that every contract of the pipeline raises."""

from pathlib import Path


class LilasError(Exception):
    """A broken contract: bad configuration, bad file, bad state of the results folder.

    Stages and the command line print its message alone, without a traceback, so the message
    must say what was expected, what was found and what to do.
    """


def broken(path: str | Path, expected: str, found: str, action: str) -> LilasError:
    """Returns the error for a file that breaks its contract, in the one form all of them share."""
    return LilasError(f"{path}: expected {expected}, found {found}. {action}")
