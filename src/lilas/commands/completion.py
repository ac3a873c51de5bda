"""`lilas completion`: a script that has a shell complete commands, options and names."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lilas.commands import add_command

if TYPE_CHECKING:
    from lilas.commands import Commands

DESCRIPTION = """\
Prints a script for bash or zsh, after which the tabulator completes commands, options, studies and
files. In ~/.bashrc or ~/.zshrc:

  eval "$(lilas completion)" """

# In zsh by its own emulation of bash's completion.
SCRIPT = """\
if [ -n "$ZSH_VERSION" ]; then
    autoload -U +X compinit bashcompinit && compinit -u && bashcompinit
fi
_lilas() {
    local here="${COMP_WORDS[COMP_CWORD]}" words
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="@COMMANDS@"
    else
        case "${COMP_WORDS[1]}" in
@CASES@
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$here"))
}
_lilas_studies() {
    local file
    for file in workflow/studies/*.yaml; do
        [ -f "$file" ] && basename "$file" .yaml
    done
}
complete -o default -F _lilas lilas"""


def add(commands: "Commands") -> None:
    """Adds `completion`."""
    text = "a script that has bash or zsh complete commands and names"

    def run(args: argparse.Namespace) -> None:
        print(script(commands))

    add_command(commands, "completion", text, DESCRIPTION, run)


def script(commands: "Commands") -> str:
    """Returns the script, of the commands that are there."""
    from lilas.study.well import well_facts

    names = {"datasets": well_facts()}
    cases = "\n".join(
        f'            {name}) words="{" ".join([*_words(parser), *names.get(name, ())])}" ;;'
        for name, parser in commands.choices.items()
    )
    return SCRIPT.replace("@COMMANDS@", " ".join(commands.choices)).replace("@CASES@", cases)


def _words(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yields the options of a command, and what its arguments may be."""
    for action in parser._actions:
        yield from action.option_strings
        yield from action.choices or ()
        if action.dest == "study":
            # Those of the clone that the shell is in.
            yield "$(_lilas_studies)"
