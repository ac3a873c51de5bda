"""The pipeline through a real Slurm: `make test-slurm`."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
import yaml
from safetensors.numpy import load_file

import cluster
from conftest import Pipeline, heed_interrupts
from test_status import rows

pytestmark = pytest.mark.skipif("LILAS_TEST_SLURM" not in os.environ, reason="make test-slurm")

RUN = "convection/c16-s0"
# Few jobs for Slurm, since each takes seconds to start: all before the training, and all after it.
GROUPS = {
    "data": ("simulate", "statistics"),
    "rest": (
        *("latents", "emulator", "rollout", "evaluate", "reconstruction", "baselines"),
        *("tables", "claims", "figures", "report"),
    ),
}
# Time limits here are shorter than the notice that the profile asks for.
QUICK = [
    *("--workflow-profile", "slurm", "--latency-wait", "10"),
    *("--default-resources", "slurm_partition=up"),
    *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"),
]


@pytest.fixture(scope="module")
def machine() -> Iterator[cluster.Cluster]:
    assert find_spec("snakemake_executor_plugin_slurm"), "make install EXTRAS=slurm"
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(cluster.running())
        except cluster.UnavailableError as error:
            pytest.skip(str(error))
        yield found


@pytest.fixture(scope="module")
def slurm(machine) -> dict[str, str]:
    """The environment of its users."""
    return machine.environment


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Pipeline:
    """The miniature with one autoencoder and one emulator, whose first training takes seconds."""
    pipeline = Pipeline(tmp_path_factory.mktemp("slurm") / "pipeline").lay_out()
    study = yaml.safe_load(pipeline.study.read_text())
    coder = study["autoencoders"]["c16"]
    del coder["per_dataset"]
    study["autoencoders"] = {"c16": coder}
    study["emulators"] = {"diffusion": study["emulators"]["diffusion"] | {"samplers": ["ab4"]}}
    study["samplers"] = {"ab4": study["samplers"]["ab4"]}
    coder["train"] |= {"steps": 400, "validate_every": 200}
    pipeline.study.write_text(yaml.safe_dump(study))
    config = pipeline.folder / "config.yaml"
    pipeline.edit("device: auto", "device: cpu", config)
    pipeline.edit("checkpoint_seconds: 0", "checkpoint_seconds: 0.3", config)
    return pipeline


@pytest.fixture
def snakemake(slurm) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts Snakemake on the cluster; it ends with the test."""
    begun = []

    def start(pipeline: Pipeline, *arguments: str) -> subprocess.Popen:
        line = ["snakemake", *QUICK, *arguments, "--config", f"study={pipeline.study.name}"]
        begun.append(
            subprocess.Popen(
                line,
                cwd=pipeline.folder,
                env=of_users(pipeline, slurm),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                preexec_fn=heed_interrupts,
            )
        )
        return begun[-1]

    yield start
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def of_users(pipeline: Pipeline, slurm: dict[str, str]) -> dict[str, str]:
    folder = Path(slurm["SLURM_CONF"]).parent
    path = f"{folder}/bin{os.pathsep}{pipeline.environment['PATH']}"
    return pipeline.environment | {"SLURM_CONF": slurm["SLURM_CONF"], "PATH": path}


def status(pipeline: Pipeline, slurm: dict[str, str]) -> str:
    """What `lilas status` prints, on a login node."""
    line = ["lilas", "status", pipeline.study.name]
    settings = {"cwd": pipeline.folder, "env": of_users(pipeline, slurm)}
    return subprocess.run(line, **settings, capture_output=True, text=True, check=True).stdout


def ask(slurm: dict[str, str], *line: str) -> str:
    return subprocess.run(line, env=slurm, capture_output=True, text=True, check=True).stdout


