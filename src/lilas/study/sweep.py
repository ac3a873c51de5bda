"""Sweeps: settings of one entry, crossed into entries of their own before a study is read.

What everything after it sees, paths, jobs and records, are ordinary entries with ordinary names. A
name is made of the base's and of what is set, so that another value, key by key in any order, is
another entry beside those that are there, which stay as they are.
"""

import copy
import math
import re
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

from lilas.settings import refuse_unknown
from lilas.settings.values import shown

# What may be swept; emulators name the others.
SWEPT = ("autoencoders", "emulators", "samplers")
# More entries than anybody runs.
MOST = 1000
# Of a name; and of an integer that a name spells out.
LONGEST, LARGE = 64, 1e15


class Origin(NamedTuple):
    """What an entry of a sweep was made of: its base, and the keys that were set."""

    base: str
    keys: tuple[str, ...]


def expanded(values: dict[str, Any]) -> tuple[dict[str, Any], dict[tuple[str, str], Origin]]:
    """Returns a study's values with each swept entry in the place of its base.

    Emulators and latent analyses that name the base are of all that it became.

    Args:
        values: As YAML has them. `sweep` holds, by entry such as "autoencoders.c32", by key such as
            "train.learning_rate", a list of values, or values by a name. One that is a mapping sets
            its keys together, beside those that the base has.

    Returns:
        The values without `sweep`, and what entries were made of, by kind and name.

    Raises:
        ValueError: a sweep is of no entry, of nothing, of a value that is there twice, or makes a
            name that is no name, is taken or is made twice.
    """
    result, origins = {**values}, {}
    sweeps = result.pop("sweep", {})
    if not isinstance(sweeps, dict):
        raise ValueError(f"sweep: expected a mapping by entry, found {shown(sweeps)}")
    for entry, crossed in sweeps.items():
        where = f"sweep.{str(entry)[:80]}"
        kind, _, base = str(entry).partition(".")
        if kind not in SWEPT or not base:
            allowed = ", ".join(f"{name}.NAME" for name in SWEPT)
            raise ValueError(f"{where}: is no entry; allowed: {allowed}")
        entries = result.get(kind)
        entries = entries if isinstance(entries, dict) else {}
        refuse_unknown(where, [base], entries)
        if not isinstance(entries[base], dict):
            raise ValueError(f"{where}: expected a mapping in {kind}, found {shown(entries[base])}")
        made = _entries(where, base, entries[base], crossed)
        if long := [name for name in made if len(name) > LONGEST]:
            raise ValueError(
                f"{where}: makes the name {shown(long[0])} of {len(long[0])} characters; allowed: "
                f"at most {LONGEST}, with short names of values, as in {{NAME: value}}"
            )
        if taken := set(made) & (set(entries) - {base}):
            raise ValueError(
                f"{where}: makes an entry {min(taken)!r}, which is there already; allowed: another "
                "name of that entry or of the value"
            )
        keys = tuple(crossed)
        origins |= {(kind, name): Origin(base, keys) for name in made}
        names = [name for old in entries for name in (made if old == base else [old])]
        result[kind] = {name: made[name] if name in made else entries[name] for name in names}
        _refer(result, kind, base, list(made))
    return result, origins


def as_written(message: str, values: dict[str, Any]) -> str:
    """Returns a message on an entry of a sweep with the key that people wrote.

    That of the sweep, or of its base; what depends on a combination keeps the name of the entry.
    """
    if message.startswith("sweep"):
        return message
    for (kind, name), origin in expanded(values)[1].items():
        if not message.startswith(start := f"{kind}.{name}."):
            continue
        told = message.removeprefix(start)
        found = told.partition(":")[0].removesuffix(" is missing")
        within = any(f"{found}.".startswith(f"{key}.") for key in origin.keys)
        around = any(f"{key}.".startswith(f"{found}.") for key in origin.keys)
        if around and not within and "unknown key" not in told:
            return message
        return f"{'sweep.' * (within or around)}{kind}.{origin.base}.{told}"
    return message


