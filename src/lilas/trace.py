"""Where a number of a table comes from: rows of metrics, rollouts, weights, data, code."""

import difflib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from lilas.errors import LilasError, broken
from lilas.files import read_json, sha256
from lilas.provenance import code_fingerprint, differences
from lilas.scores import read_scores, scores_record
from lilas.stores import open_store
from lilas.weights import read_record

TABLE = Path("tables") / "horizons.csv"
# The table keeps at least six significant digits.
ROUNDING = 1e-5
BASELINES = ("persistence", "climatology", "truth")
COLUMNS = (
    *("dataset", "autoencoder", "emulator", "sampler", "relative_to", "metric", "horizon"),
    *("value", "low", "high", "trajectories", "cell"),
)


@dataclass
class Trace:
    """What is behind a cell: lines to print, what is wrong with it, stages by their libraries."""

    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    versions: dict[str, list[str]] = field(default_factory=dict)


def trace(cell: str, results: Path) -> Trace:
    """Returns where a table's number comes from, down to weights, data and code.

    The value is computed again from the rows of the metrics files: the mean over trajectories,
    fields and the horizon's lead times; where samplers are pooled, the mean over them. Then the
    records of provenance are followed, and each file that they name is held against its recorded
    SHA-256 (data files: size and time).

    Args:
        cell: The id in the table's column `cell`, or that after the path of the results folder.
        results: The results folder, unless the cell names it.

    Raises:
        LilasError: there is no such table or cell, or a file of metrics is missing or damaged.
    """
    folder, cell = _split(cell, results)
    row = _find(folder, cell)
    found = Trace()
    interval = "one trajectory, no interval"
    if row["low"]:
        interval = f"95 % interval {row['low']} to {row['high']}"
    found.lines += [
        f"Cell   {cell}",
        f"Table  {folder / TABLE}",
        f"       {row['value']}, {interval}, {row['trajectories']} trajectories",
        "",
    ]
    files = _files(folder, row)
    values = [_rows(found, path, row, _field(cell)) for path in files]
    value = sum(values) / len(values)
    agree = math.isclose(value, float(row["value"]), rel_tol=ROUNDING)
    found.lines.append(f"Value  {value:.6g}, {'as' if agree else 'NOT as'} the table has it")
    if not agree:
        found.problems.append(
            f"{folder / TABLE}: has {row['value']}, the rows of metrics give {value:.6g}: the "
            "table is stale. Run snakemake again."
        )
    found.lines += ["", "Made by (each stage, then its inputs)"]
    seen: dict[Path, str] = {}
    for path in files:
        found.lines.append(f"  metrics: {path}  SHA-256 {sha256(path)}")
        _record(found, scores_record(path), path, 2, seen)
    found.lines += ["", "Versions"]
    found.lines += [f"  {', '.join(stages)}: {text}" for text, stages in found.versions.items()]
    return found


def _split(cell: str, results: Path) -> tuple[Path, str]:
    """Returns the results folder and the cell's id, which may begin with the folder."""
    parts = cell.strip().split("/")
    for count in range(1, len(parts)):
        folder = Path("/".join(parts[:count]) or "/")
        if (folder / TABLE).is_file():
            return folder, "/".join(parts[count:])
    return results, cell.strip()


def _find(folder: Path, cell: str) -> dict[str, str]:
    path = folder / TABLE
    if not path.is_file():
        action = "Name the results with --results, or run snakemake to make them."
        raise broken(path, "a table", "nothing", action)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if missing := [name for name in COLUMNS if name not in table]:
        found = f"none of {', '.join(missing)}"
        raise broken(path, f"the columns {', '.join(COLUMNS)}", found, "Run snakemake again.")
    rows = table[table["cell"] == cell]
    if len(rows) == 1:
        return rows.iloc[0].to_dict()
    if len(rows):
        raise broken(path, f"one cell {cell}", f"{len(rows)}", "Run snakemake again.")
    near = difflib.get_close_matches(cell, table["cell"], n=3)
    hint = f" Did you mean {' or '.join(near)}?" if near else f" One is {table['cell'].iloc[0]}."
    raise LilasError(f"{path}: no cell {cell!r}.{hint}")


def _field(cell: str) -> str | None:
    """Returns the field in a cell's id, as in "wasserstein:velocity_y"; None for all of them."""
    return cell.split("/")[-2].partition(":")[2] or None


def _files(folder: Path, row: dict[str, str]) -> list[Path]:
    home = folder / row["dataset"]
    if row["emulator"] in BASELINES:
        return [home / "baselines.parquet"]
    home /= row["autoencoder"]
    if row["emulator"] == "reconstruction":
        return [home / "reconstruction.parquet"]
    samplers = row["sampler"].split("+")
    return [home / row["emulator"] / sampler / "metrics.parquet" for sampler in samplers]


