"""Models that a study takes as they are: a bundle, a run or weights that LILAS wrote."""

import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
import pytest
import xarray as xr

import lilas
from conftest import Pipeline
from lilas.data.about import read_about
from lilas.data.well import open_files
from lilas.errors import LilasError
from lilas.files import sha256
from lilas.inspect.kinds import inspect
from lilas.interface.bundles import write_bundle
from lilas.official.given import take_ours
from lilas.plan.current import examine
from lilas.plan.given import check_given
from lilas.plan.status import Job
from lilas.records.weights import load_state, write_weights
from lilas.study.read import Config, make_study
from lilas.study.tasks import Task
from lilas.study.yaml import read_yaml

RUN = "convection/c16-s0/diffusion-s0"
PIXELS = "convection/pixel-s0/pixel_solver-s0"


def values(folder: Path) -> dict[str, Any]:
    """The miniature's data and samplers, with models of bundles in a folder alone."""
    its = read_yaml(Path(__file__).with_name("data") / "miniature.yaml")
    del its["samplers"]["back"]["tune_temperature"]
    bundle, pixels = str(folder / "bundle"), str(folder / "pixels")
    return {
        "datasets": its["datasets"],
        "autoencoders": {
            "taken": {"model": bundle},
            "pixel": {"model": pixels, "architecture": "identity"},
        },
        "emulators": {
            "ours": {
                "model": bundle,
                "method": "diffusion",
                "autoencoders": ["taken"],
                "samplers": ["ab4", "back"],
            },
            "pixel_solver": {
                "model": pixels,
                "method": "solver",
                "autoencoders": ["pixel"],
                "samplers": ["direct"],
            },
        },
        "samplers": its["samplers"],
    }


