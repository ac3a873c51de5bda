"""What `lilas datasets` tells of The Well's datasets, from the facts that the package has."""

import textwrap
from itertools import pairwise

import yaml

from lilas.data.registry import well_urls
from lilas.display import aligned
from lilas.errors import LilasError
from lilas.study.well import SHARES, Facts, find_facts, well_facts
from lilas.systems.base import SPLITS

WIDTH = 100
_ESTIMATE = (
    "GB are an estimate, of states in float32 as The Well describes its validation splits; train, "
    "valid and test are 8 : 1 : 1 of a dataset. What files hold is told by themselves."
)
_KINDS = {0: "", 1: " (vector)", 2: " (tensor)"}


def list_datasets() -> list[str]:
    """Returns the datasets of The Well in lines of at most `WIDTH` characters."""
    known = well_facts()
    heads = aligned(
        [["dataset", "grid", "points", "steps", "GB"], *map(_head, known.values())], left=(0, 1)
    )
    lines = heads[:1]
    for head, facts in zip(heads[1:], known.values(), strict=True):
        lines += [head, *_wrapped(f"fields: {_fields(facts.fields)}")]
        if facts.constant_fields:
            lines += _wrapped(f"constant fields: {_fields(facts.constant_fields)}")
        parameters = ", ".join(facts.parameters) or "none"
        lines += _wrapped(f"parameters: {parameters}; boundaries: {', '.join(facts.boundaries)}")
    return [*lines, "", *textwrap.wrap(_ESTIMATE, WIDTH), "", "lilas datasets NAME tells more."]


def describe_dataset(name: str) -> list[str]:
    """Returns what is known of a dataset of The Well, and an entry of a study that uses it.

    Raises:
        LilasError: The Well has no such dataset.
    """
    try:
        (facts,) = find_facts([name])
    except ValueError as error:
        raise LilasError(f"{error}") from None
    files = {split: len(urls) for split, urls in well_urls(name).items()}
    points = ", ".join(map(" ".join, zip(facts.axes, map(str, facts.size), strict=True)))
    rows = {
        "grid": f"{facts.grid}: {points}",
        "fields": _fields(facts.fields),
        "constant fields": _fields(facts.constant_fields) or "none",
        "parameters": ", ".join(facts.parameters) or "none",
        "boundaries": ", ".join(facts.boundaries),
        "steps": f"{_steps(facts)} in a trajectory",
        "files": ", ".join(f"{split} {files[split]}" for split in SPLITS),
        "GB": ", ".join(f"{split} {_gigabytes(facts, split)}" for split in SPLITS),
    }
    indent = " " * (len("constant fields") + 4)
    return [
        f"{name}, of The Well",
        "",
        *(
            line
            for key, text in rows.items()
            for line in textwrap.wrap(
                text,
                WIDTH,
                initial_indent=f"  {key}".ljust(len(indent)),
                subsequent_indent=indent,
            )
        ),
        "",
        *textwrap.wrap(_ESTIMATE, WIDTH),
        "",
        "An entry of a study, to begin with:",
        "",
        *entry(facts).splitlines(),
    ]


def entry(facts: Facts) -> str:
    """Returns an entry of a study's section `datasets`, in YAML.

    Rollouts begin at the first state and go on to the end of the shortest trajectory; parameters
    enter the label as they are.
    """
    last = min(facts.steps) - 1
    edges = [0, last // 10, last // 3, last]
    values = {
        "source": {"kind": "well", "name": facts.name},
        "states": {"fields": list(facts.fields)},
        "label": dict.fromkeys(facts.parameters, "none"),
        "evaluation": {
            "start": 0,
            "horizons": [[a + 1, b] for a, b in pairwise(edges)],
        },
    }
    parts = [f"    {key}: {_inline(value)}" for key, value in values.items() if value]
    return "\n".join(["datasets:", f"  {facts.name}:", *parts])


def _inline(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6).strip()


def _head(facts: Facts) -> list[str]:
    size = " x ".join(map(str, facts.size))
    total = _gigabytes(facts, *SPLITS)
    return [facts.name, facts.grid, size, _steps(facts), total]


def _steps(facts: Facts) -> str:
    return " or ".join(map(str, sorted(set(facts.steps))))


def _gigabytes(facts: Facts, *splits: str) -> str:
    size = sum(SHARES[split] for split in splits) * facts.states * facts.state_bytes / 1e9
    return f"{size:.0f}" if size >= 10 else f"{size:.1f}"


def _fields(fields: dict[str, int]) -> str:
    return ", ".join(f"{name}{_KINDS[order]}" for name, order in fields.items())


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="      ")
