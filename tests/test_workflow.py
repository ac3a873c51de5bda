"""The DAG's promises: what runs, what an edit reruns, what is refused, what a kill costs."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import forked
from campaign import campaign, differences, start
from conftest import ROOT, Pipeline, heed_interrupts, mounted
from lilas.records.provenance import VERSIONS

DOWNSTREAM = {"evaluate", "tables", "claims", "figures", "report"}
SCORED = {"baselines", "reconstruction", "evaluate", "tables", "claims", "figures", "report"}


@pytest.mark.slow
def test_miniature_makes_every_artifact(request):
    # Not by argument, so that this test starts before those that need the miniature.
    miniature = request.getfixturevalue("miniature")
    dataset = miniature.results / "convection"
    for path in (
        "statistics.json",
        "baselines.parquet",
        "c16-s0/weights.safetensors",
        "c16-s0/weights_best.safetensors",
        "c16-s0/history.jsonl",
        "c16-s0/reconstruction.parquet",
        "c16-s0/latents/train.zarr/zarr.json",
        "c16-s0/latents/test.json",
        "c16-s0/diffusion-s0/ab4/rollouts.zarr/zarr.json",
        "c16-s0/diffusion-s0/ab4/metrics.parquet",
        "c16-s0/diffusion-s0/back/temperature.json",
        "c16-s0/solver-s0/direct/metrics.parquet",
        "pixel-s0/pixel_solver-s0/direct/metrics.parquet",
        "pixel-s0/pixel_solver-s0/direct/frames.zarr/zarr.json",
    ):
        assert (dataset / path).is_file(), path
    # Pixel space writes no copy of the data.
    assert not (dataset / "pixel-s0/latents/train.zarr").exists()
    for path in (
        "tables/horizons.csv",
        "tables/table6_vrmse.tex",
        "tables/methods.csv",
        "tables/methods_cost.csv",
        "claims.json",
        "claims.csv",
        "figures/rollout_convection_0_buoyancy.pdf",
        "figures/video_convection_0.gif",
        "report.html",
        "claims.html",
        "methods.html",
    ):
        assert (miniature.results / path).is_file(), path
    assert list(miniature.folder.rglob("*.part")) == []
    assert list((dataset / "c16-s0/latents").glob(".*")) == []


def test_miniature_latents_are_the_encoded_data(miniature):
    """Every trajectory of the store is the encoding of its trajectory in the files."""
    import torch

    from lilas.data.augment import Transformation, apply
    from lilas.data.preprocess import Preprocessing
    from lilas.data.states import Pixels
    from lilas.data.well import open_files
    from lilas.models.build import load_autoencoder

    dataset = miniature.results / "convection"
    files = sorted(miniature.folder.glob("results/data/*/*/data/train/*.hdf5"))
    opened = open_files(files, ["buoyancy", "pressure", "velocity"])
    preprocessing = Preprocessing.read(dataset / "statistics.json")
    pixels = Pixels(opened, preprocessing, {"Rayleigh": "log", "Prandtl": "log"})
    weights = dataset / "c16-s0/weights.safetensors"
    model = load_autoencoder(weights, opened[0], torch.device("cpu"))
    store = xr.open_zarr(dataset / "c16-s0/latents/train.zarr")
    assert store["latent"].dims[:4] == ("augmentation", "trajectory", "time", "channel")
    assert store.attrs["compression"] == 16
    assert store.sizes["augmentation"] == 2
    for copy, row in [(0, 0), (0, 5), (1, 2), (1, 4)]:
        one = store.isel(augmentation=copy, trajectory=row).compute()
        moved = Transformation(
            tuple(one["flip"].values.tolist()),
            tuple(one["roll"].values.tolist()),
            tuple(one["permutation"].values.tolist()),
        )
        states = apply(torch.from_numpy(pixels.truth(row)), moved, opened[0].channels, None)
        with torch.inference_mode():
            z = model.encode(preprocessing.forward(states, channel_axis=1)).numpy()
        np.testing.assert_allclose(one["latent"].values, z, rtol=0, atol=1e-5)
        assert one["file"].item() == pixels.origin(row)[0]
        np.testing.assert_allclose(one["label"].values, pixels.labels[row])
    assert store["Rayleigh"].values.tolist() == [2e4] * 3 + [5e4] * 3
    np.testing.assert_allclose(store["time"].values, 2.0 + 0.25 * np.arange(12))


RUNS = ("c16-s0/solver-s0/direct", "pixel-s0/pixel_solver-s0/direct")


@pytest.mark.parametrize("run", RUNS)
def test_rollouts_know_their_trajectories(miniature, run):
    """In latent space they know from the latents, in pixel space from the data files."""
    store = xr.open_zarr(miniature.results / "convection" / run / "rollouts.zarr")
    names = ["Rayleigh_2e4.hdf5"] * 2 + ["Rayleigh_5e4.hdf5"] * 2
    assert store["file"].values.tolist() == names
    assert store["index_in_file"].values.tolist() == [0, 1, 0, 1]


def test_test_files_in_another_order_are_refused(miniature, tmp_path):
    """By the stage that compares rollouts with them, run by hand."""
    dataset = miniature.results / "convection"
    weights, rollouts = dataset / "c16-s0/weights.safetensors", dataset / RUNS[0] / "rollouts.json"
    files = sorted(map(str, miniature.folder.glob("results/data/*/*/data/test/*.hdf5")))
    fields = ["buoyancy", "pressure", "velocity"]
    evaluation = {"start": 0, "horizons": [[1, 8]]}
    config = {"states": {"fields": fields}, "stride": 1, "evaluation": evaluation}
    config["names"] = {"dataset": "a", "autoencoder": "b", "emulator": "c", "sampler": "d"}
    config["names"]["method"] = "solver"
    config["figures"] = {"trajectories": 1}
    for test in (files, files[::-1]):
        line = [sys.executable, "-m", "lilas.stages.evaluate", "rollouts", "--test", *test]
        line += ["--config", json.dumps(config), "--statistics", str(dataset / "statistics.json")]
        line += ["--autoencoder", str(weights), "--rollouts", str(rollouts)]
        line += ["--output", str(tmp_path / "metrics.parquet")]
        line += ["--frames", str(tmp_path / "frames.json")]
        done = subprocess.run(
            line, env=miniature.environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode == 0) == (test == files), done.stderr
        assert (tmp_path / "frames.json").is_file()
    assert "trajectory 0 is trajectory 0 of Rayleigh_5e4.hdf5" in done.stderr
    assert "a rollout 0 of trajectory 0 of Rayleigh_2e4.hdf5" in done.stderr


def test_metrics_cover_every_run_field_and_lead_time(miniature):
    paths = sorted(miniature.results.rglob("*.parquet"))
    table = pd.concat([pd.read_parquet(path) for path in paths])
    assert set(table["emulator"]) == {
        "persistence",
        "climatology",
        "reconstruction",
        "truth",
        "diffusion-s0",
        "solver-s0",
        "pixel_solver-s0",
    }
    vrmse = table[table["metric"] == "vrmse"]
    # 4 trajectories, 4 channels, 8 lead times, of 2 baselines from the step and in the direction of
    # each of 2 samplers, 2 autoencoders and 4 rollouts.
    assert len(vrmse[vrmse["relative_to"] == "truth"]) == 4 * 4 * 8 * (2 * 2 + 2 + 4)
    # Rollouts are compared with the auto-encoded truth as well.
    assert len(vrmse) == 4 * 4 * 8 * (10 + 4)
    assert np.isfinite(table["value"]).all()
    # Pixel space reconstructs exactly.
    pixel = vrmse[(vrmse["emulator"] == "reconstruction") & (vrmse["autoencoder"] == "pixel-s0")]
    assert pixel["value"].max() < 1e-3


def test_nothing_is_left_to_do_after_a_run_with_a_cluster_of_dask_or_without(miniature, tmp_path):
    twin = miniature.copy(tmp_path / "twin")
    assert twin.planned() == {}
    twin.edit("dask: null", "dask: tcp://127.0.0.1:8786", twin.folder / "config.yaml")
    assert twin.planned() == {}


def test_jobs_of_statistics_and_scores_are_told_the_cluster_of_dask(pipeline):
    pipeline.edit("dask: null", "dask: tcp://127.0.0.1:8786", pipeline.folder / "config.yaml")
    output = pipeline.run("--dry-run", "--printshellcmds").stdout
    told = [line for line in output.splitlines() if "--dask tcp://127.0.0.1:8786 " in line]
    assert {re.search(r"lilas\.stages\.(\w+( \w+)?)", line)[1] for line in told} == {
        *("statistics", "evaluate baselines", "evaluate reconstruction", "evaluate rollouts")
    }


@pytest.mark.parametrize(
    ("old", "new", "rules"),
    [
        ("samplers:\n  ab4", "figures: {dpi: 60}\nsamplers:\n  ab4", {"figures", "report"}),
        ("samplers:\n  ab4", "figures: {trajectories: 2}\nsamplers:\n  ab4", DOWNSTREAM),
        ("members: 2", "members: 3", {"tune", "rollout", *DOWNSTREAM}),
        ("[0.8, 1.25]", "[0.8, 1.5]", {"tune", "rollout", *DOWNSTREAM}),
        (
            "horizons: [[1, 3], [4, 8]]",
            "horizons: [[1, 4], [5, 8]]",
            {"tables", "claims", "figures", "report"},
        ),
        (
            "convection: {train: {optimizer: soap, precondition_every: 2}}",
            "convection: {train: {optimizer: soap, precondition_every: 2, learning_rate: 2e-3}}",
            {
                "autoencoder",
                "latents",
                "emulator",
                "tune",
                "rollout",
                "reconstruction",
                *DOWNSTREAM,
            },
        ),
        ("loss: vmse", "loss: mse", {"emulator", "rollout", *DOWNSTREAM}),
        ("velocity: U", "velocity: m s-1", {"evaluate", "tables", "claims", "figures", "report"}),
        ("# The miniature", "# A comment in the study", {"report"}),
    ],
    ids=[
        *(
            "plot",
            "frames",
            "sampler",
            "temperatures",
            "horizons",
            "learning-rate",
            "one-emulator",
            "units",
        ),
        "comment",
    ],
)
def test_an_edit_reruns_what_depends_on_it(miniature, tmp_path, old, new, rules):
    twin = miniature.copy(tmp_path / "twin")
    twin.edit(old, new)
    planned = twin.planned()
    assert set(planned) == rules
    if "0.8" in old:
        # The other samplers have no part in it.
        assert (planned["tune"], planned["rollout"], planned["evaluate"]) == (1, 1, 1)
    if "loss" in old:
        assert planned["emulator"] == 1
        assert planned["rollout"] == 1
    if old.startswith("convection"):
        # Pixel space has its own autoencoder: its emulator stays.
        assert planned["autoencoder"] == 1
        assert planned["emulator"] == 2


def test_other_frames_are_no_reason_to_evaluate_again(miniature, tmp_path):
    twin = miniature.copy(tmp_path / "twin")
    twin.edit("samplers:\n  ab4", "figures: {trajectories: 2}\nsamplers:\n  ab4")
    twin.run("results/miniature/convection/c16-s0/solver-s0/direct/frames.json")
    before, after = (p.results / "convection" / RUNS[0] for p in (miniature, twin))
    assert xr.open_zarr(after / "frames.zarr").sizes["trajectory"] == 2
    assert (after / "metrics.parquet").read_bytes() == (before / "metrics.parquet").read_bytes()
    log = twin.results / "logs" / "convection" / RUNS[0] / "evaluate.log"
    assert "evaluate rollouts" in (miniature.results / log.relative_to(twin.results)).read_text()
    assert "evaluate rollouts" not in log.read_text()


def test_units_of_the_study_are_those_of_frames_and_tables(miniature):
    """Of a vector, those of its components; of a metric without a unit, none."""
    frames = xr.open_zarr(miniature.results / "convection" / RUNS[0] / "frames.zarr")
    assert frames["unit"].values.tolist() == ["", "", "U", "U"]
    assert frames["y"].attrs["units"] == "H"
    table = pd.read_csv(miniature.results / "tables/horizons.csv", keep_default_na=False)
    found = {key: set(rows["unit"]) for key, rows in table.groupby(["metric", "field"])}
    assert found["rmse", "velocity_x"] == found["crps", "velocity_y"] == {"U"}
    assert found["rmse", "pressure"] == {""}
    assert found["vrmse", ""] == {"1"}
    text = (miniature.results / "tables/horizons.md").read_text()
    assert "| velocity_x (U) |" in text.split("### rmse")[1].split("###")[0]


# Room for a train file, and for both of the smaller valid or test files.
CUT = "JOB_BYTES = 4e9", "JOB_BYTES = 4e5"


def test_jobs_cut_otherwise_make_the_same_and_rerun_nothing(miniature, tmp_path):
    twin = miniature.copy(tmp_path / "twin")
    twin.edit(*CUT, twin.folder / "src" / "lilas" / "plan" / "__init__.py")
    # Results keep the cut that they were begun with.
    assert twin.planned() == {}
    (twin.results / "study.json").unlink()
    folder = twin.results / "convection" / "c16-s0" / "latents"
    shutil.rmtree(folder)
    planned = twin.planned("all_latents")
    assert planned == {"latents_create": 1, "latents_write": 4, "latents": 1, "all_latents": 1}
    twin.run("all_latents")
    for split in ("train", "valid", "test"):
        made = miniature.results / "convection" / "c16-s0" / "latents" / f"{split}.json"
        assert (folder / made.name).read_bytes() == made.read_bytes()
        one, other = (
            xr.open_zarr(path.with_suffix(".zarr")) for path in (made, folder / made.name)
        )
        xr.testing.assert_identical(one.load(), other.load())
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        path.name for path in made.parent.iterdir()
    )


def test_code_edits_rerun_nothing_unless_their_version_is_raised(miniature, tmp_path):
    twin = miniature.copy(tmp_path / "twin")
    training = twin.folder / "src" / "lilas" / "training" / "loop.py"
    training.write_text(training.read_text() + "\n\ndef moved():\n    return 1\n")
    metrics = twin.folder / "src" / "lilas" / "evaluation" / "metrics.py"
    metrics.write_text("# A comment.\n" + metrics.read_text())
    assert twin.planned() == {}
    version = f'"evaluate": {VERSIONS["evaluate"]}'
    twin.edit(
        version, '"evaluate": 1000', twin.folder / "src" / "lilas" / "records" / "provenance.py"
    )
    assert set(twin.planned()) == SCORED


TOY = """

