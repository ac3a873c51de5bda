"""What a run would write is what it writes: against real networks, stores and files."""

import os
import re
import shutil
from pathlib import Path

import pytest
import torch

from conftest import mounted
from lilas import plan
from lilas.data.registry import well_urls
from lilas.errors import LilasError
from lilas.models.build import make_autoencoder, make_emulator
from lilas.plan import networks
from lilas.plan.needs import Machine, Needs
from lilas.plan.on_disk import check_on_disk
from lilas.plan.overview import overview
from lilas.plan.room import STAGES, Job, Row, Sizes, check_room, rows
from lilas.plan.work import Works
from lilas.study import autoencoders, emulators, paths
from lilas.study.read import Config, read_study
from lilas.study.training import Train
from lilas.training.optimizers import make_optimizer

ROOT = Path(__file__).parents[1]
STUDIES = [ROOT / "tests" / "data" / "miniature.yaml", *(ROOT / "workflow/studies").glob("*.yaml")]
# Estimates of what a run writes are within this factor of what it wrote, at any size.
FACTOR = 2

DCAE = {"architecture": "dcae", "latent_channels": 3, "channels": [32, 48], "blocks": [1, 2]}
VIT = {
    "architecture": "vit",
    "latent_channels": 5,
    "patch_size": 4,
    "transformer": {"channels": 64, "blocks": 2, "heads": 2},
}
TOKENS = {"channels": 64, "blocks": 2, "heads": 2, "embedding": 32}
UNET = {"architecture": "unet", "channels": [32, 64], "blocks": [1, 2], "embedding": 32}


def check_layers(layers, module) -> None:
    real = sum(parameter.numel() for parameter in module.parameters())
    assert 0.94 * real <= networks.weights(layers) <= real


@pytest.mark.parametrize("spatial", [1, 2, 3])
@pytest.mark.parametrize(
    "settings",
    [
        DCAE,
        DCAE | {"pixel_shuffle": False, "attention_heads": {1: 4}, "ffn_factor": 3},
        DCAE | {"kernel_size": 5, "patch_size": 2},
        VIT,
        VIT | {"transformer": VIT["transformer"] | {"rope": False, "ffn_factor": 2}},
    ],
)
def test_autoencoders_are_as_large_as_their_settings_tell(settings, spatial):
    kind = {"dcae": autoencoders.DCAESettings, "vit": autoencoders.ViTSettings}
    settings = kind[settings["architecture"]](**settings)
    with torch.device("meta"):
        module = make_autoencoder(settings, 4, ("x", "y", "z")[:spatial])
    check_layers(networks.autoencoder(settings, 4, spatial), module)


@pytest.mark.parametrize(
    ("network", "spatial"),
    [
        (TOKENS, 1),
        (TOKENS, 3),
        (TOKENS | {"patch_size": [2, 4], "rope": False}, 2),
        (UNET, 1),
        (UNET, 2),
        (UNET | {"attention_heads": {0: 4}, "kernel_size": 5, "ffn_factor": 2}, 2),
    ],
)
@pytest.mark.parametrize(
    ("kind", "method"),
    [(emulators.DiffusionSettings, "diffusion"), (emulators.SolverSettings, "solver")],
)
def test_emulators_are_as_large_as_their_settings_tell(network, spatial, kind, method):
    settings = kind(method=method, network=network)
    with torch.device("meta"):
        module = make_emulator(settings, 6, 7, spatial)
    check_layers(networks.emulator(settings, 6, spatial), module)


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_the_networks_of_every_study_are_as_large_as_they_are_told(study):
    study = read_study(study)
    for dataset, its in study.datasets.items():
        axes = its.extent().axes
        for kind, make in (("autoencoders", "autoencoder"), ("emulators", "emulator")):
            for name in {name for name, _ in study.trainings(kind, dataset)}:
                entry = study.resolve(kind, name, dataset)
                if not entry.is_trained:
                    continue
                with torch.device("meta"):
                    module = (
                        make_autoencoder(entry.model, 4, axes)
                        if kind == "autoencoders"
                        else make_emulator(entry.model, 4, 6, len(axes))
                    )
                check_layers(getattr(networks, make)(entry.model, 4, len(axes)), module)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon", "soap", "psgd"])
def test_an_optimiser_keeps_as_much_as_is_told(optimizer):
    """Of matrices and of kernels with axes longer than a preconditioner may be."""
    full = {"precondition_size": 128} if optimizer in ("soap", "psgd") else {}
    settings = Train(optimizer=optimizer, **TRAIN, **full)
    shapes = [(64, 32), (200, 64), (48, 16, 3, 3)]
    weights = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    made = make_optimizer(weights, settings.model_dump())
    for _ in range(3):
        for weight in weights:
            weight.grad = torch.randn_like(weight)
        made.step()
    kept = sum(_bytes(state) for state in made.state_dict()["state"].values())
    told = networks.optimizer_bytes([networks.Layer(shape) for shape in shapes], settings)
    assert kept / 1.5 <= told <= kept * 1.5


