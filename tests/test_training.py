"""The training loop: it learns, resumes to the bit, and skips what is not finite."""

import errno
import itertools
import json
import math
import os
import re
import signal
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from conftest import fill_up
from lilas.data.windows import Windows
from lilas.devices import select_device
from lilas.errors import LilasError
from lilas.locks import locked
from lilas.records import archives
from lilas.study.training import Train
from lilas.training import budget, checkpoints, optimizers, state
from lilas.training import loop as training
from lilas.training.checkpoints import before

OPTIMIZERS = ["adam", "adamw", "soap", "psgd", "muon"]


class Waves:
    """Trajectories x[t+1] = 0.9 x[t] + label: a map that a linear model learns exactly."""

    def __init__(self, rows: int = 6, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.rows, self.steps, self.shape = rows, np.full(rows, 8), (2, 4)
        self.labels = rng.normal(size=(rows, 1)).astype(np.float32)
        states = [rng.normal(size=(rows, *self.shape))]
        for _ in range(7):
            states.append(0.9 * states[-1] + self.labels[:, :, None])
        self.states = np.stack(states, axis=1).astype(np.float32)

    def read(self, row: int, steps: slice) -> np.ndarray:
        return self.states[row][steps]


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(8, 8)
        self.shift = nn.Linear(1, 8)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x, label):
        y = self.scale(self.dropout(x.flatten(1))) + self.shift(label)
        return y.view_as(x)


def settings(**changes):
    values = {
        "steps": 30,
        "batch_size": 8,
        "optimizer": "adam",
        "learning_rate": 1e-2,
        "validate_every": min(7, changes.get("steps") or 30),
        "ema": 0.9,
        "threads": 1,
    }
    if changes.get("optimizer") in ("soap", "psgd"):
        values["precondition_every"] = 3
    return Train(**(values | changes)).model_dump()


CPU = torch.device("cpu")


def fit(
    folder,
    options=None,
    making="a",
    broken=(),
    dropout=0.1,
    rows=6,
    device=CPU,
    seconds=0,
    prepare=None,
    tracker=None,
):
    """Trains the toy; `broken` maps a step's loss to something else, by call."""
    torch.manual_seed(0)
    model = Model().to(device)
    model.dropout.p = dropout
    if prepare is not None:
        prepare(model)
    make = {"length": 2, "batch_size": 8, "device": device}
    train, valid = Windows(Waves(rows), seed=1, **make), Windows(Waves(seed=1), seed=2, **make)
    calls = iter(range(10**9))

    def loss(x, label, _):
        call = next(calls)
        value = (model(x[:, :, 0], label) - x[:, :, 1]).square().mean()
        for at, change in broken:
            if call == at and model.training:
                value = change(value)
        return value

    return training.fit(
        model,
        loss,
        train,
        valid,
        settings=options or settings(),
        seed=3,
        folder=folder,
        making=making if isinstance(making, dict) else {"config": {"name": making}, "inputs": {}},
        name="toy",
        checkpoint_seconds=seconds,
        tracker=tracker,
    )


def stop(_):
    raise KeyboardInterrupt


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def tensors(state):
    """Every tensor in nested dictionaries, lists and tuples."""
    if isinstance(state, torch.Tensor):
        return [state]
    if not isinstance(state, dict | list | tuple):
        return []
    values = state.values() if isinstance(state, dict) else state
    return [found for value in values for found in tensors(value)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("at", [5, 17])
def test_a_stopped_run_resumes_to_the_same_bits(tmp_path, optimizer, at, monkeypatch):
    """And to the same seconds, by a clock that a step puts forward: what a kill lost is no time.

    Nor are validations and checkpoints, which put it forward much further.
    """
    clock = [7.0]
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def tick(value, seconds=2.0):
        clock[0] += seconds
        return value

    for module, name in ((training, "_validate"), (state, "save_checkpoint")):
        slow = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *of, slow=slow: tick(slow(*of), 100.0))
    ticks = [(call, tick) for call in range(100)]
    options = settings(optimizer=optimizer)
    whole = fit(tmp_path / "whole", options, broken=ticks)
    assert [entry["seconds"] for entry in whole.history] == [2.0 * step for step in range(1, 31)]
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "parts", options, broken=[*ticks, (at, stop)])
    assert (tmp_path / "parts" / "checkpoint.pt").is_file()
    parts = fit(tmp_path / "parts", options, broken=ticks)
    assert same(whole.last, parts.last)
    assert same(whole.best, parts.best)
    assert whole.history == parts.history
    # A finished run returns at once with what it had.
    again = fit(tmp_path / "parts", options, broken=[(0, stop)])
    assert same(whole.last, again.last)


@pytest.fixture
def clock(monkeypatch):
    """Ends of steps, two seconds each: calls of the loss put the clock forward."""
    now = [7.0]
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def tick(value):
        now[0] += 2.0
        return value

    return [(call, tick) for call in range(10_000)]


def ask_to_stop(value):
    os.kill(os.getpid(), signal.SIGTERM)
    return value


