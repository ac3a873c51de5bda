"""Units and names of states of one's own: the model's, or refused in a sentence."""

import re
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
import yaml

import lilas
from lilas import cli
from lilas.data import given
from lilas.data.about import About
from lilas.data.headers import read_headers
from lilas.data.preprocess import Preprocessing
from lilas.data.transforms import Transform
from lilas.data.units import differ, units_of
from lilas.data.well import open_files
from lilas.errors import LilasError
from lilas.inspect.data import inspect_data_file
from lilas.inspect.folder import check_folder
from lilas.models.build import make_autoencoder_for, make_emulator_for
from lilas.official.given import take_ours
from lilas.plan.draft import draft
from lilas.plan.given import check_given
from lilas.plan.on_disk import extent_of
from lilas.records.provenance import provenance
from lilas.records.weights import write_weights
from lilas.study.entries import autoencoder_settings, emulator_settings
from lilas.study.read import Config, read_study
from lilas.study.tasks import Task
from lilas.systems.base import SPLITS

UNITS = {"c": "mol m-3", "feed": "s-1", "x": "m", "snapshot": "s"}
PIXELS = {"architecture": "identity"}
SOLVER = {
    "method": "solver",
    "window": 3,
    "network": {"channels": 8, "blocks": 1, "heads": 1, "embedding": 8},
}


def run(monkeypatch: pytest.MonkeyPatch, *args: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["lilas", *map(str, args)])
    cli.main()


def simulated(units: dict[str, str] | None = None) -> xr.Dataset:
    """Six runs of one field along an axis; time is called as it is nowhere else."""
    rng, units = np.random.default_rng(0), UNITS if units is None else units
    its = {name: {"units": unit} for name, unit in units.items()}
    states = rng.normal(size=(6, 4, 8)).astype(np.float32)
    return xr.Dataset(
        {
            "c": (("run", "snapshot", "x"), states, its.get("c", {})),
            # Four of the six train: both values are among theirs.
            "feed": ("run", np.tile([0.03, 0.05], 3), its.get("feed", {})),
        },
        {
            "snapshot": ("snapshot", np.arange(4) * 0.5, its.get("snapshot", {})),
            "x": ("x", np.arange(8.0), its.get("x", {})),
        },
    )


