"""Where an artifact comes from: configuration, inputs, versions and the code's fingerprint."""

import ast
import hashlib
import json
from collections.abc import Collection, Sequence
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lilas
from lilas.errors import broken
from lilas.files import read_json, sha256
from lilas.plugins import points
from lilas.study import paths

PACKAGE = Path(lilas.__file__).parent
# Raised by hand when a change of code changes a stage's results, so that the workflow makes them
# again; a change that only moves code leaves the number, and nothing is recomputed.
VERSIONS = {
    "simulate": 1,
    "download": 1,
    "statistics": 2,
    "autoencoder": 4,
    "latents": 4,
    "emulator": 4,
    "given": 1,
    "tune": 1,
    "rollout": 4,
    "timing": 1,
    "latent_parameters": 2,
    "counterfactual": 1,
    "evaluate": 4,
    "claims": 4,
    "tables": 4,
    "figures": 4,
    "report": 7,
}

# All that a number of an evaluation means.
METRICS = (
    "lilas.evaluation.bands",
    "lilas.evaluation.comparison",
    "lilas.evaluation.curves",
    "lilas.evaluation.distances",
    "lilas.evaluation.ensembles",
    "lilas.evaluation.field_scores",
    "lilas.evaluation.metric",
    "lilas.evaluation.metrics",
    "lilas.evaluation.observed",
    "lilas.evaluation.physics",
    "lilas.evaluation.spectra",
)

# Of a data file, so many pieces of so many bytes stand for its content.
PIECES, PIECE = 16, 256 * 2**10

# Ends the line of an input that cannot be checked.
ELSEWHERE = "is not here and cannot be checked"

# What a record says, and in what.
_PARTS = {
    "stage": str,
    "version": int,
    "config": dict,
    "inputs": dict,
    "implementations": list,
    "code": str,
    "versions": dict,
}

LIBRARIES = ("torch", "numpy", "zarr", "azula", "heavyball", "the_well")


