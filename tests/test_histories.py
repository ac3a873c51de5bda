"""Histories of trainings come back as they were written, and damaged ones name the line."""

import pytest

from lilas.errors import LilasError
from lilas.records.histories import read_history, write_history

ENTRIES = [
    {"step": 1, "loss": None, "skipped": 1, "seconds": None},
    {"step": 2, "seconds": 0.1 * 3, "loss": 0.1 + 0.2, "skipped": 1, "valid_loss": 1 / 3},
]


def test_entries_come_back_to_the_last_bit(tmp_path):
    write_history(tmp_path / "history.jsonl", ENTRIES)
    found = read_history(tmp_path / "history.jsonl")
    assert found["step"].tolist() == [1, 2]
    assert found["loss"].isna().tolist() == [True, False]
    assert found["valid_loss"].isna().tolist() == [True, False]
    assert (found["seconds"].isna().tolist(), found["seconds"][1]) == ([True, False], 0.1 * 3)
    assert (found["loss"][1], found["valid_loss"][1]) == (0.1 + 0.2, 1 / 3)


def test_where_nothing_was_validated_or_trained_there_is_a_column_still(tmp_path):
    write_history(tmp_path / "history.jsonl", ENTRIES[:1])
    assert read_history(tmp_path / "history.jsonl")["valid_loss"].isna().all()
    write_history(tmp_path / "history.jsonl", [])
    assert read_history(tmp_path / "history.jsonl")["valid_loss"].tolist() == []


@pytest.mark.parametrize(
    ("damaged", "expected"),
    [('{"step": 2, "lo', "JSON in line 2"), ("[1]", "in line 2"), ('{"step": 2}', "in line 2")],
)
def test_a_damaged_line_is_named(tmp_path, damaged, expected):
    path = tmp_path / "history.jsonl"
    path.write_text(f'{{"step": 1, "loss": 2.0, "skipped": 0}}\n{damaged}\n')
    with pytest.raises(LilasError, match=expected):
        read_history(path)
