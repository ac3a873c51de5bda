"""What Slurm says of a run's jobs before the first is submitted, and while they are queued."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lilas.errors import LilasError

# Resources of Snakemake, as its executor hands them to sbatch.
OPTIONS = {
    "slurm_account": "account",
    "slurm_partition": "partition",
    "qos": "qos",
    "constraint": "constraint",
    "runtime": "time",
    "mem_mb": "mem",
    "_cores": "cpus-per-task",
    "gpu": "gpus",
    "nodes": "nodes",
}
# Seconds in which Slurm answers.
PATIENCE = 60
# States of jobs that are yet to start, or to start again, and of those that run.
WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT")
RUNNING = ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING")


@dataclass(frozen=True)
class Queued:
    """A job that Slurm knows, or knew until a few minutes ago.

    Attributes:
        number: Its number.
        state: In Slurm's words, such as PENDING.
        reason: What it waits for, in Slurm's words.
        nodes: Those it runs on, or ran on.
    """

    number: str
    state: str
    reason: str
    nodes: str


def check_slurm(asked: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Refuses a run one of whose jobs Slurm would refuse: its account, its partition, its size.

    Args:
        asked: Of each job its rule and its resources.

    Raises:
        LilasError: what Slurm says, or that it is not here.
    """
    if shutil.which("sbatch") is None:
        raise LilasError(
            "there is no sbatch here: start on a login node of a Slurm cluster, or choose another "
            "profile"
        )
    requests: dict[tuple[str, ...], str] = {}
    for rule, resources in asked:
        options = tuple(
            f"--{option}={resources[name]}"
            for name, option in OPTIONS.items()
            if resources.get(name)
        )
        requests.setdefault(options, rule)
    for options, rule in requests.items():
        line = ["sbatch", "--test-only", *options, "--wrap", "true"]
        try:
            done = subprocess.run(
                line, capture_output=True, text=True, check=False, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired:
            raise LilasError(
                f"Slurm has not answered `sbatch --test-only` for {PATIENCE} s. See `sinfo`, and "
                "run again when it answers."
            ) from None
        if done.returncode:
            # The last line sums up.
            said = done.stderr.strip().splitlines()[-1:] or ["nothing"]
            raise LilasError(
                f"Slurm refuses jobs of {rule} ({' '.join(options)}): "
                f"{said[0].removeprefix('allocation failure: ')}. Correct the profile, or see "
                "`sinfo`."
            )


def queued(runs: Iterable[str]) -> dict[str, Queued]:
    """Returns what Slurm knows of the jobs of runs; nothing where it is not, or does not answer.

    Args:
        runs: What Slurm's jobs are named by, of each run of Snakemake.

    Returns:
        The last job of each comment that Snakemake's executor gave, and each by its number.
    """
    names = ",".join(runs)
    if not names or shutil.which("squeue") is None:
        return {}
    line = ["squeue", "--noheader", "--states=all", "--name", names, "--format=%i|%T|%r|%N|%k"]
    try:
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return {}
    found: dict[str, Queued] = {}
    for row in done.stdout.splitlines():
        *told, comment = row.split("|", 4)
        one = Queued(*told)
        found[one.number] = one
        if comment not in found or _order(found[comment]) < _order(one):
            found[comment] = one
    return found


def _order(job: Queued) -> list[int]:
    """Returns what puts jobs in the order in which they were submitted, those of arrays too."""
    return [int(number) for number in re.findall(r"\d+", job.number)]
