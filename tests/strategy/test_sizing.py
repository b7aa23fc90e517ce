"""Sizes: limits, invariances, hand-made numbers, and that nothing looks ahead."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantalpha.backtest import simulate
from quantalpha.errors import UsageError
from quantalpha.perp import Account, Costs, Stops
from quantalpha.strategy.sizing import cap_exposure, fixed_risk, kelly, realised_volatility, volatility_target
from quantalpha.strategy.trend import momentum
from quantalpha.validation import check_causal

DAY_MS = 86_400_000
LEVERAGES = st.lists(st.tuples(*[st.floats(-5, 5)] * 3), min_size=1, max_size=20)
LIMITS = st.one_of(st.floats(0.1, 10), st.just(np.inf))


def test_volatility_of_equal_moves_is_their_size_times_the_root_of_the_bars_in_a_year(make_bars):
    for step, bars_a_year in ((DAY_MS, 365), (DAY_MS // 24, 8_760)):
        close = make_bars(np.exp(0.01 * (np.arange(3_000) % 2)), step)["close"]
        volatility = realised_volatility(close, halflife=20)
        assert volatility.first_valid_index() == close.index[0] + pd.Timedelta(days=20)
        np.testing.assert_allclose(volatility.dropna(), 0.01 * math.sqrt(bars_a_year))


def test_a_return_counts_half_after_each_half_life(make_bars):
    log = [0, 0.01, 0.03, 0.0]
    close = make_bars(np.exp(log), DAY_MS)["close"]
    weights = np.array([0.25, 0.5, 1.0])  # a half-life of one bar
    expected = math.sqrt(weights @ np.diff(log) ** 2 / weights.sum() * 365)
    assert realised_volatility(close, halflife=1).iloc[-1] == pytest.approx(expected)


def test_a_return_across_missing_bars_is_spread_over_their_time(make_bars):
    close = make_bars(np.exp([0, 0.01, 0, 9, 0.02]), DAY_MS)["close"].iloc[[0, 1, 2, 4]]
    weights = np.array([0.5**3, 0.5**2, 1.0])  # by age in days
    expected = math.sqrt(weights @ [1e-4, 1e-4, 4e-4 / 2] / weights.sum() * 365)
    assert realised_volatility(close, halflife=1).iloc[-1] == pytest.approx(expected)


def test_a_volatility_target_makes_the_wanted_volatility_and_keeps_its_cap(make_bars):
    rng = np.random.default_rng(0)
    close = make_bars(np.exp(np.cumsum(rng.normal(0, 0.8 / math.sqrt(365), 3_000))), DAY_MS)["close"]
    target = pd.Series(1.0, index=close.index)
    sized = volatility_target(target, close, annual=0.2, cap=2.0)
    earned = (sized.shift() * close.pct_change()).iloc[100:]
    assert earned.std() * math.sqrt(365) == pytest.approx(0.2, rel=0.05)
    assert volatility_target(target, close, annual=0.2, cap=0.1).iloc[100:].eq(0.1).all()
    assert sized.iloc[:42].eq(0).all() and sized.iloc[42:].gt(0).all()


def test_the_unit_of_the_price_does_not_matter(market):
    target, close = momentum(market, 5, 50), market["close"]
    np.testing.assert_allclose(volatility_target(target, 1024 * close, halflife=2), volatility_target(target, close, halflife=2))
    np.testing.assert_allclose(kelly(target, 1024 * close, window=10), kelly(target, close, window=10))


def test_the_opposite_target_has_the_opposite_size(market):
    target, close = momentum(market, 5, 50), market["close"]
    assert volatility_target(-target, close, halflife=2).equals(-volatility_target(target, close, halflife=2))
    assert fixed_risk(-target, 0.02).equals(-fixed_risk(target, 0.02))


def test_kelly_is_half_of_the_mean_over_the_variance_shrunk_by_its_error(make_bars):
    rng = np.random.default_rng(1)
    close = make_bars(np.exp(np.cumsum(rng.normal(0.002, 0.02, 400))), DAY_MS)["close"]
    target = pd.Series(1.0, index=close.index)
    earned = close.pct_change().iloc[-200:]
    mean, variance = earned.mean(), earned.var()
    squared_t = mean**2 * 200 / variance
    expected = 0.5 * mean / variance * squared_t / (1 + squared_t)
    assert kelly(target, close, window=200, cap=100).iloc[-1] == pytest.approx(expected)
    assert kelly(target, close, window=200, cap=0.03).iloc[-1] == 0.03


def test_kelly_bets_nothing_on_a_loser_and_less_after_costs(make_bars):
    rng = np.random.default_rng(2)
    close = make_bars(np.exp(np.cumsum(rng.normal(0.003, 0.02, 400))), DAY_MS)["close"]
    target = pd.Series(np.where(np.arange(400) % 2, 1.0, 0.5), index=close.index)
    assert kelly(-target, close, window=200).eq(0).all()
    dear, free = (kelly(target, close, window=200, cost=cost, cap=100).iloc[-1] for cost in (0.001, 0.0))
    assert 0 < dear < free


def test_the_shrinkage_makes_most_of_an_uncertain_edge():
    mu, deviation, n = 0.1, 1.0, 100  # t = 1: the best factor is 1/2
    estimates = np.random.default_rng(3).normal(mu, deviation / math.sqrt(n), 400_000)
    factors = np.linspace(0.1, 1, 91)
    growth = factors * (estimates * mu).mean() - factors**2 * (estimates**2).mean() / 2
    squared_t = mu**2 * n / deviation**2
    assert factors[growth.argmax()] == pytest.approx(squared_t / (1 + squared_t), abs=0.01)


def test_a_fixed_risk_is_lost_at_the_stop_and_kept_through_the_position():
    target = pd.Series([0, 1, 1, 0, -1, -1, 1, 1.0])
    distance = pd.Series([0.01, 0.02, 0.04, 0.01, 0.05, 0.01, np.nan, 0.01])
    sized = fixed_risk(target, distance, risk=0.01, cap=3)
    assert sized.tolist() == pytest.approx([0, 0.5, 0.5, 0, -0.2, -0.2, 0, 0])  # no distance known at the last entry: no position
    assert (sized * distance).abs().iloc[[1, 4]].tolist() == pytest.approx([0.01, 0.01])
    assert fixed_risk(target, 0.001, risk=0.01, cap=3).abs().max() == 3


def test_a_stop_without_distance_is_no_stop():
    assert fixed_risk(pd.Series([1.0, 1.0]), pd.Series([0.0, 0.01])).eq(0).all()


@given(LEVERAGES, LIMITS, LIMITS, LIMITS)
def test_exposure_stays_within_its_caps_and_keeps_its_proportions(rows, symbol, gross, net):
    targets = pd.DataFrame(rows, columns=list("abc"))
    capped = cap_exposure(targets, symbol=symbol, gross=gross, net=net)
    slack = 1 + 1e-9
    assert (capped.abs() <= symbol * slack).all(axis=None)
    assert (capped.abs().sum(axis=1) <= gross * slack).all() and (capped.sum(axis=1).abs() <= net * slack).all()
    first = targets.clip(-symbol, symbol)
    factor = capped.abs().sum(axis=1) / first.abs().sum(axis=1)
    np.testing.assert_allclose(capped, first.mul(factor.fillna(1), axis=0), atol=1e-9)
    within = (first.abs().sum(axis=1) <= gross) & (first.sum(axis=1).abs() <= net)
    assert capped[within].equals(first[within])


def test_caps_by_hand():
    targets = pd.DataFrame({"a": [3.0, 1.0, 0.0], "b": [1.0, -1.0, 0.0]})
    capped = cap_exposure(targets, symbol=2, gross=1.5, net=1)
    # 3, 1 -> 2, 1: gross 3 -> 1.5 would be 1, 0.5, net 3 -> 1 is 2/3, 1/3
    np.testing.assert_allclose(capped, [[2 / 3, 1 / 3], [0.75, -0.75], [0, 0]])


SIZES = {
    "volatility_target": lambda target, bars: volatility_target(target, bars["close"], halflife=3, cap=4),
    "kelly": lambda target, bars: kelly(target, bars["close"], window=20, cost=1e-4, cap=4),
    "fixed_risk": lambda target, bars: fixed_risk(target, bars["high"] / bars["low"] - 1, cap=4),
    "cap_exposure": lambda target, bars: cap_exposure(pd.DataFrame({"a": target, "b": 1.0}), gross=1.2)["a"],
}


@pytest.mark.parametrize("name", SIZES)
def test_no_size_looks_ahead(market, name):
    report = check_causal(lambda bars: SIZES[name](momentum(bars, 5, 50), bars).to_frame("size"), market, cuts=10)
    assert report.clean, report


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t, c: realised_volatility(c, halflife=0), "halflife above 0"),
        (lambda t, c: volatility_target(t, c, annual=-0.1), "annual and cap above 0"),
        (lambda t, c: volatility_target(t, c, cap=math.inf), "found 0.2, inf"),
        (lambda t, c: kelly(t, c, fraction=1.5), "fraction"),
        (lambda t, c: kelly(t, c, window=math.nan), "window"),
        (lambda t, c: kelly(t, c, cost=1.0), "cost"),
        (lambda t, c: fixed_risk(t, 0.0), "distance above 0"),
        (lambda t, c: fixed_risk(t, 0.1, risk=1.0), "risk"),
        (lambda t, c: cap_exposure(t.to_frame(), gross=0), "gross and net above 0"),
    ],
)
def test_impossible_parameters_are_refused(market, call, message):
    with pytest.raises(UsageError, match=message):
        call(momentum(market, 5, 50), market["close"])


def test_a_stopped_position_has_lost_the_risk_it_was_given(make_bars):
    bars = make_bars(np.r_[np.full(10, 100.0), np.linspace(100, 80, 20)])
    target = pd.Series(1.0, index=bars.index)
    result = simulate(
        bars,
        fixed_risk(target, 0.05, risk=0.01),
        account=Account(10_000.0),
        costs=Costs(maker=0.0, taker=0.0, slippage=0.0, liquidation=0.0),
        stops=Stops(stop_loss=0.05),
    )
    assert result.fills["reason"].tolist() == ["order", "stop_loss"]
    assert result.equity.iloc[-1] == pytest.approx(9_900)
