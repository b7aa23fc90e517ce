"""Which way the clearest trend ahead goes."""

import numpy as np
import pandas as pd
from numba import njit

from quantalpha import schema
from quantalpha.errors import UsageError
from quantalpha.labels.table import check_bars_ahead, check_entry, end_times, entry_prices, is_number

ROUNDING = np.finfo(np.float64).eps  # residuals below this share of the spread are rounding


def trend_scanning(bars: pd.DataFrame, *, shortest: int, longest: int, least: float = 0.0, entry: str = "next_open") -> pd.DataFrame:
    """One label for a decision at the close of every bar: DataFrame[label, end_time, ret, t_value, trend_end] on the index of `bars`.

    For every h from `shortest` to `longest` the closes of the deciding bar and the h after it are regressed on time; the h with the largest
    |t| of the slope is the trend (of equal ones the shortest).
    label      sign of its t value, 0 where |t| < least or nothing moves
    end_time   open time of the bar `longest` after the deciding one: only then is it known that no other horizon shows a clearer trend.
               Purge by it; the paper purges by the trend's own end, and so lets training see what came later
    ret        simple return of a long from the entry (next open, or the deciding close with entry="close") to the close of `trend_end`
    t_value    slope / its standard error, ordinary least squares with h - 1 degrees of freedom; a confidence, not a test: the largest of
               many, of autocorrelated residuals. Finite: a straight line has about sqrt(h / 2.2e-16)
    trend_end  open time of the last bar of the trend

    The last `longest` rows have NaN and NaT. Units of price do not matter: closes are taken as returns from the deciding one.
    Source: López de Prado, "Machine Learning for Asset Managers" (2020), section 5.4.
    """
    schema.check_bars(bars, "trend_scanning")
    shortest = check_bars_ahead("trend_scanning", "shortest", shortest, least=2)
    longest = check_bars_ahead("trend_scanning", "longest", longest, least=shortest)
    check_entry("trend_scanning", entry)
    if not is_number(least) or not 0 <= least < np.inf:
        raise UsageError(f"trend_scanning: least must be a number of at least 0, found {least!r}")
    close, start = bars["close"].to_numpy(float), entry_prices(bars, entry)
    t_value, end = _scan(close.copy(), shortest, longest)
    done = ~np.isnan(t_value)
    columns = {
        "label": np.where(np.abs(t_value) >= least, np.sign(t_value), np.where(done, 0.0, np.nan)),
        "end_time": end_times(bars.index, np.where(done, np.arange(len(bars)) + longest, 0), done),
        "ret": np.where(done, (close[end] - start) / start, np.nan),
        "t_value": t_value,
        "trend_end": end_times(bars.index, end, done),
    }
    return pd.DataFrame(columns, index=bars.index)


@njit(cache=True)
def _scan(close, shortest, longest):
    """(t value, row of the trend's end) per decision row; its sums begin anew at every row, so that no rounding is carried along."""
    rows, points = len(close), np.arange(1.0, longest + 2.0)
    per_point, per_square = 1.0 / points, 12.0 / np.maximum(points * (points * points - 1.0), 1.0)  # 1 / sum of squared times
    t_value, end = np.full(rows, np.nan), np.zeros(rows, dtype=np.int64)
    for row in range(rows - longest):
        unit = 1.0 / close[row]
        total = slope_total = square = 0.0
        clearest, sign, end[row] = 0.0, 0.0, row + shortest
        for step in range(1, longest + 1):
            value = close[row + step] * unit - 1.0
            total += value
            slope_total += step * value
            square += value * value
            if step < shortest:
                continue
            covariance = slope_total - 0.5 * step * total  # the mean time is step / 2
            explained = covariance * covariance * per_square[step]
            unexplained = max(square - total * total * per_point[step] - explained, ROUNDING * square)
            if explained * (step - 1) > clearest * unexplained:
                clearest, sign, end[row] = explained * (step - 1) / unexplained, np.sign(covariance), row + step
        t_value[row] = sign * np.sqrt(clearest)
    return t_value, end
