"""Models that are called: what the pipeline's own rollouts are, and what is refused."""

import json
import re
import shutil
import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import lilas
from conftest import Pipeline
from lilas import cli
from lilas.data.about import read_about
from lilas.data.states import Pixels, read_states
from lilas.data.well import open_files, open_well
from lilas.errors import LilasError
from lilas.files import sha256
from lilas.interface import output
from lilas.interface.states import check_context, make_labels, take
from lilas.models.latents import open_latents
from lilas.models.observations import Guide, Observations, guided
from lilas.models.rollout import ensemble
from lilas.official.folders import open_run
from lilas.official.models import load_run_autoencoder, load_run_emulator
from lilas.records.weights import load_state, write_weights
from lilas.study.entries import SamplerEntry

DATA = Path(__file__).parent / "data"
CHANNELS = ["buoyancy", "pressure", "velocity_x", "velocity_y"]
LATENT = ("trajectory", "member", "time", "channel", "x", "y")
LOGS = {"Rayleigh": "log", "Prandtl": "log"}
PARAMETERS = {"Rayleigh": 3e4, "Prandtl": 1.0}
RUNS = {
    "diffusion": "convection/c16-s0/diffusion-s0",
    "solver": "convection/c16-s0/solver-s0",
    "pixel": "convection/pixel-s0/pixel_solver-s0",
}


@pytest.fixture(scope="module")
def results(miniature: Pipeline) -> Path:
    return miniature.folder / "results/miniature"


@pytest.fixture(scope="module")
def emulator(results) -> lilas.Emulator:
    torch.set_num_threads(1)
    return lilas.load(results / RUNS["diffusion"], device="cpu")


@pytest.fixture(scope="module")
def files(miniature: Pipeline) -> list[Path]:
    """Those of the test split, in the pipeline's order."""
    folder = miniature.folder / "results/miniature/convection/c16-s0/latents/test.json"
    made = json.loads(folder.read_text())["provenance"]["inputs"]["files"]
    return [miniature.folder / one["path"] for one in made]


@pytest.fixture(scope="module")
def trajectories(files) -> xr.Dataset:
    """All trajectories of the test split, with their parameters."""
    found = [lilas.read_trajectory(path, i) for path in files for i in range(2)]
    return xr.concat(found, "trajectory")


def first(trajectories: xr.Dataset, row: int = 0) -> xr.Dataset:
    return trajectories.isel(trajectory=row, time=[0])


# --- What is read -----------------------------------------------------------------------------


def test_a_trajectory_has_the_numbers_of_its_file_by_the_names_of_its_channels(files):
    found = lilas.read_trajectory(files[1], 1)
    well = open_well(files[1])
    expected = read_states(well, 1)
    for i, channel in enumerate(well.channels):
        np.testing.assert_array_equal(found[channel.name].values, expected[:, i])
    assert found["velocity_x"].dims == ("time", "x", "y")
    np.testing.assert_array_equal(found["time"], well.times[1])
    assert float(found["Rayleigh"]) == well.parameters["Rayleigh"][1] == 5e4
    ends = [
        str(found[f"boundary_{axis}_{end}"].values) for axis in "xy" for end in ("first", "last")
    ]
    assert ends == ["periodic", "periodic", "wall", "wall"]


def test_weights_know_the_data_that_they_are_of(results, files):
    for run in RUNS.values():
        about = read_about(results / run / "weights.safetensors")
        assert list(about.channels) == ["buoyancy", "pressure", "velocity_x", "velocity_y"]
        assert about.shape == (32, 16)
        np.testing.assert_array_equal(
            about.axes["y"]["points"], open_well(files[0]).coordinates["y"][0]
        )
        assert about.parameters["Rayleigh"]["range"] == [2e4, 5e4]
        assert about.boundaries == [{"x": ["periodic"] * 2, "y": ["wall"] * 2}]
        assert about.interval == pytest.approx([0.25, 0.25])
        statistics = json.loads((results / "convection/statistics.json").read_text())
        for name, known in about.channels.items():
            assert known["mean"] == statistics["channels"][name]["mean"]
            assert known["std"] == statistics["channels"][name]["std"]


def older(weights: Path) -> None:
    """Weights as they were written before they knew their data."""
    record, state = load_state(weights)
    write_weights(weights, state, record)


