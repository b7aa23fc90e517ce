"""From updates of the best bid and ask to one row a bar: the book at the bar's close, and the flow through it inside the bar.

A ticker is a table of updates. Index: the EXCHANGE's time, UTC, in order (a local clock runs early or late and moves updates into other
bars). Columns: bid, ask (prices), bid_qty, ask_qty (what waits there, in base units, or in contracts where the venue counts those).
"""

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.errors import DataError, UsageError

QUOTES = ("bid", "bid_qty", "ask", "ask_qty")


def order_flow_imbalance(book: pd.DataFrame) -> pd.Series:
    """float64[n], in the unit of the quantities: what each update added to demand, less what it added to supply; NaN for the first.

        e = [bid >= bid'] bid_qty - [bid <= bid'] bid_qty' - [ask <= ask'] ask_qty + [ask >= ask'] ask_qty'        ' is the update before

    A bid raised counts whole, one of the same price by its change, one lowered as the loss of what stood there; asks the other way round.
    Bids and buyers are positive. Cont, Kukanov and Stoikov, "The price impact of order book events", J. Financial Econometrics 12 (2014).
    """
    bid, bid_qty, ask, ask_qty = (book[name].to_numpy(float) for name in QUOTES)
    flow = np.full(len(book), np.nan)
    flow[1:] = (bid[1:] >= bid[:-1]) * bid_qty[1:] - (bid[1:] <= bid[:-1]) * bid_qty[:-1]
    flow[1:] += (ask[1:] >= ask[:-1]) * ask_qty[:-1] - (ask[1:] <= ask[:-1]) * ask_qty[1:]
    return pd.Series(flow, book.index, name="order_flow_imbalance")


def bars_from_book(ticker: pd.DataFrame, step: int) -> pd.DataFrame:
    """float64 columns, by bar open time, for bars of `step` milliseconds counted from 1970 UTC; to be joined to bars of the same length.

        mid, spread             (bid + ask) / 2 and ask - bid at the close, quote currency
        microprice              (bid ask_qty + ask bid_qty) / (bid_qty + ask_qty) at the close: the mid, leaning to where less waits
        book_imbalance          (bid_qty - ask_qty) / (bid_qty + ask_qty) at the close, -1 to 1; + more bids than asks
        order_flow_imbalance    the sum over the updates inside the bar
        depth                   mean of (bid_qty + ask_qty) / 2 over those updates

    A bar is given where it is known from its open to its close: one with an update inside, one in the bar before, and any later than its
    end. So the bar in which a capture begins or goes on after a hole, and the last one, are left out; nothing is filled. DataError for
    updates without exchange time, out of order, crossed, or without quantity.
    """
    if isinstance(step, bool) or not isinstance(step, (int, np.integer)) or step < 1:
        raise UsageError(f"bars_from_book: expected a bar length in whole milliseconds, found {step!r}")
    _check(ticker)
    number = schema.epoch_ms(ticker.index) // step
    first = np.flatnonzero(np.diff(number, prepend=number[:1] - 1))
    last = np.append(first[1:], len(number))[: len(first)] - 1
    known = np.diff(number[first], prepend=number[:1]) == 1
    known[-1:] = False
    bid, bid_qty, ask, ask_qty = (ticker[name].to_numpy(float) for name in QUOTES)
    waiting = bid_qty + ask_qty
    at_close = {
        "mid": (bid + ask) / 2,
        "spread": ask - bid,
        "microprice": (bid * ask_qty + ask * bid_qty) / waiting,
        "book_imbalance": (bid_qty - ask_qty) / waiting,
    }
    inside = {
        "order_flow_imbalance": _sums(order_flow_imbalance(ticker).to_numpy(), first),
        "depth": _sums(waiting / 2, first) / (last - first + 1),
    }
    columns = {name: values[last] for name, values in at_close.items()} | inside
    return pd.DataFrame(columns, index=schema.from_epoch_ms(number[first] * step))[known]


def _sums(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The sum of each stretch that begins at one of `first`."""
    return np.add.reduceat(values, first) if len(first) else values


def _check(ticker: pd.DataFrame) -> None:
    """DataError naming the first row that cannot be an update of a book."""
    missing = [name for name in QUOTES if name not in ticker]
    if missing:
        raise DataError(f"book ticker: missing column(s) {', '.join(missing)}; found {', '.join(map(str, ticker.columns))}")
    index = ticker.index
    if not isinstance(index, pd.DatetimeIndex) or str(index.tz) != "UTC":
        found = getattr(index, "dtype", type(index).__name__)
        raise DataError(f"book ticker: expected an index of the exchange's times, UTC, found {found}; use tz_localize('UTC')")
    if index.hasnans:
        row = int(np.flatnonzero(index.isna())[0]) + 1
        raise DataError(f"book ticker: row {row} has no exchange time (Binance's spot book ticker has none); use a feed that has")
    if not index.is_monotonic_increasing:
        row = int(np.flatnonzero(np.diff(index.asi8) < 0)[0]) + 2
        raise DataError(f"book ticker: row {row} at {index[row - 1]} is older than the one before; sort by the exchange's update number")
    bid, bid_qty, ask, ask_qty = (ticker[name].to_numpy(float) for name in QUOTES)
    sound = (bid > 0) & (bid < ask) & (ask < np.inf) & (bid_qty > 0) & (bid_qty < np.inf) & (ask_qty > 0) & (ask_qty < np.inf)
    if not sound.all():
        row = int(np.argmin(sound))
        found = ticker.iloc[row][list(QUOTES)].to_dict()
        raise DataError(f"book ticker: row {row + 1} at {index[row]}: expected 0 < bid < ask, quantities above 0, found {found}; drop it")
