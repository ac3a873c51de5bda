"""Trainings of several processes are those of one: real ones, by torchrun, over gloo."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import together
from conftest import ROOT
from lilas import processes
from lilas.errors import LilasError
from lilas.records.weights import read_record
from lilas.study.autoencoders import DCAESettings
from lilas.study.training import Train
from lilas.training.objective import Objective
from test_trackers import tensorboard
from test_training import flip, same, settings

TESTS = str(Path(__file__).parent)


def command(*arguments, count=2):
    launch = [sys.executable, "-m", "lilas.training.launch", "--processes", str(count)]
    return [*launch, *map(str, arguments)]


def started(*arguments, count=2):
    path = os.pathsep.join([TESTS, str(ROOT / "src")])
    return subprocess.Popen(
        command(*arguments, count=count),
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(*arguments, count=2):
    """Exit status and what was said."""
    process = started(*arguments, count=count)
    said, _ = process.communicate(timeout=120)
    return process.returncode, said


def furthest(a, b):
    return max(abs(x - y) / abs(y) for x, y in zip(a, b, strict=True))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What two processes found, and what one did."""
    folder = tmp_path_factory.mktemp("two")
    status, said = ended("together", "everything", folder)
    assert status == 0, said
    alone = tmp_path_factory.mktemp("one")
    torch.set_num_threads(1)
    together.everything(alone)
    load = [folder / "of-0.pt", folder / "of-1.pt", alone / "of-0.pt"]
    return [torch.load(path, weights_only=False) for path in load]


@pytest.mark.parametrize("optimizer", ["adamw", "psgd"])
def test_losses_are_those_of_one_process(found, optimizer):
    first, second, alone = found
    assert len(alone[optimizer]) == together.STEPS + 5
    assert first[optimizer] == second[optimizer]
    assert furthest(first[optimizer], alone[optimizer]) <= 1e-5
    # They are no losses that would be alike anyway.
    other = "psgd" if optimizer == "adamw" else "adamw"
    assert furthest(alone[optimizer], alone[other]) > 1e-2


def test_micro_batches_make_no_other_losses(found):
    first, _, alone = found
    assert furthest(alone["psgd micro"], alone["psgd"]) <= 1e-5
    assert furthest(first["psgd micro"], alone["psgd"]) <= 1e-5


def test_the_first_step_of_soap_is_that_of_one_process(found):
    """What follows is not: eigenbases of gradients that are almost alike are amplified."""
    first, _, alone = found
    assert furthest(first["soap"][:2], alone["soap"][:2]) <= 1e-5


def test_weights_are_the_same_bits_in_all_processes(found):
    """After 300 steps of PSGD, whose preconditioner draws numbers, with dropout."""
    first, second, alone = found
    assert same(first["weights"], second["weights"])
    assert not same(first["weights"], alone["weights"])


def test_gradients_that_are_not_finite_in_one_process_are_skipped_in_all(found):
    first, second, alone = found
    assert first["skipped"] == second["skipped"] == alone["skipped"] == [0, 1, 1, 1]
    assert same(first["spoilt"], second["spoilt"])


def test_processes_drop_other_values_and_optimisers_draw_the_same(found):
    first, second, alone = found
    assert torch.equal(first["dropout"]["mask"], alone["dropout"]["mask"])
    assert not torch.equal(first["dropout"]["mask"], second["dropout"]["mask"])
    assert torch.equal(first["dropout"]["drawn"], second["dropout"]["drawn"])
    assert torch.equal(first["dropout"]["gradient"], second["dropout"]["gradient"])


def test_similarity_is_of_the_pairs_of_all_processes(found):
    first, second, alone = found
    for one in (first, second):
        for key in ("value", "gradient"):
            torch.testing.assert_close(one["similarity"][key], alone["similarity"][key])


@pytest.mark.parametrize("memory", together.MEMORIES)
def test_processes_share_the_batches_of_one(found, memory):
    """Bit by bit, augmented ones: each holds and reads part of the trajectories, or all of them."""
    first, second, alone = (part[memory] for part in found)
    batches = (part["batches"] for part in (first, second, alone))
    for parts in zip(*batches, strict=True):
        for a, b, both in zip(*parts, strict=True):
            assert torch.equal(torch.cat([a, b]), both)
    copies = 2 if memory == "twice" else 1
    assert first["held"] + second["held"] == copies * alone["held"]
    if memory in ("in memory", "twice"):
        assert first["read"] + second["read"] == copies * alone["read"]


def test_weights_that_differ_in_a_bit_are_seen(found):
    first, second, alone = found
    assert first["alike"] == second["alike"] == [True, False]
    assert alone["alike"] == [True, True]


