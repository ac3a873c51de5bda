"""What trackers show of a training, by their own readers: each step once, whatever killed it."""

import json
import math
import os
import signal
import struct
import subprocess
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from lilas.errors import LilasError
from lilas.training import state
from lilas.training.trackers import Tracker, check_tracker
from test_training import ask_to_stop, fit, same

MAKING = {
    "stage": "emulator",
    "version": 1,
    "config": {"emulator": {"method": "diffusion", "train": {"steps": 30, "betas": [0.9, 0.5]}}},
    "inputs": {},
}
NAMES = {"loss", "valid_loss", "learning_rate", "gradient_norm", "skipped", "seconds"}


def tensorboard(folder: Path) -> tuple[dict[str, dict[int, float]], dict[str, object]]:
    """Numbers by name and step, and the configuration, of the one training in a folder."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    events = opened(folder).Reload()
    told = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    told = HParamsPluginData.FromString(told).session_start_info.hparams
    numbers = {}
    for name in events.Tags()["scalars"]:
        found = [(one.step, one.value) for one in events.Scalars(name)]
        assert len(dict(found)) == len(found), f"{name} has a step twice"
        numbers[name] = dict(found)
    return numbers, {key: getattr(one, one.WhichOneof("kind")) for key, one in told.items()}


def opened(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (own,) = (folder / "tensorboard").iterdir()
    return EventAccumulator(str(own), size_guidance={"scalars": 0})


def wandb(folder: Path) -> tuple[dict[str, dict[int, float]], dict[str, object]]:
    """The same of the one run of Weights & Biases in a folder, by its own records."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    numbers, told = {}, {}
    for data in records(path.read_bytes()):
        record = Record.FromString(data)
        if record.run.config.update:
            told |= {one.key: json.loads(one.value_json) for one in record.run.config.update}
        items = record.history.item
        row = {".".join(one.nested_key): json.loads(one.value_json) for one in items}
        step = row.get("_step")
        for name in row.keys() & NAMES:
            own = numbers.setdefault(name, {})
            assert step not in own, f"{name} has step {step} twice"
            own[step] = row[name]
    return numbers, told


def records(data: bytes) -> list[bytes]:
    """The records of a log in LevelDB's format: pieces in blocks of 32 KiB, behind a header."""
    found, at = [], 7
    while len(data) - at >= 7:
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, at)
        piece = data[at + 7 : at + 7 + size]
        at += 7 + size
        # Whole and first pieces begin a record, middle and last ones go on with it.
        found = [*found, piece] if kind in (1, 2) else [*found[:-1], found[-1] + piece]
    return found


READERS = {"tensorboard": tensorboard, "wandb": wandb}
KINDS = [
    pytest.param(kind, marks=pytest.mark.skipif(not find_spec(kind), reason=f"no {kind}"))
    for kind in READERS
]


def expected(history: list[dict[str, float | None]]) -> dict[str, dict[int, float]]:
    """Numbers by name and step, in the precision that TensorBoard has too."""
    found: dict[str, dict[int, float]] = {name: {} for name in NAMES}
    for entry in history:
        for name in entry.keys() - {"step"}:
            if entry[name] is not None:
                found[name][entry["step"]] = np.float32(entry[name])
    return found


def rounded(numbers: dict[str, dict[int, float]]) -> dict[str, dict[int, float]]:
    return {name: {k: np.float32(v) for k, v in its.items()} for name, its in numbers.items()}


def killed(folder: Path, call: int, **options) -> None:
    """Trains in a process that kills itself at a call of the loss, and saved up to step 10."""
    if (child := os.fork()) == 0:
        try:
            save = state.save_checkpoint
            state.save_checkpoint = lambda path, what: what["step"] > 10 or save(path, what)
            kill = (call, lambda _: os.kill(os.getpid(), signal.SIGKILL))
            fit(folder / "checkpoint", broken=[SKIP, kill], making=MAKING, **options)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


# The third step has no finite loss.
SKIP = (2, lambda value: value * math.nan)


