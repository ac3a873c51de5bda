"""The command `lilas`: what a run would take, and what the pipeline has made."""

import argparse
import os
import sys
from pathlib import Path

from lilas import __version__
from lilas.errors import LilasError, broken
from lilas.files import atomic
from lilas.inspect.catalogue import INSPECTED
from lilas.inspect.datasets import describe_dataset, list_datasets
from lilas.official.cli import add_commands, run_command
from lilas.stages import execute

DESCRIPTION = """\
Looks at what the pipeline has made, or would take; the pipeline itself is run with snakemake.

  lilas plan STUDY     jobs, hours, memory and disk of a run, by stage, before it runs
  lilas status STUDY   how far a run is: done, running, waiting, stale, failed
  lilas check FOLDER   what a folder of data holds, and all that is wrong with it
  lilas inspect PATH   what a file is, its ranges, where it comes from, whether it is current
  lilas show FOLDER    the main table of a study's results
  lilas trace CELL     what is behind a number of a table: rows, rollouts, weights, data
  lilas datasets       The Well's datasets, of which a study needs the name alone
  lilas official ...   models and latents of the paper's official code, in and out"""

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

CHECK = """\
Checks the data files of a folder, all of them and all splits against each other, and tells all
that is wrong at once, with what the folder holds. A study that reads the folder checks it alike.
Ends with status 1 where there is a fault. docs/data.md describes the layout."""

CHECK_EXAMPLES = """\
examples:
  lilas check /data/my_flow            # holds data/{train,valid,test}/*.hdf5
  lilas check /data/my_flow --states   # reads all states too: finite values, repeated states"""

PLAN = """\
Prints what is left to run of a study, by stage: jobs; hours of all of them, one after the other,
and of the longest; cores, GPUs and memory of the job that needs most; gigabytes to download and to
write, and the room there is. It runs nothing: it is what `snakemake -n` ends with.

Of config.yaml it takes the study where none is named, `data` and `results`, where it looks for what
is there already, and `device`: with cpu no job has a GPU. A profile tells how many GPUs a job may
have (`resources: gpu`), and its most threads. Hours and memory are estimates: docs/clusters.md says
how far off they are."""

PLAN_EXAMPLES = """\
examples:
  lilas plan demo                     # on this machine, without a GPU
  lilas plan laptop --profile gpu     # beside one GPU
  lilas plan paper --profile slurm    # on a cluster, within what profiles/slurm allows
  lilas plan paper --all              # as if nothing were there yet"""

STATUS = """\
Prints how far a study is, by rule: jobs that are done; running; waiting, for they or what they need
were not made yet; stale, made but to be made again, and why; failed, with the end of their log. Of
trainings it tells step, losses and the time that is left, of jobs of a cluster their number there.
Run it in the folder that snakemake runs in, as often as you like: it changes nothing."""

STATUS_EXAMPLES = """\
examples:
  lilas status                 # of config.yaml's study
  watch -n 30 lilas status paper"""

SHOW = """\
Prints the first table of a study, the VRMSE by horizon, and where its report lies."""

DATASETS = """\
Lists the datasets of The Well as it describes them, or tells more of one, with an entry of a study
to copy. Nothing is downloaded."""

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


