"""The check of a dataset's files: what is told of each, and of all splits together."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml

from lilas.data.check import Checked, check_files
from lilas.data.examine import examine
from lilas.data.headers import read_headers
from lilas.data.states import read_states
from lilas.data.well import open_splits, open_well
from lilas.data.well_writer import write_well
from lilas.errors import LilasError
from lilas.files import read_json
from lilas.inspect.folder import check_folder
from lilas.official.folders import open_run
from lilas.plan import data_files
from lilas.plan.on_disk import check_on_disk
from lilas.records.weights import read_record
from lilas.study.datasets import Dataset
from lilas.study.read import Config, read_study
from lilas.study.study import Study
from test_inspect import DATA, FLOW, STATES, make_latents, stage, training, write_data
from test_legal import attribute, put
from test_well import change, convection

SPLITS = ("train", "valid", "test")
OPTIONS = Path(__file__).parent / "data" / "options.yaml"


def make(root: Path, split: str, name: str = "a", seed: int = 0, **changes: Any) -> Path:
    """A file of random states, others for each split, name and seed."""
    arguments = convection(**changes)
    rng = np.random.default_rng([SPLITS.index(split), ord(name), seed])
    fields = {key: rng.normal(size=values.shape) for key, values in arguments["fields"].items()}
    path = root / "data" / split / f"{name}.hdf5"
    write_well(path, **arguments | {"fields": fields})
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset of two files in training and one in each other split."""
    for split, name in (("train", "a"), ("train", "b"), ("valid", "a"), ("test", "a")):
        make(tmp_path / "flow", split, name)
    return tmp_path / "flow"


def files(folder: Path) -> dict[str, list[str]]:
    return {split: sorted(map(str, (folder / "data" / split).glob("*.hdf5"))) for split in SPLITS}


def check(folder: Path, fields: list[str] | None = None, **options: Any) -> Checked:
    return check_files(files(folder), fields, **options)


def test_a_good_folder(folder: Path) -> None:
    found = check(folder)
    assert found.faults == found.doubts == []
    assert {split: len(its) for split, its in found.headers.items()} == {
        **{"train": 2, "valid": 1, "test": 1}
    }
    header = found.headers["test"][0]
    assert (header.shape, header.steps, header.trajectories) == ([8, 5], 6, 3)
    assert header.parameters == {"Rayleigh": [1e6, 1e6], "Prandtl": [0.5, 2.0]}
    assert header.boundaries == {"x": ["periodic"] * 2, "y": ["wall"] * 2}
    found.refuse("here")


# --- Which files are data ----------------------------------------------------------------------


def dataset(folder: Path) -> Dataset:
    return Dataset.model_validate(
        {
            "source": {"kind": "path", "path": str(folder)},
            "states": {"fields": ["buoyancy", "velocity"]},
            "evaluation": {"start": 0, "horizons": [[1, 3]]},
        }
    )


def test_hidden_files_are_no_data(folder: Path) -> None:
    before = data_files(Config(study="demo"), dataset(folder))
    for name in ("._a.hdf5", ".a.hdf5.part", ".DS_Store", ".a.h5", "a.hdf5.part"):
        (folder / "data" / "train" / name).write_bytes(b"\0\5\x16\7" * 30)
    assert data_files(Config(study="demo"), dataset(folder)) == before
    with pytest.raises(LilasError, match="Hidden files are no data"):
        open_well(folder / "data" / "train" / "._a.hdf5")


# --- Splits that disagree ----------------------------------------------------------------------


def swapped_axes(arguments: dict[str, Any]) -> dict[str, Any]:
    swap = {k: v.swapaxes(2, 3) for k, v in arguments["fields"].items()}
    return {
        "fields": swap,
        "coordinates": dict(reversed(arguments["coordinates"].items())),
    }


