"""Scores of an ensemble against the truth, over the space axes of each state.

Truth u has the shape (*leading, *space) and ensemble v (member, *leading, *space), in physical
units; every score has the shape (*leading), in float64. Leading axes are whatever a study has:
time, channel, trajectory. What depends on the ensemble alone is computed once for all truths that
it is compared with (`lilas.evaluation.ensembles`), what scores share once for all of them
(`lilas.evaluation.comparison`).

Constants keep scores of uniform states defined. They are the official code's (1.1.0), but for
EPS_TOTAL, in the field's unit, and matter where a field's variance, spread, total or power per
mode is as small as they are.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from lilas import plugins
from lilas.errors import LilasError
from lilas.evaluation import spectra
from lilas.evaluation.comparison import Comparison
from lilas.evaluation.distances import pooled, quantile_distance, sliced_emd
from lilas.evaluation.ensembles import Ensemble
from lilas.evaluation.metric import Metric
from lilas.evaluation.spectra import BANDS, EPS_POWER

EPS_VARIANCE, EPS_RATIO, EPS_TOTAL = 1e-6, 1e-3, 1e-6


def evaluate(
    u: Tensor, v: Tensor | Ensemble, *, spatial: int, names: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """Returns scores by name, float64 (*leading) each.

    An undefined score is left out, never NaN: of a single member those of its spread and ranks, and
    the bands in which the grid has no modes.

    Args:
        u: Truth (*leading, *space), physical units.
        v: Ensemble (member, *leading, *space), physical units.
        spatial: Number of space axes.
        names: Which of `METRICS`; None is all that every field has.

    Raises:
        LilasError: the shapes do not fit, a value is not finite, a name is unknown, or a score is
            not defined for such states.
    """
    if unknown := [name for name in names or () if name not in METRICS]:
        raise LilasError(f"metrics: unknown {unknown[0]!r}; allowed: {', '.join(METRICS)}")
    if names is None:
        names = [name for name, metric in METRICS.items() if metric.fields is None]
    comparison = Comparison(u, v, spatial)
    scores = {name: METRICS[name].function(comparison) for name in names}
    return {name: score for name, score in scores.items() if score is not None}


def _rmse(c: Comparison) -> Tensor:
    return c.mse.sqrt()


def _nrmse(c: Comparison) -> Tensor:
    return torch.sqrt(c.mse / (c.average(c.u.square()) + EPS_VARIANCE))


def _vrmse(c: Comparison) -> Tensor:
    return torch.sqrt(c.mse / (c.variance + EPS_VARIANCE))


def _mae(c: Comparison) -> Tensor:
    return c.average(c.error.abs())


def _correlation(c: Comparison) -> Tensor:
    """Returns the correlation over space; 0 where a state is constant but for rounding."""
    states, variances, constant = [], [], []
    for x in (c.u.double(), c.ensemble.mean.double()):
        centred = x - x.mean(c.axes, keepdim=True)
        variance = c.average(centred.square())
        rounding = torch.finfo(c.u.dtype).eps ** 2 * c.average(x.square())
        states.append(centred)
        variances.append(variance)
        constant.append(variance <= rounding)
    score = c.average(states[0] * states[1]) / torch.sqrt(variances[0] * variances[1])
    return torch.where(constant[0] | constant[1], 0.0, score)


def _spread(c: Comparison) -> Tensor | None:
    return c.ensemble.spread


def _spread_skill(c: Comparison) -> Tensor | None:
    spread = c.ensemble.spread
    return None if spread is None else (spread + EPS_RATIO) / (c.mse.sqrt() + EPS_RATIO)


def _power_ratio(c: Comparison) -> Tensor:
    return (c.spectra.power_v + EPS_POWER) / (c.spectra.power_u + EPS_POWER)


def _cross_ratio(c: Comparison) -> Tensor:
    powers = c.spectra.power_u * c.spectra.power_v
    return (c.spectra.cross + EPS_POWER) / torch.sqrt(powers + EPS_POWER**2)


def _coherence_ratio(c: Comparison) -> Tensor:
    return spectra.coherence_of(c.coherent, c.spectra.power_u, c.spectra.power_v)


def _band_error(ratio: Callable[[Comparison], Tensor], band: str, c: Comparison) -> Tensor | None:
    """Returns the RMS over a band of 1 - ratio."""
    inside = c.spectra.bands.get(band)
    if inside is None:
        return None
    return (1 - ratio(c))[..., inside].square().mean(-1).sqrt()


def _total(c: Comparison) -> Tensor:
    u, mean = (x.sum(c.axes, dtype=torch.double) for x in (c.u, c.ensemble.mean))
    return (u - mean).abs() / (c.u.abs().sum(c.axes, dtype=torch.double) + EPS_TOTAL)


def _wasserstein(c: Comparison) -> Tensor:
    return quantile_distance(pooled(c.u[None], c.spatial), c.ensemble.values)


def _sliced_emd(c: Comparison) -> Tensor:
    return sliced_emd(c.u, c.ensemble.mean[None], c.spatial)


def _crps(c: Comparison) -> Tensor:
    return c.member_errors[0] - c.ensemble.absolute_difference / 2


def _energy_score(c: Comparison) -> Tensor:
    return c.member_errors[1] - c.ensemble.distance / 2


def _coverage(quarter: bool, c: Comparison) -> Tensor | None:
    """Returns the coverage of the ensemble's range, or of all but about a quarter on each side."""
    members = c.ensemble.members
    if members == 1:
        return None
    below, not_above = c.ranks
    r = (members + 3) // 4 if quarter else 1
    inside = (not_above >= r) & (below <= members - r)
    return c.average(inside) * (members + 1) / (members + 1 - 2 * r)


