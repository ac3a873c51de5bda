"""Weights that a training starts from: in a file of ours, or in a run of the official code."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lilas.data.well import WellFile
from lilas.errors import LilasError, broken
from lilas.official.entries import preprocessing_statistics
from lilas.official.folders import CONFIG, open_run
from lilas.official.models import load_run_autoencoder, load_run_emulator
from lilas.records.provenance import check_record
from lilas.records.weights import load_state
from lilas.training.start import begin

_ACTION = "Name others under train.start.from."


def start_inputs(files: Sequence[Path]) -> dict[str, Path]:
    """Returns the files of what a training starts from, if any, as inputs of its record.

    A file of weights is one, as is the zip of an official run; such a run's folder has two.
    """
    if len(files) == 1:
        return {"start": files[0]}
    return {f"start {file.name}": file for file in files}


def start_from(
    model: nn.Module, kind: str, files: Sequence[Path], start: Any, data: WellFile | None = None
) -> None:
    """Starts a model from weights, as `lilas.training.start.begin`.

    Args:
        model: The model, its weights drawn.
        kind: autoencoder or emulator.
        files: A file of weights of ours; or the zip of an official run, or its two files. None
            where there is no start.
        start: A `lilas.study.starts.Start`, or None.
        data: What an autoencoder is trained on.

    Raises:
        LilasError: a file is damaged, or of another kind or other channels, or its weights do not
            fit.
    """
    if (start is None) != (not files):
        raise LilasError("--start: expected files where the configuration has train.start, only")
    if start is None:
        return
    ours = files[0].suffix == ".safetensors"
    fields, state = (_ours if ours else _official)(kind, files)
    if data is not None:
        own = [channel.name for channel in data.channels]
        # A field stands for its components.
        stands = [[c.name for c in data.channels if field in (c.field, c.name)] for field in fields]
        if [*chain(*stands)] != own or not all(stands):
            raise broken(files[0], f"channels {', '.join(own)}", ", ".join(fields), _ACTION)
    try:
        begin(model, state, start, f"{kind}.train.start")
    except LilasError as error:
        raise LilasError(f"{files[0]}: {error}") from None


def _ours(kind: str, files: Sequence[Path]) -> tuple[list[str], dict[str, Tensor]]:
    """Returns the fields and the weights of a file of ours."""
    record, state = load_state(files[0])
    config = check_record(files[0], record)["config"]
    if kind not in config:
        raise broken(
            files[0], f"weights of an {kind}", f"those of stage {record['stage']}", _ACTION
        )
    return config.get("states", {}).get("fields", []), state


def _official(kind: str, files: Sequence[Path]) -> tuple[list[str], dict[str, Tensor]]:
    """Returns the channels and the weights, by our names, of an official run."""
    run = open_run(files[0] if files[0].suffix == ".zip" else files[0].parent)
    if (run.kind == "autoencoder") != (kind == "autoencoder"):
        raise broken(run.path / CONFIG, f"a run of an {kind}", f"of kind {run.kind}", _ACTION)
    load = load_run_autoencoder if kind == "autoencoder" else load_run_emulator
    return list(preprocessing_statistics(run)["channels"]), load(run)[1].state_dict()
