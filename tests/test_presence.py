"""Values that are in no file: HDF5 reads a fill value where LILAS must refuse."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilas.data.presence import check_present
from lilas.data.states import read_states
from lilas.data.well import open_well
from lilas.errors import LilasError
from test_well import change, write

FILL = -1.0
VALUES = np.arange(1.0, 25.0).reshape(6, 4)


def check(path: Path, name: str = "x") -> set[Path]:
    with h5py.File(path) as file:
        return check_present(path, file[name])


def filled(path: Path, name: str = "x") -> bool:
    """Whether HDF5 reads a fill value anywhere; none of the tests' values is one."""
    with h5py.File(path) as file:
        return bool((file[name][()] == FILL).any())


def source(path: Path, values: np.ndarray = VALUES[:2], name: str = "a") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file[name] = values
    return path


def virtual(path: Path, names: list[str], dataset: str = "a", rows: int = 2) -> Path:
    """A virtual dataset of (file, row, column), two rows of each file."""
    layout = h5py.VirtualLayout((len(names), rows, 4), float)
    for i, name in enumerate(names):
        layout[i] = h5py.VirtualSource(name, dataset, (rows, 4))
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("x", layout, fillvalue=FILL)
    return path


# --- Chunks and raw data -----------------------------------------------------------------------


@given(st.sets(st.tuples(st.integers(0, 2), st.integers(0, 1))), st.booleans())
@settings(max_examples=20, deadline=None)
def test_a_chunked_dataset_is_taken_when_every_chunk_was_written(
    tmp_path_factory: pytest.TempPathFactory, written: set[tuple[int, int]], compressed: bool
) -> None:
    path = tmp_path_factory.mktemp("chunks") / "file.h5"
    options = {"compression": "gzip"} if compressed else {}
    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", (5, 4), float, chunks=(2, 2), fillvalue=FILL, **options)
        for i, j in written:
            part = x[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].shape
            # Zeros that were written are values like others.
            x[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = np.zeros(part)
    assert filled(path) == (len(written) < 6)
    if len(written) == 6:
        assert check(path) == set()
    else:
        with pytest.raises(LilasError, match=rf"all values of /x, found that {len(written)} of"):
            check(path)


def test_a_dataset_that_was_made_and_never_written(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (6, 4), float)
        file.create_dataset("empty", (0, 4), float)
        file["number"] = 3.0
    with pytest.raises(LilasError, match="found that none of it was ever written"):
        check(path)
    assert check(path, "empty") == check(path, "number") == set()


CHECK = """
import sys, pathlib, h5py
from lilas.data.presence import check_present
print(len(check_present(pathlib.Path(sys.argv[1]), h5py.File(sys.argv[1])["x"])))
"""


def test_raw_data_in_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path, raw = tmp_path / "file.h5", tmp_path / "values.raw"
    pieces = [("values.raw", 8, 96), ("more.raw", 0, h5py.h5f.UNLIMITED)]
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (6, 4), float, external=pieces)[:] = VALUES
    assert check(path) == {raw, tmp_path / "more.raw"}
    whole = raw.read_bytes()
    raw.write_bytes(whole[:-8])
    with h5py.File(path) as file:
        assert (file["x"][()] != VALUES).any()  # without a word from HDF5
    with pytest.raises(LilasError, match=r"104 bytes in .*values\.raw, of /x, found 96"):
        check(path)
    raw.unlink()
    with pytest.raises(LilasError, match=r"values\.raw, which holds values .*no such file"):
        check(path)
    raw.write_bytes(whole)
    # HDF5 looks in the working folder, unless a prefix says where.
    monkeypatch.chdir("/")
    with pytest.raises(LilasError, match=r"expected /values\.raw, which holds"):
        check(path)
    monkeypatch.setenv("HDF5_EXTFILE_PREFIX", "${ORIGIN}")
    # HDF5 reads the variable once for the process.
    done = subprocess.run([sys.executable, "-c", CHECK, path], capture_output=True, text=True)
    assert done.stdout == "2\n", done.stderr


# --- Virtual datasets --------------------------------------------------------------------------


def test_a_virtual_dataset_needs_each_source(tmp_path: Path) -> None:
    names = [f"parts/{i}.h5" for i in range(3)]
    files = {source(tmp_path / name) for name in names}
    path = virtual(tmp_path / "file.h5", names)
    assert not filled(path)
    assert check(path) == files
    (tmp_path / names[1]).unlink()
    assert filled(path)
    with pytest.raises(LilasError, match=r"file\.h5: expected parts/1\.h5, .*no such file"):
        check(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: source(path, name="b"), r"dataset a in .*parts/0\.h5.*no such dataset"),
        (
            lambda path: source(path, VALUES[:1]),
            r"a in .*0\.h5 as large as /x takes it, .*\(1, 4\)",
        ),
        (lambda path: path.write_bytes(path.read_bytes()[:-50]), "to be whole, .*truncated"),
        (lambda path: path.write_bytes(b"<html>"), "to be whole, .* signature"),
        (lambda path: unwritten(path), "/a, found that none of it was ever written"),
    ],
    ids=["dataset", "shape", "truncated", "foreign", "unwritten"],
)
def test_a_source_holds_what_is_taken_of_it(tmp_path: Path, spoil, message) -> None:
    part = source(tmp_path / "parts/0.h5")
    path = virtual(tmp_path / "file.h5", ["parts/0.h5"])
    check(path)
    spoil(part)
    with pytest.raises(LilasError, match=message) as error:
        check(path)
    assert str(path) in str(error.value)


