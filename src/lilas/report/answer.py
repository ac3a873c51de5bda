"""The report's answer: did latent diffusion work, horizon by horizon, and how can one tell.

It works at a horizon if the best latent diffusion run has a lower VRMSE than persistence and than
climatology, by more than chance. Without latent diffusion the answer is on the best of the other
probabilistic emulators of latents. Beside it stands which of all probabilistic emulators is best.
Each emulator has the first of its samplers.
"""

from dataclasses import dataclass

import pandas as pd

from lilas.report.contests import at, contest, estimate
from lilas.report.criteria import NEAR_ONE
from lilas.report.probabilistic import Best, best_probabilistic
from lilas.report.summary import BASELINES, of_first_samplers
from lilas.study.methods import DIFFUSION, METHODS, named


@dataclass(frozen=True)
class Answer:
    """The answer for a dataset.

    Attributes:
        name: The dataset.
        answer: In a word.
        sentence: In a sentence.
        horizons: What it rests on, a line per horizon.
        best: The best probabilistic emulators.
    """

    name: str
    answer: str
    sentence: str
    horizons: list[str]
    best: Best


def answer(cells: pd.DataFrame, differences: pd.DataFrame) -> Answer:
    """Returns the answer for one dataset.

    Args:
        cells: Rows of `tables/horizons.csv` of the dataset, with the run's name as `run`.
        differences: Rows of `tables/differences.csv` of the dataset. Runs without a row there are
            compared by their intervals, which is a harder test than a paired one.
    """
    name, best = cells["dataset"].iloc[0], best_probabilistic(cells, differences)
    chosen = cells[(cells["relative_to"] == "truth") & (cells["field"] == "")]
    vrmse = chosen[chosen["metric"] == "vrmse"]
    ratio = chosen[chosen["metric"] == "spread_skill"]
    vrmse = vrmse[vrmse["direction"] == "forward"]
    # Pixel space has an autoencoder too: the identity, of compression 1.
    latent = vrmse[vrmse["compression"] > 1]
    who, methods = _subject(latent)
    latent = latent[latent["method"].isin(methods)]
    untested = "" if DIFFUSION in methods else _UNTESTED
    if latent.empty:
        return Answer(name, "Not tested.", untested, [], best)
    # What begins elsewhere forecasts other states, and is another question.
    starts = sorted(latent["start"].unique())
    vrmse, latent = (rows[rows["start"] == starts[0]] for rows in (vrmse, latent))
    vrmse, latent = (rows[of_first_samplers(rows)] for rows in (vrmse, latent))
    baselines: dict[str, list[str]] = {"works": [], "ahead": [], "fails": []}
    rivals = [method for method in named("emulator") if method not in methods]
    fares: dict[str, dict[str, list[str]]] = {rival: {} for rival in rivals}
    ensemble: dict[str, list[str]] = {}
    lines = []
    for horizon, rows in latent.groupby("horizon", sort=False):
        run = rows.loc[rows["value"].idxmin()]
        others = vrmse[vrmse["horizon"] == horizon].set_index("method")
        contests = [contest(run, others.loc[rival], differences) for rival in BASELINES]
        works = all(one.better and one.clear for one in contests)
        ahead = all(one.better for one in contests)
        baselines["works" if works else "ahead" if ahead else "fails"].append(horizon)
        for rival in rivals:
            if rival in others.index:
                runs = others.loc[[rival]]
                contests.append(contest(run, runs.iloc[runs["value"].argmin()], differences))
                fares[rival].setdefault(contests[-1].word, []).append(horizon)
        text = f"Lead times {horizon}: {run['run']} has VRMSE {estimate(run)}; "
        text += "; ".join(f"{one.word} {one.other}" for one in contests)
        for _, cell in ratio[
            (ratio["horizon"] == horizon) & (ratio["run"] == run["run"])
        ].iterrows():
            text += f"; spread/skill {estimate(cell)}"
            ensemble.setdefault(_calibration(cell["value"]), []).append(horizon)
        lines.append(text)
    word, sentence = _summary(who, baselines)
    for start, end, found in (
        *(("It is", f" the best {_called(rival)}", found) for rival, found in fares.items()),
        ("Its ensemble is", "", ensemble),
    ):
        if found:
            parts = [f"{what}{end} {at(horizons, lines)}" for what, horizons in found.items()]
            sentence += f" {start} {', '.join(parts)}."
    if len(starts) > 1:
        sentence += f" Of rollouts from step {starts[0]} alone; others begin later."
    return Answer(name, word, f"{untested} {sentence}".strip(), lines, best)


_UNTESTED = "No latent diffusion emulator was evaluated forward in time."


def _subject(latent: pd.DataFrame) -> tuple[str, list[str]]:
    """Returns whom the answer is on, in words, and the methods; none where there are none."""
    found = [name for name in named("emulator") if name in set(latent["method"])]
    found = [name for name in found if METHODS[name].probabilistic]
    if DIFFUSION in found:
        return f"Latent {_called(DIFFUSION)}", [DIFFUSION]
    if len(found) > 1:
        return f"The best of latent {' and '.join(found)}", found
    return f"Latent {''.join(found)}", found


def _called(method: str) -> str:
    return METHODS[method].published.replace("_", " ") or method


def _summary(who: str, outcomes: dict[str, list[str]]) -> tuple[str, str]:
    """Returns in a word and in a sentence at which horizons both baselines are beaten."""
    what = "a lower error than persistence and climatology"
    works, ahead, fails = outcomes.values()
    horizons = works + ahead + fails
    if not works and not ahead:
        return "No.", f"{who} does not have {what} at any horizon."
    parts = [
        f"{how} {at(found, horizons)}"
        for how, found in (("by more than chance", works), ("within chance", ahead), ("not", fails))
        if found
    ]
    word = "Not clear." if not works else "In part." if ahead or fails else "Yes."
    return word, f"{who} has {what}, {', but '.join(parts)}."


def _calibration(ratio: float) -> str:
    low, high = NEAR_ONE
    if ratio < low:
        return "overconfident (spread/skill below 1)"
    if ratio > high:
        return "underconfident (spread/skill above 1)"
    return "about as wide as its error (spread/skill near 1)"
