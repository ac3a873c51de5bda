"""Where a number of a table comes from: rows of metrics, rollouts, weights, data, code."""

import difflib
import math
import re
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lilas.errors import LilasError, broken
from lilas.files import sha256
from lilas.records.analyses import read_analysis
from lilas.records.carried import carried
from lilas.records.metrics import read_metrics
from lilas.records.provenance import (
    ELSEWHERE,
    current_code,
    differences,
    located,
)
from lilas.records.stores import open_store
from lilas.records.timings import read_timings
from lilas.report.latent_tables import CELLS, latent_tables
from lilas.report.speed import QUANTITIES, runs
from lilas.report.summary import BASELINES, of_first_samplers
from lilas.report.trajectories import valid_times
from lilas.study import paths

# Tables keep six significant digits.
ROUNDING = 1e-5
UNTRAINED = (*BASELINES, "truth")
VALID_TIME = "valid_time_"
_TABLES_AGAIN = "Run snakemake -R tables."


@dataclass(frozen=True)
class Name:
    """What a cell's id says: {dataset}/{autoencoder}/{emulator}/{sampler}/{metric}/{horizon}.

    Attributes:
        dataset: The dataset.
        run: Autoencoder, emulator and sampler, as many as there are; pooled ones joined by "+".
        metric: The metric.
        relative_to: "truth", or "autoencoder" where the metric ends in "@autoencoder".
        field: The field after ":"; empty where fields are averaged.
        horizon: First and last lead time, in solver steps; None where there is no horizon.
    """

    dataset: str
    run: tuple[str, ...]
    metric: str
    relative_to: str
    field: str
    horizon: tuple[int, int] | None


@dataclass
class Trace:
    """What is behind a cell: lines to print, what is wrong with it, stages by their libraries."""

    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    versions: dict[str, list[str]] = field(default_factory=dict)


def trace(cell: str, results: Path) -> Trace:
    """Returns where a table's number comes from, down to weights, data and code.

    The value is computed again from the rows of the metrics files: the mean over trajectories,
    fields and the horizon's lead times; where runs are pooled, the mean over them; of a timing, the
    median over turns; of a latent analysis, as its table has it. Then the records of provenance are
    followed, and each file that they name is held against its recorded SHA-256 (data files: size
    and a sample).

    Args:
        cell: The id in the column `cell` of a table, alone or after the path of the results folder.
        results: The results folder, unless the cell names it.

    Raises:
        LilasError: there is no such table or cell, or a file of metrics is missing or damaged.
    """
    folder, cell = _split(cell, results)
    rows = _find(folder, cell)
    name = _name(cell)
    found = Trace([f"Cell   {cell}"])
    for path, row in rows.items():
        interval = "no interval"
        if row["low"]:
            interval = f"95 % interval {row['low']} to {row['high']}"
        found.lines.append(f"Table  {path}: {row['value']}, {interval}")
    kind = "metrics"
    if name.metric in QUANTITIES:
        kind, files = "timing", [folder / paths.TIMING.format(dataset=name.dataset)]
        value = _turns(found, files[0], name)
    elif name.metric in CELLS:
        kind, files = "latent analysis", [folder / _analysis_file(name)]
        value = _analysed(found, files[0], cell, name)
    else:
        files = _files(folder, name)
        value = sum(_rows(found, path, name) for path in files) / len(files)
    stale = {
        path: row["value"]
        for path, row in rows.items()
        if not math.isclose(value, float(row["value"]), rel_tol=ROUNDING)
    }
    found.lines.append(f"Value  {value:.6g}, {'NOT as' if stale else 'as'} the table has it")
    found.problems += [
        f"{path}: has {number}, the rows of {kind} give {value:.6g}: the table is stale. Run "
        "snakemake -R tables."
        for path, number in stale.items()
    ]
    found.lines += ["", "Made by (each stage, then its inputs)"]
    seen: dict[Path, str] = {}
    for path in files:
        found.lines.append(f"  {kind}: {path}  SHA-256 {sha256(path)}")
        _record(found, carried(path), path, 2, seen)
    found.lines += ["", "Versions"]
    found.lines += [f"  {', '.join(stages)}: {text}" for text, stages in found.versions.items()]
    return found