TRAIN = {"steps": 8, "batch_size": 1, "learning_rate": 1e-3, "validate_every": 4}


def _bytes(value) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    items = value.values() if isinstance(value, dict) else value
    return sum(map(_bytes, items)) if isinstance(value, dict | list | tuple) else 0


def size(*places: Path) -> int:
    """The bytes of files, and of all files below folders."""
    files = [p for place in places for p in ([place] if place.is_file() else place.rglob("*"))]
    assert files
    return sum(path.stat().st_size for path in files if path.is_file())


def test_a_run_writes_what_is_told(miniature, monkeypatch):
    monkeypatch.chdir(miniature.folder)
    study, config = read_study(miniature.study), Config()
    files = {name: plan.data_files(config, entry) for name, entry in study.datasets.items()}
    sizes, root = Sizes(study, files, {}), miniature.results / "convection"

    def check(rule: str, wildcards: dict[str, str], *places: Path) -> None:
        told = sizes.written(Job(rule, wildcards, []))
        assert size(*places) / FACTOR <= told <= size(*places) * FACTOR, (rule, wildcards)

    source = study.datasets["convection"].source
    for part in source.parts:
        own = [Path(f) for names in files["convection"].values() for f in names if part in f]
        check("simulate", {"folder": source.folder, "system": "x", "part": part}, *own)
    latent = {"dataset": "convection", "autoencoder": "c16-s0"}
    trained = ["weights.safetensors", "weights_best.safetensors", "checkpoint"]
    check("autoencoder", latent, *(root / "c16-s0" / name for name in trained))
    stores = [root / "c16-s0" / "latents" / f"{split}.zarr" for split in files["convection"]]
    check("latents", latent, *stores)
    check("reconstruction", latent, root / "c16-s0" / "reconstruction.parquet")
    check("baselines", {"dataset": "convection"}, root / "baselines.parquet")
    for run in paths.rollouts(study):
        folder = root / run["autoencoder"] / run["emulator"]
        emulator = {key: run[key] for key in ("dataset", "autoencoder", "emulator")}
        check("emulator", emulator, *(folder / name for name in trained))
        check("rollout", run, folder / run["sampler"] / "rollouts.zarr")
        names = ("frames.zarr", "metrics.parquet")
        check("evaluate", run, *(folder / run["sampler"] / name for name in names))


def test_data_on_disk_are_as_large_as_those_that_were_simulated(miniature, monkeypatch, tmp_path):
    monkeypatch.chdir(miniature.folder)
    (made,) = (miniature.folder / "results" / "data").glob("simulate-*")
    text = miniature.study.read_text(encoding="utf-8")
    start, end = text.index("      kind: simulate"), text.index("    states:")
    folder = f"      kind: path\n      path: {made}/rayleigh_benard\n"
    own = tmp_path / "own.yaml"
    own.write_text(text[:start] + folder + text[end:], encoding="utf-8")
    latent = {"dataset": "convection", "autoencoder": "c16-s0"}
    told = []
    for path in (miniature.study, own):
        study = read_study(path)
        files = {name: plan.data_files(Config(), entry) for name, entry in study.datasets.items()}
        sizes = Sizes(study, files, check_on_disk(study, files))
        run = paths.rollouts(study)[0]
        told.append([sizes.written(Job("latents", latent, []))])
        told[-1].append(sizes.written(Job("rollout", run, [])))
    assert told[0] == told[1]


def test_a_dataset_of_the_well_is_as_large_as_the_well_says():
    """367 GB of Rayleigh-Bénard convection, 8 : 1 : 1 by split."""
    study = read_study(ROOT / "workflow" / "studies" / "paper.yaml")
    name = "rayleigh_benard"
    files = plan.data_files(Config(), study.datasets[name])
    sizes = Sizes(study, {name: files}, {})
    told = {
        split: sum(
            sizes.written(Job("download", {"system": "rayleigh_benard", "split": split}, []))
            for _ in files[split]
        )
        for split in files
    }
    state = 4 * 512 * 128 * 4
    assert told["valid"] == 175 * 200 * state
    assert told["train"] == pytest.approx(8 * told["valid"])
    assert len(files["train"]) == len(well_urls("rayleigh_benard")["train"])
    assert sum(told.values()) == pytest.approx(367e9, rel=1e-3)


