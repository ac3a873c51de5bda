"""In how many parts each result of a study was made, as its results folder tells."""

from pathlib import Path

from lilas.files import read_json
from lilas.study import paths


def read_cuts(root: str | Path) -> dict[str, dict[str, int]]:
    """Returns of each result that was made since results were cut, by its path below the folder:

    `parts`, how many jobs each made or scored a part, and `most`, the rollouts of a part at most.
    """
    owner = Path(root, paths.OWNER)
    return read_json(owner).get("cuts", {}) if owner.is_file() else {}
