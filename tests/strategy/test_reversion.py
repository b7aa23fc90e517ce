"""Against the price: mean reversion, ranges, scalps. States by hand, limits, the parameters refused."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantalpha.backtest import simulate
from quantalpha.errors import UsageError
from quantalpha.perp import Account, Costs
from quantalpha.strategy.mean_reversion import mean_reversion
from quantalpha.strategy.parts import fade, latch
from quantalpha.strategy.range_trading import range_trading
from quantalpha.strategy.scalping import scalping

FLAGS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


@given(FLAGS)
def test_a_latch_is_the_fold_of_its_signals(flags):
    on, off = (np.array(column, dtype=bool) for column in zip(*flags))
    held, expected = False, []
    for enter, leave in flags:
        held = enter or (held and not leave)
        expected.append(held)
    assert latch(on, off).tolist() == expected


def test_fading_a_score_is_the_story_of_one_position():
    score = pd.Series([np.nan, 1.9, 2.0, 0.6, 0.5, -2.0, -0.5, 3.0, -3.0, -0.6, np.nan, -0.6])
    assert fade(score, enter=2.0, exit=0.5).tolist() == [0, 0, -1, -1, 0, 1, 0, -1, 1, 1, 0, 0]


def test_mean_reversion_measures_from_the_mean_of_its_window(make_bars):
    # logs 0 0 1 1 1 0 0: in windows of three the score of the last is 2/sqrt(3) at the first 1 and -2/sqrt(3) at the first 0 after
    bars = make_bars(np.exp([0.0, 0, 1, 1, 1, 0, 0]))
    # row 3: logs 0 1 1, score (1/3) / sqrt(1/3) = 0.577 <= 0.6: out; row 4: nothing moved, no score
    assert mean_reversion(bars, window=3, enter=1.15, exit=0.6).tolist() == [0, 0, -1, 0, 0, 1, 0]
    assert mean_reversion(bars, window=3, enter=1.15, exit=0.5).tolist() == [0, 0, -1, -1, 0, 1, 1]


def test_no_score_can_exceed_what_the_window_allows(market):
    with pytest.raises(UsageError, match=r"exit < enter <= 1\.15 deviations, found 0\.5, 1\.2"):
        mean_reversion(market, window=3, enter=1.2)


def test_a_range_is_bought_at_the_bottom_and_left_in_the_middle(make_bars):
    beat = np.exp(0.01 * np.array([0, 1, 0, 1, 0, 1, 0, 1]))
    bars = make_bars(beat).assign(high=beat, low=beat)
    # window 4: place is 0 or 1; over 4 bars no way is made (efficiency 0), so it turns at every bound
    assert range_trading(bars, window=4, edge=0.1).tolist() == [0, 0, 0, 0, 1, -1, 1, -1]


def test_no_range_is_traded_while_the_price_makes_way(make_bars):
    assert range_trading(make_bars(np.exp(np.arange(100) / 100)), window=10).eq(0).all()


def test_a_position_in_a_range_ends_when_the_range_does(make_bars):
    log = 0.01 * np.array([0, 1, 0, 1, 0, -1, -2, -3, -4.0])
    bars = make_bars(np.exp(log)).assign(high=np.exp(log), low=np.exp(log))
    # efficiency over 4 bars: row 4: 0/4, row 5: |-1-1|/4 = 0.5, row 6: 0.5, row 7: 1
    assert range_trading(bars, window=4, calm=0.2, trending=0.6).tolist() == [0, 0, 0, 0, 1, 1, 1, 0, 0]
    assert range_trading(bars, window=4, calm=0.2, trending=0.5).tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0]


def test_scalping_rests_its_entries_beyond_the_close_and_leaves_at_the_market(market):
    orders = scalping(market, window=2, volatility_window=30, offset=0.5)
    volatility = np.log(market["close"]).diff().rolling(30).std()
    held, flipped = orders["target"] != 0, orders["target"] * orders["target"].shift(fill_value=0.0) < 0
    assert 0.01 < held.mean() < 0.5 and flipped.any()
    rests = held & ~flipped
    assert orders["limit"].isna().equals(~rests)
    expected = market["close"] * np.exp(-0.5 * volatility * orders["target"])
    np.testing.assert_allclose(orders["limit"][rests], expected[rests])
    assert ((orders["limit"] < market["close"]) == (orders["target"] > 0))[rests].all()


def test_scalping_scores_the_move_by_the_deviation_of_that_many_bars(make_bars):
    log = np.cumsum([0, 0.01, -0.01, 0.01, -0.01, 0.03, 0.01, -0.01, -0.01])
    bars = make_bars(np.exp(log))
    row = 5
    deviation = np.std([0.01, -0.01, 0.03], ddof=1)
    score = (0.03 - 0.01) / (deviation * math.sqrt(2))
    assert scalping(bars, 2, 3, enter=score - 1e-6, exit=0, offset=0)["target"].iloc[row] == -1
    assert scalping(bars, 2, 3, enter=score + 1e-6, exit=0, offset=0)["target"].iloc[row] == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda bars: mean_reversion(bars, window=2), "at least 3 bars"),
        (lambda bars: mean_reversion(bars, exit=2.0), "exit < enter"),
        (lambda bars: mean_reversion(bars, exit=-0.1), "0 <= exit"),
        (lambda bars: range_trading(bars, edge=0.5), r"edge < 0\.5"),
        (lambda bars: range_trading(bars, calm=0.4, trending=0.4), "calm < trending"),
        (lambda bars: range_trading(bars, window=1), "window"),
        (lambda bars: scalping(bars, offset=-1), "offset of at least 0"),
        (lambda bars: scalping(bars, enter=math.nan), "exit < enter"),
        (lambda bars: scalping(bars, volatility_window=1), "volatility_window"),
    ],
)
def test_impossible_parameters_are_refused(market, call, message):
    with pytest.raises(UsageError, match=message):
        call(market)


def test_a_scalp_is_sold_at_its_limit_and_bought_back_at_the_market(make_bars):
    log = np.cumsum(np.r_[np.tile([0.001, -0.001], 30), 0.02, 0.0, -0.02, 0.0])
    bars = make_bars(np.exp(log))  # every bar reaches 0.2 % beyond its body: further than half a deviation of 0.28 %
    orders = scalping(bars, window=1, enter=3.0, exit=0.5, offset=0.5, volatility_window=60)
    assert np.flatnonzero(orders["target"]).tolist() == [60, 62]
    costs = Costs(maker=0.0, taker=0.0005, slippage=0.0, liquidation=0.01)
    fills = simulate(bars.iloc[:63], orders.iloc[:63], account=Account(10_000.0), costs=costs).fills
    assert fills["reason"].tolist() == ["limit", "order"] and fills["time"].tolist() == bars.index[61:63].tolist()
    assert fills["price"].tolist() == pytest.approx([orders["limit"].iloc[60], bars["open"].iloc[62]])
    assert fills["fee"].iloc[0] == 0 < fills["fee"].iloc[1]
