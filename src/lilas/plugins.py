"""What other packages add to LILAS: entries found by the entry points of their packages.

A package names each entry in a group of `GROUPS`: `toy = "toy_package.settings:Toy"`. What stands
there is a declaration, cheap to import; its `implementation`, "module:attribute", is imported by
the stage that computes with it.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from lilas.errors import LilasError

# By group, what an entry is.
GROUPS = {
    "lilas.systems": "settings of a simulated system",
    "lilas.autoencoders": "settings of an autoencoder's architecture",
    "lilas.methods": "settings of a method of emulation",
    "lilas.algorithms": "settings of a sampling algorithm",
    "lilas.guidance": "settings of a denoiser's wrapper",
    "lilas.metrics": "a metric",
}

_problems: list[str] = []


def load(implementation: str) -> Any:
    """Returns what "package.module:attribute" names."""
    module, _, attribute = implementation.partition(":")
    return getattr(import_module(module), attribute)


def later(implementation: str, *first: Any) -> Callable[..., Any]:
    """Returns a function that calls `load(implementation)`, with these arguments before its own.

    The module is imported by the first call, so that a registry may name what takes long to import.
    """
    return lambda *others: load(implementation)(*first, *others)


@cache
def points(group: str) -> tuple[EntryPoint, ...]:
    """Returns the entry points of a group, by name."""
    return tuple(sorted(entry_points(group=group), key=lambda point: point.name))


@cache
def found(group: str, taken: tuple[str, ...]) -> dict[str, Any]:
    """Returns the entries of a group by name, without those that `check` refuses.

    Args:
        group: Of `GROUPS`.
        taken: Names that LILAS itself has.
    """
    entries: dict[str, Any] = {}
    for point in points(group):
        if point.name in (*taken, *entries):
            problem(group, point.name, f"{point.name!r} is taken. Rename the entry")
            continue
        try:
            entries[point.name] = point.load()
        # Whatever a package raises when it is imported, it is refused in one line.
        except Exception as error:
            told = " ".join(f"{type(error).__name__}: {error}".split())
            problem(group, point.name, f"its import fails with {told}. Mend or uninstall it")
    return entries


def found_names(group: str) -> set[str]:
    """Returns the names of a group's entry points."""
    return {point.name for point in points(group)}


def problem(group: str, name: str, text: str) -> None:
    """Notes what is wrong with an entry, for `check`."""
    value = next(point.value for point in points(group) if point.name == name)
    _problems.append(f"plug-in {name!r} of {group} ({value}): {text}.")


def check() -> None:
    """Refuses entries that cannot be used.

    Raises:
        LilasError: a name is taken, an import fails, or an entry is not of its group's kind.
    """
    if _problems:
        more = f" (and {len(_problems) - 1} more)" if len(_problems) > 1 else ""
        raise LilasError(_problems[0] + more)
