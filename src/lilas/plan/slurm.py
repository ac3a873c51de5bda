"""What Slurm says of a run's jobs before the first is submitted."""

import shutil
import subprocess
from collections.abc import Iterable, Mapping
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
