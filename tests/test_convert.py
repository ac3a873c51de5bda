"""Foreign files in The Well's layout: the same numbers by its own reader, and what is refused."""

import shutil
import tracemalloc
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from the_well.data import WellDataset

from lilas.cli import make_parser
from lilas.data import convert, streams
from lilas.data.convert import Split
from lilas.data.streams import Stream, field_type
from lilas.data.well import open_well
from lilas.errors import LilasError
from lilas.files import read_json
from lilas.inspect.folder import check_folder
from lilas.systems.base import SPLITS

RUNS, STEPS, X, Y = 5, 6, 8, 4
TIMES, XS, YS = 0.5 * np.arange(STEPS), np.arange(X) / X, np.arange(Y) / 2
VISCOSITY = np.geomspace(0.01, 1, RUNS)
ENDS = ("--boundary", "x=periodic", "y=wall")


def wave(number: int, x: Any, y: Any, run: Any, t: Any) -> Any:
    """A field in closed form: number of the field, place, run and time tell its value."""
    return np.sin(2 * np.pi * x + number + run - 3 * t) * (1 + y) + run


def flow(dims: tuple[str, ...] = ("run", "time", "y", "x"), **changes: Any) -> xr.Dataset:
    """Runs of travelling waves: a scalar T, the components u and v, a parameter, units."""
    points = {"run": np.arange(RUNS), "time": TIMES, "x": XS, "y": YS} | changes
    grid = np.meshgrid(*(points[dim] for dim in dims), indexing="ij")
    at = {"run": 0.0} | dict(zip(dims, grid, strict=True))
    place = at["x"], at["y"], at["run"], at["time"]
    units = {"T": "K", "u": "m s-1", "v": "m s-1"}
    fields = {name: (dims, wave(i, *place), {"units": units[name]}) for i, name in enumerate("Tuv")}
    coordinates = {dim: (dim, points[dim], {"units": "m"}) for dim in ("x", "y")}
    coordinates["time"] = "time", points["time"], {"units": "s"}
    parameters = {"viscosity": ("run", VISCOSITY)} if "run" in dims else {}
    return xr.Dataset(fields | parameters, coordinates)


def run(*arguments: Any) -> None:
    """The command, in this process."""
    args = make_parser().parse_args(["convert", *map(str, arguments)])
    args.run(args)


def netcdf(data: xr.Dataset, path: Path) -> Path:
    data.to_netcdf(path, engine="h5netcdf")
    return path


def sample(folder: Path, split: str) -> list[dict[str, Any]]:
    """Each trajectory of a split as The Well's own reader gives it."""
    theirs = WellDataset(
        path=str(folder),
        well_split_name=split,
        n_steps_input=STEPS - 1,
        n_steps_output=1,
        normalize_time_grid=False,
    )
    found = []
    for item in theirs:
        window = np.concatenate([item["input_fields"], item["output_fields"]])
        names = [name for order in range(3) for name in theirs.metadata.field_names[order]]
        found.append(
            dict(zip(names, np.moveaxis(window, -1, 0), strict=True))
            | dict(
                zip(theirs.metadata.constant_scalar_names, item["constant_scalars"], strict=True)
            )
            | {"grid": item["space_grid"].numpy(), "times": item["input_time_grid"].numpy()}
        )
    return found


def expected(number: int, run: int) -> np.ndarray:
    """A field of a run (time, x, y)."""
    return wave(number, XS[:, None], YS, run, TIMES[:, None, None])