@pytest.mark.parametrize("kind", KINDS)
def test_each_step_is_shown_once_whatever_was_killed(tmp_path, kind):
    """Steps beyond the checkpoint are taken, and shown, again; it costs no bit."""
    whole = fit(tmp_path / "whole", broken=[SKIP])
    folder = tmp_path / "flow" / "c32-s0"
    folder.mkdir(parents=True)
    # In the midst of step 17: two validations of four batches are calls, too.
    killed(folder, 24, tracker=Tracker(kind, folder, MAKING))
    if kind == "tensorboard":
        # One who looks on all the time; the names of files have the second in them.
        events = opened(folder).Reload()
        time.sleep(1.1)
        assert [one.step for one in events.Scalars("learning_rate")] == list(range(1, 17))
    resumed = fit(folder / "checkpoint", making=MAKING, tracker=Tracker(kind, folder, MAKING))
    assert same(whole.last, resumed.last)
    numbers, told = READERS[kind](folder)
    assert rounded(numbers) == expected(resumed.history)
    assert sorted(numbers["skipped"]) == list(range(1, 31))
    assert 3 not in numbers["loss"]
    assert told["name"] == str(folder)
    if kind == "tensorboard":
        assert told["emulator.method"] == "diffusion"
        assert (told["emulator.train.steps"], told["emulator.train.betas"]) == (30, "[0.9, 0.5]")
        events.Reload()
        assert [one.step for one in events.Scalars("learning_rate")] == list(range(1, 31))
        # The axis of time is that of the steps.
        first, last = events.Scalars("seconds")[0], events.Scalars("seconds")[-1]
        assert last.wall_time - first.wall_time == pytest.approx(last.value - first.value, abs=0.1)
    else:
        assert told["emulator"] == MAKING["config"]["emulator"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_is_told_to_end_saves_whatever_becomes_of_the_tracker(tmp_path, kind):
    """SIGTERM comes to every process of a job, that of Weights & Biases too."""

    def tell_all(value):
        line = ["ps", "-o", "pid=,comm=", "--ppid", str(os.getpid())]
        for child in subprocess.run(line, capture_output=True, text=True).stdout.splitlines():
            if child.split()[1].startswith("wandb"):
                os.kill(int(child.split()[0]), signal.SIGTERM)
                os.waitpid(int(child.split()[0]), 0)
        return ask_to_stop(value)

    before = signal.getsignal(signal.SIGTERM)
    cut = {"broken": [(24, tell_all)], "seconds": math.inf}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / "checkpoint", tracker=Tracker(kind, tmp_path, MAKING), **cut)
    assert signal.getsignal(signal.SIGTERM) is before
    failures = [str(one.message) for one in said if "until it goes on" in str(one.message)]
    assert len(failures) == (kind == "wandb")
    outcome = fit(tmp_path / "checkpoint", tracker=Tracker(kind, tmp_path, MAKING))
    numbers, _ = READERS[kind](tmp_path)
    assert rounded(numbers) == expected(outcome.history)
    assert same(outcome.last, fit(tmp_path / "whole").last)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_of_the_same_training_stays(tmp_path, kind):
    """Of a stage by hand the folder is any, and ./wandb is where others' runs are, too."""
    others = [
        tmp_path / "wandb" / "offline-run-20260101_000000-abcdefgh" / "run-abcdefgh.wandb",
        tmp_path / "tensorboard" / "events.out.tfevents.1.mine",
    ]
    for file in others:
        file.parent.mkdir(parents=True)
        file.write_text("mine")

    def show(**more: object) -> set[Path]:
        """Shows a training of a step, and returns all files that show something."""
        tracker = Tracker(kind, tmp_path, MAKING | more)
        tracker.begin([{"step": 1, "loss": 1.0}])
        tracker.end(True)
        found = [
            *tmp_path.glob("tensorboard/*/events.*"),
            *tmp_path.glob("wandb/offline-run-*/run-*.wandb"),
        ]
        return {path for path in found if path.stat().st_size} - {*others}

    (one,) = show()
    content = one.read_bytes()
    both = show(inputs={"a.hdf5": "another"})
    assert len(both) == 2
    assert one.read_bytes() == content
    assert len(show()) == 2
    assert [file.read_text() for file in others] == ["mine", "mine"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_tracker_that_fails_ends_no_training(tmp_path, kind):
    """Its folder is a file."""
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match=f"^{kind} fails, and shows no more of this training"):
        fit(tmp_path / "checkpoint", tracker=Tracker(kind, tmp_path / "file", MAKING))


def test_what_is_not_installed_is_told():
    check_tracker("none")
    with pytest.raises(LilasError, match="make install EXTRAS=no-such-tracker"):
        check_tracker("no-such-tracker")