def test_sigterm_saves_at_once_and_the_same_command_goes_on_to_the_same_bits(tmp_path, clock):
    """In the midst of what is logged together, and of what would be saved in an hour."""
    options = settings(steps=1000, validate_every=500)
    whole = fit(tmp_path / "whole", options, broken=clock, seconds=math.inf)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, options, broken=[*clock, (612, ask_to_stop)], seconds=math.inf)
    assert signal.getsignal(signal.SIGTERM) is before
    saved = torch.load(tmp_path / "checkpoint.pt")
    # Two validations of four batches came before.
    assert (saved["step"], len(saved["losses"]), saved["seconds"]) == (609, 1, 1218.0)
    parts = fit(tmp_path, options, broken=clock, seconds=math.inf)
    assert same(whole.last, parts.last)
    assert same(whole.best, parts.best)
    assert whole.history == parts.history


def test_sigterm_at_a_validation_is_heard_after_it(tmp_path):
    options = settings(steps=20, validate_every=5)
    whole = fit(tmp_path / "whole", options, seconds=math.inf)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, options, broken=[(4, ask_to_stop)], seconds=math.inf)
    saved = torch.load(tmp_path / "checkpoint.pt")
    assert saved["step"] == 5
    assert "valid_loss" in saved["history"][-1]
    assert same(whole.last, fit(tmp_path, options, seconds=math.inf).last)


def test_a_checkpoint_of_an_earlier_version_is_gone_on_from(tmp_path):
    """Which saved where it had logged, without losses and seconds."""
    options = settings(steps=20)
    whole = fit(tmp_path / "whole", options)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, options, broken=[(14, stop)])
    saved = torch.load(tmp_path / "checkpoint.pt")
    seconds = saved.pop("seconds")
    del saved["losses"]
    torch.save(saved, tmp_path / "checkpoint.pt")
    parts = fit(tmp_path, options)
    assert same(whole.last, parts.last)
    assert parts.history[saved["step"]]["seconds"] > seconds


# --- Budgets ----------------------------------------------------------------------------------


def test_a_budget_of_hours_ends_with_them_and_the_schedule_follows(tmp_path, clock):
    """Thirty steps of two seconds in a minute: the rates of thirty steps; and it resumes."""
    options = {"schedule": "linear", "ema": 0.0, "validate_every": 7}
    hours = settings(steps=None, budget={"hours": 1 / 60}, **options)
    found = fit(tmp_path / "hours", hours, broken=clock)
    assert [entry["step"] for entry in found.history] == list(range(1, 31))
    assert "valid_loss" in found.history[-1]
    rates = [1e-2 * (1 - step / 30) for step in range(30)]
    assert [entry["learning_rate"] for entry in found.history] == pytest.approx(rates)
    steps = fit(tmp_path / "steps", settings(**options), broken=clock)
    assert all(torch.allclose(found.last[key], steps.last[key], atol=1e-6) for key in found.last)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "parts", hours, broken=[*clock, (17, stop)])
    parts = fit(tmp_path / "parts", hours, broken=clock)
    assert parts.history == found.history
    assert same(parts.last, found.last)
    # A finished one returns at once.
    fit(tmp_path / "parts", hours, broken=[(0, stop)])


def lost(model):
    def loss(x, label, _):
        return (model(x[:, :, 0], label) - x[:, :, 1]).square().mean()

    return loss


@pytest.mark.parametrize(
    ("frozen", "flops"), [((), 4 * 8 * 8 * 9), (["scale"], 2 * 8 * 8 * 9 + 2 * 8 * 8)]
)
@pytest.mark.parametrize("options", [{}, {"micro_batch": 2}, {"compile": True}])
def test_a_budget_of_flops_is_so_many_steps(frozen, flops, options):
    """Products of 8 samples by matrices 8 x 8 and 8 x 1, and their gradients by the weights."""
    model = Model()
    for name in frozen:
        getattr(model, name).requires_grad_(False)
    windows = Windows(Waves(), seed=1, length=2, batch_size=8, device=CPU)
    if "compile" in options:
        # At its first call, which would need a compiler.
        model.compile()
    asked = settings(steps=None, budget={"flops": 30.5 * flops}, **options)
    found = budget.in_steps(model, lost(model), windows, asked, "toy")
    assert found == asked | {"steps": 30}
    assert all(parameter.grad is None for parameter in model.parameters())
    plain = settings()
    assert budget.in_steps(model, lost(model), windows, plain, "toy") is plain


@pytest.mark.parametrize(
    ("steps", "changes", "words"),
    [
        (0.5, {}, "toy: budget.flops 1152: a step takes 2304; allowed: at least as many"),
        (6, {}, "a step takes 2304, and in 6 steps validate_every 7 is more than steps 6"),
        (8, {"warmup": 9}, "in 8 steps warmup 9 must be shorter than steps 8"),
    ],
)
def test_a_budget_of_too_few_flops_is_refused(steps, changes, words):
    model = Model()
    windows = Windows(Waves(), seed=1, length=2, batch_size=8, device=CPU)
    asked = settings(steps=None, budget={"flops": steps * 2304}, **changes, validate_every=7)
    with pytest.raises(LilasError) as told:
        budget.in_steps(model, lost(model), windows, asked, "toy")
    assert words in str(told.value)
    assert len(str(told.value).splitlines()) == 1


