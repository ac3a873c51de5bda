"""Files of metrics: one tidy Parquet per evaluation, written as it comes and read checked.

A row is a number: of a metric, a field, a lead time, a trajectory and a run. Curves, such as power
spectra, have a row per place along the curve, in `at`; the others leave it empty.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lilas.errors import LilasError, broken
from lilas.files import atomic
from lilas.records.provenance import as_json, making, metrics_fingerprint

_NAME = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("dataset", _NAME),
        ("autoencoder", _NAME),
        ("compression", pa.float64()),
        ("emulator", _NAME),
        ("method", _NAME),
        ("sampler", _NAME),
        ("context", pa.int32()),
        # The step of lead time 0, and which way in time lead times go from there.
        ("start", pa.int32()),
        ("direction", _NAME),
        ("members", pa.int32()),
        ("relative_to", _NAME),
        ("trajectory", pa.int32()),
        ("field", _NAME),
        ("lead_time", pa.int32()),
        ("metric", _NAME),
        ("at", pa.float64()),
        ("value", pa.float64()),
    ]
)
# What tells one run's rows from another's.
KEYS = [
    "dataset",
    "autoencoder",
    "compression",
    "emulator",
    "method",
    "sampler",
    "context",
    "start",
    "direction",
    "members",
]
_ACTION = "Delete it and run again."
# Rows of a Parquet row group, and in memory while they are written.
GROUP = 100_000


def write_metrics(
    path: Path,
    tables: Iterable[pd.DataFrame],
    names: dict[str, Any],
    record: dict[str, Any],
    part: Sequence[int] = (1, 1),
    units: Mapping[str, tuple[str, str]] | None = None,
) -> None:
    """Writes metrics as Parquet, table by table as they come.

    Args:
        path: The file.
        tables: Rows, some of one trajectory each; a missing `at` is empty.
        names: Columns that are the same in every row.
        record: Provenance, kept in the file's metadata, beside the seconds that it took.
        part: Which it is of how many parts, for `join_metrics`.
        units: Of each component, the name of its field and its unit in the data, "" without.
    """
    if part[1] > 1:
        record = record | {"part": list(part)}
    begun = time.monotonic()
    with _writer(path, record) as writer:
        for group in _grouped(tables):
            whole = group.assign(**{k: v for k, v in names.items() if k not in group})
            if "at" not in whole:
                whole["at"] = np.nan
            writer.write_table(pa.Table.from_pandas(whole[SCHEMA.names], writer.schema, safe=True))
        seconds = f"{time.monotonic() - begun:.3f}"
        writer.add_key_value_metadata({"seconds": seconds, "units": json.dumps(dict(units or {}))})


def join_metrics(path: Path, parts: Sequence[Path], record: dict[str, Any]) -> None:
    """Writes the rows of parts, one part after the other, as one file, with the seconds of all.

    Args:
        path: The file.
        parts: The files of its parts, in order.
        record: Provenance of the whole.

    Raises:
        LilasError: a part is damaged, or of something else.
    """
    seconds = 0.0
    with _writer(path, record) as writer:
        for number, part in enumerate(parts, 1):
            made = metrics_record(part)
            if made.get("part") != [number, len(parts)] or making(made) != making(record):
                expected = f"part {number} of {len(parts)} of {path.name}"
                raise broken(part, expected, "the metrics of something else", _ACTION)
            for group in _groups(part):
                writer.write_table(group)
            seconds += metrics_seconds(part) or 0.0
        units = json.dumps(metrics_units(parts[0]))
        writer.add_key_value_metadata({"seconds": f"{seconds:.3f}", "units": units})


@contextmanager
def _writer(path: Path, record: dict[str, Any]) -> Iterator[pq.ParquetWriter]:
    record = record | {"metrics": metrics_fingerprint()}
    schema = SCHEMA.with_metadata({"lilas": as_json(record)})
    # A page with its sum: what has changed on the disk is told, and not averaged.
    settings = {"write_page_checksum": True}
    with atomic(path) as part, pq.ParquetWriter(part, schema, **settings) as writer:
        yield writer


def _groups(path: Path) -> Iterator[pa.Table]:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield from map(file.read_row_group, range(file.num_row_groups))
    except (pa.ArrowException, OSError) as error:
        raise broken(path, "a metrics file", f"{error}", _ACTION) from None


def keep_metrics(path: Path, record: dict[str, Any], whole: Path | None = None) -> bool:
    """Whether metrics that this very code made of these inputs are there; as new if they are.

    Args:
        path: Their file.
        record: Of what would be made.
        whole: What they would be joined to; where it is there, an empty file stands for them.
    """
    try:
        made = metrics_record(whole or path)
    except (LilasError, FileNotFoundError):
        return False
    code = record["code"], metrics_fingerprint()
    if making(made) != making(record) or (made["code"], made["metrics"]) != code:
        return False
    path.touch()
    return True


def _grouped(tables: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Yields the tables joined to about GROUP rows: many small row groups read slowly."""
    waiting: list[pd.DataFrame] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= GROUP:
            yield pd.concat(waiting, ignore_index=True)
            waiting = []
    if waiting:
        yield pd.concat(waiting, ignore_index=True)


def read_metrics(path: Path) -> pd.DataFrame:
    """Returns the scalar metrics of a file, a row each, without the column `at`.

    Raises:
        LilasError: the file is damaged, has other columns, or holds a value that is not finite.
    """
    return _read(path, curves=False).drop(columns="at")


def read_curves(path: Path) -> pd.DataFrame:
    """Returns the curves of a file, a row per place `at` along them; errors as `read_metrics`."""
    return _read(path, curves=True)


def _read(path: Path, *, curves: bool) -> pd.DataFrame:
    try:
        schema = pq.read_schema(path)
        if not schema.equals(SCHEMA):
            raise broken(path, ", ".join(SCHEMA.names), ", ".join(schema.names), _ACTION)
        condition = pc.field("at").is_valid()
        settings = {"filters": condition if curves else ~condition}
        table = pq.read_table(path, page_checksum_verification=True, **settings).to_pandas()
    except (pa.ArrowException, OSError) as error:
        raise broken(path, "a metrics file", f"{error}", _ACTION) from None
    if not np.isfinite(table["value"]).all():
        raise broken(path, "finite values", "others", _ACTION)
    return table


def metrics_record(path: Path) -> dict[str, Any]:
    """Returns the provenance that a metrics file carries.

    Raises:
        LilasError: it carries none, or is damaged.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
    except pa.ArrowException as error:
        raise broken(path, "a metrics file", f"{error}", _ACTION) from None
    if b"lilas" not in metadata:
        action = "Give the path of one that LILAS wrote."
        raise broken(path, "metrics with the record of their making", "none", action)
    try:
        return json.loads(metadata[b"lilas"])
    except ValueError as error:
        raise broken(path, "a record in JSON", f"a damaged one ({error})", _ACTION) from None


def metrics_seconds(path: Path) -> float | None:
    """Returns how long decoding and scoring took; None where there is no such file."""
    if not path.is_file():
        return None
    return float(pq.read_metadata(path).metadata[b"seconds"])


def metrics_units(path: Path) -> dict[str, tuple[str, str]]:
    """Returns the field and the unit of each component of a file of metrics; of older ones none."""
    return json.loads(pq.read_metadata(path).metadata.get(b"units", b"{}"))