def test_weights_of_before_know_by_their_statistics_and_files(results, tmp_path):
    """And where these are gone they say what is missing."""
    moved = tmp_path / "results/miniature"
    shutil.copytree(results.parent, moved.parent, symlinks=True)
    expected = {run: read_about(results / run / "weights.safetensors") for run in RUNS.values()}
    autoencoder = moved / "convection/c16-s0/weights.safetensors"
    for path in [autoencoder, *(moved / run / "weights.safetensors" for run in RUNS.values())]:
        older(path)
    for run, about in expected.items():
        assert read_about(moved / run / "weights.safetensors") == about
    (moved / "convection/statistics.json").unlink()
    with pytest.raises(LilasError, match=r"found an older one, and not the \S+statistics\.json"):
        read_about(moved / RUNS["diffusion"] / "weights.safetensors")


def test_weights_of_0_1_0_are_called(results, trajectories, tmp_path):
    """Whose records have other names, and no implementations."""
    moved = tmp_path / "results/miniature"
    shutil.copytree(results.parent, moved.parent, symlinks=True)
    autoencoder = moved / "convection/c16-s0/weights.safetensors"
    run = RUNS["diffusion"]
    for path in (autoencoder, moved / run / "weights.safetensors"):
        record, state = load_state(path)
        record["versions"]["lilas"] = "0.1.0"
        del record["implementations"]
        if emulator := record["config"].get("emulator"):
            emulator |= {"objective": emulator.pop("method")}
            emulator |= {"autoencoders": ["any"], "samplers": ["any"]}
            record["inputs"]["autoencoder"]["sha256"] = sha256(autoencoder)
        write_weights(path, state, record)
    given, how = trajectories.isel(time=[0]), {"steps": 2, "members": 1}
    there, here = (lilas.load(folder / run, device="cpu") for folder in (moved, results))
    xr.testing.assert_identical(there.rollout(given, **how), here.rollout(given, **how))


def test_the_truth_of_a_row_is_that_of_the_split(results, trajectories):
    study = lilas.open_study(results)
    found = study.truth("convection/c16-s0", 3)
    for name in CHANNELS:
        np.testing.assert_array_equal(found[name], trajectories[name][3])
    assert int(found["trajectory"]) == 3
    with pytest.raises(LilasError, match="row 4; the test split has the rows 0 to 3"):
        study.truth("convection/c16-s0", 4)
    with pytest.raises(LilasError, match="unknown 'c16-s0'; allowed: convection/c16-s0, "):
        study.truth("c16-s0")


# --- Encoding and decoding --------------------------------------------------------------------


def test_latents_are_those_of_the_pipeline(results, emulator, trajectories):
    stored = lilas.open_study(results).latents("convection/c16-s0")
    found = emulator.encode(trajectories)
    assert found.dims == ("trajectory", "time", "channel", "x", "y")
    np.testing.assert_allclose(found, stored["latent"][0], rtol=0, atol=2e-6)
    # In another order of dimensions, and as NumPy has them.
    turned = trajectories.transpose("y", "time", "x", "trajectory")
    np.testing.assert_array_equal(emulator.encode(turned), found)
    arrays = {name: trajectories[name].values for name in emulator.about.channels}
    np.testing.assert_array_equal(emulator.encode(arrays), found)


def test_states_are_decoded_to_their_unit_whatever_lies_around_them(emulator, trajectories):
    latents = emulator.encode(trajectories)
    states = emulator.decode(latents)
    for row, step in ((0, 3), (3, 0)):
        alone = emulator.decode(latents[row, step])
        assert alone["pressure"].dims == ("x", "y")
        np.testing.assert_allclose(
            alone["pressure"], states["pressure"][row, step], rtol=0, atol=1e-6
        )


def test_pixel_space_gives_states_back(results, trajectories):
    pixels = lilas.load(results / "convection/pixel-s0", device="cpu")
    rebuilt = pixels.decode(pixels.encode(trajectories))
    for name in pixels.about.channels:
        np.testing.assert_allclose(rebuilt[name], trajectories[name], rtol=0, atol=1e-6)


# --- Rollouts ---------------------------------------------------------------------------------


def stored(results: Path, run: str, sampler: str) -> xr.Dataset:
    return lilas.open_study(results).rollout(f"{run}/{sampler}").load()