def test_a_budget_that_is_raised_goes_on_where_the_schedule_is_constant(tmp_path, clock, capsys):
    def trained(folder, minutes, schedule):
        one = settings(steps=None, budget={"hours": minutes / 60}, schedule=schedule)
        return fit(tmp_path / folder, one, making=made(one), broken=clock)

    trained("parts", 1, "constant")
    parts, whole = (trained(folder, 2, "constant") for folder in ("parts", "whole"))
    assert same(parts.last, whole.last)
    assert "begins at step 0" not in capsys.readouterr().err
    trained("cosine", 1, "cosine")
    trained("cosine", 2, "cosine")
    said = capsys.readouterr().err
    assert "since autoencoder.train.budget.hours was 0.0166" in said
    assert "and the learning rates of its cosine schedule are others then" in said


def test_a_rate_that_diverges_is_told(tmp_path, monkeypatch):
    """With its value, and what to do in a sweep."""
    read = Waves.read
    monkeypatch.setattr(Waves, "read", lambda *of: 1e30 * read(*of))
    folder = tmp_path / "c16_learning_rate_0p3-s0"
    words = "validation loss .* at step 1. Lower .*, 0.3, .*in a sweep, leave out the value"
    with pytest.raises(LilasError, match=words) as told:
        fit(folder, settings(learning_rate=0.3, validate_every=1))
    assert str(told.value).startswith(f"{folder}: ")
    assert len(str(told.value).splitlines()) == 1


def test_training_learns_the_map(tmp_path):
    options = settings(steps=1500, ema=0.0, validate_every=500)
    result = fit(tmp_path, options, dropout=0.0, rows=64)
    scale = result.last["scale.weight"]
    assert torch.allclose(scale, 0.9 * torch.eye(8), atol=0.02)
    assert torch.allclose(result.last["shift.weight"], torch.ones(8, 1), atol=0.02)
    losses = [entry["valid_loss"] for entry in result.history if "valid_loss" in entry]
    assert losses[-1] < 1e-3


def test_the_best_weights_are_those_of_the_lowest_validation(tmp_path):
    """Of a training that climbs from its fifth step on; a step calls the loss five times."""
    options = {"ema": 0.0, "schedule": "constant", "validate_every": 1}
    climbs = [(call, lambda v: -v) for call in range(20, 60)]

    def trained(steps):
        folder = tmp_path / str(steps)
        return fit(folder, settings(steps=steps, **options), broken=climbs, dropout=0.0)

    result = trained(12)
    losses = [entry["valid_loss"] for entry in result.history]
    best = losses.index(min(losses)) + 1
    assert 1 < best < 12
    assert same(result.best, trained(best).last)
    assert not same(result.best, result.last)


def test_the_average_is_what_is_validated(tmp_path):
    """By hand, on the same batches as the average that is left at the end."""
    options = settings(steps=5, ema=0.5, validate_every=5)
    result = fit(tmp_path, options, dropout=0.0)
    model = Model().eval()
    model.load_state_dict(result.last)
    make = {"length": 2, "batch_size": 8, "device": torch.device("cpu")}
    batches = [Windows(Waves(seed=1), seed=2, **make).batch(number) for number in range(4)]
    with torch.no_grad():
        losses = [(model(x[:, :, 0], z) - x[:, :, 1]).square().mean().item() for x, z in batches]
    assert result.history[-1]["valid_loss"] == pytest.approx(sum(losses) / 4, rel=1e-6)


def test_another_configuration_starts_fresh_and_keeps_the_old_checkpoint(tmp_path, capsys):
    fit(tmp_path, making="a")
    other = fit(tmp_path, settings(learning_rate=2e-2), making="b")
    fresh = fit(tmp_path / "fresh", settings(learning_rate=2e-2), making="b")
    assert same(other.last, fresh.last)
    assert len(list(tmp_path.glob("*another-configuration*"))) == 1
    said = (
        'checkpoint.pt: begins at step 0, since name was "a" and is "b"; '
        "what was there is kept as checkpoint.of-another-configuration.pt\n"
    )
    assert said in capsys.readouterr().err


def made(options):
    return {"config": {"autoencoder": {"train": options}}, "inputs": {}}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_more_steps_go_on_where_the_schedule_allows(tmp_path, capsys, optimizer, schedule):
    """To the bits of a training that had as many from the beginning; else it says why not."""
    few, many = (
        settings(steps=n, optimizer=optimizer, schedule=schedule, validate_every=4) for n in (8, 20)
    )
    whole = fit(tmp_path / "whole", many, making=made(many))
    fit(tmp_path / "parts", few, making=made(few))
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "parts", many, making=made(many), broken=[(9, stop)])
    said = capsys.readouterr().err
    goes_on = schedule == "constant"
    assert torch.load(tmp_path / "parts" / "checkpoint.pt")["step"] == (13 if goes_on else 5)
    assert goes_on == ("begins at step 0" not in said)
    if not goes_on:
        assert (
            "since autoencoder.train.steps was 8 and is 20, and the learning rates of its cosine "
            "schedule are others then; those of a constant one are not; what was there is kept"
        ) in said
    parts = fit(tmp_path / "parts", many, making=made(many))
    assert same(whole.last, parts.last)
    assert same(whole.best, parts.best)
    plain = [{k: v for k, v in e.items() if k != "seconds"} for e in whole.history]
    assert plain == [{k: v for k, v in e.items() if k != "seconds"} for e in parts.history]


