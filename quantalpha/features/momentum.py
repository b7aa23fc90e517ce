"""How far and how steadily the price has moved."""

import numpy as np

from quantalpha.features.base import Feature, check_window
from quantalpha.features.windows import highest, lowest, ratio, weighted_sum

RSI_MEMORY = 12  # windows of history the RSI looks back on


def returns(window: int) -> Feature:
    """Simple return over `window` bars (0.01 is +1 %), as TA-Lib ROCP. Window >= 1."""
    check_window("returns", window)

    def compute(bars):
        close = bars["close"]
        out = np.full(len(close), np.nan)
        out[window:] = close[window:] / close[:-window] - 1
        return out

    return Feature(f"returns_{window}", window + 1, ("close",), compute)


def rsi(window: int) -> Feature:
    """Wilder's relative strength index, 0 (only falls) to 100 (only rises), 50 when nothing moved. Window >= 2.

    Wilder's average never forgets; here its weights (1 - 1/window)^k stop after 12 windows, where less than 1e-5 of the weight is left,
    so it stays within 0.001 points of TA-Lib's unless the price moved 100 times more before than since.
    """
    check_window("rsi", window, 2)
    weights = (1 - 1 / window) ** np.arange(RSI_MEMORY * window)

    def compute(bars):
        change = np.diff(bars["close"], prepend=np.nan)
        rise = weighted_sum(np.maximum(change, 0.0), weights)
        return 100 * ratio(rise, weighted_sum(np.abs(change), weights), empty=0.5)

    return Feature(f"rsi_{window}", RSI_MEMORY * window + 1, ("close",), compute)


def range_position(window: int) -> Feature:
    """Where the close lies between the lowest low (-1) and the highest high (+1) of `window` bars; 0 in the middle or without a range.

    Equals 1 + TA-Lib WILLR / 50. Window >= 1.
    """
    check_window("range_position", window)

    def compute(bars):
        top, bottom = highest(bars["high"], window), lowest(bars["low"], window)
        return 2 * ratio(bars["close"] - bottom, top - bottom, empty=0.5) - 1

    return Feature(f"range_position_{window}", window, ("high", "low", "close"), compute)
