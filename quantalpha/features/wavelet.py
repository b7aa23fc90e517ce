"""Wavelet denoising that looks only backwards: what a price would be without its noise, from the bars up to it.

The undecimated (a trous, maximal-overlap) transform: V_0 is the series; V_j is V_{j-1} smoothed by the scaling filter, its taps 2^(j-1)
rows apart and laid on the past alone; the details are D_j = V_{j-1} - V_j, so that x = V_J + D_1 + ... + D_J holds in every row. Details
within a threshold are taken for noise: each is shrunk towards zero by its level's threshold, that is, min(|D_j|, threshold) of it is
removed. Denoising a whole series at once, as `pywt.waverec` does, looks ahead by the length of its filters and to the last row for its
thresholds: nothing like it can be traded.

The noise is held to be white, as of prices that bounce between bid and ask, and its size is read from the finest level, where there is
least signal: the median size of its coefficients. (A noise scale of each level's own, as for correlated noise, takes the slow waves of the
coarse levels for noise: in `tests` such waves then lose more than noise would have cost.)

Sources: Percival and Walden, "Wavelet Methods for Time Series Analysis" (2000), chapter 5; Renaud, Starck and Murtagh, "Prediction based on
a multiscale decomposition" (2003), for the transform without a future; Donoho and Johnstone, "Adapting to unknown smoothness via wavelet
shrinkage" (1995), for the thresholds and the noise.
"""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from numba import njit

from quantalpha.errors import DataError, UsageError
from quantalpha.features.base import Feature, check_window
from quantalpha.windows import lagged, total, weighted_sum

FAMILY = "wavelet_denoise"
CANDIDATES = ("haar", "db2", "db4", "db6", "sym4", "coif1")
LEVELS, WINDOW = 4, 128  # what `fit_wavelet` takes unless told otherwise
FAMILIES = ("haar", "db", "sym", "coif")
LEAST_WINDOW, MOST_LEVELS = 8, 12
NORMAL_MEDIAN = 0.6744897501960817  # median of |z|, z standard normal


def denoise(x: np.ndarray, wavelet: str, levels: int, window: int) -> np.ndarray:
    """float64[n]: `x` without its noise; row i uses rows i - `denoise_lookback` + 1 .. i, and rows before that are NaN.

    wavelet: an orthogonal wavelet of PyWavelets ("haar", "db4", "sym4", "coif1"); levels: 1 to 12. The thresholds come from the trailing
    `window` (at least 8) coefficients of each level.
    """
    x = np.array(x, dtype=float)
    return x - _noise(x - lagged(x, 1), _filters(wavelet, levels), _check_noise_window(window))


def denoise_lookback(wavelet: str, levels: int, window: int) -> int:
    """Rows a denoised row sees: (2^levels - 1) (taps - 1) of the filters, and the window."""
    return len(detail_weights(wavelet, levels)[-1]) + window


def detail_weights(wavelet: str, levels: int) -> list[np.ndarray]:
    """For each level j the weights of the last changes of x, latest first, that give D_j: (2^j - 1) (taps - 1) of them.

    D_j is a filter of x whose weights add up to zero; summed by parts it is one of x's changes, so the level of x leaves no rounding.
    """
    if isinstance(levels, bool) or not isinstance(levels, (int, np.integer)) or not 1 <= levels <= MOST_LEVELS:
        raise UsageError(f"features.{FAMILY}: expected 1 to {MOST_LEVELS} levels (a whole number), found {levels!r}")
    taps, smooth, found = _scaling_filter(wavelet), np.ones(1), []
    for level in range(levels):
        apart = np.zeros((len(taps) - 1) * 2**level + 1)
        apart[:: 2**level] = taps
        smoother = np.convolve(smooth, apart)
        detail = -smoother
        detail[: len(smooth)] += smooth
        found.append(np.cumsum(detail)[:-1])
        smooth = smoother
    return found