def test_more_steps_go_on_within_the_warm_up_and_fewer_where_it_is_not_beyond(tmp_path, capsys):
    def trained(folder, steps, broken=(), **options):
        one = settings(steps=steps, validate_every=2, **options)
        return fit(tmp_path / folder, one, making=made(one), broken=broken)

    # In the fifth step: two validations have called the loss, too.
    with pytest.raises(KeyboardInterrupt):
        trained("parts", 10, warmup=6, broken=[(12, stop)])
    parts, whole = (trained(folder, 14, warmup=6) for folder in ("parts", "whole"))
    assert "begins at step 0" not in capsys.readouterr().err
    assert same(parts.last, whole.last)
    with pytest.raises(KeyboardInterrupt):
        trained("fewer", 10, schedule="constant", broken=[(12, stop)])
    fewer, few = (trained(folder, 6, schedule="constant") for folder in ("fewer", "few"))
    assert same(fewer.last, few.last)
    assert "begins at step 0" not in capsys.readouterr().err
    trained("fewer", 4, schedule="constant")
    said = capsys.readouterr().err
    assert "since autoencoder.train.steps was 6 and is 4, and it has done 6; what was" in said


def test_a_non_finite_step_is_skipped_and_counted(tmp_path):
    result = fit(tmp_path, settings(steps=4, ema=0.0), broken=[(1, lambda v: v * math.nan)])
    assert [entry["skipped"] for entry in result.history] == [0, 1, 1, 1]
    assert result.history[1]["loss"] is None
    assert all(torch.isfinite(value).all() for value in result.last.values())
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert lines == result.history


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_skipped_step_leaves_weights_and_optimiser_as_they_were(tmp_path, optimizer):
    options = {"optimizer": optimizer, "ema": 0.0, "schedule": "constant"}
    before = fit(tmp_path / "before", settings(steps=2, **options))
    after = fit(
        tmp_path / "after", settings(steps=3, **options), broken=[(2, lambda v: v * math.inf)]
    )
    assert same(before.last, after.last)
    first, second = (
        torch.load(tmp_path / name / "checkpoint.pt")["optimizer"]["state"]
        for name in ("before", "after")
    )
    pairs = list(zip(tensors(first), tensors(second), strict=True))
    assert len(pairs) >= 4
    assert all(torch.equal(a, b) for a, b in pairs)


def test_gradients_that_never_recover_stop_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "PATIENCE", 3)
    always = [(call, lambda v: v * math.inf) for call in range(10)]
    with pytest.raises(LilasError, match="not finite for 3 steps in a row"):
        fit(tmp_path, broken=always)


@pytest.mark.parametrize(
    ("steps", "spoilt"), [(1, 1), (8, 8), (8, 5)], ids=["the only one", "all", "most"]
)
def test_a_training_in_which_most_steps_did_not_count_is_refused(tmp_path, steps, spoilt):
    bad = [(call, lambda v: v * math.nan) for call in range(spoilt)]
    for _ in range(2):
        # Also when it is asked for again, with its last checkpoint there.
        with pytest.raises(LilasError, match=rf"{spoilt} of {steps} steps were skipped"):
            fit(tmp_path, settings(steps=steps, validate_every=steps), broken=bad)
    # Half of them is a training.
    fit(tmp_path / "half", settings(steps=8, validate_every=8), broken=bad[:4])


@pytest.mark.parametrize("options", [{}, {"ema": 0}])
@pytest.mark.parametrize("cause", ["gradients", "rate"])
def test_a_training_that_changes_no_weight_is_refused(tmp_path, options, cause):
    none = [(call, lambda v: v * 0) for call in range(8)] if cause == "gradients" else []
    rate = {"learning_rate": 1e-40} if cause == "rate" else {}
    for _ in range(2):
        with pytest.raises(LilasError, match="8 steps have changed no weight"):
            fit(tmp_path, settings(steps=8, validate_every=8, **options, **rate), broken=none)


def test_what_cannot_be_validated_on_is_told_before_the_first_step(tmp_path, monkeypatch):
    def damaged(self, row, steps=slice(None)):
        if self.states is not states:
            return self.states[row][steps]
        raise LilasError("valid.hdf5: not finite")

    states = Waves(seed=1).states
    monkeypatch.setattr(Waves, "read", damaged)
    made = Waves.__init__

    def init(self, rows=6, seed=0):
        made(self, rows, seed)
        if seed == 1:
            self.states = states

    monkeypatch.setattr(Waves, "__init__", init)
    with pytest.raises(LilasError, match=r"valid\.hdf5"):
        fit(tmp_path)
    assert (tmp_path / "history.jsonl").read_text() == ""


