"""Settings: frozen models that refuse what they do not know, and tell it in one line.

Some settings are one of several models, told apart by the value of a key (`choice`): a source, an
architecture, a method, an algorithm.
"""

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_serializer,
    model_validator,
)

from lilas import plugins

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
Positive = Annotated[int, Field(gt=0)]
PositiveNumber = Annotated[float, Field(gt=0)]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError(f"{number} is even: it has no centre")
    return number


def expanded(path: str) -> str:
    """Returns a path as a shell has it: ~, $NAME and ${NAME} stand for what they name.

    Raises:
        ValueError: it is empty, or names a variable or user that is not there.
    """
    if not path:
        raise ValueError("empty; expected a path")
    for braced, plain in re.findall(r"\$(?:\{([^}]*)\}|(\w+))", path):
        if not os.environ.get(braced or plain):
            raise ValueError(f"{path}: the variable {braced or plain} is not set")
    found = os.path.expandvars(os.path.expanduser(path))
    if found.startswith("~"):
        raise ValueError(f"{path}: no user {found.split('/')[0][1:]!r}")
    return found


PathText = Annotated[str, AfterValidator(expanded)]
Odd = Annotated[int, Field(gt=0), AfterValidator(_odd)]
Even = Annotated[int, Field(gt=0, multiple_of=2)]


class Entry(Model):
    """What a study says of something under one name: where it is used, and what it is.

    People write both side by side; what no key of the entry itself is belongs to the one that
    `gathered` names.
    """

    gathered: ClassVar[str]

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        return handler(schema) | {"gathered": cls.gathered}

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        own = set(cls.model_fields) - {cls.gathered}
        rest = {key: item for key, item in value.items() if key not in own}
        return {key: value[key] for key in value if key in own} | {cls.gathered: rest}

    @model_serializer(mode="wrap")
    def _side_by_side(self, handler: Any) -> dict[str, Any]:
        values = handler(self)
        return values | values.pop(self.gathered)


# --- One of several models --------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Choice:
    """The models that a value may be, by tag, and the keys whose values are the tags."""

    keys: tuple[str, ...]
    models: Mapping[str, Any]


def tag(model: type[Model], keys: Sequence[str]) -> str:
    """Returns a model's tag: the one value of the first of `keys` that it has, or that key."""
    key = next(key for key in keys if key in model.model_fields)
    annotation = model.model_fields[key].annotation
    return get_args(annotation)[0] if get_origin(annotation) is Literal else key


def choice(
    models: Sequence[type[Model]] | Mapping[str, Any], *keys: str, default: str | None = None
) -> Any:
    """Returns the annotation of a value that is one of several models.

    Args:
        models: Each has one of the keys with a single value, its tag; or any value of it, and the
            key itself is the tag. Or annotations by tag.
        keys: The first that a value has tells which model it is.
        default: The tag of a value that has none of them.
    """
    tags = models if isinstance(models, Mapping) else {tag(m, keys): m for m in models}

    def find(value: Any) -> str | None:
        for key in keys:
            said = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
            if said is not None:
                return key if key in tags else f"{said}"
        return default

    parts = [Annotated[model, Tag(name)] for name, model in tags.items()]
    if len(parts) < 2:
        return parts[0] if parts else Annotated[None, BeforeValidator(_nothing)]
    return Annotated[Union[tuple(parts)], Discriminator(find), Choice(keys, tags)]  # noqa: UP007


def _nothing(value: Any) -> Any:
    if value is not None:
        raise ValueError("LILAS has none of its own, and no plug-in that adds one is installed")


def extended(
    group: str,
    base: type[Model],
    builtin: Sequence[type[Model]],
    key: str,
    reserved: Sequence[str] = (),
) -> tuple[type[Model], ...]:
    """Returns models of LILAS, and those that plug-ins add, whose name is the value of `key`.

    Args:
        group: Of `lilas.plugins.GROUPS`.
        base: What each of them must be derived from.
        builtin: The models of LILAS.
        key: Of every model, with a single value.
        reserved: Names that LILAS has for something else.
    """
    names = (*(tag(model, [key]) for model in builtin), *reserved)
    kept = list(builtin)
    for name, model in plugins.found(group, names).items():
        if (wrong := _wrong(model, base, key, name)) is None:
            kept.append(model)
        else:
            plugins.problem(group, name, wrong)
    return tuple(kept)


def _wrong(model: Any, base: type[Model], key: str, name: str) -> str | None:
    """Returns what is wrong with a plug-in's model, None where nothing is."""
    if not (isinstance(model, type) and issubclass(model, base)):
        return f"it is no class derived from {base.__module__}.{base.__name__}"
    field = model.model_fields[key]
    if get_args(field.annotation) != (name,) or not field.is_required():
        return f'its {key} must be Literal["{name}"], the entry\'s name, without a default'
    # Pydantic knows only the class variables that are declared.
    silent = {n for n in base.__class_vars__ if not hasattr(model, n)}
    if missing := sorted(silent | model.__abstractmethods__):
        return f"it does not say its {missing[0]}"
    return None