def unwritten(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (2, 4), float)


def test_sources_of_sources_are_looked_at(tmp_path: Path) -> None:
    last = source(tmp_path / "last.h5")
    middle = virtual(tmp_path / "middle.h5", ["last.h5"])
    layout = h5py.VirtualLayout((1, 2, 4), float)
    layout[:] = h5py.VirtualSource("middle.h5", "x", (1, 2, 4))
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("x", layout, fillvalue=FILL)
    assert check(path) == {middle, last}
    last.unlink()
    with pytest.raises(LilasError, match=r"file\.h5: expected last\.h5"):
        check(path)


def test_a_virtual_dataset_of_itself_does_not_end(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    layout = h5py.VirtualLayout((2, 4), float)
    layout[:] = h5py.VirtualSource(".", "x", (2, 4))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("x", layout)
    with pytest.raises(LilasError, match="a circle of links"):
        check(path)


def test_a_virtual_dataset_is_mapped_everywhere(tmp_path: Path) -> None:
    source(tmp_path / "0.h5")
    layout = h5py.VirtualLayout((3, 4), float)
    layout[:2] = h5py.VirtualSource("0.h5", "a", (2, 4))
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("x", layout, fillvalue=FILL)
    assert filled(path)
    with pytest.raises(LilasError, match="sources for 8 of 12"):
        check(path)


def test_sources_that_are_numbered(tmp_path: Path) -> None:
    files = {source(tmp_path / f"p%{i}.h5", VALUES[2 * i : 2 * i + 2]) for i in range(3)}
    path = tmp_path / "file.h5"
    endless, row = (h5py.h5s.UNLIMITED, 4), (h5py.h5s.UNLIMITED, 1)
    space = h5py.h5s.create_simple((6, 4), endless)
    space.select_hyperslab((0, 0), row, (2, 1), (2, 4))
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_virtual(space, b"p%%%b.h5", b"a", h5py.h5s.create_simple((2, 4)))
    plist.set_fill_value(np.array(FILL))
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple((6, 4), endless)
        h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_DOUBLE, space, plist)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["x"], VALUES)
    assert check(path) == files
    (tmp_path / "p%2.h5").unlink()
    # The dataset is as long as its sources: readers are told a shape without the missing one.
    with h5py.File(path) as file:
        assert file["x"].shape == (4, 4)
    assert check(path) == files - {tmp_path / "p%2.h5"}


def test_a_source_that_grows(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "0.h5", "w") as file:
        file.create_dataset("a", data=VALUES, maxshape=(None, 4))
    layout = h5py.VirtualLayout((6, 4), float, maxshape=(None, 4))
    grown = h5py.VirtualSource("0.h5", "a", (6, 4), maxshape=(None, 4))
    layout[: h5py.h5s.UNLIMITED] = grown[: h5py.h5s.UNLIMITED]
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("x", layout, fillvalue=FILL)
    assert check(path) == {tmp_path / "0.h5"}
    (tmp_path / "0.h5").unlink()
    with pytest.raises(LilasError, match=r"expected 0\.h5"):
        check(path)