def wait_for(found, process: subprocess.Popen, seconds: float = 240):
    """Returns what is found as soon as it is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if value := found():
            return value
        time.sleep(0.02)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    raise AssertionError(f"it did not come to that:\n{process.communicate()[0]}")


def test_what_ends_a_training_costs_little_and_all_is_as_without_slurm(
    small, machine, slurm, snakemake
):
    """Its walltime, its node, and then somebody for good; meanwhile the same runs here.

    It stands still until Slurm ends it, a minute after its start, and its node vanishes.
    """
    local = small.copy(small.folder.with_name("local"))
    groups = [f"{rule}={group}" for group, rules in GROUPS.items() for rule in rules]
    line = (small, "--groups", *groups, "--group-components", "data=10", "rest=20")
    process = snakemake(*line, "--retries", "1", "--set-resources", "autoencoder:runtime=1")
    checkpoint = small.results / RUN / "checkpoint" / "checkpoint.pt"
    wait_for(checkpoint.exists, process)
    stand_still(first := training(small))
    reached = step(checkpoint)
    assert 0 < reached < 400
    text = status(small, slurm)
    assert rows(text)["statistics"] == ["1", "1"]
    (told,) = text.split("\nrunning:\n")[1:]
    assert re.match(r"  autoencoder convection/c16-s0: step \d+ of 400, loss .* left\n", told)
    assert re.search(r"^    job \d+ of Slurm, on \S+$", told, re.MULTILINE)
    here = ThreadPoolExecutor(1).submit(local.run)
    # When its time is up the first one saves what it has done.
    second = wait_for(lambda: training(small) not in (None, first) and training(small), process)
    reached = step(checkpoint)
    wait_for(lambda: step(checkpoint) > reached, process)
    stand_still(second)
    reached = step(checkpoint)
    machine.vanish()
    queue = ("squeue", "--noheader", "--states", "PENDING", "--format", "%i")
    job = wait_for(lambda: ask(slurm, *queue).strip(), process)
    text = status(small, slurm)
    told = text.split("\nwaiting:\n")[1].splitlines()[0]
    assert re.match(r"  autoencoder \S+ stopped at step \d+ of 400, ", told)
    assert f" left, job {job} of Slurm waits (" in told
    assert "a run is at work" in text
    machine.come_back()
    # By itself it would begin in two minutes; at once, its node might still end it.
    ask(slurm, "scontrol", "update", f"JobId={job}", "StartTime=now+10")
    wait_for(lambda: step(checkpoint) > reached, process)
    os.kill(training(small), signal.SIGKILL)
    reached = step(checkpoint)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert "SLURM status is: 'TIMEOUT'" in said
    assert said.splitlines()[-1] == "What is finished is kept: the same command goes on from there."
    text = status(small, slurm)
    told = f"  autoencoder convection/c16-s0: job {job} of Slurm has ended (FAILED), "
    assert text.split("\nfailed:\n")[1].startswith(told)
    said, _ = (process := snakemake(*line)).communicate(timeout=400)
    assert process.returncode == 0, said
    here.result()
    # Its log is of what came after.
    log = (small.results / "logs" / RUN / "autoencoder.log").read_text()
    assert int(re.findall(r"(\d+)/400", log)[0]) >= reached
    weights = [path.relative_to(local.results) for path in local.results.rglob("weights*")]
    assert len(weights) == 4
    for path in weights:
        ours, theirs = load_file(local.results / path), load_file(small.results / path)
        assert ours.keys() == theirs.keys()
        assert all((ours[key] == theirs[key]).all() for key in ours), path
    for path in ("latents/train.zarr", "diffusion-s0/ab4/rollouts.zarr"):
        stores = [xr.open_zarr(one.results / RUN / path) for one in (local, small)]
        np.testing.assert_array_equal(*[store["latent"].values for store in stores])
    scores = [path.relative_to(local.results) for path in local.results.rglob("*.parquet")]
    assert len(scores) == 3
    for path in scores:
        pd.testing.assert_frame_equal(
            *(pd.read_parquet(one.results / path) for one in (local, small)), check_exact=True
        )
    csv = "tables/horizons.csv"
    assert (small.results / csv).read_text() == (local.results / csv).read_text()
    # Slurm had as much to say as a run here: nothing is left to do.
    assert small.planned() == {}


def training(pipeline: Pipeline) -> int | None:
    """The process that trains, if there is one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            here = os.readlink(folder / "cwd") == str(pipeline.folder)
            if here and words[1:3] == [b"-m", b"lilas.stages.autoencoder"]:
                found.append(int(folder.name))
    return found[0] if len(found) == 1 else None


def stand_still(process: int) -> None:
    os.kill(process, signal.SIGSTOP)
    stat = Path(f"/proc/{process}/stat")
    while stat.read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.01)


def step(checkpoint: Path) -> int:
    """That of a checkpoint, or of the one before, while a new one takes its place."""
    for path in (checkpoint, checkpoint.with_name("checkpoint.before.pt")):
        with contextlib.suppress(FileNotFoundError):
            return torch.load(path, weights_only=True)["step"]
    return 0


def test_eight_gpus_are_asked_for_as_slurm_has_them(small, slurm, snakemake, tmp_path):
    """A training whose partition is down: it waits, and Slurm tells what for."""
    copy = small.copy(tmp_path / "copy")
    copy.edit("threads: 1", "threads: null")
    asked = ["autoencoder:gpu=8", "autoencoder:slurm_partition=down", "autoencoder:runtime=90"]
    weights = copy.results.relative_to(copy.folder) / RUN / "weights.safetensors"
    process = snakemake(copy, str(weights), "--set-resources", *asked)
    queue = ("squeue", "--noheader", "--partition", "down", "--format", "%i")
    job = wait_for(lambda: ask(slurm, *queue).strip(), process)
    told = dict(
        one.split("=", 1)
        for one in ask(slurm, "scontrol", "show", "job", job).split()
        if "=" in one
    )
    text = status(copy, slurm)
    assert f"waiting:\n  autoencoder convection/c16-s0: job {job} of Slurm waits (" in text
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert told["TresPerJob"] == "gres:gpu:8"
    # One task, that torchrun multiplies, with eight cores for each GPU.
    assert (told["NumTasks"], told["CPUs/Task"], told["NumCPUs"]) == ("1", "64", "64")
    assert told["TimeLimit"] == "01:30:00"
    # A process and what is beside it for each GPU, a fifth more.
    assert 8 * 5 * 1.2 <= float(told["MinMemoryNode"].removesuffix("M")) / 1000 < 60
    assert said.splitlines()[-1] == "What is finished is kept: the same command goes on from there."
    assert ask(slurm, *queue) == ""


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        (["slurm_partition=nowhere"], "Invalid partition name specified"),
        (["slurm_partition=up", "constraint=quick"], "Invalid feature specification"),
        (["slurm_partition=up", "slurm_account=nobody"], "Invalid account or account/partition"),
    ],
)
def test_what_slurm_refuses_is_told_in_a_line_before_the_first_job(
    pipeline, snakemake, resources, words
):
    arguments = ("all_statistics", "--default-resources", *resources)
    said, _ = (process := snakemake(pipeline, *arguments)).communicate(timeout=120)
    assert process.returncode == 1
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert said.rstrip().endswith(line)
    assert re.match(r"error: Slurm refuses jobs of (simulate|statistics) \(", line)
    assert words in line
    assert len(line) <= 300
    assert not (pipeline.folder / "results" / "data").exists()