def refuse_shared(group: str, entry: type[Entry], models: Sequence[type[Model]], key: str) -> None:
    """Notes plug-ins whose settings have a name that the entries they stand in have too."""
    for model in models:
        shared = sorted((set(model.model_fields) & set(entry.model_fields)) - {key})
        if shared and (name := tag(model, [key])) in plugins.found_names(group):
            plugins.problem(group, name, f"its setting {shared[0]!r} is {entry.__name__}'s. Rename")


# --- Errors in one line -----------------------------------------------------------------------


def refuse_unknown(key: str, names: Any, allowed: Any) -> None:
    """Refuses names that are not among those allowed.

    Raises:
        ValueError: which, and what is allowed.
    """
    for name in names:
        if name not in allowed:
            raise ValueError(f"{key}: unknown {name!r}{_near(name, allowed)}; {_allowed(allowed)}")


def describe(error: ValidationError, model: type[Model], where: str = "") -> str:
    """Returns one finding of a validation in one line: the key, and what it may be.

    An unknown key comes first: it is often another's that is missing, misspelt.
    """
    findings = error.errors(include_url=False)
    finding = next((one for one in findings if one["type"] == "extra_forbidden"), findings[0])
    keys, known, here = _follow(model, finding["loc"])
    key = ".".join(([where] if where else []) + keys)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if finding["type"] == "extra_forbidden":
        near = _near(finding["loc"][-1], known)
        return f"{key}: unknown key{near}; {_allowed(sorted(known))}{more}"
    if finding["type"] in ("union_tag_invalid", "union_tag_not_found"):
        mark = _marks(here)[0]
        allowed = [name for name in mark.models if name not in mark.keys]
        name, value = mark.keys[-1], finding["input"]
        key = f"{key}.{name}".lstrip(".")
        said = value.get(name) if isinstance(value, dict) else value
        if said is None:
            return f"{key} is missing; {_allowed(allowed)}{more}"
        return f"{key}: unknown {said!r}{_near(said, allowed)}; {_allowed(allowed)}{more}"
    if finding["type"] == "missing":
        return f"{key} is missing{more}"
    message = finding["msg"].removeprefix("Value error, ")
    if finding["type"] == "value_error":
        return f"{key}: {message}{more}" if key else f"{message}{more}"
    return f"{key}: {message}, found {finding.get('input')!r}{more}"


def _near(name: Any, allowed: Any) -> str:
    near = difflib.get_close_matches(str(name), list(map(str, allowed)), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _allowed(names: Any) -> str:
    return f"allowed: {', '.join(map(str, names)) or 'none'}"


def _follow(model: type[Model], location: tuple[Any, ...]) -> tuple[list[str], set[str], Any]:
    """Returns a location as people write it, the keys allowed at its end, its annotation.

    Which of several models a value was read as, and what an entry gathers, is no part of it.
    """
    shown: list[str] = []
    here: Any = model
    known: set[str] = set()
    beside: set[str] = set()
    for step in location:
        choices = {name: one for mark in _marks(here) for name, one in mark.models.items()}
        if step in choices:
            here = choices[step]
            continue
        models = _models(here)
        having = [one for one in models if step in one.model_fields]
        if having and step == getattr(having[0], "gathered", None):
            # An entry's own keys stand beside those of what it gathers.
            beside = set(having[0].model_fields) - {step}
            here = having[0].model_fields[step]
            continue
        shown.append(str(step))
        known = beside.union(*(one.model_fields for one in models))
        beside = set()
        if having:
            here = having[0].model_fields[step]
        else:
            inner = [part for part in _parts(here) if get_origin(part) in (dict, list, tuple)]
            here = get_args(inner[0])[-1] if inner else None
    return shown, known, here


def _parts(annotation: Any) -> list[Any]:
    """Returns an annotation, and the alternatives within it."""
    annotation = getattr(annotation, "annotation", annotation)
    if get_origin(annotation) in (dict, list, tuple):
        return [annotation]
    return [annotation, *(part for arg in get_args(annotation) for part in _parts(arg))]


def _models(annotation: Any) -> list[type[Model]]:
    parts = [part for part in _parts(annotation) if isinstance(part, type)]
    return [part for part in parts if issubclass(part, Model)]


def _marks(annotation: Any) -> list[Choice]:
    own = [item for item in getattr(annotation, "metadata", []) if isinstance(item, Choice)]
    inner = [part for part in _parts(annotation) if isinstance(part, Choice)]
    return [*own, *inner]