def _split(cell: str, results: Path) -> tuple[Path, str]:
    """Returns the results folder and the cell's id, which may begin with the folder."""
    parts = cell.strip().split("/")
    for count in range(1, len(parts)):
        folder = Path("/".join(parts[:count]) or "/")
        if (folder / paths.TABLES).is_dir():
            return folder, "/".join(parts[count:])
    return results, cell.strip()


def _find(folder: Path, cell: str) -> dict[Path, dict[str, str]]:
    """Returns the row of each table that has the cell."""
    found, known = {}, []
    for path in sorted((folder / paths.TABLES).glob("*.csv")):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if "cell" not in table:
            continue
        if missing := [name for name in ("value", "low", "high") if name not in table]:
            columns = ", ".join(missing)
            raise broken(path, f"columns with {columns}", "none", _TABLES_AGAIN)
        rows = table[table["cell"] == cell]
        if len(rows) > 1:
            raise broken(path, f"one cell {cell}", f"{len(rows)}", _TABLES_AGAIN)
        if len(rows):
            found[path] = rows.iloc[0].to_dict()
        known += [name for name in table["cell"] if name]
    if not known:
        action = "Name the results with --results, or run snakemake to make them."
        raise broken(folder / paths.TABLES, "tables with cells (*.csv)", "none", action)
    if not found:
        # Of a metric that has a row per field, a cell without one is short of no more than that.
        head, _, horizon = cell.rpartition("/")
        near = [
            name for name in known if name.startswith(f"{head}:") and name.endswith(f"/{horizon}")
        ]
        near = list(dict.fromkeys(near)) or difflib.get_close_matches(
            cell, dict.fromkeys(known), n=3
        )
        hint = f"Did you mean {' or '.join(near)}?" if near else f"One is {known[0]}."
        raise LilasError(f"{folder / paths.TABLES}: no cell {cell!r}. {hint}")
    return found


def _name(cell: str) -> Name:
    dataset, *run, last = cell.split("/")
    horizon = None
    if (lead_times := re.fullmatch(r"(\d+)-(\d+)", last)) is not None:
        horizon = (int(lead_times[1]), int(lead_times[2]))
        last = run.pop()
    metric, _, field = last.partition(":")
    metric, _, relative_to = metric.partition("@")
    return Name(dataset, tuple(run), metric, relative_to or "truth", field, horizon)


def _files(folder: Path, name: Name) -> list[Path]:
    """Returns the files of metrics behind a cell; of pooled runs, each that was made."""
    dataset = name.dataset
    if name.run[0] in UNTRAINED:
        return [folder / paths.BASELINES.format(dataset=dataset)]
    *runs, last = (part.split("+") for part in name.run)
    pooled = any("+" in part for part in name.run)
    if last == ["reconstruction"]:
        found = [paths.RECONSTRUCTION.format(dataset=dataset, autoencoder=run) for run in runs[0]]
    else:
        keys = ("autoencoder", "emulator", "sampler")
        chosen = _firsts(folder, dataset) if pooled else None
        found = [
            paths.METRICS.format(dataset=dataset, **dict(zip(keys, run, strict=True)))
            for run in product(*runs, last)
            if chosen is None or run in chosen
        ]
        if not found:
            path = folder / paths.TABLES / "horizons.csv"
            raise broken(path, f"runs of {'/'.join(name.run)}", "none", _TABLES_AGAIN)
    files = [folder / path for path in found]
    # Where none was made, the first is missed when it is read.
    return [path for path in files if path.is_file()] or files[:1]


