"""What a study may not say: one mistake for every refusal that `lilas.study` knows."""

import ast
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import lilas.study
from lilas.errors import LilasError
from lilas.study.read import read_study

MINIATURE = Path(__file__).parent / "data" / "miniature.yaml"
GONE = object()

VIT = {
    "architecture": "vit",
    "latent_channels": 4,
    "patch_size": 4,
    "transformer": {"channels": 16, "blocks": 1, "heads": 2},
}
# A key and what is wrong with its value, and words of the message.
SOURCE = "datasets.convection.source"
MISTAKES = [
    (SOURCE, {"kind": "well", "name": "rayleigh_bernard"}, ["source", "mean 'rayleigh_benard'?"]),
    (SOURCE, {"kind": "well", "name": "shear_flow"}, ["'buoyancy'", "tracer, pressure, velocity"]),
    (
        SOURCE,
        {"kind": "well", "name": ["MHD_64", "MHD_256"]},
        ["joined datasets must agree", "MHD_256 has size 256, 256, 256, MHD_64 64, 64, 64"],
    ),
    (SOURCE, {"kind": "well", "name": ["MHD_64", "MHD_64"]}, ["name: 'MHD_64' is there twice"]),
    (SOURCE, {"kind": "well", "name": []}, ["source", "name: expected a name, or several"]),
    (SOURCE, {"kind": "path", "path": ["a", "b", "a"]}, ["source", "path: 'a' is there twice"]),
    (
        SOURCE,
        {"kind": "well", "name": "rayleigh_benard", "size": [512]},
        ["source", "size [512]: expected a number for each axis, x, y"],
    ),
    ("datasets.convection.states.transform", {"heat": {"kind": "log", "offset": 1}}, ["'heat'"]),
    ("datasets.convection.states.fields", ["heat"], ["'heat'", "buoyancy, pressure, velocity"]),
    ("datasets.convection.states.fields", ["velocity", "velocity_y"], ["'velocity_y' is there tw"]),
    (
        "datasets.convection.states.transform",
        {"velocity_z": {"kind": "arcsinh", "scale": 1}},
        ["states.transform: unknown 'velocity_z'", "velocity_x, velocity_y"],
    ),
    (
        "datasets.convection.states.transform",
        {"velocity_x": {"kind": "arcsinh", "scale": 0}},
        ["states.transform.velocity_x.scale", "greater than 0"],
    ),
    (
        "datasets.convection.states.transform",
        {"velocity": {"kind": "square"}},
        ["states.transform.velocity.kind: unknown 'square'", "log, arcsinh"],
    ),
    ("datasets.convection.label", {"Reynolds": "log"}, ["'Reynolds'", "Rayleigh, Prandtl"]),
    ("datasets.convection.augment.flip", ["z"], ["augment.flip", "'z'", "x, y"]),
    ("datasets.convection.evaluation.horizons", [[4, 3]], ["[4, 3] ends before it begins"]),
    ("datasets.convection.evaluation.horizons", [[1, 12]], ["step 12", "at most 11"]),
    ("datasets.convection.stride", 4, ["[1, 3] holds no lead time", "multiples of 4"]),
    ("datasets.convection.stride", 3, ["a window of 5 states spans 13 steps", "at most 2"]),
    ("datasets.convection.source.size", [30, 16], ["autoencoders.c16", "30 points", "by 4"]),
    ("datasets.tables", "datasets.convection", ["datasets.tables: this name is taken"]),
    ("autoencoders.c16.kernel_size", 4, ["autoencoders.c16", "4 is even"]),
    ("autoencoders.c16.periodic", ["z"], ["autoencoders.c16.periodic", "'z'", "x, y"]),
    ("autoencoders.c16.datasets", ["sea"], ["autoencoders.c16.datasets", "'sea'", "convection"]),
    ("autoencoders.c16.per_dataset", {"sea": {}}, ["c16.per_dataset", "'sea'", "convection"]),
    (
        "autoencoders.c16.per_dataset.convection",
        {"train": {"steps": 0}},
        ["autoencoders.c16.per_dataset.convection.train.steps", "greater than 0"],
    ),
    ("autoencoders.c16.datasets", [], ["emulators.diffusion.autoencoders", "none is trained"]),
    ("autoencoders.c16.latent_channels", 65, ["latent_channels 65", "at most 64"]),
    ("autoencoders.c16.latent_channels", GONE, ["autoencoders.c16", "latent_channels"]),
    ("autoencoders.c16.channels", GONE, ["autoencoders.c16", "channels"]),
    ("autoencoders.c16.blocks", [1, 1], ["autoencoders.c16", "2 levels"]),
    ("autoencoders.c16.attention_heads", {3: 2}, ["attention_heads {3: 2}", "a level of 3"]),
    ("autoencoders.c16.attention_heads", {1: 3}, ["attention_heads {1: 3}", "divide its channels"]),
    ("autoencoders.c16.transformer", VIT["transformer"], ["autoencoders.c16", "transformer"]),
    ("autoencoders.c16.architecture", GONE, ["autoencoders.c16", "architecture"]),
    ("autoencoders.c16.train", GONE, ["autoencoders.c16: train is missing"]),
    ("autoencoders.c16.train.warmup", 8, ["warmup 8 must be shorter than steps 8"]),
    ("autoencoders.c16.train.betas", [0.9], ["betas [0.9]", "adam takes 2"]),
    ("autoencoders.c16", VIT, ["autoencoders.c16: train is missing"]),
    ("autoencoders.c16", VIT | {"norm": "group"}, ["autoencoders.c16", "norm"]),
    ("autoencoders.pixel.latent_channels", 4, ["autoencoders.pixel", "latent_channels"]),
    ("autoencoders.pixel.seeds", [1], ["autoencoders.pixel", "seed"]),
    ("autoencoders.c16", {"official": "a", "architecture": "dcae"}, ["c16", "architecture"]),
    ("autoencoders.c16", {"official": "a", "latent_channels": 4}, ["c16", "latent_channels"]),
    (
        "autoencoders.c16",
        {
            "official": "a",
            "per_dataset": {"convection": {"official": None, "architecture": "identity"}},
        },
        ["autoencoders.c16.per_dataset.convection.official", "unknown key"],
    ),
    ("emulators.diffusion.autoencoders", ["c8"], ["diffusion.autoencoders", "'c8'", "c16, pixel"]),
    ("emulators.diffusion.samplers", ["ab5"], ["diffusion.samplers", "'ab5'", "ab4, direct"]),
    (
        "emulators.diffusion.samplers",
        ["direct"],
        ["diffusion.samplers", "does not fit method 'diffusion'", "ab4"],
    ),
    ("emulators.solver.samplers", ["ab4"], ["emulators.solver.samplers", "'ab4'", "direct"]),
    ("emulators.diffusion.network", GONE, ["emulators.diffusion", "network"]),
    ("emulators.diffusion.network.channels", 18, ["channels 18 must divide into 2 even heads"]),
    ("emulators.diffusion.context_at_least", 5, ["context_at_least 5", "at most 4"]),
    ("emulators.diffusion.diffusion", {"sigma_min": 1e3}, ["sigma_min 1000.0 must be smaller"]),
    (
        "emulators.diffusion.diffusion",
        {"schedule": "log_linear", "logit_shift": 1},
        ["logit_shift", "log_linear has none"],
    ),
    ("emulators.solver.network.blocks", [1], ["emulators.solver.network", "1 levels"]),
    ("emulators.solver.network.attention_heads", {2: 1}, ["solver.network", "level 2"]),
    ("samplers.ab4.context", 2, ["samplers.ab4.context 2", "evaluation.start, which is 0"]),
    ("samplers.ab4.overlap", 5, ["samplers.ab4.overlap 5", "at most 4"]),
    ("samplers.ab4.crop", 1, ["samplers.ab4", "crop 1 keeps no new state", "at least 2"]),
    ("samplers.ab4.crop", 6, ["samplers.ab4.crop 6", "at most 5"]),
    ("samplers.direct.members", 2, ["samplers.direct.members", "method 'solver' is deterministic"]),
]