def check(folder: Path, vector: str = "velocity") -> None:
    """Holds converted waves against their closed form, by The Well's reader and by ours."""
    assert check_folder(folder, states=True).faults == 0
    dealt = Split().deal(RUNS)
    for split in SPLITS:
        samples = sample(folder, split)
        assert len(samples) == len(dealt[split])
        for found, number in zip(samples, dealt[split], strict=True):
            for i, name in enumerate(("T", f"{vector}_x", f"{vector}_y")):
                np.testing.assert_allclose(found[name], expected(i, number), rtol=1e-6, atol=1e-6)
            assert float(found["viscosity"]) == pytest.approx(VISCOSITY[number])
            np.testing.assert_allclose(found["grid"][..., 0], np.broadcast_to(XS[:, None], (X, Y)))
            np.testing.assert_allclose(found["grid"][..., 1], np.broadcast_to(YS, (X, Y)))
            np.testing.assert_allclose(found["times"], TIMES[:-1])


@pytest.mark.filterwarnings("ignore::UserWarning")  # zarr tells that strings have no specification
def test_formats_give_the_numbers_of_the_closed_form(tmp_path: Path) -> None:
    """NetCDF-3 and 4, Zarr, npz (plain, compressed) and HDF5 without names of axes."""
    data = flow()
    netcdf(data, tmp_path / "four.nc")
    data.to_netcdf(tmp_path / "three.nc", engine="scipy")
    data.to_zarr(tmp_path / "store.zarr")
    arrays = {name: data[name].values for name in ("T", "u", "v", "viscosity", "time", "x", "y")}
    np.savez(tmp_path / "plain.npz", **arrays)
    np.savez_compressed(tmp_path / "small.npz", **arrays)
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        for name, values in arrays.items():
            file[name] = values
    for name in ("four.nc", "three.nc", "store.zarr", "plain.npz", "small.npz", "plain.h5"):
        folder = tmp_path / name.replace(".", "_")
        named = ("--dims", "run,time,y,x") if name.startswith(("plain", "small")) else ()
        run(tmp_path / name, "--to", folder, *ENDS, "--vector", "velocity=u,v", *named)
        check(folder)
        header = open_well(next((folder / "data/test").iterdir()))
        assert header.boundaries.tolist() == [[2, 2], [0, 0]]
        if not named:
            assert {name: field.units for name, field in header.fields.items()} == {
                **{"T": "K", "velocity": "m s-1"}
            }
            assert (header.time_units, header.axis_units) == ("s", {"x": "m", "y": "m"})
    assert not list(tmp_path.glob(".*"))


def test_a_file_for_each_run_with_its_parameter(tmp_path: Path) -> None:
    """As an attribute, or a variable; an axis that descends is turned with its states."""
    paths = []
    for number in range(RUNS):
        one = flow().isel(run=number).isel(y=slice(None, None, -1))
        one.attrs["viscosity"] = float(one["viscosity"])
        paths.append(netcdf(one.drop_vars("viscosity"), tmp_path / f"{number}.nc"))
    turned = ("--turn", "y", "--parameters", "viscosity", "--vector", "velocity=u,v")
    with pytest.raises(LilasError, match=r"y descends from 1.5 to 0; turn it.*--turn y"):
        run(*paths, "--to", tmp_path / "waves", *ENDS, *turned[2:])
    run(*paths, "--to", tmp_path / "waves", *ENDS, *turned)
    check(tmp_path / "waves")
    files = read_json(tmp_path / "waves/convert.json")["files"]
    (test,) = Split().deal(RUNS)["test"]
    assert files["data/test/waves_0000.hdf5"] == [str(paths[test])]


def test_components_along_an_axis_of_their_own(tmp_path: Path) -> None:
    data = flow()
    data["B"] = xr.concat([data["u"], data["v"]], dim="component").transpose(..., "component")
    data["B_x"], data["B_y"] = data["u"], data["v"]
    run(netcdf(data, tmp_path / "a.nc"), "--to", tmp_path / "one", *ENDS, "--fields", "T", "B")
    check(tmp_path / "one", "B")
    # Those that are called after the axes are one vector, and it is said.
    apart = data.drop_vars(["B", "u", "v"])
    run(netcdf(apart, tmp_path / "b.nc"), "--to", tmp_path / "two", *ENDS)
    check(tmp_path / "two", "B")