def _firsts(folder: Path, dataset: str) -> set[tuple[str, ...]]:
    """Returns the runs that stand for their emulators where runs are pooled."""
    path = folder / paths.TABLES / "horizons.csv"
    needed = ["dataset", "autoencoder", "emulator", "sampler", "method", "context", "direction"]
    try:
        runs = pd.read_csv(path, usecols=needed, dtype=str, keep_default_na=False)
    except (FileNotFoundError, ValueError) as error:
        wanted = f"a table with columns {', '.join(needed)}"
        raise broken(path, wanted, f"{error}", _TABLES_AGAIN) from None
    runs = runs[(runs["dataset"] == dataset) & (runs["direction"] == "forward")]
    runs = runs[of_first_samplers(runs, "context")]
    return set(runs[["autoencoder", "emulator", "sampler"]].itertuples(index=False, name=None))


def _rows(found: Trace, path: Path, name: Name) -> float:
    """Returns the mean of a cell's rows in a metrics file, and says which rows these are."""
    scores = read_metrics(path)
    untrained = name.run[0] in UNTRAINED
    single = untrained or name.run[-1] == "reconstruction"
    wanted = {
        "dataset": name.dataset,
        "emulator": name.run[0 if untrained else -1] if single else path.parts[-3],
        "metric": name.metric.removeprefix(VALID_TIME),
        "relative_to": name.relative_to,
    }
    if name.field:
        wanted["field"] = name.field
    inside = scores["lead_time"].between(*(name.horizon or (1, scores["lead_time"].max())))
    if untrained and len(name.run) > 1:
        inside &= scores["sampler"].isin(name.run[1].split("+"))
    for column, value in wanted.items():
        inside &= scores[column] == value
    rows = scores[inside]
    filters = ", ".join(f"{key} = {value}" for key, value in wanted.items())
    if rows.empty:
        raise broken(path, f"rows with {filters}", "none", "The table is stale: run again.")
    leads = rows["lead_time"]
    mean = (valid_times([rows]) if name.metric.startswith(VALID_TIME) else rows)["value"].mean()
    found.lines += [
        f"Rows   {path}",
        f"       {len(rows)} of {len(scores)}: {filters}, lead_time {leads.min()} to {leads.max()}",
        f"       trajectories {rows['trajectory'].nunique()} x fields {rows['field'].nunique()} x "
        f"lead times {leads.nunique()}: {name.metric} {mean:.6g}",
    ]
    return float(mean)


def _analysis_file(name: Name) -> str:
    pattern = paths.LATENT_PARAMETERS if len(name.run) == 1 else paths.COUNTERFACTUAL
    keys = ("autoencoder", "emulator", "sampler")
    return pattern.format(dataset=name.dataset, **dict(zip(keys, name.run, strict=False)))


def _analysed(found: Trace, path: Path, cell: str, name: Name) -> float:
    """Returns the value of a latent analysis' cell, and says which rows of its file it is of."""
    one = read_analysis(path)
    leads = {name.dataset: [] if name.horizon is None else [name.horizon[0]]}
    tables = [table for its in latent_tables([one], leads, {}).values() for table in its]
    cells = {c.name: c.value for table in tables for row in table.rows for c in row.cells if c}
    if cell not in cells:
        raise broken(path, f"rows of {cell}", "none", "The table is stale: run again.")
    kind = CELLS[name.metric]
    count = len(one.tables[kind])
    found.lines += [f"Rows   {path}", f"       of the {count} of {kind}: {name.field}"]
    return cells[cell]


