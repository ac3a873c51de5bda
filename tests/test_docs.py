"""The generated pages, and the registry of artifacts against what the stages write."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import xarray as xr
import yaml
import zarr
from safetensors import safe_open

from lilas import settings
from lilas.files import read_json
from lilas.inspect.artifact import Artifact
from lilas.inspect.catalogue import ARTIFACTS, INSPECTED
from lilas.inspect.pages import artifacts_page, configuration_page, metrics_page
from lilas.study import paths
from lilas.study.ablation import Variant
from lilas.study.autoencoders import AutoencoderSettings, TrainedAutoencoder
from lilas.study.comparison import Ancestor, Compared, Sampling
from lilas.study.emulators import EmulatorSettings
from lilas.study.entries import Trained
from lilas.study.operators import BlockSettings
from lilas.study.read import read_study
from lilas.study.samplers import (
    AlgorithmSettings,
    AzulaSettings,
    GuidanceSettings,
    MultistepSettings,
    ObservingSettings,
    SamplingSettings,
)
from lilas.study.starts import StartSettings
from lilas.study.study import Study
from lilas.study.tasks import Expected, Task
from lilas.systems.base import System
from test_inspect import DATA, FLOW, ROOT, artifacts  # noqa: F401

REPOSITORY = Path(__file__).parents[1]


def subclasses(model: type) -> set[type]:
    return {model}.union(*(subclasses(one) for one in model.__subclasses__()))


# Of these others are made; and a task is what rules hand to stages: people write none of them.
BASES = {settings.Model, settings.Entry, System, AutoencoderSettings, TrainedAutoencoder}
BASES |= {
    EmulatorSettings,
    AlgorithmSettings,
    AzulaSettings,
    MultistepSettings,
    SamplingSettings,
    GuidanceSettings,
    ObservingSettings,
    BlockSettings,
    StartSettings,
    Trained,
    Task,
    Variant,
    Ancestor,
    Compared,
    Sampling,
    Expected,
}
WRITTEN = sorted(
    (one for one in subclasses(settings.Model) - BASES if one.__module__.startswith("lilas.")),
    key=lambda model: model.__name__,
)


def registered(name: str) -> Artifact:
    return next(artifact for artifact in ARTIFACTS if artifact.name == name)


def template(names: Iterable[str], found: str) -> str:
    """The registered name that a name in a file is an instance of; itself where it is none."""
    if found in names:
        return found
    for name in names:
        pattern = re.sub(r"\\\{\w+\\\}", r"[^/]+", re.escape(name))
        if re.fullmatch(pattern, found):
            return name
    return found


def dtype(kind: Any) -> str:
    return "string" if kind.kind in "OTU" else str(kind)


def described(artifact: Artifact, space: tuple[str, ...], fill: dict[str, str]) -> dict[str, Any]:
    """The registered variables of a store with space axes (name, dims, dtype, unit)."""
    result = {}
    for variable in artifact.variables:
        for own in space if "{axis}" in variable.name else (None,):
            name = variable.name.format(axis=own, parameter="Rayleigh")
            dims = [d for dim in variable.dims for d in (space if dim == "*space" else (dim,))]
            dims = [own if dim == "axis" and own else dim for dim in dims]
            units = fill.get(name, "" if variable.units == "the data's" else variable.units)
            result[name] = (tuple(dims), variable.dtype, units)
    if "Rayleigh" in result:
        result["Prandtl"] = result["Rayleigh"]
    return result


# --- Pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("artifacts.md", artifacts_page()),
        ("configuration.md", configuration_page()),
        ("metrics.md", metrics_page()),
    ],
    ids=["artifacts", "configuration", "metrics"],
)
def test_pages_are_those_that_the_code_generates(page, text):
    assert (REPOSITORY / "docs" / page).read_text() == text, "run `python -m lilas.inspect.pages`"


@pytest.mark.parametrize("model", WRITTEN, ids=lambda model: model.__name__)
def test_every_key_has_a_description_and_a_row(model):
    section = configuration_page().split(f"## {model.__name__}\n")[1].split("\n## ")[0]
    keys = {k: v for k, v in model.model_fields.items() if k != getattr(model, "gathered", "")}
    for name, field in keys.items():
        assert field.description, f"{model}.{name}"
        row = next(line for line in section.splitlines() if line.startswith(f"| `{name}` |"))
        assert field.description in row
        assert ("| required |" in row) == field.is_required()
    assert section.count("\n| `") == len(keys)


def test_known_keys_read_as_known():
    page = configuration_page()
    assert "| `ema` | number ≥ 0, < 1 | `0.0` |" in page
    assert "| `values` | list of number, at least two, each once | required |" in page
    assert "| `method` | `diffusion` | required |" in page
    assert "| `window` | integer ≥ 2, ≤ 10000 | `5` |" in page
    assert '| `device` | text | `"auto"` |' in page
    assert "| `batch_size` | integer > 0 | required | States or windows per step. |" in page
    assert "| `samplers` | list of name, at least one, each once | required |" in page
    horizons = "list of [integer > 0, integer > 0], at least one, each once"
    assert f"| `horizons` | {horizons} | required |" in page
    assert "| `train` | [Train](#train) or `null` | `null` |" in page


def test_the_keys_of_the_shipped_studies_are_all_on_the_page():
    page = configuration_page()

    def check(model: type, values: dict[str, Any]) -> None:
        for key in values:
            assert f"| `{key}` |" in page

    for path in sorted((REPOSITORY / "workflow" / "studies").glob("*.yaml")):
        study = yaml.safe_load(path.read_text())
        check(Study, study)
        for crossed in study.pop("sweep", {}).values():
            check(Study, {step: None for key in crossed for step in key.split(".")})
        for section in study.values():
            for entry in section.values():
                check(Study, entry if isinstance(entry, dict) else {})


def test_longer_trainings_are_those_of_the_laptop_study():
    longer, laptop = (
        read_study(REPOSITORY / path)
        for path in ("docs/laptop/lengths.yaml", "workflow/studies/laptop.yaml")
    )
    assert longer.datasets == laptop.datasets
    assert set(longer.emulators) == {"diffusion", "solver"}
    for name in longer.emulators:
        own, there = (
            study.resolve("emulators", name, "rayleigh_benard").model.model_dump()
            for study in (longer, laptop)
        )
        one, other = own.pop("train"), there.pop("train")
        assert one.pop("budget") == other.pop("budget")
        run = f"results/laptop/rayleigh_benard/c64-s0/{name}-s0"
        assert one.pop("start")["from"]["file"] == f"{run}/weights.safetensors"
        assert other.pop("start") is None
        assert one == other
        assert own["network"] == there["network"]
    assert longer.samplers.items() <= laptop.samplers.items()


def test_links_of_the_configuration_lead_somewhere():
    page = configuration_page()
    headings = {line[3:].lower() for line in page.splitlines() if line.startswith("## ")}
    assert set(re.findall(r"\]\(#(\w+)\)", page)) == headings


def test_what_inspect_knows_is_registered():
    paths = [path.rsplit("/", 1)[1] for artifact in ARTIFACTS for path in artifact.paths]
    for name in ("statistics.json", "weights.safetensors", "rollouts.zarr", "checkpoint.pt"):
        assert name in paths
        assert any(name in what for what in INSPECTED.values())


@pytest.mark.parametrize("page", sorted((REPOSITORY / "docs").glob("*.md")), ids=lambda p: p.name)
def test_the_tests_that_a_page_names_are_there(page):
    named = re.findall(r"`(test_\w+\.py)::(\w+)`", page.read_text(encoding="utf-8"))
    tests = {file: (REPOSITORY / "tests" / file).read_text(encoding="utf-8") for file, _ in named}
    assert [name for file, name in named if f"\ndef {name}(" not in tests[file]] == []
    assert named or page.name != "reliability.md"


# --- Paths ------------------------------------------------------------------------------------


def outputs() -> set[str]:
    """The last part of every output of the workflow's rules that is kept."""
    found = set()
    for path in (REPOSITORY / "workflow" / "rules").glob("*.smk"):
        for block in re.findall(r"\n    output:\n(.*?)\n    \w+:", path.read_text(), re.DOTALL):
            # The helpers of the rules name a path for each split.
            named = block.replace("manifest(", "paths.MANIFEST ").replace(
                "simulated(", "paths.SIMULATED "
            )
            for line in re.sub(r"temp\(.*?\)", "", named).splitlines():
                last = re.findall(r"paths\.(\w+)", line)[-1:]
                found |= {getattr(paths, name).rsplit("/", 1)[-1] for name in last}
    return found


