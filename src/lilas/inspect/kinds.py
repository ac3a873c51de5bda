"""What an artifact is: its shape, ranges, origin and whether it is still current.

Every kind of file that the pipeline writes has one function here, which reads it block by block
and returns the lines to print and the picture to draw.
"""

import json
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
import xarray as xr
import zarr
from matplotlib.figure import Figure

from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels, read_states
from lilas.data.well import BOUNDARIES, SUFFIXES, WellFile, open_files, open_well
from lilas.display import spaced
from lilas.errors import LilasError, broken
from lilas.evaluation.physics import SCORES
from lilas.files import read_json, sha256
from lilas.inspect import pictures
from lilas.inspect.catalogue import INSPECTED
from lilas.inspect.text import (
    _array_ranges,
    _facts,
    _origin,
    _plain,
    _shape,
    _size,
    _span,
    _state_ranges,
    _table,
)
from lilas.models.autoencoder import Autoencoder
from lilas.models.build import load_autoencoder
from lilas.models.latents import STORED, decode
from lilas.records import stores
from lilas.records.histories import read_history, tabulate
from lilas.records.scores import read_curves, read_scores, scores_record
from lilas.records.weights import read_record, read_weights
from lilas.report.summary import by_horizon, by_trajectory

# Columns of a picture, and rows of latent channels and of members at most.
PANELS, CHANNELS, MEMBERS = 5, 8, 4
ELSEWHERE = "Give the path of one that LILAS wrote."

Decoder = tuple[Autoencoder, Preprocessing, WellFile]


@dataclass(frozen=True)
class Inspection:
    """What is known of an artifact.

    Attributes:
        lines: To print.
        draw: Draws its picture; None where there is nothing to see.
    """

    lines: list[str]
    draw: Callable[[], Figure] | None = None


def inspect(path: Path) -> Inspection:
    """Inspects one artifact of the pipeline, in memory bounded by a trajectory.

    Raises:
        LilasError: there is no such file, it is of no known kind, or it is damaged.
    """
    if not path.exists():
        raise broken(path, "an artifact of LILAS", "nothing", "Correct the path.")
    by_suffix: dict[str, Callable[[Path], Inspection]] = {
        **dict.fromkeys(SUFFIXES, _data_file),
        ".safetensors": _weights,
        ".jsonl": _history,
        ".zarr": _store,
        ".parquet": _metrics,
        ".pt": _checkpoint,
        ".json": _json,
    }
    if path.suffix not in by_suffix or path.is_dir() != (path.suffix == ".zarr"):
        raise _unknown(path)
    return by_suffix[path.suffix](path)


def _unknown(path: Path) -> LilasError:
    found = "a folder" if path.is_dir() else "something else"
    known = "; ".join(f"{name} ({what})" for name, what in INSPECTED.items())
    return broken(path, "a file of a kind that inspect knows", found, f"They are: {known}.")


# --- Ranges -----------------------------------------------------------------------------------


# --- Lines ------------------------------------------------------------------------------------


# --- Data and statistics ----------------------------------------------------------------------


def _data_file(path: Path) -> Inspection:
    file = open_well(path)
    names = [channel.name for channel in file.channels]
    dims = ("trajectory", "time", "channel", *file.dimensions)
    shape = (len(names), *file.shape)
    sizes = (file.trajectories, file.steps, *shape)
    facts = {
        "states": f"float32 {_shape(dims, sizes)}, {_size(path.stat().st_size)} on disk",
        "time": f"{_span(file.time)}, unit: {file.time_units}",
        **{f"{name} axis": f"{_span(x)}" for name, x in file.coordinates.items()},
        "grid": file.grid,
        "boundaries": ", ".join(
            f"{name} {' / '.join(_boundary_names(codes))}"
            for name, codes in zip(file.dimensions, file.boundaries, strict=True)
        ),
        **{name: _values(values) for name, values in file.parameters.items()},
    }
    ranges = _state_ranges(partial(read_states, file), *sizes[:2], shape)
    lines = [f"{path}: data file of {file.dataset}, in The Well's layout", "", *_facts(facts)]
    lines += ["", "Channels, in the data's own units (the format names none)", *ranges.lines(names)]
    lines += ["", "Its source: The Well's format holds no record of its making."]

    def draw() -> Figure:
        steps = spaced(file.steps, PANELS)
        states = np.concatenate([read_states(file, 0, slice(i, i + 1)) for i in steps])
        titles = [f"time {file.time[i]:g}" for i in steps]
        rows = {name: states[:, i] for i, name in enumerate(names)}
        return pictures.panels(rows, titles, "Trajectory 0")

    return Inspection(lines, draw)