DISAGREE = {
    "parameters": (
        lambda a: {"parameters": dict(reversed(a["parameters"].items()))},
        r"the parameters of .*a\.hdf5, \('Rayleigh', 'Prandtl'\), found \('Prandtl', 'Rayleigh'\)",
    ),
    "a parameter more": (
        lambda a: {"parameters": a["parameters"] | {"Schmidt": 1.0}},
        r"the parameters of .*found \('Rayleigh', 'Prandtl', 'Schmidt'\)",
    ),
    "axes": (swapped_axes, r"the space axes of .*\('x', 'y'\), found \('y', 'x'\)"),
    "grid": (lambda a: {"grid": "spherical"}, r"the grid of .*cartesian, found spherical"),
    "unit of time": (
        lambda a: {"attributes": {"time_units": "s"}},
        r"the time unit of .*unspecified, found s",
    ),
    "order of a field": (
        lambda a: {"fields": a["fields"] | {"pressure": a["fields"]["velocity"]}},
        r"the channels of .*found \('buoyancy', 'pressure_x', 'pressure_y', 'velocity_x', ",
    ),
    "a field": (
        lambda a: {"fields": {k: a["fields"][k] for k in ("buoyancy", "velocity")}},
        "the fields pressure, varying in time, found only buoyancy, velocity",
    ),
}
FIELDS = ["buoyancy", "pressure", "velocity"]


@pytest.mark.parametrize("split", ["train", "valid", "test"])
@pytest.mark.parametrize("what", DISAGREE)
def test_what_files_of_a_split_share_all_splits_share(folder: Path, what: str, split: str) -> None:
    changes, message = DISAGREE[what]
    path = make(folder, split, "z" if split == "train" else "a", **changes(convection()))
    found = check(folder, FIELDS)
    (fault,) = found.faults
    assert fault.path == str(path)
    with pytest.raises(LilasError, match=message):
        found.refuse("here")
    # The first job that sees them all refuses as well.
    with pytest.raises(LilasError, match=message):
        open_splits(*files(folder).values(), fields=FIELDS)


def test_shapes_of_splits(folder: Path) -> None:
    arguments = convection()
    cut = {name: values[:, :, :6] for name, values in arguments["fields"].items()}
    x, y = arguments["coordinates"].values()
    make(folder, "test", fields=cut, coordinates={"x": x[:6], "y": y})
    with pytest.raises(LilasError, match=r"the grid shape of .*\(8, 5\), found \(6, 5\)"):
        check(folder).refuse("here")


def test_units_of_fields(folder: Path) -> None:
    for path in files(folder)["train"] + files(folder)["valid"]:
        change(path, attribute("t0_fields/pressure", "units", "Pa"))
    change(files(folder)["test"][0], attribute("t0_fields/pressure", "units", "bar"))
    with pytest.raises(LilasError, match=r"units of the fields .*'Pa', .*found .*'bar'"):
        check(folder).refuse("here")
    check(folder, ["buoyancy", "velocity"]).refuse("here")


UNITS = {
    "scalars/Prandtl": r"units of the parameters of .*\('none', 'm'\), found \('none', 'km'\)",
    "dimensions/y": r"units of time and the axes of .*\('none', 'none', 'm'\), found .*'km'",
    "dimensions/time": r"units of time and the axes of .*\('m', 'none', 'none'\), found \('km'",
}


@pytest.mark.parametrize("place", UNITS)
@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_units_of_parameters_and_axes(folder: Path, place: str, split: str) -> None:
    odd = files(folder)[split][-1]
    for path in chain(*files(folder).values()):
        change(Path(path), attribute(place, "units", "km" if path == odd else "m"))
    found = check(folder)
    assert [fault.path for fault in found.faults] == [odd]
    assert len(str(found.faults[0]).splitlines()) == 1
    with pytest.raises(LilasError, match=UNITS[place]):
        found.refuse("here")
    with pytest.raises(LilasError, match=UNITS[place]):
        open_splits(*files(folder).values())
    # A unit that one file lacks, or leaves empty, is another than one that is there.
    change(Path(odd), attribute(place, "units", ""))
    with pytest.raises(LilasError, match=r"found .*'none'"):
        check(folder).refuse("here")
    for path in chain(*files(folder).values()):
        change(Path(path), lambda file: file[place].attrs.pop("units"))
    check(folder).refuse("here")


def test_units_that_are_written_are_compared(folder: Path) -> None:
    units = {"Rayleigh": "1", "x": "m", "time": "s", "pressure": "Pa"}
    for split in SPLITS:
        for path in files(folder)[split]:
            make(folder, split, Path(path).stem, units=units)
    check(folder).refuse("here")
    (header, *_) = check(folder).headers["train"]
    assert (header.axis_units, header.parameter_units) == ({"x": "m"}, {"Rayleigh": "1"})
    assert header.time_units == "s"
    make(folder, "test", units=units | {"Rayleigh": "1e6"})
    with pytest.raises(LilasError, match=r"\('1', 'none'\), found \('1e6', 'none'\)"):
        check(folder).refuse("here")
    with pytest.raises(LilasError, match="units of Prantl, which are not written"):
        make(folder, "test", units={"Prantl": "1"})


