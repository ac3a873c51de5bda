"""Runs studies with a mutation that is planned, drawn by seed, to their report.

`make test-mutations` does. Each begins with the results of the miniature, so that what a mutation
changes is made again, and nothing else: a minute of two cores. It prints a line for each, and fails
if one makes no report.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from conftest import Pipeline
from lilas.study.read import make_study
from study_mutations import (
    MINIATURE,
    Mutation,
    full,
    has_twice,
    load,
    mutated,
    mutations,
    outcome,
    write,
)


def candidates(scratch: Path) -> list[tuple[Any, Mutation]]:
    """Mutations of the miniature that are planned and mean something else than the miniature."""
    found = []
    for values in (load(MINIATURE), full()):
        before = make_study(MINIATURE, values)
        for mutation in mutations(values):
            if has_twice(mutation) or outcome(values, mutation, scratch) is not None:
                continue
            if make_study(MINIATURE, mutated(values, mutation)) != before:
                found.append((values, mutation))
    return found


def run(pipeline: Pipeline, cores: int) -> str:
    """Runs a pipeline; returns what came of it."""
    report = pipeline.results / "report.html"
    report.unlink(missing_ok=True)
    line = ["snakemake", "--cores", f"{cores}", "--config", f"study={pipeline.study.name}"]
    done = subprocess.run(
        line,
        cwd=pipeline.folder,
        env=pipeline.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0 and report.is_file():
        return "report"
    lines = (done.stdout + done.stderr).splitlines()
    errors = [line for line in lines if line.startswith("error: ")] or lines[-3:]
    return f"FAILED: {' | '.join(dict.fromkeys(errors))}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="how many (20)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (0)")
    parser.add_argument("--cores", type=int, default=2, help="of each run (2)")
    args = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        found = candidates(folder / "study.yaml")
        drawn = random.Random(args.seed).sample(found, args.count)
        print(f"{len(drawn)} of {len(found)} mutations of the miniature that are planned:")
        miniature = Pipeline(folder / "miniature").lay_out()
        if (told := run(miniature, args.cores)) != "report":
            sys.exit(f"error: the miniature itself: {told}")
        for values, mutation in drawn:
            start, place = time.monotonic(), ".".join(map(str, mutation.place))
            pipeline = miniature.copy(folder / "run")
            write(pipeline.study, mutated(values, mutation))
            told = run(pipeline, args.cores)
            shutil.rmtree(pipeline.folder)
            failures += told != "report"
            seconds = time.monotonic() - start
            print(f"{mutation.kind:14} {place:60} {seconds:5.0f} s  {told}", flush=True)
    print(f"{args.count - failures} of {args.count} made their report")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
