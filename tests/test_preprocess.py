"""Preprocessing: values by hand, its inverse, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lilas.data.preprocess import Preprocessing
from lilas.data.transforms import Transform
from lilas.errors import LilasError
from lilas.files import write_json

NONE, LOG = Transform(), Transform("log", 1.0)
EULER = Preprocessing(
    names=("energy", "density", "pressure", "momentum_x", "momentum_y"),
    transforms=(LOG, LOG, LOG, NONE, NONE),
    mean=(1.2, 0.6, 0.58, 0.0, 0.0),
    std=(0.51, 0.27, 0.29, 0.53, 0.52),
)


def test_arguments_are_left_alone() -> None:
    x = torch.rand(2, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    EULER.forward(x, channel_axis=1)
    EULER.inverse(x, channel_axis=1)
    assert torch.equal(x, before)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_in_place_gives_the_bits_of_the_formula(axis: int) -> None:
    """Channel by channel out of place: (f(x) - mean) / std and f⁻¹(std·x + mean)."""
    x = torch.rand(2, 5, 4, 6, generator=torch.Generator().manual_seed(0)).movedim(1, axis)
    forward, inverse = [], []
    for i, values in enumerate(x.unbind(axis)):
        transform, mean, std = EULER.transforms[i], EULER.mean[i], EULER.std[i]
        value = values * std + mean
        if transform == NONE:
            forward.append((values - mean) / std)
            inverse.append(value)
        else:
            forward.append((torch.log(values + 1.0) - mean) / std)
            inverse.append(torch.exp(value) - 1.0)
    for name, parts in (("forward", forward), ("inverse", inverse)):
        expected, own = torch.stack(parts, axis), x.clone()
        assert torch.equal(getattr(EULER, name)(x, axis), expected)
        found = getattr(EULER, f"{name}_")(own, axis)
        assert torch.equal(found, expected)
        assert found.data_ptr() == own.data_ptr()


def test_values_by_hand() -> None:
    preprocessing = Preprocessing(("a", "b"), (NONE, LOG), (2.0, 0.5), (4.0, 0.25))
    x = torch.tensor([[10.0, np.e - 1]])
    y = torch.tensor([[2.0, 2.0]])
    assert torch.allclose(preprocessing.forward(x, channel_axis=1), y)
    assert torch.allclose(preprocessing.inverse(y, channel_axis=1), x)


@pytest.mark.parametrize("value", [-1.0, -3.0, float("nan")])
def test_undefined_logarithm_names_the_channel(value: float) -> None:
    preprocessing = Preprocessing(("energy", "density"), (NONE, LOG), (0.0, 0.0), (1.0, 1.0))
    x = torch.ones(3, 2, 4)
    x[1, 1, 2] = value
    with pytest.raises(LilasError, match=r"'density' holds (-1|-3|nan), where log\(x \+ 1\)"):
        preprocessing.forward(x, channel_axis=1)


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan"), float("inf")])
def test_a_channel_without_scale_is_refused(std: float) -> None:
    with pytest.raises(LilasError, match="'pressure' has mean 0 and std"):
        Preprocessing(("pressure",), (NONE,), (0.0,), (std,))


def test_other_channels_are_refused() -> None:
    with pytest.raises(LilasError, match="expected the 5 channels"):
        EULER.forward(torch.ones(5, 4), channel_axis=1)


def test_read_takes_transforms_from_the_statistics(tmp_path: Path) -> None:
    log = {"transform": {"kind": "log", "offset": 1e-6}, "mean": -1.75, "std": 0.95}
    plain = {"transform": {"kind": "none"}, "mean": 0.0, "std": 0.5}
    write_json(tmp_path / "statistics.json", {"channels": {"density": log, "velocity_x": plain}})
    read = Preprocessing.read(tmp_path / "statistics.json")
    transforms = (Transform("log", 1e-6), NONE)
    expected = Preprocessing(("density", "velocity_x"), transforms, (-1.75, 0.0), (0.95, 0.5))
    assert read == expected


def test_an_arcsinh_by_hand() -> None:
    """arcsinh(x / s) is log(y + sqrt(y² + 1)) of y = x / s: odd, and of e's hyperbolic sine 1."""
    preprocessing = Preprocessing(("a",), (Transform("arcsinh", 2.0),), (0.5,), (4.0,))
    x = torch.tensor([[2.0 * np.sinh(1.0), 0.0, -2.0 * np.sinh(1.0)]], dtype=torch.float)
    y = torch.tensor([[0.125, -0.125, -0.375]])
    assert torch.allclose(preprocessing.forward(x, channel_axis=0), y)
    assert torch.allclose(preprocessing.inverse(y, channel_axis=0), x, atol=1e-6)


NUMBERS = st.floats(0.01, 100.0)
TRANSFORMS = st.one_of(
    st.just(NONE),
    st.builds(Transform, st.just("log"), NUMBERS),
    st.builds(Transform, st.just("arcsinh"), NUMBERS),
)


@settings(max_examples=60, deadline=None)
@given(TRANSFORMS, st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=8), NUMBERS, NUMBERS)
def test_there_and_back(transform: Transform, values: list, mean: float, std: float) -> None:
    """In double precision; a logarithm's values lie above minus its offset."""
    x = torch.tensor([values], dtype=torch.double)
    if transform.kind == "log":
        x = x.abs() + 1e-3
    preprocessing = Preprocessing(("a",), (transform,), (mean,), (std,))
    before = x.clone()
    y = preprocessing.forward_(x.clone(), channel_axis=0)
    found = preprocessing.inverse_(y.clone(), channel_axis=0)
    scale = before.abs() + transform.number + mean + std
    assert ((found - before).abs() <= 1e-9 * scale).all()


def test_broken_statistics_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "statistics.json"
    write_json(path, {"channels": {"density": {"transform": {"kind": "none"}, "mean": 0.0}}})
    with pytest.raises(LilasError, match=r"statistics\.json: channel 'density' lacks 'std'"):
        Preprocessing.read(path)
    entry = {"transform": {"kind": "sqrt"}, "mean": 0.0, "std": 1.0}
    write_json(path, {"channels": {"density": entry}})
    with pytest.raises(LilasError, match=r"'density': unknown transform .*allowed"):
        Preprocessing.read(path)