def provenance(
    stage: str,
    config: dict[str, Any],
    inputs: dict[str, str | Path | list[Path]],
    implementations: Sequence[str] = (),
) -> dict[str, Any]:
    """Returns what an artifact records of its making.

    Args:
        stage: The stage that makes it.
        config: The stage's slice of the configuration.
        inputs: Named inputs. A single file is recorded by path and SHA-256; a list of data files by
            path, size and a sample of the bytes: hashing terabytes would cost more than it tells.
        implementations: What the stage computes with beyond its own imports, "module:attribute".
    """
    return {
        "stage": stage,
        "version": VERSIONS[stage],
        "config": config,
        "inputs": {
            name: [data_file(Path(p)) for p in value]
            if isinstance(value, list)
            else {"path": str(value), "sha256": sha256(value)}
            for name, value in inputs.items()
        },
        "implementations": list(implementations),
        "code": code_fingerprint(stage, tuple(implementations)),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Returns the versions of LILAS and of the libraries that decide its numbers."""
    return {"lilas": lilas.__version__} | {name: version(name) for name in LIBRARIES}


def check_record(path: str | Path, record: Any, *settings: str) -> dict[str, Any]:
    """Returns the record of an artifact's making, refused where it is none.

    Args:
        path: The artifact.
        record: What it has in the record's place.
        settings: What its configuration must have.

    Raises:
        LilasError: something is missing, or of another type.
    """
    held = record if isinstance(record, dict) else {}
    wrong = [key for key, kind in _PARTS.items() if not isinstance(held.get(key), kind)]
    if not wrong:
        wrong += [f"config.{name}" for name in settings if name not in held["config"]]
        wrong += [f"inputs.{name}" for name, one in held["inputs"].items() if not _is_input(one)]
    if wrong:
        expected = f"the record of its making (provenance) with {', '.join(wrong)}"
        raise broken(path, expected, "none, or damaged ones", "Delete it and run again.")
    return held


def _is_input(entry: Any) -> bool:
    many = isinstance(entry, list)
    key, kind = ("bytes", int) if many else ("sha256", str)
    return all(
        isinstance(item, dict)
        and isinstance(item.get("path"), str)
        and isinstance(item.get(key), kind)
        for item in (entry if many else [entry])
    )


def making(record: dict[str, Any]) -> dict[str, Any]:
    """Returns the part of a record that decides the numbers of what was made.

    Of inputs it is their content, and the names of data files: neither where they lie nor when they
    were written. What was copied elsewhere is carried on with.
    """
    inputs = {
        name: [item | {"path": Path(item["path"]).name} for item in entry]
        if isinstance(entry, list)
        else {"sha256": entry["sha256"]}
        for name, entry in record["inputs"].items()
    }
    return {key: record[key] for key in ("stage", "version", "config")} | {"inputs": inputs}


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Returns in which settings and inputs two makings differ, a phrase each."""
    settings = [
        flat({key: value for key, value in made.items() if key != "inputs"})
        for made in (before, now)
    ]
    inputs = [
        {
            name if isinstance(entry, dict) else f"{name}: {item['path']}": item
            for name, entry in made["inputs"].items()
            for item in (entry if isinstance(entry, list) else [entry])
        }
        for made in (before, now)
    ]
    return [
        f"{key.removeprefix('config.')} was {told[0]} and is {told[1]}"
        for key in dict.fromkeys(key for made in settings for key in made)
        if (told := [json.dumps(made.get(key)) for made in settings])[0] != told[1]
    ] + [
        f"{name} has changed" if all(name in made for made in inputs) else f"{name} came or went"
        for name in dict.fromkeys(name for made in inputs for name in made)
        if inputs[0].get(name) != inputs[1].get(name)
    ]


def flat(value: Any, key: str = "") -> dict[str, Any]:
    """Returns the leaves of nested settings by their keys, joined by dots."""
    if not isinstance(value, dict):
        return {key: value}
    return {
        leaf: found
        for name, item in value.items()
        for leaf, found in flat(item, f"{key}.{name}" if key else name).items()
    }


def data_file(path: Path) -> dict[str, Any]:
    """Returns what records have of a data file: path, size and a sample of its bytes."""
    size = path.stat().st_size
    return {"path": str(path), "bytes": size, "sampled": _sampled(path, size)}


def _sampled(path: Path, size: int) -> str:
    """Returns the SHA-256 of pieces of a file from its first byte to its last; of small ones whole.

    A copy has the same, whatever its times; and of terabytes it is known at once.
    """
    found = hashlib.sha256()
    with open(path, "rb") as file:
        for i in range(PIECES):
            # Pieces overlap, or touch, where a file has no more bytes than they.
            file.seek(max(0, size - PIECE) * i // (PIECES - 1))
            found.update(file.read(PIECE))
    return found.hexdigest()


def differences(record: dict[str, Any], artifact: Path | None = None) -> list[str]:
    """Returns what has changed since a record was made, a line each; empty when it is current.

    A difference in code is reported, never a reason to compute again by itself. An input that is
    not here is told by a line that ends in ELSEWHERE: it is not known to have changed.

    Args:
        record: The record.
        artifact: The file that it is of; inputs may have been moved with it.
    """
    found = []
    for name, entry in record["inputs"].items():
        for item in entry if isinstance(entry, list) else [entry]:
            path = located(item["path"], artifact)
            if path is None:
                found.append(f"{name}: {item['path']} {ELSEWHERE}")
            elif "sha256" in item and sha256(path) != item["sha256"]:
                found.append(f"{name}: {path} has changed since")
            elif "bytes" in item and data_file(path) != item | {"path": str(path)}:
                found.append(f"{name}: {path} has another size or content now")
    if record["code"] != current_code(record):
        found.append(f"code: the code of stage {record['stage']!r} differs from the one used")
    return found


def located(recorded: str, artifact: Path | None = None) -> Path | None:
    """Returns where an input that a record names lies now; None where it is not here.

    Results that were copied, moved or renamed hold their inputs at the same places as before. A
    study's own are looked for in its folder alone, which knows what it was called, and what lay
    beside that folder is looked for beside it. Otherwise the recorded path is looked for from
    every folder above the artifact, whole, and then from the first of its folders that the artifact
    lies in too.
    """
    path = Path(recorded)
    if artifact is not None:
        above = artifact.resolve().parents
        own = next((folder for folder in above if (folder / paths.OWNER).is_file()), None)
        for called in read_json(own / paths.OWNER).get("called", []) if own else []:
            if path.is_relative_to(called):
                at = own / path.relative_to(called)
                return _shown(path, at) if at.is_file() else None
            beside = Path(called).parent
            if beside.parts and path.is_relative_to(beside):
                at = own.parent / path.relative_to(beside)
                if at.is_file():
                    return _shown(path, at)
        for start in range(len(path.parts)):
            tail = Path(*path.parts[start:])
            for folder in above:
                inside = start == 0 or folder / tail.parts[0] in above
                if inside and (folder / tail).is_file():
                    return _shown(path, folder / tail)
    return path if path.is_file() else None


def _shown(recorded: Path, at: Path) -> Path:
    """Returns the path of a file that is shown: the recorded one where that is the same file."""
    return recorded if recorded.is_file() and recorded.samefile(at) else at


def current_code(record: dict[str, Any]) -> str:
    """Returns the fingerprint that the code behind a record has now."""
    return code_fingerprint(record["stage"], tuple(record["implementations"]))


@cache
def code_fingerprint(stage: str, implementations: tuple[str, ...] = ()) -> str:
    """Returns a hash of the code behind a stage, blind to comments, docstrings and layout.

    It covers the stage's module, those of the implementations, and every module of their packages
    that these import, directly or through another; it is blind to which of them a definition lies
    in.
    """
    modules = _reachable(f"lilas.stages.{stage}")
    for implementation in implementations:
        modules |= _reachable(implementation.partition(":")[0])
    return _fingerprint(sorted(modules))


def metrics_fingerprint() -> str:
    """Returns a hash of the code of the metrics, plug-ins' too, blind as `code_fingerprint`.

    The workflow evaluates again when it changes: what a number means must not differ by the day
    it was made, and nothing is sampled or trained for it.
    """
    modules = set(METRICS)
    for point in points("lilas.metrics"):
        modules |= _reachable(point.module, {point.module.split(".")[0]})
    return _fingerprint(sorted(modules))


def _fingerprint(modules: Sequence[str]) -> str:
    """Returns a hash of what modules say together, wherever among them each statement lies."""
    said = {
        statement
        for name in modules
        for statement in _statements(_file(name).read_text(encoding="utf-8"))
    }
    digest = hashlib.sha256()
    for statement in sorted(said):
        digest.update(statement.encode())
    return digest.hexdigest()


def _file(module: str) -> Path:
    package, *rest = module.split(".")
    if package != lilas.__name__:
        # Found, not imported: a plug-in's code may need what a plan has no time for.
        spec = find_spec(package)
        if spec is None or not spec.origin:
            return Path(package)
        origin = Path(spec.origin)
        path = origin.parent.joinpath(*rest) if origin.stem == "__init__" else origin
    else:
        path = PACKAGE.joinpath(*rest)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _reachable(module: str, packages: Collection[str] | None = None) -> set[str]:
    """Returns the modules that a module imports, itself among them, of some packages.

    Args:
        module: Where to begin.
        packages: Those to follow imports into; None is LILAS and the module's own.
    """
    packages = packages or {lilas.__name__, module.split(".")[0]}
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or name.split(".")[0] not in packages or not _file(name).is_file():
            continue
        found.add(name)
        for node in ast.walk(ast.parse(_file(name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                # A relative import lies in the module's own package.
                base = name.rsplit(".", node.level)[0] if node.level else ""
                source = ".".join(filter(None, [base, node.module]))
                waiting += [source, *(f"{source}.{alias.name}" for alias in node.names)]
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
