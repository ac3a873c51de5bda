"""A training from the trajectories that it sees to the files that it leaves."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from lilas import processes
from lilas.data.windows import Source, Windows
from lilas.records.histories import write_history
from lilas.records.provenance import making
from lilas.records.weights import write_weights
from lilas.seeds import derive
from lilas.training.budget import in_steps
from lilas.training.loop import Outcome, fit
from lilas.training.objective import Loss
from lilas.training.trackers import Tracker


def make_windows(
    sources: Sequence[Source],
    augment: Callable[..., torch.Tensor] | None,
    *,
    length: int,
    stride: int = 1,
    settings: dict[str, Any],
    seed: int,
    device: torch.device,
) -> list[Windows]:
    """Returns the windows to train on and those to validate on.

    Args:
        sources: The trajectories of the train and of the valid split.
        augment: Augmentation of batches; emulators and autoencoders are validated without.
        length: States in a window.
        stride: Solver steps between the states of a window.
        settings: The keys of `lilas.study.training.Train`.
        seed: Seed of the training.
        device: Where batches are wanted.
    """
    return [
        Windows(
            source,
            length=length,
            stride=stride,
            batch_size=settings["batch_size"],
            seed=derive(seed, i),
            device=device,
            memory=settings["memory_gb"] * 1e9,
            augment=one,
        )
        for i, (source, one) in enumerate(zip(sources, (augment, None), strict=True))
    ]


def train(
    model: nn.Module,
    loss: Loss,
    windows: Sequence[Windows],
    *,
    settings: dict[str, Any],
    seed: int,
    record: dict[str, Any],
    files: Namespace,
) -> Outcome:
    """Trains a model, from its last checkpoint where there is one.

    Args:
        model: The module whose parameters are trained.
        loss: Of windows and labels.
        windows: Those to train on and those to validate on.
        settings: The keys of `lilas.study.training.Train`.
        seed: Seed of the training.
        record: Provenance; a checkpoint of another making is set aside.
        files: What `lilas.stages.add_training` parses.
    """
    name = "/".join(files.weights.parts[-3:-1])
    kind = files.tracker if processes.is_first() else "none"
    return fit(
        model,
        loss,
        *windows,
        settings=in_steps(model, loss, windows[0], settings, name),
        seed=derive(seed, 2),
        folder=files.checkpoint,
        making=making(record),
        name=name,
        checkpoint_seconds=files.seconds,
        tracker=Tracker(kind, files.weights.parent, making(record)),
    )


def write_training(
    files: Namespace, outcome: Outcome, record: dict[str, Any], about: str | None
) -> None:
    """Writes what a training leaves; the weights last, for they tell that it is done.

    Args:
        files: As of `train`.
        outcome: Of the training.
        record: Provenance.
        about: What is known of the data, as `write_weights` takes it.
    """
    if not processes.is_first():
        return
    write_history(files.history, outcome.history)
    write_weights(files.best, outcome.best, record, about)
    write_weights(files.weights, outcome.last, record, about)