def write(path: Path, key: str, value: Any) -> Path:
    """The miniature with one value set, taken out (GONE), or that of another key."""
    # By way of JSON, since entries share what YAML's anchors name.
    values = json.loads(json.dumps(yaml.safe_load(MINIATURE.read_text())))
    *parents, last = key.split(".")
    inside = values
    for name in parents:
        inside = inside.setdefault(name, {})
    if value is GONE:
        del inside[last]
    elif isinstance(value, str):
        first, second = value.split(".")
        inside[last] = values[first][second]
    else:
        inside[last] = value
    path.write_text(yaml.safe_dump(values))
    return path


def refusal(path: Path) -> str:
    """The one line in which a study is refused."""
    with pytest.raises(LilasError) as error:
        read_study(path)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(("key", "value", "words"), MISTAKES, ids=[key for key, *_ in MISTAKES])
def test_a_mistake_is_told_by_its_key(tmp_path, key, value, words):
    message = refusal(write(tmp_path / "study.yaml", key, value))
    for word in words:
        assert word in message


def test_the_miniature_has_no_mistake():
    assert set(read_study(MINIATURE).datasets) == {"convection"}


def raised() -> set[tuple[str, int]]:
    """The file and line of every ValueError that the package of the study raises."""
    return {
        (str(path), node.lineno)
        for path in Path(lilas.study.__path__[0]).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and getattr(node.exc.func, "id", "") == "ValueError"
    }


def of_plugins(file: str, line: int) -> bool:
    """Whether only a plug-in comes there: no wrapper of denoisers is LILAS's own (test_plugins)."""
    return "guidance wraps a denoiser" in Path(file).read_text().splitlines()[line - 1]


def test_every_refusal_has_its_mistake(tmp_path):
    """No `raise ValueError` of the package is left that no mistake of the table comes to."""
    reached, files = set(), {file for file, _ in raised()}

    def trace(frame, event, _):
        if frame.f_code.co_filename not in files:
            return None
        reached.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for key, value, _ in MISTAKES:
            refusal(write(tmp_path / "study.yaml", key, value))
    finally:
        sys.settrace(before)
    assert len(raised()) > 20
    left = {place for place in raised() - reached if not of_plugins(*place)}
    assert not left, sorted(f"{Path(file).name}:{line}" for file, line in left)