def test_the_order_of_fields_in_a_file_is_no_matter_where_they_are_named(folder: Path) -> None:
    change(
        files(folder)["test"][0], attribute("t0_fields", "field_names", ["pressure", "buoyancy"])
    )
    check(folder, FIELDS).refuse("here")
    read = [open_well(files(folder)[split][0], FIELDS) for split in ("train", "test")]
    assert read[0].channels == read[1].channels


def test_all_faults_of_all_files_are_told_at_once(folder: Path) -> None:
    train, other = files(folder)["train"]
    Path(train).write_bytes(Path(train).read_bytes()[:-100])
    change(other, put("scalars/Rayleigh", np.float32(np.nan)))

    def spoil(file: h5py.File) -> None:
        del file.attrs["grid_type"]
        del file["dimensions/x"].attrs["sample_varying"]
        for name in ("dim_varying", "time_varying"):
            del file["t0_fields/pressure"].attrs[name]
        del file["t1_fields/velocity"]
        del file["boundary_conditions/y_wall"].attrs["bc_type"]
        del file["boundary_conditions/x_periodic"]["mask"]
        del file["scalars"].attrs["field_names"]

    change(files(folder)["valid"][0], spoil)
    told = {
        split: [f.text for f in check(folder).faults if f.path in its]
        for split, its in files(folder).items()
    }
    assert [text.split(". ")[0] for text in told["train"]] == [
        "expected a whole HDF5 file, found a truncated file",
        "expected finite numbers in /scalars/Rayleigh, found NaN or infinity",
    ]
    expected = [text.split(", found")[0].removeprefix("expected ") for text in told["valid"]]
    assert expected == [
        "the attribute grid_type of /",
        "the attribute sample_varying of /dimensions/x",
        "the attributes dim_varying, time_varying of /t0_fields/pressure",
        "the dataset /t1_fields/velocity",
        "the attribute field_names of /scalars",
        "the attribute bc_type of /boundary_conditions/y_wall",
    ]
    assert told["test"] == []
    with pytest.raises(LilasError, match=r"truncated file.* And 7 more: `lilas check my_flow`"):
        check(folder).refuse("my_flow")
    with pytest.raises(LilasError, match=r"grid_type.* And 5 more: `lilas check .*valid/a\.hdf5`"):
        open_well(files(folder)["valid"][0])


def test_names_that_are_no_text_are_told_like_others(folder: Path) -> None:
    path = files(folder)["test"][0]
    with h5py.File(path, "r+") as file:
        h5py.h5g.create(file.id, b"t1_\xf0\x28")
        del file["t1_fields"]
    (fault,) = check(folder, ["buoyancy"]).faults
    assert fault.text.startswith("expected the group /t1_fields, found only boundary_conditions")


def test_a_fault_of_a_field_that_is_not_used_is_no_fault(folder: Path) -> None:
    def unwrite(file: h5py.File) -> None:
        attributes = dict(file["t0_fields/pressure"].attrs)
        del file["t0_fields/pressure"]
        file["t0_fields"].create_dataset("pressure", (3, 6, 8, 5), "f4", chunks=(1, 6, 8, 5))
        file["t0_fields/pressure"].attrs.update(attributes)

    change(files(folder)["test"][0], unwrite)
    check(folder, ["buoyancy", "velocity"]).refuse("here")
    for fields in (FIELDS, None):
        with pytest.raises(LilasError, match="0 of its 3 chunks"):
            check(folder, fields).refuse("here")


# --- What is told and not refused --------------------------------------------------------------


def doubts(folder: Path) -> list[str]:
    found = check(folder)
    found.refuse("here")
    return [str(doubt).replace(f"{folder}/data/", "") for doubt in found.doubts]


def test_intervals_and_domains_that_differ_between_splits(folder: Path) -> None:
    arguments = convection()
    make(folder, "test", time=2 * arguments["time"])
    assert doubts(folder) == [
        "test/a.hdf5: states lie apart by 1, and 0.5 in train/a.hdf5 of the split train",
        "test/a.hdf5: states lie apart by 1, and 0.5 in valid/a.hdf5 of the split valid",
    ]
    x, y = arguments["coordinates"].values()
    make(folder, "test", coordinates={"x": 3 * x, "y": y}, time=arguments["time"] + 100)
    assert doubts(folder)[0] == (
        "test/a.hdf5: the domain's length along x is 10.5, and 3.5 in train/a.hdf5 of the split "
        "train"
    )
    # Where they differ within a split, they are the trajectories' own.
    make(folder, "train", "c", coordinates={"x": 2 * x, "y": y})
    assert [line for line in doubts(folder) if "train/a" in line] == []


