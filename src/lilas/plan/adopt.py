"""Finished work that was copied without its times, or without Snakemake's records, is kept."""

import os
import shlex
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory

from lilas.errors import LilasError, broken
from lilas.files import check_writable, read_json, take_ownership
from lilas.plan.current import Found, examine
from lilas.plan.dry_run import dry_run, snakemake
from lilas.plan.status import Job, is_held, read_jobs
from lilas.study import paths

# The name of the environment's variable that has plans write down their jobs, and of that which has
# them take results of another study's file.
JOBS, ADOPT = "LILAS_STATUS", "LILAS_ADOPT"
# Of a file that was changed since it was made.
ASIDE = ".changed"


def adopt(folder: Path, study: str | None, settings: Sequence[str]) -> list[str]:
    """Has Snakemake keep what is current of a study's results, and make the rest again.

    Current is what `lilas.plan.current.examine` calls so. Snakemake itself takes it for new, and
    notes settings and inputs of it, by `--touch`. What is not current it forgets, and it is dated
    before its inputs; what was changed since it was made is kept under another name.

    Args:
        folder: Results of a study.
        study: Its name or file; None is the one that the folder tells.
        settings: Of config.yaml, such as `data=/scratch/data`.

    Returns:
        Lines to print.

    Raises:
        LilasError: it holds no results, is not called as its study, or holds nothing that this
            study would make; nothing is changed then.
    """
    owner = folder / paths.OWNER
    if not owner.is_file():
        action = "Give the folder of a study's results, such as results/demo."
        raise broken(folder, f"results of a study, with {paths.OWNER}", "none", action)
    check_writable(folder, "Copy the results to a folder of your own.")
    if is_held(folder):
        raise LilasError(f"{folder}: a run is at work on it. Wait for its end, or stop it.")
    study = study or _study(folder)
    results = Path(os.path.abspath(folder)).parent
    if results.is_relative_to(Path.cwd()):
        results = results.relative_to(Path.cwd())
    settings = [*settings, f"results={results}"]
    if Path(study).stem != Path(os.path.abspath(folder)).name:
        raise LilasError(
            f"{folder}: results of the study {study} lie in a folder of its name. Rename the "
            "folder, or the study's file."
        )
    root, file, jobs = _jobs(study, settings)
    found = examine(jobs)
    current = [one for one in found if one.is_current]
    if not any(one.asked for one in found):
        whys = [one.why for one in found if one.why]
        raise LilasError(
            f"{folder}: holds nothing that {file} would make now, and was left as it is"
            + (f". Of the first: {whys[0]}" if whys else "")
        )
    held = read_json(owner)
    cut = {name: held[name] for name in ("job_bytes", "cuts") if name in held}
    take_ownership(root, file, **cut)
    aside: dict[str, str] = {}
    if stale := [one for one in found if one.why]:
        forget([file for one in stale for file in one.job.output], study, settings)
        for one in stale:
            aside |= set_back(one)
    read = {file for one in current for files in one.job.inputs.values() for file in files}
    last = [file for one in current for file in one.job.output if file not in read]
    snakemake(study, settings, ["--touch", "--cores", "1", *last], {ADOPT: "1"})
    _, _, after = _jobs(study, settings)
    lines = _told(folder, found, aside)
    run = shlex.join(["--config", f"study={study}", *settings])
    if aside:
        again = shlex.join(["lilas", "adopt", str(folder), study, "--config", *settings])
        lines.append(
            "What was changed may be made alone; if it is then what it was, the rest is kept as "
            f"well:\n  snakemake {shlex.join(aside)} {run} && {again}"
        )
    left = sum(job.needed for job in after)
    more = f"{left} jobs are left to run: snakemake {run}"
    return [*lines, more if left else "Nothing is left to run"]


def _study(folder: Path) -> str:
    """Returns the file of the study whose results a folder holds; its name where it is not here."""
    made = Path(read_json(folder / paths.OWNER, ("study",))["study"])
    for at in (folder / made, folder.resolve() / made, Path(made.name)):
        if at.is_file():
            return os.path.relpath(at)
    return made.stem


def _jobs(study: str, settings: Sequence[str]) -> tuple[Path, Path, list[Job]]:
    with TemporaryDirectory() as place:
        path = Path(place, "jobs.json")
        dry_run(study, settings, ["--rerun-incomplete"], {JOBS: str(path), ADOPT: "1"})
        return read_jobs(path)


def forget(files: list[str], study: str, settings: Sequence[str]) -> None:
    """Has Snakemake forget what it knows of files: small inputs that are as they were, say."""
    try:
        snakemake(study, settings, ["--cleanup-metadata", *files], {ADOPT: "1"})
    except LilasError as error:
        # It has forgotten all that it knew, and complains of those that it did not know.
        if "because the metadata was not present" not in str(error):
            raise


def set_back(one: Found) -> dict[str, str]:
    """Has Snakemake make results again: they are older than their inputs, or set aside.

    Returns:
        What files are called that were set aside, by their names.
    """
    aside = {}
    for file in one.changed:
        name = aside[file] = _free(f"{file}{ASIDE}")
        os.replace(file, name)
    inputs = [file for files in one.job.inputs.values() for file in files if os.path.exists(file)]
    if not inputs:
        return aside
    before = min(os.stat(file).st_mtime_ns for file in inputs) - 10**9
    for file in one.job.output:
        stamp = os.path.join(file, ".snakemake_timestamp")
        for path in (file, stamp):
            if os.path.exists(path):
                os.utime(path, ns=(before, before))
    return aside


def _free(name: str) -> str:
    """Returns a name that nothing has yet."""
    names = (f"{name}.{number}" for number in count(2))
    return next(one for one in chain([name], names) if not os.path.lexists(one))


def _told(folder: Path, found: Sequence[Found], aside: dict[str, str]) -> list[str]:
    current = sum(one.is_current for one in found)
    lines = [f"{folder}: results of {current} jobs are current and kept"]
    for one in found:
        if one.why:
            place = Path(os.path.relpath(one.job.output[0], folder)).parent
            name = one.job.rule if place == Path() else f"{one.job.rule} {place}"
            lines.append(f"  {name}: {one.why}")
        lines += [f"    kept as {aside[file]}" for file in one.changed]
    return lines
