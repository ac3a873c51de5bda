"""Trainings that start from other weights: which they take, which stay, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import nn

from lilas.data.well import open_files
from lilas.data.well_writer import write_well
from lilas.errors import LilasError
from lilas.files import sha256
from lilas.models.build import make_autoencoder
from lilas.official.folders import open_run
from lilas.official.models import load_run_autoencoder
from lilas.official.start import start_from, start_inputs
from lilas.plan.starts import check_starts, model_shapes
from lilas.records.provenance import provenance
from lilas.records.weights import read_record, read_shapes, write_weights
from lilas.study.read import Config, make_study
from lilas.study.starts import Start
from lilas.study.yaml import read_yaml
from lilas.training.start import begin, to_training, trained
from test_training import OPTIMIZERS, Model, fit, same, settings, stop

MINIATURE = Path(__file__).parent / "data" / "miniature.yaml"
AE = Path(__file__).parent / "data/lola_1.1.0/runs/ae/ae0_rayleigh_benard_dcae_f4c4_small"
DM = Path(__file__).parent / "data/lola_1.1.0/runs/dm/dm0_rayleigh_benard_f4c4_vit_small"


def start(**values: Any) -> Any:
    return Start.model_validate({"from": {"training": "parent"}} | values)


def other_weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    return {key: torch.randn_like(value) for key, value in Model().state_dict().items()}


# --- Weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [None, ["scale"], ["shift.weight", "scale.bias"]])
def test_parts_are_the_parents_and_the_rest_is_drawn(parts):
    model, state = Model(), other_weights()
    drawn = {key: value.clone() for key, value in model.state_dict().items()}
    begin(model, state, start(parts=parts), "train.start")
    for key, value in model.state_dict().items():
        taken = parts is None or key in parts or key.split(".")[0] in parts
        assert torch.equal(value, state[key] if taken else drawn[key])


def test_next_to_no_learning_rate_leaves_what_a_training_starts_from(tmp_path):
    """Adam moves a weight by the rate at most; the average begins there, too."""
    state = other_weights()
    for ema in (0.0, 0.9):
        options = settings(steps=4, learning_rate=1e-6, ema=ema)
        found = fit(
            tmp_path / str(ema),
            options,
            prepare=lambda model: begin(model, state, start(), "train.start"),
        ).last
        moved = max((found[key] - state[key]).abs().max().item() for key in state)
        assert 0 < moved < 4.1e-6


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_is_frozen_stays_to_the_bit_and_the_rest_moves(tmp_path, optimizer):
    """Beside weight decay and an average; and a training that was stopped resumes."""
    state = other_weights()

    def prepare(model):
        begin(model, state, start(freeze=["scale.weight", "shift.bias"]), "train.start")

    options = settings(optimizer=optimizer, weight_decay=0.1)
    whole = fit(tmp_path / "whole", options, prepare=prepare)
    for found in (whole.last, whole.best):
        for key, value in found.items():
            assert torch.equal(value, state[key]) == (key in ("scale.weight", "shift.bias"))
    kept = torch.load(tmp_path / "whole" / "checkpoint.pt")["optimizer"]
    assert sum(len(group["params"]) for group in kept["param_groups"]) == 2
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "parts", options, prepare=prepare, broken=[(17, stop)])
    assert same(whole.last, fit(tmp_path / "parts", options, prepare=prepare).last)


def test_a_frozen_module_computes_as_it_does_once_trained():
    """Neither its dropout nor its running statistics are those of training."""
    model = nn.Sequential(
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)),
        nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5)),
    )
    begin(model, model.state_dict(), start(freeze=["0"]), "train.start")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    x = torch.randn(8, 4)
    to_training(model)
    assert torch.equal(model[0](x), model[0](x))
    model(x)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]) == (
            key.startswith("0.") or ("running" not in key and "batches" not in key)
        )
    assert [id(p) for p in trained(model)] == [id(p) for p in model[1].parameters()]
    model.train()
    model(x)
    assert not torch.equal(model.state_dict()["0.1.running_mean"], before["0.1.running_mean"])


def widened(state):
    return state | {"scale.weight": torch.zeros(8, 16)}


MISFITS = [
    (
        {},
        widened,
        "t.from: another architecture: scale.weight is 8 x 16 there and 8 x 8 here (1 weights",
    ),
    ({"parts": ["scale"]}, widened, "scale.weight is 8 x 16 there"),
    ({}, lambda s: s | {"more": torch.ones(2)}, "more is 2 there and not here"),
    ({}, lambda s: {"shift.bias": s["shift.bias"]}, "is not there and 8 x 8 here (3 weights"),
    ({"parts": ["scal"]}, None, "t.parts: unknown 'scal', did you mean 'scale'?; allowed: sc"),
    ({"freeze": ["scale.w"]}, None, "t.freeze: unknown 'scale.w', did you mean 'scale'"),
    ({"freeze": ["scale", "shift"]}, None, "t.freeze scale, shift: nothing is left to train"),
]


@pytest.mark.parametrize(("values", "change", "words"), MISFITS)
def test_weights_that_do_not_fit_and_parts_that_are_none_are_refused(values, change, words):
    state = other_weights()
    with pytest.raises(LilasError) as told:
        begin(Model(), change(state) if change else state, start(**values), "t")
    assert words in str(told.value)
    assert len(str(told.value).splitlines()) == 1


def test_parts_that_fit_are_taken_of_another_architecture():
    model, state = Model(), widened(other_weights())
    begin(model, state | {"more": torch.ones(2)}, start(parts=["shift", "scale.bias"]), "t")
    assert torch.equal(model.shift.weight, state["shift.weight"])


def test_an_official_run_is_started_from_under_our_names(tmp_path):
    entry, theirs = load_run_autoencoder(open_run(AE))
    model = make_autoencoder(entry, 4, ("x", "y"))
    files = [AE / "config.yaml", AE / "state.pth"]
    one = Start.model_validate({"from": {"official": str(AE)}, "freeze": ["encoder"]})
    start_from(model, "autoencoder", files, one)
    assert same(model.state_dict(), theirs.state_dict())
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad} == {
        "decoder"
    }
    inputs = start_inputs(files)
    assert list(inputs) == ["start config.yaml", "start state.pth"]
    record = provenance("autoencoder", {}, inputs)
    assert record["inputs"]["start state.pth"]["sha256"] == sha256(files[1])
    with pytest.raises(LilasError, match="expected a run of an autoencoder, found of kind diffusi"):
        start_from(model, "autoencoder", [DM / "config.yaml", DM / "state.pth"], one)
    weights = tmp_path / "weights.safetensors"
    write_weights(weights, {}, provenance("emulator", {"emulator": {}}, {}))
    with pytest.raises(LilasError, match="expected weights of an autoencoder, found those of stag"):
        start_from(model, "autoencoder", [weights], one)
    with pytest.raises(LilasError, match="--start: expected files where the config"):
        start_from(model, "autoencoder", [], one)


def test_an_autoencoder_starts_from_the_same_channels_alone(tmp_path):
    """In the same order, a field for its components; of a run of ours and an official one."""
    scalars = {name: np.ones((1, 3, 8, 8), np.float32) for name in ("buoyancy", "pressure")}
    write_well(
        tmp_path / "a.hdf5",
        dataset="a",
        fields=scalars | {"velocity": np.ones((1, 3, 8, 8, 2), np.float32)},
        time=np.arange(3.0),
        coordinates={"x": np.arange(8.0), "y": np.arange(8.0)},
        parameters={},
        boundaries={"x": "periodic", "y": "wall"},
    )
    entry, model = load_run_autoencoder(open_run(AE))
    weights = tmp_path / "weights.safetensors"
    official = [AE / "config.yaml", AE / "state.pth"]

    def begun(parent, files, *fields):
        record = {"autoencoder": {}, "states": {"fields": parent}}
        write_weights(weights, model.state_dict(), provenance("autoencoder", record, {}))
        data = open_files([tmp_path / "a.hdf5"], list(fields))[0]
        start_from(make_autoencoder(entry, 4, ("x", "y")), "autoencoder", files, start(), data)

    fields = ["buoyancy", "pressure", "velocity"]
    for files in ([weights], official):
        begun(fields, files, *fields)
        begun([*fields[:2], "velocity_x", "velocity_y"], files, *fields)
        words = "expected channels pressure, buoyancy, velocity_x, velocity_y, found buoyancy, pre"
        with pytest.raises(LilasError, match=words):
            begun(fields, files, "pressure", "buoyancy", "velocity")
    for other in (fields[:2], [*fields, "density"], []):
        with pytest.raises(LilasError, match="expected channels buoyancy, pressure, velocity_x, v"):
            begun(other, [weights], *fields)


# --- Studies ----------------------------------------------------------------------------------


def study(**entries: dict[str, Any]) -> dict[str, Any]:
    """The miniature with a second dataset and more autoencoders and emulators."""
    values = json.loads(json.dumps(read_yaml(MINIATURE)))
    values["datasets"]["other"] = json.loads(json.dumps(values["datasets"]["convection"]))
    values["datasets"]["other"]["source"]["seed"] = 1
    for kind in ("autoencoders", "emulators"):
        values[kind] |= entries.get(kind, {})
    return values


def autoencoder(source: Any, **changes: Any) -> dict[str, Any]:
    """`c16`, started from a source."""
    values = json.loads(json.dumps(read_yaml(MINIATURE)["autoencoders"]["c16"]))
    more = {key: changes.pop(key) for key in ("parts", "freeze") if key in changes}
    values["train"]["start"] = {"from": source} | more
    return {key: value for key, value in values.items() if key != "per_dataset"} | changes


def emulator(source: Any, **changes: Any) -> dict[str, Any]:
    values = json.loads(json.dumps(read_yaml(MINIATURE)["emulators"]["solver"]))
    values["train"]["start"] = {"from": source}
    return values | changes


# Not a source, but all of a start.
DRAWN = {"from": {"training": "c16"}, "parts": ["encoder.a"], "freeze": ["encoder"]}
REFUSED = [
    ({}, "tuned.train.start.from: expected one of training, file, official, found none"),
    ({"training": "c16", "file": "a"}, "official, found training and file"),
    ({"file": "a", "seed": 1}, "seed is of a training; allowed: null beside file"),
    ({"training": "c17"}, "from.training: unknown 'c17', did you mean 'c16'?; allowed: c16, pixel"),
    ({"training": "pixel"}, "from.training: pixel is pixel space, without weights"),
    ({"training": "c16", "seed": 3}, "from.seed: c16 has no training of seed 3 on convection"),
    ({"training": "c16", "dataset": "b"}, "from.dataset: unknown 'b'; allowed: convection, other"),
    ({"training": "tuned"}, "training: a circle: tuned of convection (seed 0) from tuned of conv"),
    ({"training": "last"}, "a circle: tuned of convection (seed 0) from last of convection (seed"),
    ({"training": "here"}, "from.training, on convection: unknown 'here'; allowed: c16, pixel, t"),
    (
        DRAWN,
        "tuned.train.start: freeze encoder: it is not among parts, and would stay as it was dr",
    ),
    (3, "tuned.train.start.from: expected a mapping with the keys training, dataset"),
]


@pytest.mark.parametrize(("source", "words"), REFUSED)
def test_sources_that_are_none_are_refused_in_one_line(source, words):
    entries = {
        "tuned": autoencoder(source),
        "last": autoencoder({"training": "tuned"}),
        "here": autoencoder({"training": "c16"}, datasets=["other"]),
    }
    if source is DRAWN:
        entries["tuned"]["train"]["start"] = DRAWN
    with pytest.raises(LilasError) as told:
        make_study("study.yaml", study(autoencoders=entries))
    assert words in str(told.value), told.value
    assert len(str(told.value).splitlines()) == 1


def test_a_dataset_of_other_fields_is_refused():
    values = study(autoencoders={"tuned": autoencoder({"training": "c16", "dataset": "other"})})
    make_study("study.yaml", values)
    values["datasets"]["other"]["states"]["fields"] = ["pressure", "buoyancy", "velocity"]
    with pytest.raises(LilasError, match="dataset: the fields of other are pressure, buoyancy, v"):
        make_study("study.yaml", values)


def test_one_entry_may_start_from_itself_on_another_dataset():
    values = study()
    values["autoencoders"]["c16"]["per_dataset"]["other"] = {
        "train": {"start": {"from": {"training": "c16", "dataset": "convection"}}}
    }
    make_study("study.yaml", values)
    values["autoencoders"]["c16"]["per_dataset"]["convection"] = {
        "train": {"start": {"from": {"training": "c16", "dataset": "other"}}}
    }
    with pytest.raises(
        LilasError, match=r"per_dataset\.convection\.train\.start\.from\.training: a circle"
    ):
        make_study("study.yaml", values)


def test_an_emulator_starts_in_the_latents_that_its_parent_knows():
    entries = {"pixels": emulator({"training": "solver"}, autoencoders=["c16", "pixel"])}
    with pytest.raises(LilasError, match=r"solver.*not trained on the latents of pixel of seed 0"):
        make_study("study.yaml", study(emulators=entries))


WIDER = {"channels": [8, 16, 32]}
SMALL = {"architecture": "unet", "channels": [8, 32], "blocks": [1, 1], "embedding": 16}


@pytest.mark.parametrize(
    ("kind", "entry", "words"),
    [
        (
            "autoencoders",
            autoencoder({"training": "c16"}, **WIDER),
            "autoencoders.tuned.train.start.from: another architecture: encoder.",
        ),
        ("autoencoders", autoencoder({"training": "c16"}, parts=["coder"]), "parts: unknown 'cod"),
        (
            "autoencoders",
            autoencoder({"training": "c16"}, freeze=["encoder", "decoder"]),
            "nothing",
        ),
        ("autoencoders", autoencoder({"file": "none.safetensors"}), "none.safetensors: expected a"),
        ("autoencoders", autoencoder({"file": "emulator.safetensors"}), "those of an autoencoder"),
        ("autoencoders", autoencoder({"file": "small.safetensors"}), "is not there and"),
        (
            "autoencoders",
            autoencoder({"official": "ny04m1tl"}),
            "of kind diffusion; allowed: a run",
        ),
        ("autoencoders", autoencoder({"official": "ny04m1tx"}), "mean"),
        (
            "emulators",
            emulator({"training": "solver"}, network=SMALL),
            "emulators.tuned.train.start.from: another architecture: backbone.",
        ),
        ("emulators", emulator({"training": "diffusion"}), "another architecture: backbone."),
    ],
)
def test_a_plan_refuses_weights_that_do_not_fit(kind, entry, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, what in (("emulator", "emulator"), ("small", "autoencoder")):
        record = provenance(what, {what: {}}, {})
        write_weights(tmp_path / f"{name}.safetensors", {"a": torch.ones(2)}, record)
    made = make_study("study.yaml", study(**{kind: {"tuned": entry}}))
    with pytest.raises(LilasError) as told:
        check_starts(made, Config(), {})
    assert words in str(told.value), told.value
    assert f"{kind}.tuned.train.start" in str(told.value)
    assert len(str(told.value).splitlines()) == 1


def test_a_plan_lets_pass_what_fits():
    entries = {
        "tuned": autoencoder({"training": "c16", "dataset": "convection"}, freeze=["encoder"]),
        "decoded": autoencoder({"training": "c16"}, parts=["decoder"], **{"blocks": [1, 1, 1]}),
        "theirs": autoencoder({"official": "1e3z5x2c"}),
    }
    more = {"tuned_solver": emulator({"training": "solver"})}
    made = make_study("study.yaml", study(autoencoders=entries, emulators=more))
    check_starts(made, Config(), {})


def test_plans_of_studies_without_a_start_do_not_wait_for_torch():
    code = "import sys; from lilas.study.read import Config, read_study; from lilas.plan.starts "
    code += f"import check_starts; check_starts(read_study({str(MINIATURE)!r}), Config(), {{}})"
    code += "; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- The workflow -----------------------------------------------------------------------------


def test_a_released_run_is_fetched_to_start_from_and_what_does_not_fit_is_told(pipeline):
    values = yaml.safe_load(pipeline.study.read_text())
    values["emulators"]["tuned"] = emulator({"official": "ny04m1tl"})
    pipeline.study.write_text(yaml.safe_dump(values))
    target = "results/miniature/convection/c16-s0/tuned-s0/weights.safetensors"
    planned = pipeline.planned(target)
    assert (planned["fetch"], planned["emulator"]) == (1, 1)
    values["emulators"]["tuned"] = emulator({"training": "diffusion"})
    pipeline.study.write_text(yaml.safe_dump(values))
    done = pipeline.run("--dry-run", target, check=False)
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert told[0].startswith("error: emulators.tuned.train.start.from: another architecture: ")


def test_a_plan_knows_the_shapes_of_what_is_trained(miniature):
    made = make_study("study.yaml", read_yaml(MINIATURE))
    extents = {"convection": made.datasets["convection"].extent()}
    folder = miniature.results / "convection"
    for kind, name, latent, path in (
        ("autoencoders", "c16", "", "c16-s0"),
        ("emulators", "diffusion", "c16", "c16-s0/diffusion-s0"),
        ("emulators", "solver", "c16", "c16-s0/solver-s0"),
        ("emulators", "pixel_solver", "pixel", "pixel-s0/pixel_solver-s0"),
    ):
        known = model_shapes(made, extents, kind, "convection", name, latent)
        assert known == read_shapes(folder / path / "weights.safetensors")


@pytest.mark.slow
def test_a_training_comes_after_what_it_starts_from_and_knows_it(miniature, tmp_path, monkeypatch):
    """Its parent's best weights where the parent says so; an edit of the parent trains it again."""
    twin = miniature.copy(tmp_path / "twin")
    values = yaml.safe_load(twin.study.read_text())
    tiny = {"steps": 2, "validate_every": 2, "learning_rate": 1e-6, "optimizer": "adam"}
    tuned = autoencoder({"training": "c16"}, freeze=["encoder"])
    solver = emulator({"training": "solver"}, weights="best")
    for entry in (tuned, solver):
        entry["train"] |= tiny
    del solver["train"]["start"]["from"]
    solver["train"]["start"] |= {"from": {"training": "solver"}, "parts": ["backbone.network"]}
    values["autoencoders"]["tuned"], values["emulators"]["tuned_solver"] = tuned, solver
    values["emulators"]["solver"]["weights"] = "best"
    twin.study.write_text(yaml.safe_dump(values))
    folder = twin.results / "convection"
    paths = [folder / "tuned-s0" / "weights.safetensors"]
    paths.append(folder / "c16-s0" / "tuned_solver-s0" / "weights.safetensors")
    targets = [str(path.relative_to(twin.folder)) for path in paths]
    assert twin.planned(*targets) == {"autoencoder": 1, "emulator": 1}
    twin.run(*targets)
    parents = [folder / "c16-s0" / "weights.safetensors"]
    parents.append(folder / "c16-s0" / "solver-s0" / "weights_best.safetensors")
    for path, parent, kept in zip(paths, parents, ("encoder.", "backbone.network."), strict=True):
        made = read_record(path)["inputs"]["start"]
        assert made["sha256"] == sha256(parent)
        found, theirs = load_file(path), load_file(parent)
        for key, value in found.items():
            near = torch.allclose(value, theirs[key], rtol=0, atol=2.1e-6)
            assert near or not key.startswith((kept, "decoder."))
            if kept == "encoder.":
                assert torch.equal(value, theirs[key]) == key.startswith(kept)
        assert not all(torch.equal(value, theirs[key]) for key, value in found.items())
    values["autoencoders"]["c16"]["per_dataset"]["convection"]["train"]["learning_rate"] = 2e-3
    twin.study.write_text(yaml.safe_dump(values))
    assert twin.planned(targets[0]) == {"autoencoder": 2}
