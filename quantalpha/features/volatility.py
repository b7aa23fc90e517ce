"""How much the price moves, whichever way."""

import numpy as np

from quantalpha.features.base import Feature, check_window
from quantalpha.features.windows import log_returns, mean, spread


def volatility(window: int) -> Feature:
    """Sample standard deviation of the last `window` one-bar log returns, per bar (0.01 is 1 % a bar; not annualised). Window >= 2."""
    check_window("volatility", window, 2)

    def compute(bars):
        _, deviation = spread(log_returns(bars["close"]), window)
        return deviation * np.sqrt(window / (window - 1))

    return Feature(f"volatility_{window}", window + 1, ("close",), compute)


def atr(window: int) -> Feature:
    """Average true range as a fraction of the close: the plain mean of `window` true ranges, for Wilder's never forgets. Window >= 1."""
    check_window("atr", window)

    def compute(bars):
        previous = np.concatenate(([np.nan], bars["close"][:-1]))
        true_range = np.maximum(bars["high"], previous) - np.minimum(bars["low"], previous)
        return mean(true_range, window) / bars["close"]

    return Feature(f"atr_{window}", window + 1, ("high", "low", "close"), compute)
