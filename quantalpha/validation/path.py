"""One pass over an equity path: what its return, risk and drawdown figures are made of. Compiled; several threads may call it at once."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from quantalpha.errors import DataError
from quantalpha.validation.metrics import cagr

BLOCK = 1024  # bars looked at while they are in the fastest memory; sums of blocks are joined, so that rounding does not grow with length
DAYS = 365.0  # in a year: the market never closes
LOOSE = {"reassoc", "contract"}  # sums may be taken in any order, which lets the compiler use vector instructions


class EquityStatistics(NamedTuple):
    """Of the n returns equity[i] / equity[i - 1] - 1 (the first on the initial cash, 0 once nothing is left) and of the drawdowns
    1 - equity[i] / highest equity so far, initial cash included. Positive fractions; nothing annualised; NaN where undefined."""

    bars: int
    initial: float
    final: float
    mean: float  # of the returns
    deviation: float  # sample standard deviation; 0.0 exactly when all returns are equal
    downside: float  # root of the mean of min(return, 0)^2
    gains: float  # sum of positive returns
    losses: float  # minus the sum of negative ones
    max_drawdown: float
    max_drawdown_bars: int  # of that drawdown, from its peak to the first bar that is as high again, or to the last bar
    longest_drawdown_bars: int  # of the longest drawdown, counted alike
    average_drawdown: float  # mean over all bars
    ulcer_index: float  # root of the mean of drawdown^2


@njit(cache=True, nogil=True)
def equity_statistics(equity, initial):
    """EquityStatistics of equity float64[n] (n >= 1, finite, not negative) that grew from `initial` > 0.

    Standard deviation by blocks, joined after Chan, Golub & LeVeque (1983): a shifted or a long path loses no digits.
    """
    n = equity.size
    change, depth = np.empty(BLOCK), np.empty(BLOCK)
    mean = square = downside = gains = losses = depths = depths_square = 0.0
    differing = 0
    high = Highest(initial, -1, initial, 0.0, -2, 0, 0)
    for start in range(0, n, BLOCK):
        end = min(start + BLOCK, n)
        size = end - start
        _returns(equity, start, size, initial, change)
        inside, squares, down, gained, lost, others = _sums(change, size, equity[0] / initial - 1.0)
        step = inside - mean
        square += squares + step * step * start * size / end
        mean += step * size / end
        downside, gains, losses, differing = downside + down, gains + gained, losses + lost, differing + others
        high = _drawdowns(equity, start, size, high, depth)
        total, total_square = _depths(depth, size)
        depths, depths_square = depths + total, depths_square + total_square
    high = _ended(high, n - 1) if equity[n - 1] < high.equity else high
    deviation = np.nan if n < 2 else np.sqrt(square / (n - 1)) if differing > 0 else 0.0
    return EquityStatistics(
        n, initial, equity[n - 1], mean, deviation, np.sqrt(downside / n), gains, losses,
        high.depth, high.depth_bars, high.longest, depths / n, np.sqrt(depths_square / n),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def simple_returns(equity, initial):
    """float64[n]: the returns that `equity_statistics` speaks of."""
    change = np.empty(equity.size)
    _returns(equity, 0, equity.size, initial, change)
    return change


def path_metrics(equity, initial: float, *, periods_per_year: float) -> dict[str, float]:
    """The names of `Result.metrics` that need no more than the equity path; plain floats, NaN where undefined. DataError for no path."""
    values = np.ascontiguousarray(equity, dtype=float)
    if not values.size or not initial > 0.0:
        raise DataError(f"equity: expected at least one value and a start above 0, found {values.size} and {initial}")
    found = equity_statistics(values, float(initial))
    if not np.isfinite(found.mean):
        raise DataError(f"equity: row {int(np.argmin(np.isfinite(values)))} of {values.size} is no number")
    return annualised(found, periods_per_year)


def annualised(path: EquityStatistics, periods_per_year: float) -> dict[str, float]:
    """Ratios as in `metrics` (risk-free rate 0, threshold 0), drawdown lengths in bars and in days of the mean bar."""
    root, bar_days = math.sqrt(periods_per_year), DAYS / periods_per_year
    growth = cagr((path.initial, path.final), periods_per_year=periods_per_year / path.bars)
    return {
        "total_return": path.final / path.initial - 1.0,
        "cagr": growth,
        "volatility": path.deviation * root,
        "sharpe_ratio": _ratio(path.mean, path.deviation) * root,
        "sortino_ratio": _ratio(path.mean, path.downside) * root,
        "calmar_ratio": _ratio(growth, path.max_drawdown),
        "omega_ratio": _ratio(path.gains, path.losses),
        "max_drawdown": path.max_drawdown,
        "max_drawdown_bars": float(path.max_drawdown_bars),
        "max_drawdown_days": path.max_drawdown_bars * bar_days,
        "longest_drawdown_days": path.longest_drawdown_bars * bar_days,
        "average_drawdown": path.average_drawdown,
        "ulcer_index": path.ulcer_index,
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0.0 else np.nan


class Highest(NamedTuple):
    """How far the search for drawdowns has come."""

    equity: float  # highest so far
    bar: int  # where it was
    floor: float  # equity below which the drawdown is deeper than any before
    depth: float  # deepest drawdown
    depth_bar: int  # the bar of the peak it fell from
    depth_bars: int
    longest: int


@njit(cache=True, nogil=True, fastmath=LOOSE)
def _returns(equity, start, size, initial, change):
    """Into `change`."""
    for k in range(size):
        before = equity[start + k - 1] if start + k > 0 else initial
        change[k] = equity[start + k] / before - 1.0 if before > 0.0 else 0.0


@njit(cache=True, nogil=True, fastmath=LOOSE)
def _sums(change, size, first):
    """(mean, sum of squared distances from it, sum of squared losses, sum of gains, of losses, how many returns differ from `first`)."""
    total = square = downside = gains = losses = 0.0
    for k in range(size):
        total += change[k]
    mean, differing = total / size, 0
    for k in range(size):
        distance, loss = change[k] - mean, min(change[k], 0.0)
        square += distance * distance
        downside += loss * loss
        gains += max(change[k], 0.0)
        losses -= loss
        differing += change[k] != first
    return mean, square, downside, gains, losses, differing


@njit(cache=True, nogil=True)
def _drawdowns(equity, start, size, high, depth):
    """Each bar's drawdown into `depth`; divides at new highs only."""
    peak, bar, floor, deepest, depth_bar, depth_bars, longest = high
    inverse = 1.0 / peak
    for k in range(size):
        value = equity[start + k]
        if value >= peak:
            lasted = start + k - bar
            if lasted > 1:  # something lay between the two highs
                longest = max(longest, lasted)
                depth_bars = lasted if depth_bar == bar else depth_bars
            peak, bar, floor, inverse = value, start + k, value * (1.0 - deepest), 1.0 / value
            depth[k] = 0.0
            continue
        depth[k] = 1.0 - value * inverse
        if value < floor:
            floor, deepest, depth_bar = value, 1.0 - value / peak, bar
    return Highest(peak, bar, floor, deepest, depth_bar, depth_bars, longest)


@njit(cache=True, nogil=True, fastmath=LOOSE)
def _depths(depth, size):
    """(sum, sum of squares)."""
    total = square = 0.0
    for k in range(size):
        total += depth[k]
        square += depth[k] * depth[k]
    return total, square


@njit(cache=True, nogil=True)
def _ended(high, last):
    """The drawdown still open at bar `last` counts up to it."""
    lasted = last - high.bar
    depth_bars = lasted if high.depth_bar == high.bar else high.depth_bars
    return Highest(high.equity, high.bar, high.floor, high.depth, high.depth_bar, depth_bars, max(high.longest, lasted))
