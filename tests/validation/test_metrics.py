"""Golden values worked by hand, limits, and invariances."""

import math

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import DataError
from quantalpha.validation import (
    annual_volatility,
    cagr,
    calmar_ratio,
    drawdown,
    max_drawdown,
    profit_factor,
    sharpe_ratio,
    sortino_ratio,
    win_rate,
)
from quantalpha.validation.metrics import average_drawdown, expectancy, longest_losing_streak, omega_ratio, payoff_ratio, ulcer_index

RETURNS = [0.01, -0.02, 0.03, 0.02]  # mean 0.01; squared deviations 0, 9, 4, 1 (e-4), sum 14e-4; downside: one -0.02


def test_golden_ratios():
    deviation = math.sqrt(14e-4 / 3)
    assert sharpe_ratio(RETURNS, periods_per_year=365) == pytest.approx(0.01 / deviation * math.sqrt(365), rel=1e-12)
    assert annual_volatility(RETURNS, periods_per_year=365) == pytest.approx(deviation * math.sqrt(365), rel=1e-12)
    # downside deviation sqrt(0.02^2 / 4) = 0.01, so the ratio is 1 a period
    assert sortino_ratio(RETURNS, periods_per_year=365) == pytest.approx(math.sqrt(365), rel=1e-12)
    assert profit_factor(RETURNS) == pytest.approx(0.06 / 0.02, rel=1e-12)
    assert win_rate(RETURNS) == 0.75
    assert omega_ratio(RETURNS) == pytest.approx(0.06 / 0.02, rel=1e-12)
    assert omega_ratio(RETURNS, threshold=0.01) == pytest.approx(0.03 / 0.03, rel=1e-12)  # +0.02 and +0.01 over -0.03
    assert payoff_ratio(RETURNS) == pytest.approx(0.02 / 0.02, rel=1e-12)
    assert expectancy(RETURNS) == pytest.approx(0.01, rel=1e-12)


def test_golden_equity_path():
    equity = [100, 120, 90, 110, 121]
    np.testing.assert_allclose(drawdown(equity), [0, 0, 0.25, 1 / 12, 0], atol=1e-15)
    assert max_drawdown(equity) == 0.25
    assert cagr(equity, periods_per_year=2) == pytest.approx(0.1, rel=1e-12)  # 21 % in four half years
    assert calmar_ratio(equity, periods_per_year=2) == pytest.approx(0.4, rel=1e-12)
    assert average_drawdown(equity) == pytest.approx((0.25 + 1 / 12) / 4, rel=1e-12)
    assert ulcer_index(equity) == pytest.approx(math.sqrt((0.25**2 + 1 / 144) / 4), rel=1e-12)


@pytest.mark.parametrize(
    ("results", "streak"), [([], 0), ([1.0], 0), ([-1.0], 1), ([-1, 1, -1, -1], 2), ([-1, -1, 0, -1], 2), ([-2, -1, -3, 4, -1], 3)]
)
def test_longest_losing_streak(results, streak):
    assert longest_losing_streak(results) == streak


def test_undefined_is_nan():
    assert math.isnan(sharpe_ratio([0.1, 0.1, 0.1], periods_per_year=365))
    assert math.isnan(sharpe_ratio([0.1], periods_per_year=365))
    assert math.isnan(sharpe_ratio([], periods_per_year=365))
    assert math.isnan(sortino_ratio([0.1, 0.2], periods_per_year=365))
    assert math.isnan(annual_volatility([0.1], periods_per_year=365))
    assert math.isnan(profit_factor([1.0, 2.0])) and math.isnan(profit_factor([]))
    assert math.isnan(win_rate([]))
    assert math.isnan(calmar_ratio([1, 2, 3], periods_per_year=365))
    assert math.isnan(cagr([1.0], periods_per_year=365))
    assert math.isnan(cagr([1.0, 2.0], periods_per_year=525_600))  # 2 to the power 525,600
    assert math.isnan(omega_ratio([0.1])) and math.isnan(expectancy([]))
    assert math.isnan(payoff_ratio([1.0])) and math.isnan(payoff_ratio([-1.0])) and math.isnan(payoff_ratio([]))
    assert math.isnan(average_drawdown([1.0])) and math.isnan(ulcer_index([1.0]))


def test_limits():
    assert max_drawdown([1, 2, 3]) == 0
    assert max_drawdown([5, 0]) == 1
    assert cagr([5, 1, 0], periods_per_year=365) == -1
    assert profit_factor([-1.0]) == 0


def test_units():
    series = pd.Series(RETURNS)
    assert sharpe_ratio(series * 7, periods_per_year=365) == pytest.approx(sharpe_ratio(series, periods_per_year=365))
    assert sharpe_ratio(series, periods_per_year=4 * 365) == pytest.approx(2 * sharpe_ratio(series, periods_per_year=365))
    assert max_drawdown(np.array([100, 120, 90]) * 1e6) == pytest.approx(max_drawdown([100, 120, 90]))
    assert isinstance(max_drawdown(series + 1), float)


def test_what_is_no_number_is_refused():
    with pytest.raises(DataError, match="returns must be finite; row 1 of 2"):
        sharpe_ratio([0.1, float("nan")], periods_per_year=365)
    with pytest.raises(DataError, match="equity must start above 0"):
        max_drawdown([0.0, 1.0])
    with pytest.raises(DataError, match="never be negative"):
        max_drawdown([1.0, -1.0])
    with pytest.raises(DataError, match="equity must start above 0"):
        max_drawdown([])