def untrained(data: Path, run: Path, name: str, channels: list[str]) -> None:
    """Pixel space and a solver in it that nobody trained, as weights of a run of some data."""
    files = open_files(sorted((data / "data/train").iterdir()))
    one = (1.0,) * len(channels)
    preprocessing = Preprocessing(tuple(channels), (Transform(),) * len(channels), one, one)
    about = About.of(files, preprocessing)
    torch.manual_seed(0)
    weights = run / "weights.safetensors", run / name / "weights.safetensors"
    weights[1].parent.mkdir(parents=True)
    pixels = make_autoencoder_for(autoencoder_settings(PIXELS), files[0])
    record = provenance("autoencoder", {"autoencoder": PIXELS}, {})
    write_weights(weights[0], pixels.state_dict(), record, about.as_json())
    features = len(about.parameters) + 2 * len(about.axes)
    solver = make_emulator_for(
        emulator_settings(SOLVER), (len(channels), *files[0].shape), features
    )
    config = {"emulator": SOLVER, "stride": 1, "label": {}}
    record = provenance("emulator", config, {"autoencoder": weights[0]})
    write_weights(weights[1], solver.state_dict(), record, about.as_json())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those runs in a NetCDF file, converted, and a solver in pixel space that nobody trained."""
    root = tmp_path_factory.mktemp("own")
    simulated().to_netcdf(root / "runs.nc", engine="h5netcdf")
    with pytest.MonkeyPatch.context() as patch:
        convert = ["convert", root / "runs.nc", "--time", "snapshot", "--boundary", "x=periodic"]
        run(patch, *convert, "--to", root / "flow")
    untrained(root / "flow", root / "latent", "solver", ["c"])
    return root


@pytest.fixture(scope="module")
def drafted(folder: Path) -> str:
    return draft(folder / "flow")


@pytest.fixture(scope="module")
def solver(folder: Path) -> lilas.Emulator:
    return lilas.load(folder / "latent/solver", device="cpu")


def state(**units: str) -> xr.Dataset:
    """The first state of a run, as the model calls it, in some units."""
    return simulated(units).isel(run=0, snapshot=[0]).rename(snapshot="time")


def test_units_are_compared_where_both_are_known() -> None:
    for one, other in [("mol m-3", "mmol m-3"), ("s", "ms"), ("s", "days since 2000-01-01")]:
        assert differ(one, other)
        assert differ(other, one)
    for one, other in [("s", " s "), ("s", None), ("", "K"), ("unspecified", "s")]:
        assert not differ(one, other)
        assert not differ(other, one)
    assert not differ("s", "s since 2000-01-01 00:00")


@pytest.mark.parametrize(
    ("name", "unit", "what"),
    [
        ("c", "mmol m-3", "states"),
        ("x", "km", "states"),
        ("snapshot", "ms", "states"),
        ("feed", "h-1", "parameters"),
    ],
)
def test_a_state_in_another_unit_is_refused(
    solver: lilas.Emulator, name: str, unit: str, what: str
) -> None:
    """And one in the model's, or in none, is taken: the same numbers, with its unit."""
    expected = solver.rollout(state(**UNITS), steps=2)
    xr.testing.assert_identical(solver.rollout(state(), steps=2), expected)
    assert expected["c"].attrs["units"] == "mol m-3"
    wrong, called = state(**UNITS | {name: unit}), "time" if name == "snapshot" else name
    words = f"^{what}: {called} is in {unit}, and the model was trained with {UNITS[name]}; convert"
    with pytest.raises(LilasError, match=words):
        solver.rollout(wrong, steps=2)
    # An autoencoder sees no parameters.
    if name == "feed":
        solver.encode(wrong)
        # A parameter that is asked for in place of the state's has the model's unit.
        solver.rollout(wrong, {"feed": 0.04}, steps=2)
        with pytest.raises(LilasError, match=words):
            solver.rollout(state(**UNITS), {"feed": wrong["feed"]}, steps=2)
    else:
        with pytest.raises(LilasError, match=words):
            solver.encode(wrong)


def test_observations_in_another_unit_are_refused(solver: lilas.Emulator) -> None:
    module = torch.nn.Module()
    diffusion = replace(
        solver, settings=emulator_settings(SOLVER | {"method": "diffusion"}), module=module
    )
    operator = {"kind": "subsample", "factor": 2}
    how = {"guidance": {"kind": "mmps", "operator": operator, "noise": 0.1}}
    with pytest.raises(LilasError, match=r"^states: c is in mmol m-3, and the model"):
        diffusion.rollout(state(**UNITS), steps=1, sampler=how, observations=state(c="mmol m-3"))


def test_dates_are_no_numbers(solver: lilas.Emulator) -> None:
    dated = state(**UNITS).assign_coords(time=np.array(["2000-01-01"], "datetime64[ns]"))
    with pytest.raises(LilasError, match=r"^states: time holds dates .* decode_times=False"):
        solver.rollout(dated, steps=1)
    assert solver.encode(dated).sizes["x"] == 8
    lasting = state(**UNITS).assign(feed=np.timedelta64(40, "ms"))
    with pytest.raises(LilasError, match=r"^parameters: feed holds dates or durations"):
        solver.rollout(lasting, steps=1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.rename(time="snapshot"), {"snapshot": "time"}),
        (lambda s: s.expand_dims("run"), {"run": "trajectory"}),
        (
            lambda s: s.rename(time="snapshot").expand_dims("run"),
            {"snapshot": "time", "run": "trajectory"},
        ),
        (lambda s: s.rename(x="lon"), {"lon": "x"}),
        (lambda s: s.rename(c="lambda"), {"NAME": "c"}),
    ],
)
def test_names_that_the_model_has_not_are_refused_with_what_to_do(
    solver: lilas.Emulator, change: Callable[[xr.Dataset], xr.Dataset], told: dict[str, str]
) -> None:
    """And what the refusal says is taken."""
    wrong = change(state(**UNITS))
    with pytest.raises(LilasError, match=r"^states: ") as refused:
        solver.rollout(wrong, steps=2)
    (python,) = re.findall(r"\.rename\((.*?)\)", str(refused.value))
    (shell,) = re.findall(r"--rename (.*?) of `lilas rollout`", str(refused.value))
    assert dict(pair.split("=") for pair in shell.split()) == told
    assert eval(f"dict({python})") == told
    names = {"lambda" if old == "NAME" else old: new for old, new in told.items()}
    found = solver.rollout(wrong.rename(names), steps=2)
    np.testing.assert_array_equal(
        found["c"].squeeze(), solver.rollout(state(**UNITS), steps=2)["c"].squeeze()
    )


