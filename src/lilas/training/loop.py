"""The training loop: one for autoencoders and emulators, resumable to the bit.

Whatever is random in a step is derived from the seed, the step's number and, for windows,
augmentation, masks and noise, the sample's place in the batch (dropout is drawn for the batch as a
whole). So the step is the whole random state: a run that is killed and started again repeats the
arithmetic of one that never stopped, on CPU with the same threads to the last bit.

Several processes take the same steps, each with its part of a batch and the gradients of the whole;
the first one alone writes. None of the files tells how many there were.
"""

import json
import math
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lilas import processes
from lilas.data.windows import Windows
from lilas.errors import LilasError
from lilas.files import writing
from lilas.locks import locked
from lilas.progress import progress
from lilas.seeds import derive
from lilas.training.objective import Loss, Objective
from lilas.training.start import to_training
from lilas.training.state import Entry, Training, advice
from lilas.training.stopping import asked_to_stop
from lilas.training.trackers import Tracker

# A run is given up after this many steps in a row with non-finite gradients.
PATIENCE = 100
# Seed streams of training and validation steps.
_TRAIN, _VALID = 10, 11


@dataclass
class Outcome:
    """What a training leaves: weights by name, of the last step and of the best validation."""

    last: dict[str, Tensor]
    best: dict[str, Tensor]
    history: list[Entry] = field(repr=False)


def fit(
    model: nn.Module,
    loss: Loss,
    train: Windows,
    valid: Windows,
    *,
    settings: dict[str, Any],
    seed: int,
    folder: Path,
    making: dict[str, Any],
    name: str,
    checkpoint_seconds: float = 60.0,
    tracker: Tracker | None = None,
) -> Outcome:
    """Trains a model and returns its weights and history.

    Running it again resumes from the last checkpoint, or returns at once when it had finished.

    Args:
        model: The module whose parameters are trained, on the windows' device.
        loss: Maps windows, labels (batch, feature) and random numbers of the samples to a scalar,
            using `model`; a mean over the samples.
        train: Training windows.
        valid: Validation windows.
        settings: The keys of `lilas.study.training.Train`.
        seed: Seed of everything random in the training but the windows, which have their own.
        folder: Checkpoint folder; a lock in it keeps a second trainer out.
        making: What is being trained, as `lilas.records.provenance.making` has it. A checkpoint of
            something else is set aside, and what makes it another is said.
        name: Shown beside the progress bar.
        checkpoint_seconds: Time between checkpoints; 0 saves one after every step.
        tracker: Shows the history as it goes, and changes no number.

    Raises:
        LilasError: another process trains in this folder, gradients stay non-finite or were in
            more than half of the steps, no weight changed, weights or validation are not finite,
            the disk is full, or processes differ in their weights.
        KeyboardInterrupt: it was asked to stop, and has saved a checkpoint.
    """
    with locked(folder) if processes.is_first() else nullcontext():
        training = Training(model, settings, folder, making)
        training.resume()
        objective = Objective(model, loss, settings)
        tracker = tracker or Tracker()
        try:
            _loop(training, objective, train, valid, seed, name, checkpoint_seconds, tracker)
        finally:
            tracker.end(training.share >= 1)
        training.check()
        return Outcome(training.weights(), training.best, training.history)


def _loop(
    training: Training,
    objective: Objective,
    train: Windows,
    valid: Windows,
    seed: int,
    name: str,
    checkpoint_seconds: float,
    tracker: Tracker,
) -> None:
    settings, total = training.settings, training.settings["steps"]
    saved = time.monotonic()
    _write_live(training, training.history, "w")
    tracker.begin(training.history)
    # What cannot be validated on is told before the first step, not hours later.
    valid.batch(0)
    log_every = max(1, total // 500 if total else settings["validate_every"] // 10)
    begun, over = time.monotonic(), training.share >= 1
    bar = progress(total=total, initial=training.step, desc=name, unit="step")
    with bar, asked_to_stop() as stops:
        while not over:
            value, norm = _train_step(training, objective, train, seed)
            training.losses.append(value)
            begun = _count(training, begun)
            over = training.share >= 1
            validates = training.step % settings["validate_every"] == 0 or over
            if training.step % log_every == 0 or validates:
                entry = _entry(training, norm)
                # Once the losses have come from the device, and before a validation.
                begun = _count(training, begun)
                entry["seconds"] = training.seconds
                if validates:
                    entry["valid_loss"] = _validate(training, objective, valid, seed)
                training.losses = []
                training.history.append(entry)
                _write_live(training, [entry], "a")
                tracker.add([entry])
                bar.set_postfix(
                    {key: entry[key] for key in ("loss", "valid_loss") if key in entry},
                    refresh=False,
                )
                # Neither validations nor checkpoints are steps.
                begun = time.monotonic()
            # Of several processes the first one saves, and the others end when it has gone.
            stopped = stops() and processes.is_first()
            if stopped or time.monotonic() - saved >= checkpoint_seconds:
                training.save()
                saved = begun = time.monotonic()
            if stopped:
                raise KeyboardInterrupt
            bar.update()
    training.save()


def _count(training: Training, begun: float) -> float:
    """Adds the time since then to the seconds of a training; returns what time it is."""
    now = time.monotonic()
    training.count(now - begun)
    return now


def _write_live(training: Training, entries: list[Entry], mode: str) -> None:
    """Writes the history so far, or what has come to it, beside the checkpoint."""
    live = training.path.with_name("history.jsonl")
    if processes.is_first():
        with writing(live), open(live, mode, encoding="utf-8") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in entries)