def test_an_axis_along_which_a_split_is_mirrored_is_told(folder: Path) -> None:
    x = convection()["coordinates"]["x"]
    change(Path(files(folder)["test"][0]), put("dimensions/x", x[::-1]))
    told = doubts(folder)
    assert len(told) == 2
    assert re.match(
        r"test/a\.hdf5: the domain's length along x is -(\S+), and \1 in train", told[0]
    )


def test_times_that_repeat_or_stand_still(folder: Path) -> None:
    path = make(folder, "valid")
    change(path, put("dimensions/time", np.float32([8, 8.5, 8.5, 9, 9.5, 10])))
    (line,) = doubts(folder)
    assert line.startswith("valid/a.hdf5: time does not grow in trajectory 0: step 1 is at 8.5")
    change(path, put("dimensions/time", np.full(6, 3.0)))
    assert "time does not grow in trajectory 0" in doubts(folder)[0]


def test_an_end_without_a_boundary_is_told(folder: Path) -> None:
    path = files(folder)["test"][0]

    def forget(file: h5py.File) -> None:
        del file["boundary_conditions/y_wall"]

    change(path, forget)
    assert doubts(folder) == [
        "test/a.hdf5: no boundary condition covers y (first end), y (last end); taken as open"
    ]


@pytest.mark.parametrize("link", [shutil.copy, os.link, os.symlink])
def test_a_file_that_is_in_two_splits(folder: Path, link: Callable[[str, Path], None]) -> None:
    path = folder / "data" / "test" / "zz.hdf5"
    link(files(folder)["train"][1], path)
    assert doubts(folder) == [
        "test/zz.hdf5: it is a copy of train/b.hdf5 in the split train: its scores would be of "
        "known states"
    ]


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_trajectory_that_is_in_two_splits(folder: Path, compression: str | None) -> None:
    train, test = files(folder)["train"][1], files(folder)["test"][0]
    with h5py.File(train) as one, h5py.File(test, "r+") as two:
        for name in ("t0_fields/buoyancy", "t0_fields/pressure", "t1_fields/velocity"):
            two[name][2] = one[name][1]
    if compression:
        for path in (train, test):

            def compress(file: h5py.File) -> None:
                old = file["t0_fields/buoyancy"]
                values, attributes = old[:], dict(old.attrs)
                del file["t0_fields/buoyancy"]
                chunks = (1, 3, 8, 5)
                new = file["t0_fields"].create_dataset(
                    "buoyancy", data=values, chunks=chunks, compression=compression
                )
                new.attrs.update(attributes)

            change(path, compress)
    assert doubts(folder) == [
        "test/a.hdf5: its trajectory 2 begins and ends like that 1 of train/b.hdf5 in the split "
        "train: its scores would be of known states"
    ]


def test_states_of_one_value_are_no_copies(folder: Path) -> None:
    for split in ("train", "test"):
        for name in ("t0_fields/buoyancy", "t0_fields/pressure"):
            path = files(folder)[split][0]
            change(path, put(name, np.zeros((3, 6, 8, 5), "f4")))
    assert doubts(folder) == []


def test_number_types_that_differ(folder: Path) -> None:
    path = files(folder)["test"][0]
    with h5py.File(path) as file:
        values = file["t0_fields/pressure"][:]
    change(path, put("t0_fields/pressure", values.astype("f8")))
    assert "test/a.hdf5: pressure is float64, and float32 in train/a.hdf5" in doubts(folder)


# --- Headers that are kept ---------------------------------------------------------------------


