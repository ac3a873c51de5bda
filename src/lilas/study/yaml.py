"""YAML as people write it: 1e5 is a number, and no key is there twice."""

import re
from pathlib import Path
from typing import Any

import yaml

from lilas.errors import LilasError
from lilas.settings.values import shown

# Numbers that YAML 1.1, and so PyYAML, takes for text: it asks for a point and a sign.
NUMBER = r"^[-+]?([0-9][0-9_]*)(\.[0-9_]*)?[eE][-+]?[0-9]+$"
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):
    """Reads 1e5 as the number that its author meant: an integer where it is one."""


class _Integer(int):
    """A number that is text where text belongs, as it was written."""

    written: str


class _Float(float):
    """Likewise."""

    written: str


def _number(loader: Any, node: yaml.ScalarNode) -> _Integer | _Float:
    value = float(node.value.replace("_", ""))
    number = _Integer(value) if value.is_integer() else _Float(value)
    number.written = node.value
    return number


_Loader.add_implicit_resolver("!number", re.compile(NUMBER), list("-+0123456789"))
_Loader.add_constructor("!number", _number)


def read_yaml(path: str | Path) -> Any:
    """Returns what a YAML file holds.

    Raises:
        LilasError: the file cannot be read, is not UTF-8 or not YAML, or has a key twice.
    """
    try:
        loader = _Loader(Path(path).read_text(encoding="utf-8"))
        node = loader.get_single_node()
        _check_keys(path, node, set())
        return None if node is None else loader.construct_document(node)
    except UnicodeDecodeError as error:
        raise LilasError(f"{path}: is not UTF-8, in which YAML is written: {error}") from None
    except (OSError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise LilasError(f"{path}: cannot be read as YAML: {told[:150]}") from None


def _check_keys(path: str | Path, node: yaml.Node | None, seen: set[int]) -> None:
    """Refuses a mapping that has a key twice, of which YAML would keep the last without a word."""
    # An alias is the node that it names, which may even hold itself.
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in keys:
                raise LilasError(
                    f"{path}: line {key.start_mark.line + 1} has the key {shown(key.value)} a "
                    "second time; allowed: once"
                )
            keys.add(str(key.value))
            if key.tag == "!number":
                # A name may look like a number.
                key.tag = "tag:yaml.org,2002:str"
            _check_keys(path, value, seen)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(path, item, seen)
