"""Components of vectors and tensors as channels: of a symmetric tensor each once, or by name."""

from itertools import permutations, product
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from the_well.data import WellDataset

from lilas.data.augment import Transformation, apply
from lilas.data.preprocess import Preprocessing
from lilas.data.states import read_states
from lilas.data.statistics import compute_statistics
from lilas.data.transforms import Transform
from lilas.data.well import WellFile, open_well
from lilas.data.well_writer import write_well
from lilas.errors import LilasError

ARCSINH = {"kind": "arcsinh", "scale": 0.5}


def write(folder: Path, symmetry: int = 1, dims: int = 2, size: int = 4) -> tuple[Path, dict]:
    """Writes a pressure, a velocity and a tensor C, and returns the file and the fields."""
    path = folder / "data" / "train" / "file.hdf5"
    rng = np.random.default_rng(0)
    shape = (2, 4, *[size] * dims)
    tensor = rng.normal(size=(*shape, dims, dims))
    if symmetry:
        tensor = tensor + symmetry * np.swapaxes(tensor, -1, -2)
    axes = "xyz"[:dims]
    fields = {
        "pressure": rng.normal(size=shape),
        "velocity": rng.normal(size=(*shape, dims)),
        "C": tensor,
    }
    write_well(
        path,
        dataset="viscoelastic",
        fields=fields,
        time=np.arange(4),
        coordinates={axis: np.arange(size) for axis in axes},
        parameters={"Re": 1.0},
        boundaries=dict.fromkeys(axes, "periodic"),
    )
    with h5py.File(path, "r+") as file:
        attributes = file["t2_fields/C"].attrs
        attributes["symmetric"], attributes["antisymmetric"] = symmetry == 1, symmetry == -1
    return path, {name: values.astype(np.float32) for name, values in fields.items()}


def names(file: WellFile) -> list[str]:
    return [channel.name for channel in file.channels]


def test_a_symmetric_tensor_has_each_component_once(tmp_path: Path) -> None:
    """And those that are kept are WellDataset's to the bit."""
    path, _ = write(tmp_path)
    file = open_well(path)
    assert names(file) == ["pressure", "velocity_x", "velocity_y", "C_xx", "C_xy", "C_yy"]
    theirs = WellDataset(
        path=str(tmp_path), well_split_name="train", n_steps_input=3, n_steps_output=1
    )
    known = [name for order in range(3) for name in theirs.metadata.field_names[order]]
    kept = [known.index(name) for name in names(file)]
    for trajectory in range(2):
        sample = theirs[trajectory]
        window = np.concatenate([sample["input_fields"], sample["output_fields"]])
        states = read_states(file, trajectory)
        assert np.array_equal(states, np.moveaxis(window, -1, 1)[:, kept])


@pytest.mark.parametrize(
    ("symmetry", "dims", "expected"),
    [
        (1, 3, ["C_xx", "C_xy", "C_xz", "C_yy", "C_yz", "C_zz"]),
        (-1, 3, ["C_xy", "C_xz", "C_yz"]),
        (-1, 2, ["C_xy"]),
        (0, 2, ["C_xx", "C_xy", "C_yx", "C_yy"]),
    ],
)
def test_what_is_kept_of_a_tensor(
    tmp_path: Path, symmetry: int, dims: int, expected: list[str]
) -> None:
    path, fields = write(tmp_path, symmetry, dims)
    file = open_well(path, ["C"])
    assert names(file) == expected
    states = read_states(file, 1)
    for i, channel in enumerate(file.channels):
        assert np.array_equal(states[:, i], fields["C"][(1, ..., *channel.axes)])


def test_components_are_named_one_by_one_and_in_any_order(tmp_path: Path) -> None:
    path, fields = write(tmp_path)
    asked = ["C_yy", "velocity_y", "C_yx", "pressure", "C_xx"]
    file = open_well(path, asked)
    assert names(file) == asked
    expected = np.stack(
        [
            fields["C"][0, ..., 1, 1],
            fields["velocity"][0, ..., 1],
            fields["C"][0, ..., 1, 0],
            fields["pressure"][0],
            fields["C"][0, ..., 0, 0],
        ],
        axis=1,
    )
    assert np.array_equal(read_states(file, 0), expected)
    assert np.array_equal(read_states(file, 0, slice(1, 4, 2)), expected[1:4:2])
    with pytest.raises(LilasError, match=r"the fields C_zz, varying in time, found only pressure"):
        open_well(path, ["C_zz"])
    with pytest.raises(LilasError, match="name each field once"):
        open_well(path, ["C", "C_xy"])


@pytest.mark.parametrize("symmetry", [1, -1])
def test_a_tensor_that_is_not_what_its_file_says_is_refused(tmp_path: Path, symmetry: int) -> None:
    path, _ = write(tmp_path, symmetry)
    with h5py.File(path, "r+") as file:
        # Solvers round.
        file["t2_fields/C"][1, 2, 3, 0, 1, 0] += 1e-5
    read_states(open_well(path), 1)
    with h5py.File(path, "r+") as file:
        file["t2_fields/C"][1, 2, 3, 0, 1, 0] = 5.0
    read_states(open_well(path), 0)
    kind = "symmetric" if symmetry == 1 else "antisymmetric"
    with pytest.raises(LilasError, match=rf"file\.hdf5: expected C to be {kind}, as .*every comp"):
        read_states(open_well(path), 1)
    with pytest.raises(LilasError, match=f"C to be {kind}"):
        read_states(open_well(path, ["C_xy"]), 1)
    every = open_well(path, ["C_xx", "C_xy", "C_yx", "C_yy"])
    assert read_states(every, 1)[2, 2, 3, 0] == 5.0


