"""Baselines: judged on the candidate's own bars and costs, and luck that trades as often and as long as the candidate does."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.backtest import simulate
from quantalpha.backtest.baselines import NAMES, baselines, shuffled
from quantalpha.errors import DataError, UsageError
from quantalpha.perp import Account, Costs, Stops
from quantalpha.strategy import ma_cross

MONEY = {"account": Account(1e4, 2.0), "costs": Costs(0.0002, 0.0005, 0.0001, 0.0125)}


def tape(n=900, seed=1, drift=0.0):
    close = 100 * np.exp(np.cumsum(drift + 0.01 * np.random.default_rng(seed).normal(size=n)))
    open_ = np.r_[100.0, close[:-1]]
    index = pd.date_range("2024-01-01", periods=n, freq="h", tz="UTC", name="timestamp").as_unit("ms")
    high, low = np.maximum(open_, close) * 1.001, np.minimum(open_, close) * 0.999
    return pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": 1.0}, index=index)


def blocks(index, seed=0):
    """Long, pause, short, pause ... of random lengths."""
    rng = np.random.default_rng(seed)
    values = np.repeat(np.tile([1.0, 0.0, -1.0, 0.0], len(index)), rng.integers(1, 12, 4 * len(index)))
    return pd.Series(values[: len(index)], index=index)


def runs(target):
    """Multiset of (value, length) and the sequence in or out of the market."""
    values = target.to_numpy()
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    return list(zip(values[starts].tolist(), np.diff(np.r_[starts, len(values)]).tolist()))


def judged(bars, target, **changes):
    return baselines(bars, target, **({**MONEY, "leverage": 1.0, "random_seeds": 40} | changes))


def test_rows_and_columns_are_those_of_the_candidate():
    bars = tape()
    table = judged(bars, blocks(bars.index))
    assert tuple(table.index) == NAMES
    assert list(table.columns) == list(simulate(bars, blocks(bars.index), **MONEY).metrics())


def test_buy_and_hold_and_cross_are_plain_simulations_of_their_targets():
    bars = tape(drift=0.001)
    target = blocks(bars.index).iloc[300:]
    table = judged(bars, target, leverage=1.5)
    hold = simulate(bars.iloc[300:], pd.Series(1.5, index=target.index), **MONEY).metrics()
    assert table.loc["buy_and_hold"].to_dict() == pytest.approx(hold, nan_ok=True)
    warm = ma_cross(bars["close"], 50, 200, 1.5).iloc[300:]  # warmed up on the bars before the span
    assert (warm != 0).all()
    assert table.loc["ma_cross"].to_dict() == pytest.approx(simulate(bars.iloc[300:], warm, **MONEY).metrics(), nan_ok=True)


def test_holding_the_coin_earns_the_price_less_one_fee():
    """No funding, no margin: equity is cash left over plus coins times price."""
    bars = tape(drift=0.001).assign(funding_rate=0.01)
    spot = judged(bars, blocks(bars.index)).loc["spot_hold"]
    coins = 1e4 / bars["close"].iloc[0]
    paid = bars["open"].iloc[1] * 1.0001
    expected = 1e4 - coins * paid * 1.0005 + coins * bars["close"].iloc[-1]
    assert spot["total_return"] == pytest.approx(expected / 1e4 - 1, rel=1e-9)
    assert spot["funding"] == 0 and spot["liquidations"] == 0 and spot["n_trades"] == 1


def test_what_the_candidate_sets_for_itself_does_not_weaken_holding():
    bars = tape(drift=0.001)
    target = blocks(bars.index)
    holds = ["buy_and_hold", "spot_hold"]
    plain = judged(bars, target).loc[holds]
    stopped = judged(bars, target, stops=Stops(stop_loss=0.01, take_profit=0.01)).loc[holds]
    pd.testing.assert_frame_equal(plain, stopped)
    isolated = judged(bars, target, account=Account(1e4, 2.0, "isolated")).loc[["spot_hold"]]
    pd.testing.assert_frame_equal(plain.loc[["spot_hold"]], isolated)


def test_random_rows_are_the_ranked_shuffles():
    bars = tape()
    target = blocks(bars.index)
    sharpe = np.sort([simulate(bars, shuffled(target, seed), **MONEY).metrics()["sharpe_ratio"] for seed in range(40)])
    table = judged(bars, target)
    assert table.loc["random_median", "sharpe_ratio"] == sharpe[20]
    assert table.loc["random_p95", "sharpe_ratio"] == sharpe[38]


def test_it_is_deterministic_and_counts_its_seeds():
    bars = tape()
    target = blocks(bars.index)
    pd.testing.assert_frame_equal(judged(bars, target), judged(bars, target), check_exact=True)
    few, many = (judged(bars, target, random_seeds=n).loc["random_median", "sharpe_ratio"] for n in (5, 40))
    assert few != many


def test_luck_pays_the_same_costs_as_the_candidate():
    bars = tape()
    target = blocks(bars.index)
    own = simulate(bars, target, **MONEY).metrics()
    luck = judged(bars, target).loc[["random_median", "random_p95"]]
    np.testing.assert_allclose(luck["turnover"], own["turnover"], rtol=0.15)
    np.testing.assert_allclose(luck["exposure"], own["exposure"], atol=0.01)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([-1.0, 0.0, 1.0]), st.integers(1, 6)), min_size=1, max_size=25), st.integers(0, 5))
def test_a_shuffle_keeps_durations_sides_and_the_rhythm_of_market_and_pause(pieces, seed):
    values = np.concatenate([np.full(length, value) for value, length in pieces])
    target = pd.Series(values, index=pd.date_range("2024", periods=len(values), freq="h", tz="UTC"))
    other = shuffled(target, seed)
    assert other.index.equals(target.index)
    for value in (-1.0, 0.0, 1.0):
        assert (other == value).sum() == (target == value).sum()
    in_market = [value != 0 for value, _ in runs(target.abs())]
    assert in_market == [value != 0 for value, _ in runs(other.abs())]
    pauses = sorted(length for value, length in runs(target) if value == 0)
    assert pauses == sorted(length for value, length in runs(other) if value == 0)


def test_an_undefined_sharpe_is_beaten_by_nobody():
    bars = tape()
    table = judged(bars, pd.Series(0.0, index=bars.index))
    assert np.isnan(table.loc["random_p95", "sharpe_ratio"])


def test_unfit_input_is_refused():
    bars = tape()
    with pytest.raises(UsageError, match="random_seeds"):
        judged(bars, blocks(bars.index), random_seeds=0)
    with pytest.raises(DataError, match="expected times of bars"):
        judged(bars.iloc[:-3], blocks(bars.index))
