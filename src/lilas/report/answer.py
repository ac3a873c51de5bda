"""The report's answer: did latent diffusion work, horizon by horizon, and how can one tell.

It works at a horizon if the best latent diffusion run has a lower VRMSE than persistence and than
climatology, by more than chance.
"""

from collections.abc import Sized
from dataclasses import dataclass

import pandas as pd

from lilas.report.criteria import NEAR_ONE
from lilas.report.summary import BASELINES, EMULATORS
from lilas.study.methods import DIFFUSION, METHODS

SIGNIFICANT = 0.05


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
    """How a run fares against another: in words, if it is better, and if that is clear."""

    word: str
    other: str
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
    # Pixel space has an autoencoder too: the identity, of compression 1.
    vrmse = vrmse[vrmse["direction"] == "forward"]
    latent = vrmse[(vrmse["method"] == DIFFUSION) & (vrmse["compression"] > 1)]
    if latent.empty:
        found = "No latent diffusion emulator was evaluated forward in time."
        return Answer(name, "Not tested.", found, [])
    # What begins elsewhere forecasts other states, and is another question.
    starts = sorted(latent["start"].unique())
    vrmse, latent = (rows[rows["start"] == starts[0]] for rows in (vrmse, latent))
    baselines: dict[str, list[str]] = {"works": [], "ahead": [], "fails": []}
    rivals = [name for name in EMULATORS if name != DIFFUSION]
    fares: dict[str, dict[str, list[str]]] = {name: {} for name in rivals}
    ensemble: dict[str, list[str]] = {}
    lines = []
    for horizon, rows in latent.groupby("horizon", sort=False):
        best = rows.loc[rows["value"].idxmin()]
        others = vrmse[vrmse["horizon"] == horizon].set_index("method")
        contests = [_contest(best, others.loc[name], differences) for name in BASELINES]
        works = all(contest.better and contest.clear for contest in contests)
        ahead = all(contest.better for contest in contests)
        baselines["works" if works else "ahead" if ahead else "fails"].append(horizon)
        for name in rivals:
            if name in others.index:
                runs = others.loc[[name]]
                contest = _contest(best, runs.iloc[runs["value"].argmin()], differences)
                contests.append(contest)
                fares[name].setdefault(contest.word, []).append(horizon)
        text = f"Lead times {horizon}: {best['run']} has VRMSE {estimate(best)}; "
        text += "; ".join(f"{contest.word} {contest.other}" for contest in contests)
        for _, cell in ratio[
            (ratio["horizon"] == horizon) & (ratio["run"] == best["run"])
        ].iterrows():
            text += f"; spread/skill {estimate(cell)}"
            ensemble.setdefault(_calibration(cell["value"]), []).append(horizon)
        lines.append(text)
    word, sentence = _summary(baselines)
    for start, end, found in (
        *(("It is", f" the best {_called(name)}", found) for name, found in fares.items()),
        ("Its ensemble is", "", ensemble),
    ):
        if found:
            parts = [f"{what}{end} {_at(horizons, lines)}" for what, horizons in found.items()]
            sentence += f" {start} {', '.join(parts)}."
    if len(starts) > 1:
        sentence += f" Of rollouts from step {starts[0]} alone; others begin later."
    return Answer(name, word, sentence, lines)


def _called(method: str) -> str:
    return METHODS[method].published.replace("_", " ") or method


def estimate(cell: pd.Series) -> str:
    """Returns a number with its interval, where it has one."""
    interval = "" if pd.isna(cell["low"]) else f" [{cell['low']:.3f}, {cell['high']:.3f}]"
    return f"{cell['value']:.3f}{interval}"


def _summary(outcomes: dict[str, list[str]]) -> tuple[str, str]:
    """Returns in a word and in a sentence at which horizons both baselines are beaten."""
    what = "a lower error than persistence and climatology"
    works, ahead, fails = outcomes.values()
    horizons = works + ahead + fails
    if not works and not ahead:
        return "No.", f"Latent diffusion does not have {what} at any horizon."
    parts = [
        f"{how} {_at(found, horizons)}"
        for how, found in (("by more than chance", works), ("within chance", ahead), ("not", fails))
        if found
    ]
    word = "Not clear." if not works else "In part." if ahead or fails else "Yes."
    return word, f"Latent diffusion has {what}, {', but '.join(parts)}."


def _at(horizons: list[str], all_of_them: Sized) -> str:
    if len(horizons) == len(all_of_them):
        return "at every horizon"
    *most, last = horizons
    return f"at lead times {', '.join(most)} and {last}" if most else f"at lead times {last}"


def _contest(run: pd.Series, other: pd.Series, differences: pd.DataFrame) -> _Contest:
    """Compares the VRMSE of two runs at a horizon."""
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
    return _Contest(word, f"{other['run']} {other['value']:.3f} ({how})", better, clear)


def _p(run: pd.Series, other: pd.Series, differences: pd.DataFrame) -> float | None:
    """Returns the p-value of the paired test of two runs, None where there is none."""
    parts = [(r["autoencoder"], r["emulator"], r["sampler"]) for r in (run, other)]
    names = ["/".join(filter(None, part)) for part in parts]
    rows = differences[
        (differences["horizon"] == run["horizon"])
        & differences["first"].isin(names)
        & differences["second"].isin(names)
    ]
    return None if rows.empty or pd.isna(rows["p"].iloc[0]) else float(rows["p"].iloc[0])


def _calibration(ratio: float) -> str:
    low, high = NEAR_ONE
    if ratio < low:
        return "overconfident (spread/skill below 1)"
    if ratio > high:
        return "underconfident (spread/skill above 1)"
    return "about as wide as its error (spread/skill near 1)"