def test_some_files_of_a_dataset_of_the_well_are_less(pipeline, tmp_path):
    """As `snakemake -n` tells: 10 of 35 files of the training split, of all that is 80 %."""
    text = (ROOT / "workflow" / "studies" / "paper.yaml").read_text(encoding="utf-8")
    name = "      name: rayleigh_benard\n"
    assert text.count(name) == 1
    part = f"{name}      files: {{train: 10}}\n"
    pipeline.study.write_text(text.replace(name, part), encoding="utf-8")
    lines = pipeline.run("--dry-run", "all_data").stdout.splitlines()
    (data,) = [line for line in lines if line.startswith("data ")]
    # Of 367 GB 0.8 * 25/35 less, and 6145 of the two other systems: to download and to write.
    assert data.split()[0] == "data"
    assert data.split()[-2:] == ["6302", "6302"]


# Rules whose files are small, or are those of another: of `latents`, of `rollout`.
SMALL = {"statistics", "tables", "claims", "figures", "report", "latents_create", "latents_write"}
SMALL |= {
    "rollout_create",
    "rollout_write",
    "latent_parameters",
    "counterfactual",
    "timing",
    "tune",
}
# Rules whose bytes nothing tells before the run.
UNTOLD = {"fetch", "given_autoencoder", "given_emulator"}


def test_every_rule_has_its_bytes():
    text = "".join(path.read_text("utf-8") for path in (ROOT / "workflow/rules").glob("*.smk"))
    named = set(re.findall(r"^rule (\w+):", text, re.MULTILINE))
    assert named == set(STAGES) | SMALL
    told = {rule for rule in STAGES if hasattr(Sizes, f"_{rule}")}
    assert told == set(STAGES) - UNTOLD


def test_what_is_begun_is_not_counted_again(tmp_path):
    study = read_study(ROOT / "tests" / "data" / "miniature.yaml")
    source = study.datasets["convection"].source
    wildcards = {"folder": source.folder, "system": "x", "part": "x"}
    output = tmp_path / "a.hdf5"
    job = Job("simulate", wildcards, [str(output)])
    sizes = Sizes(study, {}, {})
    (before,) = rows(sizes, [job], str(tmp_path), str(tmp_path))
    (tmp_path / "a.hdf5.part").write_bytes(bytes(10_000))
    (after,) = rows(sizes, [job], str(tmp_path), str(tmp_path))
    assert before.written - after.written == 10_000


def test_what_nothing_tells_is_called_unknown(tmp_path):
    study = read_study(ROOT / "workflow" / "studies" / "released.yaml")
    found = rows(Sizes(study, {}, {}), [Job("fetch", {"run": "a"}, [])] * 2, str(tmp_path), "b")
    assert found == [Row("released models", str(tmp_path), 0, 0, 2)]
    needs = Needs(Works(Sizes(study, {}, {})), Machine(0, 1))
    line = overview([Job("fetch", {"run": "a"}, [])] * 2, needs, found).splitlines()[1].split()
    assert line[:5] == ["released", "models", "2", "unknown", "unknown"]
    assert line[-2:] == ["unknown", "unknown"]
    check_room(found)


def test_a_volume_without_room_is_refused_in_one_line(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    place = str(tmp_path / "not" / "there")
    # Data and results on one volume need room together.
    check_room([Row("data", place, 0, 0.6 * free)])
    found = [Row("data", place, 0, 0.6 * free), Row("latents", place, 0, 0.6 * free)]
    with pytest.raises(LilasError, match=r"GB there, .* GB are free") as caught:
        check_room(found)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 300


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 2 MB."""
    with mounted(tmp_path / "disk", "size=2m") as folder:
        yield folder


def test_a_run_that_does_not_fit_its_volume_starts_no_job(pipeline, tiny_disk):
    """Data fit; what comes after them does not."""
    config = pipeline.folder / "config.yaml"
    pipeline.edit("data: results/data", f"data: {tiny_disk}/data", config)
    pipeline.edit("results: results", f"results: {tiny_disk}/results", config)
    lines = pipeline.run("--dry-run").stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("estimated "))
    stages = [line.split("  ")[0] for line in lines[start + 1 :]]
    assert stages[:-1] == [
        *("data", "statistics", "autoencoders", "latents", "emulators", "rollouts"),
        *("scores, frames", "report", "all"),
    ]
    assert lines[-1].startswith(f"on {tiny_disk}: 0.0")
    done = pipeline.run(check=False)
    assert done.returncode != 0
    said = [line for line in (done.stdout + done.stderr).splitlines() if "error: " in line]
    assert len(said) == 1
    assert f"error: {tiny_disk}: the run needs 0.0" in said[0]
    assert os.listdir(tiny_disk) == []
    done = pipeline.run("all_data", check=False)
    assert done.returncode == 0, done.stderr
    assert "data" not in {
        line.split("  ")[0] for line in pipeline.run("--dry-run").stdout.splitlines()[start:]
    }
