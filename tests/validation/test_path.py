"""The one pass over an equity path: by hand, against numpy bar by bar, against quantstats and vectorbt, and in its limits."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.errors import DataError
from quantalpha.validation import metrics
from quantalpha.validation.path import BLOCK, annualised, equity_statistics, path_metrics, simple_returns


def walk(n, seed=0, drift=0.0, scale=5e-3):
    return 1e4 * np.cumprod(1 + np.random.default_rng(seed).normal(drift, scale, n))


def by_definition(equity, initial):
    """The same numbers the slow way: numpy over the whole path, and drawdowns one after the other."""
    path = np.append(initial, equity)
    before = path[:-1]
    change = np.divide(path[1:], before, out=np.ones(len(equity)), where=before > 0) - 1
    depth = (1 - path / np.maximum.accumulate(path))[1:]
    falls, peak, peak_bar, deepest = [], initial, -1, 0.0
    for bar, value in enumerate(equity):
        if value >= peak:
            falls.append((deepest, bar - peak_bar))
            peak, peak_bar, deepest = value, bar, 0.0
        deepest = max(deepest, 1 - value / peak)
    falls = [fall for fall in [*falls, (deepest, len(equity) - 1 - peak_bar)] if fall[0] > 0]
    return {
        "bars": len(equity),
        "final": equity[-1],
        "mean": change.mean(),
        "deviation": change.std(ddof=1) if len(equity) > 1 else math.nan,
        "downside": math.sqrt((np.minimum(change, 0) ** 2).mean()),
        "gains": change[change > 0].sum(),
        "losses": -change[change < 0].sum(),
        "max_drawdown": depth.max(),
        "max_drawdown_bars": max(falls, key=lambda fall: fall[0])[1] if falls else 0,
        "longest_drawdown_bars": max((bars for _, bars in falls), default=0),
        "average_drawdown": depth.mean(),
        "ulcer_index": math.sqrt((depth**2).mean()),
    }


def test_by_hand():
    """From 100: 120, 90, 110, 120, 150, 135. Two falls: 25 % from bar 0 to bar 3, 10 % from bar 4 on, still open at bar 5."""
    found = equity_statistics(np.array([120.0, 90.0, 110.0, 120.0, 150.0, 135.0]), 100.0)
    assert (found.max_drawdown, found.max_drawdown_bars, found.longest_drawdown_bars) == (0.25, 3, 3)
    assert found.average_drawdown == pytest.approx((0.25 + 1 / 12 + 0.1) / 6, rel=1e-15)
    assert found.ulcer_index == pytest.approx(math.sqrt((0.25**2 + 1 / 144 + 0.01) / 6), rel=1e-15)
    gains = 0.2 + 20 / 90 + 10 / 110 + 0.25
    assert (found.gains, found.losses) == pytest.approx((gains, 0.25 + 0.1), rel=1e-14)
    assert found.mean == pytest.approx((gains - 0.35) / 6, rel=1e-14)
    assert found.downside == pytest.approx(math.sqrt((0.25**2 + 0.01) / 6), rel=1e-14)


def test_the_deepest_drawdown_need_not_be_the_longest():
    found = equity_statistics(np.array([100.0, 99.0, 99.0, 99.0, 100.0, 50.0, 100.0]), 100.0)
    assert (found.max_drawdown, found.max_drawdown_bars, found.longest_drawdown_bars) == (0.5, 2, 4)


def test_a_drawdown_from_the_initial_cash_counts_from_the_start():
    found = equity_statistics(np.array([90.0, 95.0, 100.0]), 100.0)
    assert (found.max_drawdown, found.max_drawdown_bars) == (pytest.approx(0.1, rel=1e-15), 3)


@pytest.mark.parametrize("n", [1, 2, 3, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 20_000])
@pytest.mark.parametrize("drift", [-1e-3, 0.0, 1e-3])
def test_agrees_with_the_definitions(n, drift):
    equity = walk(n, seed=n, drift=drift)
    found = equity_statistics(equity, 1e4)._asdict()
    for name, value in by_definition(equity, 1e4).items():
        assert found[name] == pytest.approx(value, rel=1e-12, abs=1e-15, nan_ok=True), name


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0, 90.0, 99.0, 100.0, 101.0, 150.0]), min_size=1, max_size=40))
def test_agrees_on_plateaus_ruin_and_ties(values):
    equity = np.array(values)
    found = equity_statistics(equity, 100.0)._asdict()
    for name, value in by_definition(equity, 100.0).items():
        if name != "max_drawdown_bars":  # of equally deep drawdowns either may be meant
            assert found[name] == pytest.approx(value, rel=1e-12, abs=1e-15, nan_ok=True), name


def test_it_is_numerically_sound_where_plain_sums_are_not():
    """Returns of 1 % that differ in their tenth digit: the sum of squares less the squared sum would keep no digit of the variance."""
    change = 0.01 + 1e-10 * np.random.default_rng(1).normal(size=3000)
    equity = 1e4 * np.cumprod(1 + change)
    found = equity_statistics(equity, 1e4)
    seen = equity / np.append(1e4, equity[:-1]) - 1
    assert found.deviation == pytest.approx(seen.std(ddof=1), rel=1e-9, abs=0.0)
    assert found.deviation == pytest.approx(1e-10, rel=0.1, abs=0.0)
    assert (seen**2).mean() - seen.mean() ** 2 != pytest.approx(seen.var(), rel=0.1, abs=0.0)


def test_returns_are_of_each_value_on_the_one_before_and_zero_after_ruin():
    assert simple_returns(np.array([150.0, 75.0, 0.0, 0.0]), 100.0).tolist() == [0.5, -0.5, -1.0, 0.0]
    equity = walk(5000)
    np.testing.assert_array_equal(simple_returns(equity, 1e4), equity / np.append(1e4, equity[:-1]) - 1)


def test_the_same_as_the_slow_metrics():
    equity = walk(3000, drift=2e-4)
    path, change = np.append(1e4, equity), np.diff(np.append(1e4, equity)) / np.append(1e4, equity[:-1])
    found = path_metrics(equity, 1e4, periods_per_year=8760)
    expected = {
        "total_return": equity[-1] / 1e4 - 1,
        "cagr": metrics.cagr(path, periods_per_year=8760),
        "volatility": metrics.annual_volatility(change, periods_per_year=8760),
        "sharpe_ratio": metrics.sharpe_ratio(change, periods_per_year=8760),
        "sortino_ratio": metrics.sortino_ratio(change, periods_per_year=8760),
        "calmar_ratio": metrics.calmar_ratio(path, periods_per_year=8760),
        "omega_ratio": metrics.omega_ratio(change),
        "max_drawdown": metrics.max_drawdown(path),
        "average_drawdown": metrics.average_drawdown(path),
        "ulcer_index": metrics.ulcer_index(path),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-11)
    assert found["max_drawdown_days"] == pytest.approx(found["max_drawdown_bars"] / 24)
    assert all(type(value) is float for value in found.values())


def test_parity_with_quantstats_and_vectorbt():
    quantstats, _ = pytest.importorskip("quantstats"), pytest.importorskip("vectorbt")
    change = pd.Series(np.random.default_rng(0).standard_t(4, 900) * 0.01 + 0.001, index=pd.date_range("2021-01-01", periods=900, freq="D"))
    found = path_metrics(np.cumprod(1 + change), 1.0, periods_per_year=365)
    stats, accessor = quantstats.stats, change.vbt.returns(freq="1D", year_freq="365 days")
    theirs = {
        "sharpe_ratio": (stats.sharpe(change, periods=365), accessor.sharpe_ratio()),
        "sortino_ratio": (stats.sortino(change, periods=365), accessor.sortino_ratio()),
        "calmar_ratio": (stats.calmar(change, periods=365), accessor.calmar_ratio()),
        "omega_ratio": (stats.omega(change, periods=365), accessor.omega_ratio()),
        "cagr": (stats.cagr(change, periods=365), accessor.annualized()),
        "volatility": (stats.volatility(change, periods=365), accessor.annualized_volatility()),
        "max_drawdown": (-stats.max_drawdown(change), -accessor.max_drawdown()),
    }
    for name, values in theirs.items():
        assert values == pytest.approx((found[name],) * 2, rel=1e-9), name
    assert found["ulcer_index"] == pytest.approx(stats.ulcer_index(change) * math.sqrt(899 / 900), rel=1e-9)  # theirs divides by n - 1


def test_undefined_is_nan():
    still = path_metrics(np.full(10, 5.0), 5.0, periods_per_year=365)
    assert still["total_return"] == still["volatility"] == still["max_drawdown"] == still["max_drawdown_bars"] == 0.0
    assert all(math.isnan(still[name]) for name in ("sharpe_ratio", "sortino_ratio", "calmar_ratio", "omega_ratio"))
    rising = path_metrics(np.array([2.0, 3.0]), 1.0, periods_per_year=365)
    assert all(math.isnan(rising[name]) for name in ("sortino_ratio", "calmar_ratio", "omega_ratio")) and rising["sharpe_ratio"] > 0
    assert math.isnan(path_metrics(np.array([2.0]), 1.0, periods_per_year=525_600)["cagr"])  # 2 to the power 525,600
    one = path_metrics(np.array([0.5]), 1.0, periods_per_year=math.nan)
    assert math.isnan(one["sharpe_ratio"]) and one["max_drawdown"] == 0.5


def test_ruin():
    lost = path_metrics(np.array([1.0, 0.0, 0.0]), 1.0, periods_per_year=365)
    assert lost["total_return"] == lost["cagr"] == -1.0 and lost["max_drawdown"] == 1.0 and lost["max_drawdown_bars"] == 2.0


def test_what_is_no_path_is_refused():
    for equity, initial in (([], 1.0), ([1.0], 0.0), ([1.0, math.nan], 1.0)):
        with pytest.raises(DataError, match="equity"):
            path_metrics(np.array(equity), initial, periods_per_year=365)


def test_threads_give_the_same():
    paths = [walk(5000, seed) for seed in range(16)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda path: equity_statistics(path, 1e4), paths)) == [equity_statistics(path, 1e4) for path in paths]


def test_annualised_takes_what_the_pass_returns():
    equity = walk(100)
    assert annualised(equity_statistics(equity, 1e4), 365.0) == path_metrics(equity, 1e4, periods_per_year=365.0)