def _scaling_filter(wavelet: str) -> np.ndarray:
    """float64[taps] that add up to one; of Daubechies' filters and their like the early taps weigh most: the least delay."""
    import pywt

    if wavelet not in [name for family in FAMILIES for name in pywt.wavelist(family)]:
        raise UsageError(
            f"features.{FAMILY}: expected an orthogonal wavelet of PyWavelets ({', '.join(CANDIDATES)} ...), found {wavelet!r}"
        )
    taps = np.array(pywt.Wavelet(wavelet).rec_lo)
    return taps / taps.sum()


def _check_noise_window(window: int) -> int:
    return check_window(FAMILY, window, LEAST_WINDOW)


def _filters(wavelet: str, levels: int) -> list[tuple[np.ndarray, float]]:
    """`detail_weights`, each with the size of the details that white noise of size one leaves."""
    weights = detail_weights(wavelet, levels)
    return [(level, float(np.sqrt((np.diff(level, prepend=0.0, append=0.0) ** 2).sum()))) for level in weights]


def _noise(changes: np.ndarray, filters: list[tuple[np.ndarray, float]], window: int) -> np.ndarray:
    """float64[n]: the part of the series taken for noise; `changes`: of the series, row by row."""
    longest = len(filters[-1][0])  # no level has work before the last one has its rows
    details = [weighted_sum(changes[longest - len(weights) :], weights)[len(weights) - 1 :] for weights, _ in filters]
    first, noise = [_first_sizes(detail, window) for detail in details], np.full(len(changes), np.nan)
    scale = _typical_size(details[0], first[0].copy()) / (NORMAL_MEDIAN * filters[0][1])
    noise[longest - 1 :] = sum(
        _removed(detail, scale * gain, total(detail * detail, window), sizes) for detail, sizes, (_, gain) in zip(details, first, filters)
    )
    return noise


def _first_sizes(details: np.ndarray, window: int) -> np.ndarray:
    """float64[window], sorted, of the first window: here, since numpy sorts eight times as fast as compiled code does."""
    sizes = np.full(window, np.nan)
    sizes[: len(details)] = np.abs(details[:window])
    return np.sort(sizes)