def test_headers_are_read_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kept, paths = tmp_path / "headers.json", list(chain(*files(folder).values()))
    fresh, _ = read_headers(paths)
    first, _ = read_headers(paths, kept)
    read: list[str] = []
    from lilas.data import examine as module

    whole = module.examine
    monkeypatch.setattr(module, "examine", lambda path: read.append(str(path)) or whole(path))
    again, faults = read_headers(paths, kept)
    assert read == faults == []
    assert first == again == fresh
    # A file that has changed is read again, and no other.
    make(folder, "valid", seed=1)
    changed, _ = read_headers(paths, kept)
    assert read == files(folder)["valid"]
    assert changed[read[0]].content != again[read[0]].content
    # Neither damage nor another version does harm.
    text = kept.read_text()
    version = json.loads(text)["version"]
    another = text.replace(version, "another version").replace('"steps": 6', '"steps": 7')
    for spoilt in ("", "{", "[]", text[: len(text) // 2], another):
        read.clear()
        kept.write_text(spoilt)
        assert read_headers(paths, kept)[0] == changed
        assert sorted(read) == sorted(paths)
    read.clear()
    (tmp_path / "a file").touch()
    assert read_headers(paths, tmp_path / "a file" / "headers.json")[0] == changed
    assert len(read) == len(paths)


def test_files_with_faults_are_looked_at_again(folder: Path, tmp_path: Path) -> None:
    """What they lack may lie elsewhere, so that they mend without a change of their own."""
    path = Path(files(folder)["test"][0])
    layout = h5py.VirtualLayout((3, 6, 8, 5), "f4")
    layout[:] = h5py.VirtualSource("p.h5", "p", (3, 6, 8, 5))
    with h5py.File(path, "r+") as file:
        attributes = dict(file["t0_fields/pressure"].attrs)
        del file["t0_fields/pressure"]
        file["t0_fields"].create_virtual_dataset("pressure", layout)
        file["t0_fields/pressure"].attrs.update(attributes)
    kept, source = tmp_path / "headers.json", path.with_name("p.h5")
    with pytest.raises(LilasError, match=r"expected p\.h5"):
        check(folder, kept=kept).refuse("here")
    with h5py.File(source, "w") as file:
        file["p"] = np.random.default_rng(0).normal(size=(3, 6, 8, 5))
    check(folder, kept=kept).refuse("here")
    # A source that goes is noticed, though the file itself stays as it is.
    source.unlink()
    with pytest.raises(LilasError, match=r"expected p\.h5"):
        check(folder, kept=kept).refuse("here")


# --- In the jobs -------------------------------------------------------------------------------


def test_the_first_job_that_sees_two_splits_compares_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for split, count in (("train", 2), ("valid", 1), ("test", 1)):
        write_data(DATA[split], count)
    statistics, folder = FLOW / "statistics.json", FLOW / "pixel-s0"
    stage("statistics", config={"states": STATES}, train=[DATA["train"]], output=statistics)
    swap = attribute("scalars", "field_names", ["Prandtl", "Rayleigh"])

    def train() -> None:
        identity = {"architecture": "identity"}
        config = {"states": STATES, "augment": {}, "autoencoder": identity, "seed": 0}
        files = {split: [DATA[split]] for split in ("train", "valid")}
        stage("autoencoder", config=config, statistics=statistics, **files, **training(folder))

    whole = DATA["valid"].read_bytes()
    change(DATA["valid"], swap)
    with pytest.raises(LilasError, match=r"expected the parameters of .*\('Rayleigh', 'Prandtl'\)"):
        train()
    DATA["valid"].write_bytes(whole)
    train()
    make_latents(folder, copies=1)
    shutil.rmtree(folder / "latents")
    change(DATA["test"], swap)
    with pytest.raises(LilasError, match=r"test.*: expected the parameters of .*train"):
        make_latents(folder, copies=1)
    assert not (folder / "latents" / "test.json").exists()


# --- In the plan -------------------------------------------------------------------------------


def study(tmp_path: Path, source: dict[str, Any]) -> Study:
    values = yaml.safe_load(OPTIONS.read_text())
    values["datasets"]["flow"] |= {"source": source}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
    return read_study(tmp_path / "study.yaml")


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    """A dataset that the study of the options fits: 32 x 16 points, 20 steps."""
    root, shape = tmp_path / "flow", (2, 20, 32, 16)
    rng = np.random.default_rng(0)
    for split in SPLITS:
        write_well(
            root / "data" / split / "a.hdf5",
            dataset="rayleigh_benard",
            fields={
                "buoyancy": rng.normal(size=shape),
                "pressure": rng.normal(size=shape),
                "velocity": rng.normal(size=(*shape, 2)),
            },
            time=np.arange(20) / 4,
            coordinates={"x": np.arange(32) / 8, "y": np.arange(16) / 16},
            parameters={"Rayleigh": 1e6, "Prandtl": 1.0},
            boundaries={"x": "periodic", "y": "wall"},
        )
    return root


def plan_of(study: Study, **options: Any) -> None:
    config = Config(study="demo", **options)
    found = {name: data_files(config, dataset) for name, dataset in study.datasets.items()}
    check_on_disk(study, found, Path(config.results, ".headers.json"))


def test_a_plan_looks_at_every_file(flow: Path, tmp_path: Path, capsys) -> None:
    ours = study(tmp_path, {"kind": "path", "path": str(flow)})
    results = {"results": str(tmp_path / "results")}
    plan_of(ours, **results)
    assert capsys.readouterr().err == ""
    path = flow / "data" / "test" / "a.hdf5"
    change(path, put("dimensions/time", np.zeros(20)))
    plan_of(ours, **results)
    assert capsys.readouterr().err.startswith(f"warning: {path}: time does not grow in trajectory")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(LilasError, match=r"test/a\.hdf5: expected a whole HDF5 file"):
        plan_of(ours, **results)


def test_a_plan_looks_at_what_was_downloaded(flow: Path, tmp_path: Path) -> None:
    source = {"kind": "well", "name": "rayleigh_benard", "size": [32, 16], "steps": 20}
    ours = study(tmp_path, source | {"channels": 4})
    options = {"data": str(tmp_path / "data"), "results": str(tmp_path / "results")}
    plan_of(ours, **options)  # nothing is there yet
    config = Config(study="demo", **options)
    there = Path(data_files(config, ours.datasets["flow"])["valid"][3])
    there.parent.mkdir(parents=True)
    shutil.copy(flow / "data" / "valid" / "a.hdf5", there)
    plan_of(ours, **options)
    with pytest.raises(LilasError, match=r"steps: 21, found 20"):
        plan_of(study(tmp_path, source | {"steps": 21}), **options)
    other = Path(data_files(config, ours.datasets["flow"])["test"][0])
    other.parent.mkdir(parents=True)
    shutil.copy(flow / "data" / "test" / "a.hdf5", other)
    plan_of(ours, **options)
    change(other, attribute("scalars", "field_names", ["Prandtl", "Rayleigh"]))
    with pytest.raises(LilasError, match=rf"{other}: expected the parameters of {there}"):
        plan_of(ours, **options)


# --- For people --------------------------------------------------------------------------------


def test_the_example_of_the_page_makes_a_good_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a file of each split, of runs that a user has."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    page = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    for split in SPLITS:
        own = {name: rng.normal(size=(2, 50, 64, 32)) for name in ("temperature", "u", "v")}
        exec(code.replace("data/train", f"data/{split}"), own | {"viscosity": np.array([1.0, 2.0])})
    found = check(tmp_path / "my_flow")
    assert found.faults == found.doubts == []
    header = found.headers["test"][0]
    assert {name: (f.order, f.units) for name, f in header.fields.items()} == {
        "temperature": (0, "K"),
        "velocity": (1, "m s-1"),
    }
    assert header.time_units == "s"
    assert header.parameters == {"viscosity": [1.0, 2.0]}
    states = read_states(open_well(tmp_path / "my_flow/data/test/runs.hdf5"), 1)
    expected = np.stack([own[name][1] for name in ("temperature", "u", "v")], axis=1)
    np.testing.assert_array_equal(states, expected.astype(np.float32))


def test_units_are_of_fields(tmp_path: Path) -> None:
    with pytest.raises(LilasError, match="units of heat, which are not written"):
        make(tmp_path, "train", units={"heat": "K"})


def test_what_the_page_calls_refused_is_refused_where_it_is_missing(folder: Path) -> None:
    """Each attribute and group of a good file is taken away in turn."""
    page = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
    path = Path(files(folder)["test"][0])
    whole = path.read_bytes()
    with h5py.File(path) as file:
        owners = ["/"]
        file.visit(owners.append)
        parts = [(owner, name) for owner in owners for name in file[owner].attrs]
    optional = set()
    for owner, name in [*parts, *((owner, None) for owner in owners[1:])]:
        path.write_bytes(whole)
        with h5py.File(path, "r+") as file:
            if name is None:
                del file[owner]
            else:
                del file[owner].attrs[name]
        _, faults = examine(path)
        if faults:
            assert name is None or name in faults[0].text
        else:
            optional.add(name or owner)
    # Of a boundary as a whole, the page says that its ends are open.
    assert optional == {
        *("simulation_parameters", "Rayleigh", "associated_fields"),
        *("boundary_conditions/x_periodic", "boundary_conditions/y_wall"),
        # Of axes and boundaries, which do not vary in time.
        *("time_varying", "sample_varying"),
    }
    for name in {name for _, name in parts} - {"Rayleigh", "associated_fields"}:
        assert f"`{name}`" in page


def run_check(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    code = "from lilas.cli import main; main()"
    command = [sys.executable, "-c", code, "check", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def lines_of(folder: Path, **options: Any) -> tuple[list[str], int]:
    found = check_folder(folder, **options)
    return found.lines, found.faults


def test_what_a_folder_holds(folder: Path) -> None:
    lines, faults = lines_of(folder)
    assert faults == 0
    text = "\n".join(lines)
    assert "train      2             6      6" in text
    for fact in (
        "grid                 cartesian: x 8 x y 5",
        "boundaries           x periodic, y wall",
        "fields               buoyancy, pressure, velocity (vector)",
        "time between states  0.5",
        "parameter Rayleigh   1e+06",
        "parameter Prandtl    0.5 to 2",
        "Faults: none",
        "Warnings: none",
    ):
        assert fact in lines
    assert lines_of(folder / "data")[0][1:] == lines[1:]


def test_all_faults_of_a_folder_in_lines(folder: Path) -> None:
    for path in files(folder)["train"]:
        change(Path(path), attribute("scalars", "field_names", ["Prandtl", "Rayleigh"]))
    shutil.rmtree(folder / "data" / "valid")
    (folder / "data" / "test" / "b.hdf5").write_bytes(b"")
    (folder / "data" / "test" / "b.nc").write_bytes(b"")
    (folder / "data" / "test" / ".DS_Store").write_bytes(b"")
    found = check_folder(folder)
    assert (found.faults, found.files) == (3, 3)
    text = "\n".join(found.lines)
    assert "data/valid: expected HDF5 files (*.hdf5, *.h5), found no such folder" in text
    assert "data/test/b.hdf5: expected a whole HDF5 file" in text
    assert "data/test/a.hdf5: expected the parameters of data/train/a.hdf5, ('Prandtl'" in text
    assert "data/test/b.nc: is not read: data files end in .hdf5 or .h5" in text
    assert "DS_Store" not in text


def test_files_of_values_are_no_strangers(folder: Path) -> None:
    path = Path(files(folder)["test"][0])
    source = path.with_name("values.src")
    with h5py.File(path, "r+") as file, h5py.File(source, "w") as other:
        other["p"] = file["t0_fields/pressure"][:]
        attributes = dict(file["t0_fields/pressure"].attrs)
        del file["t0_fields/pressure"]
        file["t0_fields/pressure"] = h5py.ExternalLink("values.src", "p")
        other["p"].attrs.update(attributes)
    (found,) = check(folder).headers["test"]
    assert [Path(name).name for name in found.others] == ["values.src"]
    assert "Warnings: none" in check_folder(folder).lines
    source.with_name("stranger.src").touch()
    assert "  data/test/stranger.src: is not read: " in "\n".join(check_folder(folder).lines)


def test_one_line_for_one_fault_of_many_files(folder: Path) -> None:
    for name in "cdefg":
        make(folder, "test", name, parameters={"Schmidt": 1.0})
    (line,) = [line for line in check_folder(folder).lines if "expected" in line]
    assert line.startswith("  data/test/c.hdf5, data/test/d.hdf5, data/test/e.hdf5 and 2 more: exp")


def test_files_without_splits(folder: Path) -> None:
    train = folder / "data" / "train"
    assert "expected the folders data/train" in "\n".join(check_folder(train).lines)
    assert check_folder(train / "a.hdf5").faults == 0
    with pytest.raises(LilasError, match="expected a folder of data, found nothing"):
        check_folder(folder / "nowhere")


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["run.nc", "b.nc", ".hidden"], ".nc"),
        (["data/train/a.npy", "data/valid/a.npy"], ".npy"),
        (["train/a.nc", "train/b.npz", "README"], ".npz, .nc, README"),
        (["data/train/run.zarr/zarr.json"], ".zarr"),
    ],
)
def test_a_folder_of_other_formats(tmp_path: Path, names: list[str], found: str) -> None:
    for name in names:
        (tmp_path / "flow" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "flow" / name).write_bytes(b"data")
    kinds = ", ".join(sorted(found.split(", ")))
    lines = "\n".join(lines_of(tmp_path / "flow")[0])
    assert "Faults: 1\n" in lines
    assert (
        f"data/test, found files of other kinds ({kinds}). LILAS reads no other format: " in lines
    )
    assert "docs/data.md" in lines
    for path in (tmp_path / "flow").rglob("*.zarr"):
        assert "other kinds (.zarr)" in "\n".join(lines_of(path)[0])


def test_a_plan_and_a_check_tell_of_a_split_of_another_format(folder: Path) -> None:
    test = folder / "data" / "test"
    (test / "a.hdf5").rename(test / "a.nc")
    message = r"data/test: expected HDF5 files .*other kinds \(.nc\). LILAS reads no other format"
    assert re.search(message, "\n".join(lines_of(folder)[0]))
    with pytest.raises(LilasError, match=message):
        data_files(Config(study="demo"), dataset(folder))
    (folder / "a.npy").write_bytes(b"\x93NUMPY" + bytes(100))
    with pytest.raises(LilasError, match=r"a\.npy: .*something else than HDF5\. docs/data\.md"):
        open_well(folder / "a.npy")


POINTERS = {
    "git lfs pull": "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "git annex get": "/annex/objects/SHA256E-s9--0f.hdf5\n",
    "dvc pull": "outs:\n- md5: a304afb96060aad90176268345e10355\n  path: a.hdf5\n",
}
LINKS = {
    "git annex get": "../.git/annex/objects/zQ/1W/SHA256E-s9--0f.hdf5/SHA256E-s9--0f.hdf5",
    "dvc pull": "/home/me/flow/.dvc/cache/files/md5/a3/04afb960",
    "Bring what it leads to": "../blobs/caa0",
}


@pytest.mark.parametrize("command", POINTERS)
def test_the_content_of_pointers_is_fetched(folder: Path, command: str) -> None:
    path = folder / "data" / "test" / "a.hdf5"
    path.write_text(POINTERS[command])
    (fault,) = check(folder).faults
    assert "found a pointer of " in fault.text
    assert command in fault.text
    assert "elete" not in fault.text
    for read, name in ((read_record, "w.safetensors"), (read_json, "s.json"), (open_run, "r.zip")):
        shutil.copy(path, folder / name)
        with pytest.raises(LilasError, match=f"found a pointer of .*{command}"):
            read(folder / name)


@pytest.mark.parametrize("command", LINKS)
def test_what_links_lead_to_is_brought(folder: Path, command: str) -> None:
    path = folder / "data" / "test" / "a.hdf5"
    path.unlink()
    path.symlink_to(LINKS[command])
    (fault,) = check(folder).faults
    assert f"found a link to {LINKS[command]}, which is not there" in fault.text
    assert command in fault.text


def test_a_split_that_dvc_has_not_fetched(folder: Path) -> None:
    test = folder / "data" / "test"
    (test / "a.hdf5").rename(test / "a.hdf5.dvc")
    assert "`dvc pull`" in "\n".join(lines_of(folder)[0])
    shutil.rmtree(test)
    test.with_name("test.dvc").write_text("outs:\n")
    assert "`dvc pull`" in "\n".join(lines_of(folder)[0])
    with pytest.raises(LilasError, match="`dvc pull`"):
        data_files(Config(study="demo"), dataset(folder))


def test_states_are_read_where_it_is_asked(folder: Path) -> None:
    def spoil(file: h5py.File) -> None:
        file["t0_fields/pressure"][1, 2, 3, 4] = np.nan
        for name in ("t0_fields/buoyancy", "t0_fields/pressure", "t1_fields/velocity"):
            file[name][2, 4] = file[name][2, 3]
            file[name][2, 5] = file[name][2, 3]

    change(Path(files(folder)["test"][0]), spoil)
    for path in chain(*files(folder).values()):
        change(Path(path), put("t0_fields/buoyancy", np.full((3, 6, 8, 5), 7.0)))
    assert check_folder(folder).faults == 0
    found = check_folder(folder, states=True)
    assert found.faults == 1
    text = "\n".join(found.lines)
    assert re.search(r"  data/test/a\.hdf5: expected finite .*NaN or infinity in traject", text)
    assert "data/test/a.hdf5: trajectory 2 repeats 2 states, the first at step 4" in text
    assert "the channel buoyancy has one value here and in all files" in text
    assert "  buoyancy" in text


def test_the_command_ends_with_a_status(folder: Path) -> None:
    done = run_check(folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Faults: none" in done.stdout
    Path(files(folder)["test"][0]).write_bytes(b"")
    done = run_check(folder)
    assert done.returncode == 1
    assert "Faults: 1" in done.stdout
    assert done.stderr == f"error: {folder}: 1 fault, in 1 place\n"