def _boundary_names(codes: np.ndarray) -> list[str]:
    names = {code: name for name, code in BOUNDARIES.items()}
    return [names[code] for code in dict.fromkeys(codes.tolist())]


def _values(values: np.ndarray) -> str:
    different = np.unique(values)
    shown = ", ".join(f"{value:g}" for value in different[:6])
    return shown + (f", … ({len(different)} values)" if len(different) > 6 else "")


def _json(path: Path) -> Inspection:
    value = read_json(path)
    if {"channels", "provenance"} <= set(value):
        return _statistics(path, value)
    if {"kind", "provenance"} <= set(value):
        if value["kind"] == "zarr":
            return _latents(path, stores.open_store(path, *STORED))
        return _pixel_latents(path, value)
    raise _unknown(path)


def _statistics(path: Path, value: dict[str, Any]) -> Inspection:
    # An official autoencoder brings what it was trained with, and no more.
    computed = value["provenance"]["stage"] == "statistics"
    keys = ("min", "mean", "max", "std", "count") if computed else ("mean", "std")
    rows = []
    for name, entry in value["channels"].items():
        if missing := [key for key in (*keys, "transform") if key not in entry]:
            action = "Delete it and run again."
            raise broken(path, f"{missing[0]} of channel {name}", "none", action)
        kind = _plain(entry["transform"]).removeprefix("kind ")
        shown = [f"{entry[key]:.6g}" if key != "count" else str(entry[key]) for key in keys]
        rows.append([name, *shown, kind])
    which = "of the training split" if computed else "as an official run was trained with"
    lines = [f"{path}: statistics {which}", ""]
    lines += [
        "Channels, after their transform, in the unit of the transformed field",
        *_table(["channel", *keys, "transform"], rows),
    ]
    return Inspection([*lines, *_origin(value["provenance"])])


# --- Trainings --------------------------------------------------------------------------------


def _weights(path: Path) -> Inspection:
    record = read_record(path)
    modules: dict[str, dict[str, float]] = {}
    kinds: set[str] = set()
    for key, tensor in read_weights(path):
        kinds.add(str(tensor.dtype).removeprefix("torch."))
        entry = modules.setdefault(
            ".".join(key.split(".")[:3]),
            {"tensors": 0, "numbers": 0, "low": math.inf, "high": -math.inf},
        )
        entry["tensors"] += 1
        entry["numbers"] += tensor.numel()
        entry["low"] = min(entry["low"], tensor.min().item())
        entry["high"] = max(entry["high"], tensor.max().item())
    total = sum(entry["numbers"] for entry in modules.values())
    which = "of the best validation" if path.stem.endswith("_best") else "of the last step"
    if "official" in record:
        which = f"as the official run {record['official']['run']} has them"
    lines = [f"{path}: weights of the {record['stage']}, {which}", ""]
    lines += _facts(
        {
            "parameters": f"{total:,} {' and '.join(sorted(kinds))}".strip(),
            "SHA-256": sha256(path)[:12],
        }
    )
    rows = [
        [name, f"{e['tensors']}", f"{e['numbers']:,}", f"{e['low']:.4g}", f"{e['high']:.4g}"]
        for name, e in modules.items()
    ]
    lines += ["", *_table(["module", "tensors", "parameters", "min", "max"], rows)]
    history = path.with_name("history.jsonl")
    curve = read_history(history) if history.is_file() else pd.DataFrame()
    return Inspection([*lines, *_origin(record)], _curve(curve, path.parent.name))