@njit(cache=True)
def _typical_size(details, ordered):
    """float64[n]: median of the sizes in the window; NaN where one of them is. ordered: the sorted sizes of the first window."""
    found, window, held = np.full(len(details), np.nan), len(ordered), _begin(ordered)
    for row in range(held, len(details)):
        held = _slide(ordered, held, details, row)
        if held == window:
            found[row] = 0.5 * (ordered[(window - 1) // 2] + ordered[window // 2])
    return found


@njit(cache=True)
def _removed(details, scale, energy, ordered):
    """float64[n]: each detail, held within plus and minus the threshold of the window, whose energy is the sum of its squares."""
    removed, window, held = np.full(len(details), np.nan), len(ordered), _begin(ordered)
    for row in range(held, len(details)):
        held = _slide(ordered, held, details, row)
        if held == window and scale[row] == scale[row]:
            limit = _threshold(ordered, scale[row], energy[row])
            removed[row] = min(max(details[row], -limit), limit)
    return removed


@njit(cache=True)
def _begin(ordered):
    """The row to begin at: the last one of the first window, or 0 where that window has a missing size, which sorts last."""
    return len(ordered) - 1 if ordered[-1] == ordered[-1] else 0


@njit(cache=True)
def _slide(ordered, held, details, row):
    """Keeps the sizes of the last details sorted, once there are enough of them; returns how many there are in a row."""
    new, window = abs(details[row]), len(ordered)
    if new != new or held + 1 < window:
        return 0 if new != new else held + 1
    if held < window:
        if row >= window:  # else they came sorted
            ordered[:] = np.sort(np.abs(details[row - window + 1 : row + 1]))
        return window
    gap, place = _rank(ordered, abs(details[row - window])), _rank(ordered, new)
    place -= place > gap  # one goes, one comes: the sizes between move up by one
    for i in range(gap, place):
        ordered[i] = ordered[i + 1]
    for i in range(gap, place, -1):
        ordered[i] = ordered[i - 1]
    ordered[place] = new
    return window


@njit(cache=True)
def _rank(ordered, value):
    """How many are smaller: counted, which is faster here than a search that guesses wrong at every turn."""
    count = 0
    for i in range(len(ordered)):
        count += ordered[i] < value
    return count


@njit(cache=True)
def _threshold(ordered, scale, energy):
    """SureShrink: the threshold of soft shrinkage for sorted sizes of coefficients with noise of that scale, in their unit.

    With sizes in units of the noise: where mean(size^2) - 1 <= log2(n)^1.5 / sqrt(n) there is too little signal for an estimate, and the
    threshold is the universal one, sqrt(2 log n); else the size t of a coefficient, or 0, not above the universal one, with the smallest
    estimate of the risk, n - 2 #{size <= t} + sum of min(size, t)^2 (Stein). No noise, no threshold.
    """
    n = len(ordered)
    if scale == 0.0:
        return 0.0
    per_scale, universal = 1.0 / scale, math.sqrt(2.0 * math.log(n))
    if energy * per_scale * per_scale / n - 1.0 <= math.log2(n) ** 1.5 / math.sqrt(n):
        return universal * scale
    best, risk, below = 0.0, float(n), 0.0
    for i in range(n):
        size = ordered[i] * per_scale
        if size > universal:
            break
        below += size * size
        now = n - 2.0 * (i + 1) + below + (n - i - 1) * size * size
        if now < risk:
            best, risk = size, now
    return best * scale


def wavelet_denoise(wavelet: str, levels: int, window: int) -> Feature:
    """The log close against its denoised self (`denoise`), thresholds from the last `window` coefficients of each of `levels` levels.

    distance  log close - denoised log close: 0.01 is about 1 % above it; 0 where more than half of the window did not move
    change    denoised log close - the one of the bar before: a log return without the noise

    Looks back (2^levels - 1) (taps - 1) + window + 1 rows: 234 for ["db4", 4, 128]. Levels 1 to 12, window >= 8.
    """
    filters, window = _filters(wavelet, levels), _check_noise_window(window)

    def compute(bars):
        noise = _noise(bars["log_return"], filters, window)
        return noise, bars["log_return"] - (noise - lagged(noise, 1))

    lookback = denoise_lookback(wavelet, levels, window) + 1
    return Feature(f"{FAMILY}_{wavelet}_{levels}_{window}", lookback, ("log_return",), compute, parts=("distance", "change"))


def choose_wavelet(x: np.ndarray, candidates: Iterable[str] = CANDIDATES, *, levels: int = LEVELS, window: int = WINDOW) -> str:
    """The candidate whose denoised `x` lies nearest to the NEXT row of x: the smallest mean |x[i+1] - denoised[i]|, the first of equals.

    What is noise is gone in the next row, what is signal is still there. All candidates are judged on the same rows. `x` must be the
    TRAINING span alone: a wavelet chosen on all rows has seen the test. In a random walk nothing is noise, and the choice says little.
    """
    x, candidates = np.array(x, dtype=float), tuple(candidates)
    if not candidates:
        raise UsageError("choose_wavelet: expected at least one candidate, found none")
    first = max(denoise_lookback(wavelet, levels, window) for wavelet in candidates) - 1
    if len(x) < first + 2 or not np.isfinite(x).all():
        raise DataError(f"choose_wavelet: expected at least {first + 2} rows, all of them numbers, found {len(x)} rows; take more bars")
    errors = [np.abs(x[first + 1 :] - denoise(x, wavelet, levels, window)[first:-1]).mean() for wavelet in candidates]
    return candidates[int(np.argmin(errors))]


def fit_wavelet(bars: pd.DataFrame, levels: int = LEVELS, window: int = WINDOW) -> tuple[str, int, int]:
    """(wavelet, levels, window) of the feature from the TRAINING bars: `choose_wavelet` for their log closes."""
    return choose_wavelet(np.log(bars["close"].to_numpy()), levels=levels, window=window), levels, window
