"""The state of a training: weights, optimiser, average and course, saved and resumed."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lilas import processes
from lilas.errors import LilasError, broken
from lilas.training.checkpoints import (
    difference,
    last_checkpoint,
    load_checkpoint,
    save_checkpoint,
    set_aside,
)
from lilas.training.optimizers import make_optimizer
from lilas.training.start import trained

Entry = dict[str, float | None]


class Training:
    """The state of a training: everything that a checkpoint holds."""

    def __init__(
        self, model: nn.Module, settings: dict[str, Any], folder: Path, making: dict[str, Any]
    ) -> None:
        self.model, self.settings = model, settings
        # As it is read back: JSON knows no tuples.
        self.path, self.making = folder / "checkpoint.pt", json.loads(json.dumps(making))
        self.optimizer = make_optimizer(trained(model), settings)
        self.average = (
            {key: value.detach().clone() for key, value in model.state_dict().items()}
            if settings["ema"]
            else None
        )
        self.step, self.skipped, self.in_a_row = 0, 0, 0
        self.best_loss, self.best = math.inf, self.weights()
        self.begun = self.best
        self.history: list[Entry] = []
        # Losses of the steps since the last entry of the history.
        self.losses: list[Tensor] = []
        # Seconds of the steps so far; unknown of what an earlier version began.
        self.seconds: float | None = 0.0

    @property
    def share(self) -> float:
        """How much of the training is done: of its steps, or of its hours."""
        if self.settings["steps"] is not None:
            return self.step / self.settings["steps"]
        return (self.seconds or 0.0) / (3600 * self.settings["budget"]["hours"])

    def count(self, seconds: float) -> None:
        """Adds to the seconds of the steps; where these decide, they are those of all processes."""
        if self.seconds is not None:
            self.seconds += seconds
        if self.settings["steps"] is None:
            self.seconds = processes.from_first(self.seconds)

    def weights(self) -> dict[str, Tensor]:
        """The weights to evaluate: the average where there is one."""
        state = self.average if self.average is not None else self.model.state_dict()
        return {key: value.detach().cpu().clone() for key, value in state.items()}

    def update_average(self) -> None:
        if self.average is None:
            return
        # A young average forgets faster, or it would remember the initial weights for long.
        decay = min(self.settings["ema"], (1 + self.step) / (10 + self.step))
        for key, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.average[key].lerp_(value, 1 - decay)
            else:
                self.average[key].copy_(value)

    def save(self) -> None:
        if not processes.is_first():
            return
        save_checkpoint(
            self.path,
            {
                "making": self.making,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": self.average,
                "step": self.step,
                "skipped": self.skipped,
                "in_a_row": self.in_a_row,
                "best_loss": self.best_loss,
                "best": self.best,
                "history": self.history,
                "losses": [value.cpu() for value in self.losses],
                "seconds": self.seconds,
            },
        )

    def resume(self) -> None:
        state = self._goes_on() if processes.is_first() else None
        # Nobody looks at the file before the first process has the folder for itself.
        step = processes.from_first(state["step"] if state else None)
        if step is None:
            return
        if state is None:
            if not self.path.is_file():
                raise broken(
                    self.path,
                    "the checkpoint that another process goes on from",
                    "nothing",
                    "Keep results where all machines see them.",
                )
            state = load_checkpoint(self.path)
            if state["step"] != step:
                raise broken(
                    self.path,
                    f"the checkpoint of step {step}, which another process goes on from",
                    f"one of step {state['step']}",
                    "Keep results where all machines see the same files, and run again.",
                )
        device = next(self.model.parameters()).device
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for index, saved in state["optimizer"]["state"].items():
            _restore_precision(self.optimizer.state[parameters[index]], saved)
        self.best = state["best"]
        if state["average"] is not None:
            self.average = {key: value.to(device) for key, value in state["average"].items()}
        self.step, self.skipped, self.in_a_row = (
            state["step"],
            state["skipped"],
            state["in_a_row"],
        )
        self.best_loss, self.history = state["best_loss"], state["history"]
        # An earlier version saved where it had logged, and nothing was left over.
        self.losses = [value.to(device) for value in state.get("losses", [])]
        logged = self.history[-1].get("seconds") if self.history else 0.0
        self.seconds = state.get("seconds", logged)

    def _goes_on(self) -> dict[str, Any] | None:
        """Returns the checkpoint of this training; one of another is set aside."""
        state = last_checkpoint(self.path)
        if state is None:
            return None
        if (reason := difference(state, self.making, self.settings)) is None:
            return state
        set_aside(self.path, reason)
        return None

    def check_alike(self) -> None:
        """Refuses to go on where processes have come to hold other weights."""
        if not processes.alike(list(self.model.state_dict().values())):
            raise LilasError(
                f"{self.path.parent}: {processes.count()} processes have other weights at step "
                f"{self.step}. Train on machines of one kind with the same software, or with one "
                "process; it goes on from its last checkpoint."
            )

    def check(self) -> None:
        """Refuses a training that is not one: few steps counted, none did, weights not finite."""
        folder = self.path.parent
        told = f"{advice(self.settings)} To begin anew, delete {folder}."
        if 2 * self.skipped > self.step:
            raise LilasError(
                f"{folder}: {self.skipped} of {self.step} steps were skipped, since their "
                f"gradients were not finite. {told}"
            )
        last = self.weights()
        if all(torch.equal(value, last[key]) for key, value in self.begun.items()):
            raise LilasError(
                f"{folder}: {self.step} steps have changed no weight: gradients are zero, or the "
                "learning rate is less than weights are rounded to. Raise it or check the data; "
                f"to begin anew, delete {folder}."
            )
        for state in (last, self.best):
            if bad := [key for key, value in state.items() if not torch.isfinite(value).all()]:
                raise LilasError(f"{folder}: the weights {bad[0]} are not finite. {told}")


def advice(settings: dict[str, Any]) -> str:
    """Returns what to do about numbers that are not finite."""
    return (
        f"Lower the learning rate, {settings['learning_rate']:g}, or check the data; in a sweep, "
        "leave out the value that this folder is named by."
    )


def _restore_precision(loaded: Any, saved: Any) -> None:
    """Puts back what torch's optimisers cast to the parameters' type when they load a state."""
    for key in saved if isinstance(saved, dict) else range(len(saved)):
        if isinstance(saved[key], dict | list):
            _restore_precision(loaded[key], saved[key])
        elif isinstance(saved[key], Tensor) and saved[key].dtype != loaded[key].dtype:
            loaded[key] = saved[key].to(loaded[key].device)
