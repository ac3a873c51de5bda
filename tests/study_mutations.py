"""Mutations of studies: each key dropped, renamed or there twice, each value of another kind.

What may come of one is a plan, or one line that names the key and says what it may be.
"""

import copy
import math
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lilas import plan
from lilas.errors import LilasError
from lilas.plan import given
from lilas.study.read import Config, make_study, read_study
from lilas.study.yaml import read_yaml

ROOT = Path(__file__).parents[1]
MINIATURE = ROOT / "tests" / "data" / "miniature.yaml"
EVERYTHING = ROOT / "tests" / "data" / "everything.yaml"
STUDIES = [*sorted((ROOT / "workflow" / "studies").glob("*.yaml")), MINIATURE, EVERYTHING]
ACCEPTED = ROOT / "tests" / "data" / "accepted_mutations.yaml"
# What a value becomes, whatever it was.
VALUES: dict[str, Any] = {
    "text": "text",
    "number": 7,
    "zero": 0,
    "negative": -1,
    "nan": math.nan,
    "infinite": math.inf,
    "huge": 1e30,
    "true": True,
    "null": None,
    "empty list": [],
    "empty mapping": {},
}
# Keys whose own keys are names of the user's.
NAMED = ("datasets", "autoencoders", "emulators", "samplers", "per_dataset", "label", "transform")
LONGEST = 300

Place = tuple[str | int, ...]


class Mutation(NamedTuple):
    """Where a study is changed, and how."""

    place: Place
    kind: str

    @property
    def pattern(self) -> str:
        """The key as a pattern: `*` for what the user names, `[]` for an element of a list."""
        words, before = [], None
        for step in self.place:
            named = before in NAMED and isinstance(step, str)
            words.append("*" if named else "[]" if isinstance(step, int) else step)
            before = step
        return ".".join(words)


def load(path: Path) -> Any:
    """The values of a study, each entry its own, although YAML's anchors share them."""
    return _plain(read_yaml(path))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    # Not the number that knows how it was written.
    return value + 0 if isinstance(value, int | float) and type(value) is not bool else value


def full() -> Any:
    """The values of the miniature with every key spelled out that has a default."""
    return _plain(read_study(MINIATURE).model_dump(mode="json"))


def mutations(values: Any, place: Place = ()) -> Iterator[Mutation]:
    """All mutations of the values of a study."""
    entries = enumerate(values) if isinstance(values, list) else values.items()
    for key, value in entries:
        here = (*place, key)
        yield Mutation(here, "drop")
        yield Mutation(here, "twice")
        if isinstance(key, str):
            yield Mutation(here, "rename")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        for kind, other in VALUES.items():
            if (other != value or type(other) is not type(value)) and (
                kind != "number" or not is_number
            ):
                yield Mutation(here, kind)
        if is_number and value > 0:
            yield Mutation(here, "opposite")
        if isinstance(value, list) and value != value[::-1]:
            yield Mutation(here, "reversed")
        if isinstance(value, list | dict):
            yield from mutations(value, here)


class _Pairs(list):
    """A mapping that may have a key twice."""


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):
    pass


_Dumper.add_representer(
    _Pairs, lambda dumper, pairs: dumper.represent_mapping("tag:yaml.org,2002:map", pairs)
)


def mutated(values: Any, mutation: Mutation) -> Any:
    """The values with a mutation; a mapping with a key twice is a list of pairs."""
    *parents, last = mutation.place
    if not parents and mutation.kind == "twice":
        return _Pairs([*values.items(), (last, values[last])])
    result = changing = copy.copy(values)
    for step in parents[:-1] if mutation.kind == "twice" else parents:
        changing[step] = changing = copy.copy(changing[step])
    kind = mutation.kind
    if kind == "twice":
        inside = changing[parents[-1]]
        if isinstance(inside, list):
            changing[parents[-1]] = [*inside[: last + 1], *inside[last:]]
        else:
            changing[parents[-1]] = _Pairs([*inside.items(), (last, inside[last])])
    elif kind == "drop":
        del changing[last]
    elif kind == "rename":
        renamed = [(f"{k}_x" if k == last else k, v) for k, v in changing.items()]
        changing.clear()
        changing.update(renamed)
    elif kind == "opposite":
        changing[last] = -changing[last]
    elif kind == "reversed":
        changing[last] = changing[last][::-1]
    else:
        changing[last] = VALUES[kind]
    return result


def has_twice(mutation: Mutation) -> bool:
    return mutation.kind == "twice" and isinstance(mutation.place[-1], str)


def write(path: Path, values: Any) -> None:
    """Writes values as YAML."""
    path.write_text(yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def outcome(values: Any, mutation: Mutation, scratch: Path) -> str | None:
    """The line in which a mutation is refused; None where it is planned."""
    changed = mutated(values, mutation)
    try:
        if has_twice(mutation):
            # Only a file can have a key twice.
            write(scratch, changed)
            study = read_study(scratch)
        else:
            study = make_study("study.yaml", changed)
        plan.study_files(Config(), study)
        given.check_given(study, Config(), {})
    except LilasError as error:
        return str(error).replace(f"{scratch}", "study.yaml")
    return None


SAYS = re.compile(
    r"allowed|expected|should|must|at most|at least|missing|mean|takes|second time|twice|divide|"
    r"no key|belong|lists them|is a mapping"
)


def fault(values: Any, mutation: Mutation, message: str) -> str | None:
    """What is wrong with a refusal, None where nothing is."""
    if "\n" in message:
        return "more than one line"
    if len(message) > LONGEST:
        return f"{len(message)} characters"
    names = [step for step in mutation.place if isinstance(step, str)]
    # A key, or, where values contradict each other, that of the other.
    known = names[1:] if isinstance(mutation.place[-1], int) else names[-2:]
    if names == ["sweep"]:
        # A base need not have what its sweep sets.
        known.append("is missing")
    if not any(name in message for name in known):
        return f"names neither of {names[-2:]}"
    if not SAYS.search(message):
        return "does not say what it may be"
    return None


def read_accepted() -> list[dict[str, Any]]:
    """The groups of mutations that are planned: keys, kinds and a reason each."""
    return read_yaml(ACCEPTED)


def group(groups: list[dict[str, Any]], mutation: Mutation) -> tuple[int, str, str] | None:
    """The group that a mutation belongs to, and the key and kind of it."""
    for i, one in enumerate(groups):
        if mutation.kind in one["kinds"]:
            for key in one["keys"]:
                if _regex(key).fullmatch(mutation.pattern):
                    return i, key, mutation.kind
    return None


@cache
def _regex(key: str) -> re.Pattern[str]:
    """A group's key: `*` is a step of a place, `**` one or more."""
    steps = {"*": r"[^.]+", "**": r"[^.]+(\.[^.]+)*"}
    return re.compile(r"\.".join(steps.get(step, re.escape(step)) for step in key.split(".")))
