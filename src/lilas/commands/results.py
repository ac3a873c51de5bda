"""`lilas inspect`, `show` and `trace`: what the pipeline has made, and where it comes from."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from lilas.commands import add_command
from lilas.errors import LilasError, broken
from lilas.files import atomic, nearest
from lilas.inspect.catalogue import INSPECTED

if TYPE_CHECKING:
    from lilas.commands import Commands

INSPECT = """\
Prints what an artifact is: its shape with named axes, units, the range of each channel, the stage,
configuration, inputs and versions that made it, and whether its inputs have changed since. A
picture of it goes to a PNG file. Data are read block by block, whatever their size.

Inputs are looked for around the artifact, so that copied or moved results are checked as well, and
where the pipeline ran."""

INSPECT_EXAMPLES = """\
examples:
  lilas inspect results/demo/rayleigh_benard/statistics.json
  lilas inspect results/demo/rayleigh_benard/c32-s0/latents/train.zarr --picture latents.png
  lilas inspect results/demo/rayleigh_benard/c32-s0/weights.safetensors --no-picture

kinds:
"""

SHOW = """\
Prints the first table of a study, the VRMSE by horizon, and where its report lies."""

TRACE = """\
Prints what is behind a number of a table: the rows of metrics and their mean, computed
again; the rollouts; the weights, data and code that they were made with. Says what has changed
since, and then ends with status 1. What is not here cannot be checked, and is said to be elsewhere.

CELL is the id in the column `cell` of tables/*.csv, alone or after the path of the results.
Inputs are looked for around the artifact, so that copied or moved results are checked as well, and
where the pipeline ran."""

TRACE_EXAMPLES = """\
examples:
  lilas trace rayleigh_benard/c32-s0/diffusion-s0/ab16/vrmse/1-9
  lilas trace results/demo/rayleigh_benard/c32-s0/reconstruction/vrmse/20-40
  lilas trace rayleigh_benard/persistence/vrmse/1-9 --results results/laptop"""


def add(commands: "Commands") -> None:
    """Adds `inspect`, `show` and `trace`."""
    text = "what an artifact is, its ranges, where it comes from, whether it is current"
    kinds = "\n".join(f"  {name:<12} {what}" for name, what in INSPECTED.items())
    one = add_command(commands, "inspect", text, INSPECT, _inspect, INSPECT_EXAMPLES + kinds)
    one.add_argument("path", type=Path, metavar="PATH", help="a file, or a .zarr folder")
    picture = one.add_mutually_exclusive_group()
    picture.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="where the picture goes (default: NAME.inspect.png in the current folder)",
    )
    picture.add_argument("--no-picture", action="store_true", help="draw none")
    text = "the main table of a study and the path of its report"
    two = add_command(commands, "show", text, SHOW, lambda args: print(show(args.folder)))
    two.add_argument("folder", type=Path, metavar="FOLDER", help="such as results/demo")
    text = "what is behind a number of a table: rows, rollouts, weights, data"
    three = add_command(commands, "trace", text, TRACE, _trace, TRACE_EXAMPLES)
    three.add_argument("cell", metavar="CELL", help="such as rayleigh_benard/persistence/vrmse/1-9")
    three.add_argument(
        "--results",
        type=Path,
        default=Path("results/demo"),
        metavar="FOLDER",
        help="where CELL does not begin with it (default: results/demo)",
    )


def _inspect(args: argparse.Namespace) -> None:
    from lilas.inspect.kinds import inspect

    found = inspect(args.path)
    print("\n".join(found.lines))
    if args.no_picture:
        return
    if found.draw is None:
        print("\nPicture: none; there is nothing to draw of it.")
        return
    picture = args.picture or Path(f"{args.path.resolve().stem}.inspect.png")
    folder = picture.absolute().parent
    if folder.is_dir() and not os.access(folder, os.W_OK):
        print(f"\nPicture: none; {folder} cannot be written to. Name another place: --picture FILE")
        return
    with atomic(picture) as part:
        found.draw().savefig(part, format="png", dpi=120)
    print(f"\nPicture: {picture}")


def _trace(args: argparse.Namespace) -> None:
    from lilas.inspect.trace import trace

    found = trace(args.cell, args.results)
    print("\n".join(found.lines), flush=True)
    if found.problems:
        raise LilasError("\nerror: ".join(found.problems))


def show(folder: Path) -> str:
    """Returns the first table of a study's results, aligned, and the path of its report.

    Raises:
        LilasError: the folder holds no table or no report.
    """
    tables, report = folder / "tables" / "horizons.md", folder / "report.html"
    for path in (tables, report):
        if not path.is_file():
            near = None if folder.is_dir() else nearest(folder)
            action = f"Did you mean {near}?" if near else "Run snakemake to make them."
            raise broken(path, "the results of a study", "nothing", action)
    from lilas.report.typeset import terminal

    intro, _, sections = tables.read_text(encoding="utf-8").partition("### ")
    title, _, body = terminal(sections.partition("### ")[0]).partition("\n\n")
    end = ["* the best emulator or baseline of a horizon", f"Report: {report.resolve()}"]
    return "\n".join([title, intro.strip(), "", body, *end])
