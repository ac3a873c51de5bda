"""The Well's files: numbers against the_well's own reader, and every way a file can be wrong."""

import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from the_well.data import WellDataset
from the_well.data.datasets import BoundaryCondition
from the_well.utils.dummy_data import write_dummy_data

from lilas.data.layout import BOUNDARIES
from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels, label, label_names, read_states
from lilas.data.transforms import Transform
from lilas.data.well import WellFile, open_files, open_well
from lilas.data.well_writer import write_well
from lilas.errors import LilasError


def convection(trajectories: int = 3, **changes: Any) -> dict[str, Any]:
    """Arguments of `write_well` like The Well's `rayleigh_benard`, but random fields."""
    rng = np.random.default_rng(1)
    steps, x, y = 6, 8, 5
    shape = (trajectories, steps, x, y)
    return {
        "dataset": "rayleigh_benard",
        "fields": {
            "buoyancy": rng.normal(size=shape),
            "pressure": rng.normal(size=shape),
            "velocity": rng.normal(size=(*shape, 2)),
        },
        "time": 8 + 0.5 * np.arange(steps),
        "coordinates": {
            "x": np.arange(x) / 2,
            "y": (1 - np.cos(np.pi * (np.arange(y) + 0.5) / y)) / 2,
        },
        "parameters": {"Rayleigh": 1e6, "Prandtl": np.geomspace(0.5, 2, trajectories)},
        "boundaries": {"x": "periodic", "y": "wall"},
    } | changes


def cloud() -> dict[str, Any]:
    """Arguments of `write_well` for a three-dimensional file with a scalar, a vector, a tensor."""
    rng = np.random.default_rng(2)
    shape = (2, 5, 4, 3, 6)
    return {
        "dataset": "turbulence_gravity_cooling",
        "fields": {
            "stress": rng.normal(size=(*shape, 3, 3)),
            "velocity": rng.normal(size=(*shape, 3)),
            "density": rng.normal(size=shape),
        },
        "time": 0.02 * np.arange(5),
        "coordinates": {"x": np.arange(4.0), "y": np.arange(3.0), "z": np.arange(6.0)},
        "parameters": {"rho0": np.array([0.445, 44.5]), "T0": 10.0, "Z": np.array([0.0, 0.1])},
        "boundaries": {"x": "open", "y": "wall", "z": "periodic"},
    }


def well(path: Path) -> WellDataset:
    """The folder <path>/data/train as The Well's own reader takes it."""
    return WellDataset(
        path=str(path),
        well_split_name="train",
        n_steps_input=3,
        n_steps_output=2,
        normalize_time_grid=False,
    )


def train(folder: Path) -> Path:
    return folder / "data" / "train" / "file.hdf5"


def write(folder: Path, **changes: Any) -> Path:
    write_well(train(folder), **convection(**changes))
    return train(folder)


def change(path: Path, edit: Callable[[h5py.File], Any]) -> Path:
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def shuffled(values: dict[str, np.ndarray], file: WellFile, dtype: type = np.float32) -> np.ndarray:
    """The fields that were written, (trajectory, time, channel, *space)."""
    columns = [values[c.field][(..., *c.axes)] for c in file.channels]
    return np.stack(columns, axis=2).astype(dtype)


# --- Against the_well --------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [convection(), cloud()], ids=["2d", "3d"])
def test_the_well_reads_the_same_numbers(tmp_path: Path, arguments: dict[str, Any]) -> None:
    write_well(train(tmp_path), **arguments)
    file, theirs = open_well(train(tmp_path)), well(tmp_path)
    names = [name for order in range(3) for name in theirs.metadata.field_names[order]]
    assert [channel.name for channel in file.channels] == names
    assert (file.dataset, file.grid) == (theirs.dataset_name, theirs.metadata.grid_type)
    written = shuffled(arguments["fields"], file)
    labels = label(file, {})
    windows = file.steps - 4
    assert len(theirs) == file.trajectories * windows
    for index in range(len(theirs)):
        trajectory, step = divmod(index, windows)
        sample = theirs[index]
        window = np.concatenate([sample["input_fields"], sample["output_fields"]])
        ours = read_states(file, trajectory, slice(step, step + 5))
        assert sample["input_fields"].numpy().dtype == ours.dtype == np.float32
        np.testing.assert_array_equal(np.moveaxis(window, -1, 1), ours)
        np.testing.assert_array_equal(written[trajectory, step : step + 5], ours)
        theirs_label = [*sample["constant_scalars"], *sample["boundary_conditions"].flatten()]
        np.testing.assert_array_equal(theirs_label, labels[trajectory])
        np.testing.assert_array_equal(
            sample["input_time_grid"], file.times[trajectory, step : step + 3]
        )
    grid = np.meshgrid(*(points[-1] for points in file.coordinates.values()), indexing="ij")
    np.testing.assert_array_equal(np.moveaxis(sample["space_grid"].numpy(), -1, 0), grid)


