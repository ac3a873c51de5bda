"""How far a study is, job by job, from a dry run of Snakemake and from what its jobs write."""

import base64
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from lilas.display import aligned
from lilas.errors import LilasError
from lilas.files import read_json, write_json
from lilas.locks import locked
from lilas.plan.slurm import RUNNING, WAITING, Queued, queued
from lilas.study import paths

STATES = ("done", "running", "waiting", "stale", "failed")
TRAININGS = ("autoencoder", "emulator")
# Lines of a failed job's log that are told, and runs of Snakemake that are searched for failures.
TOLD, RUNS = 3, 20
_FAILED = re.compile(
    r"^(?: +message: SLURM-job '(\S+)' .*\n(?: .*\n)*?)? +log: (.+) \(check log file",
    re.MULTILINE,
)
# What Slurm's jobs are named by, all of a run of Snakemake.
_SLURM = re.compile(r"^SLURM run ID: (\S+)", re.MULTILINE)
_BAR = re.compile(r"\d+%\|")


@dataclass(frozen=True)
class Job:
    """A job of a study as a dry run knows it.

    Attributes:
        rule: Its rule.
        output: The files that it makes.
        log: Its log; empty if it has none.
        needed: Whether it is to run.
        why: What makes finished output stale; empty where output is missing.
        steps: Of a training, how many; None of what is none.
        comment: What it is called in Slurm's queue.
        stage: What it runs.
        inputs: The files that it reads, by name.
        config: Its slice of the study, as JSON.
        runs: Of the claims, `Study.runs`.
    """

    rule: str
    output: list[str]
    log: str
    needed: bool
    why: str = ""
    steps: int | None = None
    comment: str = ""
    stage: str = ""
    inputs: dict[str, list[str]] = field(default_factory=dict)
    config: str = ""
    runs: str = ""


def write_jobs(path: str, root: str, study: str, dag: Any) -> None:
    """Writes the jobs of Snakemake's graph, inputs first, and where study and results lie.

    Those that only name targets are none.
    """
    found = []
    levels = (sorted(level, key=lambda job: str(job.output)) for level in dag.toposorted())
    for job in (job for level in levels for job in level if job.rule.shellcmd):
        reason, output = dag.reason(job), [str(file) for file in job.output]
        # What a job has begun to make is no finished output.
        part = reason.incomplete_output or any(not os.path.lexists(file) for file in output)
        why = "" if part or not dag.needrun(job) else _why(reason)
        steps = None
        if job.rule.name in TRAININGS:
            steps = json.loads(job.params.config)[job.rule.name].get("train", {}).get("steps")
        log = next(map(str, job.log), "")
        comment = f"rule_{job.rule.name}"
        if job.wildcards:
            comment += f"_wildcards_{'_'.join(job.wildcards)}".replace("/", "_")
        more = {
            "stage": re.findall(r"lilas\.stages\.(\w+)", job.rule.shellcmd)[-1],
            "inputs": {
                name: [str(file)] if isinstance(file, str) else [*map(str, file)]
                for name, file in job.input.items()
            },
            "config": str(job.params.get("config", "")),
            "runs": str(job.params.get("runs", "")),
        }
        found.append(Job(job.rule.name, output, log, dag.needrun(job), why, steps, comment, **more))
    write_json(path, {"root": root, "study": str(study), "jobs": [asdict(job) for job in found]})


def read_jobs(path: Path) -> tuple[Path, Path, list[Job]]:
    """Returns the folder of results, the study's file and the jobs that `write_jobs` wrote."""
    written = read_json(path, ("root", "study", "jobs"))
    return Path(written["root"]), Path(written["study"]), [Job(**one) for one in written["jobs"]]


def _why(reason: Any) -> str:
    """Returns in a few words why output that is there is made again."""
    if reason.params_changed:
        return "its settings or its stage's version changed"
    if reason.updated_input:
        return f"changed: {', '.join(sorted(map(str, reason.updated_input)))}"
    if reason.input_changed:
        return "its inputs are other files than before"
    return "what it is made from is to be made again"


@dataclass(frozen=True)
class Status:
    """A job with its state, one of `STATES`, and what is to be told of it."""

    job: Job
    state: str
    told: list[str]