def _turns(found: Trace, path: Path, name: Name) -> float:
    """Returns the median over turns of what a cell is of, and says what was measured."""
    table = runs(read_timings([path]))
    own = table["dataset"] == name.dataset
    for key, value in zip(
        ("autoencoder", "emulator", "sampler"), [*name.run, "", "", ""], strict=False
    ):
        own &= table[key] == value
    if own.sum() != 1 or table.loc[own, name.metric].iloc[0] is None:
        raise broken(
            path, f"a timing of {'/'.join(name.run)}", "none", "The table is stale: run again."
        )
    row = table[own].iloc[0]
    values = row[name.metric]
    found.lines += [
        f"Rows   {path}",
        f"       {QUANTITIES[name.metric]} on {row['device']}, {row['threads']} CPU threads, batch "
        f"{row['batch']:g}",
        f"       {', '.join(f'{value:.4g}' for value in values)}, in the order of turns: median "
        f"{np.median(values):.6g}",
    ]
    return float(np.median(values))


def _record(
    found: Trace, record: dict[str, Any], path: Path, depth: int, seen: dict[Path, str]
) -> None:
    """Adds what a record says: the code, then the inputs, each followed down its own record."""
    indent = "  " * depth
    same = record["code"] == current_code(record)
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
    if path.name == Path(paths.ROLLOUTS).name:
        found.lines.append(f"{indent}{_store(path)}")
    for name, entry in record["inputs"].items():
        if isinstance(entry, list):
            _data(found, record | {"inputs": {name: entry}}, name, indent, path)
        else:
            _input(found, name, entry, depth, seen, path)


def _data(found: Trace, record: dict[str, Any], name: str, indent: str, artifact: Path) -> None:
    """Adds how many data files there were and how many have changed since, or are elsewhere."""
    entries = record["inputs"][name]
    told = [line for line in differences(record, artifact) if line.startswith(f"{name}: ")]
    changed = [line for line in told if not line.endswith(ELSEWHERE)]
    absent = len(told) - len(changed)
    same = len(entries) - len(told)
    states = {
        f"{absent} not here, which cannot be checked": absent,
        f"{len(changed)} CHANGED": changed,
    }
    states[f"{same if told else ''} unchanged in size and sample".strip()] = same
    state = ", ".join(text for text, there in states.items() if there) or "none"
    total = sum(entry["bytes"] for entry in entries)
    folders = ", ".join(dict.fromkeys(str(Path(entry["path"]).parent) for entry in entries))
    found.lines.append(
        f"{indent}{name}: data files ({len(entries)}) in {folders}, {total:,} bytes, {state}"
    )
    # A data file is an input of several stages, under several names: one line says that it changed.
    problems = (line.removeprefix(f"{name}: ") for line in changed)
    found.problems += [line for line in problems if line not in found.problems]


def _input(
    found: Trace,
    name: str,
    entry: dict[str, str],
    depth: int,
    seen: dict[Path, str],
    artifact: Path,
) -> None:
    """Adds a file that was an input: its recorded SHA-256, and whether it still has it."""
    path, recorded = located(entry["path"], artifact), entry["sha256"]
    head = f"{'  ' * depth}{name}: {path or entry['path']}  SHA-256 {recorded}"
    if path is None:
        found.lines.append(f"{head}, the file {ELSEWHERE}")
        return
    first = path not in seen
    if first:
        seen[path] = sha256(path)
    if seen[path] != recorded:
        found.lines.append(f"{head}, the file has CHANGED to {seen[path]}")
        problem = f"{path}: {name} has changed since: SHA-256 {seen[path]}, recorded {recorded}"
        if problem not in found.problems:
            found.problems.append(problem)
    else:
        found.lines.append(f"{head}, unchanged{'' if first else ' (see above)'}")
    if not first:
        return
    try:
        record = carried(path)
        if record is not None:
            _record(found, record, path, depth + 1, seen)
    except LilasError as error:
        found.problems.append(str(error))


def _store(manifest: Path) -> str:
    """Returns what a store of rollouts holds."""
    dataset = open_store(manifest)
    sizes, rows = dataset.sizes, dataset["trajectory"].values
    return (
        f"{paths.store(str(manifest))}: trajectories "
        f"{', '.join(map(str, rows))}; {sizes['member']} members, {sizes['time']} states, "
        f"{dataset.attrs['context']} of them context"
    )
