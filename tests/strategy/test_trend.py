"""Going with the price: the sides taken, the formulas recomputed by hand, the parameters refused."""

import math

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import UsageError
from quantalpha.strategy.trend import breakout, buy_and_hold, ma_cross, momentum, trend


def test_buy_and_hold_is_long_throughout(market):
    close = market["close"].iloc[:10]
    target = buy_and_hold(close, leverage=2)
    assert target.tolist() == [2.0] * 10 and target.index.equals(close.index)


def test_ma_cross_follows_a_ramp_up_and_down():
    up_down = pd.Series(np.r_[np.arange(1.0, 31), np.arange(30.0, 0, -1)])
    target = ma_cross(up_down, fast=3, slow=9, leverage=1.5)
    assert target[:8].eq(0).all() and target[8:31].eq(1.5).all() and target[-20:].eq(-1.5).all()


def test_ma_cross_compares_the_two_plain_means(market):
    close = market["close"]
    target = ma_cross(close, fast=5, slow=20)
    for i in range(19, 400, 37):
        assert target.iloc[i] == np.sign(close.iloc[i - 4 : i + 1].mean() - close.iloc[i - 19 : i + 1].mean())


@pytest.mark.parametrize("cut", [19, 20, 133, 399])
def test_ma_cross_of_a_truncated_series_is_its_own_past(market, cut):
    close = market["close"]
    assert ma_cross(close, 5, 20).iloc[:cut].equals(ma_cross(close.iloc[:cut], 5, 20))


@pytest.mark.parametrize(("fast", "slow"), [(0, 5), (5, 5), (9, 5)])
def test_ma_cross_refuses_windows_out_of_order(market, fast, slow):
    with pytest.raises(UsageError, match="fast < slow"):
        ma_cross(market["close"], fast, slow)


def exponential_average(values: list[float], forget: float) -> float:
    """Of the last value: weights (1 - forget)^age, divided by their sum."""
    weights = [(1 - forget) ** age for age in range(len(values))]
    return sum(w * v for w, v in zip(weights, reversed(values))) / sum(weights)


def sample_deviation(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))


def test_trend_is_the_papers_formula_written_out(market):
    fast, ratio, row = 2, 3.0, 120
    prices = [math.log(value) for value in market["close"].iloc[: row + 1]]

    def signal(i: int, speed: int) -> float:
        seen = prices[: i + 1]
        gap = exponential_average(seen, 1 / (speed * fast)) - exponential_average(seen, 1 / (speed * ratio * fast))
        return gap / sample_deviation(seen[-8 * fast :])

    total = 0.0
    for speed in (1, 2, 4):
        z = signal(row, speed) / sample_deviation([signal(i, speed) for i in range(row - 32 * fast + 1, row + 1)])
        total += z * math.exp(-z * z / 4) / 0.89
    assert trend(market, fast, ratio).iloc[row] == pytest.approx(total / 3, rel=1e-9)


def test_trend_begins_when_all_its_windows_are_full_and_stays_below_the_peak_of_the_response(market):
    target = trend(market, fast=4)
    first = int(np.flatnonzero(target)[0])
    assert first == 40 * 4 - 2
    assert target.abs().max() <= math.sqrt(2) * math.exp(-0.5) / 0.89  # z exp(-z^2 / 4) is largest at z = sqrt(2)


def test_trend_forgets_where_the_history_began(market):
    whole, late = trend(market, fast=2), trend(market.iloc[500:], fast=2)
    np.testing.assert_allclose(late.iloc[-500:], whole.iloc[-500:], atol=1e-9)


def test_momentum_is_the_mean_of_three_votes(make_bars):
    bars = make_bars([10, 12, 11, 13, 9, 10, 14, 8])
    target = momentum(bars, shortest=1, longest=4, horizons=3)  # spans 1, 2, 4
    # row 4: 9-13 < 0, 9-11 < 0, 9-10 < 0; row 5: 10-9 > 0, 10-13 < 0, 10-12 < 0; row 6: all up; row 7: all down
    assert target.tolist() == pytest.approx([0, 0, 0, 0, -1, -1 / 3, 1, -1])


def test_a_vote_on_an_unchanged_price_is_no_vote(make_bars):
    assert momentum(make_bars([5, 6, 5, 6]), shortest=1, longest=2, horizons=2).tolist() == [0, 0, -0.5, 0.5]


def test_breakout_enters_beyond_the_long_channel_and_leaves_beyond_the_short_one(make_bars):
    close = np.array([10, 10, 10, 10, 12, 13, 12.5, 12.1, 11, 9, 9.5, 10.2, 13.5])
    bars = make_bars(close).assign(high=close, low=close)
    # entry: the 3 bars before, exit: the 2 bars before. 12 > 10: long; 12.5 is not below 12, 12.1 < min(13, 12.5) is, but not < 12: out;
    # 11 < min(13, 12.5, 12.1): short; 9 holds; 9.5 <= max(11, 9); 10.2 > max(9, 9.5): out; 13.5 > max(9, 9.5, 10.2): long
    assert breakout(bars, entry=3, exit=2).tolist() == [0, 0, 0, 0, 1, 1, 1, 0, -1, -1, -1, 0, 1]


def test_breakout_is_flat_before_the_entry_channel_is_full(make_bars):
    rising = make_bars(np.exp(np.arange(60) / 10))
    target = breakout(rising, entry=20, exit=5)
    assert target.iloc[:20].eq(0).all() and target.iloc[20:].eq(1).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda bars: trend(bars, fast=0), "trend: expected fast to be a whole number of at least 1 bars, found 0"),
        (lambda bars: trend(bars, fast=2.5), "found 2.5"),
        (lambda bars: trend(bars, ratio=1.0), "ratio of slow to fast above 1, found 1.0"),
        (lambda bars: trend(bars, ratio=math.nan), "found nan"),
        (lambda bars: momentum(bars, shortest=50, longest=40), "shortest <= longest bars, found 50, 40"),
        (lambda bars: momentum(bars, horizons=0), "horizons"),
        (lambda bars: breakout(bars, entry=5, exit=6), "exit <= entry bars, found 6, 5"),
        (lambda bars: breakout(bars, entry=True, exit=1), "found True"),
    ],
)
def test_impossible_parameters_are_refused(market, call, message):
    with pytest.raises(UsageError, match=message):
        call(market)
