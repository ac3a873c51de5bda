"""Which results of a study are what it would make now, as the records inside them say."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lilas.errors import LilasError
from lilas.files import digest, sha256
from lilas.plan.status import Job, is_gone
from lilas.records.carried import carried, files_of
from lilas.records.metrics import read_metrics
from lilas.records.provenance import VERSIONS, changes, data_file, metrics_fingerprint
from lilas.records.stores import open_store
from lilas.records.weights import load_state
from lilas.study import paths
from lilas.study.tasks import Task

# They are not made again for what others, that were made of them, know of them: it takes hours, and
# damage is told by their own sum.
TRAININGS = ("autoencoder", "emulator")
# What carries no record: data, and what lies beside others that do.
BARE = (".hdf5", ".zip", ".jsonl", ".csv")


@dataclass
class Found:
    """What is known of a job's results.

    Attributes:
        job: The job.
        why: Why they are to be made again; empty where they are current.
        gone: Those that are not there.
        changed: Those that were damaged, or changed since they were made.
        asked: Whether a record of them has the settings of the job.
    """

    job: Job
    why: str = ""
    gone: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    asked: bool = False

    @property
    def is_current(self) -> bool:
        """Whether all of them are there and what the study would make."""
        return not self.why and not self.gone


def examine(jobs: Sequence[Job]) -> list[Found]:
    """Returns what is known of the results of jobs, which are in the order of a run.

    Results are current where their records have the stage, version and settings of the job, its
    inputs have the recorded content, and are current themselves. An input that was deleted cannot
    be compared: what was made of it stands for it. A file that is known otherwise by all that was
    made of it was changed.
    """
    contents = Contents()
    found = [_examine(job, contents) for job in jobs]
    makers = {file: one for one in found for file in one.job.output}
    for file, seen in contents.known.items():
        maker = makers.get(file) or makers.get(str(Path(file).parent))
        if maker is None or any(seen) or maker.why or maker.job.stage in TRAININGS:
            continue
        if any(maker.job.inputs.values()):
            maker.why = f"{Path(file).name} was changed since: others were made of another one"
            maker.changed.append(file if file in maker.job.output else str(Path(file).parent))
    for one in found:
        inputs = (file for files in one.job.inputs.values() for file in files)
        stale = [file for file in inputs if file in makers and makers[file].why]
        if stale and one.is_current:
            one.why = f"{stale[0]} is to be made again"
    return found


class Contents:
    """Contents of files, each read once.

    Attributes:
        known: Of each input, whether it is what was recorded, by each that was made of it.
    """

    def __init__(self) -> None:
        self.known: dict[str, list[bool]] = {}
        self._read: dict[tuple[str, bool], Any] = {}

    def is_same(self, path: str, item: dict[str, Any]) -> bool:
        """Whether a file has the content that a record has of an input."""
        key = path, "sha256" in item
        if key not in self._read:
            self._read[key] = sha256(path) if key[1] else data_file(Path(path)) | {"path": ""}
        return self._read[key] == (item["sha256"] if key[1] else item | {"path": ""})


def _examine(job: Job, contents: Contents) -> Found:
    """Returns what the records of a job's results say, whatever the jobs before it are."""
    one = Found(job, gone=[file for file in job.output if is_gone(file)])
    if one.gone or all(Path(file).name.startswith(".") for file in job.output):
        return one
    for path in map(Path, job.output):
        if path.suffix in BARE or path.name == paths.CLAIMS_PAGE:
            continue
        if path.suffix == ".html" and path.name != paths.REPORT:
            continue
        try:
            _check(path)
            record = carried(path)
        except (LilasError, OSError) as error:
            one.why, one.changed = f"damaged: {error}", [str(path)]
            return one
        if record is None:
            one.why = one.why or f"{path.name} has no record of its making"
            continue
        if _is_copy(job, path):
            # It carries the record of its training; what it was taken from, its statistics know.
            if sha256(path) != sha256(job.inputs["model"][0]):
                one.why = one.why or f"{path.name} is not a copy of {job.inputs['model'][0]}"
            continue
        other = list(_settings(job, record, path))
        one.asked |= not other
        one.why = one.why or "; ".join([*other, *_inputs(job, record, path, contents)])
    return one


def _is_copy(job: Job, path: Path) -> bool:
    """Whether a result is the weights that an autoencoder was taken from, where these are here."""
    source = Path(*job.inputs.get("model", [])[:1])
    taken = job.stage == "given" and "autoencoder" not in job.inputs
    return taken and path.name == paths.WEIGHTS and source.suffix == path.suffix


def _check(path: Path) -> None:
    """Refuses what tells by itself that it is damaged."""
    if path.suffix == ".safetensors":
        load_state(path)
    elif path.suffix == ".parquet":
        read_metrics(path)
    elif path.suffix == ".json" and path.with_suffix(".zarr").is_dir():
        open_store(path)


def _settings(job: Job, record: dict[str, Any], path: Path) -> Iterator[str]:
    """Yields what a job is told otherwise than a record has it."""
    task, stage = Task.model_validate_json(job.config), job.stage
    held = record["config"]
    if stage == "latents":
        task = task.of_split(path.stem)
    elif path.name == Path(paths.FRAMES).name:
        task = task.without("stride", "evaluation")
    elif stage == "evaluate":
        task = task.without("figures", "units")
    asked = task.record()
    if stage == "given":
        # A record has the settings of the model that is taken.
        asked, held = (
            {key: value for key, value in its.items() if key not in TRAININGS}
            for its in (asked, held)
        )
    if stage == "claims" and record.get("study") != digest(job.runs):
        yield "they were of another study"
    before = {"stage": record["stage"], "version": record["version"], "config": held, "inputs": {}}
    now = {"stage": stage, "version": VERSIONS[stage], "config": asked, "inputs": {}}
    yield from changes(before, now)
    if record.get("metrics", metrics_fingerprint()) != metrics_fingerprint():
        yield "the code of the metrics has changed"


def _inputs(job: Job, record: dict[str, Any], path: Path, contents: Contents) -> Iterator[str]:
    """Yields which inputs of a job are not what a record has."""
    there, absent = _there(job)
    used, other = set(), []
    for name, entry in record["inputs"].items():
        many = isinstance(entry, list)
        for item in entry if many else [entry]:
            base = Path(item["path"]).name
            alike = [file for file in there if Path(file).name == base] or ([] if many else there)
            match = next((file for file in alike if contents.is_same(file, item)), None)
            if match is not None:
                used.add(match)
            elif base not in absent:
                other.append((base, alike))
        files = job.inputs.get(name, job.inputs.get(path.stem, [])) if many else []
        if files and not any(map(Path.is_dir, map(Path, files))) and len(files) != len(entry):
            yield f"{name} were {len(entry)} files and are {len(files)}"
    for file in used:
        contents.known.setdefault(file, []).append(True)
    for base, alike in other:
        for file in alike:
            if file not in used and Path(file).name == base:
                contents.known.setdefault(file, []).append(False)
        yield f"{base} is not what it was made of"


def _there(job: Job) -> tuple[list[str], set[str]]:
    """Returns the files that a job reads, those in folders too, and the names of absent ones."""
    there, absent = [], set()
    for path in (Path(file) for files in job.inputs.values() for file in files):
        if path.is_dir():
            there += map(str, files_of(path))
        elif path.is_file():
            there.append(str(path))
        else:
            absent.add(path.name)
    return there, absent
