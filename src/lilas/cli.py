"""The command `lilas`: what a run would take, and what the pipeline has made."""

import argparse
import difflib
import os
import re
import sys
from typing import NoReturn

from lilas import __version__
from lilas.commands import completion, data, models, official, own, results, runs
from lilas.stages import execute

DESCRIPTION = """\
Looks at what the pipeline has made, or would take, and calls the models that it trained; the
pipeline itself is run with snakemake."""

# Groups of commands, in the order of help.
GROUPS = (runs, results, models, own, data, official, completion)


class Parser(argparse.ArgumentParser):
    """A parser that says what a misspelt command may have meant."""

    def error(self, message: str) -> NoReturn:
        """Ends with the usage, the message and status 2."""
        if wrong := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            known = re.findall(r"'(.*?)'", wrong[2])
            if near := difflib.get_close_matches(wrong[1], known, n=1):
                message += f". Did you mean {near[0]}?"
        super().error(message)


def main() -> None:
    """Runs the command line; a broken contract ends it with one line and status 1."""
    try:
        execute(_main, "run the same command again")
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; Python's own flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = Parser(
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