def _own_axes(file: h5py.File) -> None:
    """Gives each trajectory times and grid points of its own."""
    for name in ("time", "x"):
        points = file[f"dimensions/{name}"][()]
        rows = np.stack([points * (1 + i) + i for i in range(file.attrs["n_trajectories"])])
        _replace(f"dimensions/{name}", rows.astype(np.float32))(file)
        file[f"dimensions/{name}"].attrs["sample_varying"] = True


def test_the_well_reads_the_same_of_joined_datasets_of_differing_steps(tmp_path: Path) -> None:
    """Two folders with files of the same names; times, grid points and steps of their own."""
    paths, twins = [], []
    for folder, boundary in (("open", "open"), ("closed", "periodic")):
        for name, edit in (("a", lambda arguments: arguments), ("b", _shorter)):
            path = tmp_path / folder / "data" / "train" / f"{name}.hdf5"
            ends = {"x": boundary, "y": boundary}
            changes = {"dataset": folder, "boundaries": ends}
            write_well(path, **edit(convection(trajectories=2, **changes)))
            paths.append(change(path, _own_axes) if name == "a" else path)
        twins.append(well(tmp_path / folder))
    files = open_files(paths)
    assert [file.steps for file in files] == [6, 5, 6, 5]
    names = tuple(channel.name for channel in files[0].channels)
    same = Preprocessing(names, (Transform(),) * len(names), (0,) * len(names), (1,) * len(names))
    pixels = Pixels(files, same, {})
    windows = [
        (row, start) for row in range(pixels.rows) for start in range(int(pixels.steps[row]) - 4)
    ]
    samples = [theirs[i] for theirs in twins for i in range(len(theirs))]
    assert len(samples) == len(windows) == 2 * (2 * 2 + 2 * 1)
    for sample, (row, start) in zip(samples, windows, strict=True):
        window = np.concatenate([sample["input_fields"], sample["output_fields"]])
        ours = pixels.truth(row, slice(start, start + 5))
        np.testing.assert_array_equal(np.moveaxis(window, -1, 1), ours)
        theirs_label = [*sample["constant_scalars"], *sample["boundary_conditions"].flatten()]
        np.testing.assert_array_equal(theirs_label, pixels.labels[row])
        times = np.concatenate([sample["input_time_grid"], sample["output_time_grid"]])
        np.testing.assert_array_equal(times, pixels.times(row)[start : start + 5])
        grid = np.meshgrid(*(pixels.points(row, axis) for axis in "xy"), indexing="ij")
        np.testing.assert_array_equal(np.moveaxis(sample["space_grid"].numpy(), -1, 0), grid)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # from the_well's use of xarray
def test_the_well_exports_the_same_numbers(tmp_path: Path) -> None:
    arguments = cloud()
    write_well(train(tmp_path), **arguments)
    exported = well(tmp_path).to_xarray("numpy")
    for name, values in arguments["fields"].items():
        np.testing.assert_array_equal(exported[name], values.astype(np.float32))
    np.testing.assert_array_equal(exported["rho0"], np.float32([0.445, 44.5]))


@pytest.mark.parametrize("arguments", [convection(), cloud()], ids=["2d", "3d"])
def test_written_files_meet_the_specification(tmp_path: Path, arguments: dict[str, Any]) -> None:
    """What The Well's specification asks beyond what its reader needs."""
    write_well(train(tmp_path), **arguments)
    with h5py.File(train(tmp_path)) as file:
        dims = list(file["dimensions"].attrs["spatial_dims"])
        sizes = {"time": len(arguments["time"])}
        sizes |= {name: len(points) for name, points in arguments["coordinates"].items()}
        assert file.attrs["n_spatial_dims"] == len(dims)
        for name in file.attrs["simulation_parameters"]:
            assert file["scalars"][name][()] == np.float32(file.attrs[name])

        def axes(owner: Any) -> tuple[int, ...]:
            varies = [owner.attrs[name] for name in ("sample_varying", "time_varying")]
            assert all(isinstance(value, np.bool_) for value in varies)
            return tuple(
                size
                for size, vary in zip(
                    (file.attrs["n_trajectories"], sizes["time"]), varies, strict=True
                )
                if vary
            )

        assert file["dimensions/time"].shape == axes(file["dimensions/time"])
        for name in dims:
            assert axes(file["dimensions"][name]) == ()
        for name in file["scalars"].attrs["field_names"]:
            assert file["scalars"][name].shape == axes(file["scalars"][name])
        for order in range(3):
            group = file[f"t{order}_fields"]
            assert sorted(group) == sorted(group.attrs["field_names"])
            for field in group.values():
                assert field.attrs["dim_varying"].tolist() == [True] * len(dims)
                space = tuple(sizes[name] for name in dims)
                assert field.shape == axes(field) + space + (len(dims),) * order
                assert field.dtype == np.float32
        covered = []
        for name, boundary in file["boundary_conditions"].items():
            assert axes(boundary) == ()
            assert boundary.attrs["bc_type"].lower() in name
            (dim,) = boundary.attrs["associated_dims"]
            assert dim in name
            assert list(boundary.attrs["associated_fields"]) == []
            assert boundary["mask"].dtype == bool
            assert np.flatnonzero(boundary["mask"]).tolist() == [0, sizes[dim] - 1]
            covered.append(dim)
        assert sorted(covered) == sorted(dims)


