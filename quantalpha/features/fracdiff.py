"""Fractional differencing: a price made stationary with as much of its memory kept as that allows.

Sources: Hosking, "Fractional differencing" (Biometrika, 1981); Lopez de Prado, "Advances in Financial Machine Learning" (2018), chapter 5;
MacKinnon, "Approximate asymptotic distribution functions for unit-root and cointegration tests" (1994), for the p-values of the test.
"""

from statistics import NormalDist

import numpy as np
import pandas as pd

from quantalpha.errors import DataError, UsageError
from quantalpha.features.base import Feature, check_number
from quantalpha.windows import weighted_sum

FAMILY = "fractional_difference"
TOLERANCE = 1e-4  # where `fit_order` cuts the weights
STEPS = 100  # orders tried are hundredths: a finer one says nothing more, and makes an ugly name
LEAST_ROWS = 100  # differenced rows without which a test of stationarity means nothing


def fractional_weights(d: float, tolerance: float) -> np.ndarray:
    """float64[width]: the expansion of (1 - lag)^d, latest row first: w_0 = 1, w_k = -w_{k-1} (d - k + 1) / k.

    Cut before the first weight smaller than `tolerance` (at least 1e-7); d in [0, 2]. d = 0.4 at 1e-4 is 282 rows wide.
    """
    if not 0 <= d <= 2:
        raise UsageError(f"fractional_weights: expected d in [0, 2], found {d!r}")
    if not 1e-7 <= tolerance < 1:
        raise UsageError(f"fractional_weights: expected a tolerance in [1e-07, 1), found {tolerance!r}")
    weights, weight = [], 1.0
    while abs(weight) >= tolerance:
        weights.append(weight)
        weight *= (len(weights) - 1 - d) / len(weights)
    return np.array(weights)


def fractional_difference(x: np.ndarray, d: float, *, tolerance: float) -> np.ndarray:
    """float64[n]: `x` differenced d times with a fixed width: row i is the sum of weights[k] * x[i-k], NaN before the width is full.

    d = 0 leaves x alone, d = 1 is x[i] - x[i-1]. The sum is taken directly: by FFT its cost would not grow with the width, but each block
    would share its rounding error, so that a later bar, if it is huge, shows in the rows before it.
    """
    return weighted_sum(_series("fractional_difference", x), fractional_weights(d, tolerance))


def _series(name: str, x) -> np.ndarray:
    """float64[n], a copy."""
    x = np.array(x, dtype=float)
    if x.ndim != 1:
        raise UsageError(f"{name}: expected one series, float64[n], found {x.ndim} dimensions; take one column")
    return x


def find_minimum_d(x: np.ndarray, *, tolerance: float, significance: float = 0.05, lags: int = 1) -> float:
    """The smallest d, in hundredths of [0, 1], whose fractional difference of `x` has no unit root by the test of Dickey and Fuller.

    `x` (for prices: their logarithm) must be the TRAINING span alone: an order found on all bars has seen the test. Bisection: the answer
    passes and the order a hundredth below it does not. That it is the smallest of all holds where the p-value falls as d grows, as it
    nearly always does; it is not a theorem. DataError where not even d = 1 passes, or too few rows are left.
    """
    x = _series("find_minimum_d", x)
    if not np.isfinite(x).all():
        raise DataError(f"find_minimum_d: row {np.flatnonzero(~np.isfinite(x))[0]} is not a number; drop or mend it first")
    if isinstance(lags, bool) or not isinstance(lags, (int, np.integer)) or lags < 0 or not 0 < significance < 1:
        raise UsageError(
            f"find_minimum_d: expected lags >= 0 (a whole number) and 0 < significance < 1, found {lags!r} and {significance!r}"
        )

    def passes(step: int) -> bool:
        width = len(fractional_weights(step / STEPS, tolerance))
        least = width + lags + LEAST_ROWS
        if len(x) < least:
            raise DataError(f"find_minimum_d: d = {step / STEPS} at tolerance {tolerance:g} needs {least} rows, found {len(x)}; take more")
        return dickey_fuller(fractional_difference(x, step / STEPS, tolerance=tolerance)[width - 1 :], lags) < significance

    if not passes(STEPS):
        raise DataError("find_minimum_d: not even the first difference is stationary; look for constant or damaged prices")
    fails, found = -1, STEPS
    while found - fails > 1:
        middle = (fails + found) // 2
        fails, found = (fails, middle) if passes(middle) else (middle, found)
    return found / STEPS


def dickey_fuller(x: np.ndarray, lags: int = 1) -> float:
    """p-value of the augmented Dickey-Fuller test with a constant: small speaks against a unit root; NaN where x does not move.

    The t-value of b in x[i] - x[i-1] = a + b x[i-1] + sum of c_k (x[i-k] - x[i-k-1]), k = 1 .. lags, against MacKinnon's fit of its
    distribution; equals `adfuller(x, maxlag=lags, autolag=None)` of statsmodels.
    """
    change = np.diff(x)
    regressors = np.column_stack([x[lags:-1], *(change[lags - k : -k] for k in range(1, lags + 1))])
    regressors, target = regressors - regressors.mean(axis=0), change[lags:] - change[lags:].mean()
    size = np.sqrt((regressors**2).sum(axis=0))
    if not size.all():
        return np.nan
    regressors /= size  # levels and changes differ by orders of magnitude
    inverse = np.linalg.inv(regressors.T @ regressors)
    slopes = inverse @ (regressors.T @ target)
    error = ((target - regressors @ slopes) ** 2).sum() / (len(target) - lags - 2)
    statistic = slopes[0] / np.sqrt(error * inverse[0, 0])
    if statistic > 2.74 or statistic < -18.83:  # beyond MacKinnon's tables
        return float(statistic > 0)
    near = (0.038269, 1.4412, 2.1659) if statistic <= -1.61 else (-0.010368, -0.12745, 0.93202, 1.7339)
    return NormalDist().cdf(np.polyval(near, statistic))


def fractional_difference_feature(order: float, tolerance: float) -> Feature:
    """`fractional_difference` of the log close, a number of log price: order 0 is the log price itself, order 1 the log return.

    Order in (0, 1], tolerance at most it. Looks back `width` rows, as many as `fractional_weights` gives. Their sum is not quite 0, and
    that share of the level stays (0.36 of it for order 0.2 at 1e-3, 0.07 for 0.4 at 1e-4): it is the memory that is kept, and the reason
    why the order must be high enough for the column to be stationary (`find_minimum_d`). By the level trees can also learn the era: look
    whether forecasts are better without. Quoting the price in another unit adds that share of the unit's logarithm to every row.
    """
    order = check_number(FAMILY, "an order", order, 0.0, 1.0)
    weights = fractional_weights(order, check_number(FAMILY, "a tolerance", tolerance, 1e-7, order))

    def compute(bars):
        return weighted_sum(bars["log_close"], weights)

    return Feature(f"{FAMILY}_{order:g}_{tolerance:g}", len(weights), ("log_close",), compute)


def fit_order(bars: pd.DataFrame, tolerance: float = TOLERANCE) -> tuple[float, float]:
    """(order, tolerance) of the feature from the TRAINING bars: `find_minimum_d` of their log closes, at least 0.01."""
    return max(find_minimum_d(np.log(bars["close"].to_numpy()), tolerance=tolerance), 1 / STEPS), tolerance