def _history(path: Path) -> Inspection:
    history = read_history(path)
    lines = [f"{path}: history of a training, {len(history)} entries", ""]
    if len(history):
        valid = history.dropna(subset=["valid_loss"])
        facts = {"steps": f"{history['step'].iloc[-1]}"}
        facts |= {
            "loss": f"{history['loss'].iloc[0]:.6g} first, {history['loss'].iloc[-1]:.6g} last"
        }
        if len(valid):
            best = valid.loc[valid["valid_loss"].idxmin()]
            last = valid["valid_loss"].iloc[-1]
            facts["valid_loss"] = f"{best['valid_loss']:.6g} best, at step {best['step']:.0f}; "
            facts["valid_loss"] += f"{last:.6g} last"
        facts["skipped"] = f"{history['skipped'].iloc[-1]} steps with gradients not finite"
        numbers = history.select_dtypes("number").drop(columns=["step", "skipped"])
        rows = [
            [name, *(f"{v:.6g}" for v in (values.min(), values.mean(), values.max()))]
            for name, values in numbers.items()
        ]
        lines += [*_facts(facts), "", *_table(["", "min", "mean", "max"], rows)]
    else:
        lines += ["  Nothing was trained here: pixel space has no weights."]
    weights = path.with_name("weights.safetensors")
    if weights.is_file():
        lines += ["", f"Of the training of {weights}", *_origin(read_record(weights))]
    else:
        lines += ["", "No weights lie beside it: the training has not finished."]
    return Inspection(lines, _curve(history, path.parent.name))


def _curve(history: pd.DataFrame, name: str) -> Callable[[], Figure] | None:
    return partial(pictures.losses, history, name) if len(history) else None


def _checkpoint(path: Path) -> Inspection:
    try:
        # Without code: a checkpoint of unknown origin must not run anything.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise broken(path, "a checkpoint of LILAS", f"another file ({reason})", ELSEWHERE) from None
    if not isinstance(state, dict) or not {"fingerprint", "model", "step", "best"} <= set(state):
        raise broken(path, "a checkpoint of LILAS", "another PyTorch file", ELSEWHERE)
    last = state["history"][-1] if state["history"] else {}
    facts = {
        "step": f"{state['step']}",
        "best loss": f"{state['best_loss']:.6g}, in validation",
        "last loss": f"{last['loss']:.6g}" if last.get("loss") is not None else "none",
        "skipped": f"{state['skipped']} steps with gradients not finite",
        "parameters": f"{sum(value.numel() for value in state['model'].values()):,}",
        "average": "kept" if state["average"] is not None else "none",
        "of training": f"{state['fingerprint'][:12]} (hash of its configuration and inputs)",
    }
    lines = [f"{path}: checkpoint of a training, from which it resumes", "", *_facts(facts)]
    return Inspection(lines, _curve(tabulate(state["history"]), path.parent.parent.name))


# --- Latents and rollouts ---------------------------------------------------------------------


def _store(path: Path) -> Inspection:
    try:
        dataset = xr.open_zarr(path)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise broken(path, "a Zarr store of LILAS", f"another ({reason})", ELSEWHERE) from None
    if {"truth", "member", "lead_time"} <= dataset.variables.keys() and dataset.attrs:
        return _frames(path, dataset)
    if not dataset.variables.keys() >= set(STORED) or "provenance" not in dataset.attrs:
        found = ", ".join(map(str, dataset.variables)) or "nothing"
        expected = f"the variables {', '.join(STORED)} and provenance"
        raise broken(path, expected, found, ELSEWHERE)
    return _latents(path, dataset)


def _latents(path: Path, dataset: xr.Dataset) -> Inspection:
    """Inspects a store of latents or of rollouts: they differ in their leading axes."""
    record = json.loads(dataset.attrs["provenance"])
    rollouts = record["stage"] == "rollout"
    latent = dataset["latent"]
    array = zarr.open_array(dataset.encoding["source"], path="latent", mode="r")
    bytes_ = math.prod(array.shape) * array.dtype.itemsize
    facts = {
        "latent": f"{array.dtype} {_shape(latent.dims, latent.shape)}, unit "
        f"{latent.attrs['units']}, {_size(bytes_)}",
        "chunk": f"{_shape(latent.dims, array.chunks)}, {_size(_bytes(array, array.chunks))}",
        "shard": f"{_shape(latent.dims, array.shards)}, {_size(_bytes(array, array.shards))}",
        "time": f"{_span(dataset['time'].values)}, unit: "
        f"{dataset['time'].attrs.get('units', 'unspecified')}",
    }
    if rollouts:
        leads = dataset["lead_time"].values
        facts["lead time"] = f"{leads[0]} to {leads[-1]} solver steps, every {dataset.stride}"
        facts["context"] = f"{dataset.context} true state{'s' * (dataset.context > 1)}"
        facts["trajectories"] = _plain(dataset["trajectory"].values.tolist())
        what = "rollouts, stored as latents"
    else:
        facts["compression"] = f"{dataset.compression:g}"
        facts["autoencoder"] = f"SHA-256 {dataset.autoencoder_sha256[:12]}"
        facts["features"] = ", ".join(dataset["feature"].values)
        what = f"latents of {dataset.dataset}"
    facts["files"] = ", ".join(dict.fromkeys(dataset["file"].values))
    ranges = _array_ranges(array, latent.dims)
    channels = [f"latent {i}" for i in range(latent.sizes["channel"])]
    lines = [f"{path}: {what}", "", *_facts(facts), "", "Channels", *ranges.lines(channels)]
    lines += _origin(record)
    try:
        decoder = _decoder(record)
    except LilasError as error:
        decoder = None
        lines += ["", f"Picture shows latents alone; they cannot be decoded: {error}"]
    draw = _rollout_picture if rollouts else _latent_picture
    return Inspection(lines, lambda: draw(dataset, decoder))