def toy(c: Comparison) -> Tensor:
    return 7 + 0 * c.mse
"""
ENTRY = """        Metric("toy", later(f"{_FIELD}:toy"), "7", "1", "lower", "a test"),
"""


def test_a_new_metric_is_an_entry_and_a_function_and_samples_nothing(miniature, tmp_path):
    twin = miniature.copy(tmp_path / "twin")
    evaluation = twin.folder / "src" / "lilas" / "evaluation"
    scores, metrics = evaluation / "field_scores.py", evaluation / "metrics.py"
    scores.write_text(scores.read_text() + TOY)
    first = "    for metric in (\n"
    metrics.write_text(metrics.read_text().replace(first, first + ENTRY, 1))
    assert set(twin.planned()) == SCORED
    made = {path: path.stat().st_mtime_ns for path in twin.folder.rglob("*.safetensors")}
    made |= {path: path.stat().st_mtime_ns for path in twin.folder.rglob("rollouts.json")}
    twin.run()
    assert made == {path: path.stat().st_mtime_ns for path in made}
    table = pd.read_csv(twin.results / "tables/horizons.csv").query("metric == 'toy'")
    # Every run, relative to the truth and to the autoencoder, and in both horizons.
    assert len(table) == 2 * (2 * 2 + 2 + 2 * 4)
    assert (table["value"] == 7).all()
    assert (table["low"] == 7).all()
    assert "toy" in (twin.results / "report.html").read_text()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("latent_channels: 4", "latent_chanels: 4", ["autoencoders.c16", "latent_chanels"]),
        ("algorithm: ab,", "algorithm: abc,", ["samplers.ab4.algorithm", "eab", "direct"]),
        ("augment: {", "stride: 3\n    augment: {", ["datasets.convection.stride", "at most"]),
        ("latent_channels: 4", "latent_channels: 65", ["latent_channels 65", "at most 64"]),
        ("samplers: [ab4, back]", "samplers: [ab5]", ["diffusion.samplers", "ab4, back, direct"]),
        ("[4, 8]", "[4, 12]", ["datasets.convection.evaluation", "at most 11"]),
        ("velocity: U", "velocty: U", ["datasets.convection.units", "velocty", "'velocity'"]),
        ("buoyancy,", "bouyancy,", ["bouyancy", "buoyancy, pressure, velocity"]),
        ("kind: simulate", "kind: simulated", ["datasets.convection.source", "simulate"]),
        ("algorithm: direct", "algorithm: ab", ["emulators.solver.samplers", "method 'solver'"]),
        ("{optimizer: soap", "{optimiser: soap", ["per_dataset.convection", "optimizer"]),
        ("roll: [x]", "rol: [x]", ["datasets.convection.augment", "rol"]),
        ("samplers:\n  ab4", "figures: {}\nfigures: {}\nsamplers:\n  ab4", ["'figures'", "second"]),
    ],
)
def test_a_bad_study_is_refused_before_the_dag(pipeline, old, new, words):
    pipeline.edit(old, new)
    done = pipeline.run("--dry-run", check=False)
    assert done.returncode != 0
    message = [line for line in (done.stdout + done.stderr).splitlines() if "error" in line]
    assert 1 <= len(message) <= 2, done.stderr
    for word in words:
        assert word in message[0]


def test_an_unknown_study_or_key_is_refused(pipeline):
    done = pipeline.snakemake("-n", "--config", "study=lapptop")
    assert done.returncode != 0
    studies = ("ablation", "demo_euler", "guidance", "laptop", "paper", "released", "timing")
    assert all(f"{name}, " in done.stderr for name in studies)
    pipeline.edit("device: auto", "devise: auto", pipeline.folder / "config.yaml")
    done = pipeline.run("-n", check=False)
    assert done.returncode != 0
    assert "did you mean 'device'" in done.stderr


def test_a_device_that_is_not_there_is_refused_before_the_first_job(pipeline):
    """Not in a plan, which may be of jobs that a cluster runs."""
    assert (
        pipeline.snakemake("-n", "--config", "study=miniature.yaml", "device=cuda:77").returncode
        == 0
    )
    done = pipeline.snakemake("--cores", "1", "--config", "study=miniature.yaml", "device=cuda:77")
    assert done.returncode != 0
    assert "device: cuda:77 is not there" in done.stderr
    assert not pipeline.results.exists()


@pytest.mark.skipif(find_spec("wandb") is not None, reason="wandb is installed")
def test_a_tracker_that_is_not_installed_is_refused_before_the_first_job(pipeline):
    done = pipeline.snakemake("--cores", "1", "--config", "study=miniature.yaml", "tracker=wandb")
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith(
        "error: tracker: wandb is not installed. Run `make install EXTRAS=wandb`"
    )
    assert not (pipeline.folder / "results" / "data").exists()


def test_to_compile_without_a_compiler_is_refused_before_the_first_job(pipeline):
    pipeline.edit("    loss: vmse", "    loss: vmse\n    train: {<<: *train, compile: true}")
    pipeline.environment |= {"CXX": "no-such-compiler"}
    done = pipeline.run("--config", "study=miniature.yaml", "device=cpu", check=False)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "compile: the compiler 'no-such-compiler' does not compile" in line
    assert not pipeline.results.exists()


def test_a_user_without_a_name_can_plan(pipeline):
    """Those of containers are numbers, of which the system knows no name."""
    alone = ["unshare", "-U", "--map-user=54321", "--map-group=54321"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"]).returncode:
        pytest.skip("another user's number needs user namespaces")
    names = ("LOGNAME", "USER", "LNAME", "USERNAME")
    environment = {k: v for k, v in pipeline.environment.items() if k not in names}
    line = [*alone, *pipeline.command("--dry-run")]
    done = subprocess.run(
        line, cwd=pipeline.folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_key_twice_in_the_configuration_is_refused(pipeline):
    pipeline.edit("device: auto", "device: auto\ndevice: cpu", pipeline.folder / "config.yaml")
    done = pipeline.run("-n", check=False)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "has the key 'device' a second time" in line


def test_what_looks_like_a_number_on_the_command_line_is_text(pipeline):
    done = pipeline.snakemake("-n", "--config", "study=miniature.yaml", "results=1e3")
    assert done.returncode == 0, done.stderr
    assert " 1e3/miniature/report.html" in done.stdout


def test_the_results_of_another_study_are_refused(miniature, tmp_path):
    twin, other = miniature.copy(tmp_path / "twin"), tmp_path / "miniature.yaml"
    # The same study, moved, is none; the report shows its file.
    other.write_text(miniature.study.read_text())
    done = twin.snakemake("-n", "--config", f"study={other}")
    assert done.returncode == 0
    stats = done.stdout.split("Job stats:")[1].split("total")[0]
    assert sorted(re.findall(r"^\w+", stats, re.MULTILINE)) == ["all", "job", "report"]
    other.write_text(f"# Edited.\n{miniature.study.read_text()}")
    done = twin.snakemake("-n", "--config", f"study={other}")
    assert done.returncode != 0
    assert "holds the results of" in done.stderr


def test_an_unwritable_results_folder_is_refused(pipeline):
    pipeline.edit("results: results", "results: /proc/nowhere", pipeline.folder / "config.yaml")
    done = pipeline.run("-n", check=False)
    assert done.returncode != 0
    assert "a folder to write to" in done.stderr


def test_a_run_in_a_folder_that_may_not_be_written_to_says_where_to_run(pipeline, tmp_path):
    """Such as another user's clone: Snakemake keeps its records there."""
    words = ["-n", "--cores", "1", "--snakefile", str(pipeline.folder / "Snakefile")]
    words += ["--config", f"study={pipeline.study}", f"results={tmp_path}/results"]
    with mounted(tmp_path / "clone", "ro") as folder:
        done = forked.snakemake(words, folder, pipeline.environment)
    assert done.returncode != 0
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f"error: {folder}: expected a folder to write to")
    assert line.endswith(f"in a folder of your own: snakemake {' '.join(words[3:5])} …")


