"""The loss of a batch, shared out among processes and cut into micro-batches.

Every sample keeps its place in the batch, and so what it draws; the mean of the parts' losses is
the loss of the batch, for one that is a mean over its samples. Only sums are rounded otherwise.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lilas import processes
from lilas.devices import arithmetic
from lilas.draws import Draws
from lilas.errors import LilasError
from lilas.seeds import derive

# Of windows, labels (batch, feature) and random numbers of the samples, to a scalar.
Loss = Callable[[Tensor, Tensor, Draws], Tensor]


class _Lost(nn.Module):
    """A model that is called for its loss, which is all that a wrapper of modules sees."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, windows: Tensor, label: Tensor, draws: Draws) -> Tensor:
        return self.loss(windows, label, draws)


class Objective:
    """The loss of a model on batches of which each process has a part, and its gradients.

    Args:
        model: The module whose parameters are trained; the same in all processes.
        loss: Of some samples of a batch; a mean over them.
        settings: The keys of `lilas.study.training.Train`.

    Raises:
        LilasError: the processes do not divide a batch, or micro-batches a process's part.
    """

    def __init__(self, model: nn.Module, loss: Loss, settings: dict[str, Any]) -> None:
        self.samples = range(settings["batch_size"])[processes.part(settings["batch_size"])]
        self.size = min(settings["micro_batch"] or len(self.samples), len(self.samples))
        self.precision = settings["precision"]
        if len(self.samples) % self.size:
            raise LilasError(
                f"train: micro_batch {self.size} does not divide the {len(self.samples)} samples "
                f"of batch_size {settings['batch_size']} that each of {processes.count()} "
                "processes has; allowed: one that does, or null"
            )
        self.inner = _Lost(model, loss)
        # Its hooks average the gradients of all processes.
        self.module = DistributedDataParallel(self.inner) if processes.count() > 1 else self.inner

    def gradients(self, windows: Tensor, label: Tensor, seed: int) -> Tensor:
        """Adds the gradients of the batch's loss, and returns it.

        Args:
            windows: Those of this process.
            label: Theirs.
            seed: Seed of the step, which the global generator was given too.

        Raises:
            LilasError: of several processes, where a parameter takes no part in the loss.
        """
        if processes.rank():
            # Dropout is drawn for the samples together: others draw other masks.
            torch.manual_seed(derive(seed, processes.rank()))
        value = torch.zeros((), device=windows.device)
        parts = list(self._parts(windows, label, seed))
        for i, part in enumerate(parts):
            waits = i + 1 < len(parts) and processes.count() > 1
            with self.module.no_sync() if waits else nullcontext():
                with arithmetic(self.precision, windows.device):
                    lost = self.module(*part)
                if len(parts) > 1:
                    lost = lost / len(parts)
                lost.backward()
            value = lost.detach() if len(parts) == 1 else value + lost.detach()
        if processes.count() > 1:
            self._check_gradients()
            # What the optimiser draws is the same in all processes.
            torch.manual_seed(seed)
        return processes.mean(value)

    @torch.no_grad()
    def value(self, windows: Tensor, label: Tensor, seed: int) -> Tensor:
        """Returns the loss of a batch; arguments as of `gradients`."""
        values = []
        for part in self._parts(windows, label, seed):
            with arithmetic(self.precision, windows.device):
                values.append(self.inner(*part))
        return processes.mean(values[0] if len(values) == 1 else torch.stack(values).mean())

    def _parts(
        self, windows: Tensor, label: Tensor, seed: int
    ) -> Iterator[tuple[Tensor, Tensor, Draws]]:
        for start in range(0, len(windows), self.size):
            some = slice(start, start + self.size)
            yield windows[some], label[some], Draws(seed, self.samples[some])

    def _check_gradients(self) -> None:
        for name, parameter in self.inner.model.named_parameters():
            if parameter.requires_grad and parameter.grad is None:
                raise LilasError(
                    f"{name} takes no part in the loss, which several processes cannot train: give "
                    "it one, or requires_grad=False, or train with one process"
                )
