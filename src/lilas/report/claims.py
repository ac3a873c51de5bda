"""The paper's six claims, each held against the numbers of this run.

A claim is supported only where the 95 % interval of what was measured lies on its side of a
threshold, or, for costs, which are measured once, where the number itself does. A claim about which
this run says nothing is not tested. Thresholds are those of `lilas.report.criteria`. Intervals are
bootstrapped over test trajectories, the same resamples for whatever is compared; of losses they are
Student's over training seeds.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lilas.files import atomic, write_json
from lilas.report.ablation import convergence
from lilas.report.accuracy import context, diffusion_or_solver, pixel_space, robustness
from lilas.report.efficiency import speed
from lilas.report.paired import ROWS, Results, Verdict


def check(results: Results) -> list[Verdict]:
    """Returns the verdict on each of the six claims, in the paper's order.

    Raises:
        LilasError: runs to compare were evaluated on different trajectories or horizons.
    """
    return [examine(results) for examine in CLAIMS.values()]


def write_claims(
    path: Path, rows: Path, verdicts: Sequence[Verdict], record: dict[str, Any]
) -> None:
    """Writes verdicts, and what their numbers are computed from.

    Args:
        path: JSON: `claims` lists number, claim, criterion, verdict, evidence, reason and parts.
        rows: CSV: claim, part, and what `lilas.report.paired.ROWS` lists.
        verdicts: Of `check`.
        record: Of their making.
    """
    claims = []
    for verdict in verdicts:
        parts = [
            {"name": part.name, "verdict": part.verdict, "evidence": part.evidence}
            for part in verdict.parts
        ]
        claims.append(vars(verdict) | {"parts": parts})
    write_json(path, {"claims": claims, "provenance": record})
    behind = [
        part.rows.assign(claim=verdict.number, part=part.name)
        for verdict in verdicts
        for part in verdict.parts
        if len(part.rows)
    ]
    columns = ["claim", "part", *ROWS]
    table = pd.concat(behind) if behind else pd.DataFrame(columns=columns)
    with atomic(rows) as file:
        table.to_csv(file, index=False, columns=columns)


CLAIMS: dict[int, Callable[[Results], Verdict]] = {
    1: robustness,
    2: pixel_space,
    3: diffusion_or_solver,
    4: convergence,
    5: speed,
    6: context,
}
