"""The one shape of a table of bars, and the check everybody uses.

Index `timestamp`: UTC, increasing, unique, each bar named by its OPEN time. Columns float64.
"""

from datetime import UTC, datetime

import numpy as np
import pandas as pd

from quantalpha.errors import DataError

REQUIRED = ("open", "high", "low", "close", "volume")
ORDER_FLOW = ("mid", "spread", "microprice", "book_imbalance", "order_flow_imbalance", "depth")  # as market.orderbook makes them
DISPUTED, FLAGGED, MASKED = "disputed", 1.0, 2.0  # a column, 0 where the bar is sound, and its values (market.quality)
OPTIONAL = ("quote_volume", "trades", "taker_buy_volume", "mark", "funding_rate", "open_interest", "index_price", *ORDER_FLOW)
LIVE = (*REQUIRED, "mark", "funding_rate")  # what a closed bar of a venue's stream tells: the runner has nothing else to decide on
INDEX_DTYPE = "datetime64[ms, UTC]"


def check_bars(bars: pd.DataFrame, where: str = "bars") -> pd.DataFrame:
    """`bars` unchanged if it is a sound table, else a DataError naming the first bad row."""
    check_index(bars, where)
    fault = impossible(bars)
    if fault.any():
        row = int(np.flatnonzero(fault)[0])
        found = bars.iloc[row][list(REQUIRED)].to_dict()
        raise DataError(f"{where}: impossible bar at {bars.index[row]}: {found}; run the clean stage first")
    return bars


def check_index(bars: pd.DataFrame, where: str = "bars") -> None:
    """DataError unless the table has the required columns and increasing UTC times; pandas remembers the order of an index it has seen."""
    if not isinstance(bars, pd.DataFrame):
        raise DataError(f"{where}: expected a DataFrame of bars, found {type(bars).__name__}")
    if not isinstance(bars.index, pd.DatetimeIndex) or bars.index.tz is None or str(bars.index.tz) != "UTC":
        found = getattr(bars.index, "dtype", type(bars.index).__name__)
        times = isinstance(bars.index, pd.DatetimeIndex)
        remedy = "use tz_localize('UTC') or tz_convert('UTC')" if times else "use set_index on the column of open times"
        raise DataError(f"{where}: expected a UTC DatetimeIndex of bar open times, found {found}; {remedy}")
    missing = [name for name in REQUIRED if name not in bars]
    if missing:
        raise DataError(f"{where}: missing column(s) {', '.join(missing)}; found {', '.join(map(str, bars.columns))}")
    check_columns(bars, where)
    check_order(bars.index, where)


def check_columns(bars: pd.DataFrame, where: str = "bars") -> None:
    """DataError where a name means two columns."""
    if not bars.columns.is_unique:
        raise DataError(f"{where}: column {bars.columns[bars.columns.duplicated()][0]!r} is there twice")


def check_order(index: pd.DatetimeIndex, where: str = "bars") -> None:
    """DataError unless every time is later than the one before it."""
    if not (index.is_monotonic_increasing and index.is_unique):
        row = int(np.flatnonzero(np.diff(index.asi8) <= 0)[0]) + 1
        raise DataError(f"{where}: bars must be in strictly increasing time order; row {row} at {index[row]} is not")


def impossible(bars: pd.DataFrame) -> np.ndarray:
    """bool[n]: NaN, infinite or non-positive price, high below or low above the body, negative volume."""
    o, h, l, c, v = (bars[name].to_numpy(float) for name in REQUIRED)
    with np.errstate(invalid="ignore"):  # every comparison with NaN is false, so NaN is unsound
        sound = (l > 0) & (l <= np.minimum(o, c)) & (h >= np.maximum(o, c)) & (h < np.inf) & (v >= 0) & (v < np.inf)
    return ~sound


def epoch_ms(index: pd.DatetimeIndex) -> np.ndarray:
    """int64[n] milliseconds since 1970 UTC, whatever the unit of the index."""
    return index.as_unit("ms").asi8


def iso(ms: int) -> str:
    """A time in milliseconds as ISO text: '2024-01-31T12:00:00Z'."""
    return datetime.fromtimestamp(int(ms) / 1000, UTC).isoformat().replace("+00:00", "Z")


def from_epoch_ms(times) -> pd.DatetimeIndex:
    """The inverse of `epoch_ms`, named `timestamp`."""
    return pd.DatetimeIndex(np.asarray(times, dtype="int64").view("datetime64[ms]"), tz="UTC", name="timestamp")