def test_a_rollout_is_the_pipelines_bit_by_bit(results, trajectories):
    """In pixel space, where states are not encoded, and in batches of the same shape."""
    model = lilas.load(results / RUNS["pixel"], device="cpu")
    expected = stored(results, RUNS["pixel"], "direct")
    found = model.rollout(trajectories.isel(time=[0]), steps=8)
    decoded = model.decode(expected["latent"][:, :, 1:])
    for name in model.about.channels:
        assert found[name].dims == ("trajectory", "member", "time", "x", "y")
        np.testing.assert_array_equal(found[name], decoded[name])
    np.testing.assert_allclose(found["time"], trajectories["time"][1:9], rtol=0, atol=1e-9)
    assert found["lead_time"].values.tolist() == list(range(1, 9))


@pytest.mark.parametrize("name", ["ab4", "back", "direct"])
def test_a_rollout_in_latent_space_is_the_pipelines(results, emulator, trajectories, name):
    """To what the encoder rounds in another batch; what follows a window amplifies it."""
    model, run, how = emulator, RUNS["diffusion"], {"steps": 4, "batch_size": 4}
    if name == "direct":
        model, run, how = lilas.load(results / RUNS["solver"], device="cpu"), RUNS["solver"], None
    expected = stored(results, run, name)
    if name == "back":
        how |= {"context": 2, "overlap": 2, "direction": "backward"}
        how |= {"temperature": expected.attrs["temperature"]}
    given = 2 if name == "back" else 1
    context = sorted(expected["step"].values[:given].tolist())
    members = expected.sizes["member"]
    new = model.settings.window - given
    found = model.rollout(trajectories.isel(time=context), steps=new, members=members, sampler=how)
    decoded = model.decode(expected["latent"][:, :, given : given + new])
    for channel, known in model.about.channels.items():
        apart = np.abs(found[channel].values - decoded[channel].values).max()
        assert apart < 1e-5 * known["std"], channel
    steps = expected["step"].values[given : given + new]
    np.testing.assert_allclose(found["time"], trajectories["time"].values[steps], atol=1e-9)


def test_what_a_trajectory_becomes_depends_on_its_name_and_the_seed_alone(emulator, trajectories):
    how = {"steps": 2, "members": 2, "sampler": {"steps": 3}}
    together = emulator.rollout(trajectories.isel(time=[0]), **how)
    named = trajectories.isel(trajectory=[2], time=[0]).assign_coords(trajectory=[2])
    alone = emulator.rollout(named, **how)
    np.testing.assert_allclose(alone["buoyancy"][0], together["buoyancy"][2], rtol=0, atol=1e-4)
    assert alone["trajectory"].values.tolist() == [2]
    unnamed = emulator.rollout(first(trajectories, 2), **how)
    assert np.abs(unnamed["buoyancy"] - together["buoyancy"][2]).max() > 1e-2
    other = emulator.rollout(named, **how, seed=1)
    assert np.abs(other["buoyancy"] - alone["buoyancy"]).max() > 1e-2


def test_one_state_of_numpy_and_parameters_by_name_will_do(emulator, trajectories):
    """In a rollout without the dimensions that the state lacks; the last state is the one given."""
    state = {name: trajectories[name].values[0, 5] for name in emulator.about.channels}
    values = {"Rayleigh": 2e4, "Prandtl": 1}
    found = emulator.rollout(state, values, steps=3, members=2)
    assert dict(found.sizes) == {"member": 2, "time": 3, "x": 32, "y": 16}
    whole = trajectories.isel(trajectory=0, time=slice(0, 6))
    again = emulator.rollout(whole, steps=3, members=2)
    np.testing.assert_allclose(found["pressure"], again["pressure"], rtol=0, atol=1e-5)
    # Parameters may lie beside the channels, as coordinates or not.
    beside = whole.reset_coords(["Rayleigh", "Prandtl"])
    xr.testing.assert_identical(emulator.rollout(beside, steps=3, members=2), again)
    told = whole.drop_vars(["Rayleigh", "Prandtl"]).assign_attrs({"Rayleigh": 2e4, "Prandtl": 1})
    xr.testing.assert_identical(emulator.rollout(told, steps=3, members=2), again)
    # Without a time of its own it begins at 0.
    np.testing.assert_allclose(found["time"], [0.25, 0.5, 0.75])
    np.testing.assert_allclose(again["time"], trajectories["time"][6:9])


