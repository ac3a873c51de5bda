"""What states cost by the timings of a study: the paper's Table 1 and its numbers beside ours."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from lilas.errors import broken
from lilas.evaluation.uncertainty import median_interval
from lilas.report.paired import Estimate, sampled
from lilas.report.typeset import Cell, Row, Table
from lilas.study import paths
from lilas.study.methods import METHODS

NAME = "table1_inference_time"
TITLE = "Seconds per state, as in the paper's Table 1"
RUN = ["dataset", "autoencoder", "emulator", "sampler"]
# What a cell is called by, and its column.
QUANTITIES = {
    "timing_state": "seconds per state",
    "timing_rollout": "emulator alone",
    "timing_decode": "decoding",
    "timing_encode": "encoding",
    "timing_gflop": "GFLOP",
    "timing_share": "share of peak",
    "timing_memory": "memory (MB)",
}
SIMULATOR = "simulator"
_HEADS = ["method", "compression", "model", "sampler", "batch"]


def median(values: np.ndarray) -> Estimate:
    """Returns the median over turns with its 95 % interval."""
    return Estimate(float(np.median(values)), *median_interval(values))


def runs(timings: pd.DataFrame) -> pd.DataFrame:
    """Returns what each run that was timed costs per state, and each simulator.

    A quantity is an array over turns: that several add up to, or divide, they do turn by turn.

    Args:
        timings: Of `lilas.records.timings.read_timings`.

    Returns:
        dataset, autoencoder, emulator, sampler, method, compression, batch; device, threads, turns;
        pixel, whether there is nothing to encode; and the keys of QUANTITIES, arrays (turn,) or, of
        what is counted, (1,); None where there is none. Of a simulator, autoencoder, emulator and
        sampler are empty.
    """
    found = []
    for _, rows in timings.groupby("dataset", sort=False):
        peak = rows[rows["kind"] == "matmul"].iloc[0]
        for row in rows[rows["kind"].isin(["rollout", "simulation"])].to_dict("records"):
            own = {name: row[name] for name in (*RUN, "method", "compression", "batch")}
            own |= {name: row[name] for name in ("device", "threads", "turns")}
            if row["kind"] == "simulation":
                costs = {"timing_state": row["seconds"]}
                own |= {"method": SIMULATOR, "pixel": True}
                found.append(own | dict.fromkeys(QUANTITIES) | costs)
                continue
            coder = rows[rows["autoencoder"] == row["autoencoder"]].set_index("kind")
            found.append(own | {"pixel": "decode" not in coder.index} | _costs(row, coder, peak))
    columns = [*RUN, "method", "compression", "batch", "device", "threads", "turns", "pixel"]
    return pd.DataFrame(found, columns=[*columns, *QUANTITIES])


def _costs(
    row: dict[str, Any], coder: pd.DataFrame, peak: pd.Series
) -> dict[str, np.ndarray | None]:
    """Returns the quantities of a run; pixel space has nothing to encode, and nothing to decode."""
    seconds, flops = row["seconds"], row["flops"]
    decode = coder.loc["decode"] if "decode" in coder.index else None
    # Of the rollout: decoding is as fast in every run.
    share = flops / seconds / (peak["flops"] / peak["seconds"])
    whole = flops + (0 if decode is None else decode["flops"])
    memory = row["memory"] / 1e6
    return {
        "timing_state": seconds + (0 if decode is None else decode["seconds"]),
        "timing_rollout": seconds,
        "timing_decode": None if decode is None else decode["seconds"],
        "timing_encode": None if decode is None else coder.loc["encode", "seconds"],
        "timing_gflop": None if np.isnan(whole) else np.array([whole / 1e9]),
        "timing_share": None if np.isnan(flops) else share,
        "timing_memory": None if np.isnan(memory) else np.array([memory]),
    }


def turn_rows(sides: Mapping[str, Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """Returns the seconds of sides, by cell arrays (turn,), as rows of a claim's part."""
    return sampled(
        "turn",
        [
            (side, cell, turn, float(value))
            for side, cells in sides.items()
            for cell, seconds in cells.items()
            for turn, value in enumerate(seconds)
        ],
    )


