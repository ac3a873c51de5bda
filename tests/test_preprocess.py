"""Preprocessing: values by hand, its inverse, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lilas.data.preprocess import Preprocessing
from lilas.errors import LilasError
from lilas.files import write_json

EULER = Preprocessing(
    names=("energy", "density", "pressure", "momentum_x", "momentum_y"),
    offsets=(1.0, 1.0, 1.0, None, None),
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
        offset, mean, std = EULER.offsets[i], EULER.mean[i], EULER.std[i]
        forward.append(((values if offset is None else torch.log(values + offset)) - mean) / std)
        value = values * std + mean
        inverse.append(value if offset is None else torch.exp(value) - offset)
    for name, parts in (("forward", forward), ("inverse", inverse)):
        expected, own = torch.stack(parts, axis), x.clone()
        assert torch.equal(getattr(EULER, name)(x, axis), expected)
        found = getattr(EULER, f"{name}_")(own, axis)
        assert torch.equal(found, expected)
        assert found.data_ptr() == own.data_ptr()


def test_values_by_hand() -> None:
    preprocessing = Preprocessing(("a", "b"), (None, 1.0), (2.0, 0.5), (4.0, 0.25))
    x = torch.tensor([[10.0, np.e - 1]])
    y = torch.tensor([[2.0, 2.0]])
    assert torch.allclose(preprocessing.forward(x, channel_axis=1), y)
    assert torch.allclose(preprocessing.inverse(y, channel_axis=1), x)


@pytest.mark.parametrize("value", [-1.0, -3.0, float("nan")])
def test_undefined_logarithm_names_the_channel(value: float) -> None:
    preprocessing = Preprocessing(("energy", "density"), (None, 1.0), (0.0, 0.0), (1.0, 1.0))
    x = torch.ones(3, 2, 4)
    x[1, 1, 2] = value
    with pytest.raises(LilasError, match=r"'density' holds (-1|-3|nan), where log\(x \+ 1\)"):
        preprocessing.forward(x, channel_axis=1)


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan"), float("inf")])
def test_a_channel_without_scale_is_refused(std: float) -> None:
    with pytest.raises(LilasError, match="'pressure' has mean 0 and std"):
        Preprocessing(("pressure",), (None,), (0.0,), (std,))


def test_other_channels_are_refused() -> None:
    with pytest.raises(LilasError, match="expected the 5 channels"):
        EULER.forward(torch.ones(5, 4), channel_axis=1)


def test_read_takes_transforms_from_the_statistics(tmp_path: Path) -> None:
    log = {"transform": {"kind": "log", "offset": 1e-6}, "mean": -1.75, "std": 0.95}
    plain = {"transform": {"kind": "none"}, "mean": 0.0, "std": 0.5}
    write_json(tmp_path / "statistics.json", {"channels": {"density": log, "velocity_x": plain}})
    read = Preprocessing.read(tmp_path / "statistics.json")
    expected = Preprocessing(("density", "velocity_x"), (1e-6, None), (-1.75, 0.0), (0.95, 0.5))
    assert read == expected


def test_broken_statistics_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "statistics.json"
    write_json(path, {"channels": {"density": {"transform": {"kind": "none"}, "mean": 0.0}}})
    with pytest.raises(LilasError, match=r"statistics\.json: channel 'density' lacks 'std'"):
        Preprocessing.read(path)
    entry = {"transform": {"kind": "sqrt"}, "mean": 0.0, "std": 1.0}
    write_json(path, {"channels": {"density": entry}})
    with pytest.raises(LilasError, match=r"'density': unknown transform .*allowed"):
        Preprocessing.read(path)
