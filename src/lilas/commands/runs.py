"""`lilas plan`, `status` and `adopt`: what a run would take, how far it is, what is kept of it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lilas.commands import add_command

if TYPE_CHECKING:
    from lilas.commands import Commands

PLAN = """\
Prints what is left to run of a study, by stage: jobs; hours of all of them, one after the other,
and of the longest; cores, GPUs and memory of the job that needs most; gigabytes to download and to
write, and the room there is. It runs nothing: it is what `snakemake -n` ends with.

Of config.yaml it takes the study where none is named, `data` and `results`, where it looks for what
is there already, and `device`: with cpu no job has a GPU. A profile tells how many GPUs a job may
have (`resources: gpu`), and its most threads. Hours and memory are estimates: docs/clusters.md says
how far off they are."""

PLAN_EXAMPLES = """\
examples:
  lilas plan demo                     # on this machine, without a GPU
  lilas plan laptop --profile gpu     # beside one GPU
  lilas plan paper --profile slurm    # on a cluster, within what profiles/slurm allows
  lilas plan paper --all              # as if nothing were there yet"""

STATUS = """\
Prints how far a study is, by rule: jobs that are done; running; waiting, for they or what they need
were not made yet; stale, made but to be made again, and why; failed, with the end of their log. Of
trainings it tells step, losses and the time that is left, of jobs of a cluster their number there.
Run it in the folder that snakemake runs in, as often as you like: it changes nothing."""

STATUS_EXAMPLES = """\
examples:
  lilas status                 # of config.yaml's study
  watch -n 30 lilas status paper"""

ADOPT = """\
Keeps finished work that was copied or moved: without the times of its files, or without the folder
.snakemake, Snakemake would make all of it again. Compares the records inside the results (settings,
versions of stages, SHA-256 of inputs) with what the study would make now in this clone; what is
current is dated now, and snakemake keeps it. What is not is told, with why, and made again by the
next run; nothing is deleted: a file that was changed since it was made is kept as NAME.changed.

The folder is called as the study's file. A study that was moved and edited since is taken too."""

ADOPT_EXAMPLES = """\
examples:
  cp -r /mnt/old/lilas/results .           # in a fresh clone
  lilas adopt results/demo
  lilas adopt /scratch/results/mine studies/mine.yaml --config data=/scratch/data"""


def add(commands: "Commands") -> None:
    """Adds `plan`, `status` and `adopt`."""
    text = "jobs, hours, memory and disk of a run, by stage, before it runs"
    plan = add_command(commands, "plan", text, PLAN, _plan, PLAN_EXAMPLES)
    plan.add_argument(
        "--profile", metavar="NAME", help="default, gpu, slurm, or the folder of your own"
    )
    plan.add_argument("--all", action="store_true", help="count what is there already as well")
    text = "how far a run is: done, running, waiting, stale, failed"
    status = add_command(commands, "status", text, STATUS, _status, STATUS_EXAMPLES)
    text = "keep finished results that were copied or moved"
    adopt = add_command(commands, "adopt", text, ADOPT, _adopt, ADOPT_EXAMPLES)
    adopt.add_argument("folder", type=Path, metavar="FOLDER", help="such as results/demo")
    for one in (plan, status, adopt):
        add_study(one)


def add_study(parser: argparse.ArgumentParser) -> None:
    """Adds what names a study and the settings that it runs with."""
    parser.add_argument(
        "study", nargs="?", metavar="STUDY", help="its name or file (default: config.yaml's)"
    )
    parser.add_argument(
        "--config",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="settings in place of config.yaml's, such as results=/scratch/lilas",
    )


def _plan(args: argparse.Namespace) -> None:
    from lilas.plan.dry_run import plan_study

    print(plan_study(args.study, args.profile, args.all, args.config))


def _status(args: argparse.Namespace) -> None:
    from lilas.plan.dry_run import study_status

    print(study_status(args.study, args.config))


def _adopt(args: argparse.Namespace) -> None:
    from lilas.plan.adopt import adopt

    print("\n".join(adopt(args.folder, args.study, args.config)))
