"""Weights over symbols: what each method means, who takes part when, and that nothing looks ahead."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import DataError, UsageError
from quantalpha.strategy import portfolio
from quantalpha.strategy.portfolio import METHODS, portfolio_weights
from quantalpha.validation import check_causal


@pytest.fixture(scope="module")
def closes():
    """400 days of four correlated coins; D is listed on day 150, C delisted on day 305."""
    rng = np.random.default_rng(4)
    returns = np.array([0.02, 0.03, 0.04, 0.06]) * (rng.normal(size=(400, 4)) + 0.8 * rng.normal(size=(400, 1)))
    frame = pd.DataFrame(100 * np.exp(np.cumsum(returns, axis=0)), pd.date_range("2024-01-01", periods=400, tz="UTC"), list("ABCD"))
    frame.loc[frame.index[:150], "D"] = np.nan
    frame.loc[frame.index[305:], "C"] = np.nan
    return frame


@pytest.mark.parametrize("method", METHODS)
def test_weights_are_a_whole_of_positive_parts_once_known(closes, method):
    weights = portfolio_weights(closes, window=60, every=20, method=method)
    assert (weights >= 0).all(axis=None) and weights.iloc[:60].eq(0).all(axis=None)
    whole = np.r_[60:305, 320:400]  # from 305 to the renewal at 320 the delisted symbol's part lies idle
    np.testing.assert_allclose(weights.sum(axis=1).iloc[whole], 1.0)
    assert (weights.sum(axis=1).iloc[305:320] < 1).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_symbol_has_weight_only_while_it_is_listed_and_its_window_is_full(closes, method):
    weights = portfolio_weights(closes, window=60, every=20, method=method)
    assert weights["D"].iloc[:220].eq(0).all()  # listed at 150, 60 returns at 210, the next renewal at 220
    assert weights["C"].iloc[305:].eq(0).all()
    if method != "minimum_variance":
        assert weights["D"].iloc[220:].gt(0).all() and weights["C"].iloc[60:305].gt(0).all()


def test_weights_change_at_renewals_only(closes):
    weights = portfolio_weights(closes, window=60, every=20, method="inverse_volatility")
    changed = np.flatnonzero(weights.diff().abs().sum(axis=1) > 0)
    assert set(changed) == set(range(60, 400, 20)) | {305}


def test_a_missing_close_keeps_a_symbol_out_for_a_window(closes):
    holed = closes.copy()
    holed.iloc[100, 0] = np.nan
    weights = portfolio_weights(holed, window=30, every=10, method="equal")
    assert weights["A"].iloc[90:100].gt(0).all() and weights["A"].iloc[100:140].eq(0).all() and weights["A"].iloc[140:].gt(0).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_price_that_stands_still_is_no_market(closes, method):
    stuck = closes[["A", "B", "C"]].iloc[:200].copy()
    stuck.iloc[50:150, 0] = stuck.iloc[50, 0]
    weights = portfolio_weights(stuck, window=30, every=10, method=method)
    assert weights["A"].iloc[80:150].eq(0).all() and weights["A"].iloc[150] > 0
    np.testing.assert_allclose(weights.iloc[30:].sum(axis=1), 1.0)


def test_the_universe_of_the_day_decides(closes):
    universe = pd.DataFrame(True, closes.index, closes.columns)
    universe.iloc[105:165, 1] = False
    weights = portfolio_weights(closes, window=60, every=20, method="equal", universe=universe)
    assert weights["B"].iloc[104] > 0 and weights["B"].iloc[105:180].eq(0).all() and weights["B"].iloc[180] > 0
    np.testing.assert_allclose(weights["A"].iloc[120], 1 / 2)  # A and C


def test_inverse_volatility_by_hand(closes):
    returns = closes[["A", "B"]].pct_change().iloc[41:101]
    expected = 1 / returns.std()
    weights = portfolio_weights(closes[["A", "B"]], window=60, every=1, method="inverse_volatility").iloc[100]
    np.testing.assert_allclose(weights, expected / expected.sum(), rtol=1e-9)


def covariance(closes):
    """Ledoit and Wolf's, as the weights use it, of the 60 returns up to row 100."""
    from skfolio.moments import LedoitWolf

    return LedoitWolf().fit(closes[list("ABC")].pct_change().iloc[41:101]).covariance_


def test_equal_risk_contributes_the_same_from_each(closes):
    weights = portfolio_weights(closes, window=60, every=1, method="equal_risk").iloc[100][list("ABC")].to_numpy()
    contribution = weights * (covariance(closes) @ weights)
    np.testing.assert_allclose(contribution / contribution.sum(), 1 / 3, atol=1e-4)


def test_no_other_long_weights_have_less_variance(closes):
    matrix = covariance(closes)
    best = portfolio_weights(closes, window=60, every=1, method="minimum_variance").iloc[100][list("ABC")].to_numpy()
    others = np.random.default_rng(5).dirichlet(np.ones(3), 2_000)
    assert best @ matrix @ best <= np.einsum("ij,jk,ik->i", others, matrix, others).min() * (1 + 1e-6)


@pytest.mark.parametrize("method", ["inverse_volatility", "equal_risk"])
def test_no_weight_looks_ahead(closes, method):
    known = closes.iloc[:160]
    report = check_causal(lambda frame: portfolio_weights(frame, window=30, every=25, method=method), known[list("ABC")], cuts=3)
    assert report.clean, report


def test_one_symbol_gets_all_and_none_gets_nothing(closes):
    assert portfolio_weights(closes[["A"]], window=10, every=5).iloc[10:].eq(1).all(axis=None)
    assert portfolio_weights(closes[["D"]].iloc[:100], window=10, every=5).eq(0).all(axis=None)


def test_a_solver_without_an_answer_is_named(closes, monkeypatch):
    class Failing:
        def fit(self, returns):
            raise RuntimeError("infeasible")

    monkeypatch.setattr(portfolio, "_estimator", lambda method: Failing())
    with pytest.raises(DataError, match=r"equal_risk found no weights for 3 symbols at 2024-03-01.*infeasible"):
        portfolio_weights(closes, window=60, every=20)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "equal_risks"}, "did you mean 'equal_risk'"),
        ({"window": 1}, "window to be a whole number of at least 2"),
        ({"every": 0}, "every to be a whole number of at least 1"),
    ],
)
def test_impossible_options_are_refused(closes, options, message):
    with pytest.raises(UsageError, match=message):
        portfolio_weights(closes, **({"window": 60, "every": 20} | options))
