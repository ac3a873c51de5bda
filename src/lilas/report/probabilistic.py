"""Which probabilistic emulator is the best of each horizon, by proper scores of its ensemble.

By CRPS and energy score over the standard deviation of the truth, as in the VRMSE, so that fields
of any unit can be averaged. Of one member they are the mean absolute error and the VRMSE, by which
deterministic emulators stand beside.
"""

from dataclasses import dataclass, field

import pandas as pd

from lilas.report.contests import at, contest, estimate
from lilas.report.summary import of_first_samplers
from lilas.study.methods import METHODS, named

SCORES = {"vcrps": "CRPS", "venergy_score": "energy score"}


@dataclass(frozen=True)
class Best:
    """The best probabilistic emulators of a dataset.

    Attributes:
        sentence: Which they are, in a sentence or more; empty where there are none.
        lines: Their scores, and others', a line per score and horizon.
    """

    sentence: str = ""
    lines: list[str] = field(default_factory=list)


def best_probabilistic(cells: pd.DataFrame, differences: pd.DataFrame) -> Best:
    """Returns the best probabilistic emulator of each horizon by each score, and how it fares.

    Against the next model, and against the best deterministic one. Each model has the first of its
    samplers: one that was chosen by these scores would look better than it is. Ensembles of one
    member are no ensembles, and are left out.

    Args:
        cells: Rows of `tables/horizons.csv` of one dataset, with the run's name as `run`.
        differences: Rows of `tables/differences.csv` of the dataset.
    """
    chosen = cells[
        (cells["relative_to"] == "truth")
        & (cells["field"] == "")
        & (cells["direction"] == "forward")
        & cells["method"].isin(named("emulator"))
    ]
    drawn = chosen["method"].map(lambda name: METHODS[name].probabilistic).astype(bool)
    ensembles, others = chosen[drawn & (chosen["members"] > 1)], chosen[~drawn]
    if ensembles.empty:
        return Best()
    # What begins elsewhere forecasts other states, and is another question.
    start = ensembles["start"].min()
    ensembles, others = (rows[rows["start"] == start] for rows in (ensembles, others))
    ensembles, others = (rows[of_first_samplers(rows)] for rows in (ensembles, others))
    said: dict[tuple[str, ...], list[str]] = {}
    lines = []
    for metric, score in SCORES.items():
        found: dict[tuple[str, str], list[str]] = {}
        own, beside = (rows[rows["metric"] == metric] for rows in (ensembles, others))
        for horizon, rows in own.groupby("horizon", sort=False):
            told, line = _of_horizon(rows, beside[beside["horizon"] == horizon], differences)
            found.setdefault(told, []).append(str(horizon))
            lines.append(f"Lead times {horizon}, {score}: {line}")
        horizons = own["horizon"].unique()
        if found:
            parts = (f"{who} {at(its, horizons)}{how}" for (who, how), its in found.items())
            said.setdefault(tuple(parts), []).append(f"by {score}")
    sentences = []
    for parts, scores in said.items():
        names = "; ".join(parts)
        by = " and ".join(scores)
        sentences.append(f"{by[0].upper()}{by[1:]}, the best probabilistic emulator is {names}.")
    return Best(" ".join(sentences), lines)


def _of_horizon(
    rows: pd.DataFrame, others: pd.DataFrame, differences: pd.DataFrame
) -> tuple[tuple[str, str], str]:
    """Returns which run is the best and how it fares in words, and both in numbers."""
    models = rows.sort_values("value", kind="stable")
    best = models.iloc[0]
    rivals = {"the next": models.iloc[1:2], "the best deterministic": others.nsmallest(1, "value")}
    words, numbers = [], [f"{best['run']} {estimate(best)}"]
    for name, found in rivals.items():
        for _, rival in found.iterrows():
            result = contest(best, rival, differences)
            words.append(f"{result.word} {name}, {rival['run']}")
            numbers.append(f"{result.word} {result.other}")
    alone = "" if len(models) > 1 else ", the only one,"
    how = f" ({'; '.join(words)})" if words else ""
    return (f"{best['run']}{alone}", how), "; ".join(numbers)