@pytest.mark.parametrize("axes", ["x", "xyz"])
def test_one_and_three_space_axes(axes: str, tmp_path: Path) -> None:
    """In the order of their names, whatever the file's; vectors have as many components."""
    dims = ("time", *axes[::-1], "run")
    sizes = {"run": 3, "time": 4, "x": 6, "y": 5, "z": 2}
    rng = np.random.default_rng(0)
    shape = [sizes[dim] for dim in dims]
    values = {name: rng.normal(size=shape).astype(np.float32) for name in ("p", *axes)}
    data = xr.Dataset(
        {f"v_{name}" if name in axes else name: (dims, values[name]) for name in values}
    )
    ends = [f"{axis}=open" for axis in axes]
    run(netcdf(data, tmp_path / "a.nc"), "--to", tmp_path / "flow", "--boundary", *ends)
    (row,) = Split().deal(3)["test"]
    with h5py.File(tmp_path / "flow/data/test/flow_0000.hdf5") as file:
        for i, name in enumerate(values):
            source = data[f"v_{name}" if name in axes else name].isel(run=row)
            group, place = (
                ("t1_fields/v", (..., i - 1)) if len(axes) > 1 else (f"t0_fields/v_{name}", ...)
            )
            found = file["t0_fields/p" if name == "p" else group][0]
            expected = source.transpose("time", *axes).values
            np.testing.assert_array_equal(found if name == "p" else found[place], expected)
        assert list(file["dimensions"].attrs["spatial_dims"]) == list(axes)
        # The file has no points: they are numbered.
        np.testing.assert_array_equal(file["dimensions/x"], np.arange(6.0))


def test_what_is_taken_is_said_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = flow().assign(mask=(("y", "x"), np.ones((Y, X))), name="a").assign_attrs(Re=100)
    path = netcdf(data.rename(run="sim"), tmp_path / "a.nc")
    run(path, "--to", tmp_path / "waves", *ENDS, "--vector", "velocity=u,v", "--dry-run")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "trajectory sim 5 guessed",
        "time time 6 states, 0 to 2.5 s guessed",
        "space x 8 points, 0 to 0.875 m, periodic guessed",
        "space y 4 points, 0 to 1.5 m, wall guessed",
        "grid grid cartesian guessed",
        "field T K guessed",
        "field velocity u along x, v along y, m s-1",
        "parameter viscosity 0.01 to 1 guessed",
        "splits seed 0 train 3, valid 1, test 1",
        "not taken: mask, it has no axis sim, time",
        "not taken: name, it holds <U1, not numbers",
        "not taken: Re, it is an attribute, which --parameters can name",
    ]
    assert not (tmp_path / "waves").exists()


