"""The report's answer: did latent diffusion work, horizon by horizon, and how can one tell.

It works at a horizon if the best latent diffusion run has a lower VRMSE than persistence and than
climatology, by more than chance.
"""

from dataclasses import dataclass

import pandas as pd

SIGNIFICANT = 0.05
# A spread-skill ratio of an ensemble that knows its error, within a fifth.
CALIBRATED = (0.8, 1.2)
BASELINES = ("persistence", "climatology")


@dataclass(frozen=True)
class Answer:
    """The answer for a dataset.

    Attributes:
        name: The dataset.
        answer: In a word.
        sentence: In a sentence.
        horizons: What it rests on, a line per horizon.
    """

    name: str
    answer: str
    sentence: str
    horizons: list[str]


@dataclass(frozen=True)
class _Contest:
    """How a run fares against another: in words, and whether it is better, worse, or unclear."""

    words: str
    better: bool
    clear: bool


def answer(cells: pd.DataFrame, differences: pd.DataFrame) -> Answer:
    """Returns the answer for one dataset.

    Args:
        cells: Rows of `tables/horizons.csv` of the dataset, with the run's name as `run`.
        differences: Rows of `tables/differences.csv` of the dataset. Runs without a row there are
            compared by their intervals, which is a harder test than a paired one.
    """
    name = cells["dataset"].iloc[0]
    chosen = cells[(cells["relative_to"] == "truth") & (cells["field"] == "")]
    vrmse = chosen[chosen["metric"] == "vrmse"]
    ratio = chosen[chosen["metric"] == "spread_skill"]
    differences = differences[
        (differences["relative_to"] == "truth") & (differences["metric"] == "vrmse")
    ]
    latent = vrmse[(vrmse["method"] == "diffusion") & (vrmse["autoencoder"] != "")]
    if latent.empty:
        return Answer(name, "Not tested.", "No latent diffusion emulator was evaluated.", [])
    outcomes: dict[str, list[str]] = {"works": [], "ahead": [], "fails": []}
    lines = []
    for horizon, rows in latent.groupby("horizon", sort=False):
        best = rows.loc[rows["value"].idxmin()]
        others = vrmse[vrmse["horizon"] == horizon]
        found = {
            other["emulator"]: _contest(best, other, differences)
            for _, other in others[others["method"].isin(BASELINES)].iterrows()
        }
        solvers = others[others["method"] == "solver"]
        contests = [contest.words for contest in found.values()]
        if len(solvers):
            solver = solvers.loc[solvers["value"].idxmin()]
            contests.append(_contest(best, solver, differences).words)
        if all(c.better and c.clear for c in found.values()):
            outcomes["works"].append(horizon)
        elif all(c.better for c in found.values()):
            outcomes["ahead"].append(horizon)
        else:
            outcomes["fails"].append(horizon)
        ensemble = ratio[(ratio["horizon"] == horizon) & (ratio["run"] == best["run"])]
        lines.append(
            f"Lead times {horizon}: {best['run']} has VRMSE {estimate(best)}. "
            f"{'; '.join(contests)}. {_calibration(ensemble)}"
        )
    chosen_from = latent["run"].nunique()
    word, sentence = _summary(outcomes)
    if chosen_from > 1:
        sentence += f" (The best of {chosen_from} runs, chosen at each horizon on these numbers.)"
    return Answer(name, word, sentence, lines)


def estimate(cell: pd.Series) -> str:
    """Returns a number with its interval, where it has one."""
    interval = "" if pd.isna(cell["low"]) else f" [{cell['low']:.3f}, {cell['high']:.3f}]"
    return f"{cell['value']:.3f}{interval}"


def _summary(outcomes: dict[str, list[str]]) -> tuple[str, str]:
    what = "a lower error than persistence and climatology"
    works, ahead, fails = outcomes.values()
    if not ahead and not fails:
        return "Yes.", f"Latent diffusion has {what} at every horizon, by more than chance."
    parts = [f"by more than chance at lead times {_listed(works)}"] if works else []
    if ahead:
        parts.append(f"within what chance allows at {_listed(ahead)}")
    if not parts:
        return "No.", f"Latent diffusion does not have {what} at any horizon."
    sentence = f"Latent diffusion has {what} {', '.join(parts)}"
    sentence += f", but not at {_listed(fails)}." if fails else "."
    return "In part." if works else "Not clear.", sentence


def _listed(horizons: list[str]) -> str:
    *most, last = horizons
    return f"{', '.join(most)} and {last}" if most else last


def _contest(run: pd.Series, other: pd.Series, differences: pd.DataFrame) -> _Contest:
    """Compares the VRMSE of two runs at a horizon."""
    subject = f"{other['run']} {other['value']:.3f}"
    better = bool(run["value"] < other["value"])
    p = _p(run, other, differences)
    if p is not None:
        clear, how = p < SIGNIFICANT, f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"
    elif pd.isna(run["low"]) or pd.isna(other["low"]):
        clear, how = False, "one trajectory, no interval"
    else:
        clear = bool(run["high"] < other["low"] or other["high"] < run["low"])
        how = "intervals apart" if clear else "intervals overlap"
    word = ("better than" if better else "worse than") if clear else "not clearly apart from"
    return _Contest(f"{word} {subject} ({how})", better, clear)


def _p(run: pd.Series, other: pd.Series, differences: pd.DataFrame) -> float | None:
    """Returns the p-value of the paired test of two runs, None where there is none."""
    names = ["/".join((r["autoencoder"], r["emulator"], r["sampler"])) for r in (run, other)]
    rows = differences[
        (differences["horizon"] == run["horizon"])
        & differences["first"].isin(names)
        & differences["second"].isin(names)
    ]
    return None if rows.empty or pd.isna(rows["p"].iloc[0]) else float(rows["p"].iloc[0])


def _calibration(ensemble: pd.DataFrame) -> str:
    if ensemble.empty:
        return "It has no ensemble, and so no spread."
    cell = ensemble.iloc[0]
    low, high = CALIBRATED
    if cell["value"] < low:
        word = "too narrow: it is surer than it should be"
    elif cell["value"] > high:
        word = "too wide: it is less sure than it could be"
    else:
        word = "about as wide as its error"
    return f"Spread over skill {estimate(cell)}: the ensemble is {word}."