def test_two_runs_at_once_are_told_apart(pipeline):
    target = "results/miniature/convection/c16-s0/weights.safetensors"
    first = start(pipeline, target)
    try:
        wait_for(lambda: (pipeline.results / "study.json").is_file(), first)
        second = pipeline.run(target, check=False)
        assert second.returncode != 0
        assert "another run is at work here" in second.stdout + second.stderr
    finally:
        first.wait()
    assert first.returncode == 0


def test_an_interrupted_run_says_how_to_go_on(pipeline):
    """Ctrl-C interrupts the run and all of its jobs."""
    process = subprocess.Popen(
        pipeline.command(),
        cwd=pipeline.folder,
        env=pipeline.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )
    wait_for(lambda: any(pipeline.folder.glob("results/data/*/*/logs/simulate_*.log")), process)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate()
    assert process.returncode == 1
    assert said.splitlines()[-1] == (
        "What is finished is kept: the same command goes on from there."
    )
    assert "Traceback" not in said


@pytest.mark.slow
def test_ended_at_random_it_finishes_to_the_same_bits(miniature, tmp_path):
    """By each signal twice, in a stage after the other: tests/campaign.py, which ends more."""
    ended, faults = campaign(tmp_path, miniature, count=8, seed=0)
    assert faults == []
    assert ended.total() == 8
    finished = Pipeline(tmp_path / "0")
    table = "tables/horizons.csv"
    (finished.results / table).write_text("")
    assert differences(miniature, finished) == [f"{table}: text differs"]


