"""The shape and the tails of millions of returns: exact moments and order statistics in a few compiled passes, no sort."""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from quantalpha.validation.metrics import NAN, finite

SIDE, REACH = 512, 6.0  # the histogram that narrows a quantile down: bins on each side of 0, and how many mean absolute returns they span
LOOSE = {"reassoc", "contract"}  # sums may be taken in any order, which lets the compiler use vector instructions


class Shape(NamedTuple):
    """Population moments; NaN without variance."""

    skewness: float  # third central moment over deviation^3: below 0 the losses are the larger surprises
    kurtosis: float  # fourth central moment over deviation^4: 3 for a normal distribution


class TailRisk(NamedTuple):
    """Of the returns of single bars; NaN where undefined."""

    value_at_risk: float  # the loss that 1 - level of the bars exceed, a positive fraction
    expected_shortfall: float  # the mean loss of the bars that reach it
    tail_ratio: float  # the gain that 1 - level of the bars exceed over that loss: above 1 the good surprises are the larger ones


def shape(returns) -> Shape:
    """Of simple returns."""
    values = finite(returns, "returns")
    second, third, fourth = central_moments(values, values.mean()) if values.size else (0.0, 0.0, 0.0)
    return Shape(third / second**1.5, fourth / second**2) if second > 0.0 else Shape(NAN, NAN)


def tail_risk(returns, level: float = 0.95) -> TailRisk:
    """Empirical (historical) tails of simple returns; quantiles interpolate linearly between order statistics, as numpy's do."""
    values = finite(returns, "returns")
    if not values.size:
        return TailRisk(NAN, NAN, NAN)
    low, high = quantiles(values, (1.0 - level, level))
    return TailRisk(-low, -_mean_up_to(values, low), high / -low if low < 0.0 < high else NAN)


def quantiles(values: np.ndarray, shares) -> list[float]:
    """As `np.quantile(values, shares)`: a histogram tells in which bin an order statistic lies, and only that bin is searched."""
    spread = float(np.abs(values).mean())
    bins, counts = _histogram(values, SIDE / (REACH * spread) if spread > 0.0 else 0.0)
    upto = np.append(0, np.cumsum(counts))

    def ranked(*ranks: int) -> list[float]:
        first, last = np.searchsorted(upto, (ranks[0], ranks[-1]), side="right") - 1
        if first != last:
            return [value for rank in ranks for value in ranked(rank)]
        if first == SIDE:
            return [0.0] * len(ranks)
        places = np.array(ranks) - upto[first]
        return np.partition(values[bins == first], places)[places].tolist()

    found = []
    for share in shares:
        place, rest = divmod(share * (values.size - 1), 1.0)
        below, above = ranked(int(place), min(int(place) + 1, values.size - 1))
        found.append(below + (above - below) * rest)
    return found


@njit(cache=True, nogil=True, fastmath=LOOSE)
def central_moments(values, mean):
    """(second, third, fourth) of float64[n], n >= 1."""
    second = third = fourth = 0.0
    for k in range(values.size):
        distance = values[k] - mean
        square = distance * distance
        second += square
        third += square * distance
        fourth += square * square
    return second / values.size, third / values.size, fourth / values.size


@njit(cache=True, nogil=True)
def _histogram(values, scale):
    """(uint16[n] the bin of each value, int64[2 SIDE + 1] how many are in each), in order of the values.

    0 has the middle bin for itself, for most bars of many strategies are flat; what lies beyond the ends is in the outer bins. No branch:
    the sign of a return cannot be predicted.
    """
    bins, counts = np.empty(values.size, np.uint16), np.zeros(2 * SIDE + 1, np.int64)
    for k in range(values.size):
        place = min(max(values[k] * scale, 1.0 - SIDE), SIDE - 1.0)
        bins[k] = int(math.floor(place)) + SIDE + (values[k] > 0.0)
        counts[bins[k]] += 1
    return bins, counts


@njit(cache=True, nogil=True, fastmath=LOOSE)
def _mean_up_to(values, limit):
    total, count = 0.0, 0
    for k in range(values.size):
        low = values[k] <= limit
        total += values[k] if low else 0.0
        count += low
    return total / count
