"""What takers paid, and which way they went: spreads of each trade, and trades summed inside bars.

Trades are a table. Index: the exchange's time, UTC, in order. Columns: price, qty, side (+1 a buyer took, -1 a seller took).
"""

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.errors import DataError
from quantalpha.market.orderbook import bars_from_book, check_step, check_times, quotes_of

HORIZON_MS = 5_000  # after which a trade's price is held against the mid


def trade_spreads(trades: pd.DataFrame, book: pd.DataFrame, horizon: int = HORIZON_MS) -> pd.DataFrame:
    """float64 columns per trade, quote currency: mid, quoted_spread, effective_spread, realised_spread, price_impact.

        mid, quoted_spread   of the last update BEFORE the trade's time (one of the same time is its consequence); NaN: none
        effective_spread     2 side (price - mid): what the taker paid for a round trip
        realised_spread      2 side (price - mid `horizon` ms later): what the maker kept of it; NaN until an update lies beyond that
        price_impact         effective - realised: what the mid took away from the maker

    Huang and Stoll, "Dealer versus auction markets", J. Financial Economics 41 (1996).
    """
    _check(trades)
    quotes, times, at = quotes_of(book, 1)[:, :, 0], schema.epoch_ms(book.index), schema.epoch_ms(trades.index)
    mids = np.append((quotes[:, 0] + quotes[:, 2]) / 2, np.nan)  # position -1: there is none
    widths = np.append(quotes[:, 2] - quotes[:, 0], np.nan)
    before = np.searchsorted(times, at) - 1
    later = np.searchsorted(times, at + horizon, side="right") - 1
    later = np.where(later == len(times) - 1, -1, later)
    price, side = trades["price"].to_numpy(float), trades["side"].to_numpy(float)
    effective, realised = 2 * side * (price - mids[before]), 2 * side * (price - mids[later])
    columns = {"mid": mids[before], "quoted_spread": widths[before], "effective_spread": effective, "realised_spread": realised}
    return pd.DataFrame(columns | {"price_impact": effective - realised}, index=trades.index)


def flow_bars(book: pd.DataFrame, trades: pd.DataFrame, step: int, horizon: int = HORIZON_MS) -> pd.DataFrame:
    """`bars_from_book`, and of the trades inside each bar, NaN where there are none:

    trade_count, signed_volume   side x quantity, summed; buyers are positive
    trade_imbalance              signed volume / volume, -1 to 1
    effective_spread             mean, weighted by quantity
    realised_spread              likewise, of the trades whose `horizon` ends inside the bar: then it is known
    """
    check_step(step, "flow_bars")
    bars, spreads = bars_from_book(book, step), trade_spreads(trades, book, horizon)
    qty, side, at = trades["qty"].to_numpy(float), trades["side"].to_numpy(float), schema.epoch_ms(trades.index)
    rows = trade_rows(qty, side, spreads["effective_spread"].to_numpy())
    late = spreads["realised_spread"].to_numpy() * qty
    struck = pd.DataFrame(rows).groupby(at // step).sum()
    kept = pd.DataFrame({"qty": qty, "paid": late})[~np.isnan(late)].groupby(((at + horizon) // step)[~np.isnan(late)]).sum()
    number = schema.epoch_ms(bars.index) // step
    columns = trade_columns(struck.reindex(number).to_numpy(), kept.reindex(number).to_numpy())
    return bars.assign(**columns)


def trade_rows(qty, side, effective) -> np.ndarray:
    """float64[n, 5]: what a bar sums of each trade; before the book is known it has no effective spread."""
    known = ~np.isnan(effective)
    return np.column_stack([np.ones(len(qty)), qty, side * qty, np.where(known, effective * qty, 0.0), known * qty])


def trade_columns(struck: np.ndarray, kept: np.ndarray) -> dict[str, np.ndarray]:
    """The trades' columns of `flow_bars`. struck: float64[bars, 5] of `trade_rows`; kept: float64[bars, 2], quantity and realised."""
    count, volume, signed, paid, weight = struck.T
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0: no trade inside
        means = {"trade_imbalance": signed / volume, "effective_spread": paid / weight, "realised_spread": kept[:, 1] / kept[:, 0]}
    return {"trade_count": count, "signed_volume": signed} | means


def _check(trades: pd.DataFrame) -> None:
    missing = [name for name in ("price", "qty", "side") if name not in trades]
    if missing:
        raise DataError(f"trades: missing column(s) {', '.join(missing)}; found {', '.join(map(str, trades.columns))}")
    check_times(trades.index)
