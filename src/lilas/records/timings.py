"""Timings on disk: what a state of each run of a dataset cost, measured in turns by one job."""

import math
import platform
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lilas.errors import broken
from lilas.files import read_json, write_json
from lilas.records.provenance import check_record

# What is measured, in the order of tables; `kind` of a row.
MEASURED = ("rollout", "encode", "decode", "gradient", "simulation", "matmul")
# Of a row, what names it; empty where it is of no such thing.
NAMES = ("method", "autoencoder", "emulator", "sampler")
NUMBERS = ("compression", "batch", "states", "windows", "parameters", "flops", "memory")
COLUMNS = ["dataset", "kind", *NAMES, *NUMBERS, "seconds"]
# Of the job, what its seconds depend on.
MACHINE = ("device", "threads", "turns")
_ACTION = "Delete it and run again."


def processor() -> str:
    """Returns the name of this machine's processor."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.is_file() else ""
    named = re.search(r"model name\s*:\s*(.+)", text)
    return named[1] if named else platform.processor() or platform.machine()


def write_timings(
    path: Path,
    dataset: str,
    rows: Iterable[dict[str, Any]],
    machine: dict[str, Any],
    record: dict[str, Any],
) -> None:
    """Writes what `lilas.models.timing.measure` found.

    Args:
        path: A JSON file.
        dataset: Of the study.
        rows: A mapping each, with the columns of `read_timings` that it has.
        machine: The keys of MACHINE.
        record: Provenance.
    """
    found = [{name: row[name] for name in COLUMNS[1:] if row.get(name) is not None} for row in rows]
    write_json(path, machine | {"dataset": dataset, "rows": found, "provenance": record})


def read_timings(paths: Iterable[Path]) -> pd.DataFrame:
    """Returns the rows of files of timings.

    Returns:
        dataset; kind; method, autoencoder, emulator, sampler (empty where there is none);
        compression, batch, states (of a call), windows (of a training), parameters, flops (per
        state), memory (bytes; these NaN where there are none); seconds (turn,) per state, an array;
        device, threads and turns.

    Raises:
        LilasError: a file is missing or damaged.
    """
    rows = []
    for path in paths:
        value = read_json(path, ("dataset", "rows", "provenance", *MACHINE))
        check_record(path, value["provenance"])
        own = {name: value[name] for name in ("dataset", *MACHINE)}
        rows += [own | _checked(path, row, value["turns"]) for row in value["rows"]]
    table = pd.DataFrame(rows, columns=[*COLUMNS, *MACHINE])
    table[list(NAMES)] = table[list(NAMES)].fillna("")
    table[list(NUMBERS)] = table[list(NUMBERS)].astype(float)
    return table


def _checked(path: Path, row: Any, turns: int) -> dict[str, Any]:
    """Returns a row of a file, refused where it is none."""
    seconds = row.get("seconds") if isinstance(row, dict) else None
    sound = isinstance(seconds, list) and len(seconds) == turns
    if not (sound and all(isinstance(one, float) and 0 < one < math.inf for one in seconds)):
        raise broken(path, f"rows with {turns} positive seconds", f"{row}"[:80], _ACTION)
    if row.get("kind") not in MEASURED:
        raise broken(path, f"rows of {', '.join(MEASURED)}", f"{row}"[:80], _ACTION)
    return row | {"seconds": np.array(seconds)}
