"""How a run fares against another at a horizon, and how that is said."""

from collections.abc import Sized
from dataclasses import dataclass

import pandas as pd

SIGNIFICANT = 0.05
RUN = ["autoencoder", "emulator", "sampler"]


@dataclass(frozen=True)
class Contest:
    """How a run fares against another.

    Attributes:
        word: "better than", "worse than" or "not clearly apart from".
        other: The other's name, its score, and by what test.
        better: Whether the run has the lower score.
        clear: Whether that is more than chance.
    """

    word: str
    other: str
    better: bool
    clear: bool


def contest(run: pd.Series, other: pd.Series, differences: pd.DataFrame) -> Contest:
    """Compares two runs at a horizon by a score of which less is better.

    Args:
        run: A row of `tables/horizons.csv`, with the run's name as `run`.
        other: Another, of the same metric and horizon.
        differences: Rows of `tables/differences.csv` of the dataset. Runs without a row there are
            compared by their intervals, which is a harder test than a paired one.
    """
    better = bool(run["value"] < other["value"])
    p = _p(run, other, differences)
    if p is not None:
        clear, how = p < SIGNIFICANT, f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"
    elif pd.isna(run["low"]) or pd.isna(other["low"]):
        clear, how = False, "one trajectory, no test"
    else:
        clear = bool(run["high"] < other["low"] or other["high"] < run["low"])
        how = "intervals apart" if clear else "intervals overlap"
    word = ("better than" if better else "worse than") if clear else "not clearly apart from"
    return Contest(word, f"{other['run']} {other['value']:.3f} ({how})", better, clear)


def _p(run: pd.Series, other: pd.Series, differences: pd.DataFrame) -> float | None:
    """Returns the p-value of the paired test of two runs, None where there is none."""
    names = ["/".join(filter(None, one[RUN])) for one in (run, other)]
    rows = differences[
        (differences["relative_to"] == run["relative_to"])
        & (differences["metric"] == run["metric"])
        & (differences["horizon"] == run["horizon"])
        & differences["first"].isin(names)
        & differences["second"].isin(names)
    ]
    return None if rows.empty or pd.isna(rows["p"].iloc[0]) else float(rows["p"].iloc[0])


def estimate(cell: pd.Series) -> str:
    """Returns a number with its interval, where it has one."""
    interval = "" if pd.isna(cell["low"]) else f" [{cell['low']:.3f}, {cell['high']:.3f}]"
    return f"{cell['value']:.3f}{interval}"


def at(horizons: list[str], all_of_them: Sized) -> str:
    """Returns at which of the horizons, in words."""
    if len(horizons) == len(all_of_them):
        return "at every horizon"
    *most, last = horizons
    return f"at lead times {', '.join(most)} and {last}" if most else f"at lead times {last}"
