"""The same result for the analytics of vectorbt and quantstats: times without a zone, years of 365 days.

Both libraries are slow to import and are imported when asked for.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from quantalpha.backtest.periods import DAYS, daily_returns
from quantalpha.backtest.result import Result, bars_per_year
from quantalpha.errors import DataError
from quantalpha.timeframe import YEAR_MS

if TYPE_CHECKING:
    import vectorbt

FUNDING = "funding"  # the column that carries it
COUPON = 1e-9  # units of quote currency "bought" at each settlement: vectorbt knows no cash flow without an order


def to_vectorbt(result: Result) -> "vectorbt.Portfolio":
    """A vectorbt Portfolio of the result's own fills: its `value()` is `result.equity` to rounding, its trades are our round trips.

    Positions are valued at the marks; several symbols are columns that share one cash. The orders are handed over as records, not sent
    through `from_orders`, which would refuse what a perpetual account may do: owe more than its cash (leverage), trade twice in a bar.

    What vectorbt cannot know is written where it does no harm. Funding stands in a column of its own, `funding`, as negative fees of an
    asset that is always worth what was paid for it: exact at every bar, but `stats()` then counts one open trade more, and its "fees" are
    fees less funding. A loss the margin did not cover is paid back as a negative fee of the fill that closed the position.
    """
    import vectorbt
    from vectorbt.portfolio.enums import OrderSide, log_dt, order_dt

    close = result.marks if isinstance(result.marks, pd.DataFrame) else result.marks.to_frame()
    if FUNDING in close:
        raise DataError(f"to_vectorbt: a symbol cannot be called {FUNDING!r}, the column that carries funding payments")
    orders = _orders(result, close.columns[0])
    prices = close.assign(**{FUNDING: 1.0}) if len(result.funding) else close
    records = np.empty(len(orders), dtype=order_dt)
    records["id"], records["idx"] = np.arange(len(orders)), result.index.get_indexer(orders["time"])
    records["col"] = prices.columns.get_indexer(orders["symbol"])
    records["size"], records["price"], records["fees"] = orders["quantity"].abs(), orders["price"], orders["fee"]
    records["side"] = np.where(orders["quantity"] > 0.0, OrderSide.Buy, OrderSide.Sell)
    shared = prices.shape[1] > 1
    prices = prices.set_axis(prices.index.tz_localize(None))
    prices = prices if shared else prices.iloc[:, 0]
    spacing = pd.Timedelta(YEAR_MS / bars_per_year(result.index), "ms")
    return vectorbt.Portfolio(
        vectorbt.ArrayWrapper.from_obj(prices, freq=spacing, group_by=shared or None),
        prices,
        records[np.argsort(records["col"], kind="stable")],
        np.empty(0, dtype=log_dt),
        init_cash=np.array([result.account.initial_cash]),
        cash_sharing=shared,
        trades_type="positions",
    )


def quantstats_returns(result: Result) -> pd.Series:
    """Simple returns compounded by UTC day, on days without a zone: the Series that every function of quantstats takes.

    Tell those functions `periods=365` (or `periods_per_year=365`): their own default is a stock exchange's 252.
    """
    daily = daily_returns(result.returns)
    return daily.set_axis(daily.index.tz_localize(None).as_unit("ns")).rename("strategy")


def quantstats_metrics(result: Result) -> pd.DataFrame:
    """quantstats' full table of metrics (one column) over daily returns, 365 days a year (bars longer than a day: as many as there are);
    fractions, rounded to two digits by it."""
    from quantstats import reports

    yearly = min(DAYS, round(bars_per_year(result.index)))
    return reports.metrics(quantstats_returns(result), mode="full", display=False, periods_per_year=yearly)


def _orders(result: Result, only: str) -> pd.DataFrame:
    """symbol time quantity price fee of all fills, then of all funding payments; `only`: what a single symbol is called."""
    fills = result.fills if "symbol" in result.fills else result.fills.assign(symbol=only)
    fills = fills.assign(fee=fills["fee"] - _uncovered(fills))[["symbol", "time", "quantity", "price", "fee"]]
    paid = pd.DataFrame({"time": result.funding["time"], "fee": -result.funding["amount"]})
    return pd.concat([fills, paid.assign(symbol=FUNDING, quantity=COUPON, price=1.0)], ignore_index=True)


def _uncovered(fills: pd.DataFrame) -> pd.Series:
    """Money per fill that its price took and the account did not pay: 0 but where a position was closed beyond its margin."""
    spent = fills["realised"] + fills["quantity"] * fills["price"]
    cost = spent.groupby(fills["symbol"]).cumsum()  # of the position, had every loss been paid
    flat = fills["position"] == 0.0
    closed = cost[flat].groupby(fills["symbol"][flat])
    return closed.diff().fillna(cost[flat]).reindex(fills.index, fill_value=0.0)
