"""Files of a latent analysis: what latents tell of parameters, and counterfactuals, as JSON."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lilas.errors import broken
from lilas.files import read_json, write_json

# Tables of each kind of file, with the columns that every row has.
PARAMETERS = {
    "scales": ("parameter", "scale"),
    "predictions": (
        *("parameter", "trajectory", "value", "squared_error", "squared_error_of_mean"),
    ),
    "distances": ("parameter", "a", "b", "distance"),
    "halves": ("parameter", "value", "distance", "trajectories"),
    "correlations": ("parameter", "correlation", "pairs"),
    "embedding": ("x", "y", "trajectory", "step", "parameters"),
}
COUNTERFACTUAL = {
    "distances": ("trajectory", "lead_time", "a", "b", "distance"),
    "members": ("trajectory", "lead_time", "distance"),
}
# Those whose rows have the ends of an interval too, low and high, where there is one.
INTERVALS = ("distances", "correlations")
# What a file says beside its tables.
_NAMES = ("dataset", "autoencoder")
_RUN = (*_NAMES, "emulator", "sampler", "members", "parameter", "scale", "known")
_ACTION = "Delete it and run again."


@dataclass(frozen=True)
class Analysis:
    """A file of a latent analysis.

    Attributes:
        path: The file.
        facts: Dataset, autoencoder, compression; of a counterfactual emulator, sampler, method,
            members, parameter, its scale (log10 or none), and the least and largest value that the
            test split has (`known`).
        tables: By name, as `PARAMETERS` or `COUNTERFACTUAL` has them.
        record: Of its making.
    """

    path: Path
    facts: dict[str, Any]
    tables: dict[str, pd.DataFrame]
    record: dict[str, Any]

    @property
    def is_counterfactual(self) -> bool:
        """Whether it is of rollouts, and not of parameters."""
        return "members" in self.tables

    @property
    def run(self) -> str:
        """What it is of: an autoencoder, or a rollout, as their folders are called."""
        keys = ("autoencoder", "emulator", "sampler")
        return "/".join(self.facts[key] for key in keys if key in self.facts)


def write_analysis(
    path: Path, facts: dict[str, Any], tables: dict[str, list[dict[str, Any]]], record: Any
) -> None:
    """Writes a file of a latent analysis."""
    write_json(path, {"facts": facts} | tables | {"provenance": record})


def is_analysis(value: dict[str, Any]) -> bool:
    """Whether a JSON mapping is a file of a latent analysis."""
    return "facts" in value and "provenance" in value


def read_analysis(path: Path) -> Analysis:
    """Returns a file of a latent analysis, of parameters or counterfactual.

    Raises:
        LilasError: it is none, damaged, or holds a number that is not finite.
    """
    value = read_json(path, ("facts", "distances", "provenance"))
    columns, names = (COUNTERFACTUAL, _RUN) if "members" in value else (PARAMETERS, _NAMES)
    facts = value["facts"]
    if not isinstance(facts, dict) or not set(names) <= set(facts):
        raise broken(path, f"facts with {', '.join(names)}", "others", _ACTION)
    tables = {}
    for name, wanted in columns.items():
        rows = value.get(name)
        if not isinstance(rows, list) or not all(
            isinstance(row, dict) and set(wanted) <= set(row) for row in rows
        ):
            raise broken(path, f"{name}, rows with {', '.join(wanted)}", "others", _ACTION)
        kept = [*wanted, *(("low", "high") if name in INTERVALS else ())]
        tables[name] = pd.DataFrame(rows, columns=kept)
        numbers = tables[name][list(wanted)].select_dtypes("number")
        if not np.isfinite(numbers.to_numpy(float)).all():
            raise broken(path, f"finite numbers in {name}", "others", _ACTION)
    return Analysis(path, facts, tables, value["provenance"])