def training_seconds(timings: pd.DataFrame, rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Returns the seconds of trainings' losses and gradients, (turn,), by file and training.

    Args:
        timings: Of `lilas.records.timings.read_timings`.
        rows: With the columns dataset, autoencoder, emulator; those that were timed count, and
            whose windows are known: of a budget they are not.
    """
    keys = ["dataset", "autoencoder", "emulator"]
    known = (timings["kind"] == "gradient") & timings["windows"].notna()
    own = timings[known].merge(rows[keys].drop_duplicates(), on=keys)
    return {
        f"{paths.TIMING.format(dataset=row.dataset)}: {row.autoencoder}/{row.emulator}": row.seconds
        * row.windows
        for row in own.itertuples()
    }


# --- Table 1 ----------------------------------------------------------------------------------


@cache
def read_published() -> dict[tuple[str, str, str], float]:
    """Returns the paper's seconds per state by its dataset, method and space.

    Raises:
        LilasError: the file is not what it was when it was packaged.
    """
    path = files("lilas.report") / "paper" / f"{NAME}.csv"
    table = pd.read_csv(str(path))
    columns = ["dataset", "method", "space", "seconds_per_state", "note"]
    if list(table) != columns or not (table["seconds_per_state"] > 0).all():
        raise broken(str(path), ", ".join(columns), ", ".join(table), "Install LILAS again.")
    return table.set_index(columns[:3])["seconds_per_state"].to_dict()


def speed_tables(timings: pd.DataFrame, published: Mapping[str, str]) -> list[Table]:
    """Returns what a state costs, a table per dataset, a row per run and simulator.

    Args:
        timings: Of `lilas.records.timings.read_timings`.
        published: By dataset, the paper's dataset that it is.
    """
    order = [SIMULATOR, *METHODS]
    tables = []
    for dataset, part in runs(timings).groupby("dataset", sort=False):
        known = [name for name in QUANTITIES if part[name].notna().any()]
        places = part["method"].map(order.index)
        part = part.assign(place=places).sort_values(["place", "compression"], kind="stable")
        paper = published.get(dataset)
        body = []
        for row in part.to_dict("records"):
            heads = (
                row["method"],
                "-" if np.isnan(row["compression"]) else f"{row['compression']:.0f}",
                f"{row['autoencoder']} {row['emulator']}".strip() or "-",
                row["sampler"] or "-",
                f"{row['batch']:.0f}",
            )
            beside = _published(paper, row["method"], row["pixel"])
            cells = [_cell(row, name, beside if name == "timing_state" else {}) for name in known]
            body.append(Row(heads, cells))
        columns = [QUANTITIES[name] for name in known]
        tables.append(Table(dataset, _HEADS, columns, body, _note(part, paper)))
    return tables


def cell_name(row: Mapping[str, Any], quantity: str) -> str:
    """Returns what a quantity of a row of `runs` is traced by."""
    return "/".join([*(row[key] for key in RUN if row[key]), quantity])


def _cell(row: dict[str, Any], quantity: str, beside: Mapping[str, float]) -> Cell | None:
    values, name = row[quantity], cell_name(row, quantity)
    if values is None:
        return None
    if len(values) == 1:
        return Cell(float(values[0]), name=name, beside=beside)
    found = median(values)
    return Cell(found.value, found.low, found.high, name, beside)


def _published(paper: str | None, method: str, pixel: bool) -> dict[str, float]:
    word = METHODS[method].published if method in METHODS else method
    number = read_published().get((paper, word, "pixel" if pixel else "latent"))
    return {} if number is None else {"paper": number}


def _note(part: pd.DataFrame, paper: str | None) -> str:
    """Returns how it was measured, and what the paper's numbers beside it are."""
    first = part.iloc[0]
    threads = f"{first['threads']} CPU threads" if first["threads"] > 1 else "one CPU thread"
    parts = [
        f"Measured by one job on {first['device']}, on {threads}: the "
        f"median of {first['turns']} turns, in which all took part, and in brackets its 95 % "
        "interval by order statistics. Seconds of a state of one member, in batches as the "
        "study's; decoding included, but for the columns that say otherwise. GFLOP: of a state, "
        "decoded. Share of peak: FLOPs of the emulator in a second over those of a large product "
        "of matrices."
    ]
    if part["timing_memory"].notna().any():
        parts.append("Memory: of the emulator and the most that it needs beside its weights.")
    if (part["method"] == SIMULATOR).any():
        parts.append(
            "The simulator computes on the CPU, as many trajectories together as the study's jobs "
            "do: of the study's first parameters, from a state in the middle of a trajectory, the "
            "same in every turn, to the emulators' next one."
        )
    numbers = {key[1:]: value for key, value in read_published().items() if key[0] == paper}
    if numbers:
        parts.append(
            "paper: the number that Rozet et al. 2025 (arXiv 2507.02608) published, of one A100; "
            f"its simulator takes about {numbers[SIMULATOR, 'pixel']:g} s, and its diffusion in "
            f"pixel space about {numbers['diffusion', 'pixel']:g} s, which are orders of magnitude."
        )
    return " ".join(parts)
