"""Distances between groups of tokens as Gaussians, and how sure they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from lilas.evaluation.uncertainty import percentile_interval

# Resamples of an interval: each takes decompositions of every group and pair.
RESAMPLES = 1000
# Splits of a group into halves.
SPLITS = 20


@dataclass(frozen=True)
class Moments:
    """Sums over the tokens of each trajectory of a group.

    Attributes:
        count: Tokens (trajectory,).
        total: Their sum (trajectory, channel).
        square: The sum of their outer products (trajectory, channel, channel).
    """

    count: np.ndarray
    total: np.ndarray
    square: np.ndarray

    @property
    def trajectories(self) -> int:
        """How many there are."""
        return len(self.count)

    def fit(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the Gaussian of trajectories that count so often each.

        Args:
            weights: (resample, trajectory).

        Returns:
            Mean (resample, channel), and covariance (resample, channel, channel) over n.
        """
        count = weights @ self.count
        mean = weights @ self.total / count[:, None]
        flat = self.square.reshape(self.trajectories, -1)
        second = (weights @ flat / count[:, None]).reshape(-1, *self.square.shape[1:])
        return mean, second - mean[:, :, None] * mean[:, None, :]


def moments(values: np.ndarray, trajectory: np.ndarray, origin: np.ndarray) -> Moments:
    """Returns the moments of a group of tokens.

    Args:
        values: (token, channel).
        trajectory: Which trajectory each is of (token,).
        origin: Taken off every token, the same of all groups, so that rounding stays small.
    """
    exact = values.astype(np.float64) - origin
    parts = [exact[trajectory == one] for one in np.unique(trajectory)]
    return Moments(
        count=np.array([len(part) for part in parts], np.float64),
        total=np.stack([part.sum(0) for part in parts]),
        square=np.stack([part.T @ part for part in parts]),
    )


def root(covariance: np.ndarray) -> np.ndarray:
    """Returns the square root of covariances (..., channel, channel), singular ones too."""
    values, vectors = np.linalg.eigh(covariance)
    # Rounding makes zeros a little negative.
    return (vectors * np.sqrt(values.clip(0))[..., None, :]) @ vectors.swapaxes(-1, -2)


def bures_wasserstein(
    mean_a: np.ndarray, root_a: np.ndarray, mean_b: np.ndarray, root_b: np.ndarray
) -> np.ndarray:
    """Returns the Bures-Wasserstein distance of Gaussians N(a, A²) and N(b, B²), float64 (...).

    √(|a - b|² + tr A² + tr B² - 2 |A B|₁), with the sum of singular values |.|₁, which is
    tr (A B² A)^½ (Peyré and Cuturi 2019, Remark 2.31). There is no square root of A B² A to take:
    where a covariance is singular, rounding makes its zeros negative.

    Args:
        mean_a: (..., channel).
        root_a: Square root A of the covariance (..., channel, channel).
        mean_b: As `mean_a`.
        root_b: As `root_a`.
    """
    nuclear = np.linalg.svd(root_a @ root_b, compute_uv=False).sum(-1)
    traces = np.square(root_a).sum((-1, -2)) + np.square(root_b).sum((-1, -2))
    squared = np.square(mean_a - mean_b).sum(-1) + traces - 2 * nuclear
    return np.sqrt(squared.clip(0))


@dataclass(frozen=True)
class Distances:
    """Distances between groups.

    Attributes:
        value: (pair,), of pairs (i, j) with i < j, row by row; too large by what chance adds.
        drawn: The same of resampled trajectories (pair, resample); None where a group has one.
        halves: Of each group, the mean distance between two halves of its trajectories (group,):
            what chance makes of groups that are the same; NaN where it has one trajectory.
    """

    value: np.ndarray
    drawn: np.ndarray | None
    halves: np.ndarray

    @property
    def interval(self) -> np.ndarray | None:
        """The 95 % interval (2, pair) over trajectories: the basic bootstrap's, of squares.

        Chance makes distances of samples too large, and those of resamples by as much again, which
        their quantiles' reflection at the value takes off (Davison and Hinkley 1997, Section 5.2).
        So the value may lie above its interval.
        """
        if self.drawn is None:
            return None
        ends = 2 * np.square(self.value) - percentile_interval(np.square(self.drawn))[::-1]
        return np.sqrt(ends.clip(0))


def distances(groups: Sequence[Moments], seed: int) -> Distances:
    """Returns the Bures-Wasserstein distances between the Gaussians of groups of tokens.

    Trajectories are resampled within each group, independently of the other groups.
    """
    rng = np.random.default_rng(seed)
    single = min(group.trajectories for group in groups) == 1
    weights = [
        np.concatenate(
            [
                np.ones((1, group.trajectories)),
                rng.multinomial(
                    group.trajectories,
                    np.full(group.trajectories, 1 / group.trajectories),
                    0 if single else RESAMPLES,
                ),
            ]
        )
        for group in groups
    ]
    fits = [group.fit(drawn) for group, drawn in zip(groups, weights, strict=True)]
    rooted = [(mean, root(covariance)) for mean, covariance in fits]
    found = np.stack(
        [
            bures_wasserstein(*rooted[i], *rooted[j])
            for i in range(len(groups))
            for j in range(i + 1, len(groups))
        ]
    )
    halves = np.array([_halves(group, rng) for group in groups])
    return Distances(found[:, 0], None if single else found[:, 1:], halves)


def _halves(group: Moments, rng: np.random.Generator) -> float:
    """Returns the mean distance between two halves of a group, of `SPLITS` splits."""
    if (count := group.trajectories) == 1:
        return float("nan")
    orders = np.stack([rng.permutation(count) for _ in range(SPLITS)])
    first = np.zeros((SPLITS, count))
    np.put_along_axis(first, orders[:, : count // 2], 1.0, axis=1)
    (mean_a, a), (mean_b, b) = group.fit(first), group.fit(1 - first)
    return float(bures_wasserstein(mean_a, root(a), mean_b, root(b)).mean())


def rank_correlation(apart: np.ndarray, distance: np.ndarray) -> float:
    """Returns Spearman's rank correlation; 0 where one of them is the same throughout.

    Args:
        apart: How far values of a parameter are apart (pair,); what differs by rounding is a tie.
        distance: Of what is compared (pair,).
    """
    apart = np.round(apart / apart.max(), 9)
    if np.ptp(apart) == 0 or np.ptp(distance) == 0:
        return 0.0
    return float(spearmanr(apart, distance).statistic)
