"""Checkpoints: everything that a training goes on from, in one file that is whole or refused."""

import os
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch

from lilas.errors import broken
from lilas.files import atomic
from lilas.records.provenance import changes

KEYS = frozenset(
    {"making", "model", "optimizer", "average", "step", "skipped", "in_a_row", "best_loss", "best"}
    | {"history"}
)
# How many differences are told.
_TOLD = 3


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint; the one before is kept until it is whole.

    Raises:
        LilasError: the disk takes no more.
    """
    # Through a file of Python's, whose error tells what the disk said.
    with atomic(path) as part, open(part, "wb") as file:
        torch.save(state, file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Returns the state in a checkpoint of ours, its tensors on the CPU.

    Raises:
        LilasError: it is damaged, or of another program or version.
    """
    action = "Delete it to start this training anew."
    try:
        # Torch reads what has changed on the disk without a word; the archive knows its sums.
        with zipfile.ZipFile(path) as archive:
            if name := archive.testzip():
                raise broken(path, "a checkpoint", f"damage in {name}", action)
        state = torch.load(path, map_location="cpu", weights_only=False)
    except (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise broken(path, "a checkpoint", f"a damaged file ({error})", action) from None
    # Before 0.2.0 a making was a hash, of which nothing can be told.
    whole = isinstance(state, dict) and state.keys() >= KEYS
    if not whole or not isinstance(state["making"], dict):
        raise broken(path, "a checkpoint", "one of another program or version", action)
    return state


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
    kept = path.with_suffix(".of-another-configuration.pt")
    os.replace(path, kept)
    print(
        f"{path}: begins at step 0, since {reason}; what was there is kept as {kept.name}",
        file=sys.stderr,
        flush=True,
    )
