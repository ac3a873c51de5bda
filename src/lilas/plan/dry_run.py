"""A plan or the status of a study for the command line, by a dry run of Snakemake."""

import difflib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import lilas
from lilas.errors import LilasError
from lilas.plan.overview import HEAD
from lilas.plan.status import status

# Snakemake's own words where an executor is not installed.
NO_EXECUTOR = "invalid choice: 'slurm'"
# And where it would make again what may not be written.
PROTECTED = "Write-protected output files"
NOTHING = "Nothing to be done: all results are there."


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
    arguments = ["--forceall" if everything else "--rerun-incomplete"]
    if profile:
        _check_profile(profile, _snakefile())
        arguments += ["--workflow-profile", profile]
    return _table(dry_run(study, settings, arguments, {})) or NOTHING


def plan_apart(study: Path) -> str:
    """Returns what a study takes from nothing on, its results in its own folder.

    Nothing of another run is looked at, and nothing is left elsewhere.

    Args:
        study: Its file, in which paths are absolute.

    Raises:
        LilasError: as `plan_study`.
    """
    folder = study.parent
    apart = ["--forceall", "--directory", str(folder)]
    return _table(dry_run(str(study), [f"results={folder / 'results'}"], apart, {}))


def _table(output: str) -> str:
    """Returns the table that a dry run ends with; empty where nothing is to be done."""
    _, head, rest = output.rpartition(f"\n{HEAD[0]} ")
    return f"{head}{rest}".strip()


def study_status(study: str | None, settings: Sequence[str]) -> str:
    """Returns how far a study is, as `lilas.plan.status` tells it.

    Args:
        study: As of `plan_study`.
        settings: As of `plan_study`.

    Raises:
        LilasError: as `plan_study`.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder, "jobs.json")
        dry_run(study, settings, ["--rerun-incomplete"], {"LILAS_STATUS": str(path)})
        return status(path)


def dry_run(
    study: str | None, settings: Sequence[str], arguments: list[str], environment: dict[str, str]
) -> str:
    """Returns what a dry run of Snakemake prints, as `snakemake`."""
    return snakemake(study, settings, ["--dry-run", "--quiet", "all", *arguments], environment)


def snakemake(
    study: str | None, settings: Sequence[str], arguments: list[str], environment: dict[str, str]
) -> str:
    """Returns what Snakemake prints; its warnings are passed on.

    Raises:
        LilasError: as `plan_study`.
    """
    told = [*([f"study={study}"] if study else []), *settings]
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(_snakefile())]
    command += [*arguments, *(["--config", *told] if told else [])]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | environment
    )
    if NO_EXECUTOR in done.stderr:
        raise LilasError(
            "snakemake-executor-plugin-slurm, which the profile names, is not installed. Run `make "
            "install EXTRAS=slurm`."
        )
    lines = done.stderr.splitlines()
    if done.returncode:
        refused = [line for line in lines if line.startswith("error: ")]
        if refused:
            raise LilasError(refused[-1].removeprefix("error: "))
        if PROTECTED in done.stdout + done.stderr:
            raise LilasError(
                "these results may only be read, and not all that the study asks for is there and "
                "current; `lilas inspect` of their folder tells what is."
            )
        raise LilasError(f"no plan; Snakemake says:\n{done.stderr}{done.stdout}".strip())
    for line in lines:
        if line.startswith("warning: "):
            print(line, file=sys.stderr)
    return done.stdout


def _check_profile(profile: str, snakefile: Path) -> None:
    """Refuses a profile that is not where Snakemake looks, which would go on without it."""
    folders = [Path(), Path("profiles"), snakefile.parent / "profiles"]
    if not any(list((folder / profile).glob("config*.yaml")) for folder in folders):
        known = sorted(path.parent.name for path in folders[-1].glob("*/config.yaml"))
        near = difflib.get_close_matches(profile, known, n=1)
        meant = f", did you mean {near[0]}?" if near else ""
        raise LilasError(
            f"profile {profile!r} not found{meant}; allowed: {', '.join(known)}, or a folder that "
            "holds a config.yaml"
        )


def _snakefile() -> Path:
    """Returns the workflow of the working folder, or the one beside this package."""
    places = [Path("Snakefile"), Path(lilas.__file__).parents[2] / "Snakefile"]
    for place in places:
        if place.is_file():
            return place
    raise LilasError(f"no {places[0]} in {Path.cwd()}: run lilas plan in a clone of LILAS")
