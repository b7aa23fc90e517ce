"""The straight line through the last log prices."""

from quantalpha.features.base import Feature, check_window
from quantalpha.windows import line_fit


def slope(window: int) -> Feature:
    """Least-squares slope of log close over `window` bars, log return a bar (0.001 is 0.1 % a bar); parts slope and fit. Window >= 3.

    The log return k bars ago weighs 6 (k + 1) (n - 1 - k) / (n (n^2 - 1)), a parabola: the middle ones most. fit: the share of the variance
    that the line explains (R squared), 0 to 1. Slope is TA-Lib LINEARREG_SLOPE of log prices, without the rounding that one carries over.
    """
    check_window("slope", window, 3)

    def compute(bars):
        return line_fit(bars["log_close"], window)

    return Feature(f"slope_{window}", window, ("log_close",), compute, parts=("slope", "fit"))
