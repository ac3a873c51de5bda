"""A training whose time is up: what SIGTERM leaves, and that the same command goes on."""

import json
import os
import signal
import time

import pytest
import torch
from safetensors.torch import load_file

from campaign import start
from test_trackers import tensorboard

RUN = "results/miniature/convection/c16-s0"
TARGET = f"{RUN}/weights.safetensors"


@pytest.mark.slow
def test_the_time_of_a_job_is_up(miniature, tmp_path):
    """Slurm tells every process of a job: Snakemake, the shell, the training and tee."""
    twins = [miniature.copy(tmp_path / name) for name in ("whole", "parts")]
    for twin in twins:
        twin.edit("optimizer: soap, precondition_every: 2", "steps: 300")
        config = twin.folder / "config.yaml"
        twin.edit("checkpoint_seconds: 0", "checkpoint_seconds: 3600", config)
    whole, parts = twins
    # What is tracked as it goes is the same to the bit, and shown once.
    parts.edit("tracker: none", "tracker: tensorboard", parts.folder / "config.yaml")
    whole.run(TARGET)
    process = start(parts, TARGET)
    saved = parts.folder / RUN / "checkpoint" / "checkpoint.pt"
    # That of the miniature lies there, too.
    course, before = saved.with_name("history.jsonl"), saved.read_bytes()
    while process.poll() is None and len(course.read_bytes().splitlines()) < 10:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(60) != 0
    assert saved.read_bytes() != before
    assert 0 < torch.load(saved)["step"] < 300
    log = parts.results / "logs" / "convection" / "c16-s0" / "autoencoder.log"
    assert log.read_text().splitlines()[-1] == "stopped; the same command goes on from here"
    assert not (parts.folder / TARGET).exists()
    parts.run(TARGET)
    one, other = (load_file(twin.folder / TARGET) for twin in twins)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    history = (parts.folder / RUN / "history.jsonl").read_text().splitlines()
    shown, told = tensorboard(parts.folder / RUN)
    assert sorted(shown["loss"]) == [json.loads(line)["step"] for line in history]
    assert (told["name"], told["autoencoder.train.steps"]) == (RUN, 300)
    # Without it nothing is to be made again.
    parts.edit("tracker: tensorboard", "tracker: none", parts.folder / "config.yaml")
    assert parts.planned(TARGET) == {}
