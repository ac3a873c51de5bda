"""The commands of `lilas`, a module for each group: it adds their parsers and says what runs."""

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lilas.errors import LilasError

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


def pairs(metavar: str) -> dict[str, Any]:
    """Returns the options of an argument that takes NAME=VALUE, several and several times."""
    return {"nargs": "+", "action": "extend", "default": [], "metavar": metavar}


def mapping(option: str, texts: Sequence[str]) -> dict[str, str]:
    """Returns what NAME=VALUE pairs of an option say.

    Raises:
        LilasError: one is no pair, or a name has two values.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise LilasError(f"{option} {text}: expected NAME=VALUE")
        if name in found:
            raise LilasError(f"{option} names {name} twice")
        found[name] = value
    return found
