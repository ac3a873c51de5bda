"""Artifacts in lines of text: ranges of channels, aligned facts and tables, origins."""

import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from lilas.data.axes import SPACE_TOLERANCE, TIME_TOLERANCE, common
from lilas.display import aligned
from lilas.progress import progress
from lilas.records.provenance import ELSEWHERE, differences

BLOCK_BYTES = 32 * 2**20
WIDTH = 100


class Ranges:
    """Minimum, mean and maximum of each channel of values that come block by block."""

    def __init__(self, channels: int) -> None:
        self.low, self.high = np.full(channels, np.inf), np.full(channels, -np.inf)
        self.sum, self.count = np.zeros(channels), np.zeros(channels, int)
        self.missing = np.zeros(channels, int)

    def add(self, block: np.ndarray, axis: int) -> None:
        """Adds a block with its channels along `axis`; values that are not finite are counted."""
        rows = np.moveaxis(block, axis, 0).reshape(len(self.low), -1)
        finite = np.isfinite(rows)
        self.missing += (~finite).sum(1)
        self.count += finite.sum(1)
        self.low = np.minimum(self.low, rows.min(1, where=finite, initial=np.inf))
        self.high = np.maximum(self.high, rows.max(1, where=finite, initial=-np.inf))
        self.sum += rows.sum(1, where=finite, dtype=np.float64)

    def lines(self, names: Sequence[str]) -> list[str]:
        """Returns a table, a row per channel."""
        rows = []
        for i, name in enumerate(names):
            mean = self.sum[i] / self.count[i] if self.count[i] else math.nan
            missing = f"{self.missing[i]} not finite" if self.missing[i] else ""
            rows.append([name, *(f"{v:.6g}" for v in (self.low[i], mean, self.high[i])), missing])
        return table(["channel", "min", "mean", "max", ""], rows)


def state_ranges(
    read: Callable[[int, slice], np.ndarray], steps: Sequence[int], shape: tuple[int, ...]
) -> Ranges:
    """Returns the ranges of states (time, channel, *space) that `read` returns by row and steps.

    Args:
        read: Reads.
        steps: Of each row.
        shape: Of a state, (channel, *space).
    """
    ranges = Ranges(shape[0])
    block = max(1, BLOCK_BYTES // (4 * math.prod(shape)))
    for row in _shown(range(len(steps))):
        for first in range(0, steps[row], block):
            ranges.add(read(row, slice(first, min(first + block, steps[row]))), axis=1)
    return ranges


def array_ranges(array: zarr.Array, dims: tuple[str, ...]) -> Ranges:
    """Returns the ranges of a store's array, read a chunk of all channels at a time."""
    axis = dims.index("channel")
    ranges = Ranges(array.shape[axis])
    chunks = [*array.chunks[:axis], array.shape[axis], *array.chunks[axis + 1 :]]
    counts = [-(-size // chunk) for size, chunk in zip(array.shape, chunks, strict=True)]
    for place in _shown(list(np.ndindex(*counts))):
        block = tuple(
            slice(i * chunk, (i + 1) * chunk) for i, chunk in zip(place, chunks, strict=True)
        )
        ranges.add(array[block], axis)
    return ranges


def _shown(items: Sequence[Any]) -> Iterable[Any]:
    return progress(items, desc="read", unit="block", leave=False, delay=1.0)


def facts(facts: dict[str, str]) -> list[str]:
    """Returns aligned lines, a name and what it is."""
    lines: list[str] = []
    for name, text in facts.items():
        wrapped = textwrap.wrap(text, WIDTH - 18, break_on_hyphens=False) or [""]
        lines.append(f"  {name:<15} {wrapped[0]}")
        lines += [" " * 18 + line for line in wrapped[1:]]
    return lines


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns aligned lines below others; the first column to the left, the others to the right."""
    return [f"  {line}".rstrip() for line in aligned([headers, *rows])]


def shape(dims: Iterable[str], sizes: Iterable[int]) -> str:
    """Returns axes with their sizes."""
    return "(" + ", ".join(f"{d} {n}" for d, n in zip(dims, sizes, strict=True)) + ")"


def span(points: np.ndarray) -> str:
    """Returns the ends of an axis."""
    return f"{points[0]:g} to {points[-1]:g}"


def times(rows: np.ndarray) -> str:
    """Returns the ends of times (trajectory, time), and where trajectories have others.

    NaN lies beyond a trajectory's own steps.
    """
    return _spans(rows, TIME_TOLERANCE)


def points(rows: np.ndarray) -> str:
    """Returns the ends of grid points (trajectory, point), and where trajectories have others."""
    return _spans(rows, SPACE_TOLERANCE)


def _spans(rows: np.ndarray, tolerance: float) -> str:
    axes = [row[None, np.isfinite(row)] for row in rows]
    if (shared := common(axes, tolerance)) is not None:
        return span(shared)
    shown = dict.fromkeys(span(axis[0]) for axis in axes)
    more = f", … ({len(shown)} spans)" if len(shown) > 4 else ""
    return f"differs between trajectories: {'; '.join(list(shown)[:4])}{more}"


def counts(steps: np.ndarray) -> str:
    """Returns the steps of trajectories, and how many have them."""
    different = dict(zip(*np.unique(steps, return_counts=True), strict=True))
    if len(different) == 1:
        return f"{steps[0]}"
    return ", ".join(f"{n} in {k} trajector{'ies' if k > 1 else 'y'}" for n, k in different.items())


def size(count: float) -> str:
    """Returns a number of bytes in their unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def origin(record: dict[str, Any], artifact: Path) -> list[str]:
    """Returns where an artifact comes from, and what has changed since."""
    inputs = {name: _input(entry) for name, entry in record["inputs"].items()}
    lines = ["", "Made by"]
    lines += facts({"stage": record["stage"]})
    config = {key: plain(value) for key, value in record["config"].items()}
    lines += facts({key: text for key, text in config.items() if text})
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    lines += ["", "From", *facts(inputs), *facts({"versions": versions})]
    found = differences(record, artifact)
    code = [line for line in found if line.startswith("code: ")]
    absent = [line for line in found if line.endswith(ELSEWHERE)]
    stale = [line for line in found if line not in (*code, *absent)]
    state = (
        "Not known to be current: not all that it was made from is here" if absent else "Current"
    )
    lines += ["", "Stale: what it was made from has changed" if stale else state]
    lines += [f"  {line}" for line in (*stale, *absent)]
    if absent:
        lines.append("  Paths are those of the folder where the pipeline ran: inspect from there.")
    lines += [f"  {line} (reported only; nothing is computed again for it)" for line in code]
    return lines


def _input(entry: Any) -> str:
    if isinstance(entry, dict):
        return f"{entry['path']} (SHA-256 {entry['sha256'][:12]})"
    if not entry:
        return "none"
    total = size(sum(item["bytes"] for item in entry))
    names = entry[0]["path"] + (f" … {entry[-1]['path']}" if len(entry) > 1 else "")
    return f"{len(entry)} file{'s' * (len(entry) > 1)}, {total}: {names}"


def plain(value: Any) -> str:
    """Returns a piece of configuration in one line, settings that are empty left out."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if v is not None and v != {} and v != []}
        return ", ".join(
            f"{k} {{{plain(v)}}}" if isinstance(v, dict) else f"{k} {plain(v)}"
            for k, v in kept.items()
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(plain, value)) + "]"
    return str(value)
