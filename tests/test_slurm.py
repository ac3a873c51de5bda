"""The pipeline through a real Slurm: `make test-slurm`."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from safetensors.numpy import load_file

import cluster
from conftest import Pipeline

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
def slurm() -> Iterator[dict[str, str]]:
    assert find_spec("snakemake_executor_plugin_slurm"), "make install EXTRAS=slurm"
    with contextlib.ExitStack() as stack:
        try:
            environment = stack.enter_context(cluster.running())
        except cluster.UnavailableError as error:
            pytest.skip(str(error))
        yield environment


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
    pipeline.edit("device: auto", "device: cpu", pipeline.folder / "config.yaml")
    return pipeline


def snakemake(pipeline: Pipeline, slurm: dict[str, str], *arguments: str) -> subprocess.Popen:
    """Starts Snakemake on the cluster."""
    line = ["snakemake", *QUICK, *arguments, "--config", f"study={pipeline.study.name}"]
    environment = pipeline.environment | {"SLURM_CONF": slurm["SLURM_CONF"]}
    environment["PATH"] = f"{Path(slurm['SLURM_CONF']).parent}/bin{os.pathsep}{environment['PATH']}"
    return subprocess.Popen(
        line,
        cwd=pipeline.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ask(slurm: dict[str, str], *line: str) -> str:
    return subprocess.run(line, env=slurm, capture_output=True, text=True, check=True).stdout


def wait_for(found, process: subprocess.Popen, seconds: float = 120):
    """Returns what is found as soon as it is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if value := found():
            return value
        time.sleep(0.02)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    raise AssertionError(f"it did not come to that:\n{process.communicate()[0]}")


def processes(*words: str) -> list[int]:
    """The processes whose command lines have all of these words."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if all(word in line for word in words):
                found.append(int(folder.name))
    return found


def test_a_training_cut_by_its_walltime_goes_on_and_all_is_as_without_slurm(small, slurm):
    """It stands still until Slurm ends it, a minute after its start; meanwhile it runs here."""
    local = small.copy(small.folder.with_name("local"))
    groups = [f"{rule}={group}" for group, rules in GROUPS.items() for rule in rules]
    process = snakemake(
        *(small, slurm, "--groups", *groups, "--group-components", "data=10", "rest=20"),
        *("--set-resources", "autoencoder:runtime=1"),
    )
    checkpoint = small.results / RUN / "checkpoint" / "checkpoint.pt"
    wait_for(checkpoint.exists, process)
    stage = ("-m lilas.stages.autoencoder", str(small.results.relative_to(small.folder)))
    (training,) = [
        one
        for one in processes(*stage)
        if os.readlink(f"/proc/{one}/cwd") == str(small.folder)
        and "python" in os.readlink(f"/proc/{one}/exe")
    ]
    os.kill(training, signal.SIGSTOP)
    begun = checkpoint.stat().st_mtime_ns
    local.run()
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert "TIMEOUT" in said or "'1'" in said, said
    assert begun < checkpoint.stat().st_mtime_ns
    log = (small.results / "logs" / RUN / "autoencoder.log").read_text()
    print(said, log)
    for path in local.results.rglob("weights*.safetensors"):
        ours, theirs = load_file(path), load_file(small.results / path.relative_to(local.results))
        assert ours.keys() == theirs.keys()
        assert all((ours[key] == theirs[key]).all() for key in ours), path
    for path in ("latents/train.zarr", "diffusion-s0/ab4/rollouts.zarr"):
        stores = [xr.open_zarr(one.results / RUN / path) for one in (local, small)]
        np.testing.assert_array_equal(*[store["latent"].values for store in stores])
    for path in local.results.rglob("*.parquet"):
        tables = [
            pd.read_parquet(p) for p in (path, small.results / path.relative_to(local.results))
        ]
        pd.testing.assert_frame_equal(*tables, check_exact=True)
    csv = "tables/horizons.csv"
    assert (small.results / csv).read_text() == (local.results / csv).read_text()
