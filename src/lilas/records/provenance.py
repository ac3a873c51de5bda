"""Where an artifact comes from: configuration, inputs, versions and the code's fingerprint."""

import ast
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lilas
from lilas.files import sha256

PACKAGE = Path(lilas.__file__).parent
# Raised by hand when a change of code changes a stage's results, so that the workflow makes them
# again; a change that only moves code leaves the number, and nothing is recomputed.
VERSIONS = {
    "simulate": 1,
    "download": 1,
    "statistics": 1,
    "autoencoder": 3,
    "latents": 3,
    "emulator": 3,
    "official": 1,
    "rollout": 3,
    "evaluate": 2,
    "frames": 1,
    "claims": 1,
    "tables": 2,
    "figures": 2,
    "report": 2,
}

METRICS = (
    "lilas.evaluation.distances",
    "lilas.evaluation.ensembles",
    "lilas.evaluation.metrics",
    "lilas.evaluation.physics",
    "lilas.evaluation.spectra",
)

LIBRARIES = ("torch", "numpy", "zarr", "azula", "heavyball", "the_well")


def provenance(
    stage: str, config: dict[str, Any], inputs: dict[str, str | Path | list[Path]]
) -> dict[str, Any]:
    """Returns what an artifact records of its making.

    Args:
        stage: The stage that makes it.
        config: The stage's slice of the configuration.
        inputs: Named inputs. A single file is recorded by path and SHA-256; a list of data files
            by path, size and time, since hashing terabytes would cost more than it tells.
    """
    return {
        "stage": stage,
        "version": VERSIONS[stage],
        "config": config,
        "inputs": {
            name: [_data_file(Path(p)) for p in value]
            if isinstance(value, list)
            else {"path": str(value), "sha256": sha256(value)}
            for name, value in inputs.items()
        },
        "code": code_fingerprint(stage),
        "versions": {"lilas": lilas.__version__} | {name: version(name) for name in LIBRARIES},
    }


def making(record: dict[str, Any]) -> dict[str, Any]:
    """Returns the part of a record that decides the numbers of what was made."""
    return {key: record[key] for key in ("stage", "version", "config", "inputs")}


def _data_file(path: Path) -> dict[str, Any]:
    found = path.stat()
    return {"path": str(path), "bytes": found.st_size, "modified": found.st_mtime_ns}


def differences(record: dict[str, Any]) -> list[str]:
    """Returns what has changed since a record was made, a line each; empty when it is current.

    A difference in code is reported, never a reason to compute again by itself.
    """
    found = []
    for name, entry in record["inputs"].items():
        for item in entry if isinstance(entry, list) else [entry]:
            path = Path(item["path"])
            if not path.is_file():
                found.append(f"{name}: {path} is gone")
            elif "sha256" in item and sha256(path) != item["sha256"]:
                found.append(f"{name}: {path} has changed since")
            elif "bytes" in item and _data_file(path) != item:
                found.append(f"{name}: {path} has another size or time now")
    if record["code"] != code_fingerprint(record["stage"]):
        found.append(f"code: the code of stage {record['stage']!r} differs from the one used")
    return found


@cache
def code_fingerprint(stage: str) -> str:
    """Returns a hash of the code behind a stage, blind to comments, docstrings and layout.

    It covers the stage's module and every module of the package that it imports, directly or
    through another, and is blind to which of them a definition lies in.
    """
    return _fingerprint(sorted(_reachable(f"lilas.stages.{stage}")))


def metrics_fingerprint() -> str:
    """Returns a hash of the code of the metrics themselves, blind as `code_fingerprint`.

    The workflow evaluates again when it changes: what a number means must not differ by the day
    it was made, and nothing is sampled or trained for it.
    """
    return _fingerprint(METRICS)


def _fingerprint(modules: Sequence[str]) -> str:
    """Returns a hash of what modules say together, wherever among them each statement lies."""
    said = {statement for name in modules for statement in _statements(_file(name).read_text())}
    digest = hashlib.sha256()
    for statement in sorted(said):
        digest.update(statement.encode())
    return digest.hexdigest()


def _file(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _reachable(module: str) -> set[str]:
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or not _file(name).is_file():
            continue
        found.add(name)
        for node in ast.walk(ast.parse(_file(name).read_text())):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names if alias.name.startswith("lilas")]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lilas"):
                waiting += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def _statements(source: str) -> set[str]:
    """Returns the statements of a module, without docstrings.

    Imports of the package's own names are left out: they say where something lies, not what it is.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = body[1:] if body and _is_text(body[0]) else body
            node.body = [part for one in kept for part in _without_place(one)]
    return {ast.dump(statement) for statement in tree.body}


def _without_place(node: ast.stmt) -> list[ast.stmt]:
    """Returns an import as one statement per name, none for our own; others as they are."""
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return [node]
    if isinstance(node, ast.ImportFrom):
        parts = [ast.ImportFrom(node.module, [alias], node.level) for alias in node.names]
        return [] if (node.module or "").split(".")[0] == "lilas" else parts
    return [ast.Import([a]) for a in node.names if a.name.split(".")[0] != "lilas"]


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def as_json(record: dict[str, Any]) -> str:
    """Returns a record as the one-line JSON that file formats with string attributes hold."""
    return json.dumps(record, sort_keys=True, allow_nan=False)
