"""Files of metrics, timings and temperatures: means by horizon, medians, and their intervals."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lilas.evaluation.metrics import EVERY_METRIC
from lilas.files import read_json
from lilas.inspect import pictures, text
from lilas.inspect.inspection import Inspection
from lilas.records.metrics import metrics_record, read_curves, read_metrics
from lilas.records.provenance import check_record
from lilas.records.temperatures import NAMES, read_temperature, read_temperatures
from lilas.records.timings import MACHINE, read_timings
from lilas.report.calibration import calibration_tables
from lilas.report.speed import median
from lilas.report.summary import by_horizon
from lilas.report.trajectories import by_trajectory


def inspect_metrics(path: Path) -> Inspection:
    """Inspects a file of metrics."""
    metrics, curves = read_metrics(path), read_curves(path)
    record = check_record(path, metrics_record(path), "evaluation")
    horizons = record["config"]["evaluation"]["horizons"]
    summary = by_trajectory([metrics], dict.fromkeys(metrics["dataset"].unique(), horizons))
    table = by_horizon(summary)
    facts = {
        name: ", ".join(map(str, metrics[name].unique()))
        for name in ("dataset", "autoencoder", "emulator", "sampler", "compression", "members")
    }
    facts["fields"] = ", ".join(metrics["field"].unique())
    facts["trajectories"] = f"{metrics['trajectory'].nunique()}"
    leads = metrics["lead_time"]
    facts["lead time"] = f"{leads.min()} to {leads.max()} solver steps"
    facts["curves"] = ", ".join(curves["metric"].unique())
    lines = [f"{path}: metrics, {len(metrics)} rows, and {len(curves)} of curves", ""]
    lines += text.facts({name: value for name, value in facts.items() if value})
    groups = table.groupby(["emulator", "relative_to"], sort=False, observed=True)
    for (emulator, reference), part in groups:
        rows = [
            [
                f"{name}, {field}" if field else name,
                EVERY_METRIC[name].orientation if name in EVERY_METRIC else "",
                *map(_interval, cells.to_dict("records")),
            ]
            for (name, field), cells in part.groupby(["metric", "field"], sort=False, observed=True)
        ]
        lines += ["", f"{emulator}, relative to the {reference}: means over trajectories, fields"]
        lines += ["and lead times, and their 95 % intervals over trajectories"]
        lines += text.table(["metric", "better", *dict.fromkeys(part["horizon"])], rows)
    return Inspection([*lines, *text.origin(record, path)], partial(pictures.curves, metrics))


def inspect_timings(path: Path) -> Inspection:
    """Inspects a file of timings."""
    timings = read_timings([path])
    value = read_json(path)
    facts = {name: f"{value[name]}" for name in ("dataset", *MACHINE)}
    rows = [
        [
            row["kind"],
            "/".join(filter(None, (row["autoencoder"], row["emulator"], row["sampler"]))),
            f"{row['batch']:.0f}",
            str(median(row["seconds"])),
            "" if np.isnan(row["flops"]) else f"{row['flops'] / 1e9:.4g}",
            "" if np.isnan(row["memory"]) else f"{row['memory'] / 1e6:.4g}",
        ]
        for row in timings.to_dict("records")
    ]
    lines = [f"{path}: what a state costs", "", *text.facts(facts), ""]
    lines += text.table(["what", "of", "batch", "seconds per state", "GFLOP", "MB"], rows)
    return Inspection([*lines, *text.origin(value["provenance"], path)])


def inspect_temperature(path: Path) -> Inspection:
    """Inspects a file of the temperatures that were tried."""
    value = read_temperature(path)
    facts = {name: f"{value[name]}" for name in (*NAMES, "trajectories", "members")}
    facts["chosen"] = f"{value['temperature']:g}"
    facts |= {"diverged at": ", ".join(map(str, value["diverged"]))} if value["diverged"] else {}
    table = read_temperatures([path])
    last = int(table["lead_time"].max())
    (found,) = calibration_tables(table, {value["dataset"]: []})
    _, *rows = found.grid("{}")
    lines = [f"{path}: temperatures tried on the validation split", "", *text.facts(facts), ""]
    heads = ["temperature", f"CRPS up to lead time {last}", "spread / skill"]
    lines += text.table(heads, [row[2:] for row in rows])
    return Inspection([*lines, *text.origin(value["provenance"], path)])


def _interval(cell: dict[str, Any]) -> str:
    if not np.isfinite(cell["low"]):
        return f"{cell['value']:.4g}"
    return f"{cell['value']:.4g} [{cell['low']:.4g}, {cell['high']:.4g}]"
