"""Trainings that are finished are known by their records, whatever the times of their files."""

import os
from pathlib import Path

import torch

from lilas.plan.finished import finished
from lilas.records.provenance import provenance
from lilas.records.weights import write_weights
from lilas.study.tasks import Task


def test_a_training_is_finished_where_settings_and_inputs_are_those_of_its_record(tmp_path):
    data, weights = tmp_path / "0.hdf5", tmp_path / "weights.safetensors"
    data.write_bytes(b"data")
    task = '{"seed": 0, "stride": 2}'
    record = provenance("emulator", Task.model_validate_json(task).record(), {"train": [data]})
    write_weights(weights, {"w": torch.ones(2)}, record)
    for path in (data, weights):
        os.utime(path, (0, 0))
    jobs = [("emulator", weights, task), ("emulator", tmp_path / "none", task)]
    assert finished(jobs) == [weights]
    assert finished([("autoencoder", weights, task)]) == []
    assert finished([("emulator", weights, '{"seed": 1, "stride": 2}')]) == []
    data.write_bytes(b"other")
    assert finished(jobs) == []
    Path(weights).write_bytes(b"damaged")
    assert finished(jobs) == []