def test_a_rollout_is_given_the_states_beside_its_own(emulator, trajectories):
    """The last, in time; of one that runs backward the first, from the latest to the earliest."""
    taken = take(trajectories, emulator.about)
    for direction, steps in {"forward": [10, 11], "backward": [1, 0]}.items():
        sampler = SamplerEntry(algorithm="ab", context=2, overlap=2, direction=direction)
        given = check_context(taken, emulator.about, sampler, stride=1)
        np.testing.assert_array_equal(given[:, :, 1], trajectories["pressure"].values[:, steps])


def test_labels_are_those_of_the_training(results, emulator, trajectories, monkeypatch):
    seen = []
    stepper = emulator.module.stepper

    def spy(label, *rest):
        seen.append(label)
        return stepper(label, *rest)

    monkeypatch.setattr(emulator.module, "stepper", spy)
    emulator.rollout(
        trajectories.isel(time=[0]), steps=1, sampler={"algorithm": "ddim", "steps": 1}
    )
    source = open_latents(
        results / "convection/c16-s0/latents/test.json",
        results / "convection/c16-s0/weights.safetensors",
    )
    np.testing.assert_array_equal(torch.cat(seen), source.labels)


def test_states_go_to_a_store_as_they_are_decoded(emulator, trajectories, tmp_path, monkeypatch):
    """In blocks of what lies together; where memory would not hold them, they are refused."""
    how = {"steps": 5, "members": 2, "sampler": {"steps": 2, "order": 2, "batch_size": 2}}
    monkeypatch.setattr(output, "_BLOCK", 2 * 4 * 4 * 32 * 16)
    expected = emulator.rollout(trajectories.isel(time=[0]), **how)
    found = emulator.rollout(trajectories.isel(time=[0]), **how, to=tmp_path / "a.zarr")
    assert found["pressure"].chunks is not None
    assert found["pressure"].chunks[2] == (2, 2, 1)
    xr.testing.assert_equal(found.load(), expected)
    with pytest.raises(
        LilasError, match=r"a\.zarr: expected a new folder, found one that is there"
    ):
        emulator.rollout(first(trajectories), **how, to=tmp_path / "a.zarr")
    free = type("Memory", (), {"available": 2e6})
    monkeypatch.setattr(output.psutil, "virtual_memory", lambda: free)
    with pytest.raises(
        LilasError, match=r"1 trajectories, 2 members and 500 steps are 0\.00819 GB"
    ):
        emulator.rollout(first(trajectories), **how | {"steps": 500})


def test_observations_guide_a_rollout(emulator, trajectories, files):
    """As the pipeline's guide does of the truth, if that is observed without noise."""
    operator = {"kind": "stripe", "axis": "x", "spacing": 8, "width": 2}
    how = {"steps": 4, "guidance": {"kind": "mmps", "operator": operator, "noise": 0.05}}
    observed = trajectories.isel(time=slice(1, 4))
    # What is not observed need not be known.
    hidden = observed.where(xr.DataArray(np.arange(32) % 8 < 2, dims="x"))
    given = trajectories.isel(time=[0])
    found = emulator.rollout(given, steps=3, members=2, sampler=how, observations=hidden)

    sampler = SamplerEntry(algorithm="ab", members=2, **how)
    pixels = Pixels(open_files(files), emulator.about.preprocessing, {})
    observations = Observations(sampler, pixels)
    observations.noise = 0.0
    guide = Guide(observations, emulator.autoencoder.module)
    rows, span = range(4), range(4)
    latents = ensemble(
        emulator.module,
        torch.from_numpy(emulator.encode(given).values),
        torch.from_numpy(make_labels(take(given, emulator.about), None, emulator.about, LOGS)),
        rows,
        states=4,
        settings=emulator.settings,
        sampler=sampler,
        wrap=lambda step: guided(step, guide, list(rows), span, sampler),
    )
    expected = emulator.decode(xr.DataArray(latents[:, :, 1:].numpy(), dims=LATENT))
    free = emulator.rollout(given, steps=3, members=2, sampler={"steps": 4})
    for name in emulator.about.channels:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-6)
        assert np.abs(free[name] - expected[name]).max() > 1e-3
    wrong = {"steps": 3, "members": 2, "sampler": how}
    with pytest.raises(LilasError, match="observations: NaN or infinity where the operator"):
        emulator.rollout(given, **wrong, observations=hidden.shift(x=1))
    with pytest.raises(LilasError, match="observations: 2 in time of 4 trajectories; expected 3"):
        emulator.rollout(given, **wrong, observations=hidden.isel(time=[0, 1]))
    for lacking in (wrong, wrong | {"sampler": {"steps": 4}, "observations": hidden}):
        with pytest.raises(LilasError, match="observations guide a sampler that says how"):
            emulator.rollout(given, **lacking)


