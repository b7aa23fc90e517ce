"""Daily on-chain series on bars, each value from the moment on at which it was known."""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from quantalpha import schema, timeframe
from quantalpha.errors import DataError, UsageError

PREFIX = "onchain_"
KNOWN_AT = "known_at"
DAY = timeframe.UNITS["d"]


def join_onchain(bars: pd.DataFrame, table: pd.DataFrame, lag: str, stale: str, lags: Mapping[str, str] | None = None) -> pd.DataFrame:
    """`bars` and a column `onchain_NAME` for each column NAME of `table`: its latest value already known when the bar opened.

    table: numbers by UTC day (its 00:00). A day's value is known `lag` after the day's END, at least '1d': providers publish hours later
    and correct in the days after. `lags` gives that of single series by name, and may be shorter: {'fear_greed': '1h'}. Where they tell
    when (a column `known_at`, UTC), it is not known before that either: outages take days. A day without a value leaves the one before it
    standing. NaN before the first, and from `stale` on (such as '3d') after the latest was known. UsageError: a shorter lag. DataError:
    days that are none, come twice or out of order, text, a column that the bars have.
    """
    hold, end, opens = timeframe.milliseconds(stale), _days(table) + DAY, schema.epoch_ms(bars.index)
    if timeframe.milliseconds(lag) < DAY:
        raise UsageError(f"on-chain: expected a lag of at least 1d after the day's end, found {lag}; values come late and are corrected")
    told = _published(table[KNOWN_AT]) if KNOWN_AT in table.columns else end
    known = {str(name): np.maximum(end + timeframe.milliseconds((lags or {}).get(str(name), lag)), told) for name in table.columns}
    series = {PREFIX + str(name): table[name] for name in table.columns if name != KNOWN_AT}
    if strange := [name for name in series if not re.fullmatch(r"\w+", name, re.ASCII)]:
        raise DataError(
            f"on-chain: series {strange[0].removeprefix(PREFIX)!r}: expected letters, digits and _, for no feature can name it; rename"
        )
    clash = [name for name in series if name in bars.columns]
    if clash:
        raise DataError(f"on-chain: the bars have a column {clash[0]!r} already; rename it in one of the tables")
    values = {name: _as_of(opens, known[name.removeprefix(PREFIX)], _numbers(column), hold) for name, column in series.items()}
    return bars.assign(**values)


def _as_of(opens: np.ndarray, known: np.ndarray, values: np.ndarray, hold: int) -> np.ndarray:
    """float64[len(opens)]: the value of the latest day with known <= open < known + hold, else NaN."""
    there = np.flatnonzero(~np.isnan(values))
    arrival = there[np.argsort(known[there], kind="stable")]
    latest = np.maximum.accumulate(arrival)  # a day that comes after a later one is history at once
    count = np.searchsorted(known[arrival], opens, side="right")
    found = np.append(-1, latest)[count]
    fresh = (found >= 0) & (opens < known[found] + hold) if len(known) else found >= 0
    return np.where(fresh, np.append(values, np.nan)[found], np.nan)


def _days(table: pd.DataFrame) -> np.ndarray:
    """int64[n] starts of the table's days, ms."""
    index = table.index
    if not isinstance(index, pd.DatetimeIndex) or str(index.tz) != "UTC":
        found, times = getattr(index, "dtype", type(index).__name__), isinstance(index, pd.DatetimeIndex)
        remedy = "use tz_localize('UTC') or tz_convert('UTC')" if times else "give `timestamp` as a column or as the index"
        raise DataError(f"on-chain: expected `timestamp`, an index of UTC days, found {found}; {remedy}")
    days = schema.epoch_ms(index)
    if (days % DAY != 0).any():
        raise DataError(f"on-chain: expected days named by their 00:00 UTC, found {index[days % DAY != 0][0]}")
    if (np.diff(days) <= 0).any():
        row = int(np.flatnonzero(np.diff(days) <= 0)[0]) + 1
        raise DataError(f"on-chain: expected each day once and in order, row {row + 1} is {index[row]}; sort, drop duplicates")
    return days


def _published(times: pd.Series) -> np.ndarray:
    """int64[n] ms."""
    if not isinstance(times.dtype, pd.DatetimeTZDtype) or times.isna().any():
        found = f"{times.dtype} with {times.isna().sum()} missing"
        raise DataError(f"on-chain: column {KNOWN_AT!r}: expected a UTC time for each day, found {found}; leave it out")
    return schema.epoch_ms(pd.DatetimeIndex(times))


def _numbers(column: pd.Series) -> np.ndarray:
    try:
        values = column.to_numpy(float)
    except (TypeError, ValueError):
        raise DataError(f"on-chain: column {column.name!r}: expected numbers, found {column.dtype}; leave it out") from None
    if np.isinf(values).any():
        raise DataError(f"on-chain: column {column.name!r}: infinite at {column.index[np.isinf(values)][0]}; use NaN for what is missing")
    return values