def status(path: Path) -> str:
    """Returns how far a study is, for a terminal: a row per rule, then jobs that are to be told.

    Args:
        path: What `write_jobs` wrote.
    """
    root, _, jobs = read_jobs(path)
    runs = _runs()
    named = [name for run in runs for name in _SLURM.findall(run)]
    known = Known(is_held(root), _begun(), _failed(runs), queued(named))
    return _overview(known.working, root, [_status(job, known) for job in jobs])


def is_gone(file: str) -> bool:
    """Whether what a job made is not there any more: a file, or the store that it is of."""
    # Parts of results, which begin with a dot, are removed when they are joined.
    if not os.path.lexists(file):
        return not Path(file).name.startswith(".")
    if not file.endswith(".json") or os.path.isdir(paths.store(file)):
        return False
    try:
        return bool(read_json(file).get("kind") == "zarr")
    except LilasError:
        # Damaged, which those tell that read it.
        return False


def is_held(folder: Path) -> bool:
    """Whether a process holds a folder."""
    if not (folder / "lock").is_file():
        return False
    try:
        with locked(folder, shared=True):
            return False
    except LilasError:
        return True


@dataclass(frozen=True)
class Begun:
    """A job that Snakemake began, or sent to a cluster, and has not seen to end.

    Attributes:
        number: Of the job of a cluster that has not begun there, as far as Snakemake knows.
        since: When it was sent, or began.
    """

    number: str | None
    since: str

    def __str__(self) -> str:
        return f"job {self.number} of the cluster, {self.since}" if self.number else self.since


@dataclass(frozen=True)
class Known:
    """What tells of the jobs of a study.

    Attributes:
        working: Whether a run is at work.
        begun: By output.
        failed: Logs of jobs that failed, and by which job of Slurm, if by one.
        queue: As `lilas.plan.slurm.queued`.
    """

    working: bool
    begun: dict[str, Begun]
    failed: dict[str, str]
    queue: dict[str, Queued]


def _status(job: Job, known: Known) -> Status:
    mark = next((known.begun[file] for file in job.output if file in known.begun), None)
    training = _training(job) if job.rule in TRAININGS else None
    slurm = known.queue.get(job.comment) or (known.queue.get(mark.number or "") if mark else None)
    if slurm and (told := _in_queue(job, mark, slurm, training, known)):
        return told
    if known.working and mark is not None:
        return Status(job, "running", [*([training] if training else []), f"{mark}"])
    # What nothing needs may be made all the same, if it was asked for.
    if not job.needed:
        gone = [Path(file).name for file in job.output if is_gone(file)]
        rest = "nothing needs it now, but what is made of it cannot be made again without"
        return Status(job, "done", [f"deleted: {', '.join(gone)}; {rest}"] if gone else [])
    if mark is None and job.log in known.failed and not job.why:
        ended = f"job {slurm.number} of Slurm has ended ({slurm.state}), " if slurm else ""
        return Status(job, "failed", [f"{ended}{job.log} ends with", *_end(Path(job.log))])
    if job.why:
        return Status(job, "stale", [job.why])
    if mark is not None:
        return Status(job, "waiting", [f"stopped{f' at {training}' if training else ''}, {mark}"])
    return Status(job, "waiting", [])


def _in_queue(
    job: Job, mark: Begun | None, slurm: Queued, training: str | None, known: Known
) -> Status | None:
    """Returns what Slurm says of a job; None where Snakemake has heard of its end."""
    name = f"job {slurm.number} of Slurm"
    if slurm.state in WAITING:
        stopped = f"stopped at {training}, " if training else ""
        return Status(job, "waiting", [f"{stopped}{name} waits ({slurm.reason})"])
    so_far = [training] if training else []
    if slurm.state in RUNNING:
        alone = "" if known.working else "; no run looks after it"
        return Status(job, "running", [*so_far, f"{name}, on {slurm.nodes}{alone}"])
    heard = known.failed.get(job.log) == slurm.number
    if known.working and job.needed and not heard and (slurm.state == "COMPLETED" or mark):
        told = f"{name} has ended ({slurm.state}), which Snakemake has yet to see"
        return Status(job, "running", [*so_far, told])
    return None