# --- What is refused --------------------------------------------------------------------------


def nan(states: xr.Dataset) -> xr.Dataset:
    return states.assign(pressure=states["pressure"].where(states["pressure"] > 0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda s: s.drop_vars("velocity_x"),
            "without the channel velocity_x; the model's are buo",
        ),
        (lambda s: s.isel(x=slice(0, 16)), "16 grid points along x; the model was trained with 32"),
        (lambda s: s.assign_coords(x=s["x"] + 1), "x runs from 1 to 4.875; the model was trained"),
        (
            lambda s: s.isel(y=slice(None, None, -1)),
            "y runs from 1 to 0; the model was trained with",
        ),
        (lambda s: s.rename(x="lon"), "without the space axis 'x'; the model's are x, y, the dim"),
        (lambda s: s.expand_dims("level"), "the dimension 'level' is none of the model's; allowed"),
        (nan, "pressure holds NaN or infinity"),
        (lambda s: s.to_array().values, "expected an xarray.Dataset with a variable of each chan"),
        (lambda s: {"buoyancy": np.zeros(3)}, "buoyancy has 1 axes; allowed: those of space, x, y"),
    ],
)
def test_states_that_are_not_the_models_are_refused(emulator, trajectories, change, words):
    with pytest.raises(LilasError, match=f"^states: {words}"):
        emulator.encode(change(first(trajectories)))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"Rayleigh": 3e4}, r"without Prandtl; the model's are .*Rayleigh \(20000 to 50000\)"),
        (PARAMETERS | {"rayleigh": 1}, "unknown 'rayleigh', did you mean 'Rayleigh'"),
        (
            PARAMETERS | {"Rayleigh": [1, 2]},
            r"Rayleigh has the shape \(2,\); allowed: a number, or",
        ),
        (PARAMETERS | {"Rayleigh": float("nan")}, "Rayleigh is nan; allowed: finite"),
        (PARAMETERS | {"boundary_y_first": "slippery"}, "boundary_y_first: unknown 'slippery'"),
    ],
)
def test_parameters_that_are_not_the_models_are_refused(emulator, trajectories, parameters, words):
    state = {name: first(trajectories)[name].values[0] for name in emulator.about.channels}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(LilasError, match=f"^parameters.*{words}"):
            emulator.rollout(state, parameters, steps=1)


def test_parameters_outside_the_training_are_warned_of(emulator, trajectories):
    how = {"steps": 1, "sampler": {"algorithm": "ddim", "steps": 1}}
    words = "Rayleigh is 10000, outside the training's 20000 to 50000"
    with pytest.warns(UserWarning, match=words):
        emulator.rollout(first(trajectories), {"Rayleigh": 1e4}, **how)
    words = "boundary_y_last is periodic; in training it was wall"
    with pytest.warns(UserWarning, match=words):
        emulator.rollout(first(trajectories), {"boundary_y_last": "periodic"}, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        emulator.rollout(first(trajectories), {"Rayleigh": 5e4}, **how)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"steps": 0}, "steps 0; allowed: at least 1"),
        ({"sampler": {"algorithm": "direct"}}, "direct is of emulators that predict a state; this"),
        ({"sampler": {"stpes": 3}}, "stpes"),
        ({"sampler": {"steps": 2}}, "order 3 combines more evaluations than steps 2"),
        ({"sampler": {"members": 3}}, "members is an argument of its own"),
        ({"sampler": {"context": 5}}, "context 5; allowed: less than the 5 states of a window"),
        ({"sampler": {"context": 2}}, "1 in time; the sampler is given 2"),
        ({"members": 0}, "members"),
    ],
)
def test_rollouts_that_cannot_be_made_are_refused(emulator, trajectories, how, words):
    with pytest.raises(LilasError, match=words):
        emulator.rollout(first(trajectories), **{"steps": 1} | how)


def test_given_states_are_as_far_apart_as_in_training(emulator, trajectories):
    how = {"steps": 1, "sampler": {"context": 2, "steps": 1, "order": 1}}
    emulator.rollout(trajectories.isel(trajectory=0, time=[3, 4]), **how)
    with pytest.raises(LilasError, match=r"given are 0\.5 to 0\.5 apart in time; the .* 0\.25"):
        emulator.rollout(trajectories.isel(trajectory=0, time=[2, 4]), **how)


