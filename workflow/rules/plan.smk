# What the jobs of a run need, what is checked before the first of them, and what is told of them.
import atexit
import os
import signal
import sys
from functools import cache
from pathlib import Path

from lilas import plan
from lilas.errors import LilasError, told
from lilas.files import called_before, check_writable, take_ownership
from lilas.locks import hold, in_a_thread
from lilas.plan.clock import date_back
from lilas.plan.finished import finished
from lilas.plan.needs import Machine, Needs
from lilas.plan.overview import overview
from lilas.plan.room import Job, Sizes, check_room, rows
from lilas.plan.slurm import check_slurm
from lilas.plan.status import write_jobs
from lilas.plan.work import Works
from lilas.records.workers import check_dask
from lilas.training.trackers import check_tracker


def described(jobs):
    """Jobs of Snakemake as plans know them, less those that only name targets."""
    return [
        Job(job.rule.name, job.wildcards_dict, list(map(str, job.output)), joins(job.input))
        for job in jobs
        if job.rule.shellcmd
    ]


def joins(files):
    """Whether a job joins what others made, in parts."""
    return bool(files.get("parts"))


def room(jobs):
    """What jobs download and write, by stage."""
    return rows(needs().works.sizes, described(jobs), CONFIG.data, ROOT)


@atexit.register
def tell_plan():
    """Ends a dry run with what a run would need."""
    if workflow.dryrun and workflow.dag is not None:
        waiting = list(workflow.dag.needrun_jobs(exclude_finished=False))
        if found := described(waiting):
            print(f"\n{overview(found, needs(), room(waiting))}", flush=True)
        jobs = [
            (job.rule.name, Path(job.output.weights), job.params.config)
            for job in waiting
            if job.rule.name in ("autoencoder", "emulator")
        ]
        if before := called_before(ROOT, STUDY_FILE):
            print(
                f"\n{before} holds what this study made under another name. To go on from there: "
                f"mv {before} {ROOT}",
                flush=True,
            )
        if kept := finished(jobs):
            print(
                f"\n{len(kept)} of {len(jobs)} trainings are finished, of the same settings and "
                "data: they were copied, or their files touched. To keep what is current of all "
                f"that is there: lilas adopt {ROOT}",
                flush=True,
            )


@atexit.register
def tell_status():
    """Writes down the jobs that a dry run found, for `lilas status` and `lilas adopt`."""
    if (path := os.environ.get("LILAS_STATUS")) and workflow.dag is not None:
        write_jobs(path, ROOT, STUDY_FILE, workflow.dag)


def on_cluster():
    """Whether jobs run on other machines; a dry run of those has no cores, but a number of jobs."""
    counted = workflow.dryrun and workflow.nodes is not None
    return workflow.remote_exec or not workflow.local_exec or counted


@cache
def needs():
    """What jobs need on the machines that they run on."""
    said = workflow.resource_settings
    # What a profile sets for a rule, and what it allows a job. The jobs of a cluster are told by
    # their environment: Snakemake passes on the first alone.
    given = {
        kind: {
            name: its[kind].value
            for name, its in said._parsed_overwrite_resources.items()
            if kind in its
        }
        for kind in ("gpu", "processes")
    }
    limits = {
        name: workflow.global_resources.get(name).value for name in ("gpu", "mem_mb", "runtime")
    }
    gpus = 1 if limits["gpu"] is None else limits["gpu"]
    if workflow.remote_exec:
        gpus = int(os.environ["LILAS_GPUS"])
    os.environ["LILAS_GPUS"] = str(gpus)
    threads = {name: its.value for name, its in said._parsed_overwrite_threads.items()}
    machine = Machine(
        gpus=0 if CONFIG.device == "cpu" else gpus,
        cores=None if on_cluster() else workflow.cores,
        most=said.max_threads,
        memory_mb=limits["mem_mb"],
        minutes=limits["runtime"],
        retries=workflow.execution_settings.retries,
    )
    sizes = Sizes(STUDY, {name: needed(name) for name in FILES}, ON_DISK)
    return Needs(Works(sizes, PARTS), machine, given["gpu"], given["processes"], threads)


def need(wildcards, input, rulename):
    return needs().of(Job(rulename, dict(wildcards.items()), [], joins(input)))


def cores(wildcards, input, rulename):
    return need(wildcards, input, rulename).cores


def asks(kind):
    """A resource of a job, as what it needs has it."""
    return lambda wildcards, input, rulename, attempt: need(wildcards, input, rulename).asks(
        kind, attempt
    )


# What every rule asks for, by the study's sizes. It decides no result and is no parameter.
RESOURCES = {kind: asks(kind) for kind in ("gpu", "mem_mb", "runtime", "disk_mb")}


def check_means(jobs):
    """Refuses jobs that lack room, a device, or others' programs."""
    commands = [job.rule.shellcmd or "" for job in jobs]
    check_room(room(jobs))
    if workflow.executor_plugin.name == "slurm":
        sent = [job for job in jobs if job.rule.shellcmd and not job.is_local]
        check_slurm((job.rule.name, dict(job.resources.items())) for job in sent)
    if any("{CONFIG.tracker" in command for command in commands):
        check_tracker(CONFIG.tracker)
    if CONFIG.dask and any("--dask " in command for command in commands):
        check_dask(CONFIG.dask)
    # Jobs of a cluster run elsewhere, on other devices.
    if workflow.local_exec and any("{CONFIG.device" in command for command in commands):
        plan.check_device(CONFIG.device, any(map(compiles, jobs)))


onstart:
    # Snakemake's own handler waits for a lock that the thread it interrupts may hold.
    in_a_thread(signal.SIGTERM)
    # Unlike Snakemake's own lock, what is held is let go with the process, however it ends.
    jobs = list(workflow.dag.needrun_jobs())
    written = [file for job in jobs for file in job.output]
    read = [file for job in jobs for file in job.input]
    try:
        for folder in ("log", "metadata", "incomplete"):
            check_writable(f".snakemake/{folder}", ELSEWHERE)
        # What is touched, to be kept, is not computed.
        if not workflow.touch:
            check_means(jobs)
        atexit.register(hold(written, read, plan.data_folders(CONFIG, FILES), ROOT).close)
        if any(Path(file).is_relative_to(ROOT) for file in written):
            take_ownership(ROOT, STUDY_FILE, job_bytes=JOB_BYTES, cuts=CUTS.known)
            CUTS.forget()
            files = [file for job in workflow.dag.jobs for file in (*job.input, *job.output)]
            date_back(files, read, ROOT, plan.made_folders(CONFIG, STUDY, FILES))
    except (LilasError, OSError) as error:
        sys.exit(told(error))


onerror:
    # The last line, after all that Snakemake has to say.
    words = "What is finished is kept: the same command goes on from there."
    atexit.register(print, words, file=sys.stderr)


def compiles(job):
    """Whether a job compiles its model."""
    kind, wildcards = job.rule.name, job.wildcards
    if kind in ("rollout", "rollout_write", "tune"):
        return STUDY.samplers[wildcards["sampler"]].compile
    if kind == "timing":
        return any(STUDY.samplers[run["sampler"]].compile for run in TIMED)
    if kind in ("autoencoder", "emulator"):
        entry = resolved(kind, wildcards)
        return entry.is_trained and entry.model.train.compile
    return False
