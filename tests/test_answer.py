"""Which probabilistic emulator is best, and the answer of studies without latent diffusion."""

import math
from typing import Any

import pandas as pd
import pytest

from lilas.report.probabilistic import best_probabilistic
from lilas.study.methods import METHODS, Method
from test_report import answered, make_cells, make_differences

SPACE = "c32-s0"
HORIZONS = ("1-9", "10-19")


@pytest.fixture(autouse=True)
def methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods beyond the paper's, whatever LILAS has: reports go by what a method declares."""
    for name, predicts in (("burst", "state"), ("stream", "denoiser")):
        method = Method(name, "emulator", predicts, probabilistic=True)
        monkeypatch.setitem(METHODS, name, method)


def cells(
    scores: dict[str, tuple[float, ...]],
    metrics: tuple[str, ...] = ("vcrps", "venergy_score"),
    **columns: Any,
) -> pd.DataFrame:
    """Rows of horizons.csv, by "method/sampler" the score of each horizon, within ± 0.04."""
    rows = []
    for name, values in scores.items():
        method, sampler = name.split("/")
        for metric in metrics:
            for horizon, value in zip(HORIZONS, values, strict=False):
                names = {"emulator": f"{method}-s0", "method": method, "sampler": sampler}
                rows.append(
                    names
                    | {"metric": metric, "horizon": horizon, "value": value}
                    | {"low": value - 0.04, "high": value + 0.04, "run": name}
                    | {"members": 8 if METHODS[method].probabilistic else 1}
                )
    fixed = {
        "dataset": "flow",
        "autoencoder": SPACE,
        "compression": 32.0,
        "context": 1,
        "start": 0,
        "direction": "forward",
        "relative_to": "truth",
        "field": "",
        "trajectories": 9,
    }
    return pd.DataFrame(rows).assign(**fixed | columns)


def pair(first: str, second: str, horizon: str, p: float, metric: str = "vcrps") -> pd.DataFrame:
    names = {"first": first, "second": second, "horizon": horizon, "p": p}
    names = {
        key: f"{SPACE}/{value}" if key in ("first", "second") else value
        for key, value in names.items()
    }
    return pd.DataFrame([names | {"metric": metric, "relative_to": "truth"}])


NONE = pair("a", "b", "1-9", 0.5)
# Of each model the first sampler counts, whatever the scores of its others.
SCORES = {
    "diffusion/ab16": (0.30, 0.40),
    "diffusion/ab8": (0.19, 0.45),
    "burst/direct": (0.20, 0.41),
    "solver/direct": (0.29, 0.60),
}


def test_the_best_of_each_horizon_stands_against_the_next_model_and_the_deterministic_one() -> None:
    found = best_probabilistic(cells(SCORES), NONE)
    # Intervals of ± 0.04 are apart from 0.09 on. The next is a model, not another sampler.
    assert found.sentence == (
        "By CRPS and by energy score, the best probabilistic emulator is burst/direct at lead "
        "times 1-9 (better than the next, diffusion/ab16; better than the best deterministic, "
        "solver/direct); diffusion/ab16 at lead times 10-19 (not clearly apart from the next, "
        "burst/direct; better than the best deterministic, solver/direct)."
    )
    assert found.lines[0] == (
        "Lead times 1-9, CRPS: burst/direct 0.200 [0.160, 0.240]; better than diffusion/ab16 0.300 "
        "(intervals apart); better than solver/direct 0.290 (intervals apart)"
    )
    assert [line.partition(":")[0] for line in found.lines] == [
        "Lead times 1-9, CRPS",
        "Lead times 10-19, CRPS",
        "Lead times 1-9, energy score",
        "Lead times 10-19, energy score",
    ]


