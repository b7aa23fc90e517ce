"""The closes of the coins that lead the others, on another coin's bars."""

from collections.abc import Mapping

import pandas as pd

from quantalpha import schema
from quantalpha.errors import DataError


def join_leaders(bars: pd.DataFrame, leaders: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """`bars` and a column `BTCUSDT.close` for each leader: the close of its bar that opens at the same time, known at the same moment.

    leaders: bars by symbol, of the same timeframe. NaN where a leader has no bar of that time; nothing is ever filled. A coin may lead
    itself. DataError: unsound tables, a leader of another timeframe or without one bar in common, or a column that the bars have already.
    """
    columns = {f"{symbol}.close": _close(bars, table, symbol) for symbol, table in leaders.items()}
    clash = [name for name in columns if name in bars.columns]
    if clash:
        raise DataError(f"leaders: the bars have a column {clash[0]!r} already; join each leader once")
    return bars.assign(**columns)


def _close(bars: pd.DataFrame, table: pd.DataFrame, symbol: str) -> pd.Series:
    schema.check_index(table, f"leader {symbol}")
    steps = [frame.index.to_series().diff().min() for frame in (bars, table)]
    if steps[0] != steps[1] and not (pd.isna(steps[0]) or pd.isna(steps[1])):
        raise DataError(f"leader {symbol}: expected bars {steps[0]} apart, found {steps[1]}; join bars of one timeframe")
    if len(bars) and not table.index.isin(bars.index).any():
        raise DataError(f"leader {symbol}: no bar at any of the times {bars.index[0]} to {bars.index[-1]}; get its bars of that span")
    return table["close"].reindex(bars.index).astype(float)
