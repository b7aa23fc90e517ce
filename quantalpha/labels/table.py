"""What every table of labels shares: series aligned with the bars, the bar in which an answer came, and when it was known."""

import numpy as np
import pandas as pd

from quantalpha import schema, timeframe
from quantalpha.errors import DataError, UsageError

NEVER = np.iinfo(np.int64).min  # NaT as epoch ms


def known_at(end_time: pd.Series, bar: str) -> pd.Series:
    """When each label was known: the CLOSE of the bar that `end_time` names by its open, `bar` ('1h') later; NaT for unfinished ones.

    The first decision that may have learned from a label is the one at that close, which is the row of `end_time` itself.
    """
    return (end_time + np.timedelta64(timeframe.milliseconds(bar), "ms")).rename("known_at")


def end_times(index: pd.DatetimeIndex, row: np.ndarray, done: np.ndarray) -> pd.DatetimeIndex:
    """Open times of the bars at `row`, NaT where not `done`."""
    return schema.from_epoch_ms(np.where(done, schema.epoch_ms(index)[row], NEVER))


def paths(end_time: pd.Series) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(decided, first, stop) of the finished labels, int64[m] rows: a path is bars first ... stop - 1, from the one after the decision on.

    end_time: Series on the index of ALL bars, NaT where there is no label.
    """
    if not isinstance(end_time, pd.Series) or not all(map(pd.api.types.is_datetime64_any_dtype, (end_time, end_time.index))):
        found = end_time.dtype if isinstance(end_time, pd.Series) else type(end_time).__name__
        raise DataError(f"labels: expected end_time, a Series of times on the index of all bars, found {found}; give table['end_time']")
    decided = np.flatnonzero(end_time.notna().to_numpy())
    stop = end_time.index.searchsorted(pd.DatetimeIndex(end_time.iloc[decided]), side="right")
    early = stop <= decided + 1
    if early.any():
        raise DataError(f"labels: the one decided at {end_time.index[decided[early][0]]} ends before it begins; give end_time of all bars")
    return decided, decided + 1, stop


def aligned(series: pd.Series | None, bars: pd.DataFrame, where: str, name: str) -> np.ndarray:
    """float64[n] of a Series that shares the bars' index; ones for None."""
    if series is None:
        return np.ones(len(bars))
    if not isinstance(series, pd.Series) or not series.index.equals(bars.index):
        raise DataError(f"{where}: {name} must be a Series on the index of the bars; use {name}.reindex(bars.index)")
    return series.to_numpy(float).copy()


def volatility_of(volatility: pd.Series | None, bars: pd.DataFrame, where: str) -> np.ndarray:
    """`aligned`, and never below 0."""
    scale = aligned(volatility, bars, where, "volatility")
    if (scale < 0).any():
        raise DataError(f"{where}: volatility must not be negative; it is at {bars.index[scale < 0][0]}")
    return scale


def check_bars_ahead(where: str, name: str, value, least: int = 1) -> int:
    """A whole number of bars, at least `least`; 24.0 is one."""
    if not is_number(value) or not np.isfinite(value) or value != int(value) or value < least:
        raise UsageError(f"{where}: {name} must be a whole number of bars, at least {least}, found {value!r}")
    return int(value)


def is_number(value) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def check_entry(where: str, entry: str) -> None:
    if entry not in ("next_open", "close"):
        raise UsageError(f"{where}: entry must be 'next_open' or 'close', found {entry!r}")


def entry_prices(bars: pd.DataFrame, entry: str) -> np.ndarray:
    """float64[n]: the price at which a decision at each bar's close enters; NaN at the last bar of 'next_open'."""
    return bars["close"].to_numpy(float) if entry == "close" else np.append(bars["open"].to_numpy(float)[1:], np.nan)
