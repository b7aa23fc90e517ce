"""From updates of the book to one row a bar: the book at the bar's close, and the flow through it inside the bar.

A book is a table of updates. Index: the EXCHANGE's time, UTC, in order (a local clock runs early or late and moves updates into other
bars). Columns: bid, ask (prices), bid_qty, ask_qty (what waits there, in base units, or in contracts where the venue counts those); of
several levels bid_1, bid_qty_1, ask_1, ask_qty_1, bid_2 and so on, NaN and 0 where a side has fewer.

What is summed inside a bar stands in `book_rows`, what is made of the sums in `book_columns`: `ticks.flow` calls the same two live.
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
    flow = np.full(len(book), np.nan)
    flow[1:] = _flow(quotes_of(book, 1))[:, 0]
    return pd.Series(flow, book.index, name="order_flow_imbalance")


def level_flows(book: pd.DataFrame) -> pd.DataFrame:
    """float64[n, levels]: the order-flow imbalance of each level, by the same formula, in columns order_flow_imbalance_1 and so on.

    Level m is the m-th best price, wherever that is: what moves the best price moves all levels. Xu, Gould and Howison, "Multi-level
    order-flow imbalance in a limit order book", Market Microstructure and Liquidity 4 (2018).
    """
    levels = levels_of(book)
    flow = np.full((len(book), levels), np.nan)
    flow[1:] = _flow(quotes_of(book, levels))
    return pd.DataFrame(flow, book.index, columns=[f"order_flow_imbalance_{level + 1}" for level in range(levels)])


def bars_from_book(book: pd.DataFrame, step: int) -> pd.DataFrame:
    """float64 columns, by bar open time, for bars of `step` milliseconds counted from 1970 UTC; to be joined to bars of the same length.

        mid, spread             (bid + ask) / 2 and ask - bid at the close, quote currency
        microprice              (bid ask_qty + ask bid_qty) / (bid_qty + ask_qty) at the close: the mid, leaning to where less waits
        book_imbalance          (bid_qty - ask_qty) / (bid_qty + ask_qty) at the close, -1 to 1; + more bids than asks
        order_flow_imbalance    the sum over the updates inside the bar
        depth                   mean of (bid_qty + ask_qty) / 2 over those updates

    and of a book of several levels

        order_flow_imbalance_1, _2 ...   of each level
        weighted_order_flow_imbalance    their mean, each weighted by the mean quantity that waits at its level
        quoted_spread                    mean of ask - bid over the updates
        depth_slope                      mean quantity per unit of price, from the mid to the last level, of both sides

    A bar is given where it is known from its open to its close: one with an update inside, one in the bar before, and any later than its
    end. So the bar in which a capture begins or goes on after a hole, and the last one, are left out; nothing is filled. DataError for
    updates without exchange time, out of order, crossed, or without quantity at the best prices.
    """
    check_step(step, "bars_from_book")
    levels = levels_of(book)
    _check(book, levels)
    number, first, last, known = _stretches(book.index, step)
    quotes = quotes_of(book, levels)
    rows = np.full((len(book), 2 * levels + 3), np.nan)
    rows[1:] = book_rows(quotes)
    columns = book_columns(_sums(rows, first), quotes[last])
    return pd.DataFrame(columns, index=schema.from_epoch_ms(number * step))[known]


def book_rows(quotes: np.ndarray) -> np.ndarray:
    """float64[n - 1, 2 levels + 3] of quotes float64[n, 4, levels]: what a bar sums, of each update but the first.

    Per level the flow and the mean quantity of both sides; spread, slope, and 1.
    """
    bid, bid_qty, ask, ask_qty = quotes[1:].transpose(1, 0, 2)
    mid = (bid[:, 0] + ask[:, 0]) / 2
    slope = (bid_qty.sum(axis=1) / (mid - bid[:, -1]) + ask_qty.sum(axis=1) / (ask[:, -1] - mid)) / 2
    whole = np.column_stack([ask[:, 0] - bid[:, 0], slope, np.ones(len(mid))])
    return np.hstack([_flow(quotes), (bid_qty + ask_qty) / 2, whole])


def book_columns(sums: np.ndarray, last: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of `bars_from_book`. sums: float64[bars, 2 levels + 3] of `book_rows`; last: float64[bars, 4, levels] at the close."""
    levels = last.shape[2]
    bid, bid_qty, ask, ask_qty = last[:, :, 0].T
    flow, waiting, (spread, slope, count) = sums[:, :levels], sums[:, levels : 2 * levels], sums[:, 2 * levels :].T
    best = {
        "mid": (bid + ask) / 2,
        "spread": ask - bid,
        "microprice": (bid * ask_qty + ask * bid_qty) / (bid_qty + ask_qty),
        "book_imbalance": (bid_qty - ask_qty) / (bid_qty + ask_qty),
        "order_flow_imbalance": flow[:, 0],
        "depth": waiting[:, 0] / count,
    }
    if levels == 1:
        return best
    weighted = (flow * waiting).sum(axis=1) / waiting.sum(axis=1)
    deep = {"weighted_order_flow_imbalance": weighted, "quoted_spread": spread / count, "depth_slope": slope / count}
    return best | deep | {f"order_flow_imbalance_{level + 1}": flow[:, level] for level in range(levels)}


