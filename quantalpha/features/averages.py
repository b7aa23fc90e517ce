"""Averages that never forget, cut where 6.2e-6 of their weight is left: a row then depends on finitely many bars.

The weight of a bar k rows ago is keep^k. The exponential average (EMA) of n bars keeps (n-1)/(n+1) and stops after 6 (n+1) rows; Wilder's
keeps 1 - 1/n and stops after 12 n. Both leave out less than TAIL = exp(-12) of all weight, whatever n.
"""

import math

from quantalpha.windows import decayed_mean, decayed_sum

TAIL = math.exp(-12)


def ema_rows(window: int) -> int:
    """Rows that the EMA of `window` bars sees."""
    return 6 * (window + 1)


def ema(x, window: int):
    """float64[n]: exponential average, its weights scaled to add up to one. Off the endless one by at most TAIL of their distance."""
    return decayed_mean(x, (window - 1) / (window + 1), ema_rows(window))


def ema_gap(change, window: int):
    """float64[n]: x minus its EMA, from the one-row changes of x: the sum of keep^(k+1) change[i-k]; exactly 0 where x is constant.

    Sees ema_rows(window) changes, one more row of x. The endless gap is this one plus keep^rows, less than TAIL, times the gap that many
    rows ago.
    """
    keep = (window - 1) / (window + 1)
    return keep * decayed_sum(change, keep, ema_rows(window))


def wilder_rows(window: int) -> int:
    """Rows that Wilder's average of `window` bars sees."""
    return 12 * window


def wilder_sum(x, window: int):
    """float64[n]: Wilder's smoothed sum of x, weights (1 - 1/window)^k."""
    return decayed_sum(x, 1 - 1 / window, wilder_rows(window))


def wilder_mean(x, window: int):
    """float64[n]: Wilder's average, its weights scaled to add up to one."""
    return decayed_mean(x, 1 - 1 / window, wilder_rows(window))