def test_a_damaged_checkpoint_is_told(tmp_path):
    fit(tmp_path, settings(steps=3))
    path = tmp_path / "checkpoint.pt"
    before(path).unlink(missing_ok=True)
    whole = path.read_bytes()
    harmed = [whole[: len(whole) // 2], b"", b"no checkpoint"]
    with zipfile.ZipFile(path) as archive:
        # A bit of each member's first byte, behind its header.
        for member in archive.infolist():
            name, extra = (
                int.from_bytes(whole[member.header_offset + i :][:2], "little") for i in (26, 28)
            )
            damaged = bytearray(whole)
            damaged[member.header_offset + 30 + name + extra] ^= 4
            harmed.append(bytes(damaged))
    assert len(harmed) > 20
    for changed in harmed:
        path.write_bytes(changed)
        with pytest.raises(LilasError, match=r"checkpoint\.pt: expected a checkpoint, found"):
            fit(tmp_path, settings(steps=3))


def test_a_flipped_bit_among_the_names_of_an_archive_is_told_or_changes_nothing(tmp_path):
    """One of the attributes has torch read zeros in place of numbers; one calls it compressed."""
    path, values = tmp_path / "checkpoint.pt", torch.arange(1.0, 20.0)
    saved = dict.fromkeys(checkpoints.KEYS, 0) | {"making": {}, "model": values}
    checkpoints.save_checkpoint(path, saved)
    whole, read = path.read_bytes(), 0
    with zipfile.ZipFile(path) as archive:
        begin = archive.start_dir
    for place, bit in itertools.product(range(begin, len(whole)), (0x08, 0x10)):
        damaged = bytearray(whole)
        damaged[place] ^= bit
        path.write_bytes(damaged)
        try:
            found = checkpoints.load_checkpoint(path)
        except LilasError:
            continue
        assert found.keys() == saved.keys()
        assert torch.equal(found["model"], values), place - begin
        read += 1
    # Dates, and other attributes.
    assert 0 < read < 2 * (len(whole) - begin)


def test_a_checkpoint_that_memory_does_not_hold_is_not_damaged(tmp_path, monkeypatch):
    fit(tmp_path, settings(steps=3))
    whole = {path: path.read_bytes() for path in tmp_path.glob("*.pt")}

    def load(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(RuntimeError, match="allocate"):
        fit(tmp_path, settings(steps=3))
    assert whole == {path: path.read_bytes() for path in tmp_path.glob("*.pt")}


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    """A bit of the largest part of a checkpoint."""
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
    data = bytearray(path.read_bytes())
    data[largest.header_offset + largest.file_size] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [cut, flip])
def test_of_a_damaged_checkpoint_the_one_before_is_gone_on_from(tmp_path, capsys, clock, harm):
    """To the same bits, twice: what was damaged is not what is kept as the one before."""
    path, whole = tmp_path / "checkpoint.pt", fit(tmp_path / "whole", broken=clock)

    def fit_until(call):
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path, broken=[*clock, (call, stop)])

    fit_until(3)
    for step in (3, 4):
        assert (torch.load(path)["step"], torch.load(before(path))["step"]) == (step, step - 1)
        harm(path)
        harmed = path.read_bytes()
        # It ends before it has saved anything, and then after two steps more.
        fit_until(0)
        fit_until(2)
        (said,) = re.findall(r"^.*goes on from.*$", capsys.readouterr().err, re.MULTILINE)
        words = rf"checkpoint\.pt: is damaged \(.+\); goes on from step {step - 1}, of checkpoint"
        assert re.search(rf"/{words}\.before\.pt, the one before it$", said)
        assert (tmp_path / "checkpoint.damaged.pt").read_bytes() == harmed
    parts = fit(tmp_path, broken=clock)
    assert same(whole.last, parts.last)
    assert same(whole.best, parts.best)
    assert whole.history == parts.history


def test_a_kill_amid_a_save_leaves_a_checkpoint(tmp_path, monkeypatch, capsys):
    """After every rename that a save makes."""
    whole, renames = fit(tmp_path / "whole"), []
    replace = os.replace

    def rename(old, new):
        replace(old, new)
        renames.append(Path(new).name)
        if len(renames) in (9, 12, 14, 15):
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", rename)
    last, kept = "checkpoint.pt", "checkpoint.before.pt"
    # Amid the fourth one it puts the one before in its place.
    for name in (last, kept, kept, last):
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path)
        assert renames[-1] == name
    said = capsys.readouterr().err
    assert said.count("goes on from step") == 1
    assert "checkpoint.pt: is not there; goes on from step 6, of checkpoint.before.pt" in said
    assert same(whole.last, fit(tmp_path).last)


def test_where_both_checkpoints_are_damaged_both_are_told_and_kept(tmp_path):
    path = tmp_path / "checkpoint.pt"
    fit(tmp_path, settings(steps=3))
    for place in (path, before(path)):
        flip(place)
    harmed = [place.read_bytes() for place in (path, before(path))]
    words = r"checkpoint\.pt: expected .* found .*, and checkpoint\.before\.pt is .* Delete "
    with pytest.raises(LilasError, match=f"{words}{tmp_path} "):
        fit(tmp_path, settings(steps=3))
    assert harmed == [place.read_bytes() for place in (path, before(path))]


def test_a_damaged_checkpoint_of_another_configuration_is_none_to_go_on_from(tmp_path, capsys):
    path = tmp_path / "checkpoint.pt"
    fit(tmp_path, settings(steps=5))
    flip(path)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, making="b", broken=[(0, stop)])
    assert "begins at step 0" in capsys.readouterr().err
    assert torch.load(tmp_path / "checkpoint.of-another-configuration.pt")["step"] == 5
    # Neither is there to be taken for one of this training.
    assert not path.exists()
    assert not before(path).exists()
    fit(tmp_path, settings(steps=5), making="b")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, making="a", broken=[(0, stop)])
    assert not before(path).exists()


def test_a_disk_that_does_not_give_a_checkpoint_has_the_one_before(tmp_path, monkeypatch):
    fit(tmp_path, settings(steps=5))
    path = tmp_path / "checkpoint.pt"

    def fail(number):
        def archive(place):
            if place == path and path.stat().st_ino == spoilt:
                raise OSError(number, os.strerror(number), str(place))
            return zipfile.ZipFile(place)

        fake = SimpleNamespace(**vars(zipfile) | {"ZipFile": archive})
        monkeypatch.setattr(archives, "zipfile", fake)

    spoilt = path.stat().st_ino
    # Who may not read it has no damage.
    fail(errno.EACCES)
    with pytest.raises(PermissionError):
        checkpoints.last_checkpoint(path)
    fail(errno.EIO)
    assert checkpoints.last_checkpoint(path)["step"] == 5