def test_every_output_of_the_rules_is_registered_and_the_other_way_round():
    paths = {tuple(path.rsplit("/", 2)[1:]) for artifact in ARTIFACTS for path in artifact.paths}
    # Of folders the rules name the folder, not what is in it.
    folders = ("tables", "figures")
    paths = {folder if folder in folders else name for folder, name in paths}
    # Written beside an output: the stores of manifests, checkpoints.
    beside = {"{split}.zarr", "rollouts.zarr", "frames.zarr", "study.json"}
    beside |= {"checkpoint.pt", "checkpoint.before.pt"}
    beside |= {"events.out.tfevents.{run}", "run-{id}.wandb"}
    assert outputs() == paths - beside
    assert "figures" in outputs()


def matches(path: str) -> list[str]:
    """The names of the artifacts that a path below the results folder belongs to."""
    found = []
    for artifact in ARTIFACTS:
        for known in artifact.paths:
            pattern = re.escape(known.replace("{results}/", "").replace("{data}", "data"))
            pattern = re.sub(r"\\\{(autoencoder|emulator)\\\}", r"\\w+-s\\d+", pattern)
            if re.fullmatch(re.sub(r"\\\{\w+\\\}", r"[^/]+", pattern), path):
                found.append(artifact.name)
    return found


def test_every_file_that_the_stages_wrote_is_registered(artifacts):  # noqa: F811
    files = [*(artifacts / "results").rglob("*")]
    paths = {str(file.relative_to(artifacts / "results")) for file in files if file.is_file()}
    # The insides of a store count as the store; locks and finished parts hold nothing.
    paths = {re.sub(r"\.zarr/.*", ".zarr", path) for path in paths}
    paths = {path for path in paths if not re.search(r"/lock$|/latents/\.\w+\.\w+$", path)}
    assert {path: matches(path) for path in paths if len(matches(path)) != 1} == {}
    assert {name for path in paths for name in matches(path)} == {
        *("Statistics", "Weights", "History", "Checkpoint", "Latents", "Manifest of latents"),
        *("Rollouts", "Manifest of rollouts", "Frames", "Manifest of frames", "Metrics"),
        *("Timing", "Tables", "Comparisons and paper tables", "Record of tables or figures"),
    }


