"""The kinds of rows a lake holds, and the months it keeps them in.

'1h' bars of the last price; 'mark-1h', 'index-1h' bars of the mark and the index price; 'interest-1h' open interest, seen at each time;
'funding' settled rates, which lie on no grid.
"""

import numpy as np
import pandas as pd

from quantalpha import schema, timeframe

FUNDING = "funding"
MARK, INDEX, INTEREST = "mark-", "index-", "interest-"
PREFIXES = (MARK, INDEX, INTEREST)


def mark_kind(bar: str) -> str:
    """The kind that holds mark-price bars of a timeframe: '1h' -> 'mark-1h'."""
    return MARK + bar


def index_kind(bar: str) -> str:
    """The kind that holds index-price bars of a timeframe."""
    return INDEX + bar


def interest_kind(bar: str) -> str:
    """The kind that holds open interest at every `bar`."""
    return INTEREST + bar


def bar_of(kind: str) -> str:
    """The timeframe of a kind: 'mark-1h' -> '1h'. UsageError for funding and for what is no kind."""
    prefix = next((each for each in PREFIXES if kind.startswith(each)), "")
    bar = kind.removeprefix(prefix)
    timeframe.milliseconds(bar)
    return bar


def bar_length(kind: str) -> int | None:
    """Milliseconds between rows of a kind; None for funding, which has no grid."""
    return None if kind == FUNDING else timeframe.milliseconds(bar_of(kind))


def columns(kind: str) -> tuple[str, ...]:
    """The columns every row of a kind has: of bars prices and volume, of mark and index the prices alone."""
    if kind == FUNDING:
        return ("funding_rate",)
    if kind.startswith(INTEREST):
        return ("open_interest",)
    return schema.REQUIRED[:4] if kind.startswith((MARK, INDEX)) else schema.REQUIRED


def months(start_ms: int, end_ms: int) -> list[str]:
    """Names of the UTC months that overlap [start, end): ['2023-12', '2024-01']."""
    if end_ms <= start_ms:
        return []
    first, last = (np.datetime64(int(ms), "ms").astype("datetime64[M]") for ms in (start_ms, end_ms - 1))
    return [str(month) for month in np.arange(first, last + 1)]


def month_bounds(month: str) -> tuple[int, int]:
    """[first millisecond, first millisecond of the next month)."""
    first = np.datetime64(month, "M")
    return tuple(int(m.astype("datetime64[ms]").astype("int64")) for m in (first, first + 1))


def month_names(index: pd.DatetimeIndex) -> np.ndarray:
    """str[n]: the month of every time."""
    return schema.epoch_ms(index).astype("datetime64[ms]").astype("datetime64[M]").astype(str)


def gaps(index: pd.DatetimeIndex, step: int | None) -> list[dict]:
    """[{start, bars}] of the bars absent between the first and the last; `start` is the first absent open time."""
    if step is None or len(index) < 2:
        return []
    times = schema.epoch_ms(index)
    absent = np.diff(times) // step - 1
    return [{"start": schema.iso(times[i] + step), "bars": int(absent[i])} for i in np.flatnonzero(absent > 0)]