def test_a_third_axis_is_not_renamed(solver: lilas.Emulator) -> None:
    with pytest.raises(LilasError, match=r"'level' is none.*: \.isel\(level=0\)$"):
        solver.rollout(state().expand_dims(["level", "trajectory"]), steps=1)


def test_the_file_that_was_converted_is_rolled_out_from_the_shell(
    folder: Path, solver: lilas.Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the names that the model has; what it says of others is a sentence."""

    def rollout(data: Path, *options: Any) -> xr.DataArray:
        to = tmp_path / f"{len(list(tmp_path.iterdir()))}.nc"
        where = ["--steps", 2, "--device", "cpu", "--to", to]
        run(monkeypatch, "rollout", folder / "latent/solver", data, *where, *options)
        return xr.load_dataset(to)["c"]

    data, one = folder / "runs.nc", ["--trajectory", 2, "--step", 1]
    names = ["--rename", "run=trajectory", "snapshot=time"]
    own = simulated().isel(run=2, snapshot=[1]).rename(snapshot="time")
    expected = solver.rollout(own, steps=2)["c"]
    np.testing.assert_array_equal(rollout(data, *names, *one), expected)
    # Times go on from the file's own numbers: 0.5 s, and so much again for each state.
    np.testing.assert_allclose(rollout(data, *names, *one)["time"], [1.0, 1.5])
    assert rollout(data, *names).shape == (6, 1, 2, 8)
    other = simulated(UNITS | {"c": "mmol m-3", "snapshot": "s since 2000-01-01"})
    other.to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    for args, words in [
        ([data], "rename it: .rename(snapshot='time', run='trajectory'), or --rename snapshot=ti"),
        ([data, *one], "has no axis trajectory, its axes are run, snapshot, x; where one of them"),
        ([data, *names[:2], *one], "has no axis time, its axes are snapshot, x; where one of them"),
        ([data, *names, "--trajectory", 6], "has the trajectories 0 to 5"),
        ([data, *names, "--step", -1], "has the steps 0 to 3"),
        ([data, "--rename", "nap=time"], "runs.nc: expected nap, which --rename names, found "),
        ([data, *names, "--unit", "T=K"], "runs.nc: expected T, which --unit names, found "),
        ([data, *names, "--unit", "c"], "--unit c: expected NAME=VALUE"),
        ([data, *names, "--unit", "x=km"], "x is in km, and the model was trained with m; conv"),
        ([tmp_path / "other.nc", *names], "states: c is in mmol m-3, and the model was trained w"),
    ]:
        with pytest.raises(SystemExit) as ended:
            rollout(*args)
        assert words in str(ended.value.code)
        assert "\n" not in str(ended.value.code)
    # Where both are one, it is said as `convert` has it said.
    unit = ["--unit", "c=mol m-3"]
    found = rollout(tmp_path / "other.nc", *names, *one, *unit)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(found["time"], [1.0, 1.5])


def test_parameters_are_told_with_their_unit(
    folder: Path, solver: lilas.Emulator, drafted: str
) -> None:
    with pytest.raises(LilasError, match=r"the model's are feed \(0\.03 to 0\.05 s-1\)$"):
        solver.rollout({"c": np.zeros(8, np.float32)}, steps=1)
    with pytest.warns(UserWarning, match=r"feed is 1, outside the training's 0\.03 to 0\.05 s-1$"):
        solver.rollout({"c": np.zeros(8, np.float32)}, {"feed": 1}, steps=1)
    lines = check_folder(folder / "flow").lines
    assert [line.split(maxsplit=2)[2] for line in lines if line.startswith("parameter feed")] == [
        "0.03 to 0.05 s-1"
    ]
    (told,) = [line for line in drafted.splitlines() if line.strip()[:5] == "feed:"]
    assert told.strip() == "feed: none  # 0.03 to 0.05 s-1"
    (file,) = (folder / "flow/data/test").iterdir()
    (told,) = [line for line in inspect_data_file(file).lines if line.strip().startswith("feed")]
    assert told.endswith(" s-1")


@pytest.mark.parametrize("name", ["c", "x", "time", "feed"])
def test_a_study_does_not_take_a_model_of_another_unit(folder: Path, name: str) -> None:
    """By its plan, which reads headers, and by the job that takes it, which reads the files."""
    paths = sorted((folder / "flow/data/train").iterdir())
    data, (header,) = open_files(paths), read_headers(list(map(str, paths)))[0].values()
    known = asdict(lilas.load(folder / "latent/solver", device="cpu").about)
    units = extent_of({key: [header] for key in SPLITS}, ["c"]).units
    assert units == units_of(data[0], data[0].channels)
    assert units == {
        "channels": {"c": "mol m-3"},
        "axes": {"time": "s", "x": "m"},
        "parameters": {"feed": "s-1"},
    }
    group = next(kind for kind, its in units.items() if name in its)
    other = units | {group: units[group] | {name: "furlong"}}
    path = folder / "latent/weights.safetensors"
    words = f"the unit of {name} as trained: {units[group][name]}, found furlong. Convert the data"
    given.check_units(path, known, "emulator", units)
    given.check_units(path, known, "emulator", units | {group: {}})
    with pytest.raises(LilasError, match=words):
        given.check_units(path, known, "emulator", other)
    config = {
        "states": {"fields": ["c"]},
        "stride": 1,
        "autoencoder": {"model": "any", "architecture": "identity"},
    }
    task = Task.model_validate(config)
    take_ours(path, data, task, None)
    changes: dict[str, Any] = {
        "c": {"fields": {"c": replace(data[0].fields["c"], units="furlong")}},
        "x": {"axis_units": {"x": "furlong"}},
        "time": {"time_units": "furlong"},
        "feed": {"parameter_units": {"feed": "furlong"}},
    }
    wrong = [replace(data[0], **changes[name])]
    if name in ("c", "x"):
        with pytest.raises(LilasError, match=words):
            take_ours(path, wrong, task, None)
    else:
        # An autoencoder sees neither.
        take_ours(path, wrong, task, None)
        given.check_units(path, known, "autoencoder", other)


@pytest.mark.parametrize("name", ["autoencoders", "emulators"])
def test_a_plan_compares_the_units_of_headers(
    folder: Path, tmp_path: Path, drafted: str, name: str
) -> None:
    text = yaml.safe_load(drafted)
    text["autoencoders"] = {
        "pixel": {"model": str(folder / "latent"), "architecture": "identity"},
    }
    own = {key: SOLVER[key] for key in ("method", "window")}
    text["emulators"] = {
        "solver": own
        | {"model": str(folder / "latent/solver"), "autoencoders": ["pixel"]}
        | {"samplers": ["direct"]}
    }
    text["samplers"] = {"direct": {"algorithm": "direct"}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(text))
    study = read_study(tmp_path / "study.yaml")
    files = sorted((folder / "flow/data/train").iterdir())
    (header,) = read_headers(list(map(str, files)))[0].values()

    def check(**changes: Any) -> None:
        its = {key: [replace(header, **changes)] for key in SPLITS}
        check_given(study, Config(), {"flow": extent_of(its, ["c"])})

    check()
    check(axis_units={}, parameter_units={})
    change, what = {
        "autoencoders": ({"axis_units": {"x": "km"}}, "pixel.model: .* x as trained: m, found km"),
        "emulators": ({"time_units": "ms"}, "solver.model: .* time as trained: s, found ms"),
    }[name]
    with pytest.raises(LilasError, match=f"^{name}.{what}"):
        check(**change)
