"""`lilas convert` and `lilas new`: from files of other formats to a first study of them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lilas.commands import add_command, mapping, pairs
from lilas.errors import LilasError

if TYPE_CHECKING:
    from lilas.commands import Commands

CONVERT = """\
Converts simulations from NetCDF, Zarr, npz or whatever else xarray opens into The Well's layout, of
which a study needs the folder alone. Names that leave no doubt are taken as they are, and a table
says what was taken as what before anything is written. Boundaries are in no file: name them.

A file holds trajectories along an axis, or is one. Units are those of the files. Whatever their
size, a few states are in memory at a time."""

CONVERT_EXAMPLES = """\
examples:
  lilas convert runs.nc --to my_flow --boundary x=periodic y=wall --dry-run
  lilas convert runs.nc --to my_flow --boundary x=periodic y=wall --vector velocity=u,v
  lilas convert run_*.nc --to my_flow --boundary x=open y=open --parameters viscosity --split 8 1 1
  lilas convert runs.npz --to my_flow --boundary x=wall y=wall --dims run,time,x,y"""

NEW = """\
Prints a first study of a folder of data, with comments: its fields, the logarithm of what ranges
over orders of magnitude in a few states, rolls along periodic axes, a label of all parameters, and
models that fit the grid and are as large as there is to learn from. It begins with what a plan
says of it on this machine. Save it, and change it: docs/configuration.md describes each key."""

NEW_EXAMPLES = """\
examples:
  lilas new my_flow > my_flow.yaml
  snakemake --config study=my_flow.yaml"""


def add(commands: "Commands") -> None:
    """Adds `convert` and `new`."""
    text = "simulations from NetCDF, Zarr or npz into the layout that studies read"
    one = add_command(commands, "convert", text, CONVERT, _convert, CONVERT_EXAMPLES)
    one.add_argument("files", type=Path, nargs="+", metavar="IN", help="files, or stores of Zarr")
    one.add_argument(
        "--to", type=Path, required=True, metavar="FOLDER", help="the dataset's new folder"
    )
    one.add_argument("--dry-run", action="store_true", help="say what would be taken, and no more")
    axes = one.add_argument_group("axes")
    axes.add_argument("--trajectory", metavar="AXIS", help="the axis of trajectories")
    axes.add_argument("--time", metavar="AXIS", help="the axis of time")
    axes.add_argument("--space", type=_names, default=(), metavar="AXIS,…", help="in their order")
    axes.add_argument("--component", metavar="AXIS", help="the axis of a vector's components")
    axes.add_argument(
        "--dims", type=_names, default=(), metavar="AXIS,…", help="names of axes that have none"
    )
    axes.add_argument(
        "--boundary", **pairs("AXIS=KIND"), help="of each space axis: periodic, wall or open"
    )
    axes.add_argument("--grid", metavar="KIND", help="cartesian (default), or as The Well has it")
    axes.add_argument(
        "--turn", nargs="+", default=[], metavar="AXIS", help="descending axes, with their states"
    )
    axes.add_argument(
        "--uneven", nargs="+", default=[], metavar="AXIS", help="axes that are taken as even"
    )
    axes.add_argument("--steps", type=_positive, metavar="N", help="the first states of each")
    what = one.add_argument_group("variables")
    what.add_argument(
        "--fields", nargs="+", default=[], metavar="NAME", help="scalars (default: all that fit)"
    )
    what.add_argument(
        "--vector",
        **pairs("NAME=PART,…"),
        help="a vector of variables, in the order of the space axes: velocity=u,v",
    )
    what.add_argument(
        "--parameters",
        nargs="*",
        metavar="NAME",
        help="numbers, of a file or along trajectories (default: all that fit), or attributes",
    )
    what.add_argument("--unit", **pairs("NAME=UNIT"), help="of a field, axis or parameter")
    what.add_argument("--rename", **pairs("OLD=NEW"), help="other names of axes and variables")
    split = one.add_argument_group("splits")
    split.add_argument(
        "--split",
        type=float,
        nargs=3,
        default=[0.8, 0.1, 0.1],
        metavar=("TRAIN", "VALID", "TEST"),
        help="fractions or numbers of trajectories (default: 0.8 0.1 0.1)",
    )
    split.add_argument("--seed", type=int, default=0, help="of the order they are dealt in")
    text = "a first study of a folder of data, with comments"
    two = add_command(commands, "new", text, NEW, _new, NEW_EXAMPLES)
    two.add_argument("folder", type=Path, metavar="FOLDER", help="a dataset's folder")


def _convert(args: argparse.Namespace) -> None:
    from lilas.data.convert import Split, check_new, describe, write
    from lilas.data.foreign import sources
    from lilas.data.runs import Runs, Shape
    from lilas.data.variables import Wanted

    check_new(args.to)
    wanted = Wanted(
        trajectory=args.trajectory,
        time=args.time,
        space=args.space,
        component=args.component,
        fields=tuple(args.fields),
        vectors={
            name: parts.split(",") for name, parts in mapping("--vector", args.vector).items()
        },
        parameters=None if args.parameters is None else tuple(args.parameters),
        boundaries=mapping("--boundary", args.boundary),
        grid=args.grid,
        units=mapping("--unit", args.unit),
    )
    shape = Shape(tuple(args.turn), tuple(args.uneven), args.steps)
    split = Split(tuple(args.split), args.seed)
    with sources(args.dims, mapping("--rename", args.rename)) as files:
        runs = Runs(files, args.files, wanted, shape)
        dealt = split.deal(len(runs.runs))
        print("\n".join(describe(runs, dealt, split.seed)), flush=True)
        if not args.dry_run:
            write(runs, dealt, args.to, split)
    if not args.dry_run:
        _check(args.to)


def _new(args: argparse.Namespace) -> None:
    from lilas.plan.draft import draft

    print(draft(args.folder), end="")


def _check(folder: Path) -> None:
    from lilas.inspect.folder import check_folder

    found = check_folder(folder)
    if found.faults:
        raise LilasError("\n".join(found.lines))
    print("", *found.lines, sep="\n")


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in text.split(","))))


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise ValueError(text)
    return value
