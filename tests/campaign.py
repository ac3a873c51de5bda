"""Ends the miniature at random moments in every stage, and finishes it: nothing may differ.

`python tests/campaign.py --count 100` runs pipelines from nothing, each ended once in every stage
by SIGKILL, SIGTERM or SIGINT and started again with the same command, and compares weights,
latents, rollouts, scores and tables with those of a run that nothing disturbed, bit by bit.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from safetensors.numpy import load_file

from conftest import Pipeline, heed_interrupts

# In the order in which they begin to run, for what they wait for.
STAGES = (
    *("simulate", "statistics", "autoencoder", "latents", "emulator", "rollout", "evaluate"),
    *("claims", "tables", "figures", "report"),
)
# How a run is ended: the signal, and whether every process of it gets it or Snakemake alone.
ENDS = {
    "SIGKILL": (signal.SIGKILL, True),
    "SIGTERM": (signal.SIGTERM, True),
    "SIGTERM to Snakemake alone": (signal.SIGTERM, False),
    "SIGINT": (signal.SIGINT, True),
}
# A run that gets a signal ends by then, or it hangs.
SECONDS = 300
# What of a stage's time at most goes by before it is ended; some end sooner than they are seen.
SHARE = 0.9
# Where a run is when the last job of a stage is over and the next has not begun.
BETWEEN = "between stages"


def campaign(
    folder: Path, reference: Pipeline, count: int, seed: int, tell: Callable[[str], None] = print
) -> tuple[Counter[tuple[str, str]], list[str]]:
    """Ends runs of the miniature, and returns how often by stage and end, and what differed.

    Args:
        folder: Of the pipelines, which is to be empty.
        reference: The miniature that nothing disturbed.
        count: How often to end a run.
        seed: Of moments and signals.
        tell: Prints a line.
    """
    draw, ended, faults = random.Random(seed), Counter(), []
    lengths = _lengths(reference)
    for number in range(count):
        pipeline = Pipeline(folder / f"{number}").lay_out()
        # Of a pipeline that is not ended in all, in any of them.
        stages = draw.sample(range(len(STAGES)), min(len(STAGES), count - ended.total()))
        for stage in (STAGES[place] for place in sorted(stages)):
            # Each end as often as the others, in whatever order.
            end = draw.choice([e for e in ENDS if ended_by(ended, e) == _least(ended)])
            try:
                where = _end_in(
                    pipeline, stage, draw.uniform(0, SHARE * lengths[stage]), *ENDS[end]
                )
            except AssertionError as error:
                faults.append(f"pipeline {number}: {error}")
                tell(faults[-1])
                continue
            if where is None:
                tell(f"   - the run was over before {stage} could be ended")
            else:
                ended[where, end] += 1
                tell(f"{ended.total():4} of {count}: {where}, {end}")
        done = pipeline.run(check=False)
        found = [f"it does not finish:\n{done.stdout}{done.stderr}"] if done.returncode else []
        faults += [
            f"pipeline {number}: {text}" for text in found or differences(reference, pipeline)
        ]
        if ended.total() == count:
            break
    return ended, faults


def ended_by(ended: Counter[tuple[str, str]], end: str) -> int:
    return sum(n for (_, its), n in ended.items() if its == end)


def _least(ended: Counter[tuple[str, str]]) -> int:
    return min(ended_by(ended, end) for end in ENDS)


def _lengths(pipeline: Pipeline) -> dict[str, float]:
    """Seconds of the longest job of each stage."""
    found = dict.fromkeys(STAGES, 0.0)
    for path in pipeline.folder.glob("results/**/benchmarks/**/*.tsv"):
        stage = path.stem.partition("_")[0]
        if stage in found:
            found[stage] = max(found[stage], float(pd.read_csv(path, sep="\t")["s"].max()))
    return found


def _end_in(
    pipeline: Pipeline, stage: str, seconds: float, number: signal.Signals, group: bool
) -> str | None:
    """Runs a pipeline until a stage was at work for a time, and ends it.

    Returns the stage, `BETWEEN` where it was over by then, None where the run had ended by itself.
    """
    process = start(pipeline)
    while process.poll() is None and not _is_at_work(process.pid, stage):
        time.sleep(0.02)
    if process.poll() is not None:
        return None
    time.sleep(seconds)
    if process.poll() is not None:
        return None
    found = stage if _is_at_work(process.pid, stage) else BETWEEN
    if group:
        os.killpg(process.pid, number)
    else:
        os.kill(process.pid, number)
    try:
        process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise AssertionError(f"{stage}: hangs after {number.name}") from None
    return found


def start(pipeline: Pipeline, *targets: str) -> subprocess.Popen[bytes]:
    """Starts Snakemake as the leader of a group of processes; what it says is kept beside it."""
    with open(pipeline.folder.with_suffix(".log"), "a") as log:
        return subprocess.Popen(
            pipeline.command(*targets),
            cwd=pipeline.folder,
            env=pipeline.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=heed_interrupts,
        )


def _is_at_work(session: int, stage: str) -> bool:
    """Whether a process of a session is at work on a stage."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # Of one that has ended there are no words.
                words = (entry / "cmdline").read_bytes().split(b"\0")
                own = os.getsid(int(entry.name)) == session
            except OSError:
                continue
            if own and f"lilas.stages.{stage}".encode() in words:
                return True
    return False