def test_reads_a_file_that_the_well_wrote(tmp_path: Path) -> None:
    train(tmp_path).parent.mkdir(parents=True)
    write_dummy_data(str(train(tmp_path)))
    file, theirs = open_well(train(tmp_path)), well(tmp_path)
    assert [channel.name for channel in file.channels] == ["field_x", "field_y"]
    assert label_names(file)[:2] == ["a", "b"]
    window = np.moveaxis(theirs[0]["input_fields"].numpy(), -1, 1)
    np.testing.assert_array_equal(read_states(file, 0, slice(0, 3)), window)
    np.testing.assert_array_equal(label(file, {})[0, :2], [0.25, 0.75])
    np.testing.assert_array_equal(file.boundaries, theirs[0]["boundary_conditions"])


def test_boundary_codes_are_the_wells() -> None:
    assert {kind.lower(): code.value for kind, code in BoundaryCondition.__members__.items()} == (
        BOUNDARIES
    )


def test_masks_give_the_codes_that_the_well_gives(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    path = write(tmp_path)
    seen = set()
    for _ in range(30):
        with h5py.File(path, "r+") as file:
            del file["boundary_conditions"]
            for name in ("a", "b", "c")[: rng.integers(4)]:
                group = file.create_group(f"boundary_conditions/{name}")
                dims = [["x"], ["y"], ["x", "y"]][rng.integers(3)]
                group.attrs["associated_dims"] = dims
                group.attrs["bc_type"] = ["wall", "OPEN", "Periodic"][rng.integers(3)]
                sizes = [{"x": 8, "y": 5}[dim] for dim in dims]
                group["mask"] = rng.random(sizes) < rng.choice([0.1, 0.5, 1.0])
            file.require_group("boundary_conditions")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            codes = well(tmp_path)[0]["boundary_conditions"].numpy()
        np.testing.assert_array_equal(open_well(path).boundaries, codes)
        seen.add(tuple(codes.flatten()))
    assert len(seen) > 5


@pytest.mark.parametrize("sample_varying", [True, False])
def test_fields_that_do_not_vary_are_repeated(tmp_path: Path, sample_varying: bool) -> None:
    path = write(tmp_path, boundaries={"x": "open", "y": "open"})
    rng = np.random.default_rng(4)
    values = rng.normal(size=(3, 6, 1, 5, 2)[not sample_varying :]).astype(np.float32)

    def put(file: h5py.File, stored: np.ndarray) -> None:
        del file["t1_fields/velocity"]
        field = file["t1_fields"].create_dataset("velocity", data=stored)
        field.attrs["dim_varying"] = [False, True]
        field.attrs["sample_varying"] = sample_varying
        field.attrs["time_varying"] = True

    change(path, lambda file: put(file, values))
    kept = read_states(open_well(path, ["velocity"]), 2, slice(1, 6))
    theirs = well(tmp_path)[2 * 2 + 1]
    window = np.concatenate([theirs["input_fields"], theirs["output_fields"]])[..., 2:]
    np.testing.assert_array_equal(kept, np.moveaxis(window, -1, 1))
    own = values[2] if sample_varying else values
    for x in range(8):
        np.testing.assert_array_equal(kept[:, :, x], np.moveaxis(own[1:, 0], -1, 1))
    # The specification, unlike the reader, leaves the axis out.
    change(path, lambda file: put(file, values.squeeze(-3)))
    left_out = read_states(open_well(path, ["velocity"]), 2, slice(1, 6))
    np.testing.assert_array_equal(left_out, kept)


# --- States and labels -------------------------------------------------------------------------


@given(data=st.data(), seed=st.integers(0, 2**16))
@settings(max_examples=15, deadline=None)
def test_states_come_back_as_they_were_written(data: st.DataObject, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = st.integers(1, 4)
    dims = data.draw(st.integers(1, 3), "space axes")
    trajectories, steps, *shape = (data.draw(sizes) for _ in range(2 + dims))
    orders = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=3), "orders")
    fields = {
        f"field{i}": rng.normal(size=(trajectories, steps, *shape, *[dims] * order))
        for i, order in enumerate(orders)
    }
    chosen = data.draw(st.permutations(sorted(fields)), "order of reading")
    parameters = {"a": rng.random(trajectories), "b": rng.random()}
    kinds = data.draw(st.lists(st.sampled_from(sorted(BOUNDARIES)), min_size=dims, max_size=dims))
    axes = [f"axis{i}" for i in range(dims)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.hdf5"
        write_well(
            path,
            dataset="random",
            fields=fields,
            time=np.arange(steps),
            coordinates=dict(zip(axes, map(np.arange, shape), strict=True)),
            parameters=parameters,
            boundaries=dict(zip(axes, kinds, strict=True)),
        )
        file = open_well(path, chosen)
        states = np.stack([read_states(file, i) for i in range(trajectories)])
    expected = np.concatenate(
        [
            np.moveaxis(fields[name].reshape(trajectories, steps, *shape, -1), -1, 2)
            for name in chosen
        ],
        axis=2,
    ).astype(np.float32)
    np.testing.assert_array_equal(states, expected)
    assert list(dict.fromkeys(c.field for c in file.channels)) == chosen
    np.testing.assert_array_equal(file.parameters["a"], parameters["a"].astype(np.float32))
    np.testing.assert_array_equal(
        file.parameters["b"], [np.float32(parameters["b"])] * trajectories
    )
    assert file.boundaries.tolist() == [[BOUNDARIES[kind]] * 2 for kind in kinds]


@pytest.mark.parametrize(
    "steps", [slice(2, None, 3), slice(None, None, 2), slice(-2, None), slice(4, 2), slice(1, 99)]
)
def test_slices_of_a_trajectory(tmp_path: Path, steps: slice) -> None:
    file = open_well(write(tmp_path))
    np.testing.assert_array_equal(read_states(file, 1, steps), read_states(file, 1)[steps])


def test_slices_run_forward_and_trajectories_exist(tmp_path: Path) -> None:
    file = open_well(write(tmp_path))
    with pytest.raises(LilasError, match="ascending"):
        read_states(file, 0, slice(None, None, -1))
    for trajectory in (-1, 3):
        with pytest.raises(LilasError, match="holds 0 to 2"):
            read_states(file, trajectory)


def test_channels_follow_the_requested_order(tmp_path: Path) -> None:
    file = open_well(write(tmp_path), ["velocity", "buoyancy"])
    assert [(c.name, c.order, c.axes) for c in file.channels] == [
        ("velocity_x", 1, (0,)),
        ("velocity_y", 1, (1,)),
        ("buoyancy", 0, ()),
    ]


def test_label_is_parameters_then_boundary_codes(tmp_path: Path) -> None:
    file = open_well(write(tmp_path))
    assert label_names(file) == [
        "Rayleigh",
        "Prandtl",
        "boundary_x_first",
        "boundary_x_last",
        "boundary_y_first",
        "boundary_y_last",
    ]
    # ln 1e6 = 13.815511 and ln 0.5 = -0.693147.
    expected = [
        [13.815511, -0.693147, 2, 2, 0, 0],
        [13.815511, 0.0, 2, 2, 0, 0],
        [13.815511, 0.693147, 2, 2, 0, 0],
    ]
    labels = label(file, {"Rayleigh": "log", "Prandtl": "log"})
    assert labels.dtype == np.float32
    np.testing.assert_allclose(labels, expected, atol=1e-6)
    raw = label(file, {"Rayleigh": "none"})
    np.testing.assert_allclose(raw[:, :2], [[1e6, 0.5], [1e6, 1.0], [1e6, 2.0]], rtol=1e-7)


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ({"rayleigh": "log"}, r"no parameter 'rayleigh'; it has Rayleigh, Prandtl"),
        ({"Rayleigh": "sqrt"}, r"'log' or 'none', not 'sqrt'"),
        ({"Prandtl": "log"}, r"Prandtl is 0 .* no logarithm"),
    ],
)
def test_labels_that_have_no_value(tmp_path: Path, transforms: dict, message: str) -> None:
    parameters = {"Rayleigh": 1e6, "Prandtl": np.array([0.0, 1.0, 2.0])}
    file = open_well(write(tmp_path, parameters=parameters))
    with pytest.raises(LilasError, match=message):
        label(file, transforms)