def main() -> None:
    """Runs the command line; a broken contract ends it with one line and status 1."""
    try:
        execute(_main)
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; Python's own flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="lilas",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="lilas COMMAND --help says more.",
    )
    parser.add_argument("--version", action="version", version=f"lilas {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    one = commands.add_parser(
        "inspect",
        help="what an artifact is, where it comes from, whether it is current",
        description=INSPECT,
        epilog=INSPECT_EXAMPLES + _kinds(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument("path", type=Path, metavar="PATH", help="a file, or a .zarr folder")
    picture = one.add_mutually_exclusive_group()
    picture.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="where the picture goes (default: NAME.inspect.png in the current folder)",
    )
    picture.add_argument("--no-picture", action="store_true", help="draw none")
    plan = commands.add_parser(
        "plan",
        help="jobs, hours, memory and disk of a run, by stage, before it runs",
        description=PLAN,
        epilog=PLAN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    plan.add_argument(
        "--profile", metavar="NAME", help="default, gpu, slurm, or the folder of your own"
    )
    plan.add_argument("--all", action="store_true", help="count what is there already as well")
    status = commands.add_parser(
        "status",
        help="how far a run is: done, running, waiting, stale, failed",
        description=STATUS,
        epilog=STATUS_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for one in (plan, status):
        one.add_argument(
            "study", nargs="?", metavar="STUDY", help="its name or file (default: config.yaml's)"
        )
        one.add_argument(
            "--config",
            nargs="+",
            default=[],
            metavar="KEY=VALUE",
            help="settings in place of config.yaml's, such as results=/scratch/lilas",
        )
    data = commands.add_parser(
        "check",
        help="what a folder of data holds, and all that is wrong with it",
        description=CHECK,
        epilog=CHECK_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data.add_argument("folder", type=Path, metavar="FOLDER", help="a dataset's folder, or a file")
    data.add_argument("--states", action="store_true", help="read all states as well")
    two = commands.add_parser(
        "show", help="the main table of a study and the path of its report", description=SHOW
    )
    two.add_argument("folder", type=Path, metavar="FOLDER", help="such as results/demo")
    three = commands.add_parser(
        "trace",
        help="what is behind a number of a table: rows, rollouts, weights, data",
        description=TRACE,
        epilog=TRACE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    three.add_argument("cell", metavar="CELL", help="such as rayleigh_benard/persistence/vrmse/1-9")
    three.add_argument(
        "--results",
        type=Path,
        default=Path("results/demo"),
        metavar="FOLDER",
        help="where CELL does not begin with it (default: results/demo)",
    )
    four = commands.add_parser(
        "datasets",
        help="The Well's datasets: fields, grid, sizes, parameters, gigabytes",
        description=DATASETS,
    )
    four.add_argument("name", nargs="?", metavar="NAME", help="one of them, such as shear_flow")
    add_commands(commands)
    args = parser.parse_args()
    if args.command is None:
        parser.print_help()
    elif args.command == "official":
        run_command(args)
    elif args.command == "plan":
        from lilas.plan.dry_run import plan_study

        print(plan_study(args.study, args.profile, args.all, args.config))
    elif args.command == "status":
        from lilas.plan.dry_run import study_status

        print(study_status(args.study, args.config))
    elif args.command == "check":
        _check(args.folder, args.states)
    elif args.command == "show":
        print(show(args.folder))
    elif args.command == "datasets":
        print("\n".join(describe_dataset(args.name) if args.name else list_datasets()))
    elif args.command == "trace":
        _trace(args.cell, args.results)
    else:
        _inspect(args.path, None if args.no_picture else args.picture or _default(args.path))


def _kinds() -> str:
    return "\n".join(f"  {name:<12} {what}" for name, what in INSPECTED.items())


def _default(path: Path) -> Path:
    return Path(f"{path.resolve().stem}.inspect.png")


def _inspect(path: Path, picture: Path | None) -> None:
    # Torch takes seconds to import; help and errors of the command line need not wait for it.
    from lilas.inspect.kinds import inspect

    found = inspect(path)
    print("\n".join(found.lines))
    if picture is None:
        return
    if found.draw is None:
        print("\nPicture: none; there is nothing to draw of it.")
        return
    folder = picture.absolute().parent
    if folder.is_dir() and not os.access(folder, os.W_OK):
        print(f"\nPicture: none; {folder} cannot be written to. Name another place: --picture FILE")
        return
    with atomic(picture) as part:
        found.draw().savefig(part, format="png", dpi=120)
    print(f"\nPicture: {picture}")


def _check(folder: Path, states: bool) -> None:
    from lilas.inspect.folder import check_folder

    found = check_folder(folder, states)
    print("\n".join(found.lines), flush=True)
    if found.faults:
        faults, places = (
            f"{count} {word}{'s' * (count > 1)}"
            for count, word in ((found.faults, "fault"), (found.files, "place"))
        )
        raise LilasError(f"{folder}: {faults}, in {places}")


def _trace(cell: str, results: Path) -> None:
    from lilas.inspect.trace import trace

    found = trace(cell, results)
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
            raise broken(path, "the results of a study", "nothing", "Run snakemake to make them.")
    from lilas.report.typeset import terminal

    intro, _, sections = tables.read_text(encoding="utf-8").partition("### ")
    title, _, body = terminal(sections.partition("### ")[0]).partition("\n\n")
    end = ["* the best emulator or baseline of a horizon", f"Report: {report.resolve()}"]
    return "\n".join([title, intro.strip(), "", body, *end])
