"""What trading cost in a recorded session: half spread, and impact in units of sigma * sqrt(notional / daily volume). See `Slippage`.

Frames are indexed by the venue's time (UTC, not decreasing). ticker: `bid ask`, one row per change of the best quotes. book: snapshots
`bid_px_1 bid_sz_1 ask_px_1 ask_sz_1 bid_px_2 ...`, best level first, sizes in base currency. trades: `price quantity`, quantity in base
currency, + where the taker bought. Impact is the slope through the origin, so it is given by the large orders.
"""

from typing import TYPE_CHECKING

import numpy as np

from quantalpha.errors import DataError
from quantalpha.perp.costs import check

if TYPE_CHECKING:
    import pandas as pd

LADDER = (5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6)  # notionals of the orders that walk the book, quote currency
FILLED = 0.9  # share of the snapshots that must hold an order for its cost to count


def half_spread(ticker: "pd.DataFrame") -> float:
    """Mean of (ask - bid) / (ask + bid), each quote weighted by the time it stood; the last one stood for none that is known."""
    bid, ask = ticker["bid"].to_numpy(float), ticker["ask"].to_numpy(float)
    stood = np.diff(_milliseconds(ticker, "ticker")).astype(float)
    if not ((bid > 0.0) & (ask >= bid)).all() or stood.sum() <= 0.0:
        raise DataError("ticker: expected quotes with 0 < bid <= ask over some time; sort by the venue's time and drop crossed rows")
    return float(np.average((ask - bid)[:-1] / (ask + bid)[:-1], weights=stood))


def walked_impact(book: "pd.DataFrame", volatility: float, daily_volume: float) -> float:
    """Impact of orders that take what the snapshots display at once: mean distance of their price from the best one.

    Of LADDER only the notionals that nine in ten snapshots (either side) hold; what the others lack is filled at their last level, so the
    cost is a lower bound. Linear in the notional near the touch: a coefficient for orders of the sizes it was measured on.
    """
    _check_day(volatility, daily_volume)
    sides = [_side(book, name) for name in ("bid", "ask")]
    if not all((prices > 0.0).all() and (sizes >= 0.0).all() for prices, sizes in sides):
        raise DataError("book: expected prices above 0 and sizes of at least 0 on every level; drop the snapshots that lack some")
    measured = []
    for notional in LADDER:
        costs, filled = zip(*(_walk(prices, sizes, notional) for prices, sizes in sides))
        if np.mean(filled) >= FILLED:
            measured.append((volatility * np.sqrt(notional / daily_volume), np.mean(costs)))
    if not measured:
        raise DataError(f"book: fewer than {FILLED:.0%} of the snapshots hold an order of {LADDER[0]:g}; record more levels")
    return _slope(*np.array(measured).T)


def flow_impact(trades: "pd.DataFrame", volatility: float, daily_volume: float, horizon_ms: int = 10_000) -> float:
    """Move of the last price over `horizon_ms` against the net taker flow of the same time, all that followed from it included.

    Flow also follows the price and is shared by everybody, so this is nearer to what an order costs when others trade alike.
    """
    _check_day(volatility, daily_volume)
    period = _milliseconds(trades, "trades") // horizon_ms
    ends = np.flatnonzero(np.append(np.diff(period) != 0, True))
    if ends.size < 3:
        raise DataError(f"trades: expected trades over several times {horizon_ms} ms, found {ends.size} such periods")
    price = trades["price"].to_numpy(float)
    flow = np.diff(np.cumsum(price * trades["quantity"].to_numpy(float))[ends])
    return _slope(volatility * np.sign(flow) * np.sqrt(np.abs(flow) / daily_volume), np.diff(np.log(price[ends])))


def _walk(prices: np.ndarray, sizes: np.ndarray, notional: float) -> tuple[np.ndarray, np.ndarray]:
    """(cost[n], filled[n]) of an order of `notional` at the best price into the snapshots' levels prices[n, k], sizes[n, k]."""
    best = prices[:, 0]
    quantity = notional / best
    reached = np.minimum(np.cumsum(sizes, axis=1), quantity[:, None])
    taken = np.diff(reached, axis=1, prepend=0.0)
    paid = (taken * prices).sum(axis=1) + (quantity - reached[:, -1]) * prices[:, -1]
    return np.abs(paid / notional - 1.0), reached[:, -1] >= quantity


def _side(book: "pd.DataFrame", name: str) -> tuple[np.ndarray, np.ndarray]:
    levels = sum(str(column).startswith(f"{name}_px_") for column in book.columns)
    if levels == 0:
        raise DataError(f"book: expected columns {name}_px_1, {name}_sz_1, ...; found {', '.join(map(str, book.columns))}")
    return tuple(book[[f"{name}_{what}_{level + 1}" for level in range(levels)]].to_numpy(float) for what in ("px", "sz"))


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    return float((x @ y) / (x @ x))


def _milliseconds(frame: "pd.DataFrame", name: str) -> np.ndarray:
    from quantalpha.schema import epoch_ms

    time = epoch_ms(frame.index)
    if time.size == 0 or (np.diff(time) < 0).any():
        raise DataError(f"{name}: expected rows in order of the venue's time, found {time.size} rows that are not")
    return time


def _check_day(volatility: float, daily_volume: float) -> None:
    check("volatility", volatility, 0.0, 10.0, inclusive=False)
    check("daily_volume", daily_volume, 0.0, np.inf, inclusive=False)
