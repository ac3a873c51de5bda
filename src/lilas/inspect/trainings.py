"""What a training leaves: weights, history, checkpoint."""

import math
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure

from lilas.errors import broken
from lilas.files import digest, sha256
from lilas.inspect import pictures, text
from lilas.inspect.inspection import ELSEWHERE, Inspection
from lilas.records.archives import damage
from lilas.records.histories import read_history, tabulate
from lilas.records.provenance import check_record
from lilas.records.weights import read_record, read_weights

_GOES_ON = "Run its training again: it goes on from a checkpoint that is whole, or says what to do."
# How archives begin.
_ARCHIVE = b"PK"


def inspect_weights(path: Path) -> Inspection:
    """Inspects weights, one in memory at a time."""
    record = check_record(path, read_record(path))
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
    if "trained" in record:
        which = f"as {record['inputs']['model']['path']} has them"
    elif "official" in record:
        which = f"as the official run {record['official']['run']} has them"
    what = "emulator" if "emulator" in record["config"] else "autoencoder"
    lines = [f"{path}: weights of the {what}, {which}", ""]
    lines += text.facts(
        {
            "parameters": f"{total:,} {' and '.join(sorted(kinds))}".strip(),
            "SHA-256": sha256(path)[:12],
        }
    )
    rows = [
        [name, f"{e['tensors']}", f"{e['numbers']:,}", f"{e['low']:.4g}", f"{e['high']:.4g}"]
        for name, e in modules.items()
    ]
    lines += ["", *text.table(["module", "tensors", "parameters", "min", "max"], rows)]
    history = path.with_name("history.jsonl")
    curve = read_history(history) if history.is_file() else pd.DataFrame()
    return Inspection([*lines, *text.origin(record, path)], _curve(curve, path.parent.name))


def inspect_history(path: Path) -> Inspection:
    """Inspects the history of a training."""
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
        if history["seconds"].notna().any():
            facts["seconds"] = f"{history['seconds'].iloc[-1]:.1f}"
        numbers = history.select_dtypes("number").drop(columns=["step", "skipped", "seconds"])
        rows = [
            [name, *(f"{v:.6g}" for v in (values.min(), values.mean(), values.max()))]
            for name, values in numbers.items()
        ]
        lines += [*text.facts(facts), "", *text.table(["", "min", "mean", "max"], rows)]
    else:
        lines += ["  Nothing was trained here: pixel space has no weights."]
    weights = path.with_name("weights.safetensors")
    if weights.is_file():
        lines += [
            "",
            f"Of the training of {weights}",
            *text.origin(check_record(weights, read_record(weights)), weights),
        ]
    else:
        lines += ["", "No weights lie beside it: the training has not finished."]
    return Inspection(lines, _curve(history, path.parent.name))


def _curve(history: pd.DataFrame, name: str) -> Callable[[], Figure] | None:
    return partial(pictures.losses, history, name) if len(history) else None


def inspect_checkpoint(path: Path) -> Inspection:
    """Inspects a checkpoint, without running what it may hold."""
    if what := damage(path):
        found, action = f"another file ({what})", ELSEWHERE
        with open(path, "rb") as file:
            if file.read(2) == _ARCHIVE:
                found, action = f"a damaged file ({what})", _GOES_ON
        raise broken(path, "a checkpoint of LILAS", found, action)
    try:
        # Without code: a checkpoint of unknown origin must not run anything.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        found = f"another file ({str(error).splitlines()[0]})"
        raise broken(path, "a checkpoint of LILAS", found, ELSEWHERE) from None
    if not isinstance(state, dict) or not {"making", "model", "step", "best"} <= set(state):
        raise broken(path, "a checkpoint of LILAS", "another PyTorch file", ELSEWHERE)
    last = state["history"][-1] if state["history"] else {}
    facts = {
        "step": f"{state['step']}",
        "best loss": f"{state['best_loss']:.6g}, in validation",
        "last loss": f"{last['loss']:.6g}" if last.get("loss") is not None else "none",
        "skipped": f"{state['skipped']} steps with gradients not finite",
        "parameters": f"{sum(value.numel() for value in state['model'].values()):,}",
        "average": "kept" if state["average"] is not None else "none",
        "of training": f"{digest(state['making'])[:12]} (hash of its configuration and inputs)",
    }
    lines = [f"{path}: checkpoint of a training, from which it resumes", "", *text.facts(facts)]
    return Inspection(lines, _curve(tabulate(state["history"]), path.parent.parent.name))
