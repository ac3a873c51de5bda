"""The check of a dataset's files: what is told of each, and of all splits together."""

import shutil
from pathlib import Path

import pytest

from lilas.data.well import open_well
from lilas.errors import LilasError
from lilas.plan import data_files
from lilas.study.datasets import Dataset
from lilas.study.read import Config
from test_well import write

SPLITS = ("train", "valid", "test")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset of a file in each split."""
    root = tmp_path / "flow"
    train = write(root)
    for split in ("valid", "test"):
        (root / "data" / split).mkdir()
        shutil.copy(train, root / "data" / split)
    return root


def dataset(folder: Path) -> Dataset:
    return Dataset.model_validate(
        {
            "source": {"kind": "path", "path": str(folder)},
            "states": {"fields": ["buoyancy", "velocity"]},
            "evaluation": {"start": 0, "horizons": [[1, 3]]},
        }
    )


# --- Which files are data ----------------------------------------------------------------------


def test_hidden_files_are_no_data(folder: Path) -> None:
    before = data_files(Config(study="demo"), dataset(folder))
    for name in ("._file.hdf5", ".file.hdf5.part", ".DS_Store", ".file.h5", "file.hdf5.part"):
        (folder / "data" / "train" / name).write_bytes(b"\0\5\x16\7" * 30)
    assert data_files(Config(study="demo"), dataset(folder)) == before
    with pytest.raises(LilasError, match="Hidden files are no data"):
        open_well(folder / "data" / "train" / "._file.hdf5")