def _rank_deviation(c: Comparison) -> Tensor | None:
    if c.rank_histogram is None:
        return None
    return (c.rank_histogram - 1 / (c.ensemble.members + 1)).abs().sum(-1)


PAPER = "paper, Section 4 and Appendix B; official code 1.1.0"
_SPECTRAL = {
    "power_spectrum": (
        _power_ratio,
        r"\sqrt{\langle (1 - \frac{p_v + \epsilon}{p_u + \epsilon})^2 \rangle_k}",
        PAPER,
    ),
    "cross_spectrum": (
        _cross_ratio,
        r"\sqrt{\langle (1 - \frac{c + \epsilon}{\sqrt{p_u p_v + \epsilon^2}})^2 \rangle_k},"
        r"\ c = \langle |U \bar{V}| \rangle",
        f"{PAPER}; no phase error changes it, and a state without power has none: use coherence",
    ),
    "coherence": (
        _coherence_ratio,
        r"\sqrt{\langle (1 - \frac{c + \epsilon}{\sqrt{(p_u + \epsilon)(p_v + \epsilon)}})^2"
        r" \rangle_k},"
        r"\ c = \mathrm{Re} \langle U \bar{V} \rangle",
        "spectral coherence; not in the official code",
    ),
}

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "rmse",
            _rmse,
            r"\sqrt{\langle (u - \bar{v})^2 \rangle},\ \bar{v} = \frac{1}{K} \sum_k v_k",
            "field",
            "lower",
            PAPER,
        ),
        Metric(
            "nrmse",
            _nrmse,
            r"\sqrt{\langle (u - \bar{v})^2 \rangle / (\langle u^2 \rangle + 10^{-6})}",
            "1",
            "lower",
            PAPER,
        ),
        Metric(
            "vrmse",
            _vrmse,
            r"\sqrt{\langle (u - \bar{v})^2 \rangle / (\mathrm{Var}(u) + 10^{-6})}",
            "1",
            "lower",
            PAPER,
        ),
        Metric("mae", _mae, r"\langle |u - \bar{v}| \rangle", "field", "lower", "mean error"),
        Metric(
            "correlation",
            _correlation,
            r"\frac{\langle u' \bar{v}' \rangle}"
            r"{\sqrt{\langle u'^2 \rangle \langle \bar{v}'^2 \rangle}},"
            r"\ u' = u - \langle u \rangle",
            "1",
            "higher",
            "pattern correlation; 0 if a state is constant",
        ),
        Metric(
            "spread",
            _spread,
            r"\sqrt{\frac{K + 1}{K - 1} \langle \frac{1}{K} \sum_k (v_k - \bar{v})^2 \rangle}",
            "field",
            "none",
            PAPER,
        ),
        Metric("skill", _rmse, r"\sqrt{\langle (u - \bar{v})^2 \rangle}", "field", "lower", PAPER),
        Metric(
            "spread_skill",
            _spread_skill,
            r"\frac{\mathrm{spread} + 10^{-3}}{\mathrm{skill} + 10^{-3}}",
            "1",
            "one",
            "official code 1.1.0, the ratio plotted",
        ),
        *(
            Metric(
                f"{name}_{band}",
                partial(_band_error, ratio, band),
                formula,
                "1",
                # The best of the official one would often be a constant.
                "none" if name == "cross_spectrum" else "lower",
                source,
            )
            for name, (ratio, formula, source) in _SPECTRAL.items()
            for band in BANDS
        ),
        Metric(
            "total",
            _total,
            r"\frac{|\sum (u - \bar{v})|}{\sum |u| + 10^{-6}}",
            "1",
            "lower",
            f"{PAPER}, for fields of both signs too",
        ),
        Metric(
            "wasserstein",
            _wasserstein,
            r"\int_0^1 |Q_u(q) - Q_v(q)| \, dq,\ Q_v \textrm{ of all members' values}",
            "field",
            "lower",
            "paper, Tables 12 and 13; official code 1.1.0",
        ),
        Metric(
            "sliced_emd",
            _sliced_emd,
            r"\frac{1}{16} \sum_\theta \int |F_u - F_{\bar{v}}| \, ds,\ s = \theta \cdot x,"
            r"\ F \textrm{ of masses } u / \sum u,\ \bar{v} / \sum \bar{v}",
            "1",
            "lower",
            "paper, Table 11; official code 1.1.0",
            fields=("density",),
        ),
        Metric(
            "crps",
            _crps,
            r"\langle \frac{1}{K} \sum_k |v_k - u|"
            r" - \frac{1}{2 K (K - 1)} \sum_{i j} |v_i - v_j| \rangle",
            "field",
            "lower",
            "Ferro (2014), fair for a finite ensemble; of one member the mean absolute error",
        ),
        Metric(
            "energy_score",
            _energy_score,
            r"\frac{1}{K} \sum_k \|v_k - u\|"
            r" - \frac{1}{2 K (K - 1)} \sum_{i j} \|v_i - v_j\|,"
            r"\ \|x\| = \sqrt{\langle x^2 \rangle}",
            "field",
            "lower",
            "Gneiting and Raftery (2007), fair as the CRPS; of one member the RMSE",
        ),
        *(
            Metric(
                f"coverage_{name}",
                partial(_coverage, quarter),
                r"\frac{K + 1}{K + 1 - 2 r}"
                r" \langle \mathbf{1}[v_{(r)} \leq u \leq v_{(K + 1 - r)}] \rangle,"
                rf"\ r = {r}",
                "1",
                "one",
                "coverage of an interval of order statistics, over its nominal probability",
            )
            for name, quarter, r in (
                ("range", False, "1"),
                ("half", True, r"\lfloor (K + 3) / 4 \rfloor"),
            )
        ),
        Metric(
            "rank_deviation",
            _rank_deviation,
            r"\sum_{i = 0}^K |f_i - \frac{1}{K + 1}|,\ f \textrm{ of the rank of } u",
            "1",
            "lower",
            "Hamill (2001), distance of the rank histogram from a flat one",
        ),
    )
}


for _name, _metric in plugins.found("lilas.metrics", tuple(METRICS)).items():
    if isinstance(_metric, Metric) and _metric.name == _name:
        METRICS[_name] = _metric
    else:
        plugins.problem("lilas.metrics", _name, f"it is no Metric of the name {_name!r}")
