"""The commands of `lilas`, a module for each group: it adds their parsers and says what runs."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # What argparse calls the place that a parser's commands are added to.
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_command(
    commands: "Commands",
    name: str,
    text: str,
    description: str,
    run: Callable[[argparse.Namespace], None],
    epilog: str = "",
) -> argparse.ArgumentParser:
    """Adds a command, and returns its parser.

    Args:
        commands: What it is one of.
        name: Its name.
        text: What it does, in the list of commands.
        description: What its help begins with, printed as it is.
        run: Does what its arguments ask for. What takes long to import, such as torch, is imported
            in there: help and errors of the command line do not wait for it.
        epilog: What its help ends with, such as examples.
    """
    parser = commands.add_parser(
        name,
        help=text,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser
