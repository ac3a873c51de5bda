"""Files of The Well as they arrive: what a study relies on must be in them."""

from pathlib import Path

from lilas.data.well import WellFile, open_well
from lilas.errors import broken
from lilas.study.tasks import Expected


def check_arrived(path: str | Path, expected: Expected) -> None:
    """Opens a file and refuses it where it lacks what a study relies on.

    Raises:
        LilasError: as `open_well`, or the file's grid, fields, parameters, steps or channels are
            others than those that the study was planned with.
    """
    check_expected(open_well(path, expected.fields), expected)


def check_expected(file: WellFile, expected: Expected) -> None:
    """Refuses an opened file that lacks what a study relies on; errors as `check_arrived`."""
    orders = {channel.field: channel.order for channel in file.channels}
    for what, wanted, found, action in (
        ("grid points along each axis", expected.size, list(file.shape), _SAY.format("size")),
        ("orders of the fields", expected.orders, orders, "Take them out of states.fields."),
        ("steps", expected.steps, file.steps, _SAY.format("steps")),
        ("channels", expected.channels, len(file.channels), _SAY.format("channels")),
    ):
        if wanted is not None and found != wanted:
            raise broken(file.path, f"{what}: {wanted}", f"{found}", action)
    if missing := [name for name in expected.parameters if name not in file.parameters]:
        found = ", ".join(file.parameters) or "none"
        action = "Take it out of the dataset's label."
        raise broken(file.path, f"the parameter {missing[0]}", found, action)


_SAY = "If the file is right, say so in the dataset's source.{}."