def test_labels_beyond_float32_are_refused(tmp_path: Path) -> None:
    """Parameters are read in float64; what a network sees of them is float32."""
    file = open_well(write(tmp_path))
    file.parameters["Prandtl"][1] = 1e39
    with pytest.raises(LilasError, match=r"hdf5: expected values of Prandtl that are finite"):
        label(file, {})
    # Its logarithm is a number like any other.
    assert np.isfinite(label(file, {"Prandtl": "log"})).all()
    file.parameters["Prandtl"][1] = np.inf
    with pytest.raises(LilasError, match="expected values of Prandtl"):
        label(file, {"Prandtl": "log"})


# --- Files that are broken ---------------------------------------------------------------------


def test_not_a_whole_hdf5_file(tmp_path: Path) -> None:
    path = write(tmp_path)
    whole = path.read_bytes()
    cases = {
        whole[: len(whole) // 2]: "truncated file. Delete it and make or download it again",
        whole[:-1]: "truncated file",
        b"<html>Not here</html>" * 100: "something else than HDF5",
        b"": "something else than HDF5",
    }
    for content, message in cases.items():
        path.write_bytes(content)
        with pytest.raises(LilasError, match=message) as error:
            open_well(path)
        assert str(path) in str(error.value)
    path.unlink()
    with pytest.raises(LilasError, match="found nothing"):
        open_well(path)
    path.mkdir()
    with pytest.raises(LilasError, match="Is a directory"):
        open_well(path)


def test_a_lost_disk_sector_never_escapes_as_another_error(tmp_path: Path) -> None:
    path = write(tmp_path)
    whole = path.read_bytes()
    sector = 512
    # HDF5 itself may loop forever over a heap of strings that is all zeros.
    heap = whole.index(b"GCOL")
    assert whole.count(b"GCOL") == 1
    messages = []
    for start in range(0, len(whole), sector):
        if heap - sector < start < heap + 4096:
            continue
        path.write_bytes(whole[:start] + bytes(sector) + whole[start + sector :])
        try:
            file = open_well(path)
            for trajectory in range(file.trajectories):
                read_states(file, trajectory)
        except LilasError as error:
            messages.append(str(error))
    assert len(messages) > 10
    assert all(str(path) in message for message in messages)


def test_permission_is_told_as_such(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.chmod(0)
    path.parent.chmod(0o500)
    user = os.geteuid()
    if user == 0:  # to whom nothing is forbidden
        os.seteuid(65534)
    try:
        with pytest.raises(LilasError, match=r"permission denied.*chmod"):
            open_well(path)
        with pytest.raises(LilasError, match="a folder to write in, found permission denied"):
            write_well(path, **convection())
    finally:
        os.seteuid(user)
        path.parent.chmod(0o700)


def test_an_axis_has_no_name_of_ours(tmp_path: Path) -> None:
    for name in ("member", "channel", "trajectory_time", "trajectory_member"):
        arguments = {"coordinates": {name: np.arange(8), "y": np.arange(5)}}
        arguments["boundaries"] = {name: "open", "y": "open"}
        path = write(tmp_path, **arguments)
        if name == "trajectory_member":
            assert open_well(path).axes == (name, "y")
            continue
        with pytest.raises(LilasError, match=f"no store has a variable of, found {name}. Rename"):
            open_well(path)


def test_a_name_that_is_a_path_is_refused_of_axes_and_fields(tmp_path: Path) -> None:
    def nest(group: str, attribute: str, name: str) -> Callable[[h5py.File], None]:
        def edit(file: h5py.File) -> None:
            names = [f"{name}/L" if one == name else one for one in file[group].attrs[attribute]]
            file.move(f"{group}/{name}", f"{group}/L")
            file[group].create_group(name)
            file.move(f"{group}/L", f"{group}/{name}/L")
            file[group].attrs[attribute] = names

        return edit

    path = change(write(tmp_path), nest("dimensions", "spatial_dims", "x"))
    with pytest.raises(LilasError, match=r"no store has a variable of, found x/L. Rename"):
        open_well(path)
    path = change(write(tmp_path), nest("t0_fields", "field_names", "pressure"))
    with pytest.raises(LilasError, match=r"fields of /t0_fields without / in .* found pressure/L"):
        open_well(path)
    # Of a field that is not used it is no matter.
    assert len(open_well(path, ["buoyancy", "velocity"]).channels) == 3


def _replace(name: str, values: np.ndarray) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        attributes = dict(file[name].attrs)
        del file[name]
        file[name] = values
        file[name].attrs.update(attributes)

    return edit


def _attribute(name: str, attribute: str, value: Any) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        file[name].attrs[attribute] = value

    return edit


def _without(name: str, attribute: str) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        del file[name].attrs[attribute]

    return edit


def _empty(file: h5py.File) -> None:
    for name in list(file):
        del file[name]
    file["measurements"] = np.arange(3)


def _dataset_for_group(file: h5py.File) -> None:
    del file["scalars"]
    file["scalars"] = np.arange(3)


def _time_of_another_length(file: h5py.File) -> None:
    _replace("dimensions/time", np.outer([1, 2], np.arange(6.0)))(file)
    file["dimensions/time"].attrs["sample_varying"] = True


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_empty, r"the group /dimensions, found only measurements"),
        (_dataset_for_group, r"the group /scalars, found a dataset"),
        (_without("/", "grid_type"), r"attribute grid_type of /, found only"),
        (_attribute("/", "n_spatial_dims", 3), r"3 space axes .* found \('x', 'y'\)"),
        (_attribute("/", "n_trajectories", 4), r"\(trajectory 4, time 6.*found \(3, 6, 8, 5\)"),
        (_attribute("/", "n_trajectories", "three"), "n_trajectories to be an integer above 0"),
        (_attribute("/", "n_trajectories", 0), "n_trajectories to be an integer above 0"),
        (
            _replace("t0_fields/pressure", np.zeros((3, 6, 5, 8))),
            r"/pressure of shape \(trajectory 3, time 6, x 8, y 5\), found \(3, 6, 5, 8\)",
        ),
        (
            _replace("t0_fields/pressure", np.zeros((6, 3, 8, 5))),
            r"\(trajectory 3, time 6, x 8, y 5\), found \(6, 3, 8, 5\)",
        ),
        (
            _replace("t1_fields/velocity", np.zeros((3, 6, 8, 5, 3))),
            r"component 2\), found \(3, 6, 8, 5, 3\)",
        ),
        (_attribute("t0_fields/pressure", "dim_varying", [True]), "with 2 entries, found 1"),
        (
            _attribute("t0_fields/pressure", "dim_varying", [True, False]),
            r"\(trajectory 3, time 6, x 8\), found \(3, 6, 8, 5\)",
        ),
        (_without("t0_fields/pressure", "sample_varying"), "sample_varying of /t0_fields/pressure"),
        (_attribute("t0_fields/pressure", "time_varying", "False"), "a boolean time_varying"),
        (_attribute("t0_fields", "field_names", ["heat"]), "/t0_fields/heat, found only"),
        (_replace("t0_fields/pressure", np.zeros((3, 6, 8, 5), "S3")), "numbers in .*/pressure"),
        (_replace("dimensions/time", np.array([0, 1, np.nan, 3, 4, 5])), "finite .*/time"),
        (_replace("dimensions/time", np.zeros(0)), "points in /dimensions/time, found none"),
        (_replace("dimensions/x", np.full(8, np.nan)), "finite numbers in /dimensions/x"),
        (_replace("dimensions/x", np.zeros((8, 2))), r"x of shape \(point,\)"),
        (_time_of_another_length, r"time of shape \(trajectory 3, time 6\), found \(2, 6\)"),
        (_replace("scalars/Prandtl", np.ones(4)), r"\(trajectory 3\), found \(4,\)"),
        (_replace("scalars/Rayleigh", np.float32(np.inf)), "finite numbers in /scalars/Rayleigh"),
        (_attribute("boundary_conditions/y_wall", "bc_type", "SLIP"), "periodic, found 'slip'"),
        (_attribute("boundary_conditions/y_wall", "associated_dims", ["z"]), "among x, y, found z"),
        (_replace("boundary_conditions/y_wall/mask", np.ones(8, bool)), r"\(y 5\), found \(8,\)"),
    ],
)
def test_files_that_contradict_themselves(
    tmp_path: Path, edit: Callable[[h5py.File], None], message: str
) -> None:
    path = change(write(tmp_path), edit)
    with pytest.raises(LilasError, match=message) as error:
        open_well(path)
    assert str(path) in str(error.value)


