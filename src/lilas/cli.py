"""The command `lilas`: what a run would take, and what the pipeline has made."""

import argparse
import os
import sys

from lilas import __version__
from lilas.commands import data, models, official, own, results, runs
from lilas.stages import execute

DESCRIPTION = """\
Looks at what the pipeline has made, or would take, and calls the models that it trained; the
pipeline itself is run with snakemake."""

# Groups of commands, in the order of help.
GROUPS = (runs, results, models, own, data, official)


def main() -> None:
    """Runs the command line; a broken contract ends it with one line and status 1."""
    try:
        execute(_main)
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; Python's own flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="lilas",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="lilas COMMAND --help says more.",
    )
    parser.add_argument("--version", action="version", version=f"lilas {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for group in GROUPS:
        group.add(commands)
    return parser


def _main() -> None:
    parser = make_parser()
    args = parser.parse_args()
    if args.command is None:
        parser.print_help()
    else:
        args.run(args)