def _bytes(array: zarr.Array, shape: tuple[int, ...]) -> int:
    return math.prod(shape) * array.dtype.itemsize


def _decoder(record: dict[str, Any]) -> Decoder:
    """Returns what decodes latents: the recorded autoencoder, statistics and a data file.

    Raises:
        LilasError: one of them is gone, or the autoencoder is another by now.
    """
    inputs = record["inputs"]
    weights = Path(inputs["autoencoder"]["path"])
    if record["stage"] == "rollout":
        latents = read_json(inputs["latents"]["path"], ("provenance",))["provenance"]
    else:
        latents = record
    if missing := sorted({"files", "statistics"} - set(latents["inputs"])):
        raise LilasError(f"they were imported without {' and '.join(missing)}")
    made = inputs["autoencoder"]["sha256"]
    if weights.is_file() and (now := sha256(weights)) != made:
        action = "Run the pipeline again."
        raise broken(weights, f"SHA-256 {made[:12]}", now[:12], action)
    preprocessing = Preprocessing.read(latents["inputs"]["statistics"]["path"])
    first = latents["inputs"]["files"][0]["path"]
    file = open_well(first, latents["config"]["states"]["fields"])
    return load_autoencoder(weights, file, torch.device("cpu")), preprocessing, file


def _latent_picture(dataset: xr.Dataset, decoder: Decoder | None) -> Figure:
    """Draws the first trajectory: its decoded fields, then its latent channels."""
    steps = spaced(dataset.sizes["time"], PANELS)
    latents = dataset["latent"].isel(augmentation=0, trajectory=0, time=steps).values
    rows = {}
    if decoder:
        autoencoder, preprocessing, file = decoder
        decoded = _decode(latents, autoencoder, preprocessing)
        rows = {f"decoded {c.name}": decoded[:, i] for i, c in enumerate(file.channels)}
    rows |= {f"latent {i}": latents[:, i] for i in range(min(CHANNELS, latents.shape[1]))}
    titles = [f"time {dataset['time'].values[i]:g}" for i in steps]
    return pictures.panels(rows, titles, "Trajectory 0, first copy")


def _rollout_picture(dataset: xr.Dataset, decoder: Decoder | None) -> Figure:
    """Draws the members of the first trajectory over lead time, in the first field."""
    steps = spaced(dataset.sizes["time"], PANELS)
    members = range(min(MEMBERS, dataset.sizes["member"]))
    chosen = dataset["latent"].isel(trajectory=0, member=list(members), time=steps).values
    states, name = chosen[:, :, 0], "latent 0"
    if decoder:
        autoencoder, preprocessing, file = decoder
        states = _decode(chosen, autoencoder, preprocessing)[:, :, 0]
        name = f"decoded {file.channels[0].name}"
    titles = [f"lead time {dataset['lead_time'].values[i]}" for i in steps]
    row = int(dataset["trajectory"][0])
    return pictures.panels(
        {f"member {i}": states[i] for i in members},
        titles,
        f"{name}, test trajectory {row}",
        shared=True,
    )


