"""Intervals and p-values against scipy, closed forms and enumeration by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lilas.errors import LilasError
from lilas.evaluation.uncertainty import (
    RESAMPLES,
    bootstrap_interval,
    percentile_interval,
    resamples,
    sign_flip_test,
    t_interval,
)


@pytest.mark.parametrize("trajectories", [2, 9, 64])
def test_intervals_agree_with_scipy(trajectories):
    values = np.random.default_rng(1).lognormal(size=(trajectories, 3))
    low, high = bootstrap_interval(values)
    for i, column in enumerate(values.T):
        found = stats.bootstrap(
            (column,),
            np.mean,
            n_resamples=50_000,
            method="percentile",
            rng=np.random.default_rng(2),
        )
        # A quantile of 10,000 resamples is known to about 0.03 standard errors of the mean.
        close = 0.15 * column.std() / np.sqrt(trajectories)
        assert low[i] == pytest.approx(found.confidence_interval.low, abs=close)
        assert high[i] == pytest.approx(found.confidence_interval.high, abs=close)


@pytest.mark.parametrize(("trajectories", "ones"), [(5, 1), (10, 3), (64, 20)])
def test_intervals_of_zeros_and_ones_are_binomial_quantiles(trajectories, ones):
    values = np.zeros((trajectories, 1))
    values[:ones] = 1
    low, high = bootstrap_interval(values)
    count = stats.binom(trajectories, ones / trajectories)
    assert low[0] * trajectories == pytest.approx(count.ppf(0.025))
    assert high[0] * trajectories == pytest.approx(count.ppf(0.975))


def test_intervals_of_gaussian_values_hold_the_mean_as_often_as_they_say():
    # Of 60 trajectories the percentile interval is short of 95 % by about 1 %; of 4000 studies the
    # share is known to 0.35 %.
    low, high = bootstrap_interval(np.random.default_rng(3).normal(5, 2, (60, 4000)))
    assert np.mean((low < 5) & (high > 5)) == pytest.approx(0.94, abs=0.015)
    width = 2 * 1.96 * 2 / np.sqrt(60)
    assert np.mean(high - low) == pytest.approx(width, rel=0.03)


@pytest.mark.parametrize("draws", [2, 3, 20])
def test_intervals_of_few_draws_are_students(draws):
    values = np.random.default_rng(5).normal(1, 2, draws)
    found = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx((found.low, found.high))
    assert t_interval(values[:1]) is None
    with pytest.raises(LilasError, match="finite"):
        t_interval(np.array([1.0, np.nan]))


def test_cells_share_their_resamples():
    values = np.random.default_rng(4).normal(size=(7, 1))
    low, high = bootstrap_interval(np.hstack([values, 3 * values + 2] + [values] * 600))
    assert low[1] == pytest.approx(3 * low[0] + 2)
    assert high[1] == pytest.approx(3 * high[0] + 2)
    np.testing.assert_allclose(low[2:], low[0])


def test_equal_values_have_no_width():
    low, high = bootstrap_interval(np.full((6, 1), 0.1))
    assert low[0] == pytest.approx(0.1, rel=1e-12)
    assert high[0] == pytest.approx(0.1, rel=1e-12)


def test_a_test_by_hand():
    # The sums over the eight sign patterns of 1, 2, 4 are ±1, ±3, ±5, ±7, once each.
    differences = np.array([[1.0, 1, 1], [2, 2, -2], [4, -4, 4]])
    np.testing.assert_array_equal(sign_flip_test(differences), [2 / 8, 8 / 8, 6 / 8])
    # Six of one sign: the fewest that can be significant at 5 %.
    np.testing.assert_array_equal(sign_flip_test(np.full((6, 1), 0.1)), [2 / 64])
    np.testing.assert_array_equal(sign_flip_test(np.zeros((20, 1))), [1.0])


@pytest.mark.parametrize("trajectories", [4, 13, 40])
def test_tests_agree_with_scipy(trajectories):
    differences = np.random.default_rng(5).normal(0.3, 1, (trajectories, 4))
    found = sign_flip_test(differences)
    for i, column in enumerate(differences.T):
        expected = stats.permutation_test(
            (column,),
            np.mean,
            permutation_type="samples",
            n_resamples=2**14,
            rng=np.random.default_rng(6),
        ).pvalue
        # Both enumerate, or both draw; a drawn p of 0.5 is known to 0.005.
        assert found[i] == pytest.approx(expected, abs=1e-12 if trajectories <= 13 else 0.02)


def test_drawn_p_values_are_never_zero():
    assert sign_flip_test(np.ones((40, 1)))[0] == 1 / (RESAMPLES + 1)


def test_p_values_are_uniform_where_nothing_differs():
    p = sign_flip_test(np.random.default_rng(7).normal(size=(20, 2000)))
    assert stats.kstest(p, "uniform").pvalue > 0.01


@settings(max_examples=20, deadline=None)
@given(
    values=st.lists(st.floats(-10, 10), min_size=2, max_size=6),
    shift=st.floats(-3, 3),
    scale=st.floats(0.1, 10),
)
def test_units_and_sides_do_not_matter(values, shift, scale):
    values = np.array(values)[:, None]
    low, high = bootstrap_interval(values)
    other = np.array(bootstrap_interval(scale * values + shift))
    np.testing.assert_allclose(other, scale * np.array([low, high]) + shift, atol=1e-6)
    assert low[0] <= values.mean() + 1e-9
    assert high[0] >= values.mean() - 1e-9
    mirrored = np.array(bootstrap_interval(-values))
    np.testing.assert_allclose(mirrored, [-high, -low], atol=1e-9)
    assert sign_flip_test(values)[0] == sign_flip_test(-values)[0]


def test_one_trajectory_has_neither():
    assert bootstrap_interval(np.ones((1, 3))) is None
    assert sign_flip_test(np.ones((1, 3))) is None


@pytest.mark.parametrize("values", [np.array([[1.0], [np.nan]]), np.ones((0, 2))])
def test_what_is_no_number_is_refused(values):
    for function in (bootstrap_interval, sign_flip_test):
        with pytest.raises(LilasError, match="finite values"):
            function(values)


def test_resamples_hold_as_many_and_intervals_are_their_quantiles():
    counts = resamples(9)
    assert counts.shape == (RESAMPLES, 9)
    assert (counts.sum(1) == 9).all()
    assert counts.mean(0) == pytest.approx(np.ones(9), abs=0.05)
    low, high = percentile_interval(np.stack([np.arange(1001.0), np.arange(1001.0) * 2]))
    assert [*low, *high] == pytest.approx([25, 50, 975, 1950])
