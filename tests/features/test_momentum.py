"""Momentum features against TA-Lib, or worked by hand."""

import numpy as np
import pandas as pd
import pytest
import talib
from feature_values import agree, column, columns, prices

from quantalpha.features.averages import TAIL


@pytest.mark.parametrize("window", [1, 7, 72])
def test_returns_are_talib_rocp(bars, window):
    agree(column(bars, "returns", window), talib.ROCP(prices(bars, "close")[0], window), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("window", [2, 24])
def test_scaled_return_is_the_sum_of_log_returns_over_its_root_mean_square_times_root_of_the_window(bars, window):
    step = np.log(bars["close"]).diff()
    expected = step.rolling(window).sum() / ((step**2).rolling(window).mean() * window) ** 0.5
    agree(column(bars, "scaled_return", window), expected, rtol=1e-6, atol=1e-9)


def test_scaled_return_is_at_its_end_when_all_returns_are_equal():
    rising = pd.DataFrame({"close": 1.01 ** np.arange(30)})
    assert column(rising, "scaled_return", 16)[-1] == pytest.approx(4)
    assert column(1 / rising, "scaled_return", 16)[-1] == pytest.approx(-4)


@pytest.mark.parametrize("window", [2, 14, 40])
def test_rsi_is_within_the_tail_of_talib_rsi(bars, window):
    """The rises before the finite window weigh at most TAIL times the moves before it, and so do all moves."""
    (close,) = prices(bars, "close")
    moves = talib.EMA(np.abs(np.diff(close, prepend=close[0])), 2 * window - 1)[window * 13 :]  # Wilder's average is the EMA of 2n - 1
    bound = 100 * TAIL * moves.max() / moves.min()
    agree(column(bars, "rsi", window), talib.RSI(close, window), skip=25 * min(window, 38), rtol=0, atol=min(bound, 1e-3))


def test_rsi_bounds():
    rising = pd.DataFrame({"close": np.arange(1.0, 400.0)})
    assert column(rising, "rsi", 14)[-1] == 100
    assert column(rising[::-1], "rsi", 14)[-1] == 0


@pytest.mark.parametrize("window", [2, 72])
def test_range_position_is_talib_williams_r(bars, window):
    expected = 1 + talib.WILLR(*prices(bars, "high", "low", "close"), window) / 50
    agree(column(bars, "range_position", window), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("window, smooth, signal", [(14, 3, 3), (13, 1, 5), (37, 5, 1)])
def test_stochastic_is_talib_stoch(bars, window, smooth, signal):
    found = columns(bars, "stochastic", window, smooth, signal)
    high_low_close = prices(bars, "high", "low", "close")
    expected = talib.STOCH(*high_low_close, fastk_period=window, slowk_period=smooth, slowd_period=signal)
    for part, theirs in zip(found, expected, strict=True):
        agree(part, theirs / 50 - 1, rtol=0, atol=1e-9)


@pytest.mark.parametrize("window", [2, 20, 37])
def test_cci_is_talib_cci(bars, window):
    agree(column(bars, "cci", window), talib.CCI(*prices(bars, "high", "low", "close"), window), rtol=1e-6, atol=1e-6)


def test_cci_by_hand():
    """Typical prices 1, 2, 3, 10: mean 4, mean distance (3 + 2 + 1 + 6) / 4 = 3, so 6 / (0.015 x 3). One jump: window / 2 / 0.015."""
    ladder = pd.DataFrame(dict.fromkeys(("high", "low", "close"), [1.0, 2.0, 3.0, 10.0]))
    jump = pd.DataFrame(dict.fromkeys(("high", "low", "close"), [1.0, 1.0, 1.0, 9.0]))
    assert column(ladder, "cci", 4)[-1] == pytest.approx(6 / 0.045)
    assert column(jump, "cci", 4)[-1] == pytest.approx(2 / 0.015)
