"""Trailing-window sums, spreads and extremes that every feature is made of.

Row i of each result sees x[i-window+1 .. i] and nothing else; the first window-1 rows are NaN. Each row is summed afresh in the same
order, so the last row of a short slice equals, bit for bit, the same row of a long history (a running sum would not).
"""

import numpy as np
from numba import njit


@njit(cache=True)
def weighted_sum(x, weights):
    """float64[n]: sum of weights[k] * x[i-k]; weights[0] belongs to the latest row."""
    out = np.full(len(x), np.nan)
    for i in range(len(weights) - 1, len(x)):
        total = 0.0
        for k in range(len(weights)):
            total += weights[k] * x[i - k]
        out[i] = total
    return out


@njit(cache=True)
def spread(x, window):
    """(x minus its mean, population standard deviation), each float64[n]; both exactly 0 where x is constant.

    Values are measured from the latest one first, so that a constant leaves no rounding behind.
    """
    distance = np.full(len(x), np.nan)
    deviation = np.full(len(x), np.nan)
    for i in range(window - 1, len(x)):
        mean = 0.0
        for j in range(i - window + 1, i + 1):
            mean += x[j] - x[i]
        mean /= window
        square = 0.0
        for j in range(i - window + 1, i + 1):
            square += (x[j] - x[i] - mean) ** 2
        distance[i] = -mean
        deviation[i] = np.sqrt(square / window)
    return distance, deviation


@njit(cache=True)
def highest(x, window):
    """float64[n]: the largest of the window, NaN if any is NaN."""
    out = np.full(len(x), np.nan)
    for i in range(window - 1, len(x)):
        best = x[i - window + 1]
        for j in range(i - window + 2, i + 1):
            if x[j] > best or np.isnan(x[j]):
                best = x[j]
        out[i] = best
    return out


def lowest(x, window):
    """float64[n]: the smallest of the window, NaN if any is NaN."""
    return -highest(-x, window)


def mean(x, window):
    """float64[n]: the plain average."""
    return weighted_sum(x, np.ones(window)) / window


def log_returns(close):
    """float64[n]: one-bar log returns; the first is NaN."""
    out = np.full(len(close), np.nan)
    out[1:] = np.log(close[1:] / close[:-1])
    return out


def ratio(numerator, denominator, empty):
    """numerator / denominator, and `empty` where the denominator is 0; NaN stays NaN."""
    out = np.full(len(numerator), float(empty))
    return np.divide(numerator, denominator, out=out, where=denominator != 0)