def test_missing_fields_are_told_with_those_present(tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.raises(LilasError, match=r"fields heat, .* only buoyancy, pressure, velocity"):
        open_well(path, ["heat", "velocity"])
    for fields in ([], ["buoyancy", "buoyancy"]):
        with pytest.raises(LilasError, match="name each field once"):
            open_well(path, fields)

    change(path, _attribute("t0_fields/pressure", "time_varying", False))
    with pytest.raises(LilasError, match="pressure, varying in time, found only buoyancy"):
        open_well(path, ["pressure"])


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_values_that_are_not_finite(tmp_path: Path, value: float) -> None:
    path = write(tmp_path)

    def spoil(file: h5py.File) -> None:
        file["t1_fields/velocity"][1, 3:, 2, 4, 1] = value

    file = open_well(change(path, spoil))
    read_states(file, 0)
    read_states(file, 1, slice(0, 3))
    with pytest.raises(LilasError, match=r"trajectory 1, step 3 .*channel velocity_y") as error:
        read_states(file, 1)
    assert str(path) in str(error.value)
    with pytest.raises(LilasError, match=r"trajectory 1, step 5 .*channel velocity_y"):
        read_states(file, 1, slice(2, None, 3))


def test_a_file_that_changed_after_it_was_opened(tmp_path: Path) -> None:
    file = open_well(write(tmp_path))
    write(tmp_path, trajectories=5)
    with pytest.raises(LilasError, match=r"trajectory 3.*found \(5, 6, 8, 5\)"):
        read_states(file, 0)


# --- Splits ------------------------------------------------------------------------------------


def test_a_split_without_files_is_refused() -> None:
    with pytest.raises(LilasError, match="at least one"):
        open_files([])


def test_files_of_a_split_may_differ_where_the_wells_do(tmp_path: Path) -> None:
    """Euler's two datasets, other times and grid points, and other numbers of steps."""
    arguments = convection()
    write_well(tmp_path / "a.hdf5", **arguments)
    other = {
        "dataset": "another",
        "boundaries": {"x": "open", "y": "open"},
        "time": 3 * arguments["time"],
        "coordinates": arguments["coordinates"] | {"x": np.arange(8.0) ** 2},
        "parameters": {"Rayleigh": 1e7, "Prandtl": 1.0},
    }
    write_well(tmp_path / "b.hdf5", **_shorter(convection(trajectories=2, **other)))
    first, second = open_files([tmp_path / "a.hdf5", tmp_path / "b.hdf5"])
    assert [file.boundaries[0, 0] for file in (first, second)] == [2, 1]
    assert first.times.shape == (3, 6)
    np.testing.assert_array_equal(first.times, [arguments["time"]] * 3)
    np.testing.assert_array_equal(second.times, [other["time"][:5]] * 2)
    np.testing.assert_array_equal(second.coordinates["x"], [np.arange(8.0) ** 2] * 2)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0, 1, 1, 2, 3, 4], "trajectory 0: step 1 is at 1, step 2 at 1, and in 2 more"),
        ([0, 1, 2, 1, 2, 3], "step 2 is at 2, step 3 at 1"),
        ([[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 4], [5, 6, 7, 8, 9, 10]], "trajectory 1: step 4"),
        (np.zeros(6), "step 0 is at 0, step 1 at 0"),
    ],
)
def test_times_that_do_not_grow_are_warned_of(tmp_path: Path, times: Any, message: str) -> None:
    path = change(write(tmp_path), _replace("dimensions/time", np.array(times, np.float32)))
    varies = np.ndim(times) == 2
    change(path, _attribute("dimensions/time", "sample_varying", varies))
    with pytest.warns(UserWarning, match=message) as caught:
        (file,) = open_files([path])
    assert str(path) in str(caught[0].message)
    np.testing.assert_array_equal(file.times, np.broadcast_to(times, (3, 6)))


