"""Checkpoints: everything that a training goes on from, in one file beside the one before it."""

import errno
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import torch

from lilas.errors import broken
from lilas.files import atomic
from lilas.records.archives import damage
from lilas.records.provenance import changes

KEYS = frozenset(
    {"making", "model", "optimizer", "average", "step", "skipped", "in_a_row", "best_loss", "best"}
    | {"history"}
)
# How many differences are told.
_TOLD = 3
# What torch raises where bytes are not as it left them, and what disks do.
_DAMAGE = (RuntimeError, EOFError, pickle.UnpicklingError, ValueError)
_UNREADABLE = (errno.EIO, errno.EINVAL)


def before(path: Path) -> Path:
    """Returns where the checkpoint before the last one is kept."""
    return path.with_suffix(".before.pt")


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint, once it is whole, and keeps the one before.

    Raises:
        LilasError: the disk takes no more.
    """
    # Through a file of Python's, whose error tells what the disk said.
    with atomic(path, keep=before(path)) as part, open(part, "wb") as file:
        torch.save(state, file)


def last_checkpoint(path: Path) -> dict[str, Any] | None:
    """Returns the state in the last checkpoint that is whole; None where there never was one.

    Where the last one is damaged, it is kept by another name, and the one before takes its place,
    which is said.

    Raises:
        LilasError: both are damaged, or it is of another program or version.
    """
    kept = before(path)
    try:
        return _checked(path, _read(path))
    except FileNotFoundError:
        if not kept.is_file():
            return None
        # A kill came between the renames of a save.
        found, told = "nothing", "is not there"
    except _DamagedError as error:
        found, told = f"one that is damaged ({error})", f"is damaged ({error})"
    try:
        state = _checked(kept, _read(kept))
    except (_DamagedError, FileNotFoundError) as error:
        if kept.is_file():
            found += f", and {kept.name} is damaged ({error})"
        raise broken(path, "a checkpoint", found, _anew(path)) from None
    if path.exists():
        # What cannot be read now may be read again, from a disk that answers.
        os.replace(path, path.with_suffix(".damaged.pt"))
    os.replace(kept, path)
    print(
        f"{path}: {told}; goes on from step {state['step']}, of {kept.name}, the one before it",
        file=sys.stderr,
        flush=True,
    )
    return state


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Returns the state in a checkpoint of ours, its tensors on the CPU.

    Raises:
        LilasError: it is damaged, or of another program or version.
    """
    try:
        return _checked(path, _read(path))
    except _DamagedError as error:
        raise broken(path, "a checkpoint", f"one that is damaged ({error})", _anew(path)) from None


class _DamagedError(Exception):
    """What of a checkpoint is not as it was written."""


def _read(path: Path) -> Any:
    """Returns what is in a checkpoint, its tensors on the CPU."""
    try:
        if what := damage(path):
            raise _DamagedError(what)
        return torch.load(path, map_location="cpu", weights_only=False)
    except OSError as error:
        if error.errno not in _UNREADABLE:
            raise
        raise _DamagedError(os.strerror(error.errno)) from None
    except _DAMAGE as error:
        # Torch says so where memory ends, which is no fault of the file.
        if "alloc" in str(error):
            raise
        raise _DamagedError(str(error).partition("\n")[0] or type(error).__name__) from None


def _checked(path: Path, state: Any) -> dict[str, Any]:
    # Before 0.2.0 a making was a hash, of which nothing can be told.
    whole = isinstance(state, dict) and state.keys() >= KEYS
    if not whole or not isinstance(state["making"], dict):
        raise broken(path, "a checkpoint", "one of another program or version", _anew(path))
    return state


def _anew(path: Path) -> str:
    return f"Delete {path.parent} to start this training anew."


def difference(state: dict[str, Any], now: dict[str, Any], settings: dict[str, Any]) -> str | None:
    """Returns why a training does not go on from a checkpoint; None where it does.

    With another number of steps, or budget, and all else the same it does, where every step so far
    would have had the same learning rate.

    Args:
        state: The checkpoint.
        now: The making of the training.
        settings: The keys of `lilas.study.training.Train`.
    """
    before, step = state["making"], state["step"]
    if before == now:
        return None
    found = changes(before, now)
    told = ", ".join(found[:_TOLD])
    told += f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    if _but_steps(before) != _but_steps(now):
        return told
    if settings["steps"] is not None and step > settings["steps"]:
        return f"{told}, and it has done {step}"
    if settings["schedule"] != "constant" and step > settings["warmup"]:
        return (
            f"{told}, and the learning rates of its {settings['schedule']} schedule are others "
            "then; those of a constant one are not"
        )
    return None


def _but_steps(making: dict[str, Any]) -> dict[str, Any]:
    """Returns a making, but for what says how long a training is."""
    found = {}
    for key, value in making.items():
        if isinstance(value, dict):
            found[key] = _but_steps(value)
            if key == "train":
                found[key].pop("steps", None)
                found[key].pop("budget", None)
        else:
            found[key] = value
    return found


def set_aside(path: Path, reason: str) -> None:
    """Renames a checkpoint of another training, and says what makes it another."""
    # Of that training too, and never to be gone on from.
    before(path).unlink(missing_ok=True)
    kept = path.with_suffix(".of-another-configuration.pt")
    os.replace(path, kept)
    print(
        f"{path}: begins at step 0, since {reason}; what was there is kept as {kept.name}",
        file=sys.stderr,
        flush=True,
    )
