"""What else could have come: the stationary bootstrap of Politis & Romano (1994), which keeps what follows what within random blocks."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numba import njit

from quantalpha.errors import DataError, UsageError
from quantalpha.validation.metrics import finite

CHUNK = 1 << 22  # row weights at a time


class Resampled(NamedTuple):
    """Of `paths` accounts that start at 1 and meet the returns again in another order. float64[paths], curves [paths, steps]."""

    final: np.ndarray
    mean: np.ndarray  # of the returns met
    deviation: np.ndarray  # their sample standard deviation
    max_drawdown: np.ndarray  # positive fraction
    lowest: np.ndarray  # lowest equity
    curves: np.ndarray  # equity after `steps` returns


def resample(returns, *, paths: int, block: float, seed: int, steps) -> Resampled:
    """Accounts as long as `returns`, made of blocks of them: each starts anywhere (the end is followed by the beginning) and has a
    geometric length of mean `block`.

    returns: float64[n], simple, at least -1. steps: int64[k], increasing, at most n; of each curve only these points are kept. The same
    seed gives the same paths, however many threads draw them.
    """
    values = finite(returns, "returns")
    if values.size < 2 or values.min() < -1.0:
        raise DataError(f"bootstrap: expected at least two returns, none below -1, found {values.size}")
    if paths < 1 or not 1.0 <= block <= values.size:
        raise UsageError(f"bootstrap: expected at least one path and a block of 1 to {values.size} returns, found {paths} and {block:g}")
    centre, steps = values.mean(), np.asarray(steps, dtype=np.int64)
    curves, rows = np.empty((paths, len(steps))), np.empty((paths, 5))

    def draw(path: int, generator: np.random.Generator) -> None:
        rows[path] = _path(values, centre, 1.0 / block, steps, generator, curves[path])

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(draw, range(paths), np.random.default_rng(seed).spawn(paths)))
    return Resampled(*rows.T, curves)


def resampled_means(values: np.ndarray, block: float, paths: int, seed: int) -> np.ndarray:
    """float64[paths, columns]: means of values [n, columns] over resampled rows, the same for every column, in blocks as in `resample`."""
    rows, generators = len(values), np.random.default_rng(seed).spawn(paths)
    means, step = np.empty((paths, values.shape[1])), max(CHUNK // rows, 1)
    for first in range(0, paths, step):
        drawn = generators[first : first + step]
        counts = np.zeros((len(drawn), rows))
        for k, generator in enumerate(drawn):
            _count(counts[k], 1.0 / block, generator)
        means[first : first + step] = counts @ values / rows
    return means


def block_length(values) -> float:
    """Mean block for the stationary bootstrap of a mean: Politis & White (2004), corrected by Patton, Politis & White (2009).

    2 (G / g)^2 n to the power 1/3, G and g sums of the autocovariances R(k), with and without |k|, up to twice the lag after which
    they are noise. Between 1 and min(3 sqrt(n), n / 3).
    """
    series = finite(values, "values") - np.mean(values)
    n = series.size
    if n < 8 or not series.any():
        return 1.0
    silent, most = max(5, int(np.ceil(np.sqrt(np.log10(n))))), int(np.ceil(np.sqrt(n)))
    covariance = _autocovariance(series, min(most + 2 * silent, n - 1))
    loud = np.abs(covariance[1:]) >= 2.0 * np.sqrt(np.log10(n) / n) * covariance[0]
    heard = np.flatnonzero(np.convolve(loud, np.ones(silent))[silent - 1 :][: most + 1] == 0.0)  # lags after which `silent` are noise
    last = heard[0] if heard.size else most
    window = min(2 * max(int(last), 1), most + silent, covariance.size - 1)
    lag = np.arange(-window, window + 1)
    weight = np.minimum(1.0, 2.0 * (1.0 - np.abs(lag) / window)) * covariance[np.abs(lag)]
    curvature, level = float((weight * np.abs(lag)).sum()), float(weight.sum())
    longest = min(3.0 * np.sqrt(n), n / 3.0)
    wanted = (curvature / level) ** 2 * n if level != 0.0 else np.inf
    return float(np.clip(wanted ** (1.0 / 3.0), 1.0, longest))


def _autocovariance(series: np.ndarray, lags: int) -> np.ndarray:
    """float64[lags + 1] of a series of mean 0, by Fourier transform."""
    from scipy.fft import irfft, next_fast_len, rfft

    size = next_fast_len(series.size + lags, real=True)
    return irfft(np.abs(rfft(series, size)) ** 2, size)[: lags + 1] / series.size


@njit(cache=True, nogil=True)
def _path(returns, centre, ends, steps, generator, curve):
    """(final, mean, deviation, max drawdown, lowest) of one path; its equity after `steps` returns into `curve`."""
    n, done, step, left, at = returns.size, 0, 0, 0, 0
    equity = peak = lowest = ratio = floor = 1.0
    total = square = 0.0
    while done < n:
        if left == 0:
            at, left = generator.integers(0, n), generator.geometric(ends)
        until = min(n - done, left, n - at)
        if step < steps.size:
            until = min(until, steps[step] - done)
        for k in range(at, at + until):
            distance = returns[k] - centre
            total += distance
            square += distance * distance
            equity *= 1.0 + returns[k]
            if equity > peak:
                peak, floor = equity, equity * ratio
            elif equity < floor:
                ratio, floor = equity / peak, equity
                lowest = min(lowest, equity)  # a lower equity than ever is a deeper drawdown than ever
        done, left, at = done + until, left - until, (at + until) % n
        if step < steps.size and steps[step] == done:
            curve[step] = equity
            step += 1
    deviation = np.sqrt(max(square - total * total / n, 0.0) / (n - 1))
    return equity, centre + total / n, deviation, 1.0 - ratio, lowest


@njit(cache=True, nogil=True)
def _count(counts, ends, generator):
    """How often each row is met on one path; the draws are those of `resample`, path by path."""
    n, done = counts.size, 0
    while done < n:
        at, length = generator.integers(0, n), generator.geometric(ends)
        for k in range(at, at + min(length, n - done)):
            counts[k % n] += 1.0
        done += length