def wait_for(condition, process: subprocess.Popen, seconds: float = 240) -> None:
    for _ in range(int(seconds / 0.02)):
        if condition() or process.poll() is not None:
            return
        time.sleep(0.02)
    raise AssertionError("it did not come to that")


def test_a_dry_run_of_the_larger_studies_plans_every_stage(pipeline, tmp_path: Path):
    jobs = {}
    for study in ("demo", "laptop", "paper"):
        done = pipeline.snakemake("-n", "--config", f"study={study}", f"results={tmp_path}")
        assert done.returncode == 0, done.stderr
        jobs[study] = planned_jobs(done.stdout)
        assert {"autoencoder", "latents", "emulator", "rollout", "evaluate"} <= set(jobs[study])
    # Small data are worth one process, a download many.
    assert jobs["demo"]["total"] <= 29
    assert "latents_write" not in jobs["demo"]
    assert jobs["paper"]["latents_write"] > 100
    # What is told of the paper's own.
    text = (ROOT / "docs" / "paper.md").read_text()
    assert f"study=paper` plans {jobs['paper']['total']}\njobs:" in text
    parts = re.findall(r"\| ([\d +·]+) \|\n", text.split("| | jobs |")[1].split("`released`")[0])
    terms = [term.split("·") for part in parts for term in part.split("+")]
    assert sum(math.prod(map(int, term)) for term in terms) == jobs["paper"]["total"]


def planned_jobs(output: str) -> dict[str, int]:
    """The jobs of a dry run by rule, from what it printed first."""
    stats = output.split("Job stats:")[1].split("\n\n")[0]
    return {line.split()[0]: int(line.split()[1]) for line in stats.splitlines()[3:]}


def test_the_released_study_trains_nothing_and_needs_the_test_split_alone(pipeline, tmp_path):
    for target, files in (("all", 82), ("all_latents", 82), ("all_data", 82)):
        done = pipeline.snakemake("-n", target, "--config", "study=released", f"results={tmp_path}")
        assert done.returncode == 0, done.stderr
        stats = done.stdout.split("Job stats:")[1].split("Reasons:")[0]
        jobs = {line.split()[0]: line.split()[-1] for line in stats.splitlines() if line.strip()}
        assert int(jobs["download"]) == files
        assert not {"statistics", "autoencoder", "emulator"} & set(jobs)
        if target == "all":
            counts = [jobs[rule] for rule in ("fetch", "given_autoencoder", "given_emulator")]
            assert counts == ["29", "11", "20"]
            told = f"`released` plans {jobs['total']}: "
            assert told in (ROOT / "docs" / "paper.md").read_text()
