"""`lilas check` and `lilas datasets`: data to be studied."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lilas.commands import add_command
from lilas.errors import LilasError

if TYPE_CHECKING:
    from lilas.commands import Commands

CHECK = """\
Checks the data files of a folder, all of them and all splits against each other, and tells all
that is wrong at once, with what the folder holds. A study that reads the folder checks it alike.
Ends with status 1 where there is a fault. docs/data.md describes the layout."""

CHECK_EXAMPLES = """\
examples:
  lilas check /data/my_flow            # holds data/{train,valid,test}/*.hdf5
  lilas check /data/my_flow --states   # reads all states too: finite values, repeated states"""

DATASETS = """\
Lists the datasets of The Well as it describes them, or tells more of one, with an entry of a study
to copy. Nothing is downloaded."""


def add(commands: "Commands") -> None:
    """Adds `check` and `datasets`."""
    text = "what a folder of data holds, and all that is wrong with it"
    data = add_command(commands, "check", text, CHECK, _check, CHECK_EXAMPLES)
    data.add_argument("folder", type=Path, metavar="FOLDER", help="a dataset's folder, or a file")
    data.add_argument("--states", action="store_true", help="read all states as well")
    text = "The Well's datasets: fields, grid, sizes, parameters, gigabytes"
    one = add_command(commands, "datasets", text, DATASETS, _datasets)
    one.add_argument("name", nargs="?", metavar="NAME", help="one of them, such as shear_flow")


def _check(args: argparse.Namespace) -> None:
    from lilas.inspect.folder import check_folder

    found = check_folder(args.folder, args.states)
    print("\n".join(found.lines), flush=True)
    if found.faults:
        faults, places = (
            f"{count} {word}{'s' * (count > 1)}"
            for count, word in ((found.faults, "fault"), (found.files, "place"))
        )
        raise LilasError(f"{args.folder}: {faults}, in {places}")


def _datasets(args: argparse.Namespace) -> None:
    from lilas.inspect.datasets import describe_dataset, list_datasets

    print("\n".join(describe_dataset(args.name) if args.name else list_datasets()))