def _shorter(arguments: dict[str, Any]) -> dict[str, Any]:
    fields = {name: values[:, :5] for name, values in arguments["fields"].items()}
    return arguments | {"fields": fields, "time": arguments["time"][:5]}


def _narrower(arguments: dict[str, Any]) -> dict[str, Any]:
    fields = {name: values[:, :, :4] for name, values in arguments["fields"].items()}
    coordinates = arguments["coordinates"] | {"x": arguments["coordinates"]["x"][:4]}
    return arguments | {"fields": fields, "coordinates": coordinates}


def _renamed(arguments: dict[str, Any]) -> dict[str, Any]:
    x, y = arguments["coordinates"].values()
    return arguments | {
        "coordinates": {"x": x, "z": y},
        "boundaries": {"x": "periodic", "z": "wall"},
    }


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_narrower, r"grid shape of .*a.hdf5, \(8, 5\), found \(4, 5\)"),
        (_renamed, r"space axes of .*\('x', 'y'\), found \('x', 'z'\)"),
        (
            lambda a: a | {"fields": {"buoyancy": a["fields"]["buoyancy"]}},
            r"channels of .*found \('buoyancy',\)",
        ),
        (
            lambda a: a | {"parameters": {"Prandtl": 1.0, "Rayleigh": 1e6}},
            r"parameters of .*\('Rayleigh', 'Prandtl'\), found \('Prandtl', 'Rayleigh'\)",
        ),
        (lambda a: a | {"grid": "spherical"}, r"grid of .*cartesian, found spherical"),
        (lambda a: a | {"attributes": {"time_units": "s"}}, r"time unit of .*found s\."),
    ],
)
def test_files_of_a_split_that_disagree(
    tmp_path: Path, edit: Callable[[dict[str, Any]], dict[str, Any]], message: str
) -> None:
    write_well(tmp_path / "a.hdf5", **convection())
    write_well(tmp_path / "b.hdf5", **edit(convection()))
    with pytest.raises(LilasError, match=message) as error:
        open_files([tmp_path / "a.hdf5", tmp_path / "b.hdf5"])
    assert "a.hdf5" in str(error.value)
    assert "b.hdf5" in str(error.value)


