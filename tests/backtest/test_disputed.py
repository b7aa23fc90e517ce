"""Trades that rest on disputed bars, and the result without them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha import schema
from quantalpha.backtest import simulate
from quantalpha.backtest.disputed import disputed_trades, without_disputed
from quantalpha.perp import Account, Costs, Stops

N = 120
INDEX = schema.from_epoch_ms(3_600_000 * np.arange(N))
TERMS = {"account": Account(10_000, leverage=5), "costs": Costs(maker=0.0002, taker=0.0005, slippage=0.0001, liquidation=0.0125)}


def market(seed=0, doubt=()):
    close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, N)))
    opens = np.r_[100.0, close[:-1]]
    rows = {"open": opens, "high": np.maximum(opens, close) * 1.002, "low": np.minimum(opens, close) * 0.998, "close": close, "volume": 1.0}
    bars = pd.DataFrame(rows, INDEX)
    marks = np.zeros(N)
    marks[list(doubt)] = schema.FLAGGED
    return bars.assign(disputed=marks) if doubt else bars


def blocks(values, length=10):
    return pd.Series(np.repeat(values, length)[:N].astype(float), INDEX[: len(values) * length])


def test_no_disputed_bar_no_disputed_trade():
    target = blocks([1, 0, -1, 0, 1, 0])
    trades, result = without_disputed(market(), target, **TERMS)
    assert trades.empty and result.equity.equals(simulate(market(), target, **TERMS).equity)


def test_the_trade_over_the_disputed_bar_is_named_and_left_out():
    target, bars = blocks([1, 0, -1, 0, 1, 0]), market(doubt=[25])
    whole = simulate(bars, target, **TERMS)
    trades, result = without_disputed(bars, target, **TERMS)
    assert trades.index.tolist() == [1] and trades["disputed_bars"].tolist() == [1]
    expected = simulate(bars, blocks([1, 0, 0, 0, 1, 0]), **TERMS)
    assert result.equity.equals(expected.equity)
    assert list(result.trades["entry_time"]) == list(whole.trades["entry_time"].iloc[[0, 2]])


@pytest.mark.parametrize(("bar", "named"), [(19, []), (20, [1]), (21, [1]), (31, [1]), (32, [])])
def test_a_trade_reaches_from_the_bar_of_decision_to_that_of_exit(bar, named):
    """Decided at the close of bar 20 and 30, filled at the open of 21 and 31."""
    target = pd.Series(0.0, INDEX)
    target.iloc[2:12], target.iloc[20:30] = 1.0, -1.0
    result = simulate(market(doubt=[bar]), target, **TERMS)
    assert disputed_trades(result, market(doubt=[bar])).index.tolist() == named


def test_a_stopped_trade_is_not_entered_again_where_it_was_left():
    target, stops = blocks([0, 1, 1, 1, 0, 1, 0]), Stops(stop_loss=0.02)
    bars = market(seed=3)
    whole = simulate(bars, target, stops=stops, **TERMS)
    stopped = whole.trades[whole.trades["exit_reason"] == "stop_loss"].iloc[0]
    at = bars.index.get_loc(stopped["exit_time"])
    trades, result = without_disputed(market(seed=3, doubt=[at]), target, stops=stops, **TERMS)
    assert stopped["entry_time"] in list(trades["entry_time"])
    assert set(result.trades["entry_time"]) == set(whole.trades["entry_time"]) - set(trades["entry_time"])


@settings(max_examples=60, deadline=None)
@given(
    levels=st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), min_size=12, max_size=12),
    doubt=st.sets(st.integers(0, N - 1), min_size=1, max_size=6),
    seed=st.integers(0, 5),
)
def test_what_is_left_rests_on_no_disputed_bar_and_no_sound_trade_is_lost(levels, doubt, seed):
    target, bars = blocks(levels), market(seed, doubt)
    whole = simulate(bars, target, **TERMS)
    trades, result = without_disputed(bars, target, **TERMS)
    assert disputed_trades(result, bars).empty
    sound = set(whole.trades["entry_time"]) - set(trades["entry_time"])
    assert sound <= set(result.trades["entry_time"])