def test_data_are_in_memory_a_few_states_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of 8 MB in float64, of which a type has to be found, in blocks of 256 kB."""
    times, xs = np.arange(256.0), np.arange(64.0)
    rng = np.random.default_rng(0)
    runs = {"run": np.arange(3), "time": times, "x": xs, "y": xs}
    data = xr.Dataset({"T": (tuple(runs), rng.normal(size=(3, 256, 64, 64)))}, runs)
    path = netcdf(data, tmp_path / "a.nc")
    read: list[int] = []
    blocks = Stream.blocks
    monkeypatch.setattr(streams, "BLOCK_BYTES", 2**18)
    monkeypatch.setattr(convert, "FILE_BYTES", 2**20)
    monkeypatch.setattr(
        Stream, "blocks", lambda self: (read.append(b[2].nbytes) or b for b in blocks(self))
    )
    tracemalloc.start()
    run(path, "--to", tmp_path / "waves", "--boundary", "x=open", "y=open", "--split", 1, 1, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Once to find the type, once to write.
    assert read == [2**18] * (2 * 3 * 32)
    assert peak < 2**22
    ((written,),) = (sorted((tmp_path / "waves/data" / split).iterdir()) for split in ("test",))
    with h5py.File(written) as file:
        source = data["T"].values[Split((1, 1, 1)).deal(3)["test"]].astype(np.float32)
        np.testing.assert_array_equal(file["t0_fields/T"], source)


def test_large_splits_are_cut_into_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_bytes = 3 * 4 * STEPS * X * Y
    monkeypatch.setattr(convert, "FILE_BYTES", 2 * run_bytes)
    run(
        netcdf(flow(), tmp_path / "a.nc"),
        "--to",
        tmp_path / "waves",
        *ENDS,
        "--vector",
        "velocity=u,v",
    )
    check(tmp_path / "waves")
    names = [path.name for path in sorted((tmp_path / "waves/data/train").iterdir())]
    assert names == ["waves_0000.hdf5", "waves_0001.hdf5"]


@pytest.mark.parametrize("blocks", [1, 3, 100])
def test_the_type_of_a_field_does_not_depend_on_blocks(
    blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What float32 rounds by 1 % of the spread: of one component, 0.25 about 1e5."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 12, 5, 4, 2))
    values[1, ..., 1] = 1e5 + 0.25 * values[1, ..., 1]
    monkeypatch.setattr(streams, "BLOCK_BYTES", blocks * values[0, 0].nbytes)
    assert field_type("a", "u", streams.stream(values), 1) is np.float64
    # What hardly varies in a state, and does over the trajectory, is kept by float32.
    drift = 10 * np.arange(12)[:, None, None]
    values[1, ..., 1] = 1e5 + drift + 1e-3 * (values[1, ..., 1] - 1e5)
    assert field_type("a", "u", streams.stream(values), 1) is np.float32


def test_every_run_is_dealt_to_one_split() -> None:
    for parts in ((0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (7, 2, 4)):
        dealt = Split(parts, seed=3).deal(13)
        assert sorted(chain(*dealt.values())) == list(range(13))
        assert dealt != Split(parts, seed=4).deal(13)
    assert [len(its) for its in dealt.values()] == [7, 2, 4]
    assert [len(its) for its in Split((0.8, 0.1, 0.1)).deal(3).values()] == [1, 1, 1]
    assert [len(its) for its in Split((0.5, 0.25, 0.25)).deal(100).values()] == [50, 25, 25]
    for parts, words in (
        ((0.8, 0.1, 0.2), "fractions above 0 that sum to 1"),
        ((1, 0, 0), "fractions above 0"),
        ((8, 1, 1), "they sum to 10 of 13"),
    ):
        with pytest.raises(LilasError, match=words):
            Split(parts).deal(13)
    with pytest.raises(LilasError, match="of 4 trajectories none is left for training"):
        Split((0.1, 0.45, 0.45)).deal(4)
    with pytest.raises(LilasError, match="2 trajectories for 3 splits"):
        Split().deal(2)


def nan(data: xr.Dataset) -> xr.Dataset:
    data["u"][2, 4, 1, 1] = np.nan
    return data


def unnamed(data: xr.Dataset) -> xr.Dataset:
    names = dict(zip(data["T"].dims, ("dim_0", "dim_1", "dim_2", "dim_3"), strict=True))
    return data.drop_vars(list(data.coords)).rename_dims(names)


BAD = {
    "boundary": (None, (), r"boundaries of x, y are in no file; .*--boundary x=KIND y=KIND"),
    "half": (None, ("--boundary", "x=open"), "boundaries of y are in no file"),
    "kind": (None, ("--boundary", "x=closed", "y=wall"), "closed is unknown; allowed: wall, open"),
    "where": (None, (*ENDS, "z=open"), "--boundary names z; space axes: x, y"),
    "pair": (None, ("--boundary", "periodic"), "--boundary periodic: expected NAME=VALUE"),
    "unnamed": (unnamed, ENDS, r"the axes of T \(5 x 6 x 4 x 8\) have no names; .*--dims run,time"),
    "unknown": (lambda d: d.rename(run="job"), ENDS, "what is the axis job[?] .*--trajectory job"),
    "time": (lambda d: d.rename(time="hour"), ENDS, "which axis is time[?] .*--time AXIS"),
    "two": (lambda d: d.rename(y="sample"), ENDS, "which axis is trajectory[?]"),
    "ensemble": (
        lambda d: d.expand_dims(member=2),
        (*ENDS, "--trajectory", "run"),
        "stack axes of",
    ),
    "groups": (lambda d: xr.Dataset(attrs={"a": 1}), ENDS, "a.nc: expected variables, found none"),
    "words": (lambda d: d.assign_coords(x=list("abcdefgh")), ENDS, "numbers along x, found"),
    "taken": (lambda d: d.rename(y="channel"), (*ENDS, "--trajectory", "run"), "--rename channel="),
    "twice": (None, (*ENDS, "--space", "x,time"), "the axis time is named twice"),
    "axis": (None, (*ENDS, "--time", "hour"), "expected the axis hour, found run, time, y, x"),
    "descending": (
        lambda d: d.isel(time=slice(None, None, -1)),
        ENDS,
        "time descends.*--turn time",
    ),
    "unsorted": (
        lambda d: d.isel(x=[0, 2, 1, 3]),
        ENDS,
        "x must ascend, and 0.25 is followed by 0.1",
    ),
    "uneven": (lambda d: flow(y=YS**2), ENDS, "y is uneven, by 0.25 to 1.25; .*--uneven y"),
    "adaptive": (lambda d: flow(time=TIMES**2), ENDS, "time is uneven.* a step .*--uneven time"),
    "rolled": (lambda d: flow(x=XS**2), (*ENDS, "--uneven", "x"), "periodic and uneven"),
    "NaN": (nan, ENDS, r"a.nc 2: expected finite values of u, .*NaN or infinity in state 4"),
    "number": (lambda d: d.assign(g=np.inf), ENDS, "finite values of the parameter g"),
    "one": (lambda d: d.isel(time=[0]), ENDS, "two states at least, found 1"),
    "few": (lambda d: d.isel(run=[0, 1]), ENDS, "2 trajectories for 3 splits"),
    "split": (None, (*ENDS, "--split", 8, 1, 1), "--split 8 1 1: they sum to 10 of 5"),
    "steps": (None, (*ENDS, "--steps", 9), "--steps 9, found 6"),
    "missing": (None, (*ENDS, "--fields", "T", "p"), "expected the variable p, found T, u, v"),
    "field twice": (None, (*ENDS, "--fields", "T", "T"), "T is taken twice"),
    "part twice": (None, (*ENDS, "--fields", "u", "--vector", "w=u,v"), "u is taken twice"),
    "name twice": (None, (*ENDS, "--vector", "T=u,v"), "T is a field and a vector"),
    "vector twice": (None, (*ENDS, "--vector", "w=u,v", "w=v,u"), "--vector names w twice"),
    "parts": (
        None,
        (*ENDS, "--vector", "w=u"),
        "w has 1 components, and there are 2 space axes, x",
    ),
    "no field": (None, (*ENDS, "--fields", "T", "viscosity"), "viscosity is no field: it has no"),
    "fields": (
        lambda d: d[["viscosity", "time"]],
        ENDS,
        "no variable of numbers has the axis time",
    ),
    "parameter": (None, (*ENDS, "--parameters", "T"), "T is no parameter, which is one number or"),
    "attribute": (None, (*ENDS, "--parameters", "Re"), "expected the variable or attribute Re"),
    "unit": (None, (*ENDS, "--unit", "p=K"), "--unit names p; allowed: time, x, y, T, u, v, visc"),
    "rename": (None, (*ENDS, "--rename", "p=q"), "expected p, which --rename names"),
    "turn": (None, (*ENDS, "--turn", "z"), "--turn names z; axes: time, x, y"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused_is_one_sentence_that_tells_what_to_do(case: str, tmp_path: Path) -> None:
    edit, options, words = BAD[case]
    path = netcdf(edit(flow()) if edit else flow(), tmp_path / "a.nc")
    with pytest.raises(LilasError, match=words) as refused:
        run(path, "--to", tmp_path / "waves", *options)
    assert "\n" not in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nc"]


OTHER: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], str]] = {
    "steps": (lambda d: d.isel(time=slice(4)), "4 states, and .*a.nc 0 has 6; .*--steps 4"),
    "interval": (lambda d: flow(time=2 * TIMES), "the states lie apart by 1, and 0.5"),
    "domain": (lambda d: flow(x=2 * XS), "x has the length 1.75, and 0.875"),
    "grid": (lambda d: d.isel(x=slice(6)), "points of the first file, {'x': 8, 'y': 4}"),
    "rows": (
        lambda d: d.isel(run=0),
        "the axis of trajectories of the first file, run, found None",
    ),
    "fields": (lambda d: d.drop_vars("v"), "the fields of the first file"),
    "parameters": (lambda d: d.assign(g=9.81), "the parameters of the first file"),
    "units": (
        lambda d: d.assign(T=d["T"].assign_attrs(units="C")),
        "the unit of T in the first file, K, found C",
    ),
}


@pytest.mark.parametrize("case", OTHER)
def test_files_of_another_kind_are_refused(case: str, tmp_path: Path) -> None:
    edit, words = OTHER[case]
    paths = [netcdf(flow(), tmp_path / "a.nc"), netcdf(edit(flow()), tmp_path / "b.nc")]
    with pytest.raises(LilasError, match=words):
        run(*paths, "--to", tmp_path / "waves", *ENDS)
    with pytest.raises(LilasError, match="is named twice"):
        run(*paths, paths[0], "--to", tmp_path / "waves", *ENDS)
    if case == "steps":
        run(*paths, "--to", tmp_path / "waves", *ENDS, "--steps", 4)


def test_what_no_program_opens_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = netcdf(flow(), tmp_path / "a.nc")
    cut, text, empty = (tmp_path / name for name in ("cut.nc", "text.nc", "empty.zarr"))
    cut.write_bytes(whole.read_bytes()[:5000])
    text.write_text("T,u,v")
    empty.mkdir()
    for path in (cut, text, empty, tmp_path / "none.nc"):
        with pytest.raises(LilasError, match=f"{path.name}: expected a file") as refused:
            run(path, "--to", tmp_path / "waves", *ENDS)
        assert "\n" not in str(refused.value)
    shutil.copy(text, tmp_path / "b.npz")
    with pytest.raises(LilasError, match=r"b.npz: expected a file that xarray opens"):
        run(tmp_path / "b.npz", "--to", tmp_path / "waves", *ENDS)
    monkeypatch.setattr("lilas.data.foreign.find_spec", lambda name: None)
    monkeypatch.setattr(xr, "open_dataset", _no_engine)
    with pytest.raises(LilasError, match=r"h5netcdf, which reads NetCDF-4, .*EXTRAS=netcdf"):
        run(whole, "--to", tmp_path / "waves", *ENDS)


def _no_engine(*_: Any, **__: Any) -> None:
    raise ValueError("found the following matches with the input file in xarray's IO backends")


def test_a_folder_that_holds_something_is_kept(tmp_path: Path) -> None:
    path = netcdf(flow(), tmp_path / "a.nc")
    (tmp_path / "waves").mkdir()
    (tmp_path / "waves/notes").touch()
    with pytest.raises(LilasError, match="waves: expected a new folder"):
        run(path, "--to", tmp_path / "waves", *ENDS)
    (tmp_path / "waves/notes").unlink()
    run(path, "--to", tmp_path / "waves", *ENDS, "--vector", "velocity=u,v")
    check(tmp_path / "waves")
