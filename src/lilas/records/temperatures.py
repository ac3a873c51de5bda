"""Temperatures on disk: how ensembles score at each on the validation split, and the one chosen."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lilas.errors import LilasError, broken
from lilas.files import read_json, sha256, write_json
from lilas.records.provenance import check_record

NAMES = ("dataset", "autoencoder", "emulator", "sampler")
# Of a row: an ensemble's scores at a temperature and lead time.
COLUMNS = ("temperature", "lead_time", "crps", "rmse", "spread")
_ACTION = "Delete it and run again."


def write_temperature(
    path: Path,
    names: dict[str, str],
    rows: Sequence[dict[str, float]],
    diverged: Sequence[float],
    facts: dict[str, int],
    record: dict[str, Any],
) -> None:
    """Writes what `lilas.evaluation.tuning.score_temperatures` found, and what is chosen of it.

    Args:
        path: A JSON file.
        names: The keys of NAMES.
        rows: A mapping each, with the keys of COLUMNS.
        diverged: Temperatures at which a rollout did not stay finite.
        facts: `trajectories` of the validation split and `members`.
        record: Provenance.

    Raises:
        LilasError: there is no row to choose by.
    """
    chosen = {"temperature": choose(rows), "diverged": list(diverged), "rows": list(rows)}
    write_json(path, names | facts | chosen | {"provenance": record})


def choose(rows: Iterable[dict[str, float]]) -> float:
    """Returns the temperature of the lowest CRPS, mean over lead times; of equals that next to 1.

    Raises:
        LilasError: there is none.
    """
    scores: dict[float, list[float]] = {}
    for row in rows:
        scores.setdefault(row["temperature"], []).append(row["crps"])
    if not scores:
        raise LilasError("tune_temperature: rollouts diverged at every candidate; lower ones?")
    means = {temperature: sum(own) / len(own) for temperature, own in scores.items()}
    return min(means, key=lambda one: (means[one], abs(math.log(one))))


def read_temperature(path: Path) -> dict[str, Any]:
    """Returns a file of temperatures, checked.

    Raises:
        LilasError: it is missing or damaged.
    """
    value = read_json(path, (*NAMES, "temperature", "diverged", "rows", "provenance"))
    check_record(path, value["provenance"])
    for row in value["rows"]:
        numbers = [row.get(name) for name in COLUMNS] if isinstance(row, dict) else [None]
        if not all(isinstance(one, int | float) and math.isfinite(one) for one in numbers):
            raise broken(path, f"rows with {', '.join(COLUMNS)}", f"{row}"[:80], _ACTION)
    if value["temperature"] not in {row["temperature"] for row in value["rows"]}:
        raise broken(path, "a temperature of its rows", f"{value['temperature']}"[:80], _ACTION)
    return value


def read_temperatures(paths: Iterable[Path]) -> pd.DataFrame:
    """Returns the rows of files of temperatures.

    Returns:
        The columns of NAMES and COLUMNS, and `chosen`, the temperature that the file chose.

    Raises:
        LilasError: a file is missing or damaged.
    """
    rows = []
    for path in paths:
        value = read_temperature(path)
        own = {name: value[name] for name in NAMES} | {"chosen": value["temperature"]}
        rows += [own | row for row in value["rows"]]
    return pd.DataFrame(rows, columns=[*NAMES, *COLUMNS, "chosen"])


def tuned(sampler: Any, files: Sequence[Path], emulator: Path) -> Any:
    """Returns a sampler at its temperature: its own, or the one that was tuned for it.

    Args:
        sampler: A `lilas.study.entries.SamplerEntry`.
        files: The file of the tuned one; none where it is not tuned.
        emulator: Weights of the emulator that is sampled.

    Raises:
        LilasError: a file is missing, is of other weights or candidates, or of one that is not
            tuned.
    """
    candidates = sampler.tune_temperature
    if (candidates is None) != (not files):
        has = "has no" if candidates is None else "has"
        raise LilasError(f"--temperature: {len(files)} files; the sampler {has} tune_temperature")
    if candidates is None:
        return sampler
    value = read_temperature(files[0])
    of, own = value["provenance"]["inputs"]["emulator"]["sha256"], sha256(emulator)
    if of != own:
        wanted = f"the temperature of {emulator}, SHA-256 {own[:12]}…"
        raise broken(files[0], wanted, f"that of {of[:12]}…", "Run the stage tune again.")
    found = value["temperature"]
    if found not in candidates:
        expected = f"one of {', '.join(f'{one:g}' for one in candidates)}"
        raise broken(files[0], expected, f"{found:g}", "Run the stage tune again.")
    return sampler.model_copy(update={"temperature": found})