# --- Writing -----------------------------------------------------------------------------------


def test_attributes_and_units_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path, attributes={"time_units": "free-fall time", "seed": 7})
    assert open_well(path).time_units == "free-fall time"
    with h5py.File(path) as file:
        assert file.attrs["seed"] == 7
        assert file.attrs["Rayleigh"] == 1e6
        assert list(file.attrs["simulation_parameters"]) == ["Rayleigh"]
    assert open_well(write(tmp_path)).time_units == "unspecified"


# What is about a number that is large for what varies, and what float32 holds of it.
LARGE = {
    "time": lambda a: {"time": 1.7e9 + 60.0 * np.arange(6)},
    "grid points": lambda a: {"coordinates": a["coordinates"] | {"x": 6.4e6 + 0.1 * np.arange(8)}},
    "a field": lambda a: {
        "fields": a["fields"] | {"pressure": 101325 + 1e-3 * a["fields"]["pressure"]}
    },
    "a component": lambda a: {
        "fields": a["fields"] | {"velocity": a["fields"]["velocity"] + [0, 1e7]}
    },
    "a trajectory": lambda a: {
        "fields": a["fields"]
        | {"pressure": np.array([0, 1e7, 2e8]).reshape(3, 1, 1, 1) + a["fields"]["pressure"]}
    },
    "integers": lambda a: {
        "fields": a["fields"] | {"pressure": 2**40 + np.arange(720).reshape(3, 6, 8, 5)}
    },
    "parameters": lambda a: {"parameters": {"a": 1e8 + np.arange(3), "b": 1e-60}},
}