def test_a_disk_that_is_full_at_a_checkpoint_keeps_the_one_before(tiny_disk, tmp_path):
    options = {"ema": 0.0, "schedule": "constant"}
    fit(tiny_disk, settings(steps=3, **options))
    before = (tiny_disk / "checkpoint.pt").read_bytes()
    fill_up(tiny_disk, 4096)
    words = rf"checkpoint\.pt: expected room to write it, found .* GB left on {tiny_disk}: no space"
    with pytest.raises(LilasError, match=words):
        fit(tiny_disk, settings(steps=6, **options))
    assert (tiny_disk / "checkpoint.pt").read_bytes() == before
    assert not list(tiny_disk.glob(".*.part"))
    (tiny_disk / "rest").unlink()
    # The same command goes on from it.
    whole = fit(tmp_path / "whole", settings(steps=6, **options))
    assert same(fit(tiny_disk, settings(steps=6, **options)).last, whole.last)


def test_a_finite_step_resets_the_patience(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "PATIENCE", 3)
    spoil = [(call, lambda v: v * math.nan) for call in (0, 1, 3, 4, 6, 7)]
    result = fit(tmp_path, settings(steps=12, ema=0.0, validate_every=12), broken=spoil)
    skipped = [1, 2, 2, 3, 4, 4, 5, 6, 6, 6, 6, 6]
    assert [entry["skipped"] for entry in result.history] == skipped


def test_patience_outlives_a_restart(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "PATIENCE", 3)
    spoil = [(call, lambda v: v * math.nan) for call in (0, 1)]
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, broken=[*spoil, (2, stop)])
    with pytest.raises(LilasError, match="3 steps in a row, at step 2"):
        fit(tmp_path, broken=spoil)


@pytest.mark.parametrize("clip", [0.01, 1e6, None])
def test_clipping_bounds_the_gradient_and_logs_what_it_was(tmp_path, monkeypatch, clip):
    """Plain gradient descent moves the weights by rate times the norm of the clipped gradient."""

    def descent(parameters, options):
        return torch.optim.SGD(parameters, lr=options["learning_rate"])

    monkeypatch.setattr(state, "make_optimizer", descent)
    options = settings(steps=1, ema=0.0, schedule="constant", clip=clip)
    result = fit(tmp_path, options, dropout=0.0)
    torch.manual_seed(0)
    start = Model().state_dict()
    moved = math.sqrt(sum((result.last[key] - start[key]).square().sum() for key in start))
    norm = result.history[0]["gradient_norm"]
    assert norm > 0.1
    assert moved == pytest.approx(1e-2 * (min(clip, norm) if clip else norm), rel=1e-3)


def test_a_second_trainer_is_refused(tmp_path):
    with locked(tmp_path), pytest.raises(LilasError, match="another run"):
        fit(tmp_path)


def test_the_average_follows_its_recursion(tmp_path):
    """By hand, from the weights after each of three steps."""
    trace = [
        fit(tmp_path / str(n), settings(steps=n, ema=0.0, schedule="constant")).last
        for n in (1, 2, 3)
    ]
    result = fit(tmp_path / "ema", settings(steps=3, ema=0.2, schedule="constant")).last
    torch.manual_seed(0)
    average = Model().state_dict()["scale.weight"]
    for step, weights in enumerate(trace, start=1):
        decay = min(0.2, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weights["scale.weight"]
    assert torch.allclose(result["scale.weight"], average, atol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "step", "factor"),
    [
        ("cosine", 10, 1.0),
        ("cosine", 55, 0.5),
        ("linear", 55, 0.5),
        ("exponential", 55, 0.1),
        ("constant", 99, 1.0),
        ("cosine", 4, 0.5),
    ],
)
def test_learning_rate_closed_forms(schedule, step, factor):
    found = training.learning_rate_factor(step, settings(steps=100, warmup=10, schedule=schedule))
    assert found == pytest.approx(factor)


def test_the_learning_rate_of_every_step_is_logged(tmp_path):
    """Warm-up ends at the peak, where the cosine begins."""
    result = fit(tmp_path, settings(steps=12, warmup=4, ema=0.0, learning_rate=2e-3))
    cosine = [(1 + math.cos(math.pi * k / 8)) / 2 for k in range(8)]
    expected = [2e-3 * factor for factor in [0.25, 0.5, 0.75, 1.0, *cosine]]
    assert [entry["learning_rate"] for entry in result.history] == pytest.approx(expected)