def levels_of(book: pd.DataFrame) -> int:
    """How many levels a side its columns hold; 1 for plain bid and ask."""
    return max(1, sum(f"bid_{level}" in book for level in range(1, 1001)))


def quotes_of(book: pd.DataFrame, levels: int) -> np.ndarray:
    """float64[n, 4, levels]: bid, bid_qty, ask, ask_qty of each level."""
    names = [name if "bid_1" not in book else f"{name}_{level + 1}" for name in QUOTES for level in range(levels)]
    return book[names].to_numpy(float).reshape(len(book), 4, levels)


def check_step(step, where: str) -> None:
    """UsageError unless `step` is a bar length in whole milliseconds."""
    if isinstance(step, bool) or not isinstance(step, (int, np.integer)) or step < 1:
        raise UsageError(f"{where}: expected a bar length in whole milliseconds, found {step!r}")


def _flow(quotes: np.ndarray) -> np.ndarray:
    """float64[n - 1, levels]: see `order_flow_imbalance`. A price that is NaN has no part in it."""
    bid, bid_qty, ask, ask_qty = quotes.transpose(1, 0, 2)
    flow = (bid[1:] >= bid[:-1]) * bid_qty[1:] - (bid[1:] <= bid[:-1]) * bid_qty[:-1]
    return flow + (ask[1:] >= ask[:-1]) * ask_qty[:-1] - (ask[1:] <= ask[:-1]) * ask_qty[1:]


def _stretches(index: pd.DatetimeIndex, step: int) -> tuple[np.ndarray, ...]:
    """Bars with an update inside: number, first and last row of each, and whether it is known whole."""
    number = schema.epoch_ms(index) // step
    first = np.flatnonzero(np.diff(number, prepend=number[:1] - 1))
    last = np.append(first[1:], len(number))[: len(first)] - 1
    known = np.diff(number[first], prepend=number[:1]) == 1
    known[-1:] = False
    return number[first], first, last, known


def _sums(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The sum of each stretch of rows that begins at one of `first`."""
    return np.add.reduceat(values, first) if len(first) else values


def _check(ticker: pd.DataFrame, levels: int) -> None:
    """DataError naming the first row that cannot be an update of a book."""
    wanted = QUOTES if "bid_1" not in ticker else [f"{name}_{level + 1}" for level in range(levels) for name in QUOTES]
    missing = [name for name in wanted if name not in ticker]
    if missing:
        raise DataError(f"book ticker: missing column(s) {', '.join(missing)}; found {', '.join(map(str, ticker.columns))}")
    check_times(ticker.index)
    bid, bid_qty, ask, ask_qty = (ticker[name].to_numpy(float) for name in wanted[:4])
    sound = (bid > 0) & (bid < ask) & (ask < np.inf) & (bid_qty > 0) & (bid_qty < np.inf) & (ask_qty > 0) & (ask_qty < np.inf)
    if not sound.all():
        row = int(np.argmin(sound))
        found = ticker.iloc[row][list(wanted[:4])].to_dict()
        raise DataError(
            f"book ticker: row {row + 1} at {ticker.index[row]}: expected 0 < bid < ask, quantities above 0, found {found}; drop it"
        )


def check_times(index) -> None:
    """DataError unless these are the exchange's times, in order."""
    if not isinstance(index, pd.DatetimeIndex) or str(index.tz) != "UTC":
        found = getattr(index, "dtype", type(index).__name__)
        raise DataError(f"book ticker: expected an index of the exchange's times, UTC, found {found}; use tz_localize('UTC')")
    if index.hasnans:
        row = int(np.flatnonzero(index.isna())[0]) + 1
        raise DataError(f"book ticker: row {row} has no exchange time (Binance's spot book ticker has none); use a feed that has")
    if not index.is_monotonic_increasing:
        row = int(np.flatnonzero(np.diff(index.asi8) < 0)[0]) + 2
        raise DataError(f"book ticker: row {row} at {index[row - 1]} is older than the one before; sort by the exchange's update number")
