"""Files that are legal in The Well's format, or that its own reader takes: they are taken alike."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lilas.data.states import label, read_states
from lilas.data.well import open_well
from lilas.errors import LilasError
from test_well import change, well, write


def put(name: str, values: Any) -> Any:
    """An edit that replaces a dataset and keeps its attributes."""

    def edit(file: h5py.File) -> None:
        attributes = dict(file[name].attrs)
        del file[name]
        file[name] = values
        file[name].attrs.update(attributes)

    return edit


def attribute(owner: str, name: str, value: Any) -> Any:
    def edit(file: h5py.File) -> None:
        file[owner].attrs[name] = value

    return edit


def vary_in_time(file: h5py.File) -> None:
    file["scalars"].attrs["field_names"] = ["Rayleigh", "Prandtl", "forcing"]
    forcing = file["scalars"].create_dataset("forcing", data=np.zeros(6))
    forcing.attrs.update({"sample_varying": False, "time_varying": True})


def lists_of_one_number(file: h5py.File) -> None:
    put("scalars/Rayleigh", np.float32([1e6]))(file)
    put("scalars/Prandtl", np.float32([[0.5], [1.0], [2.0]]))(file)


def numbers_for_booleans(file: h5py.File) -> None:
    for name in ("t0_fields/pressure", "scalars/Prandtl", "dimensions/x"):
        for key in ("sample_varying", "time_varying"):
            file[name].attrs[key] = np.int64(file[name].attrs[key])
    file["t0_fields/pressure"].attrs["dim_varying"] = [1, 1]


@pytest.mark.parametrize(
    "edit",
    [
        lists_of_one_number,
        put("scalars/Rayleigh", np.int32(1_000_000)),
        attribute("/", "n_trajectories", 3.0),
        attribute("/", "n_spatial_dims", np.float64(2)),
        attribute("boundary_conditions/y_wall", "bc_type", "wAlL"),
        put("boundary_conditions/y_wall/mask", np.float32([1, 0, 0, 0, 1])),
        put("t0_fields/pressure", np.arange(720, dtype=np.float64).reshape(3, 6, 8, 5)),
        put("t0_fields/pressure", np.arange(720, dtype=np.int16).reshape(3, 6, 8, 5)),
        vary_in_time,
        numbers_for_booleans,
    ],
)
def test_what_the_wells_reader_takes_is_taken_alike(tmp_path: Path, edit: Any) -> None:
    path = change(write(tmp_path), edit)
    file, theirs = open_well(path), well(tmp_path)
    sample = theirs[2]
    states = np.moveaxis(sample["input_fields"].numpy(), -1, 1)
    # theirs concatenates fields of several types to the widest.
    np.testing.assert_array_equal(states.astype(np.float32), read_states(file, 1, slice(0, 3)))
    np.testing.assert_array_equal(sample["boundary_conditions"], file.boundaries)
    constant = [float(v) for v in np.ravel(sample["constant_scalars"])]
    np.testing.assert_array_equal(constant, label(file, {})[1, : len(constant)])


def test_one_number_may_be_a_list(tmp_path: Path) -> None:
    """The Well's reader takes them if all scalars are; here each may be."""
    before = open_well(write(tmp_path))
    change(before.path, attribute("/", "n_trajectories", np.array([3])))
    file = open_well(change(before.path, put("scalars/Rayleigh", np.float32([1e6]))))
    np.testing.assert_array_equal(label(file, {}), label(before, {}))


@pytest.mark.parametrize(
    "edit",
    [
        # Texts of a fixed length, as MATLAB and Fortran write them, and lists without a type.
        attribute("/", "grid_type", np.bytes_("cartesian")),
        attribute("/", "dataset_name", np.array(["rayleigh_benard"], object)),
        attribute("dimensions", "spatial_dims", np.array([b"x", b"y"])),
        attribute("t0_fields", "field_names", np.array([b"buoyancy", b"pressure"])),
        attribute("t2_fields", "field_names", h5py.Empty("f4")),
        attribute("boundary_conditions/y_wall", "bc_type", np.bytes_("WALL")),
    ],
)
def test_texts_may_be_of_any_kind(tmp_path: Path, edit: Any) -> None:
    before = open_well(write(tmp_path))
    file = open_well(change(before.path, edit))
    for name in ("dataset", "grid", "axes", "channels"):
        assert getattr(file, name) == getattr(before, name)
    np.testing.assert_array_equal(file.boundaries, before.boundaries)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (attribute("/", "n_trajectories", 2.5), "n_trajectories to be an integer above 0, found 2"),
        (attribute("/", "n_trajectories", np.nan), "n_trajectories to be an integer above 0"),
        (attribute("/", "n_trajectories", [3, 3]), "n_trajectories to be an integer above 0"),
        (put("scalars/Rayleigh", np.ones(2)), r"/scalars/Rayleigh of shape \(\), found \(2,\)"),
        (attribute("t0_fields", "field_names", ["pressure"] * 2), "each name once in field_names"),
        (attribute("t0_fields", "field_names", [1, 2]), "texts in field_names of /t0_fields"),
        (attribute("/", "grid_type", ["cartesian", "polar"]), "a text as grid_type of /"),
    ],
)
def test_what_has_no_meaning_is_refused(tmp_path: Path, edit: Any, message: str) -> None:
    with pytest.raises(LilasError, match=message):
        open_well(change(write(tmp_path), edit))


def test_one_name_is_one_field(tmp_path: Path) -> None:
    def edit(file: h5py.File) -> None:
        file["t0_fields"].attrs["field_names"] = ["buoyancy", "pressure", "velocity"]
        file["t0_fields/velocity"] = file["t0_fields/pressure"]

    with pytest.raises(LilasError, match="one field velocity, found t0_ and t1_fields"):
        open_well(change(write(tmp_path), edit))