def test_latents_of_another_autoencoder_are_refused(emulator):
    for wrong in (np.zeros((3, 8, 4)), np.zeros((8, 4))):
        with pytest.raises(LilasError, match="latents: expected 4 along 'channel'"):
            emulator.decode(wrong)
    with pytest.raises(LilasError, match="latents: NaN"):
        emulator.decode(np.full((4, 8, 4), np.nan))


# --- Where models come from -------------------------------------------------------------------


def test_what_is_no_model_is_refused_by_what_lies_there(results, tmp_path):
    for path, words in [
        (results, "found a folder with the runs convection/c16-s0, convection/c16-s0/diffusion-s0"),
        (results / RUNS["diffusion"] / "ab4", f"Name {results / RUNS['diffusion']}"),
        (tmp_path / "none", "found nothing. Correct the path"),
    ]:
        with pytest.raises(LilasError, match=words):
            lilas.load(path)
    with pytest.raises(LilasError, match="precision: unknown 'float16'"):
        lilas.load(results / RUNS["solver"], precision="float16")
    solver = lilas.load(results / RUNS["solver"], device="cpu")
    with pytest.raises(LilasError, match=r"sampler: temperature 1\.5; solver draws no noise"):
        solver.rollout({}, steps=1, sampler={"temperature": 1.5})


def test_an_emulator_has_the_autoencoder_that_it_was_trained_with(results, tmp_path):
    """Where results were moved, it lies beside; another one is refused."""
    moved = tmp_path / "elsewhere"
    shutil.copytree(results / "convection/c16-s0", moved / "c16-s0")
    lilas.load(moved / "c16-s0/solver-s0", device="cpu")
    weights = moved / "c16-s0/weights.safetensors"
    record, state = load_state(weights)
    write_weights(weights, state, record | {"stage": "another"})
    with pytest.raises(LilasError, match=r"expected the autoencoder that .* was trained with"):
        lilas.load(moved / "c16-s0/solver-s0", device="cpu")
    with pytest.raises(LilasError, match=r"expected the autoencoder that .* was trained with"):
        lilas.load(results / RUNS["solver"], device="cpu", autoencoder=moved / "c16-s0")
    with pytest.raises(LilasError, match="an autoencoder itself"):
        lilas.load(results / "convection/c16-s0", autoencoder=moved / "c16-s0")
    weights.unlink()
    with pytest.raises(LilasError, match=r"found nothing\. Copy it there, or name it"):
        lilas.load(moved / "c16-s0/solver-s0", device="cpu")
    beside = results / "convection/c16-s0"
    lilas.load(moved / "c16-s0/solver-s0", device="cpu", autoencoder=beside)


def test_bfloat16_is_near_float32(results, trajectories, emulator):
    rough = lilas.load(results / RUNS["diffusion"], device="cpu", precision="bfloat16")
    found, expected = (model.encode(first(trajectories)) for model in (rough, emulator))
    apart = np.abs(found - expected).max()
    assert 0 < apart < 0.1


# --- From the shell, and bundles --------------------------------------------------------------


def command(monkeypatch, *args) -> None:
    monkeypatch.setattr(sys, "argv", ["lilas", *map(str, args)])
    cli.main()


def refused(monkeypatch, *args) -> str:
    with pytest.raises(SystemExit) as ended:
        command(monkeypatch, *args)
    return str(ended.value.code)