@pytest.mark.parametrize("what", LARGE)
def test_what_float32_would_lose_is_written_in_float64(tmp_path: Path, what: str) -> None:
    arguments = convection() | LARGE[what](convection())
    write_well(train(tmp_path), **arguments)
    file = open_well(train(tmp_path))
    assert file.doubts == ()
    np.testing.assert_allclose(
        file.times[0] - file.times[0, 0], arguments["time"] - arguments["time"][0], rtol=1e-6
    )
    for name, points in arguments["coordinates"].items():
        np.testing.assert_allclose(np.diff(file.coordinates[name][0]), np.diff(points), rtol=1e-3)
    for name, values in arguments["parameters"].items():
        np.testing.assert_allclose(file.parameters[name], np.full(3, values), rtol=1e-6)
        assert len(np.unique(file.parameters[name])) == np.size(values)
    exact = shuffled(arguments["fields"], file, np.float64)
    read = read_states(file, 2)
    std = exact[2].std(axis=(0, 2, 3), keepdims=True)
    np.testing.assert_allclose(
        read / std, exact[2] / std, rtol=1e-12 if read.dtype == np.float64 else 1e-6, atol=1e-6
    )
    # The Well's own reader takes it, and reads the same.
    sample = well(tmp_path)[0]
    np.testing.assert_array_equal(
        sample["input_fields"], np.moveaxis(read_states(file, 0)[:3], 1, -1)
    )
    np.testing.assert_array_equal(sample["input_time_grid"], file.times[0, :3])
    x = np.broadcast_to(file.coordinates["x"][0][:, None], (8, 5))
    np.testing.assert_array_equal(sample["space_grid"][..., 0], x)
    with h5py.File(train(tmp_path)) as opened:
        types: list[tuple[str, Any]] = []
        opened.visititems(lambda name, held: types.append((name, getattr(held, "dtype", None))))
        double = {name.split("/")[-1] for name, kind in types if kind == np.float64}
    expected = {"time": {"time"}, "grid points": {"x", "y"}, "a component": {"velocity"}}
    assert double == expected.get(what, {"a", "b"} if what == "parameters" else {"pressure"})


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "a").read_bytes() == write(tmp_path / "b").read_bytes()


def _spoiled(fields: dict[str, np.ndarray], value: float) -> dict[str, np.ndarray]:
    pressure = fields["pressure"].copy()
    pressure[0, 0, 0, 0] = value
    return fields | {"pressure": pressure}


FIELDS = convection()["fields"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fields": {}}, "needs a field"),
        ({"coordinates": {}}, "needs a field and a space axis"),
        ({"fields": {"heat": np.array(1.0)}}, r"heat must have the shape .*not \(\)"),
        (
            {"fields": FIELDS | {"heat": np.zeros((3, 6, 5, 8))}},
            r"\(3, 6, 8, 5\), not \(3, 6, 5, 8",
        ),
        ({"fields": FIELDS | {"heat": np.zeros((3, 6, 8, 5, 3))}}, r"\(3, 6, 8, 5, 2\), not"),
        ({"fields": FIELDS | {"heat": np.zeros((2, 6, 8, 5))}}, r"heat .*not \(2, 6, 8, 5\)"),
        ({"fields": _spoiled(FIELDS, np.nan)}, "pressure holds NaN or infinity"),
        (
            {"time": np.arange(6).astype("M8[s]")},
            r"time must be numbers, not datetime64\[s\]. Of d",
        ),
        ({"parameters": {"Re": "high"}}, "Re must be numbers, not <U4"),
        ({"fields": _spoiled(FIELDS, 1e39)}, "pressure holds NaN or infinity"),
        ({"time": np.zeros(6)}, "time must be finite and ascending"),
        ({"time": np.array([0, 1, 2, 3, 4, np.inf])}, "time must be finite and ascending"),
        (
            {"parameters": {"Rayleigh": np.ones(2)}},
            "Rayleigh must be one finite number, or one per",
        ),
        ({"parameters": {"Rayleigh": np.nan}}, "Rayleigh must be one finite number"),
        ({"boundaries": {"x": "periodic"}}, r"for each of x, y, not \{'x': 'periodic'\}"),
        ({"boundaries": {"x": "periodic", "y": "slip"}}, "wall, open, periodic"),
        ({"fields": FIELDS | {"p/rho": FIELDS["pressure"]}}, "have no / in their names, as p/rho"),
        ({"coordinates": {"x/L": np.arange(8.0), "y": np.arange(5.0)}}, "names, as x/L has"),
        ({"attributes": {"Rayleigh": 1.0}}, "the names Rayleigh are taken"),
        ({"parameters": {"n_trajectories": 1.0}}, "the names n_trajectories are taken"),
    ],
)
def test_arguments_that_contradict_each_other(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(LilasError, match=message):
        write(tmp_path, **changes)
    assert not list(tmp_path.rglob("*.*"))


def test_a_disk_without_room_leaves_the_old_file(tmp_path: Path) -> None:
    path = write(tmp_path)
    before = path.read_bytes()
    # A limit on file sizes stands for the full disk: HDF5 meets both as a failed write.
    script = (
        "import resource, sys, numpy as np\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "from lilas.data.well_writer import write_well\n"
        "from lilas.errors import LilasError\n"
        "try:\n"
        "    write_well(sys.argv[1], dataset='big', fields={'a': np.zeros((1, 2, 50_000))},\n"
        "        time=[0, 1], coordinates={'x': np.arange(50_000)}, parameters={},\n"
        "        boundaries={'x': 'open'})\n"
        "except LilasError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(path) in done.stdout
    assert "0.00065 GB of room" in done.stdout
    assert "GB left" in done.stdout
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = write(tmp_path)
    with h5py.File(path) as old:
        write(tmp_path, trajectories=4)
        assert old["t0_fields/pressure"].shape[0] == 3
    assert open_well(path).trajectories == 4