# --- Contents, both ways ----------------------------------------------------------------------


TIMES = dict.fromkeys(("time", "trajectory_time"), "free-fall time")


@pytest.mark.parametrize(
    ("name", "path", "space", "fill"),
    [
        ("Latents", FLOW / "c6-s0/latents/train.zarr", ("x", "y"), TIMES),
        (
            "Rollouts",
            FLOW / "c6-s0/solver-s0/direct/rollouts.zarr",
            ("x", "y"),
            TIMES,
        ),
    ],
    ids=["latents", "rollouts"],
)
def test_stores_are_as_registered(artifacts, name, path, space, fill):  # noqa: F811
    dataset = xr.open_zarr(artifacts / path)
    disk = zarr.open_group(artifacts / path, mode="r")
    found = {
        key: (variable.dims, dtype(disk[key].dtype), variable.attrs.get("units", ""))
        for key, variable in dataset.variables.items()
    }
    artifact = registered(name)
    expected = described(artifact, space, fill)
    assert {key: value[:2] for key, value in found.items()} == {
        key: value[:2] for key, value in expected.items()
    }
    # A unit that the store states is the registered one.
    stated = {key: value[2] for key, value in found.items() if value[2]}
    assert stated == {key: expected[key][2] for key in stated}
    assert "latent" in stated
    assert set(dataset.attrs) == set(artifact.attributes)


def test_data_files_are_as_registered(artifacts):  # noqa: F811
    artifact = registered("Data file")
    variables = {variable.name: variable for variable in artifact.variables}
    found: dict[str, set[str]] = {}
    ndims: dict[str, int] = {}
    with h5py.File(artifacts / DATA["train"]) as file:

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                found.setdefault(template(variables, name), set()).add(str(item.dtype))
                ndims[name] = item.ndim

        file.visititems(visit)
        attributes = {
            "{parameter}" if name in ("Rayleigh", "Prandtl") else name for name in file.attrs
        }
    assert found == {name: {variable.dtype} for name, variable in variables.items()}
    assert ndims["t0_fields/buoyancy"] == 4
    assert ndims["t1_fields/velocity"] == 5
    assert (ndims["scalars/Rayleigh"], ndims["scalars/Prandtl"]) == (0, 1)
    assert attributes == set(artifact.attributes)


