"""How much the price moves, whichever way. All in log returns or fractions of price a bar (0.01 is 1 %), not annualised."""

import math

import numpy as np

from quantalpha.features.base import Feature, check_order, check_window
from quantalpha.windows import lagged, mean, moments, ratio


def volatility(window: int) -> Feature:
    """Sample standard deviation of the last `window` one-bar log returns, per bar (0.01 is 1 % a bar; not annualised). Window >= 2."""
    check_window("volatility", window, 2)

    def compute(bars):
        return np.sqrt(_sample_variance(bars["log_return"], window))

    return Feature(f"volatility_{window}", window + 1, ("log_return",), compute)


def volatility_ratio(short: int, long: int) -> Feature:
    """volatility(short) / volatility(long) - 1: 0.5 is 50 % livelier than usual, -1 dead, 0 when nothing moved. 2 <= short < long."""
    check_order("volatility_ratio", ("short", "long"), (short, long), 2)

    def compute(bars):
        recent, usual = (_sample_variance(bars["log_return"], window) for window in (short, long))
        return np.sqrt(ratio(recent, usual, empty=1.0)) - 1

    return Feature(f"volatility_ratio_{short}_{long}", long + 1, ("log_return",), compute)


def downside(window: int) -> Feature:
    """Downside deviation: root mean square of the last `window` log returns, those above 0 counted as 0 (Sortino 1991). Window >= 1."""
    check_window("downside", window)

    def compute(bars):
        return np.sqrt(mean(np.minimum(bars["log_return"], 0.0) ** 2, window))

    return Feature(f"downside_{window}", window + 1, ("log_return",), compute)


def atr(window: int) -> Feature:
    """Average true range as a fraction of the close: the plain mean of `window` true ranges, for Wilder's never forgets. Window >= 1."""
    check_window("atr", window)

    def compute(bars):
        return mean(bars["true_range"], window) / bars["close"]

    return Feature(f"atr_{window}", window + 1, ("true_range", "close"), compute)


def parkinson(window: int) -> Feature:
    """Parkinson (1980): sqrt(mean(log(high / low)^2) / (4 log 2)) of `window` bars; as precise as 5 times as many closes. Window >= 1."""
    check_window("parkinson", window)

    def compute(bars):
        return np.sqrt(mean(bars["log_range"] ** 2, window) / (4 * math.log(2)))

    return Feature(f"parkinson_{window}", window, ("log_range",), compute)


def garman_klass(window: int) -> Feature:
    """Garman and Klass (1980): root of the mean of log(high / low)^2 / 2 - (2 log 2 - 1) log(close / open)^2 of `window` bars. Window >= 1.

    As precise as 7 times as many closes, for a price without drift that opens where it closed.
    """
    check_window("garman_klass", window)

    def compute(bars):
        body = np.log(bars["close"] / bars["open"])
        return np.sqrt(mean(0.5 * bars["log_range"] ** 2 - (2 * math.log(2) - 1) * body**2, window))

    return Feature(f"garman_klass_{window}", window, ("open", "close", "log_range"), compute)


def yang_zhang(window: int) -> Feature:
    """Yang and Zhang (2000): unbiased whatever the drift and the jumps between bars. Window >= 2.

    Variance = that of log(open / close before) + k that of log(close / open) + (1 - k) mean of Rogers and Satchell's u (u - c) + d (d - c),
    with u, d, c = log of high, low, close over the open, sample variances, k = 0.34 / (1.34 + (window + 1) / (window - 1)).
    """
    check_window("yang_zhang", window, 2)
    k = 0.34 / (1.34 + (window + 1) / (window - 1))

    def compute(bars):
        open_, close = bars["open"], bars["close"]
        jump, body = np.log(open_ / lagged(close, 1)), np.log(close / open_)
        up, down = np.log(bars["high"] / open_), np.log(bars["low"] / open_)
        inside = mean(up * (up - body) + down * (down - body), window)
        return np.sqrt(_sample_variance(jump, window) + k * _sample_variance(body, window) + (1 - k) * inside)

    return Feature(f"yang_zhang_{window}", window + 1, ("open", "high", "low", "close"), compute)


def _sample_variance(x: np.ndarray, window: int) -> np.ndarray:
    _, variance = moments(x, window)
    return variance * (window / (window - 1))
