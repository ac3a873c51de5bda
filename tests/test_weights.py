"""Weights come back as they were written, their shapes from the header alone."""

import pytest
import torch

from lilas.errors import LilasError
from lilas.records.weights import read_shapes, read_weights, write_weights


def test_names_values_and_shapes_come_back(tmp_path):
    generator = torch.Generator().manual_seed(0)
    state = {"b": torch.randn(2, 3, generator=generator), "a": torch.tensor(4)}
    write_weights(tmp_path / "weights.safetensors", state, {})
    found = dict(read_weights(tmp_path / "weights.safetensors"))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    assert read_shapes(tmp_path / "weights.safetensors") == {"a": (), "b": (2, 3)}


@pytest.mark.parametrize("read", [read_shapes, lambda path: dict(read_weights(path))])
def test_a_missing_or_damaged_file_is_told(tmp_path, read):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(LilasError, match="found nothing"):
        read(path)
    write_weights(path, {"a": torch.zeros(8)}, {})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(LilasError, match="a damaged file"):
        read(path)
