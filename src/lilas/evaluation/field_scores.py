"""Scores of an ensemble against the truth, over the space axes of each state.

Truth u has the shape (*leading, *space) and ensemble v (member, *leading, *space), in physical
units; every score has the shape (*leading), in float64. Leading axes are whatever a study has:
time, channel, trajectory. What depends on the ensemble alone is computed once for all truths that
it is compared with (`lilas.evaluation.ensembles`), what scores share once for all of them
(`lilas.evaluation.comparison`). `lilas.evaluation.metrics` says of each what it is.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lilas.errors import LilasError
from lilas.evaluation import distances, spectra
from lilas.evaluation.comparison import Comparison
from lilas.evaluation.ensembles import Ensemble
from lilas.evaluation.metrics import EPS_RATIO, EPS_TOTAL, EPS_VARIANCE, MATTERS, METRICS
from lilas.evaluation.spectra import EPS_POWER


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


def rmse(c: Comparison) -> Tensor:
    return c.mse.sqrt()


def nrmse(c: Comparison) -> Tensor:
    return torch.sqrt(c.mse / (c.average(c.u.square()) + EPS_VARIANCE))


def vrmse(c: Comparison) -> Tensor:
    return torch.sqrt(c.mse / (c.variance + EPS_VARIANCE))


def vcrps(c: Comparison) -> Tensor:
    return crps(c) / torch.sqrt(c.variance + EPS_VARIANCE)


def venergy_score(c: Comparison) -> Tensor:
    return energy_score(c) / torch.sqrt(c.variance + EPS_VARIANCE)


def vrmse_scale_free(c: Comparison) -> Tensor:
    """Returns the VRMSE without its constant; 1 where the truth is uniform but for rounding."""
    return torch.where(c.is_uniform, 1.0, torch.sqrt(c.mse / c.variance))


def constant_matters(c: Comparison) -> Tensor:
    """Returns 1 where the constant of the VRMSE is not negligible beside the variance, else 0."""
    return (MATTERS * c.variance <= EPS_VARIANCE).double()


def uniform(c: Comparison) -> Tensor:
    """Returns 1 where the truth is uniform but for rounding, else 0."""
    return c.is_uniform.double()


def mae(c: Comparison) -> Tensor:
    return c.average(c.error.abs())


def correlation(c: Comparison) -> Tensor:
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


def spread(c: Comparison) -> Tensor | None:
    return c.ensemble.spread


def spread_skill(c: Comparison) -> Tensor | None:
    spread = c.ensemble.spread
    return None if spread is None else (spread + EPS_RATIO) / (c.mse.sqrt() + EPS_RATIO)


def power_spectrum(band: str, c: Comparison) -> Tensor | None:
    ratio = (c.spectra.power_v + EPS_POWER) / (c.spectra.power_u + EPS_POWER)
    return _band_error(ratio, band, c)


def cross_spectrum(band: str, c: Comparison) -> Tensor | None:
    powers = c.spectra.power_u * c.spectra.power_v
    ratio = (c.spectra.cross + EPS_POWER) / torch.sqrt(powers + EPS_POWER**2)
    return _band_error(ratio, band, c)


def coherence(band: str, c: Comparison) -> Tensor | None:
    ratio = spectra.coherence_of(c.coherent, c.spectra.power_u, c.spectra.power_v)
    return _band_error(ratio, band, c)


def _band_error(ratio: Tensor, band: str, c: Comparison) -> Tensor | None:
    """Returns the RMS over a band of 1 - ratio."""
    inside = c.spectra.bands.get(band)
    return None if inside is None else (1 - ratio)[..., inside].square().mean(-1).sqrt()


def total(c: Comparison) -> Tensor:
    u, mean = (x.sum(c.axes, dtype=torch.double) for x in (c.u, c.ensemble.mean))
    return (u - mean).abs() / (c.u.abs().sum(c.axes, dtype=torch.double) + EPS_TOTAL)


def wasserstein(c: Comparison) -> Tensor:
    return distances.quantile_distance(distances.pooled(c.u[None], c.spatial), c.ensemble.values)


def sliced_emd(c: Comparison) -> Tensor:
    return distances.sliced_emd(c.u, c.ensemble.mean[None], c.spatial)


def crps(c: Comparison) -> Tensor:
    return c.member_errors[0] - c.ensemble.absolute_difference / 2


def energy_score(c: Comparison) -> Tensor:
    return c.member_errors[1] - c.ensemble.distance / 2


def coverage(quarter: bool, c: Comparison) -> Tensor | None:
    """Returns the coverage of the ensemble's range, or of all but about a quarter on each side."""
    members = c.ensemble.members
    if members == 1:
        return None
    below, not_above = c.ranks
    r = (members + 3) // 4 if quarter else 1
    inside = (not_above >= r) & (below <= members - r)
    return c.average(inside) * (members + 1) / (members + 1 - 2 * r)


def rank_deviation(c: Comparison) -> Tensor | None:
    if c.rank_histogram is None:
        return None
    return (c.rank_histogram - 1 / (c.ensemble.members + 1)).abs().sum(-1)
