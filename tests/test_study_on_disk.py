"""What a study may not ask of files that exist: told by a plan, before the first job."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lilas import plan
from lilas.data.well_writer import write_well
from lilas.errors import LilasError
from lilas.plan.on_disk import check_on_disk
from lilas.study.read import Config, read_study
from lilas.systems.base import SPLITS

OPTIONS = Path(__file__).parent / "data" / "options.yaml"
STEPS = 20


def write(root: Path, split: str, steps: int = STEPS, **other: Any) -> None:
    """A file that the study of the options fits: two trajectories on 32 x 16 points."""
    shape, rng = (2, steps, 32, 16), np.random.default_rng(0)
    values = {
        "dataset": "flow",
        "fields": {
            "buoyancy": rng.normal(size=shape),
            "pressure": rng.normal(size=shape),
            "velocity": rng.normal(size=(*shape, 2)),
        },
        "time": np.arange(steps) / 4,
        "coordinates": {"x": np.arange(32) / 8, "y": np.arange(16) / 16},
        "parameters": {"Rayleigh": 1e6, "Prandtl": 1.0},
        "boundaries": {"x": "periodic", "y": "wall"},
    }
    write_well(root / "data" / split / "a.hdf5", **values | other)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for i, split in enumerate(SPLITS):
        # No two splits hold the same trajectories.
        write(tmp_path / "flow", split, time=i + np.arange(STEPS) / 4)
    return tmp_path / "flow"


def checked(root: Path, key: str = "", value: Any = None) -> None:
    """Plans the study of the options on a folder, one of its values set."""
    values = json.loads(json.dumps(yaml.safe_load(OPTIONS.read_text())))
    values["datasets"]["flow"]["source"] = {"kind": "path", "path": str(root)}
    inside = values
    *parents, last = key.split(".")
    for name in parents:
        inside = inside.setdefault(name, {})
    if key:
        inside[last] = value
    path = root.parent / "study.yaml"
    path.write_text(yaml.safe_dump(values))
    study = read_study(path)
    files = {"flow": plan.data_files(Config(), study.datasets["flow"])}
    check_on_disk(study, files)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("datasets.flow.evaluation.horizons", [[1, 20]], ["start 0 + lead time 20", "at most 19"]),
        ("datasets.flow.evaluation.trajectories", 3, ["trajectories 3", "has 2", "at most 2"]),
        ("figures.trajectories", 3, ["figures.trajectories 3", "at most 2"]),
        ("datasets.flow.augment", {"roll": ["y"]}, ["augment.roll", "'y'", "wall", "allowed: x"]),
        ("autoencoders.dcae.periodic", ["y"], ["dcae.periodic", "'y'", "wall", "allowed: x"]),
        ("datasets.flow.augment", {"copies": 3}, ["augment.copies 3", "at most 1"]),
        ("datasets.flow.augment", {"flip": ["z"]}, ["augment.flip", "'z'", "allowed: x, y"]),
        ("datasets.flow.label", {"Reynolds": "log"}, ["label", "'Reynolds'", "Rayleigh, Prandtl"]),
        ("datasets.flow.evaluation.physics", "gas", ["physics", "'energy'", "allowed: null"]),
        ("datasets.flow.states.fields", ["pressure"], []),
        ("emulators.transformer.window", 21, ["window 21", "20 steps", "at most 20"]),
        ("emulators.transformer.network.patch_size", [3, 3], ["patch_size [3, 3]", "16 x 8"]),
        ("autoencoders.vit.patch_size", 3, ["autoencoders.vit", "shrinks by 3", "32 points"]),
    ],
)
def test_what_files_cannot_give_is_told_by_its_key(root, key, value, words):
    checked(root)
    if not words:
        checked(root, key, value)
        return
    with pytest.raises(LilasError) as error:
        checked(root, key, value)
    for word in words:
        assert word in str(error.value)
    assert len(str(error.value)) <= 300


def test_a_test_split_too_short_for_the_rollout_is_told(root):
    """Train and valid are long enough."""
    write(root, "test", steps=8)
    with pytest.raises(LilasError, match=r"a test trajectory has 8 steps, so at most 7"):
        checked(root)


def test_a_training_split_too_short_for_a_window_is_told(root):
    write(root, "valid", steps=4)
    with pytest.raises(LilasError, match=r"window 5: longer than a trajectory of flow, .* 4 steps"):
        checked(root)


def test_a_law_needs_what_the_files_lack(root):
    for i, split in enumerate(SPLITS):
        write(root, split, time=i + np.arange(STEPS) / 4, parameters={"Rayleigh": 1e6})
    with pytest.raises(LilasError, match=r"evaluation\.physics: convection needs the .*'Prandtl'"):
        checked(root, "datasets.flow.evaluation.physics", "convection")
