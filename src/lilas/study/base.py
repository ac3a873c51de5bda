"""What the models of a study share: names, numbers, and errors in one line."""

import difflib
from typing import Annotated, Any, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)

SPLITS = ("train", "valid", "test")


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]


Positive = Annotated[int, Field(gt=0)]


PositiveNumber = Annotated[float, Field(gt=0)]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError(f"{number} is even: it has no centre")
    return number


Odd = Annotated[int, Field(gt=0), AfterValidator(_odd)]


Even = Annotated[int, Field(gt=0, multiple_of=2)]


def _known(key: str, names: Any, allowed: Any) -> None:
    for name in names:
        if name not in allowed:
            raise ValueError(f"{key}: unknown {name!r}; allowed: {', '.join(allowed)}")


# Which of several models a value is, where the models share a key.
TAGS = ("simulate", "well", "path", "transformer", "unet")


def describe(error: ValidationError, model: type[Model], where: str = "") -> str:
    """Returns the first finding of a validation in one line: the key, and what it may be."""
    finding = error.errors(include_url=False)[0]
    # Which of several models a key was read as is no part of its name.
    steps = [
        str(step)
        for before, step in zip((None, *finding["loc"]), finding["loc"], strict=False)
        if before not in ("source", "network") or step not in TAGS
    ]
    key = ".".join(([where] if where else []) + steps)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if finding["type"] == "extra_forbidden":
        allowed = _allowed(model, finding["loc"][:-1])
        near = difflib.get_close_matches(str(finding["loc"][-1]), allowed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{key}: unknown key{hint} Allowed: {', '.join(allowed)}{more}"
    message = finding["msg"].removeprefix("Value error, ")
    if finding["type"] == "value_error":
        return f"{key}: {message}{more}" if key else f"{message}{more}"
    return f"{key}: {message}, found {finding.get('input')!r}{more}"


def _allowed(model: Any, location: tuple[Any, ...]) -> list[str]:
    """Returns the keys of the model at a location inside `model`."""

    def models(annotation: Any) -> list[type[Model]]:
        if isinstance(annotation, type) and issubclass(annotation, Model):
            return [annotation]
        return [found for part in get_args(annotation) for found in models(part)]

    candidates, named = [model], False
    for step in location:
        if named:
            named = False  # a name that the author of the study gave
            continue
        tagged = [
            m
            for m in candidates
            for tag in ("kind", "architecture")
            if tag in m.model_fields and step in get_args(m.model_fields[tag].annotation)
        ]
        if len(candidates) > 1 and tagged:
            candidates = tagged
            continue
        fields = [m.model_fields[step] for m in candidates if step in m.model_fields]
        named = any(get_origin(field.annotation) is dict for field in fields)
        candidates = [m for field in fields for m in models(field.annotation)] or candidates
    return sorted({key for m in candidates for key in m.model_fields})
