"""Windows from memory: the numbers of the trajectories, the same at the same step."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lilas.data.windows import Windows
from lilas.errors import LilasError

CPU = torch.device("cpu")


class Counted:
    """Each number says where it lies: row, time and channel."""

    def __init__(self, rows=7, steps=9, shape=(2, 3)):
        self.rows, self.steps, self.shape = rows, steps, shape
        self.labels = np.arange(rows, dtype=np.float32)[:, None]
        self.reads = 0

    def read(self, row):
        self.reads += 1
        time = np.arange(self.steps).reshape(-1, 1, 1)
        channel = np.arange(self.shape[0]).reshape(1, -1, 1)
        return np.broadcast_to(100 * row + 10 * channel + time, (self.steps, *self.shape)).astype(
            np.float32
        )


def check(x, label, length, stride, batch):
    assert x.shape == (batch, 2, length, 3)
    start = x[:, 0, 0, 0] % 10
    steps = start[:, None] + stride * torch.arange(length)
    expected = 100 * label + steps
    assert torch.equal(x[:, 0, :, 0], expected)
    assert torch.equal(x[:, 1, :, 2], expected + 10)
    assert (steps <= 8).all()


@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(1, 4),
    stride=st.integers(1, 2),
    batch=st.integers(1, 9),
    step=st.integers(0, 500),
    slots=st.integers(1, 7),
)
def test_a_window_is_a_piece_of_its_trajectory(length, stride, batch, step, slots):
    memory = slots * 4 * 9 * 6
    windows = Windows(
        Counted(),
        length=length,
        stride=stride,
        batch_size=batch,
        seed=0,
        device=CPU,
        memory=memory,
    )
    check(*windows.batch(step), length, stride, batch)


@pytest.mark.parametrize("slots", [3, 7])
def test_a_batch_depends_on_the_step_alone(slots):
    """A pool that arrives at a step by another way holds the same trajectories there."""
    make = {"length": 2, "batch_size": 8, "seed": 5, "device": CPU, "memory": slots * 4 * 9 * 6}
    straight, resumed = Windows(Counted(), **make), Windows(Counted(), **make)
    batches = [straight.batch(step) for step in range(40)]
    for step in (23, 24, 39):
        x, label = resumed.batch(step)
        assert torch.equal(x, batches[step][0])
        assert torch.equal(label, batches[step][1])
    other = Windows(Counted(), **(make | {"seed": 6}))
    assert not torch.equal(other.batch(0)[0], batches[0][0])


def test_a_pool_reads_every_trajectory_and_each_rarely():
    source = Counted()
    windows = Windows(source, length=2, batch_size=3, seed=0, device=CPU, memory=3 * 4 * 9 * 6)
    seen = set()
    for step in range(120):
        seen |= set(windows.batch(step)[1].flatten().int().tolist())
    assert seen == set(range(7))
    # 360 windows drawn, of 9 states: about 40 trajectories enter the pool, not 360.
    assert source.reads < 60


def test_resident_trajectories_are_read_once():
    source = Counted()
    windows = Windows(source, length=2, batch_size=3, seed=0, device=CPU)
    for step in range(50):
        windows.batch(step)
    assert source.reads == 7


def test_starts_and_rows_are_uniform():
    windows = Windows(Counted(), length=3, batch_size=4000, seed=0, device=CPU)
    x, label = windows.batch(0)
    rows = torch.bincount(label.flatten().long(), minlength=7) / 4000
    starts = torch.bincount((x[:, 0, 0, 0] % 10).long(), minlength=7) / 4000
    assert (rows - 1 / 7).abs().max() < 0.03
    assert (starts - 1 / 7).abs().max() < 0.03
    assert len(starts) == 7


def test_a_window_longer_than_a_trajectory_is_refused():
    with pytest.raises(LilasError, match="spans 11 steps; the trajectories have 9"):
        Windows(Counted(), length=6, stride=2, batch_size=1, seed=0, device=CPU)
