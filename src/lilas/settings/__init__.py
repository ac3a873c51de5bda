"""Settings: frozen models that refuse what they do not know, and tell it in one line.

Some settings are one of several models, told apart by the value of a key (`choice`): a source, an
architecture, a method, an algorithm.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_serializer,
    model_validator,
)

from lilas import plugins
from lilas.settings.values import Distinct, shown


class Model(BaseModel):
    # Strict: `true` is no number, a number is no text, and nothing is infinite.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


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
    if len(parts) == 1:
        return parts[0]
    return Annotated[Union[tuple(parts)], Discriminator(find), Choice(keys, tags)]  # noqa: UP007


def several(one: Any) -> Any:
    """Returns the annotation of a value, or of a list of such, each once."""
    parts = {"one": one, "several": Annotated[Distinct[one], Field(min_length=1)]}

    def find(value: Any) -> str:
        return "several" if isinstance(value, list) else "one"

    tagged = tuple(Annotated[part, Tag(name)] for name, part in parts.items())
    return Annotated[Union[tagged], Discriminator(find), Choice((), parts)]  # noqa: UP007


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
            near = _near(name, allowed)
            raise ValueError(f"{key}: unknown {shown(name)}{near}; {_allowed(allowed)}")


def describe(error: ValidationError, model: type[Model], where: str = "") -> str:
    """Returns one finding of a validation in one line: the key, and what it may be.

    An unknown key comes first: it is often another's that is missing, misspelt.
    """
    findings = error.errors(include_url=False)
    unknown = ("extra_forbidden", "invalid_key")
    finding = next((one for one in findings if one["type"] in unknown), findings[0])
    keys, known, here = _follow(model, finding["loc"])
    key = ".".join(([where] if where else []) + keys)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{_told(key, finding, known, here)}{more}"


def _told(key: str, finding: Any, known: set[str], here: Any) -> str:
    """Returns a finding in words.

    Args:
        key: Where, as people write it.
        finding: Of pydantic.
        known: The keys allowed there.
        here: The annotation of the value.
    """
    kind, value = finding["type"], finding.get("input")
    if kind == "extra_forbidden":
        return f"{key}: unknown key{_near(finding['loc'][-1], known)}; {_allowed(sorted(known))}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        mark = _marks(here)[0]
        allowed = [name for name in mark.models if name not in mark.keys]
        name = mark.keys[-1]
        if not isinstance(value, dict):
            return f"{key}: expected a mapping with the key {name}, found {shown(value)}"
        key, said = f"{key}.{name}".lstrip("."), value.get(name)
        if said is None:
            return f"{key} is missing; {_allowed(allowed)}"
        return f"{key}: unknown {shown(said)}{_near(said, allowed)}; {_allowed(allowed)}"
    if kind == "missing":
        described = (getattr(here, "description", None) or "").rstrip(".")
        return f"{key} is missing: {'; '.join(part for part in (described, _may_be(here)) if part)}"
    if kind == "value_error":
        return f"{key}: {finding['ctx']['error']}".removeprefix(": ")
    message = EXPECTED.get(kind, finding["msg"].removeprefix("Input "))
    if kind in ("too_short", "too_long", "string_too_short"):
        # Without the words of types that pydantic has.
        message = message.partition(" ")[2].partition(" after validation")[0]
    for limit in finding.get("ctx", {}).values():
        if isinstance(limit, float):
            # Pydantic writes out every zero of 1e150.
            message = re.sub(r"[0-9.]{20,}$", f"{limit:g}", message)
    if kind in ("model_type", "dict_type"):
        message = f"expected {_may_be(here)}"
    near = _near(value, _literals(here)) if kind == "literal_error" else ""
    return f"{key}: {message}, found {shown(value)}{near}"


# What pydantic says of types, in words.
EXPECTED = {
    "bool_type": "expected true or false",
    "finite_number": "expected a finite number",
    "float_type": "expected a number",
    "int_type": "expected an integer",
    "int_from_float": "expected an integer",
    "list_type": "expected a list",
    "string_type": "expected text (in quotes, a number is text)",
    "tuple_type": "expected a list",
}


def _may_be(here: Any) -> str:
    """Returns the values or keys that a value may have, in words; empty where a type says all."""
    if literals := _literals(here):
        return _allowed(literals)
    if any(get_origin(part) is dict for part in _parts(here)):
        return "a mapping by name"
    if models := _models(here):
        keys = dict.fromkeys(name for one in models for name in one.model_fields)
        gathered = {getattr(one, "gathered", None) for one in models}
        return f"a mapping with the keys {listed([k for k in keys if k not in gathered])}"
    return ""


def _near(name: Any, allowed: Any) -> str:
    near = difflib.get_close_matches(str(name)[:50], list(map(str, allowed)), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _allowed(names: Any) -> str:
    return f"allowed: {listed(names) or 'none'}"


def listed(names: Any) -> str:
    """Returns names in one line, as many as are read at a glance."""
    kept = [str(name) for name in names]
    while len(", ".join(kept)) > 140:
        kept.pop()
    return ", ".join(kept) + (", …" if len(kept) < len(names) else "")


def _follow(model: type[Model], location: tuple[Any, ...]) -> tuple[list[str], set[str], Any]:
    """Returns a location as people write it, the keys allowed at its end, its annotation.

    Which of several models a value was read as, and what an entry gathers, is no part of it.
    """
    keys: list[str] = []
    here: Any = model
    known: set[str] = set()
    beside: set[str] = set()
    for step in location:
        if step == "[key]":
            continue
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
        keys.append(step if isinstance(step, str) and len(step) <= 64 else shown(step))
        known = beside.union(*(one.model_fields for one in models))
        beside = set()
        if having:
            here = having[0].model_fields[step]
        else:
            inner = [part for part in _parts(here) if get_origin(part) in (dict, list, tuple)]
            here = get_args(inner[0])[-1] if inner else None
    return keys, known, here


def _parts(annotation: Any) -> list[Any]:
    """Returns an annotation, and the alternatives within it."""
    annotation = getattr(annotation, "annotation", annotation)
    if get_origin(annotation) in (dict, list, tuple):
        return [annotation]
    return [annotation, *(part for arg in get_args(annotation) for part in _parts(arg))]


def _literals(annotation: Any) -> list[Any]:
    """Returns the values that an annotation spells out, but for those of models within it."""
    parts = [part for part in _parts(annotation) if get_origin(part) is Literal]
    return [value for part in parts for value in get_args(part)]


def _models(annotation: Any) -> list[type[Model]]:
    parts = [part for part in _parts(annotation) if isinstance(part, type)]
    return [part for part in parts if issubclass(part, Model)]


def _marks(annotation: Any) -> list[Choice]:
    own = [item for item in getattr(annotation, "metadata", []) if isinstance(item, Choice)]
    inner = [part for part in _parts(annotation) if isinstance(part, Choice)]
    return [*own, *inner]
