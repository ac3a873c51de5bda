"""The error that every contract of the pipeline raises."""

import errno
from pathlib import Path

# What the system refuses to a writer, by its number, and what to do.
SYSTEM = {
    errno.ENOSPC: "no space left on the device. Free some, or move data or results elsewhere.",
    errno.EDQUOT: "the disk quota is used up. Free some, or move data or results elsewhere.",
    errno.EACCES: "permission denied. Choose a folder that you may write to in config.yaml.",
    errno.EROFS: "the file system is read-only. Choose another folder in config.yaml.",
}


class LilasError(Exception):
    """A broken contract: bad configuration, bad file, bad state of the results folder.

    Stages and the command line print its message alone, without a traceback, so the message
    must say what was expected, what was found and what to do.
    """


def told(error: LilasError | OSError) -> str:
    """Returns an error as the one line that ends a program."""
    if isinstance(error, OSError):
        words = SYSTEM.get(error.errno, f"{error.strerror}.".lower())
        return f"error: {error.filename or 'output'}: {words}"
    return f"error: {error}"


def broken(path: str | Path, expected: str, found: str, action: str) -> LilasError:
    """Returns the error for a file that breaks its contract, in the one form all of them share."""
    return LilasError(f"{path}: expected {expected}, found {found}. {action}")