def _rows(found: Trace, path: Path, row: dict[str, str], field: str | None) -> float:
    """Returns the mean of a cell's rows in a metrics file, and says which rows these are."""
    first, last = (int(number) for number in row["horizon"].split("-"))
    scores = read_scores(path)
    wanted = {
        "dataset": row["dataset"],
        "emulator": row["emulator"],
        "metric": row["metric"],
        "relative_to": row["relative_to"],
    } | ({"field": field} if field else {})
    inside = scores["lead_time"].between(first, last)
    for column, value in wanted.items():
        inside &= scores[column] == value
    rows = scores[inside]
    if rows.empty:
        filters = ", ".join(f"{key} {value}" for key, value in wanted.items())
        raise broken(path, f"rows with {filters}", "none", "The table is stale: run again.")
    found.lines += [
        f"Rows   {path}",
        f"       {len(rows)} of {len(scores)}: "
        + ", ".join(f"{key} = {value}" for key, value in wanted.items())
        + f", lead_time {first} to {last}",
        f"       {rows['trajectory'].nunique()} trajectories x {rows['field'].nunique()} fields x "
        f"{rows['lead_time'].nunique()} lead times, mean {rows['value'].mean():.6g}",
    ]
    return float(rows["value"].mean())


def _provenance(path: Path) -> dict[str, Any] | None:
    """Returns the record that an input carries of its making; None for a file without one."""
    if path.suffix == ".safetensors":
        return read_record(path)
    if path.suffix == ".json":
        return read_json(path, ("provenance",))["provenance"]
    return None


def _record(
    found: Trace, record: dict[str, Any], path: Path, depth: int, seen: dict[Path, str]
) -> None:
    """Adds what a record says: the code, then the inputs, each followed down its own record."""
    indent = "  " * depth
    same = record["code"] == code_fingerprint(record["stage"])
    found.lines.append(
        f"{indent}stage {record['stage']} version {record['version']}, code {record['code'][:12]} "
        f"({'as here' if same else 'other than here'})"
    )
    libraries = ", ".join(
        f"{name} {version}" for name, version in sorted(record["versions"].items())
    )
    stages = found.versions.setdefault(libraries, [])
    if record["stage"] not in stages:
        stages.append(record["stage"])
    if path.name == "rollouts.json":
        found.lines.append(f"{indent}{_store(path)}")
    for name, entry in record["inputs"].items():
        if isinstance(entry, list):
            _data(found, record | {"inputs": {name: entry}}, name, indent)
        else:
            _input(found, name, entry, depth, seen)


def _data(found: Trace, record: dict[str, Any], name: str, indent: str) -> None:
    """Adds how many data files there were and how many have changed since."""
    entries = record["inputs"][name]
    changed = [line for line in differences(record) if line.startswith(f"{name}: ")]
    state = f"{len(changed)} CHANGED" if changed else "unchanged in size and time"
    total = sum(entry["bytes"] for entry in entries)
    folders = ", ".join(dict.fromkeys(str(Path(entry["path"]).parent) for entry in entries))
    found.lines.append(
        f"{indent}{name}: data files ({len(entries)}) in {folders}, {total:,} bytes, {state}"
    )
    found.problems += [line for line in changed if line not in found.problems]


def _input(
    found: Trace, name: str, entry: dict[str, str], depth: int, seen: dict[Path, str]
) -> None:
    """Adds a file that was an input: its recorded SHA-256, and whether it still has it."""
    path, recorded = Path(entry["path"]), entry["sha256"]
    head = f"{'  ' * depth}{name}: {path}  SHA-256 {recorded}"
    first = path not in seen
    if first:
        seen[path] = sha256(path) if path.is_file() else "none"
    if seen[path] == "none":
        found.lines.append(f"{head}, the file is GONE")
        problem = f"{path}: {name} is gone; run in the folder where the pipeline ran."
    elif seen[path] != recorded:
        found.lines.append(f"{head}, the file has CHANGED to {seen[path]}")
        problem = f"{path}: {name} has changed since: SHA-256 {seen[path]}, recorded {recorded}"
    else:
        found.lines.append(f"{head}, unchanged{'' if first else ' (see above)'}")
        problem = ""
    if problem and problem not in found.problems:
        found.problems.append(problem)
    if not first or seen[path] == "none":
        return
    try:
        record = _provenance(path)
        if record is not None:
            _record(found, record, path, depth + 1, seen)
    except LilasError as error:
        found.problems.append(str(error))


def _store(manifest: Path) -> str:
    """Returns what a store of rollouts holds."""
    dataset = open_store(manifest)
    sizes, rows = dataset.sizes, dataset["trajectory"].values
    return (
        f"{manifest.with_name(manifest.stem + '.zarr')}: trajectories "
        f"{', '.join(map(str, rows))}; {sizes['member']} members, {sizes['time']} states, "
        f"{dataset.attrs['context']} of them context"
    )
