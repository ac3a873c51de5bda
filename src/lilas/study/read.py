"""Studies and `config.yaml` read from their files."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from lilas import plugins
from lilas.errors import LilasError
from lilas.settings import Model, describe
from lilas.settings.values import PathText, Positive, shown
from lilas.study.study import Study
from lilas.study.sweep import SWEPT, as_written, expanded
from lilas.study.yaml import read_yaml

# What version 0.1.0 called otherwise, by section.
RENAMED = {
    "autoencoders": {"official": "model"},
    "emulators": {"objective": "method", "official": "model"},
    "samplers": {"method": "algorithm"},
}


def _without_braces(path: str) -> str:
    if set(path) & set("{}"):
        raise ValueError(f"{path}: braces stand for parts of a path here; name another folder")
    return path


EXPANDED = "`~` and variables such as `$SCRATCH` stand for what they name."
# The workflow's patterns of paths begin with it.
PatternText = Annotated[PathText, AfterValidator(_without_braces)]


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?|mps", name):
        raise ValueError(f"unknown {shown(name)}; allowed: auto, cpu, cuda, cuda:N, mps")
    return name


def _scheduler(address: str | None) -> str | None:
    # The command line gives text.
    if address in (None, "null"):
        return None
    if not re.fullmatch(r"(tcp|tls|ucx|wss?)://[^\s{}]+:[0-9]+", address):
        raise ValueError(
            f"{shown(address)} is no address of a scheduler; allowed: null, or such as "
            "tcp://HOST:8786"
        )
    return address


class Config(Model):
    """`config.yaml`: which study to run, and where data and results live."""

    study: PathText = Field(
        default="demo", description="Name of a file in workflow/studies, or a path to your own."
    )
    data: PatternText = Field(default="results/data", description=f"Folder of the data. {EXPANDED}")
    results: PatternText = Field(default="results", description="Folder of the results, as `data`.")
    device: Annotated[str, AfterValidator(_device)] = Field(
        default="auto",
        description="cpu, cuda, cuda:N, mps, or auto: the best that is there.",
    )
    dask: Annotated[str | None, AfterValidator(_scheduler)] = Field(
        default=None,
        description="Address of a Dask scheduler, such as tcp://HOST:8786, whose workers compute "
        "statistics and scores; null computes them here.",
    )
    checkpoint_seconds: float = Field(
        default=60.0, ge=0, description="Time between checkpoints; 0 saves one after every step."
    )
    tracker: Literal["none", "tensorboard", "wandb"] = Field(
        default="none",
        description="What shows trainings as they go, beside their histories: TensorBoard, or "
        "Weights & Biases, offline. It reruns nothing, and changes no number.",
    )
    job_rollouts: Positive = Field(
        default=256,
        description="Rollouts, members of test trajectories, that a job makes or scores at most; "
        "several share more of them. What is finished stays as it is when this changes.",
    )


def read_config(
    values: dict[str, Any], said: Sequence[str] = (), files: Sequence[str | Path] = ()
) -> Config:
    """Returns the validated `config.yaml`.

    Args:
        values: As Snakemake read them.
        said: What the command line says of them, `key=value`. Snakemake makes numbers of values
            that look like such; what is text stays as it was typed.
        files: The files that they are from.

    Raises:
        LilasError: a key is unknown or twice in a file, or a value not allowed.
    """
    # YAML 1.1, which Snakemake reads, takes 6e1 for text.
    numbers = {
        key: value
        for path in files
        for key, value in (read_yaml(path) or {}).items()
        if getattr(value, "written", None) == values.get(key)
    }
    texts = {name for name, field in Config.model_fields.items() if field.annotation is str}
    pairs = [one.split("=", 1) for one in said if "=" in one]
    typed = dict(pairs)
    for key in typed:
        if len(told := [text for name, text in pairs if name == key]) > 1:
            raise LilasError(f"--config {key}: {' and '.join(told)}; allowed: one of them")
    typed = {
        key: text for key, text in typed.items() if key in texts and text[:1] not in ("'", '"')
    }
    try:
        return Config.model_validate(values | numbers | typed)
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
        near = difflib.get_close_matches(path.stem, names, n=1)
        meant = f", did you mean {near[0]}?" if near else ""
        raise LilasError(
            f"config.yaml: study {shown(study)} not found{meant}; allowed: {', '.join(names)}, "
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
    return make_study(path, read_yaml(path))


def read_swept(path: str | Path) -> dict[str, list[str]]:
    """Returns the names of the entries that the sweeps of a study's file made, by kind.

    Args:
        path: What `read_study` has read: it tells what is wrong with a file.
    """
    found: dict[str, list[str]] = {kind: [] for kind in SWEPT}
    for kind, name in expanded(read_yaml(path))[1]:
        found[kind].append(name)
    return found


def make_study(path: str | Path, values: Any) -> Study:
    """Returns the validated study that values describe; `path` is for messages, as `read_study`."""
    plugins.check()
    if not isinstance(values, dict):
        raise LilasError(f"{path}: a study is a mapping with keys {', '.join(Study.model_fields)}")
    _refuse_renamed(path, values)
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        raise LilasError(f"{path}: {as_written(describe(error, Study), values)}") from None


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
