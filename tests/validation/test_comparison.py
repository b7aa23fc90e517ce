"""Paired tests: against formulas written out, and how often they find a difference that is not there."""

import numpy as np
import pytest
from scipy import stats

from quantalpha.errors import DataError, UsageError
from quantalpha.validation import diebold_mariano, sharpe_difference
from quantalpha.validation.comparison import newey_west

RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.normal(size=(2, 400))


def test_without_overlap_it_is_the_t_test_of_the_differences():
    found, t = diebold_mariano(FIRST, SECOND), stats.ttest_1samp(FIRST - SECOND, 0.0)
    assert found.value == pytest.approx((FIRST - SECOND).mean())
    assert (found.statistic, found.p_value) == pytest.approx((t.statistic, t.pvalue), rel=1e-12)


def test_long_run_variance_by_hand():
    # 1 2 3 4: centred -1.5 -.5 .5 1.5; R(0) 5/4, R(1) (.75 - .25 + .75)/4 = 1.25/4, R(2) (-.75 - .75)/4
    assert newey_west(np.array([1.0, 2, 3, 4]), 0) == pytest.approx(1.25)
    assert newey_west(np.array([1.0, 2, 3, 4]), 2) == pytest.approx(1.25 + 2 * (2 / 3 * 1.25 / 4 - 1 / 3 * 1.5 / 4))


def test_overlap_is_paid_for():
    gap = np.convolve(RNG.normal(size=2_023), np.ones(24), "valid") + 1.0
    assert diebold_mariano(gap, 0 * gap, 24).statistic < 0.5 * diebold_mariano(gap, 0 * gap).statistic


def test_equal_forecasts_are_seldom_called_different():
    """Overlap of 12 rows: at 5 % it rejects 5 to 10 of a hundred, where a plain t-test rejects every second."""
    rng, rejected, plain = np.random.default_rng(3), 0, 0
    for _ in range(150):
        gap = np.convolve(rng.normal(size=1_511), np.ones(12), "valid")
        rejected += diebold_mariano(gap, 0 * gap, 12).p_value <= 0.05
        plain += diebold_mariano(gap, 0 * gap).p_value <= 0.05
    assert rejected <= 22 and plain > 60


def test_equal_sharpe_ratios_are_seldom_called_different_and_unequal_ones_are():
    rng, rejected, found = np.random.default_rng(4), 0, 0
    for seed in range(100):
        shared, own = rng.standard_t(4, (500, 1)) * 0.01, rng.standard_t(4, (500, 2)) * 0.005
        first, second = (shared + own + 0.0005).T
        rejected += sharpe_difference(first, second, paths=200, seed=seed).p_value <= 0.05
        found += sharpe_difference(first + 0.002, second, paths=200, seed=seed).p_value <= 0.05
    assert rejected <= 12 < 90 <= found


def test_the_difference_is_that_of_the_annualised_ratios():
    found = sharpe_difference(FIRST, SECOND, periods_per_year=100.0, paths=50)
    assert found.value == pytest.approx(10 * (FIRST.mean() / FIRST.std() - SECOND.mean() / SECOND.std()))
    swapped = sharpe_difference(SECOND, FIRST, periods_per_year=100.0, paths=50)
    assert (swapped.value, swapped.p_value) == pytest.approx((-found.value, found.p_value))


def test_what_never_differs_has_no_p_value():
    assert np.isnan(diebold_mariano(FIRST, FIRST).p_value) and np.isnan(sharpe_difference(FIRST, FIRST).p_value)


def test_what_cannot_be_paired_is_refused():
    with pytest.raises(DataError, match="the losses of the same rows twice"):
        diebold_mariano(FIRST, SECOND[:-1])
    with pytest.raises(DataError, match="returns must be finite; row 0"):
        sharpe_difference(np.r_[np.nan, FIRST], np.r_[0, SECOND])
    with pytest.raises(UsageError, match="a horizon of 1 to a quarter of 400 rows, found 101"):
        diebold_mariano(FIRST, SECOND, 101)