KINDS = {"number": float, "integer": int, "mapping": dict, "string": str, "list": list}


def test_statistics_are_as_registered(artifacts):  # noqa: F811
    artifact = registered("Statistics")
    value = read_json(artifacts / FLOW / "statistics.json")
    kinds = {variable.name: KINDS[variable.dtype] for variable in artifact.variables}
    for channel in value["channels"].values():
        assert {f"channels.{{channel}}.{key}": type(v) for key, v in channel.items()} == kinds
    assert set(value) == {"channels", *artifact.attributes}


def test_histories_are_as_registered(artifacts):  # noqa: F811
    history = pd.read_json(artifacts / FLOW / "c6-s0/history.jsonl", lines=True)
    kinds = {"i": "integer", "f": "number"}
    assert {name: kinds[history[name].dtype.kind] for name in history} == {
        variable.name: variable.dtype for variable in registered("History").variables
    }


def test_checkpoints_are_as_registered(artifacts):  # noqa: F811
    state = torch.load(artifacts / FLOW / "c6-s0/checkpoint/checkpoint.pt", weights_only=True)
    variables = {variable.name: variable.dtype for variable in registered("Checkpoint").variables}
    assert set(state) == set(variables)
    wrong = {
        name: type(value)
        for name, value in state.items()
        if value is not None and not isinstance(value, KINDS[variables[name]])
    }
    assert wrong == {}


def test_weights_are_as_registered(artifacts):  # noqa: F811
    artifact = registered("Weights")
    with safe_open(artifacts / FLOW / "c6-s0/weights.safetensors", "pt") as file:
        kinds = {str(file.get_tensor(key).dtype) for key in file.keys()}  # noqa: SIM118
        assert kinds == {f"torch.{artifact.variables[0].dtype}"}
        assert set(file.metadata()) == set(artifact.attributes)


@pytest.mark.parametrize(
    ("name", "path", "absent"),
    [
        ("Manifest of latents", FLOW / "c6-s0/latents/train.json", {"files", "statistics"}),
        ("Manifest of latents", FLOW / "pixel-s0/latents/train.json", {"store", "metadata"}),
        ("Manifest of rollouts", FLOW / "c6-s0/solver-s0/direct/rollouts.json", set()),
        ("Manifest of frames", FLOW / "c6-s0/solver-s0/direct/frames.json", set()),
    ],
)
def test_manifests_are_as_registered(artifacts, name, path, absent):  # noqa: F811
    artifact = registered(name)
    names = {variable.name for variable in artifact.variables} | set(artifact.attributes)
    assert set(read_json(artifacts / path)) == names - absent


@pytest.mark.parametrize(
    "path", [FLOW / "baselines.parquet", FLOW / "c6-s0/solver-s0/direct/metrics.parquet"]
)
def test_metrics_are_as_registered(artifacts, path):  # noqa: F811
    schema = pq.read_schema(artifacts / path)
    text = pa.dictionary(pa.int32(), pa.string())
    names = {pa.float64(): "float64", pa.int32(): "int32", text: "string"}
    artifact = registered("Metrics")
    assert [(field.name, names[field.type]) for field in schema] == [
        (variable.name, variable.dtype) for variable in artifact.variables
    ]
    metadata = pq.read_metadata(artifacts / path).metadata
    # The schema that Arrow keeps is the writer's own.
    assert {key.decode() for key in metadata} - {"ARROW:schema"} == set(artifact.attributes)


def test_timings_are_as_registered(artifacts):  # noqa: F811
    value, artifact = read_json(artifacts / FLOW / "timing.json"), registered("Timing")
    assert set(value) == {"rows", *artifact.attributes}
    kinds = {variable.name: KINDS[variable.dtype] for variable in artifact.variables}
    found = {key: type(item) for row in value["rows"] for key, item in row.items()}
    # Memory is CUDA's.
    assert found == {name: kind for name, kind in kinds.items() if name != "memory"}


def test_tables_are_as_registered(artifacts):  # noqa: F811
    table = pd.read_csv(artifacts / ROOT / "tables/horizons.csv")
    assert list(table) == [variable.name for variable in registered("Tables").variables]
