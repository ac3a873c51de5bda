"""A first study of data on disk, with comments: what `lilas new` writes."""

import math
import re
import tempfile
from pathlib import Path
from textwrap import indent

from lilas.data.check import check_files
from lilas.data.ranges import few_ranges
from lilas.data.registry import data_in
from lilas.errors import LilasError, broken
from lilas.plan.draft_text import study_text
from lilas.plan.dry_run import plan_apart
from lilas.plan.on_disk import extent_of
from lilas.plan.sizes import fitting, tier_of
from lilas.study.read import read_study
from lilas.systems.base import SPLITS


def draft(folder: Path) -> str:
    """Returns a study of a folder of data as YAML with comments, checked as a plan checks it.

    Fields, transforms, symmetries, label and sizes are those that the files suggest; models are as
    large as there is to learn from. Its first lines tell what it takes on this machine.

    Args:
        folder: It holds data/{train,valid,test} in The Well's layout.

    Raises:
        LilasError: a split is missing, a file has a fault, or no network fits the grid.
    """
    files = {split: list(map(str, data_in(folder / "data" / split))) for split in SPLITS}
    if empty := [split for split, its in files.items() if not its]:
        action = "`lilas convert` makes such a folder; `lilas check` tells what this one holds."
        raise broken(folder / "data" / empty[0], "HDF5 files", "none", action)
    checked = check_files(files)
    checked.refuse(str(folder))
    headers = checked.headers
    first = headers["train"][0]
    extent = extent_of(headers, list(first.fields))
    steps = min(extent.steps["train"], extent.steps["valid"])
    if (shortest := min(extent.steps.values())) < 2:
        raise broken(folder, "two states at least", f"{shortest}", "A model learns steps.")
    states = sum(header.trajectories * header.steps for header in headers["train"])
    tier = tier_of(4 * states * len(extent.channels) * math.prod(extent.size))
    sizes = fitting(tier, extent.size, len(extent.channels), steps, extent.steps["test"])
    ranges = few_ranges(headers["train"])
    name = re.sub(r"[^A-Za-z0-9_]", "_", folder.resolve().name)[:64]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "study.yaml")
        inside = study_text(name, folder.resolve(), first, extent, ranges, sizes, tier)
        path.write_text(inside, encoding="utf-8")
        read_study(path).check_extent(name, extent)
        told = _estimate(path)
    head = (
        f"A first study of {folder}, its models sized for {tier.what}.\n"
        f"Saved as {name}.yaml it is run by: snakemake --config study={name}.yaml\n"
        f"docs/configuration.md describes every key.\n{told}\n"
    )
    text = study_text(name, folder, first, extent, ranges, sizes, tier)
    return indent(head, "# ") + text


def _estimate(study: Path) -> str:
    """Returns what a plan says of a study, in hours and GB."""
    try:
        table = plan_apart(study)
    except LilasError as error:
        return f"There is no estimate of what it takes: {error}"
    # What is free where it was planned is of no interest.
    lines = [line for line in table.splitlines() if not line.startswith("on ")]
    return "\n".join(["What it takes on this machine, as `lilas plan` estimates it:", *lines])
