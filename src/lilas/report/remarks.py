"""Where the paper's constants decide a score: what tables and the report say beside it."""

import pandas as pd

from lilas.evaluation.metrics import EPS_RATIO, EPS_VARIANCE, MATTERS, OF_TRUTH

# What stands beside a VRMSE of which there is something to say.
BESIDE = "vrmse_scale_free"
# Scores with constants of their own, which a truth that varies little is small beside.
GOVERNED = (
    "nrmse",
    "vcrps",
    "venergy_score",
    "total",
    "power_spectrum_",
    "cross_spectrum_",
    "coherence_",
)


def remarks(scores: pd.DataFrame) -> dict[str, str]:
    """Returns, by dataset, what is to be said of its VRMSE; datasets without a remark are left out.

    Args:
        scores: Values with dataset, method, metric and field, by trajectory or averaged.
    """
    rows = scores[scores["metric"].isin(OF_TRUTH) & (scores["method"] == "truth")]
    found: dict[str, str] = {}
    for dataset, part in rows.groupby("dataset", observed=True, sort=False):
        means = part.groupby(["metric", "field"], observed=True, sort=False)["value"].mean()
        told = [
            text
            for metric, say in (("constant_matters", _matters), ("uniform", _uniform))
            if (text := say({f: v for f, v in means.get(metric, {}).items() if v > 0}))
        ]
        if told:
            found[str(dataset)] = " ".join([*told, _END])
    return found


def remarks_on(metric: str, means: pd.DataFrame) -> dict[str, str]:
    """Returns, by dataset, what is to be said of another score than the VRMSE for its constant.

    Args:
        metric: Its name.
        means: Of `lilas.report.summary.by_horizon`.
    """
    if metric == "spread_skill":
        rows = means[means["metric"].isin(("spread", "skill"))]
        # Without a spread there is no ratio.
        rows = rows[rows["members"] > 1]
        rows = rows[MATTERS * rows["value"] <= EPS_RATIO]
        words = (
            f"The constant {EPS_RATIO:g} in it is more than {100 * MATTERS:g} % of the spread or "
        )
        words += "of the skill, and draws the ratio to 1, of some runs and horizons"
    elif metric.startswith(GOVERNED):
        rows = means[means["metric"].isin(OF_TRUTH) & (means["method"] == "truth")]
        rows = rows[rows["value"] > 0]
        words = "The constant in it may decide it where the truth varies as little as in part of "
        words += "the test states"
    else:
        return {}
    return {
        str(dataset): f"{words}: {', '.join(dict.fromkeys(part['field']))}."
        for dataset, part in rows.groupby("dataset", observed=True, sort=False)
    }


def _matters(shares: dict[str, float]) -> str:
    if not shares:
        return ""
    return (
        f"The constant {EPS_VARIANCE:g} in the VRMSE is more than {100 * MATTERS:g} % of the "
        "truth's variance in part of the test states, and lowers the VRMSE there: "
        f"{_listed(shares)}."
    )


def _uniform(shares: dict[str, float]) -> str:
    if not shares:
        return ""
    return (
        "The truth is uniform in part of the test states, where the VRMSE is the error over the "
        f"constant's root, however large that makes a mean: {_listed(shares)}."
    )


_END = (
    "scale-free: the VRMSE without the constant, the same in every unit, 1 where the truth is "
    "uniform. The constants of nrmse, vcrps, venergy_score, spread_skill, total and the spectra "
    "are as large."
)


def _listed(shares: dict[str, float]) -> str:
    return ", ".join(f"{100 * share:.3g} % ({field})" for field, share in shares.items())
