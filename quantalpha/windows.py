"""Trailing-window sums, moments and extremes that features and labels are made of.

Row i of each result sees x[i-window+1 .. i] and nothing else; the first window-1 rows are NaN, and so is every row whose window holds one.
A window of 2m rows is its newer half and its older half, so log2(window) passes over the array give all rows at once. The shape of that
tree depends on the window alone: the last row of a short slice equals, bit for bit, the same row of a long history. (A running sum, as in
TA-Lib or pandas, carries the rounding of everything before it.)
"""

import numpy as np
from numba import njit

BLOCK = 4096  # rows worked on together, so that all passes find them in the cache

# `newer` and `older` below are views of the same rows: an index that counts from 0 is what the compiler makes vector code of.


@njit(cache=True)
def decayed_sum(x, keep, window):
    """float64[n]: sum of keep^k * x[i-k] over the window; keep 1 is a plain sum."""
    out = np.full(len(x), np.nan)
    block = max(BLOCK, 4 * window)
    for first in range(window - 1, len(x), block):  # reads the window-1 rows before `first` too
        end = min(first + block, len(x))
        part = x[first - window + 1 : end].astype(np.float64)
        total, wider = np.zeros(end - first), np.empty(len(part))
        size, done, factor, reached = 1, 0, keep, 1.0
        while done < window:
            if window & size:
                newest = part[window - 1 - done : len(part) - done]
                for i in range(len(total)):
                    total[i] += reached * newest[i]
                reached, done = reached * factor, done + size
            newer, older, joined = part[size:], part[: len(part) - size], wider[size:]
            for i in range(len(joined)):
                joined[i] = newer[i] + factor * older[i]
            part, wider, size, factor = wider, part, 2 * size, factor * factor
        out[first:end] = total
    return out


@njit(cache=True)
def moments(x, window):
    """(mean, population variance), float64[n] each; the variance is exactly 0 where x is constant.

    Two parts of a and b rows with means p and q and square sums P and Q make one with mean p + (q - p) b / (a + b) and square sum
    P + Q + (q - p)^2 a b / (a + b): Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances"
    (1979). Nothing is ever subtracted that was added.
    """
    means, variances = np.full(len(x), np.nan), np.full(len(x), np.nan)
    block = max(BLOCK, 4 * window)
    for first in range(window - 1, len(x), block):  # reads the window-1 rows before `first` too
        end = min(first + block, len(x))
        part = x[first - window + 1 : end].astype(np.float64)
        square, wide, wide_square = np.zeros(len(part)), np.zeros(len(part)), np.zeros(len(part))
        mean, total = np.zeros(end - first), np.zeros(end - first)
        size, done = 1, 0
        while done < window:
            if window & size:
                share, weight = size / (size + done), size / (size + done) * done
                newest, newest_square = part[window - 1 - done : len(part) - done], square[window - 1 - done : len(part) - done]
                for i in range(len(mean)):
                    gap = newest[i] - mean[i]
                    mean[i] += gap * share
                    total[i] += newest_square[i] + gap * gap * weight
                done += size
            newer, older, joined = part[size:], part[: len(part) - size], wide[size:]
            newer_square, older_square, joined_square = square[size:], square[: len(part) - size], wide_square[size:]
            for i in range(len(joined)):
                gap = older[i] - newer[i]
                joined[i] = newer[i] + 0.5 * gap
                joined_square[i] = newer_square[i] + older_square[i] + gap * gap * (0.5 * size)
            part, wide, square, wide_square, size = wide, part, wide_square, square, 2 * size
        means[first:end], variances[first:end] = mean, total / window
    return means, variances


