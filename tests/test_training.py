"""The training loop: it learns, resumes to the bit, and skips what is not finite."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from lilas import training
from lilas.config import Train
from lilas.data.windows import Windows
from lilas.errors import LilasError
from lilas.files import locked


class Waves:
    """Trajectories x[t+1] = 0.9 x[t] + label: a map that a linear model learns exactly."""

    def __init__(self, rows: int = 6, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.rows, self.steps, self.shape = rows, 8, (2, 4)
        self.labels = rng.normal(size=(rows, 1)).astype(np.float32)
        states = [rng.normal(size=(rows, *self.shape))]
        for _ in range(self.steps - 1):
            states.append(0.9 * states[-1] + self.labels[:, :, None])
        self.states = np.stack(states, axis=1).astype(np.float32)

    def read(self, row: int) -> np.ndarray:
        return self.states[row]


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
        "precondition_every": 3,
        "validate_every": 7,
        "ema": 0.9,
        "threads": 1,
    }
    return Train(**(values | changes)).model_dump()


def fit(folder, options=None, fingerprint="a", broken=(), dropout=0.1, rows=6):
    """Trains the toy; `broken` maps a step's loss to something else, by call."""
    torch.manual_seed(0)
    model = Model()
    model.dropout.p = dropout
    device = torch.device("cpu")
    make = {"length": 2, "batch_size": 8, "device": device}
    train, valid = Windows(Waves(rows), seed=1, **make), Windows(Waves(seed=1), seed=2, **make)
    calls = iter(range(10**9))

    def loss(x, label):
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
        fingerprint=fingerprint,
        name="toy",
        checkpoint_seconds=0,
    )


def stop(_):
    raise KeyboardInterrupt


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "soap", "psgd"])
@pytest.mark.parametrize("at", [5, 17])
def test_a_stopped_run_resumes_to_the_same_bits(tmp_path, optimizer, at):
    options = settings(optimizer=optimizer)
    whole = fit(tmp_path / "whole", options)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "parts", options, broken=[(at, stop)])
    assert (tmp_path / "parts" / "checkpoint.pt").is_file()
    parts = fit(tmp_path / "parts", options)
    assert same(whole.last, parts.last)
    assert same(whole.best, parts.best)
    assert whole.history == parts.history
    # A finished run returns at once with what it had.
    again = fit(tmp_path / "parts", options, broken=[(0, stop)])
    assert same(whole.last, again.last)


def test_training_learns_the_map(tmp_path):
    options = settings(steps=1500, ema=0.0, validate_every=500)
    result = fit(tmp_path, options, dropout=0.0, rows=64)
    scale = result.last["scale.weight"]
    assert torch.allclose(scale, 0.9 * torch.eye(8), atol=0.02)
    assert torch.allclose(result.last["shift.weight"], torch.ones(8, 1), atol=0.02)
    losses = [entry["valid_loss"] for entry in result.history if "valid_loss" in entry]
    assert losses[-1] < 1e-3


def test_another_configuration_starts_fresh_and_keeps_the_old_checkpoint(tmp_path):
    fit(tmp_path, fingerprint="a")
    other = fit(tmp_path, settings(learning_rate=2e-2), fingerprint="b")
    fresh = fit(tmp_path / "fresh", settings(learning_rate=2e-2), fingerprint="b")
    assert same(other.last, fresh.last)
    assert len(list(tmp_path.glob("*another-configuration*"))) == 1


def test_a_non_finite_step_is_skipped_and_counted(tmp_path):
    result = fit(tmp_path, settings(steps=4, ema=0.0), broken=[(1, lambda v: v * math.nan)])
    assert [entry["skipped"] for entry in result.history] == [0, 1, 1, 1]
    assert result.history[1]["loss"] is None
    assert all(torch.isfinite(value).all() for value in result.last.values())


def test_gradients_that_never_recover_stop_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "PATIENCE", 3)
    always = [(call, lambda v: v * math.inf) for call in range(10)]
    with pytest.raises(LilasError, match="not finite for 3 steps in a row"):
        fit(tmp_path, broken=always)


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


def test_an_absent_device_is_told():
    with pytest.raises(LilasError, match="is not there"):
        training.select_device("cuda:77")
