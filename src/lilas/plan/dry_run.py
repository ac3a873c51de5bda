"""A plan of a study for the command line, by a dry run of Snakemake."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import lilas
from lilas.errors import LilasError
from lilas.plan.overview import HEAD

# Snakemake's own words where an executor is not installed.
NO_EXECUTOR = "invalid choice: 'slurm'"


def plan_study(
    study: str | None, profile: str | None, everything: bool, settings: Sequence[str]
) -> str:
    """Returns what is left to run of a study, as `snakemake -n` ends with it.

    Args:
        study: Its name or path; None is the one that config.yaml names.
        profile: Name of a profile, or its folder; None is the default one.
        everything: Count what is there as well, as if nothing were.
        settings: Of config.yaml, such as `results=/scratch/lilas`.

    Raises:
        LilasError: there is no workflow here, or Snakemake refused the plan; it has said why.
    """
    snakefile = _snakefile()
    if profile:
        _check_profile(profile, snakefile)
    told = [*([f"study={study}"] if study else []), *settings]
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--dry-run"]
    command += ["--quiet", "all", "--forceall" if everything else "--rerun-incomplete"]
    command += ["--workflow-profile", profile] if profile else []
    command += ["--config", *told] if told else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if NO_EXECUTOR in done.stderr:
        raise LilasError(
            f"profile {profile}: snakemake-executor-plugin-slurm is not installed. Run `make "
            "install EXTRAS=slurm`."
        )
    lines = done.stderr.splitlines()
    if done.returncode:
        refused = [line for line in lines if line.startswith("error: ")]
        if refused:
            raise LilasError(refused[-1].removeprefix("error: "))
        raise LilasError(f"no plan; Snakemake says:\n{done.stderr}{done.stdout}".strip())
    for line in lines:
        if line.startswith("warning: "):
            print(line, file=sys.stderr)
    _, head, rest = done.stdout.rpartition(f"\n{HEAD[0]} ")
    return f"{head}{rest}".strip() or "Nothing to be done: all results are there."


def _check_profile(profile: str, snakefile: Path) -> None:
    """Refuses a profile that is not where Snakemake looks, which would go on without it."""
    folders = [Path(), Path("profiles"), snakefile.parent / "profiles"]
    if not any(list((folder / profile).glob("config*.yaml")) for folder in folders):
        known = sorted(path.parent.name for path in folders[-1].glob("*/config.yaml"))
        raise LilasError(
            f"profile {profile!r} not found; allowed: {', '.join(known)}, or a folder that holds "
            "a config.yaml"
        )


def _snakefile() -> Path:
    """Returns the workflow of the working folder, or the one beside this package."""
    places = [Path("Snakefile"), Path(lilas.__file__).parents[2] / "Snakefile"]
    for place in places:
        if place.is_file():
            return place
    raise LilasError(f"no {places[0]} in {Path.cwd()}: run lilas plan in a clone of LILAS")
