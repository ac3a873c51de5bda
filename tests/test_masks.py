"""Training masks: their distribution, and what they refuse."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lilas.draws import Draws
from lilas.errors import LilasError
from lilas.models.masks import draw_masks
from lilas.study.entries import emulator_settings


@pytest.mark.parametrize(
    ("length", "rate", "at_least"), [(5, 1.0, 2), (6, 2.5, 1), (8, 4.0, 3), (3, 0.5, 2)]
)
def test_the_count_of_known_states_is_poisson_modulo_its_range(length, rate, at_least):
    counts = draw_masks(Draws(1, range(100_000)), length, rate=rate, at_least=at_least).sum(1)
    for count in range(length + 1):
        drawn = range(count - at_least, 200, length - at_least)
        share = stats.poisson(rate).pmf(drawn).sum() if at_least <= count < length else 0.0
        assert abs((counts == count).double().mean().item() - share) < 0.006


@settings(max_examples=30, deadline=None)
@given(
    length=st.integers(2, 9),
    rate=st.floats(0.1, 5),
    forward=st.sampled_from([0.0, 0.5, 1.0]),
    data=st.data(),
)
def test_known_states_are_the_first_or_the_last(length, rate, forward, data):
    at_least = data.draw(st.integers(1, length - 1))
    masks = draw_masks(Draws(0, range(64)), length, rate=rate, at_least=at_least, forward=forward)
    counts = masks.sum(1)
    assert at_least <= counts.min()
    assert counts.max() < length
    first = torch.arange(length) < counts[:, None]
    chosen = {1.0: [first], 0.0: [first.flip(1)]}.get(forward, [first, first.flip(1)])
    assert torch.stack([(masks == mask).all(1) for mask in chosen]).any(0).all()


def test_as_many_masks_look_forward_as_asked():
    masks = draw_masks(Draws(2, range(20_000)), 5, rate=1.0, forward=0.66)
    assert masks[:, 0].double().mean().item() == pytest.approx(0.66, abs=0.01)


TRAIN = {"steps": 1, "batch_size": 1, "optimizer": "adam", "learning_rate": 1.0}
EMULATOR = {
    "method": "diffusion",
    "network": {"channels": 2, "blocks": 1, "heads": 1},
    "train": TRAIN | {"validate_every": 1},
}


def test_masks_that_leave_nothing_unknown_are_refused():
    with pytest.raises(LilasError, match=r"context_at_least 4 .* allowed: at most 3"):
        emulator_settings(EMULATOR | dict(window=4, context_at_least=4))
    with pytest.raises(LilasError, match="context_forward"):
        emulator_settings(EMULATOR | dict(context_forward=1.1))
    emulator_settings(EMULATOR | dict(window=4, context_at_least=3, context_forward=0.66))
