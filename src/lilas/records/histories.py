"""Histories of trainings: one JSON object a line, of each logged step.

An entry has step, loss (null where every step was skipped), learning_rate, gradient_norm, skipped
(steps so far whose gradients were not finite), seconds and, where it was validated, valid_loss.
Seconds are wall time since the first step, of resumed trainings without the time that a kill lost;
they are null, or absent, where an earlier version began the training.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lilas.errors import broken
from lilas.files import atomic

# Trainings write histories, which needs no pandas.
if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("step", "loss", "skipped")

Entry = Mapping[str, float | None]


def write_history(path: Path, history: Iterable[Entry]) -> None:
    """Writes the entries of a training."""
    with atomic(path) as part:
        part.write_text("".join(json.dumps(entry) + "\n" for entry in history), encoding="utf-8")


def read_history(path: Path) -> "pd.DataFrame":
    """Returns the entries of a training, as `tabulate` does.

    Raises:
        LilasError: a line is not JSON, or no entry.
    """
    entries = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            action = "Delete it and run the training again."
            raise broken(path, f"JSON in line {number}", f"{error}", action) from None
        if not isinstance(entry, dict) or not entry.keys() >= set(NEEDED):
            expected = f"step, loss and skipped in line {number}"
            action = "Give the path of one that LILAS wrote."
            raise broken(path, expected, line[:60], action)
        entries.append(entry)
    return tabulate(entries)


def tabulate(history: Iterable[Entry]) -> "pd.DataFrame":
    """Returns entries as a table, a row each; valid_loss and seconds may be empty."""
    import pandas as pd

    absent = {"valid_loss": None, "seconds": None}
    entries = [absent | entry for entry in history]
    table = pd.DataFrame(entries, columns=None if entries else [*absent, *NEEDED])
    return table.infer_objects().astype(dict.fromkeys(absent, float))
