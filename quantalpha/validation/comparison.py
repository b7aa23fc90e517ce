"""Is one better than the other, or was it luck? Tests of two series of the same rows, pair by pair."""

import math
from dataclasses import dataclass

import numpy as np

from quantalpha.errors import DataError, UsageError
from quantalpha.validation.bootstrap import block_length, resampled_means
from quantalpha.validation.metrics import finite

NAN = float("nan")


@dataclass(frozen=True)
class Difference:
    """Of the first from the second. p_value: two-sided, of "there is none"; NaN where the two never differ."""

    value: float
    statistic: float
    p_value: float


def diebold_mariano(first, second, horizon: int = 1) -> Difference:
    """Mean difference of two forecasts' losses, float64[n] in order of time: below 0 the first is better.

    horizon: rows a label may reach ahead: so far losses of neighbours share what comes. Diebold & Mariano (1995), with the variance of
    Newey & West (1987) over 2 * horizon lags, since triangular weights on `horizon` would see two thirds of the overlap, and the
    small-sample correction and t distribution of Harvey, Leybourne & Newbold (1997).
    """
    gap = _difference(first, second, "losses")
    if not 1 <= horizon <= len(gap) // 4:
        raise UsageError(f"diebold_mariano: expected a horizon of 1 to a quarter of {len(gap)} rows, found {horizon}")
    mean, variance = float(gap.mean()), newey_west(gap, 2 * horizon if horizon > 1 else 0) / len(gap)
    if variance <= 0:
        return Difference(mean, NAN, NAN)
    from scipy.stats import t

    small = math.sqrt((len(gap) + 1 - 2 * horizon + horizon * (horizon - 1) / len(gap)) / len(gap))
    statistic = mean / math.sqrt(variance) * small
    return Difference(mean, statistic, float(2 * t.sf(abs(statistic), len(gap) - 1)))


def newey_west(values: np.ndarray, lags: int) -> float:
    """Long-run variance: R(0) + 2 * sum of (1 - k / (lags + 1)) R(k) over lags k, R the autocovariances; never below 0."""
    centred = values - values.mean()
    covariance = np.array([centred[k:] @ centred[: len(centred) - k] for k in range(lags + 1)]) / len(centred)
    return float(covariance[0] + 2 * (1 - np.arange(1, lags + 1) / (lags + 1)) @ covariance[1:])


def sharpe_difference(first, second, *, periods_per_year: float = 365.0, paths: int = 2000, seed: int = 0) -> Difference:
    """Difference of the annualised Sharpe ratios of two series of simple returns of the same periods, float64[n].

    After Ledoit & Wolf (2008): both are resampled together, in blocks (stationary bootstrap), so that what they share stays shared; the
    p-value is the share of resamples that stray as far from the observed difference as that is from 0. statistic: the difference over the
    resamples' deviation, by which they are not studentised.
    """
    gap = _difference(first, second, "returns")
    if not gap.any():
        return Difference(0.0, NAN, NAN)
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    moments = np.column_stack([a, b, a**2, b**2])
    block = max(block_length(series) for series in (a, b, gap))
    observed = float(_sharpe_gap(moments.mean(axis=0)))
    resampled = _sharpe_gap(resampled_means(moments, block, paths, seed).T)
    strays = int((np.abs(resampled - observed) >= abs(observed)).sum() + (~np.isfinite(resampled)).sum())
    yearly, deviation = math.sqrt(periods_per_year), float(np.nanstd(resampled))
    return Difference(observed * yearly, observed / deviation if deviation > 0 else NAN, (1 + strays) / (1 + paths))


def _sharpe_gap(moments: np.ndarray):
    """Sharpe ratio a period of the first less that of the second, from the means of a, b, a^2, b^2."""
    a, b, a2, b2 = moments
    with np.errstate(invalid="ignore", divide="ignore"):
        return a / np.sqrt(a2 - a**2) - b / np.sqrt(b2 - b**2)


def _difference(first, second, what: str) -> np.ndarray:
    first, second = finite(first, what), finite(second, what)
    if first.shape != second.shape or first.ndim != 1 or first.size < 8:
        raise DataError(f"comparison: expected the {what} of the same rows twice, at least 8, found {first.shape} and {second.shape}")
    return first - second