def _training(job: Job) -> str | None:
    """Returns how far a training is, by the history that it writes as it goes."""
    live = Path(job.output[0]).parent / paths.CHECKPOINT / paths.HISTORY
    entries = [json.loads(line) for line in _lines(live) if line.endswith("}")]
    # One that has all its steps writes its weights, or is from before what is to be trained now.
    if not entries or entries[-1]["step"] == job.steps:
        return None
    last, of = entries[-1], f" of {job.steps}" if job.steps else ""
    told = [f"step {last['step']}{of}"]
    valid = [entry["valid_loss"] for entry in entries if entry.get("valid_loss") is not None]
    told += [f"loss {last['loss']:.3g}"] if last["loss"] is not None else []
    told += [f"validation loss {valid[-1]:.3g}"] if valid else []
    if job.steps and last.get("seconds"):
        left = last["seconds"] / last["step"] * (job.steps - last["step"])
        told.append(f"{_duration(left)} left")
    return ", ".join(told)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _lines(path: Path) -> list[str]:
    """Returns the lines of a file that another process may be writing; none where it is not."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _end(log: Path) -> list[str]:
    """Returns the last lines of a log that are no progress bars, errors before others."""
    lines = [line.strip() for line in _lines(log) if line.strip() and not _BAR.search(line)]
    errors = [line for line in lines if line.startswith("error")]
    return errors[-1:] or lines[-TOLD:] or ["nothing"]


def _begun() -> dict[str, Begun]:
    """Returns the files whose jobs Snakemake began and has not seen to end.

    It keeps a marker for each, named by the file's path in base64, long ones in folders.
    """
    root, found = Path(".snakemake/incomplete"), {}
    for marker in root.rglob("*") if root.is_dir() else ():
        if not marker.is_file():
            continue
        name = "".join(part.removeprefix("@") for part in marker.relative_to(root).parts)
        try:
            file = base64.urlsafe_b64decode(name).decode()
            number = json.loads(marker.read_text(encoding="utf-8")).get("external_jobid")
            since = datetime.fromtimestamp(marker.stat().st_mtime)
        except (OSError, ValueError):
            # It ended just now, or is no marker.
            continue
        found[file] = Begun(number, f"since {since:%Y-%m-%d %H:%M:%S}")
    return found


def _runs() -> list[str]:
    """Returns what the last runs of Snakemake said, the latest first."""
    logs = sorted(Path(".snakemake/log").glob("*.snakemake.log"), reverse=True)
    return ["\n".join(_lines(log)) for log in logs[:RUNS]]


def _failed(runs: Iterable[str]) -> dict[str, str]:
    """Returns the logs of jobs that failed, and the number of the job of Slurm, if it was one.

    Args:
        runs: What they said, the latest first.
    """
    found: dict[str, str] = {}
    for run in runs:
        latest = {
            name: number for number, names in _FAILED.findall(run) for name in names.split(", ")
        }
        found = latest | found
    return found


def _overview(working: bool, root: Path, found: Sequence[Status]) -> str:
    counts: dict[str, Counter[str]] = {}
    for one in found:
        counts.setdefault(one.job.rule, Counter())[one.state] += 1
    rows = [("rule", "jobs", *STATES)]
    for rule, states in counts.items():
        cells = (str(states[state] or "") for state in STATES)
        rows.append((rule, str(states.total()), *cells))
    total = Counter(one.state for one in found)
    rows.append(("total", str(len(found)), *(str(total[state] or "") for state in STATES)))
    at_work = "a run is at work" if working else "no run is at work"
    parts = [f"{root}: {total['done']} of {len(found)} jobs are done, {at_work}"]
    parts.append("\n".join(aligned(rows)))
    for state in STATES:
        if lines := list(_told(found, state, root)):
            parts.append("\n".join((f"{state}:", *lines)))
    return "\n\n".join(parts)


def _told(found: Iterable[Status], state: str, root: Path) -> Iterator[str]:
    for one in found:
        if one.state == state and one.told:
            place = Path(os.path.relpath(one.job.output[0], root)).parent
            name = one.job.rule if place == Path() else f"{one.job.rule} {place}"
            first, *more = one.told
            yield f"  {name}: {first}"
            yield from (f"    {line}" for line in more)