def _train_step(
    training: Training, objective: Objective, train: Windows, seed: int
) -> tuple[Tensor, Tensor]:
    """Takes one step; returns the loss, NaN where it is skipped, and the gradient norm."""
    settings = training.settings
    random = derive(seed, training.step, _TRAIN)
    torch.manual_seed(random)
    factor = learning_rate_factor(training.step, settings, training.share)
    for group in training.optimizer.param_groups:
        group["lr"] = settings["learning_rate"] * factor
    to_training(training.model)
    windows, label = train.batch(training.step)
    value = objective.gradients(windows, label, random)
    parameters = [p for p in training.model.parameters() if p.grad is not None]
    norm = torch.nn.utils.clip_grad_norm_(parameters, settings["clip"] or math.inf)
    if torch.isfinite(norm):
        training.optimizer.step()
        training.in_a_row = 0
    else:
        value = torch.full_like(value, math.nan)
        training.skipped += 1
        training.in_a_row += 1
        if training.in_a_row >= PATIENCE:
            raise LilasError(
                f"{training.path.parent}: gradients were not finite for {PATIENCE} steps in a row, "
                f"at step {training.step}. {advice(settings)}"
            )
    training.optimizer.zero_grad(set_to_none=True)
    training.step += 1
    training.update_average()
    return value, norm


def _entry(training: Training, norm: Tensor) -> Entry:
    losses = torch.stack(training.losses).tolist()
    finite = [value for value in losses if math.isfinite(value)]
    return {
        "step": training.step,
        # The mean over the steps that counted, null where all were skipped.
        "loss": sum(finite) / len(finite) if finite else None,
        "learning_rate": training.optimizer.param_groups[0]["lr"],
        "gradient_norm": norm.item() if math.isfinite(norm.item()) else None,
        "skipped": training.skipped,
    }


@torch.no_grad()
def _validate(training: Training, objective: Objective, valid: Windows, seed: int) -> float:
    """Returns the mean loss over the validation batches, always the same ones."""
    training.check_alike()
    current = {key: value.clone() for key, value in training.model.state_dict().items()}
    weights = training.weights()
    training.model.load_state_dict(weights)
    training.model.eval()
    values = []
    for batch in range(training.settings["validation_batches"]):
        windows, label = valid.batch(batch)
        values.append(objective.value(windows, label, derive(seed, batch, _VALID)))
    training.model.load_state_dict(current)
    mean = sum(torch.stack(values).tolist()) / len(values)
    if not math.isfinite(mean):
        raise LilasError(
            f"{training.path.parent}: the validation loss is not finite at step {training.step}. "
            + advice(training.settings)
        )
    if mean < training.best_loss:
        training.best_loss, training.best = mean, weights
    return mean


def learning_rate_factor(step: int, settings: dict[str, Any], share: float = 0.0) -> float:
    """Returns the learning rate at a step as a fraction of its peak.

    Linear warm-up over `warmup` steps, then, with s the fraction of the remaining steps done, or of
    a budget of hours the share that is used: cosine (1 + cos(pi s))/2, linear 1 - s, exponential
    1e-2^s, constant 1. The official code sets the rate once per epoch; ours is the same where
    epochs begin.
    """
    warmup, steps = settings["warmup"], settings["steps"]
    if step < warmup:
        return (step + 1) / warmup
    s = share if steps is None else (step - warmup) / (steps - warmup)
    return {
        "cosine": (1 + math.cos(math.pi * s)) / 2,
        "linear": 1 - s,
        "exponential": 1e-2**s,
        "constant": 1.0,
    }[settings["schedule"]]