def test_an_antisymmetric_tensor_has_no_diagonal(tmp_path: Path) -> None:
    path, _ = write(tmp_path, -1)
    with h5py.File(path, "r+") as file:
        file["t2_fields/C"][0, 0, 0, 0, 1, 1] = 0.1
    with pytest.raises(LilasError, match="C to be antisymmetric"):
        read_states(open_well(path), 0)


@pytest.mark.parametrize(("symmetry", "dims"), [(1, 2), (1, 3), (-1, 2), (-1, 3)])
def test_symmetries_act_on_the_components_that_are_kept(
    tmp_path: Path, symmetry: int, dims: int
) -> None:
    """As on all of them; of half of them by name, too."""
    path, _ = write(tmp_path, symmetry, dims)
    with h5py.File(path, "r+") as file:
        file["t2_fields/C"].attrs.update({"symmetric": False, "antisymmetric": False})
    whole = open_well(path)
    states = torch.from_numpy(read_states(whole, 0))
    with h5py.File(path, "r+") as file:
        said = {"symmetric": symmetry == 1, "antisymmetric": symmetry == -1}
        file["t2_fields/C"].attrs.update(said)
    once, lower = open_well(path), open_well(path, ["velocity", "C_yx"])
    assert len(once.channels) < len(whole.channels)
    for flips in product([False, True], repeat=dims):
        for order in permutations(range(dims)):
            moves = Transformation(flips, tuple(range(dims)), order)
            expected = apply(states, moves, whole.channels, None)
            for file in (once, lower) if dims == 2 else (once,):
                kept = [names(whole).index(name) for name in names(file)]
                found = apply(states[:, kept], moves, file.channels, None)
                assert torch.equal(found, expected[:, kept])


def test_symmetries_act_through_transforms(tmp_path: Path) -> None:
    """An arcsinh changes its sign with a component; a logarithm goes where the sign stays."""
    path, _ = write(tmp_path)
    file = open_well(path, ["velocity", "C"])
    states = torch.from_numpy(read_states(file, 0))
    log, arcsinh = Transform("log", 10.0), Transform("arcsinh", 0.5)
    numbers = {"mean": (0.3, -0.2, 2.0, 0.1, 2.5), "std": (0.5, 1.5, 0.7, 1.1, 0.9)}
    seen = Preprocessing(tuple(names(file)), (arcsinh, arcsinh, log, arcsinh, log), **numbers)
    for flips in product([False, True], repeat=2):
        for order in ((0, 1), (1, 0)):
            moves = Transformation(flips, (1, 2), order)
            found = apply(seen.forward(states, 1), moves, file.channels, seen)
            expected = seen.forward(apply(states, moves, file.channels, None), 1)
            assert torch.allclose(found, expected, atol=1e-5)
    other = Preprocessing(
        tuple(names(file)), (arcsinh, Transform("arcsinh", 1.0), log, arcsinh, log), **numbers
    )
    with pytest.raises(LilasError, match=r"velocity_x is a component that arcsinh\(x / 0\.5\)"):
        apply(states, Transformation((False,) * 2, (0, 0), (1, 0)), file.channels, other)


def test_statistics_have_a_transform_by_component(tmp_path: Path) -> None:
    path, fields = write(tmp_path)
    file = open_well(path, ["C", "velocity", "pressure"])
    transforms = {"C": {"kind": "log", "offset": 10.0}, "C_xy": ARCSINH, "velocity_y": ARCSINH}
    found = compute_statistics([file], transforms)["channels"]
    tensor, velocity = fields["C"].astype(float), fields["velocity"].astype(float)
    expected = {
        "C_xx": np.log(tensor[..., 0, 0] + 10),
        "C_xy": np.arcsinh(tensor[..., 0, 1] / 0.5),
        "C_yy": np.log(tensor[..., 1, 1] + 10),
        "velocity_x": velocity[..., 0],
        "velocity_y": np.arcsinh(velocity[..., 1] / 0.5),
        "pressure": fields["pressure"].astype(float),
    }
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name]["mean"] == pytest.approx(values.mean(), rel=1e-9, abs=1e-12)
        assert found[name]["std"] == pytest.approx(values.std(), rel=1e-9)
        assert (found[name]["min"], found[name]["max"]) == (values.min(), values.max())
        assert found[name]["count"] == values.size
    assert found["C_xy"]["transform"] == found["velocity_y"]["transform"] == ARCSINH
    assert found["velocity_x"]["transform"] == {"kind": "none"}
    with pytest.raises(LilasError, match="transform names 'C_yx'; the fields are C, C_xx, C_xy"):
        compute_statistics([file], {"C_yx": ARCSINH})


def test_a_component_that_is_left_out_does_not_matter(tmp_path: Path) -> None:
    path, _ = write(tmp_path)
    with h5py.File(path, "r+") as file:
        file["t1_fields/velocity"][0, 0, 0, 0, 1] = np.nan
    kept = open_well(path, ["velocity_x"])
    assert compute_statistics([kept], {})["channels"]["velocity_x"]["count"] == 2 * 4 * 16
    assert np.isfinite(read_states(kept, 0)).all()
    with pytest.raises(LilasError, match="finite values in channel 'velocity_y'"):
        compute_statistics([open_well(path, ["velocity"])], {})
