"""Does choosing the best on one half of the data find what is good on the other?

Combinatorially symmetric cross-validation: Bailey, Borwein, Lopez de Prado & Zhu, The probability of backtest overfitting, Journal of
Computational Finance 20 (2017).
"""

import math
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numba import njit

from quantalpha.errors import DataError, UsageError
from quantalpha.validation.matrix import moving, return_matrix

CHUNK = 1 << 18  # Sharpe ratios at a time: what fits in a core's cache
MOST = 20  # blocks: 184,756 combinations
FLAT = 1e-12  # variance over mean square below which a half is flat but for rounding


@dataclass(frozen=True, eq=False)
class Overfitting:
    """What became of the best try of each half, float64[combinations]; Sharpe ratios per period, NaN where the half is flat."""

    pbo: float  # share of combinations whose best try in sample is at or below the median out of sample
    logits: np.ndarray  # log(rank / (tries + 1 - rank)) of its rank out of sample, 1 the worst: below 0 is below the median
    slope: float  # performance degradation: of out_of_sample on in_sample, least squares; NaN where undefined
    probability_of_loss: float  # share of combinations whose best try loses out of sample, or does nothing there
    in_sample: np.ndarray
    out_of_sample: np.ndarray


def probability_of_backtest_overfitting(returns, *, blocks: int = 16) -> Overfitting:
    """Every choice of half of `blocks` consecutive blocks of rows is once the sample, and the other half what comes after.

    returns: [rows, tries], simple per-period returns, two tries or more, at least two rows a block; rows that are left over lengthen the
    first blocks by one. A try without variance ranks last, ties share their ranks, and where no try has variance in sample nothing can be
    chosen, which counts as the worst. blocks: even, at most 20.
    """
    values = return_matrix(returns).to_numpy()
    rows, tries = values.shape
    if blocks not in range(2, MOST + 1, 2):
        raise UsageError(f"overfitting: expected an even number of 2 to {MOST} blocks, found {blocks}")
    if tries < 2 or rows < 2 * blocks or not moving(values).any():
        raise DataError(
            f"overfitting: expected two tries or more, one of which moves, and {2 * blocks} rows for {blocks} blocks, "
            f"found {tries} tries of {rows} rows"
        )
    sums, halves = _block_sums(values, int(blocks)), _halves(int(blocks))
    step = max(CHUNK // tries, 1)
    parts = [part for first in range(0, len(halves), step) for part in _judged(sums, halves[first : first + step])]
    rank, inside, outside = np.concatenate(parts, axis=1)
    logits = np.log(rank / (tries + 1 - rank))
    return Overfitting(
        pbo=float((logits <= 0.0).mean()),
        logits=logits,
        slope=_slope(inside, outside),
        probability_of_loss=float((outside < 0.0).mean()),
        in_sample=np.where(np.isfinite(inside), inside, np.nan),
        out_of_sample=np.where(np.isfinite(outside), outside, np.nan),
    )


class _BlockSums(NamedTuple):
    """Of each try in each block, [blocks, tries]; a Sharpe ratio of any blocks needs no more."""

    size: np.ndarray  # float64[blocks] rows
    first: np.ndarray  # sums of standardised returns, so that no digits are lost
    second: np.ndarray  # and of their squares
    ratio: np.ndarray  # float64[tries] mean over deviation, which standardising took away


def _block_sums(values: np.ndarray, blocks: int) -> _BlockSums:
    moves, mean = moving(values), values.mean(axis=0)
    deviation = np.where(moves, values.std(axis=0), 1.0)
    parts = np.array_split(np.where(moves, (values - mean) / deviation, 0.0), blocks)
    return _BlockSums(
        size=np.array([float(len(part)) for part in parts]),
        first=np.array([part.sum(axis=0) for part in parts]),
        second=np.array([np.einsum("ij,ij->j", part, part) for part in parts]),
        ratio=np.where(moves, mean / deviation, 0.0),
    )


@njit(cache=True, nogil=True)
def _sharpe_ratios(halves, sums):
    """float64[combinations, tries] over the blocks that bool[combinations, blocks] marks; -inf without variance."""
    combinations, blocks = halves.shape
    out, square = np.empty((combinations, sums.ratio.size)), np.empty(sums.ratio.size)
    for c in range(combinations):
        count, mean = 0.0, out[c]
        mean[:], square[:] = 0.0, 0.0
        for b in range(blocks):
            if halves[c, b]:
                count += sums.size[b]
                mean += sums.first[b]
                square += sums.second[b]
        mean /= count
        square /= count
        for k in range(mean.size):
            spread = square[k] - mean[k] * mean[k]
            flat = spread <= FLAT * square[k]
            mean[k] = -np.inf if flat else (sums.ratio[k] + mean[k]) / math.sqrt(spread * count / (count - 1.0))
    return out


def _halves(blocks: int) -> np.ndarray:
    """bool[combinations / 2, blocks]: the halves that hold the first block; their complements are all the others."""
    chosen = np.array([(0, *rest) for rest in combinations(range(1, blocks), blocks // 2 - 1)])
    halves = np.zeros((len(chosen), blocks), dtype=bool)
    np.put_along_axis(halves, chosen, True, axis=1)
    return halves


def _judged(sums: _BlockSums, halves: np.ndarray) -> list[np.ndarray]:
    """Each half judged on the other, then the reverse."""
    one, other = _sharpe_ratios(halves, sums), _sharpe_ratios(~halves, sums)
    return [_ranked(one, other), _ranked(other, one)]


def _ranked(inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """float64[3, combinations]: the rank outside of the try that is best inside (1 the worst), and its Sharpe ratio inside and outside."""
    best = inside.argmax(axis=1)[:, None]
    chosen, result = np.take_along_axis(inside, best, axis=1), np.take_along_axis(outside, best, axis=1)
    rank = (outside < result).sum(axis=1) + ((outside == result).sum(axis=1) + 1) / 2
    nothing = np.isneginf(chosen[:, 0])
    return np.stack([np.where(nothing, 1.0, rank), chosen[:, 0], np.where(nothing, -np.inf, result[:, 0])])


def _slope(inside: np.ndarray, outside: np.ndarray) -> float:
    known = np.isfinite(inside) & np.isfinite(outside)
    if known.sum() < 2 or np.ptp(inside[known]) == 0.0:
        return float("nan")
    distance = inside[known] - inside[known].mean()
    return float(distance @ outside[known] / (distance @ distance))
