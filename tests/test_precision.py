"""What a file's type holds is there for the models and the scores, or is refused."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels, labels, precision, read_states
from lilas.data.statistics import compute_statistics
from lilas.data.well import open_files
from lilas.data.well_writer import write_well
from lilas.errors import LilasError
from lilas.evaluation import score as evaluation
from lilas.models.autoencoder import make_identity
from lilas.models.coding import decode

WAVE = np.sqrt(2) * np.sin(2 * np.pi * np.arange(16) / 16)[:, None] * np.ones(8)


def write(path: Path, values: np.ndarray) -> Path:
    """Writes a file whose only field p holds values (trajectory, time, 16, 8) in their type."""
    write_well(
        path,
        dataset="wave",
        fields={"p": np.zeros(values.shape)},
        time=np.arange(values.shape[1]),
        coordinates={"x": np.arange(16.0), "y": np.arange(8.0)},
        parameters={"c": 1.0},
        boundaries={"x": "periodic", "y": "periodic"},
    )
    with h5py.File(path, "r+") as file:
        attributes = dict(file["t0_fields/p"].attrs)
        del file["t0_fields/p"]
        file["t0_fields"].create_dataset("p", data=values).attrs.update(attributes)
    return path


def growing(mean: float, amplitude: float, dtype: type) -> np.ndarray:
    """mean + amplitude (1 + t) wave, (1, 6, 16, 8)."""
    states = mean + amplitude * (1 + np.arange(6))[:, None, None] * WAVE
    with np.errstate(over="ignore"):
        return states[None].astype(dtype)


def pixels(path: Path, transform: dict | None = None) -> Pixels:
    files = open_files([path])
    found = compute_statistics(files, {"p": transform} if transform else {})
    return Pixels(files, Preprocessing.from_statistics(found, "wave"), {})


@pytest.mark.parametrize(
    ("mean", "amplitude"), [(101325.0, 1e-3), (1e8, 1e-4), (-3e12, 7.0), (0.0, 1e45)]
)
def test_a_small_variation_about_a_large_mean_in_float64(
    tmp_path: Path, mean: float, amplitude: float
) -> None:
    """Standardised states, states through an autoencoder and scores are those of the mean 0."""
    values = growing(mean, amplitude, np.float64)
    seen = pixels(write(tmp_path / "a.hdf5", values))
    # What float64 rounds of the mean, as a part of the variation.
    rounding = 1e-6 + 4e-16 * abs(mean) / amplitude
    std = amplitude * np.sqrt(np.mean((1 + np.arange(6)) ** 2))
    states = seen.read(0)
    assert states.dtype == np.float32
    expected = (1 + np.arange(6))[:, None, None] * WAVE * amplitude / std
    assert np.abs(states[:, 0] - expected).max() < 4 * rounding
    truth = seen.truth(0)
    assert np.array_equal(truth[:, 0], values[0])
    device = torch.device("cpu")
    table = pd.concat(evaluation.score_baselines(seen, [0], {"": range(6)}, None, device))
    found = table[table["metric"] == "rmse"].set_index(["emulator", "lead_time"])["value"]
    for lead in range(1, 6):
        error = pytest.approx(amplitude * lead, rel=10 * rounding)
        assert found["persistence", lead] == error
        error = pytest.approx(amplitude * (1 + lead), rel=10 * rounding)
        assert found["climatology", lead] == error
    rebuilt = pd.concat(
        evaluation.score_reconstruction(seen, [0], range(6), make_identity(1, 2), None, device)
    )
    errors = rebuilt[rebuilt["metric"] == "rmse"]["value"]
    assert errors.max() < 10 * amplitude * rounding


def test_latents_are_decoded_in_the_precision_of_the_data(tmp_path: Path) -> None:
    values = growing(101325.0, 1e-3, np.float64)
    seen = pixels(write(tmp_path / "a.hdf5", values))
    one, device = make_identity(1, 2), torch.device("cpu")
    found = decode(seen.read(0)[None], one, seen.preprocessing, device, torch.float64)
    assert (found[0, :, 0] - torch.from_numpy(values[0])).abs().max() < 1e-9
    assert decode(seen.read(0), one, seen.preprocessing, device).dtype == torch.float32


def test_float32_files_are_read_as_they_were(tmp_path: Path) -> None:
    values = growing(10.0, 1.0, np.float32)
    seen = pixels(write(tmp_path / "a.hdf5", values))
    assert seen.truth(0).dtype == np.float32
    mean, std = np.float32(seen.preprocessing.mean[0]), np.float32(seen.preprocessing.std[0])
    assert np.array_equal(seen.read(0)[:, 0], (values[0] - mean) / std)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (np.float16, np.float32),
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.longdouble, np.float64),
        (np.int16, np.float32),
        (np.uint16, np.float32),
        (np.int32, np.float64),
        (np.int64, np.float64),
        (">f4", np.float32),
        (">f8", np.float64),
    ],
)
def test_the_type_that_holds_a_files(kind: type, expected: type) -> None:
    assert precision([np.dtype(kind)]) == expected
    assert precision([np.dtype(np.float32), np.dtype(kind)]) == expected


def test_integers_beyond_float32(tmp_path: Path) -> None:
    """2²⁴ + 1 is not 2²⁴."""
    values = 2**24 + np.arange(6 * 16 * 8).reshape(1, 6, 16, 8).astype(np.int32) % 5
    seen = pixels(write(tmp_path / "a.hdf5", values))
    assert np.array_equal(seen.truth(0)[:, 0], values[0])
    expected = (values[0] - values.mean()) / values.std()
    assert np.abs(seen.read(0)[:, 0] - expected).max() < 1e-5


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (growing(101325.0, 3e-3, np.float32), r"'p', x of float32, varies by .* float64"),
        (growing(1000.0, 0.2, np.float16), r"'p', x of float16, varies by"),
        (growing(1e12, 1e-4, np.float64), r"'p', x of float64, varies by"),
        (growing(0.0, 1e200, np.float64), r"'p' goes from .* whose squares are beyond float64"),
        (growing(0.0, 1e-200, np.float64), r"'p' goes from .* whose squares are beyond float64"),
        (growing(6e4, 2e3, np.float16), r"finite values in channel 'p'"),
    ],
)
def test_a_variation_that_is_lost_is_refused(
    tmp_path: Path, values: np.ndarray, words: str
) -> None:
    files = open_files([write(tmp_path / "a.hdf5", values)])
    with pytest.raises(LilasError, match=words) as error:
        compute_statistics(files, {})
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_a_transform_that_loses_the_variation_is_refused(tmp_path: Path) -> None:
    """1 + 1e-9 is 1 in float32, but not in float64."""
    log = {"kind": "log", "offset": 1.0}
    small = growing(2e-8, 1e-9, np.float32)
    with pytest.raises(LilasError, match=r"log\(x \+ 1\) of float32, varies by .*another transf"):
        pixels(write(tmp_path / "a.hdf5", small), log)
    values = growing(2e-8, 1e-9, np.float64)
    seen = pixels(write(tmp_path / "b.hdf5", values), log)
    expected = (values[0] - values.mean()) / values.std()
    assert np.abs(seen.read(0)[:, 0] - expected).max() < 1e-5


@pytest.mark.parametrize(
    ("mean", "amplitude", "transform", "words"),
    [
        (0.0, 1e30, ("arcsinh", "scale", 1e-10), r"to 94.*comes back in float32\. Choose a larger"),
        # What a model makes beyond these would come back infinite.
        (0.0, 1e30, ("arcsinh", "scale", 1e-5), r"to 83.*comes back in float32\. Choose a larger"),
        (0.0, 1.0, ("arcsinh", "scale", 1e-100), r"arcsinh\(x / 1e-100\): a number beyond float32"),
        (0.0, 1.0, ("arcsinh", "scale", 1e100), r"arcsinh\(x / 1e\+100\): a number beyond float32"),
        (9.0, 1.0, ("log", "offset", 1e100), r"log\(x \+ 1e\+100\): a number beyond float32"),
        (9.0, 1.0, ("log", "offset", 1e30), r"log\(x \+ 1e\+30\), is 69\.07.* Choose another tr"),
        (
            0.0,
            1e-10,
            ("arcsinh", "scale", 1e36),
            r"1e\+36\) of float32, varies by .* is rounded to",
        ),
    ],
)
def test_a_transform_whose_number_is_huge_or_tiny_is_refused(
    tmp_path: Path, mean: float, amplitude: float, transform: tuple, words: str
) -> None:
    """The values are finite in float64, but not in the precision of states."""
    kind, key, number = transform
    files = open_files([write(tmp_path / "a.hdf5", growing(mean, amplitude, np.float32))])
    with pytest.raises(LilasError, match=words) as error:
        compute_statistics(files, {"p": {"kind": kind, key: number}})
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_large_numbers_of_float64_have_transforms_of_their_size(tmp_path: Path) -> None:
    values = growing(0.0, 1e46, np.float64)
    seen = pixels(write(tmp_path / "a.hdf5", values), {"kind": "arcsinh", "scale": 1e45})
    expected = np.arcsinh(values[0] / 1e45)
    expected = (expected - np.arcsinh(values / 1e45).mean()) / np.arcsinh(values / 1e45).std()
    assert np.abs(seen.read(0)[:, 0] - expected).max() < 1e-5


@pytest.mark.parametrize(
    ("mean", "transform"), [(101325.0, None), (2e-8, {"kind": "log", "offset": 1.0})]
)
def test_a_test_split_of_a_type_that_loses_what_varies_in_training_is_refused(
    tmp_path: Path, mean: float, transform: dict | None
) -> None:
    fine = growing(mean, min(1e-3, mean / 20), np.float64)
    preprocessing = pixels(write(tmp_path / "train.hdf5", fine), transform).preprocessing
    coarse = open_files([write(tmp_path / "test.hdf5", fine.astype(np.float32))])
    with pytest.raises(LilasError, match=r"test\.hdf5: expected p in a type .* found float32"):
        Pixels(coarse, preprocessing, {})


def parameters(path: Path, values: list[float], dtype: type = np.float64) -> Path:
    """Writes a file whose parameter c has one of the values in each trajectory."""
    write(path, np.repeat(growing(0.0, 1.0, np.float32), len(values), axis=0))
    with h5py.File(path, "r+") as file:
        del file["scalars/c"]
        held = file["scalars"].create_dataset("c", data=np.array(values, dtype))
        held.attrs.update({"sample_varying": True, "time_varying": False})
    return path


@pytest.mark.parametrize(
    ("values", "transform"),
    [
        ([101325.0, 101325.001, 101325.002], "none"),
        ([1e-46, 2e-46, 1e-50], "none"),
        ([1e30, 1.0000001e30 * (1 - 5e-8), 1e30], "log"),
    ],
)
def test_a_parameter_that_float32_does_not_tell_apart_is_no_label(
    tmp_path: Path, values: list[float], transform: str
) -> None:
    files = open_files([parameters(tmp_path / f"{v}.hdf5", [v]) for v in values])
    with pytest.raises(LilasError, match="values of c that float32, as labels are, tells apart"):
        labels(files, {"c": transform})


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([101325.0, 101326.0], np.float64),
        ([0.3, 0.1 + 0.2], np.float64),
        ([0.1, np.nextafter(np.float32(0.1), np.float32(1))], np.float32),
        ([0.0, 0.0], np.float64),
        ([1e-46, 1.0], np.float64),
    ],
)
def test_parameters_that_are_one_but_for_rounding_are_labels(
    tmp_path: Path, values: list[float], dtype: type
) -> None:
    files = open_files([parameters(tmp_path / "a.hdf5", values, dtype)])
    np.testing.assert_array_equal(labels(files, {})[:, 0], np.float32(values))


def test_small_parameters_are_labels_by_their_logarithms(tmp_path: Path) -> None:
    files = open_files([parameters(tmp_path / "a.hdf5", [1e-46, 2e-46])])
    np.testing.assert_array_equal(
        labels(files, {"c": "log"})[:, 0], np.float32(np.log([1e-46, 2e-46]))
    )


def test_values_of_one_field_need_no_more_than_their_type(tmp_path: Path) -> None:
    path = write(tmp_path / "a.hdf5", growing(0.0, 1e39, np.float64))
    (file,) = open_files([path])
    assert np.isfinite(read_states(file, 0)).all()
    path = write(tmp_path / "b.hdf5", np.full((1, 6, 16, 8), np.inf))
    with pytest.raises(LilasError, match="finite values in float64"):
        read_states(open_files([path])[0], 0)