# --- What is compared -------------------------------------------------------------------------


def differences(one: Pipeline, other: Pipeline) -> list[str]:
    """Returns the results of a pipeline that the other lacks or has with other bits."""
    found = []
    for kind, read in READERS.items():
        paths = {path.relative_to(one.results) for path in one.results.rglob(kind)}
        missing = {path for path in paths if not (other.results / path).exists()}
        found += [f"{path} is missing" for path in sorted(missing)]
        for path in sorted(paths - missing):
            first, second = (read(pipeline.results / path) for pipeline in (one, other))
            if first.keys() != second.keys():
                found.append(f"{path} holds {sorted(second)} in place of {sorted(first)}")
            found += [
                f"{path}: {name} differs"
                for name in first.keys() & second.keys()
                if not np.array_equal(first[name], second[name], equal_nan=_is_float(first[name]))
            ]
    return found


def _is_float(values: Any) -> bool:
    return np.asarray(values).dtype.kind == "f"


def _store(path: Path) -> dict[str, Any]:
    with xr.open_zarr(path, decode_times=False) as store:
        return {name: store[name].values for name in store.variables}


def _rows(path: Path) -> dict[str, Any]:
    return {name: column.to_numpy() for name, column in pd.read_parquet(path).items()}


READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "weights*.safetensors": load_file,
    "latents/*.zarr": _store,
    "rollouts.zarr": _store,
    "frames.zarr": _store,
    "*.parquet": _rows,
    # Those of costs and of sampling steps hold seconds, which no two runs share.
    "tables/[!ms]*.csv": lambda path: {"text": path.read_text(encoding="utf-8")},
    "tables/methods.csv": lambda path: {"text": path.read_text(encoding="utf-8")},
}


def table(ended: Counter[tuple[str, str]]) -> str:
    """Returns how often runs were ended, by stage and end, in Markdown."""
    lines = ["| " + " | ".join(["stage", *ENDS]) + " |", "|---" * (1 + len(ENDS)) + "|"]
    for stage in (*STAGES, BETWEEN):
        lines.append("| " + " | ".join([stage, *(str(ended[stage, e]) for e in ENDS)]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100, help="how often a run is ended")
    parser.add_argument("--seed", type=int, default=0, help="of moments and signals")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        reference = Pipeline(Path(temporary) / "undisturbed" / "pipeline").lay_out()
        reference.run()
        ended, faults = campaign(Path(temporary) / "ended", reference, args.count, args.seed)
    print(f"\n{table(ended)}\n\n{ended.total()} ends, {len(faults)} differences")
    sys.exit("\n".join(faults) or 0)


if __name__ == "__main__":
    main()