@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_sources_are_looked_for_where_hdf5_looks(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Beside the file, in the working folder, behind a link, by an absolute name, by a prefix."""
    root = tmp_path_factory.mktemp("places")
    places = [root / name for name in ("real", "linked", "working", "prefix", "absolute")]
    for place in places:
        place.mkdir()
    name = data.draw(st.sampled_from(["a.h5", "deep/a.h5", str(root / "absolute" / "a.h5")]))
    path = root / "linked" / "file.h5"
    path.symlink_to(virtual(root / "real" / "file.h5", [name]))
    for place in data.draw(st.sets(st.sampled_from(places))):
        source(place / (Path(name).name if Path(name).is_absolute() else name))
    here = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        if data.draw(st.booleans(), "prefix"):
            patch.setenv("HDF5_VDS_PREFIX", f"{root / 'nowhere'}:{root / 'prefix'}")
        patch.chdir(root / "working")
        # HDF5 reads the variable once for the process.
        code = "import sys, h5py; print((h5py.File(sys.argv[1])['x'][()] == -1).any())"
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
        assert done.stdout.strip() in ("True", "False"), done.stderr
        if done.stdout.strip() == "True":
            with pytest.raises(LilasError, match="no such file"):
                check(path)
        else:
            check(path)
    assert Path.cwd() == here


# --- In files of The Well ----------------------------------------------------------------------


def test_a_trajectory_whose_source_is_gone_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    shape = (3, 6, 8, 5)
    layout = h5py.VirtualLayout(shape, "f4")
    for i in range(3):
        source(path.parent / f"run{i}.h5", np.ones(shape[1:], "f4"), "pressure")
        layout[i] = h5py.VirtualSource(f"run{i}.h5", "pressure", shape[1:])

    def link(file: h5py.File) -> None:
        attributes = dict(file["t0_fields/pressure"].attrs)
        del file["t0_fields/pressure"]
        file["t0_fields"].create_virtual_dataset("pressure", layout)
        file["t0_fields/pressure"].attrs.update(attributes)

    change(path, link)
    assert (read_states(open_well(path, ["pressure"]), 2) == 1).all()
    (path.parent / "run2.h5").unlink()
    with pytest.raises(LilasError, match=r"expected run2\.h5, .* /t0_fields/pressure.*no such"):
        open_well(path)
    open_well(path, ["velocity"])  # what is not asked for may be missing


@pytest.mark.parametrize(
    "name",
    [
        "t1_fields/velocity",
        "scalars/Prandtl",
        "dimensions/x",
        "boundary_conditions/x_periodic/mask",
    ],
)
def test_whatever_is_read_of_a_file_was_written(tmp_path: Path, name: str) -> None:
    def unwrite(file: h5py.File) -> None:
        attributes, old = dict(file[name].attrs), file[name]
        del file[name]
        new = file.create_dataset(name, old.shape, old.dtype, chunks=True)
        new.attrs.update(attributes)

    with pytest.raises(LilasError, match=f"all values of /{name}, found that 0 of its"):
        open_well(change(write(tmp_path), unwrite))


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    path = write(tmp_path)
    other = shutil.copy(path, tmp_path / "other.hdf5")

    def link(to: h5py.SoftLink) -> None:
        def edit(file: h5py.File) -> None:
            del file["t0_fields/pressure"]
            file["t0_fields/pressure"] = to

        change(path, edit)

    link(h5py.ExternalLink(os.path.relpath(other, path.parent), "/t0_fields/pressure"))
    np.testing.assert_array_equal(read_states(open_well(path), 0), read_states(open_well(other), 0))
    os.unlink(other)
    with pytest.raises(LilasError, match=r"a link to /t0_fields/pressure of .*other\.hdf5, which"):
        open_well(path)
    link(h5py.SoftLink("/old/pressure"))
    with pytest.raises(LilasError, match=r"a link to /old/pressure, which is not there\. Bring"):
        open_well(path)


# --- Filters -----------------------------------------------------------------------------------

WITHOUT = """
import sys
sys.modules["hdf5plugin"] = None  # as where it is not installed
from lilas.data.well import open_well
from lilas.errors import LilasError
try:
    open_well(sys.argv[1])
except LilasError as error:
    print(error)
"""
BLOSC = """
import sys, h5py, hdf5plugin
with h5py.File(sys.argv[1], "r+") as file:
    values, attributes = file["t0_fields/pressure"][:], dict(file["t0_fields/pressure"].attrs)
    del file["t0_fields/pressure"]
    file["t0_fields"].create_dataset("pressure", data=values, **hdf5plugin.Blosc())
    file["t0_fields/pressure"].attrs.update(attributes)
"""


def run(code: str, path: Path) -> str:
    # An empty folder of plug-ins: none are installed on this machine in another way.
    environment = os.environ | {"HDF5_PLUGIN_PATH": str(path.parent)}
    command = [sys.executable, "-c", code, path]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_filter_that_is_not_installed_is_named(tmp_path: Path) -> None:
    path = write(tmp_path)
    states = read_states(open_well(path), 1)
    run(BLOSC, path)
    told = run(WITHOUT, path)
    assert f"{path}: expected an HDF5 filter that is installed, to read /t0_fields/press" in told
    assert "found Blosc (filter 32001), which is not" in told
    assert "pip install hdf5plugin" in told
    assert "elete" not in told
    # Where hdf5plugin is installed, it is used.
    np.testing.assert_array_equal(read_states(open_well(path), 1), states)


def test_a_filter_that_nobody_knows_is_named_by_its_number(tmp_path: Path) -> None:
    def filtered(file: h5py.File) -> None:
        old = file["t0_fields/pressure"]
        attributes, shape = dict(old.attrs), old.shape
        del file["t0_fields/pressure"]
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk(shape)
        # Optional, or HDF5 would not make the dataset; a chunk says that it was applied.
        plist.set_filter(300, h5py.h5z.FLAG_OPTIONAL)
        space, number = h5py.h5s.create_simple(shape), h5py.h5t.NATIVE_FLOAT
        made = h5py.h5d.create(file["t0_fields"].id, b"pressure", number, space, plist)
        made.write_direct_chunk((0, 0, 0, 0), b"compressed")
        file["t0_fields/pressure"].attrs.update(attributes)

    with pytest.raises(LilasError, match=r"found unknown \(filter 300\), which is not"):
        open_well(change(write(tmp_path), filtered))
