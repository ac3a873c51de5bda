"""Values that settings are made of: numbers with bounds, names, paths, lists without repeats."""

import os
import re
import reprlib
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field


def shown(value: Any) -> str:
    """Returns a value in one line, shortened where it is long."""
    short = reprlib.Repr()
    short.maxstring = short.maxlong = short.maxother = 50
    short.maxdict = short.maxlist = short.maxtuple = 4
    short.maxlevel = 2
    return short.repr(value)


def _name(text: str) -> str:
    if not (text.isascii() and text.replace("_", "a").isalnum() and len(text) <= 64):
        raise ValueError(
            f"{shown(text)} is no name; allowed: at most 64 letters, digits and underscores"
        )
    return text


def _written(value: Any) -> Any:
    # What YAML takes for text, `lilas.study.yaml` reads as a number that knows how it was written.
    return getattr(value, "written", value)


def _odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError(f"{number} is even: it has no centre; allowed: odd numbers")
    return number


def expanded(path: str) -> str:
    """Returns a path as a shell has it: ~, $NAME and ${NAME} stand for what they name.

    A variable may hold a ~, but no other variable.

    Raises:
        ValueError: it is empty, a URL, or names a variable or user that is not there.
    """
    if not path:
        raise ValueError("empty; expected a path")
    for braced, plain in re.findall(r"\$(?:\{([^}]*)\}|(\w+))", path):
        if not os.environ.get(braced or plain):
            raise ValueError(f"{path}: the variable {braced or plain or '${}'} is not set")
    found = os.path.expanduser(os.path.expandvars(path))
    if found.startswith("~"):
        raise ValueError(f"{path}: no user {found.split('/')[0][1:]!r}")
    if "$" in found:
        held = "" if found == path else f", it is {shown(found)}"
        raise ValueError(f"{path}: a $ that names no variable{held}; allowed: $NAME, ${{NAME}}")
    if "://" in found or "\0" in found:
        raise ValueError(f"{shown(path)}: no path of a file system; allowed: a folder or a file")
    try:
        os.fsencode(found)
    except UnicodeEncodeError:
        raise ValueError(
            f"{path!a}: letters that the locale has not; set the variable PYTHONUTF8=1"
        ) from None
    return found


def _distinct(values: list[Any]) -> list[Any]:
    for i, value in enumerate(values):
        if value in values[:i]:
            raise ValueError(f"{shown(value)} is there twice; allowed: once")
    return values


Name = Annotated[
    str,
    BeforeValidator(_written),
    AfterValidator(_name),
    Field(json_schema_extra={"pattern": "^[A-Za-z0-9_]{1,64}$"}),
]
Text = Annotated[str, Field(min_length=1), BeforeValidator(_written)]
PathText = Annotated[str, AfterValidator(expanded), BeforeValidator(_written)]
Positive = Annotated[int, Field(gt=0, le=10**9)]
Natural = Annotated[int, Field(ge=0, le=10**9)]
PositiveNumber = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
# Of a grid, a layer or an ensemble: what memory must hold.
Width = Annotated[int, Field(gt=0, le=2**16)]
Odd = Annotated[Width, AfterValidator(_odd)]
Kernel = Annotated[int, Field(gt=0, le=31), AfterValidator(_odd)]
Even = Annotated[Width, Field(multiple_of=2)]

Element = TypeVar("Element")
# A list of which each element makes a job, a row or a file of its own.
Distinct = Annotated[
    list[Element], AfterValidator(_distinct), Field(json_schema_extra={"uniqueItems": True})
]
