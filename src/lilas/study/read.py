"""Studies and `config.yaml` read from their files."""

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, Field, ValidationError

from lilas import plugins
from lilas.errors import LilasError
from lilas.settings import Model, PathText, describe
from lilas.study.study import Study

# What version 0.1.0 called otherwise, by section.
RENAMED = {
    "emulators": {"objective": "method"},
    "samplers": {"method": "algorithm"},
}


def _without_braces(path: str) -> str:
    if set(path) & set("{}"):
        raise ValueError(f"{path}: braces stand for parts of a path here; name another folder")
    return path


EXPANDED = "`~` and variables such as `$SCRATCH` stand for what they name."
# The workflow's patterns of paths begin with it.
PatternText = Annotated[PathText, AfterValidator(_without_braces)]


class Config(Model):
    """`config.yaml`: which study to run, and where data and results live."""

    study: PathText = Field(
        default="demo", description="Name of a file in workflow/studies, or a path to your own."
    )
    data: PatternText = Field(default="results/data", description=f"Folder of the data. {EXPANDED}")
    results: PatternText = Field(default="results", description="Folder of the results, as `data`.")
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:[0-9]+)?|mps)$",
        description="cpu, cuda, cuda:N, mps, or auto: the best that is there.",
    )
    checkpoint_seconds: float = Field(
        default=60.0, ge=0, description="Time between checkpoints; 0 saves one whenever it logs."
    )


def read_config(values: dict[str, Any]) -> Config:
    """Returns the validated `config.yaml`.

    Raises:
        LilasError: a key is unknown or a value not allowed.
    """
    try:
        return Config(**values)
    except ValidationError as error:
        raise LilasError(f"config.yaml: {describe(error, Config)}") from None


def study_path(study: str, folder: Path) -> Path:
    """Returns the file of a study: one of `folder` by name, or the user's own path.

    Raises:
        LilasError: there is no such study.
    """
    path = Path(study) if study.endswith((".yaml", ".yml")) else folder / f"{study}.yaml"
    if not path.is_file():
        names = sorted(file.stem for file in folder.glob("*.yaml"))
        raise LilasError(
            f"config.yaml: study {study!r} not found; allowed: {', '.join(names)}, "
            "or the path of a .yaml file"
        )
    if set(path.stem) & set("{}"):
        raise LilasError(f"{path}: braces stand for parts of a path here; rename the study")
    return path


def read_study(path: str | Path) -> Study:
    """Returns the validated study in a YAML file.

    Raises:
        LilasError: the file is not YAML, a key is unknown, or a value is not allowed.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        values = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise LilasError(f"{path}: is not UTF-8, in which studies are written: {error}") from None
    except (OSError, yaml.YAMLError) as error:
        raise LilasError(f"{path}: cannot be read as YAML: {error}") from None
    _refuse_repeated(path, yaml.compose(text, yaml.SafeLoader))
    plugins.check()
    if not isinstance(values, dict):
        raise LilasError(f"{path}: a study is a mapping with keys {', '.join(Study.model_fields)}")
    _refuse_renamed(path, values)
    try:
        return Study(**_numbers(values))
    except ValidationError as error:
        raise LilasError(f"{path}: {describe(error, Study)}") from None


def _refuse_renamed(path: str | Path, values: dict[str, Any]) -> None:
    """Refuses a study of version 0.1.0, and says what is called otherwise now."""
    found = [
        f"{section}.{name}.{old} to {new}"
        for section, names in RENAMED.items()
        if isinstance(entries := values.get(section), dict)
        for name, entry in entries.items()
        for old, new in names.items()
        if isinstance(entry, dict) and old in entry and new not in entry
    ]
    if found:
        more = f" and {len(found) - 3} more like these" if len(found) > 3 else ""
        raise LilasError(
            f"{path}: a study of version 0.1.0; rename {', '.join(found[:3])}{more}. "
            "CHANGELOG.md has all that changed."
        )


def _refuse_repeated(path: str | Path, node: yaml.Node | None) -> None:
    """Refuses a mapping that has a key twice, of which YAML would keep the last without a word."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                raise LilasError(f"{path}: line {line} has the key {key.value!r} a second time")
            seen.add(key.value)
            _refuse_repeated(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated(path, item)


def _numbers(value: Any) -> Any:
    """Reads 1e5 as the number that its author meant; YAML 1.1 reads it as a string."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    if isinstance(value, str) and value[:1] in "0123456789.-+":
        try:
            return float(value)
        except ValueError:
            return value
    return value
