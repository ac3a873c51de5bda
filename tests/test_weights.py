"""Weights come back as they were written, their shapes from the header alone."""

import subprocess
import sys

import pytest
import torch

from lilas.errors import LilasError
from lilas.records.weights import read_record, read_shapes, read_weights, write_weights


def test_names_values_and_shapes_come_back(tmp_path):
    generator = torch.Generator().manual_seed(0)
    state = {"b": torch.randn(2, 3, generator=generator), "a": torch.tensor(4)}
    write_weights(tmp_path / "weights.safetensors", state, {})
    found = dict(read_weights(tmp_path / "weights.safetensors"))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    assert read_shapes(tmp_path / "weights.safetensors") == {"a": (), "b": (2, 3)}


def test_records_and_shapes_are_read_without_torch(tmp_path):
    """Of weights that numpy cannot hold as well."""
    path = tmp_path / "weights.safetensors"
    write_weights(path, {"a": torch.zeros(2, dtype=torch.bfloat16)}, {"stage": "emulator"})
    assert read_record(path) == {"stage": "emulator"}
    code = "import sys; from lilas.records.weights import read_record, read_shapes"
    code += f"; print(read_shapes({str(path)!r}), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'a': (2,)} False"


@pytest.mark.parametrize("read", [read_shapes, lambda path: dict(read_weights(path))])
def test_a_missing_or_damaged_file_is_told(tmp_path, read):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(LilasError, match="found nothing"):
        read(path)
    write_weights(path, {"a": torch.zeros(8)}, {})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(LilasError, match="a damaged file"):
        read(path)


@pytest.mark.parametrize("record", [[], None, "emulator"])
def test_a_record_of_another_kind_is_refused(tmp_path, record):
    path = tmp_path / "weights.safetensors"
    write_weights(path, {"a": torch.zeros(1)}, record)
    with pytest.raises(LilasError, match="expected a record in JSON, found a "):
        read_record(path)
