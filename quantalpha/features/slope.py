"""The straight line through the last log prices."""

import numpy as np
from numba import njit

from quantalpha.features.base import Feature, check_window
from quantalpha.features.windows import stretches


@njit(cache=True)
def line_fit(x, window):
    """(slope a row, share of the variance explained) of the least-squares line through each window, float64[n]; both 0 for a constant x.

    Two neighbouring parts of a newer and b older rows with means p and q make one whose covariance with time, summed, is the sum of theirs
    and (p - q) a b / 2, for their middles lie (a + b) / 2 rows apart; means and square sums merge as in `windows.moments`.
    """
    slopes, explained = np.full(len(x), np.nan), np.full(len(x), np.nan)
    times = window * (window * window - 1.0) / 12.0  # square sum of the row numbers
    for first, end in stretches(len(x), window):
        part = x[first - window + 1 : end].astype(np.float64)
        square, rise = np.zeros(len(part)), np.zeros(len(part))
        wide, wide_square, wide_rise = np.zeros(len(part)), np.zeros(len(part)), np.zeros(len(part))
        mean, total, slope = np.zeros(end - first), np.zeros(end - first), np.zeros(end - first)
        size, done = 1, 0
        while done < window:
            if window & size:
                share, newest = size / (size + done), window - 1 - done
                for i in range(end - first):
                    gap = part[newest + i] - mean[i]
                    mean[i] += gap * share
                    total[i] += square[newest + i] + gap * gap * (share * done)
                    slope[i] += rise[newest + i] - gap * (0.5 * size * done)
                done += size
            step = 2 * size if end - first == 1 else 1
            for i in range(2 * size - 1 + (len(part) - done) % step, len(part), step):
                gap = part[i - size] - part[i]
                wide[i] = part[i] + 0.5 * gap
                wide_square[i] = square[i] + square[i - size] + gap * gap * (0.5 * size)
                wide_rise[i] = rise[i] + rise[i - size] - gap * (0.5 * size * size)
            part, wide, square, wide_square, rise, wide_rise = wide, part, wide_square, square, wide_rise, rise
            size *= 2
        for i in range(end - first):
            slopes[first + i] = slope[i] / times
            explained[first + i] = slope[i] * slope[i] / (times * total[i]) if total[i] != 0 else 0.0
    return slopes, np.minimum(explained, 1.0)


def slope(window: int) -> Feature:
    """Least-squares slope of log close over `window` bars, log return a bar (0.001 is 0.1 % a bar); parts slope and fit. Window >= 3.

    The log return k bars ago weighs 6 (k + 1) (n - 1 - k) / (n (n^2 - 1)), a parabola: the middle ones most. fit: the share of the variance
    that the line explains (R squared), 0 to 1. Slope is TA-Lib LINEARREG_SLOPE of log prices, without the rounding that one carries over.
    """
    check_window("slope", window, 3)

    def compute(bars):
        return line_fit(bars["log_close"], window)

    return Feature(f"slope_{window}", window, ("log_close",), compute, parts=("slope", "fit"))
