"""What a mean over test trajectories is worth: bootstrap intervals and paired tests.

Trajectories are the unit of chance: fields and lead times of one trajectory go together. Each
function takes values (trajectory, cell) and treats all cells with the same resamples, so that
cells stay comparable and a table costs one matrix product. What is drawn depends on the number of
trajectories alone.
"""

import math
from collections.abc import Iterator

import numpy as np
from scipy.special import stdtrit

from lilas.errors import LilasError

RESAMPLES = 10_000
LEVEL = 0.95
# At most so many trajectories have all their sign patterns enumerated: 2^13 is about RESAMPLES.
EXACT = 13
# Cells at a time: 10,000 resamples of 500 cells take 40 MB.
_TOGETHER = 500


def bootstrap_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the 95 % percentile bootstrap interval of the mean over trajectories.

    10,000 resamples of the trajectories with replacement; low and high are the 2.5 % and 97.5 %
    quantiles of their means (Efron and Tibshirani 1993, Section 13.3).

    Args:
        values: (trajectory, cell).

    Returns:
        Low and high (cell,) each; None for a single trajectory, which says nothing of the others.

    Raises:
        LilasError: a value is not finite, or there are none.
    """
    _check(values)
    trajectories = len(values)
    if trajectories == 1:
        return None
    weights = resamples(trajectories) / trajectories
    parts = [percentile_interval(part.T @ weights.T) for part in _parts(values)]
    low, high = np.concatenate(parts, axis=1)
    return low, high


def t_interval(values: np.ndarray) -> tuple[float, float] | None:
    """Returns the 95 % interval of the mean of a few draws that are about normal, by Student's t.

    It is wide where they are few, as training seeds are, of which a bootstrap's would be too
    narrow.

    Args:
        values: (draw,).

    Returns:
        Low and high; None for a single draw.

    Raises:
        LilasError: a value is not finite, or there are none.
    """
    _check(values[:, None])
    count = len(values)
    if count == 1:
        return None
    half = stdtrit(count - 1, (1 + LEVEL) / 2) * values.std(ddof=1) / np.sqrt(count)
    return float(values.mean() - half), float(values.mean() + half)


def resamples(trajectories: int) -> np.ndarray:
    """Returns how often each resample holds each trajectory, int64 (resample, trajectory).

    As many are drawn as there are, with replacement; the same each time.
    """
    chance = np.full(trajectories, 1 / trajectories)
    return np.random.default_rng(0).multinomial(trajectories, chance, RESAMPLES)


def percentile_interval(drawn: np.ndarray) -> np.ndarray:
    """Returns the 2.5 % and 97.5 % quantiles over resamples (2, ...) of values (..., resample)."""
    return np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=-1)


def median_interval(values: np.ndarray) -> tuple[float, float]:
    """Returns the narrowest interval of order statistics that holds the median with 95 %.

    It is from the k-th smallest to the k-th largest value, whatever their distribution (David and
    Nagaraja 2003, Section 7.1); of fewer than six values no two have the median between them so
    often.

    Args:
        values: (turn,), at least six.

    Raises:
        LilasError: there are fewer.
    """
    count = len(values)
    outside = [2 * sum(math.comb(count, i) for i in range(k + 1)) / 2**count for k in range(count)]
    fitting = [k for k, share in enumerate(outside) if share <= 1 - LEVEL]
    if not fitting:
        raise LilasError(f"an interval of the median takes 6 values, found {count}")
    ordered = np.sort(values)
    return float(ordered[fitting[-1]]), float(ordered[-1 - fitting[-1]])


def sign_flip_test(differences: np.ndarray) -> np.ndarray | None:
    """Returns the two-sided p-value that the mean of paired differences is zero.

    If two emulators are equally good, each trajectory's difference has either sign with the same
    probability: p is the share of sign patterns whose mean is at least as far from zero as the
    observed one. All 2^n patterns up to 13 trajectories; beyond, 10,000 drawn at random, and the
    observed one counts as one more (Phipson and Smyth 2010). At n trajectories p is at least
    2^(1-n): five or fewer can never reach 0.05.

    Args:
        differences: (trajectory, cell).

    Returns:
        p (cell,); None for a single trajectory, whose p is 1 whatever it is.

    Raises:
        LilasError: a value is not finite, or there are none.
    """
    _check(differences)
    trajectories = len(differences)
    if trajectories == 1:
        return None
    if exact := trajectories <= EXACT:
        bits = np.arange(2**trajectories)[:, None] >> np.arange(trajectories) & 1
    else:
        bits = np.random.default_rng(0).integers(0, 2, (RESAMPLES, trajectories))
    signs = 1.0 - 2.0 * bits
    counts = []
    for part in _parts(differences):
        # Patterns that tie but for rounding are as far.
        rounding = 1e-12 * np.abs(part).sum(0)
        counts.append((np.abs(signs @ part) >= np.abs(part.sum(0)) - rounding).sum(0))
    count = np.concatenate(counts)
    return count / len(signs) if exact else (count + 1) / (len(signs) + 1)


def _check(values: np.ndarray) -> None:
    if values.ndim != 2 or values.size == 0 or not np.isfinite(values).all():
        raise LilasError(
            f"uncertainty: expected finite values (trajectory, cell), found {values.shape} with "
            f"{np.count_nonzero(~np.isfinite(values))} others"
        )


def _parts(values: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, values.shape[1], _TOGETHER):
        yield values[:, first : first + _TOGETHER]
