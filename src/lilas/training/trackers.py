"""Trackers: TensorBoard, or Weights & Biases offline, shows trainings as they go.

A tracker is told the entries of the history. Its files lie in the training's folder, by the name of
what is trained, and are written anew whenever the training begins or goes on, from the history so
far: whatever a kill lost, or left beyond the checkpoint, each step is shown once. Nothing else that
lies there is touched, neither what others track nor trainings of another configuration.
"""

import os
import shutil
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from lilas.errors import LilasError
from lilas.files import digest
from lilas.records.histories import Entry
from lilas.records.provenance import flat


def check_tracker(kind: str) -> None:
    """Refuses a tracker that is not installed.

    Raises:
        LilasError: how to install it.
    """
    if kind == "none":
        return
    try:
        version(kind)
    except PackageNotFoundError:
        raise LilasError(
            f"tracker: {kind} is not installed. Run `make install EXTRAS={kind}`, or set tracker "
            "to none in config.yaml."
        ) from None


class Tracker:
    """Shows a training. One that fails is given up with a warning, and the training goes on.

    Args:
        kind: none, tensorboard or wandb.
        folder: The training's, whose path is what it is called.
        making: As `lilas.records.provenance.making` has it; its configuration is shown, too.

    Raises:
        LilasError: the tracker is not installed.
    """

    def __init__(
        self, kind: str = "none", folder: Path = Path(), making: dict[str, Any] | None = None
    ) -> None:
        check_tracker(kind)
        self.kind, self.folder, self.making = kind, folder, making or {}
        self._run: _Run | None = None

    def begin(self, history: Sequence[Entry]) -> None:
        """Shows the history so far, in place of what was shown of this training before."""
        if self.kind == "none":
            return
        with self._given_up_if_it_fails():
            seconds = history[-1].get("seconds") if history else None
            begun = time.time() - (seconds or 0)
            self._run = _RUNS[self.kind](self.folder, self.making, begun)
        self.add(history)

    def add(self, entries: Iterable[Entry]) -> None:
        """Shows what has come to the history."""
        with self._given_up_if_it_fails():
            if self._run is not None:
                self._run.add(entries)

    def end(self, whole: bool) -> None:
        """Ends what is shown, of a training that is done or of one that is to go on."""
        with self._given_up_if_it_fails():
            if self._run is not None:
                self._run.end(whole)
        self._run = None

    @contextmanager
    def _given_up_if_it_fails(self) -> Iterator[None]:
        try:
            yield
        except (Exception, SystemExit) as error:
            # Whatever it is, a training of days is worth more; W&B may end the program.
            warnings.warn(
                f"{self.kind} fails, and shows no more of this training until it goes on from a "
                f"checkpoint ({type(error).__name__}: {error})",
                stacklevel=4,
            )
            run, self._run = self._run, None
            if run is not None:
                with suppress(Exception, SystemExit):
                    run.drop()


class _Run(Protocol):
    """A training as a tracker has it: opened by its folder, its making and when it began."""

    def __init__(self, folder: Path, making: dict[str, Any], begun: float) -> None: ...

    def add(self, entries: Iterable[Entry]) -> None: ...

    def end(self, whole: bool) -> None: ...

    def drop(self) -> None:
        """Lets go what has failed."""


class _TensorBoard:
    def __init__(self, folder: Path, making: dict[str, Any], begun: float) -> None:
        # It comes with torch, which others here do not wait for.
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        self.begun = begun
        own = folder / "tensorboard" / _name(making)
        # Emptied and not deleted: one who looks on would wait for them, and never open the new one.
        for file in own.glob("events.*"):
            os.truncate(file, 0)
        # And forgets what they said.
        self.writer = SummaryWriter(str(own), purge_step=0)
        told = {
            key: value if isinstance(value, bool | int | float | str) else str(value)
            for key, value in flat({"name": str(folder), **making.get("config", {})}).items()
        }
        for summary in hparams(told, dict.fromkeys(("loss", "valid_loss"))):
            self.writer.file_writer.add_summary(summary)

    def add(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            # Time is that of the steps, whatever was between a kill and what went on.
            when = self.begun + entry["seconds"] if entry.get("seconds") is not None else None
            for name, value in _values(entry).items():
                self.writer.add_scalar(name, value, entry["step"], when)
        self.writer.flush()

    def end(self, whole: bool) -> None:
        self.writer.close()

    def drop(self) -> None:
        self.writer.close()


class _WandB:
    def __init__(self, folder: Path, making: dict[str, Any], begun: float) -> None:
        # Nothing is sent, errors of its own neither.
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        import wandb

        # The same when it goes on, another one where something else is trained.
        own = _name([str(folder.resolve()), making])
        for run in (folder / "wandb").glob(f"offline-run-*-{own}"):
            # What another process still has open may stay for a while on network file systems.
            shutil.rmtree(run, ignore_errors=True)
        # It would take another one than it cannot write to, without a word.
        (folder / "wandb").mkdir(exist_ok=True)
        self.teardown = wandb.teardown
        self.run = wandb.init(
            mode="offline",
            dir=folder,
            project=os.environ.get("WANDB_PROJECT", "lilas"),
            id=own,
            name=str(folder),
            config={"name": str(folder), **making.get("config", {})},
            # Numbers of the training alone: neither the machine's, nor the console, nor code.
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                save_code=False,
                x_disable_stats=True,
                x_disable_meta=True,
                x_disable_machine_info=True,
            ),
        )

    def add(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.run.log(_values(entry), step=entry["step"], commit=True)

    def end(self, whole: bool) -> None:
        self.run.finish(exit_code=0 if whole else 1)
        # Waits until all is in its file.
        self.teardown()

    def drop(self) -> None:
        self.teardown(1)


_RUNS: dict[str, type[_Run]] = {"tensorboard": _TensorBoard, "wandb": _WandB}


def _name(value: Any) -> str:
    """Returns a short name of a JSON value."""
    return digest(value)[:16]


def _values(entry: Entry) -> dict[str, float]:
    """Returns the numbers of an entry: what is null, such as the loss of skipped steps, is none."""
    return {key: value for key, value in entry.items() if key != "step" and value is not None}