def until(happened, seconds=60):
    for _ in range(10 * seconds):
        if happened():
            return
        time.sleep(0.1)
    raise AssertionError("it never happened")


def alive(pid):
    """Whether a process runs; one that has ended and was not asked for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def lines(folder):
    path = folder / "history.jsonl"
    return len(path.read_text().splitlines()) if path.is_file() else 0


def test_a_training_goes_on_in_another_number_of_processes(tmp_path):
    """One, then two of which one is killed, then two whose launcher is, then one."""
    folder, whole = tmp_path / "parts", tmp_path / "whole"
    for path in (folder, whole):
        path.mkdir()
    torch.set_num_threads(1)
    with pytest.raises(KeyboardInterrupt):
        together.trains(folder, 0, until=5)
    assert lines(folder) == 5
    # Both go on from the one before, which the first one finds.
    flip(folder / "checkpoint.pt")
    process = started("together", "trains", folder)
    until(lambda: lines(folder) >= 9)
    os.kill(int((folder / "pid-1").read_text()), signal.SIGKILL)
    said, _ = process.communicate(timeout=60)
    told = "error: process 1 of this training was ended by SIGKILL; the same command goes on"
    assert process.returncode == 1
    assert [line for line in said.splitlines() if "error" in line.lower()] == [
        f"{told} from the last checkpoint"
    ], said
    assert said.count("goes on from step 4, of checkpoint.before.pt") == 1, said
    assert "Traceback" not in said
    before = lines(folder)

    process = started("together", "trains", folder)
    until(lambda: lines(folder) >= before + 5)
    process.kill()
    pids = [int((folder / f"pid-{rank}").read_text()) for rank in range(2)]
    until(lambda: not any(map(alive, pids)))
    process.communicate()
    assert lines(folder) < 60

    together.trains(folder, 0)
    together.trains(whole, 0)
    found, expected = (
        [json.loads(line) for line in (path / "history.jsonl").read_text().splitlines()]
        for path in (folder, whole)
    )
    assert [entry["step"] for entry in found] == [entry["step"] for entry in expected]
    for key in ("loss", "valid_loss"):
        pairs = ([entry[key] for entry in history if key in entry] for history in (found, expected))
        assert furthest(*pairs) <= 1e-5


def test_processes_whose_time_is_up_save_once(tmp_path):
    """All are told, torchrun too; the others end when the first one has gone."""
    process = started("together", "saves_at_the_end", tmp_path)
    course = tmp_path / "history.jsonl"
    while process.poll() is None and (
        not course.is_file() or len(course.read_bytes().splitlines()) < 5
    ):
        time.sleep(0.02)
    assert not (tmp_path / "checkpoint.pt").exists()
    for pid in [process.pid, *(int((tmp_path / f"pid-{rank}").read_text()) for rank in (0, 1))]:
        os.kill(pid, signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert said.count("stopped; the same command goes on from here") == 1, said
    assert "Traceback" not in said
    assert 5 <= torch.load(tmp_path / "checkpoint.pt")["step"] < 60


def test_a_fault_is_told_once(tmp_path):
    status, said = ended("together", "fails", tmp_path, count=3)
    told = {"warning: a field stands still", f"error: {tmp_path}: expected a file, found none."}
    assert (status, set(said.splitlines())) == (1, told), said
    assert len(said.splitlines()) == 2


def test_a_parameter_without_a_gradient_is_refused_by_its_name(found):
    first, second, alone = found
    assert first["unused"] == second["unused"]
    assert first["unused"].startswith("unused.weight takes no part in the loss, which several")
    assert alone["unused"] == ""


@pytest.mark.parametrize("stage", ["autoencoder", "emulator"])
def test_a_stage_of_a_study_trains_in_two_processes(miniature, tmp_path, monkeypatch, stage):
    """An autoencoder with similarity, and an emulator in micro-batches, as in one process."""
    dataset = miniature.results / "convection"
    if stage == "autoencoder":
        inputs = {"statistics": [dataset / "statistics.json"]} | {
            split: sorted(miniature.folder.glob(f"results/data/*/*/data/{split}/*.hdf5"))
            for split in ("train", "valid")
        }
        config = read_record(dataset / "c16-s0/weights.safetensors")["config"]
        config[stage] |= {"dropout": 0.0, "similarity_weight": 0.1}
    else:
        latents = dataset / "c16-s0/latents"
        inputs = {"autoencoder": [dataset / "c16-s0/weights.safetensors"]} | {
            split: [latents / f"{split}.json"] for split in ("train", "valid")
        }
        config = read_record(dataset / "c16-s0/diffusion-s0/weights.safetensors")["config"]
        config[stage]["network"] |= {"dropout": 0.0}
        config[stage]["train"] |= {"micro_batch": 1}
    config[stage]["train"] |= {"optimizer": "adamw", "precondition_every": None}
    line = ["--start", "--config", json.dumps(config), "--device", "cpu"]
    for name, files in inputs.items():
        line += [f"--{name}", *map(str, files)]
    losses = []
    for count in (1, 2):
        folder = tmp_path / str(count)
        outputs = ("weights", "best", "history", "checkpoint")
        more = [part for name in outputs for part in (f"--{name}", str(folder / name))]
        if count == 1:
            monkeypatch.setattr(sys, "argv", [stage, *line, *more])
            importlib.import_module(f"lilas.stages.{stage}").main()
        else:
            more += ["--tracker", "tensorboard"]
            status, said = ended(f"lilas.stages.{stage}", *line, *more)
            assert status == 0, said
            # The first of them alone tells it.
            shown, _ = tensorboard(folder)
            assert sorted(shown["loss"]) == list(range(1, 9))
        assert set(load_file(folder / "weights")) == set(load_file(folder / "best"))
        losses.append([])
        for entry in map(json.loads, (folder / "history").read_text().splitlines()):
            losses[-1] += [entry[key] for key in ("loss", "valid_loss") if key in entry]
        assert len(losses[-1]) == 8 + 2
    assert furthest(*losses) <= 1e-5


def test_a_profile_chooses_how_many_processes_train(pipeline):
    """And it is no part of what is trained: no parameter of a job tells it."""
    told = [
        pipeline.run("--dry-run", "--printshellcmds", *more).stdout
        for more in ([], ["--set-resources", "emulator:processes=2", "emulator:nodes=2"])
    ]
    for text, count in zip(told, (1, 2), strict=True):
        launch = f"--processes {count} --nodes {count} lilas.stages.emulator "
        assert text.count(launch) == 3, text
        assert text.count("--processes 1 --nodes 1 lilas.stages.autoencoder ") == 2
        # Whoever trains is told of the tracker.
        assert text.count(" --tracker none ") == 5


SRUN = """#!/bin/bash
# Starts a command once for each node, all of them here.
for option in "$@"; do
    case $option in --nodes=*) nodes=${option#*=};; --*) ;; *) break;; esac
    shift
done
for _ in $(seq "$nodes"); do "$@" & done
wait
"""


def test_processes_of_several_nodes_meet(tmp_path, monkeypatch):
    """By torchrun's own rendezvous; the stand-in for srun starts both nodes on this machine."""
    srun = tmp_path / "srun"
    srun.write_text(SRUN)
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    status, said = ended("--nodes", 2, "together", "meets", tmp_path, count=4)
    assert status == 0, said
    told = [(tmp_path / f"of-{rank}").read_text() for rank in range(4)]
    # A node's threads are shared by its processes.
    assert told == ["1.5 OMP_NUM_THREADS=2"] * 4


@pytest.mark.parametrize("nodes", [1, 2])
def test_processes_that_nodes_do_not_divide_are_refused(nodes, tmp_path):
    line = [*command("--nodes", nodes, "together", "fails", tmp_path, count=nodes - 1 or 0)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {nodes - 1} processes on {nodes} nodes")


def test_batches_that_do_not_divide_are_refused(monkeypatch):
    """By the study where it tells, else when the processes are there."""
    values = {"steps": 2, "batch_size": 6, "optimizer": "adam", "learning_rate": 1e-3}
    values |= {"validate_every": 1}
    with pytest.raises(ValueError, match="micro_batch 4 does not divide batch_size 6"):
        Train(**values, micro_batch=4)
    network = {"architecture": "dcae", "channels": [4], "blocks": [1], "latent_channels": 2}
    with pytest.raises(ValueError, match=r"similarity_weight 1 .*micro_batch takes it apart"):
        DCAESettings(**network, similarity_weight=1, train=Train(**values, micro_batch=3))
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(LilasError, match="batch_size 6 is not divided by 4 processes"):
        processes.part(6)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(LilasError, match="micro_batch 2 does not divide the 3 samples"):
        Objective(torch.nn.Linear(1, 1), None, settings(batch_size=6, micro_batch=2))
    with pytest.raises(LilasError, match="device: mps: 2 processes train on CPUs, or on a CUDA"):
        processes.join("mps")


def test_every_sample_is_of_one_process(monkeypatch):
    for count in (1, 2, 3, 4):
        monkeypatch.setenv("WORLD_SIZE", str(count))
        seen = []
        for rank in range(count):
            monkeypatch.setenv("RANK", str(rank))
            seen += range(24)[processes.part(24)]
            assert processes.is_first() == (rank == 0)
        assert seen == list(range(24))
