"""Files of The Well as they arrive: what a study relies on must be in them."""

from pathlib import Path

from lilas.data.check import check_expected
from lilas.data.well import open_well
from lilas.study.tasks import Expected


def check_arrived(path: str | Path, expected: Expected) -> None:
    """Opens a file and refuses it where it lacks what a study relies on.

    Raises:
        LilasError: as `open_well`, or the file's grid, fields, parameters, steps or channels are
            others than those that the study was planned with.
    """
    file = open_well(path, expected.fields)
    check_expected(file, file.channels, expected)
