"""How far and how steadily the price has moved."""

import numpy as np

from quantalpha.features.averages import wilder_rows, wilder_sum
from quantalpha.features.base import Feature, check_window
from quantalpha.windows import highest, lagged, lowest, mean, ratio, total


def returns(window: int) -> Feature:
    """Simple return over `window` bars (0.01 is +1 %): the rate of change, as TA-Lib ROCP. Window >= 1."""
    check_window("returns", window)

    def compute(bars):
        return bars["close"] / lagged(bars["close"], window) - 1

    return Feature(f"returns_{window}", window + 1, ("close",), compute)


def scaled_return(window: int) -> Feature:
    """Log return over `window` bars in units of what the bars' own returns would add up to by chance: sum(r) / sqrt(sum(r^2)).

    Within +-sqrt(window), reached where all returns are equal; 0 when nothing moved. The t-value of the mean return against zero, as in
    Moskowitz, Ooi and Pedersen, "Time series momentum" (2012), with the volatility of the same bars. Window >= 2.
    """
    check_window("scaled_return", window, 2)

    def compute(bars):
        step = bars["log_return"]
        return ratio(total(step, window), np.sqrt(total(step * step, window)), empty=0.0)

    return Feature(f"scaled_return_{window}", window + 1, ("log_return",), compute)


def rsi(window: int) -> Feature:
    """Wilder's relative strength index, 0 (only falls) to 100 (only rises), 50 when nothing moved. Window >= 2.

    Wilder's average never forgets; here its weights (1 - 1/window)^k stop after 12 windows, where less than 6.2e-6 of the weight is left:
    off TA-Lib's by at most that share of 100 points times (average move before / since).
    """
    check_window("rsi", window, 2)

    def compute(bars):
        change = bars["change"]
        return 100 * ratio(wilder_sum(np.maximum(change, 0.0), window), wilder_sum(np.abs(change), window), empty=0.5)

    return Feature(f"rsi_{window}", wilder_rows(window) + 1, ("change",), compute)


def range_position(window: int) -> Feature:
    """Where the close lies between the lowest low (-1) and the highest high (+1) of `window` bars; 0 in the middle or without a range.

    Equals 1 + TA-Lib WILLR / 50 (Williams %R). Window >= 1.
    """
    check_window("range_position", window)

    def compute(bars):
        return _position(bars, window)

    return Feature(f"range_position_{window}", window, ("high", "low", "close"), compute)


def stochastic(window: int, smooth: int, signal: int) -> Feature:
    """Slow stochastic (Lane), -1 at the lows to +1 at the highs; parts k, d. Windows >= 1; smooth 1 is the fast one.

    k = SMA of `smooth` range positions of `window` bars, d = SMA of `signal` k. TA-Lib STOCH says the same as 50 (1 + k), 50 (1 + d).
    """
    for bars_averaged in (window, smooth, signal):
        check_window("stochastic", bars_averaged)

    def compute(bars):
        k = mean(_position(bars, window), smooth)
        return k, mean(k, signal)

    lookback = window + smooth + signal - 2
    return Feature(f"stochastic_{window}_{smooth}_{signal}", lookback, ("high", "low", "close"), compute, parts=("k", "d"))


def _position(bars, window: int) -> np.ndarray:
    top, bottom = highest(bars["high"], window), lowest(bars["low"], window)
    return 2 * ratio(bars["close"] - bottom, top - bottom, empty=0.5) - 1