def test_the_cosine_meets_the_official_one_where_epochs_begin():
    """The official code sets the rate per epoch e of E, (1 + cos(pi e/E))/2; ours is per step."""
    epochs, length = 16, 64
    options = settings(steps=epochs * length)
    for step in range(epochs * length):
        official = (1 + math.cos(math.pi * (step // length) / epochs)) / 2
        ours = training.learning_rate_factor(step, options)
        assert ours == pytest.approx(official) if step % length == 0 else ours < official
        # The cosine's slope is pi/2 at most, over one epoch at most.
        assert official - ours < math.pi / 2 / epochs


# --- Optimisers -------------------------------------------------------------------------------


def gradients(seed, *shapes):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def take(optimizer, parameters, values):
    for parameter, value in zip(parameters, values, strict=True):
        parameter.grad = value.clone()
    optimizer.step()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimisers_minimise_a_quadratic(optimizer):
    """From zero to a matrix seen through one of condition number 10, a kernel and a vector."""
    goals = gradients(1, (6, 4), (3, 2, 3), (5,))
    lens = torch.diag(torch.linspace(0.3, 3, 6))
    parameters = [nn.Parameter(torch.zeros_like(goal)) for goal in goals]
    options = settings(steps=200, optimizer=optimizer, learning_rate=0.2)
    made = optimizers.make_optimizer(parameters, options)
    losses = []
    for step in range(200):
        for group in made.param_groups:
            group["lr"] = 0.2 * training.learning_rate_factor(step, options)
        made.zero_grad()
        pairs = list(zip(parameters, goals, strict=True))
        error = (lens @ (parameters[0] - goals[0])).square().sum()
        loss = error + sum((x - y).square().sum() for x, y in pairs[1:])
        loss.backward()
        made.step()
        losses.append(loss.item())
    assert losses[-1] < 1e-3 * losses[0]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimisers_follow_the_rate_that_is_set(optimizer):
    shapes = (4, 3), (2, 2, 3), (5,)
    parameters = [nn.Parameter(value) for value in gradients(0, *shapes)]
    made = optimizers.make_optimizer(parameters, settings(optimizer=optimizer, weight_decay=0.1))
    trace = []
    for seed, rate in enumerate((1e-2, 1e-2, 0.0, 1e-2)):
        for group in made.param_groups:
            group["lr"] = rate
        take(made, parameters, gradients(seed, *shapes))
        trace.append([parameter.detach().clone() for parameter in parameters])
    for first, second, third, fourth in zip(*trace, strict=True):
        assert not torch.equal(first, second)
        assert torch.equal(second, third)
        assert not torch.equal(third, fourth)


@pytest.mark.parametrize(("optimizer", "decay"), [("adam", 0.0), ("adamw", 0.0), ("adamw", 0.5)])
def test_adams_first_step_is_the_rate_times_the_sign(optimizer, decay):
    (start,), (gradient,) = gradients(0, (4, 3)), gradients(1, (4, 3))
    parameter = nn.Parameter(start.clone())
    options = settings(optimizer=optimizer, weight_decay=decay)
    take(optimizers.make_optimizer([parameter], options), [parameter], [gradient])
    expected = (1 - 1e-2 * decay) * start - 1e-2 * gradient.sign()
    assert torch.allclose(parameter, expected, atol=1e-6)


def test_adams_second_step_has_the_papers_betas():
    (start,), (g1,), (g2,) = gradients(0, (6,)), gradients(1, (6,)), gradients(2, (6,))
    parameter = nn.Parameter(start.clone())
    made = optimizers.make_optimizer([parameter], settings(optimizer="adamw"))
    take(made, [parameter], [g1])
    take(made, [parameter], [g2])
    m = (0.9 * 0.1 * g1 + 0.1 * g2) / (1 - 0.9**2)
    v = (0.99 * 0.01 * g1**2 + 0.01 * g2**2) / (1 - 0.99**2)
    assert torch.allclose(parameter, start - 1e-2 * (g1.sign() + m / v.sqrt()), atol=1e-6)


@pytest.mark.parametrize("shape", [(12, 5), (5, 12), (8, 8)])
def test_muon_moves_a_matrix_by_its_orthogonalised_momentum(shape):
    """The second step: momentum b = 0.95 b + 0.05 g, update U V^T of 0.05 g + 0.95 b = U S V^T.

    Five Newton-Schulz steps bring the singular values near 1, within 0.4.
    """
    starts = gradients(0, shape, (7,))
    parameters = [nn.Parameter(value.clone()) for value in starts]
    made = optimizers.make_optimizer(parameters, settings(optimizer="muon", weight_decay=0.1))
    first, second = gradients(1, shape, (7,)), gradients(2, shape, (7,))
    take(made, parameters, first)
    matrix, vector = (parameter.detach().clone() for parameter in parameters)
    # A vector is AdamW's.
    assert torch.allclose(vector, (1 - 1e-3) * starts[1] - 1e-2 * first[1].sign(), atol=1e-6)
    take(made, parameters, second)
    rate = 1e-2 * 0.2 * math.sqrt(max(shape))
    update = ((1 - 1e-3) * matrix - parameters[0].detach()) / rate
    momentum = 0.95 * 0.05 * first[0] + 0.05 * second[0]
    left, _, right = torch.linalg.svd(0.05 * second[0] + 0.95 * momentum, full_matrices=False)
    # In the singular vectors of the momentum the update is diagonal.
    inside = left.T @ update @ right.T
    values = inside.diagonal()
    assert (inside - torch.diag(values)).abs().max() < 1e-4
    assert torch.allclose(left @ inside @ right, update, atol=1e-4)
    assert values.min() > 0.6
    assert values.max() < 1.4


@pytest.mark.parametrize("shape", [(12, 5), (5, 12)])
def test_muon_is_torchs_up_to_bfloat16(shape):
    """Whose Newton-Schulz steps are in bfloat16: of ours in it to the bit, else within 0.02."""
    (start,) = gradients(0, shape)
    found = []
    for kind in (optimizers.Muon, torch.optim.Muon):
        matrix = nn.Parameter(start.clone())
        if kind is torch.optim.Muon:
            options = {"momentum": 0.95, "adjust_lr_fn": "match_rms_adamw"}
            made = kind([matrix], lr=1e-2, weight_decay=0.1, **options)
        else:
            made = optimizers.make_optimizer([matrix], settings(optimizer="muon", weight_decay=0.1))
        for seed in range(1, 4):
            take(made, [matrix], gradients(seed, shape))
        found.append((matrix.detach(), made.state_dict()["state"][0]["momentum_buffer"]))
    (ours, mean), (theirs, expected) = found
    assert torch.equal(mean, expected)
    assert (ours - theirs).abs().max() < 3 * 0.02 * 1e-2 * 0.2 * math.sqrt(max(shape))
    low = start.bfloat16()
    muon = torch.optim._muon
    coefficients = muon.DEFAULT_A, muon.DEFAULT_B, muon.DEFAULT_C
    theirs = muon._zeropower_via_newtonschulz(low.clone(), coefficients, 5, muon.EPS)
    assert torch.equal(optimizers.orthogonalised(low), theirs)


def test_muon_trains_matrices_alone_but_refuses_a_model_without():
    matrix = nn.Parameter(torch.zeros(3, 3))
    take(optimizers.make_optimizer([matrix], settings(optimizer="muon")), [matrix], [torch.eye(3)])
    assert (matrix.diagonal() < 0).all()
    kernel = nn.Parameter(torch.zeros(3, 2, 3, 3))
    with pytest.raises(LilasError, match="only convolutions and vectors"):
        optimizers.make_optimizer([kernel], settings(optimizer="muon"))


def test_psgd_and_soap_have_the_papers_settings():
    weight = nn.Parameter(torch.zeros(3, 2))
    psgd, soap = (
        optimizers.make_optimizer([weight], settings(optimizer=name, precondition_every=None))
        for name in ("psgd", "soap")
    )
    plain = {
        "weight_decay": 0.0,
        "merge_dims": False,
        "warmup_steps": 0,
        "storage_dtype": "float32",
    }
    plain |= {"caution": False, "cautious_weight_decay": False, "mars": False, "split": False}
    kron = {"beta": 0.9, "max_size_triangular": 4096, "q_dtype": "float32"}
    shampoo = {"betas": (0.9, 0.99), "shampoo_beta": 0.99, "max_precond_dim": 4096, "eps": 1e-8}
    for made, expected in ((psgd, plain | kron), (soap, plain | shampoo)):
        assert {key: made.param_groups[0][key] for key in expected} == expected
    assert soap.precond_schedule == 1 / 16
    probabilities = [psgd.precond_schedule(step) for step in (1, 1000, 4156, 4158, 10**6)]
    expected = [0.999, 0.999**1000, 0.999**4156, 1 / 64, 1 / 64]
    assert probabilities == pytest.approx(expected)


@pytest.mark.parametrize("optimizer", ["soap", "psgd"])
def test_contractions_are_searched_once_and_change_no_bit(optimizer, monkeypatch):
    """Beside the same steps with torch's own strategy, which searches at every contraction."""
    paths = torch.backends.opt_einsum.get_opt_einsum().paths
    shapes = (6, 4, 3, 3), (4, 6, 3, 3), (5,)
    found, searches, auto = [], [], paths.auto
    monkeypatch.setattr(paths, "auto", lambda *args: searches.append(args) or auto(*args))
    for strategy in ("remembered", "auto"):
        parameters = [nn.Parameter(value) for value in gradients(0, *shapes)]
        torch.manual_seed(0)
        made = optimizers.make_optimizer(parameters, settings(optimizer=optimizer))
        assert torch.backends.opt_einsum.strategy == "remembered"
        monkeypatch.setattr(torch.backends.opt_einsum, "strategy", strategy)
        for step in range(8):
            take(made, parameters, gradients(step, *shapes))
            if strategy == "remembered" and step == 4:
                before = len(searches)
        if strategy == "remembered":
            assert len(searches) == before
        found.append([parameter.detach() for parameter in parameters])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_soaps_basis_turns_as_often_as_asked():
    weight = nn.Parameter(torch.zeros(4, 3))
    made = optimizers.make_optimizer([weight], settings(optimizer="soap", precondition_every=4))
    turned, basis = [], None
    for step in range(1, 14):
        take(made, [weight], gradients(step, (4, 3)))
        (state,) = made.state_dict()["state"][0].values()
        found = next(value for key, value in state.items() if "_Q_" in key)[0].clone()
        if basis is not None and not torch.equal(found, basis):
            turned.append(step)
        basis = found
    assert turned == [4, 8, 12]


@pytest.mark.parametrize(
    ("optimizer", "betas"), [("adam", [0.9]), ("psgd", [0.9, 0.99]), ("soap", [0.9, 0.99])]
)
def test_betas_of_another_optimiser_are_refused(optimizer, betas):
    with pytest.raises(ValidationError, match=rf"{optimizer} takes \d"):
        settings(optimizer=optimizer, betas=betas)


def test_an_absent_device_is_told():
    with pytest.raises(LilasError, match="is not there"):
        select_device("cuda:77")