@njit(cache=True)
def line_fit(x, window):
    """(slope a row, share of the variance explained) of the least-squares line through each window, float64[n]; both 0 for a constant x.

    Two neighbouring parts of a newer and b older rows with means p and q make one whose covariance with time, summed, is the sum of theirs
    and (p - q) a b / 2, for their middles lie (a + b) / 2 rows apart; means and square sums merge as in `moments`.
    """
    slopes, times = np.full(len(x), np.nan), window * (window * window - 1.0) / 12.0  # square sum of the row numbers
    block = max(BLOCK, 4 * window)
    for first in range(window - 1, len(x), block):  # reads the window-1 rows before `first` too
        end = min(first + block, len(x))
        part, rise = x[first - window + 1 : end].astype(np.float64), np.zeros(end - first + window - 1)
        wide, wide_rise = np.zeros(len(part)), np.zeros(len(part))
        mean, slope = np.zeros(end - first), np.zeros(end - first)
        size, done = 1, 0
        while done < window:
            if window & size:
                share, newest, newest_rise = size / (size + done), part[window - 1 - done :], rise[window - 1 - done :]
                for i in range(len(mean)):
                    gap = newest[i] - mean[i]
                    mean[i] += gap * share
                    slope[i] += newest_rise[i] - gap * (0.5 * size * done)
                done += size
            newer, older, joined = part[size:], part[: len(part) - size], wide[size:]
            newer_rise, older_rise, joined_rise = rise[size:], rise[: len(part) - size], wide_rise[size:]
            for i in range(len(joined)):
                gap = older[i] - newer[i]
                joined[i] = newer[i] + 0.5 * gap
                joined_rise[i] = newer_rise[i] + older_rise[i] - gap * (0.5 * size * size)
            part, wide, rise, wide_rise, size = wide, part, wide_rise, rise, 2 * size
        slopes[first:end] = slope / times
    squares = moments(x, window)[1] * window
    explained = np.full(len(x), np.nan)
    for i in range(window - 1, len(x)):
        explained[i] = min(slopes[i] * slopes[i] * times / squares[i], 1.0) if squares[i] != 0 else 0.0
    return slopes, explained


@njit(cache=True)
def highest(x, window):
    """float64[n]: the largest of the window, NaN if any is NaN."""
    out = np.full(len(x), np.nan)
    block = max(BLOCK, 4 * window)
    for first in range(window - 1, len(x), block):  # reads the window-1 rows before `first` too
        end = min(first + block, len(x))
        best = x[first - window + 1 : end].astype(np.float64)
        wider, size = np.empty(len(best)), 1
        while size < window:
            step = min(size, window - size)  # two halves may overlap: the largest does not mind
            newer, older, joined = best[step:], best[: len(best) - step], wider[step:]
            for i in range(len(joined)):
                new, old = newer[i], older[i]
                joined[i] = new if new >= old or new != new else old
            best, wider, size = wider, best, size + step
        out[first:end] = best[window - 1 :]
    return out


@njit(cache=True)
def weighted_sum(x, weights):
    """float64[n]: sum of weights[k] * x[i-k]; weights[0] belongs to the latest row. Costs a pass a weight."""
    rows, width, block = len(x), len(weights), 1024
    out = np.full(rows, np.nan)
    for first in range(width - 1, rows, block):  # a block stays in the cache while the weights pass over it
        end = min(first + block, rows)
        total = np.zeros(end - first)
        for k in range(width):
            weight, past = weights[k], x[first - k : end - k]
            for i in range(len(total)):
                total[i] += weight * past[i]
        out[first:end] = total
    return out


def lowest(x, window):
    """float64[n]: the smallest of the window, NaN if any is NaN."""
    return -highest(-x, window)


def total(x, window):
    """float64[n]: the plain sum."""
    return decayed_sum(x, 1.0, window)


def mean(x, window):
    """float64[n]: the plain average."""
    return decayed_sum(x, 1.0, window) / window


def decayed_mean(x, keep, window):
    """float64[n]: the average with weights keep^k, scaled to add up to one over the window."""
    return decayed_sum(x, keep, window) * ((1.0 - keep) / (1.0 - keep**window))


def spread(x, window):
    """(x minus its mean, population standard deviation), each float64[n]; both exactly 0 where x is constant."""
    average, variance = moments(x, window)
    return x - average, np.sqrt(variance)


@njit(cache=True)
def lagged(x, rows):
    """float64[n]: x of `rows` rows ago, NaN at the start."""
    out = np.empty(len(x))
    out[:rows] = np.nan
    out[rows:] = x[: max(len(x) - rows, 0)]
    return out


@njit(cache=True, error_model="numpy")
def ratio(numerator, denominator, empty):
    """numerator / denominator, and `empty` where the denominator is 0; NaN stays NaN."""
    out = np.empty(len(numerator))
    for i in range(len(numerator)):
        out[i] = numerator[i] / denominator[i] if denominator[i] != 0 else empty
    return out
