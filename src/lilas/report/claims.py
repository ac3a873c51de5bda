"""The paper's six claims, each held against the numbers of this run.

A claim is supported only where the 95 % interval of what was measured lies on its side of a
threshold, or, for costs and losses, which are measured once, where the number itself does. A claim
about which this run says nothing is not tested. Thresholds are those of `lilas.report.criteria`.
Intervals are bootstrapped over test trajectories, the same resamples for whatever is compared.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

from lilas.files import write_json
from lilas.report.accuracy import context, diffusion_or_solver, pixel_space, robustness
from lilas.report.efficiency import convergence, speed
from lilas.report.paired import Results, Verdict


def check(results: Results) -> list[Verdict]:
    """Returns the verdict on each of the six claims, in the paper's order.

    Raises:
        LilasError: runs to compare were evaluated on different trajectories or horizons.
    """
    return [examine(results) for examine in CLAIMS.values()]


def write_claims(path: str | Path, verdicts: Iterable[Verdict]) -> None:
    """Writes verdicts as JSON: `claims` lists number, claim, verdict, evidence and reason."""
    write_json(path, {"claims": [asdict(verdict) for verdict in verdicts]})


CLAIMS: dict[int, Callable[[Results], Verdict]] = {
    1: robustness,
    2: pixel_space,
    3: diffusion_or_solver,
    4: convergence,
    5: speed,
    6: context,
}