def test_a_rollout_from_the_shell_is_that_of_python(
    results, emulator, files, tmp_path, monkeypatch, capsys
):
    run = results / RUNS["diffusion"]
    how = ["--steps", 3, "--members", 2, "--seed", 5, "--sampler", "steps=4", "--device", "cpu"]
    given = lilas.read_trajectory(files[0], 1).isel(time=slice(0, 4))
    asked = {"steps": 3, "members": 2, "seed": 5, "sampler": {"steps": 4}}
    expected = emulator.rollout(given, **asked)
    place = ["--trajectory", 1, "--step", 3]
    command(monkeypatch, "rollout", run, files[0], *place, *how, "--to", tmp_path / "a.nc")
    xr.testing.assert_equal(xr.load_dataset(tmp_path / "a.nc")["pressure"], expected["pressure"])
    # A NetCDF file of one's own, with parameters beside it.
    own = given.isel(time=-1)[list(emulator.about.channels)].drop_vars(["Rayleigh", "Prandtl"])
    own.drop_vars([name for name in own.coords if name not in own.dims]).to_netcdf(
        tmp_path / "state.nc"
    )
    values = ["--parameters", "Rayleigh=2e4", "Prandtl=1"]
    end = [*values, *how, "--to", tmp_path / "b.zarr"]
    command(monkeypatch, "rollout", run, tmp_path / "state.nc", *end)
    found = xr.open_zarr(tmp_path / "b.zarr").squeeze("trajectory")
    np.testing.assert_array_equal(found["pressure"], expected["pressure"])
    assert "pressure, velocity_x" in capsys.readouterr().out
    for args, words in [
        (
            [tmp_path / "none.nc", *how, "--to", tmp_path / "c.nc"],
            "none.nc: expected a NetCDF file",
        ),
        ([files[0], *how, "--to", tmp_path / "a.nc"], "a.nc: expected a new file"),
        ([files[0], *how, "--to", tmp_path / "c.txt"], "allowed: a name that ends in .nc or .zarr"),
        ([files[0], *how, "--step", 12, "--to", tmp_path / "c.nc"], "has the steps 0 to 11"),
        ([files[0], *how, "--parameters", "Ra", "--to", tmp_path / "c.nc"], "allowed: KEY=VALUE"),
    ]:
        assert words in refused(monkeypatch, "rollout", run, *args)
    end = [files[0], *how, "--to", tmp_path / "c.nc"]
    words = "an autoencoder, which rolls nothing out"
    assert words in refused(monkeypatch, "rollout", run.parent, *end)


@pytest.mark.parametrize("run", RUNS.values())
def test_a_bundle_is_called_without_anything_else(
    results, trajectories, tmp_path, monkeypatch, run
):
    folder = tmp_path / "bundle"
    command(monkeypatch, "export", results / run, "--to", folder, "--licence", "cc-by-4.0")
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "autoencoder.safetensors", "config.json", "model.safetensors"
    ]  # fmt: skip
    there, here = (lilas.load(path, device="cpu") for path in (folder, results / run))
    assert there.about == here.about
    how = {"steps": 2, "members": 1}
    given = trajectories.isel(time=[0])
    xr.testing.assert_identical(there.rollout(given, **how), here.rollout(given, **how))
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlicense: cc-by-4.0\nlibrary_name: lilas\n")
    table = lilas.open_study(results).table("horizons")
    row = table[(table["cell"].str.startswith(run)) & (table["metric"] == "vrmse")].iloc[0]
    name = f"{row['emulator']} {row['sampler']}"
    assert f"| {name} | vrmse | {row['horizon']} | {row['value']:.4g} |" in card
    assert "| persistence from_0 | vrmse | 1-3 |" in card
    assert "| Rayleigh | - | 20000 to 50000 |" in card
    assert "expected a new or empty folder" in refused(
        monkeypatch, "export", results / run, "--to", folder
    )
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(LilasError, match=r"model\.safetensors: expected the SHA-256 .* config"):
        lilas.load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(LilasError, match=r"model\.safetensors: expected a file that config\.json"):
        lilas.load(folder)


def test_an_autoencoder_is_given_away_too(results, trajectories, tmp_path, monkeypatch):
    command(monkeypatch, "export", results / "convection/c16-s0", "--to", tmp_path / "bundle")
    there = lilas.load(tmp_path / "bundle", device="cpu")
    here = lilas.load(results / "convection/c16-s0", device="cpu")
    xr.testing.assert_identical(there.encode(trajectories), here.encode(trajectories))
    card = (tmp_path / "bundle/README.md").read_text()
    assert card.startswith("---\nlicense: unknown\n")
    assert "latents = model.encode(states)" in card


def test_a_card_of_one_trajectory_has_no_interval(results, monkeypatch, tmp_path):
    """Nor has its table, whose other numbers are numbers."""
    study = tmp_path / "miniature"
    shutil.copytree(results, study, symlinks=True)
    table = pd.read_csv(study / "tables/horizons.csv", keep_default_na=False)
    table.assign(low="", high="").to_csv(study / "tables/horizons.csv", index=False)
    found = lilas.open_study(study).table("horizons")
    assert found["low"].isna().all()
    assert found["value"].dtype == found["high"].dtype == float
    command(monkeypatch, "export", study / "convection/c16-s0", "--to", tmp_path / "bundle")
    rows = (tmp_path / "bundle/README.md").read_text().split("| interval |")[1].splitlines()[2:]
    scored = [row for row in rows if row.startswith("| ")]
    assert len(scored) > 3
    assert all(row.endswith(" | - |") for row in scored)