def test_the_paired_test_of_the_score_itself_counts() -> None:
    own = {name: values[:1] for name, values in SCORES.items()}
    names = "c32-s0/burst-s0/direct", "c32-s0/diffusion-s0/ab16"
    apart = pair("burst-s0/direct", "diffusion-s0/ab16", "1-9", 0.3)
    assert list(apart[["first", "second"]].iloc[0]) == list(names)
    found = best_probabilistic(cells(own), apart)
    # By CRPS alone: no test of the energy score is there, whose intervals are apart.
    assert found.sentence.startswith(
        "By CRPS, the best probabilistic emulator is burst/direct at every horizon (not clearly "
        "apart from the next"
    )
    assert "By energy score, the best" in found.sentence
    assert "diffusion/ab16 0.300 (p = 0.3)" in found.lines[0]
    assert "diffusion/ab16 0.300 (intervals apart)" in found.lines[1]


def test_one_probabilistic_emulator_is_the_only_one() -> None:
    found = best_probabilistic(cells({"stream/ab16": (0.3, 0.3)}), NONE)
    assert found.sentence == (
        "By CRPS and by energy score, the best probabilistic emulator is stream/ab16, the only "
        "one, at every horizon."
    )


@pytest.mark.parametrize(
    "columns",
    [{"members": 1}, {"direction": "backward"}, {"relative_to": "autoencoder"}, {"field": "u"}],
)
def test_what_is_no_ensemble_forecast_of_the_truth_is_left_out(columns: dict[str, Any]) -> None:
    found = best_probabilistic(cells({"diffusion/ab16": (0.3, 0.3)}, **columns), NONE)
    assert (found.sentence, found.lines) == ("", [])


def test_runs_that_begin_elsewhere_are_not_compared() -> None:
    later = cells({"burst/direct": (0.1, 0.1)}, start=4)
    found = best_probabilistic(pd.concat([cells(SCORES), later], ignore_index=True), NONE)
    assert "0.100" not in "".join(found.lines)


def without_diffusion(*others: str) -> pd.DataFrame:
    """Cells of a study whose probabilistic emulators are others than diffusion."""
    table = make_cells()
    own = table[table["method"] == "diffusion"]
    kept = table[table["method"] != "diffusion"]
    parts = []
    for place, name in enumerate(others):
        rest = ["sampler", "metric", "horizon"]
        part = own.assign(method=name, emulator=f"{name}-s0", value=own["value"] + 0.01 * place)
        names = [["rayleigh_benard", SPACE, f"{name}-s0", *row] for row in part[rest].to_numpy()]
        parts.append(part.assign(cell=["/".join(one) for one in names]))
    return pd.concat([*parts, kept], ignore_index=True)


@pytest.mark.parametrize(
    ("others", "who"),
    [(("burst",), "Latent burst"), (("stream", "burst"), "The best of latent burst and stream")],
)
def test_without_latent_diffusion_the_answer_is_on_the_others(others, who) -> None:
    found = answered(without_diffusion(*others), make_differences(math.nan))
    assert found.answer == "Yes."
    assert found.sentence.startswith(
        f"No latent diffusion emulator was evaluated forward in time. {who} has a lower error than "
        "persistence and climatology, by more than chance at every horizon. It is better than the "
        "best neural solver at every horizon."
    )
    # Its rivals are of other methods.
    assert "the best burst" not in found.sentence
    assert found.horizons[0].startswith(f"Lead times 1-9: {others[0]} (c32) has VRMSE 0.200")


def test_a_solver_alone_answers_nothing() -> None:
    found = answered(without_diffusion(), make_differences())
    assert (found.answer, found.horizons, found.best.sentence) == ("Not tested.", [], "")


def test_the_answer_is_of_the_first_sampler() -> None:
    """Another that happens to score better on the test split is not what was asked."""
    table = make_cells()
    lucky = table[table["method"] == "diffusion"].assign(sampler="ab8", value=0.01)
    found = answered(pd.concat([table, lucky], ignore_index=True), make_differences())
    assert "has VRMSE 0.200" in found.horizons[0]