def _entries(
    where: str, base: str, entry: dict[str, Any], crossed: Any
) -> dict[str, dict[str, Any]]:
    """Returns the entries that one becomes, by name."""
    if not isinstance(crossed, dict) or not crossed:
        raise ValueError(
            f"{where}: expected a mapping from keys to their values, found {shown(crossed)}"
        )
    choices = {str(key): _named(where, str(key), values) for key, values in crossed.items()}
    if (count := math.prod(map(len, choices.values()))) > MOST:
        raise ValueError(f"{where}: makes {count} entries; allowed: at most {MOST}")
    for key in choices:
        for dataset, own in _per_dataset(entry).items():
            if _holds(own, key.split(".")):
                raise ValueError(
                    f"{where}.{key}: per_dataset.{dataset} sets it as well, whatever the sweep "
                    "does; allowed: one of them"
                )
    # A name does not depend on the order of keys.
    order, found = sorted(choices), {}
    for combination in product(*(choices[key].items() for key in choices)):
        chosen = dict(zip(choices, combination, strict=True))
        made, leaves = copy.deepcopy(entry), set()
        for key in order:
            steps = key.split(".")
            _set(f"{where}.{key}", made, steps, chosen[key][1])
            for leaf in _leaves(chosen[key][1], tuple(steps)):
                if leaf in leaves:
                    raise ValueError(f"{where}: sets {'.'.join(leaf)} twice; allowed: once")
                leaves.add(leaf)
        name = "_".join([base, *(chosen[key][0] for key in order)])
        if name in found:
            raise ValueError(
                f"{where}: makes two entries {name!r}; allowed: other names of values, as in "
                "{NAME: value}"
            )
        found[name] = made
    return found


def _named(where: str, key: str, values: Any) -> dict[str, Any]:
    """Returns the values of a key by what they add to an entry's name."""
    if not isinstance(values, list | dict) or not values:
        raise ValueError(
            f"{where}.{key}: expected a list of values, or values by name, at least one; found "
            f"{shown(values)}"
        )
    if isinstance(values, dict):
        parts = [(f"{name}", value) for name, value in values.items()]
    else:
        last = key.rpartition(".")[2]
        parts = [(f"{last}_{_text(value)}", value) for value in values]
    named: dict[str, Any] = {}
    for part, value in parts:
        # For Python, true is 1.
        same = (isinstance(one, bool) == isinstance(value, bool) for one in named.values())
        if any(a and value == b for a, b in zip(same, named.values(), strict=True)):
            raise ValueError(f"{where}.{key}: {shown(value)} is there twice; allowed: once")
        if not re.fullmatch("[A-Za-z0-9_]+", part):
            raise ValueError(
                f"{where}.{key}: {shown(part)} is no name; allowed: letters, digits and "
                "underscores, as in {NAME: value}"
            )
        if part in named:
            raise ValueError(
                f"{where}.{key}: two values make the name {part!r}; allowed: a name for each, as "
                "in {NAME: value}"
            )
        named[part] = value
    return named


def _text(value: Any) -> str:
    """Returns a value as part of a name, such as 0p003."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) and value.is_integer() and abs(value) < LARGE:
        value = int(value)
    if isinstance(value, int | float):
        return repr(value).replace(".", "p").replace("-", "m").replace("+", "")
    return value if isinstance(value, str) else shown(value)


def _per_dataset(entry: dict[str, Any]) -> dict[str, Any]:
    own = entry.get("per_dataset")
    return own if isinstance(own, dict) else {}


def _holds(values: Any, steps: list[str]) -> bool:
    """Whether values have a key that is these steps deep."""
    for step in steps:
        if not isinstance(values, dict) or step not in values:
            return False
        values = values[step]
    return True


def _set(where: str, entry: dict[str, Any], steps: list[str], value: Any) -> None:
    """Sets a key of an entry; a mapping is set beside what is there."""
    for step in steps[:-1]:
        entry = entry.setdefault(step, {})
        if not isinstance(entry, dict):
            raise ValueError(f"{where}: {step} is {shown(entry)}; allowed: keys of a mapping")
    last = steps[-1]
    if isinstance(value, dict) and isinstance(entry.get(last), dict):
        for key, inner in value.items():
            _set(where, entry[last], [key], inner)
    else:
        entry[last] = copy.deepcopy(value)


def _leaves(value: Any, steps: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*steps, str(key)))
    else:
        yield steps


def _refer(values: dict[str, Any], kind: str, base: str, names: list[str]) -> None:
    """Puts the entries that one became where emulators and latent analyses name it."""

    def replaced(settings: Any) -> Any:
        if not isinstance(settings, dict):
            return settings
        found = {key: replaced(value) for key, value in settings.items()}
        if isinstance(refs := found.get(kind), list):
            found[kind] = [name for ref in refs for name in (names if ref == base else [ref])]
        return found

    for section in ("emulators", "latent_analysis"):
        if section in values:
            values[section] = replaced(values[section])
