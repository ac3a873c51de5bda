"""Mutations of every study that is shipped: a plan, or one line that says what is wrong.

`make test-mutations` draws some of those that are planned and runs them to their report.
"""

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import study_mutations
from lilas.systems.base import SPLITS
from study_mutations import (
    LONGEST,
    MINIATURE,
    STUDIES,
    VALUES,
    Mutation,
    fault,
    full,
    group,
    load,
    mutated,
    mutations,
    outcome,
    read_accepted,
)

GROUPS = read_accepted()


def every() -> Iterator[tuple[str, Any]]:
    """The studies by name, the miniature also with every key spelled out."""
    for path in STUDIES:
        yield path.stem, load(path)
    yield "full", full()


def test_mutated_studies_are_planned_or_refused_in_one_line(tmp_path, monkeypatch):
    """What is planned belongs to a group with a reason, and each group's keys occur."""
    # The folders that everything.yaml names.
    monkeypatch.chdir(tmp_path)
    for folder, split in product("ab", SPLITS):
        Path(folder, "data", split).mkdir(parents=True)
        Path(folder, "data", split, "run.hdf5").touch()
    wrong, seen, count = [], set(), 0
    for name, values in every():
        for mutation in mutations(values):
            count += 1
            message = outcome(values, mutation, tmp_path / "study.yaml")
            if message is not None:
                if told := fault(values, mutation, message):
                    wrong.append((name, mutation, told, message))
            elif (place := group(GROUPS, mutation)) is None:
                wrong.append((name, mutation, "is planned, and belongs to no group", ""))
            else:
                seen.add(place)
    assert not wrong, "\n".join(map(str, [len(wrong), *wrong[:20]]))
    assert count > 10_000
    named = {
        (i, key, kind)
        for i, one in enumerate(GROUPS)
        for key in one["keys"]
        for kind in one["kinds"]
    }
    left = sorted((key, kind) for _, key, kind in named - seen)
    assert not left, f"accepted_mutations.yaml: these no longer occur: {left}"


def test_groups_are_few_and_each_has_a_reason():
    assert len(GROUPS) <= 60
    for one in GROUPS:
        assert set(one) == {"keys", "kinds", "reason"}
        assert one["reason"].endswith(".")


def test_a_new_key_that_takes_anything_would_be_seen():
    """Of the test itself: what is planned without a group, or refused badly, is found."""
    assert group(GROUPS, Mutation(("datasets", "a", "evaluation", "horizons"), "drop")) is None
    assert group(GROUPS, Mutation(("datasets", "a", "stride"), "huge")) is None
    assert group(GROUPS, Mutation(("emulators", "a", "new"), "drop")) is None
    assert group(GROUPS, Mutation(("emulators", "a"), "drop")) is not None
    values = load(MINIATURE)
    mutation = Mutation(("datasets", "convection", "stride"), "huge")
    assert fault(values, mutation, "stride: allowed: at most 2") is None
    assert fault(values, mutation, "stride: \n allowed: at most 2")
    assert fault(values, mutation, "something else: allowed: at most 2")
    assert fault(values, mutation, "stride is wrong")
    assert fault(values, mutation, f"stride: allowed: {'x' * LONGEST}")


@pytest.mark.parametrize(
    ("place", "kind", "found"),
    [
        (("a",), "drop", {"b": {"c": 2}}),
        (("b", "c"), "rename", {"a": [1, 2], "b": {"c_x": 2}}),
        (("b", "c"), "opposite", {"a": [1, 2], "b": {"c": -2}}),
        (("a",), "reversed", {"a": [2, 1], "b": {"c": 2}}),
        (("a", 0), "twice", {"a": [1, 1, 2], "b": {"c": 2}}),
        (("a", 1), "drop", {"a": [1], "b": {"c": 2}}),
        (("a", 1), "huge", {"a": [1, 1e30], "b": {"c": 2}}),
    ],
)
def test_a_mutation_changes_one_place(place, kind, found):
    values = {"a": [1, 2], "b": {"c": 2}}
    assert mutated(values, Mutation(place, kind)) == found
    assert values == {"a": [1, 2], "b": {"c": 2}}


def test_a_key_twice_is_twice_in_the_file(tmp_path):
    values = {"a": 1, "b": {"c": 2}}
    study_mutations.write(tmp_path / "a.yaml", mutated(values, Mutation(("b", "c"), "twice")))
    assert (tmp_path / "a.yaml").read_text() == "a: 1\nb:\n  c: 2\n  c: 2\n"


def test_every_place_is_mutated_in_every_way():
    values = {"a": {"b": [True, 2.5]}}
    found = {(m.pattern, m.kind) for m in mutations(values)}
    for pattern in ("a", "a.b"):
        assert {(pattern, kind) for kind in ("drop", "rename", "twice", *VALUES)} <= found
    elements = set(VALUES) - {"true", "number"}
    assert {("a.b.[]", kind) for kind in {"drop", "twice", "opposite", *elements}} <= found
    assert ("a.b", "reversed") in found
    assert json.dumps(values) == '{"a": {"b": [true, 2.5]}}'