def _frames(path: Path, dataset: xr.Dataset) -> Inspection:
    truth, leads = dataset["truth"], dataset["lead_time"].values
    facts = {name: str(dataset.attrs[name]) for name in ("dataset", "autoencoder")}
    facts |= {name: str(dataset.attrs[name]) for name in ("emulator", "sampler", "compression")}
    facts["states"] = f"{truth.dtype} {_shape(truth.dims, truth.shape)}, physical units"
    facts["members"] = f"{dataset.sizes['member']}, beside mean and spread of all"
    facts["lead time"] = f"{len(leads)} from {leads[0]} to {leads[-1]} solver steps"
    facts["trajectories"] = _plain(dataset["trajectory"].values.tolist())
    lines = [f"{path}: frames, decoded rollouts beside the truth", "", *_facts(facts)]
    for name in ("truth", "mean", "spread"):
        ranges = _array_ranges(zarr.open_array(path, path=name, mode="r"), truth.dims)
        lines += ["", f"Channels of {name}", *ranges.lines(dataset["channel"].values.tolist())]

    def draw() -> Figure:
        steps = spaced(len(leads), PANELS)
        rows = {
            name: dataset[name].isel(trajectory=0, channel=0, time=steps).values
            for name in ("truth", "autoencoder", "mean")
        }
        for i in range(dataset.sizes["member"]):
            chosen = dataset["member"].isel(trajectory=0, member=i, channel=0, time=steps)
            rows[f"member {i}"] = chosen.values
        field, row = dataset["channel"].values[0], int(dataset["trajectory"][0])
        titles = [f"lead time {leads[i]}" for i in steps]
        return pictures.panels(rows, titles, f"{field}, test trajectory {row}", shared=True)

    return Inspection([*lines, *_origin(json.loads(dataset.attrs["provenance"]))], draw)


@torch.inference_mode()
def _decode(
    latents: np.ndarray, autoencoder: Autoencoder, preprocessing: Preprocessing
) -> np.ndarray:
    return decode(latents, autoencoder, preprocessing, torch.device("cpu")).numpy()


def _pixel_latents(path: Path, entry: dict[str, Any]) -> Inspection:
    record = entry["provenance"]
    files = open_files(
        [path.parent / name for name in entry["files"]], record["config"]["states"]["fields"]
    )
    preprocessing = Preprocessing.read(path.parent / entry["statistics"])
    pixels = Pixels(files, preprocessing, record["config"]["label"])
    names = [channel.name for channel in files[0].channels]
    dims = ("trajectory", "time", "channel", *files[0].dimensions)
    facts = {
        "latent": f"float32 {_shape(dims, (pixels.rows, pixels.steps, *pixels.shape))}, unit 1, "
        "read from the data files; no copy is written",
        "compression": "1",
        "time": f"{_span(files[0].time)}, unit: {files[0].time_units}",
        "files": ", ".join(file.path.name for file in files),
    }
    ranges = _state_ranges(pixels.read, pixels.rows, pixels.steps, pixels.shape)
    lines = [f"{path}: latents of {files[0].dataset} in pixel space", "", *_facts(facts)]
    lines += ["", "Channels, standardised", *ranges.lines(names), *_origin(record)]

    def draw() -> Figure:
        steps = spaced(pixels.steps, PANELS)
        states = np.concatenate([pixels.read(0, slice(i, i + 1)) for i in steps])
        titles = [f"time {files[0].time[i]:g}" for i in steps]
        rows = {f"{name}, standardised": states[:, i] for i, name in enumerate(names)}
        return pictures.panels(rows, titles, "Trajectory 0")

    return Inspection(lines, draw)


# --- Metrics ----------------------------------------------------------------------------------


def _metrics(path: Path) -> Inspection:
    metrics, curves = read_scores(path), read_curves(path)
    if b"lilas" not in (pq.read_schema(path).metadata or {}):
        raise broken(path, "metrics with the record of their making", "none", ELSEWHERE)
    record = scores_record(path)
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
    lines += _facts({name: text for name, text in facts.items() if text})
    groups = table.groupby(["emulator", "relative_to"], sort=False, observed=True)
    for (emulator, reference), part in groups:
        rows = [
            [
                f"{name}, {field}" if field else name,
                SCORES[name].orientation if name in SCORES else "",
                *map(_interval, cells.to_dict("records")),
            ]
            for (name, field), cells in part.groupby(["metric", "field"], sort=False, observed=True)
        ]
        lines += ["", f"{emulator}, relative to the {reference}: means over trajectories, fields"]
        lines += ["and lead times, and their 95 % intervals over trajectories"]
        lines += _table(["metric", "better", *dict.fromkeys(part["horizon"])], rows)
    return Inspection([*lines, *_origin(record)], partial(pictures.curves, metrics))


def _interval(cell: dict[str, Any]) -> str:
    if not np.isfinite(cell["low"]):
        return f"{cell['value']:.4g}"
    return f"{cell['value']:.4g} [{cell['low']:.4g}, {cell['high']:.4g}]"
