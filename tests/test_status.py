"""`lilas status`: of a run that is at work, of one that was stopped, of one that failed."""

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from conftest import Pipeline
from lilas import cli


@pytest.fixture
def status(monkeypatch, capsys):
    """What `lilas status` prints of a pipeline's miniature."""

    def run(pipeline: Pipeline) -> str:
        monkeypatch.chdir(pipeline.folder)
        for name, value in pipeline.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["lilas", "status", pipeline.study.name])
        cli.main()
        return capsys.readouterr().out

    return run


def rows(text: str) -> dict[str, list[str]]:
    """The words of the table's rows by rule."""
    lines = text.split("\n\n")[1].splitlines()[1:]
    return {line.split()[0]: line.split()[1:] for line in lines}


def test_done_stale_and_failed(miniature, tmp_path, status):
    pipeline = miniature.copy(tmp_path / "pipeline")
    text = status(pipeline)
    assert re.match(r"results/miniature: (\d+) of \1 jobs are done, no run is at work\n", text)
    jobs = int(rows(text)["total"][0])
    assert list(rows(text))[:3] == ["simulate", "statistics", "baselines"]

    latents = pipeline.results / "convection" / "c16-s0" / "latents"
    (latents / "train.json").unlink()
    shutil.rmtree(latents / "valid.zarr")
    gone = status(pipeline)
    assert "done:\n  latents convection/c16-s0/latents: deleted: train.json, valid.json; " in gone
    assert rows(gone) == rows(text)
    shutil.copytree(
        miniature.results / "convection", pipeline.results / "convection", dirs_exist_ok=True
    )

    with open(pipeline.study, "a") as study:
        study.write("figures: {trajectories: 2}\n")
    text = status(pipeline)
    assert rows(text)["figures"] == rows(text)["report"] == ["1", "1"]
    assert rows(text)["statistics"] == ["1", "1"]
    why = "its settings or its stage's version changed"
    assert f"stale:\n  evaluate convection/c16-s0/diffusion-s0/ab4: {why}\n" in text
    assert int(rows(text)["total"][1]) < jobs

    run = pipeline.results / "convection" / "c16-s0" / "diffusion-s0"
    (run / "ab4" / "rollouts.json").unlink()
    (run / "weights.safetensors").write_bytes(b"damaged")
    os.utime(run / "weights.safetensors", (0, 0))
    assert pipeline.run(check=False).returncode == 1
    text = status(pipeline)
    assert "failed:\n  rollout convection/c16-s0/diffusion-s0/ab4: " in text
    assert "rollout.log ends with\n    error: " in text
    assert "weights.safetensors" in text.split("failed:")[1]
    assert int(rows(text)["total"][0]) == jobs


def test_running_then_stopped(pipeline, status):
    """A training that is at work tells its step; after a kill the step that it goes on from."""
    pipeline.edit("steps: 8", "steps: 20000")
    process = subprocess.Popen(
        pipeline.command("all_autoencoder"),
        cwd=pipeline.folder,
        env=pipeline.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    live = pipeline.results / "convection" / "c16-s0" / "checkpoint" / "history.jsonl"
    try:
        while not (live.is_file() and live.read_text()):
            assert process.poll() is None
        text = status(pipeline)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert "a run is at work" in text
    line = next(line for line in text.splitlines() if "autoencoder convection/c16-s0:" in line)
    assert re.search(r"step \d+ of 20000, loss [\d.]+.* left$", line)
    assert rows(text)["emulator"][1:] == [rows(text)["emulator"][0]]
    text = status(pipeline)
    assert "no run is at work" in text
    assert re.search(r"autoencoder convection/c16-s0: stopped at step \d+ of 20000", text)