@pytest.fixture(scope="module")
def given(miniature: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The miniature's data and workflow, bundles of its models, and a study that takes them."""
    pipeline = miniature.copy(tmp_path_factory.mktemp("given") / "pipeline")
    for name, run in (("bundle", RUN), ("pixels", PIXELS)):
        weights = pipeline.results / run / "weights.safetensors"
        beside = weights.parents[1] / "weights.safetensors"
        write_bundle(pipeline.folder / name, weights, beside, scores=None, licence="")
    pipeline.study = pipeline.folder / "given.yaml"
    # JSON is YAML, too.
    pipeline.study.write_text(json.dumps(values(Path(""))))
    return pipeline


def planned(study: dict[str, Any]) -> None:
    """Does what a plan does with a study before its first job."""
    check_given(make_study("given.yaml", study), Config(), {})


def targets(sampler: str, folder: str) -> list[str]:
    names = ("rollouts.json", "metrics.parquet")
    return [f"results/given/{folder}/{sampler}/{name}" for name in names]


@pytest.fixture(scope="module")
def finished(given: Pipeline) -> Path:
    """The results of two of its rollouts."""
    given.run_here(
        *targets("ab4", "convection/taken-s0/ours-s0"),
        *targets("direct", "convection/pixel-s0/pixel_solver-s0"),
    )
    return given.folder / "results/given"


def test_nothing_is_trained(given):
    jobs = given.planned()
    assert not {"autoencoder", "emulator", "statistics", "fetch"} & set(jobs)
    assert (jobs["given_autoencoder"], jobs["given_emulator"]) == (2, 2)
    assert jobs["latents_test"] == 2


def test_to_tune_a_sampler_of_given_models_the_validation_split_is_encoded_too(given, tmp_path):
    twin = given.copy(tmp_path / "twin")
    twin.study = twin.folder / "given.yaml"
    study = values(Path(""))
    study["samplers"]["back"]["tune_temperature"] = [0.9, 1.1]
    twin.study.write_text(json.dumps(study))
    jobs = twin.planned()
    assert (jobs["latents_valid_test"], jobs["tune"]) == (2, 1)
    assert not {"latents", "latents_test", "autoencoder", "emulator", "statistics"} & set(jobs)


@pytest.mark.parametrize(
    ("taken", "trained", "sampler"),
    [("convection/taken-s0/ours-s0", RUN, "ab4"), (PIXELS, PIXELS, "direct")],
)
def test_what_is_made_of_a_bundle_is_what_its_own_study_made(
    given, finished, taken, trained, sampler
):
    """Latents, rollouts and scores, to the bit."""
    there, here = given.folder / "results/miniature" / trained / sampler, finished / taken / sampler
    pair = [xr.open_zarr(path / "rollouts.zarr", chunks=None) for path in (there, here)]
    xr.testing.assert_equal(*pair)
    columns = ["value", "lead_time", "trajectory", "field", "metric"]
    scores = [pd.read_parquet(path / "metrics.parquet") for path in (there, here)]
    assert len(scores[0])
    for column in columns:
        pd.testing.assert_series_equal(scores[0][column], scores[1][column], check_exact=True)


def test_an_autoencoder_is_a_copy_and_the_records_name_what_was_taken(given, finished):
    folder, bundle = finished / "convection/taken-s0", given.folder / "bundle"
    assert sha256(folder / "weights.safetensors") == sha256(bundle / "autoencoder.safetensors")
    statistics = json.loads((folder / "statistics.json").read_text())
    made = statistics["provenance"]["inputs"]["model"]
    assert made["path"] == "bundle/autoencoder.safetensors"
    assert made["sha256"] == sha256(bundle / "autoencoder.safetensors")
    path = given.folder / "results/miniature/convection/statistics.json"
    trained = json.loads(path.read_text())
    for name, one in statistics["channels"].items():
        assert one == {key: trained["channels"][name][key] for key in ("transform", "mean", "std")}
    record, state = load_state(folder / "ours-s0/weights.safetensors")
    source, its = load_state(bundle / "model.safetensors")
    assert record["stage"] == "given"
    assert record["inputs"]["model"]["path"] == "bundle/model.safetensors"
    assert record["inputs"]["model"]["sha256"] == sha256(bundle / "model.safetensors")
    assert record["trained"] == source
    assert all((state[key] == its[key]).all() for key in state | its)
    assert lilas.load(folder / "ours-s0").about == read_about(bundle / "model.safetensors")
    assert "bundle/model.safetensors" in "\n".join(inspect(folder / "ours-s0").lines)


def test_results_of_a_given_autoencoder_are_current_until_they_are_another(given, finished):
    """Its weights carry the record of their training, and are held against what was taken."""
    folder, model = (
        finished / "convection/taken-s0",
        given.folder / "bundle/autoencoder.safetensors",
    )
    made = json.loads((folder / "statistics.json").read_text())["provenance"]
    tests = [str(given.folder / one["path"]) for one in made["inputs"]["test"]]
    job = Job(
        "given_autoencoder",
        [str(folder / "weights.safetensors"), str(folder / "statistics.json")],
        *("", False),
        stage="given",
        inputs={"model": [str(model)], "test": tests},
        config=json.dumps({"states": made["config"]["states"], "autoencoder": {"model": "bundle"}}),
    )
    assert [one.why for one in examine([job])] == [""]
    other = given.folder / "pixels/autoencoder.safetensors"
    job.inputs["model"] = [str(other)]
    (found,) = examine([job])
    assert f"weights.safetensors is not a copy of {other}" in found.why


# --- What does not fit ------------------------------------------------------------------------


def edited(study: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(study)
    *above, last = place.split(".")
    inside = changed
    for key in above:
        inside = inside[key]
    inside[last] = value
    return changed


FIELDS = ["pressure", "buoyancy", "velocity"]
FEWER = {"rayleigh": [2e4], "size": [32, 24]}


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("autoencoders.taken.model", "no/run", "no/run: expected the folder or zip of an official"),
        ("autoencoders.taken.model", "no_run", "there is no 'no_run' here; run: no released model"),
        (
            "autoencoders.taken.model",
            "a.safetensors",
            "expected weights that LILAS wrote, found no",
        ),
        ("autoencoders.taken.model", "results/miniature", "miniature/config.yaml: expected a file"),
        ("autoencoders.taken.model", f"results/miniature/{RUN}", "expected weights of an autoenc"),
        ("emulators.ours.model", "results/miniature/convection/c16-s0", "weights of an emulator"),
        ("autoencoders.taken.model", "pixels", "space as trained: pixels, found latents. Set arch"),
        ("autoencoders.pixel.model", "bundle", "space as trained: latents, found pixels. Leave ou"),
        ("autoencoders.taken", {"architecture": "identity"}, "autoencoders.taken is another. Give"),
        (
            "autoencoders.taken.model",
            "results/miniature/convection/other-s0",
            "emulators.ours.model: bundle/model.safetensors: expected the autoencoder as trained: "
            "SHA-256 ",
        ),
        (
            "datasets.convection.states.fields",
            FIELDS,
            "channels as trained: buoyancy, pressure, ve",
        ),
        (
            "datasets.convection.states.transform",
            {"pressure": {"kind": "arcsinh", "scale": 0.5}},
            "the transform of pressure as trained: none, found arcsinh(x / 0.5). Set states.trans",
        ),
        ("datasets.convection.source.size", [32, 24], "points along y as trained: 16, found 24"),
        (
            "datasets.convection.label",
            {"Rayleigh": "log"},
            "transforms as trained: {'Prandtl': 'log', 'Rayleigh': 'log'}, found {'Rayleigh': 'l",
        ),
        ("datasets.convection.stride", 2, "stride as trained: 1, found 2. Set stride to 1."),
        ("emulators.ours.window", 6, "window as trained: 5, found 6. Set window to 5."),
        ("emulators.ours.method", "difusion", "method: unknown 'difusion', did you mean 'diffusi"),
        (
            "emulators.pixel_solver.samplers",
            ["ab4"],
            "'ab4' has algorithm 'ab', which does not fit method 'solver'",
        ),
        ("emulators.ours", {"official": "bundle"}, "rename emulators.ours.official to model"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_run(given, monkeypatch, place, value, words):
    monkeypatch.chdir(given.folder)
    other = Path("results/miniature/convection/other-s0")
    if not other.exists():
        record, state = load_state(other.with_name("c16-s0") / "weights.safetensors")
        other.mkdir()
        write_weights(other / "weights.safetensors", state, record)
    with pytest.raises(LilasError) as told:
        planned(edited(values(Path("")), place, value))
    assert words in str(told.value), told.value
    assert "\n" not in str(told.value)


def test_a_method_that_differs_is_refused(given, monkeypatch):
    monkeypatch.chdir(given.folder)
    study = edited(values(Path("")), "emulators.ours.method", "solver")
    study["emulators"]["ours"]["samplers"] = ["direct"]
    with pytest.raises(
        LilasError, match=r"method as trained: diffusion, found solver\. Set method"
    ):
        planned(study)


def test_a_solver_that_was_trained_forward_is_not_rolled_out_backward(given, monkeypatch):
    monkeypatch.chdir(given.folder)
    study = edited(values(Path("")), "samplers.direct.direction", "backward")
    with pytest.raises(LilasError, match="'pixel_solver' is trained with the first states of a wi"):
        planned(study)


def test_a_bundle_with_another_sum_is_refused(given, tmp_path):
    shutil.copytree(given.folder / "bundle", tmp_path / "bundle")
    shutil.copytree(given.folder / "pixels", tmp_path / "pixels")
    planned(values(tmp_path))
    weights = bytearray((tmp_path / "bundle/autoencoder.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "bundle/autoencoder.safetensors").write_bytes(weights)
    with pytest.raises(LilasError, match=r"autoencoder\.safetensors: expected the SHA-256"):
        planned(values(tmp_path))


CONFIG = {
    "states": {"fields": ["buoyancy", "pressure", "velocity"]},
    "label": {"Rayleigh": "log", "Prandtl": "log"},
    "stride": 1,
    "autoencoder": {"model": "any"},
    "emulator": {"model": "any", "method": "diffusion"},
}


@pytest.mark.parametrize(
    ("what", "place", "value", "words"),
    [
        ("autoencoder", "states.fields", FIELDS, "channels as trained"),
        ("autoencoder", "autoencoder.architecture", "identity", "space as trained: latents, found"),
        ("emulator", "states.fields", FIELDS, "channels as trained"),
        ("emulator", "stride", 2, "stride as trained: 1, found 2"),
        ("emulator", "label", {}, "label's transforms as trained"),
        ("emulator", "autoencoder", "pixels", "the autoencoder as trained: SHA-256"),
        ("autoencoder", "x", 0.5, "points along x as trained: 0 to 3.875, found 0.5 to 4.375"),
    ],
)
def test_what_the_data_show_is_refused_when_it_is_taken(given, tmp_path, what, place, value, words):
    """Of data that no plan had seen, too."""
    test = given.folder / "results/data"
    copied = shutil.copy(next(test.rglob("data/test/Rayleigh_2e4.hdf5")), tmp_path / "test.hdf5")
    task, beside = CONFIG, given.folder / "bundle/autoencoder.safetensors"
    if place == "x":
        with h5py.File(copied, "r+") as file:
            file["dimensions/x"][:] += value
    elif value == "pixels":
        beside = given.folder / "pixels/autoencoder.safetensors"
    else:
        task = edited(CONFIG, place, value)
    weights = beside if what == "autoencoder" else given.folder / "bundle/model.safetensors"
    asked = Task.model_validate_json(json.dumps(task))
    data = open_files([copied], asked.states.fields)
    with pytest.raises(LilasError) as told:
        take_ours(weights, data, asked, None if what == "autoencoder" else beside)
    assert words in str(told.value), told.value
    assert str(told.value).startswith(f"{weights}: expected ")


def test_weights_of_before_are_taken_with_their_statistics_and_files(given):
    """They know nothing of their data, and a plan lets them pass; they are known when taken."""
    weights = given.folder / "results/miniature" / RUN / "weights.safetensors"
    older = given.folder / "results/miniature/convection/c16-s0/older-s0/weights.safetensors"
    older.parent.mkdir()
    record, state = load_state(weights)
    write_weights(older, state, record)
    data = open_files(sorted((given.folder / "results/data").rglob("data/test/*")))
    task = Task.model_validate_json(json.dumps(CONFIG))
    beside = weights.parents[1] / "weights.safetensors"
    taken = [take_ours(path, data, task, beside) for path in (weights, older)]
    assert taken[0].about == taken[1].about
    assert taken[0].statistics == taken[1].statistics


def test_a_plan_looks_at_weights_without_torch(given):
    code = (
        "import sys; from lilas.plan.given import check_given; from lilas.study.read import *; "
        "check_given(read_study('given.yaml'), Config(), {}); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=given.folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
