"""Folders, told in a few lines: results of a study, on a dataset, a training, rollouts, data."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from lilas.data.registry import SUFFIXES
from lilas.errors import LilasError
from lilas.files import read_json
from lilas.inspect import text
from lilas.inspect.inspection import Inspection
from lilas.inspect.others import Facts, told
from lilas.records.histories import read_history
from lilas.records.provenance import check_record
from lilas.records.weights import read_record
from lilas.study import paths

# Files of a folder that are named, at most.
NAMED = 12
# Folders that are known by their names.
CALLED = {
    paths.CHECKPOINT: "what a training resumes from",
    paths.TABLES: "tables of a study",
    paths.FIGURES: "figures and videos of a study",
    "logs": "logs of jobs, in folders as their results",
    "benchmarks": "what jobs took, in folders as their results",
}


def inspect_folder(path: Path) -> Inspection:
    """Inspects a folder: what it is, what is known of it as a whole, and where to look next."""
    entries = sorted(one for one in path.iterdir() if not one.name.startswith("."))
    names = {one.name for one in entries}
    data = [*path.glob("data/*/*"), *path.glob("*")]
    describe: Callable[[Path], Facts] | None = None
    if paths.OWNER in names:
        what, describe = "results of a study", _study
    elif path.name in CALLED:
        what = CALLED[path.name]
    elif names & {paths.WEIGHTS, paths.CHECKPOINT}:
        what, describe = f"a training{'' if paths.WEIGHTS in names else ', not finished'}", _run
    elif names & {Path(paths.ROLLOUTS).name, Path(paths.METRICS).name}:
        what, describe = "rollouts and their metrics", _rollouts
    elif any(one.name.endswith(".zarr") for one in entries):
        what = "stores and their manifests"
    elif Path(paths.STATISTICS).name in names or Path(paths.BASELINES).name in names:
        what, describe = "results on a dataset", _dataset
    elif any(one.suffix in SUFFIXES for one in data):
        what, describe = "data files", _data
    else:
        what = "a folder"
    facts: Facts = {}
    shown = [f"{one.name}/" if one.is_dir() else one.name for one in entries[:NAMED]]
    more = [f"and {len(entries) - NAMED} more"] if len(entries) > NAMED else []
    facts["holds"] = ", ".join([*shown, *more]) or "nothing"
    next_one = {"next": "lilas inspect of one of these says what it is"}
    return told(path, what, facts | (describe(path) if describe else next_one))


def _study(path: Path) -> Facts:
    runs = sorted(path.glob(f"*/*/{paths.WEIGHTS}")), sorted(path.glob(f"*/*/*/{paths.WEIGHTS}"))
    latent, emulators = ([f"{one.parent.relative_to(path)}" for one in its] for its in runs)
    rollouts = len(list(path.glob(f"*/*/*/*/{Path(paths.METRICS).name}")))
    there = (path / paths.REPORT).is_file()
    return {
        "study": str(read_json(path / paths.OWNER).get("study")),
        "autoencoders": ", ".join(latent) or "none yet",
        "emulators": ", ".join(emulators) or "none yet",
        "scored": f"{rollouts} rollouts",
        "report": str(path / paths.REPORT) if there else "not made yet",
        "next": f"lilas show {path}" if there else f"lilas status {path.resolve().name}",
    }


def _dataset(path: Path) -> Facts:
    runs = sorted(one.parent.name for one in path.glob(f"*/{paths.WEIGHTS}"))
    first = path / runs[0] if runs else path / Path(paths.STATISTICS).name
    return {"autoencoders": ", ".join(runs) or "none yet", "next": f"lilas inspect {first}"}


def _run(path: Path) -> Facts:
    facts = {}
    weights, history = path / paths.WEIGHTS, path / paths.HISTORY
    if not history.is_file():
        history = path / paths.CHECKPOINT / paths.HISTORY
    try:
        if weights.is_file():
            record = check_record(weights, read_record(weights))
            kind = "emulator" if "emulator" in record["config"] else "autoencoder"
            model = record["config"].get(kind, {})
            facts["model"] = f"{kind}, {text.plain({**model, 'train': None})}"
            train = record["inputs"].get("train", [])
            if "model" in record["inputs"]:
                facts["taken from"] = record["inputs"]["model"]["path"]
            elif isinstance(train, list) and train:
                facts["trained on"] = f"{len(train)} files"
        if history.is_file():
            facts |= _course(history)
    except LilasError as error:
        facts["damaged"] = str(error)
    emulators = sorted(one.parent for one in path.glob(f"*/{paths.WEIGHTS}"))
    rollouts = sorted(one.parent for one in path.glob(f"*/{Path(paths.ROLLOUTS).name}"))
    facts |= {"emulators": ", ".join(one.name for one in emulators)} if emulators else {}
    facts |= {"rollouts": ", ".join(one.name for one in rollouts)} if rollouts else {}
    if not weights.is_file():
        return facts | {"next": "lilas status tells how far it is"}
    following = f" (or of {(emulators or rollouts)[0]})" if emulators or rollouts else ""
    return facts | {"next": f"lilas inspect {weights}{following}"}


def _course(history: Path) -> Facts:
    """Returns how far a training is, and how good it was."""
    table = read_history(history)
    if not len(table):
        return {}
    facts = {"steps": f"{table['step'].iloc[-1]}"}
    valid = table.dropna(subset=["valid_loss"])
    if len(valid):
        best = valid.loc[valid["valid_loss"].idxmin()]
        facts["best"] = f"validation loss {best['valid_loss']:.4g} at step {best['step']:.0f}"
    return facts


def _rollouts(path: Path) -> Facts:
    metrics = path / Path(paths.METRICS).name
    first = metrics if metrics.is_file() else path / Path(paths.ROLLOUTS).name
    return {"next": f"lilas inspect {first}"}


def _data(path: Path) -> Facts:
    files = [*path.glob("data/*/*"), *path.glob("*")]
    counts = Counter(one.suffix for one in files if one.suffix in SUFFIXES)
    facts = {f"{suffix} files": f"{count}" for suffix, count in counts.items()}
    return facts | {"next": f"lilas check {path}, which looks at all of them"}