# --- The official code's models ---------------------------------------------------------------


def test_official_runs_are_called(tmp_path):
    """As what they compute of standardised states and latents, which other tests hold to it."""
    folder = DATA / "lola_1.1.0/runs"
    autoencoder = folder / "ae/ae0_rayleigh_benard_dcae_f4c4_small"
    model = lilas.load(autoencoder, device="cpu")
    z = torch.randn((2, 4, 16, 8), generator=torch.Generator().manual_seed(0))
    states = model.about.preprocessing.inverse(z, channel_axis=1).numpy()
    arrays = {name: states[:, i] for i, name in enumerate(model.about.channels)}
    module = load_run_autoencoder(open_run(autoencoder))[1]
    with torch.no_grad():
        expected = module.encode(z)
    np.testing.assert_allclose(model.encode(arrays), expected, rtol=0, atol=1e-5)
    run = folder / "sm/sm0_rayleigh_benard_f4c4_vit_small"
    with pytest.raises(LilasError, match=r"its autoencoder too, .* found the emulator alone"):
        lilas.load(run)
    emulator = lilas.load(run, device="cpu", autoencoder=autoencoder)
    one = {name: values[0] for name, values in arrays.items()}
    parameters = {"Rayleigh": 1e6, "Prandtl": 1.0}
    with pytest.raises(LilasError, match="without boundary_x_first, which was periodic and wall"):
        emulator.rollout(one, parameters, steps=1)
    ends = {"x": "periodic", "y": "wall"}
    sides = {f"boundary_{a}_{e}": k for a, k in ends.items() for e in ("first", "last")}
    found = emulator.rollout(one, parameters | sides, steps=2)
    label = torch.tensor([[np.log(1e6), 0.0, 2, 2, 0, 0]], dtype=torch.float32)
    solver = load_run_emulator(open_run(run))[1]
    known = torch.zeros(1, 4, emulator.settings.window, 4, 2)
    known[:, :, 0] = expected[:1]
    mask = (torch.arange(emulator.settings.window) < 1)[None].float()
    with torch.no_grad():
        window = solver.predict(known, label, mask)
        decoded = module.decode(window[0, :, 1:3].transpose(0, 1))
    decoded = model.about.preprocessing.inverse(decoded, channel_axis=1)
    for i, name in enumerate(model.about.channels):
        np.testing.assert_allclose(found[name][0], decoded[:, i], rtol=0, atol=1e-5)
    with pytest.raises(LilasError, match="expected an autoencoder of"):
        lilas.load(run, autoencoder=folder / "ae/ae1_euler_all_dcae_f4c6_attn")


# --- The page ---------------------------------------------------------------------------------


def blocks() -> list[str]:
    text = (Path(__file__).parents[1] / "docs/python.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize("block", range(len(blocks())))
def test_what_the_page_shows_runs_in_four_lines(
    miniature, trajectories, block, tmp_path, monkeypatch
):
    """On the miniature, by its own names and grid."""
    code = blocks()[block]
    lines = [line for line in code.splitlines() if line and not line.startswith("import")]
    assert len(lines) <= (4 if "guidance" not in code else 8)
    for shown, own in {
        "results/demo": "results/miniature",
        "rayleigh_benard/c32-s0": "convection/c16-s0",
        "/ab16": "/ab4",
        "latent[0, 0, 10]": "latent[0, 0, 3]",
        "time=[16]": "time=[2]",
        "slice(17, 25)": "slice(3, 11)",
        "steps=100, members=32": "steps=3, members=4",
        "steps=20": "steps=2",
    }.items():
        code = code.replace(shown, own)
    (tmp_path / "results").symlink_to(miniature.folder / "results")
    trajectories.isel(trajectory=0, time=2)[CHANNELS].reset_coords(drop=True).to_netcdf(
        tmp_path / "state.nc"
    )
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(code, names)
    if "forecast" in names:
        assert dict(names["forecast"].sizes) == {"member": 4, "time": 3, "x": 32, "y": 16}
    if "forecasts" in names:
        assert not names["forecasts"][4].equals(names["forecasts"][64])
    plt.close("all")
