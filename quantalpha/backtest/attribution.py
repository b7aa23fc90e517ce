"""Where the money went: from what the prices gave to what was kept."""

from typing import Literal

import pandas as pd

from quantalpha.backtest.result import Result
from quantalpha.errors import UsageError, did_you_mean

COMPONENTS = ("gross", "fees", "slippage", "liquidation", "funding")
GROUPS, UNITS = ("all", "side", "symbol", "trade"), ("quote", "basis_points", "share_of_gross")


def decompose(
    result: Result,
    by: Literal["all", "side", "symbol", "trade"] = "all",
    unit: Literal["quote", "basis_points", "share_of_gross"] = "quote",
) -> pd.DataFrame:
    """What each part did to the result: columns gross, fees, slippage, liquidation, funding and net; the first five add up to net.

    All are effects: what was paid is negative, a rebate and funding received are positive. gross is what the same fills would have brought
    at the quoted prices and for free, losses beyond the margin left to the venue; liquidation is the fee of forced closes, fees are all
    others; net is the change of the account, positions still open at their mark.

    by: one row "all", or a row for each side, symbol or trade (numbered as in `result.trades`).
    unit: quote currency, then with the column `notional`, all that was traded in and out (a trade still open counts as closed at its mark);
    basis points of that notional; or shares of the size of gross, NaN where nothing was earned or lost before costs.
    """
    for name, value, known in (("by", by, GROUPS), ("unit", unit, UNITS)):
        if value not in known:
            raise UsageError(f"decompose: {name} is {value!r}; {did_you_mean(value, known)}")
    trades = result.trades
    if by == "symbol" and "symbol" not in trades:
        raise UsageError("decompose: by='symbol' needs a result of several symbols, found one; use by='all'")
    parts = _of_each_trade(result)
    if by != "trade":
        keys = pd.Series("all", index=trades.index) if by == "all" else trades[by]
        groups = {"all": ["all"], "side": ["long", "short"]}.get(by) or sorted(keys.unique())
        parts = parts.groupby(keys).sum().reindex(groups, fill_value=0.0)
    parts = parts.rename_axis(index=by)
    if unit == "quote":
        return parts
    whole = parts["notional"] / 1e4 if unit == "basis_points" else parts["gross"].abs()
    return parts.drop(columns="notional").div(whole.where(whole > 0.0), axis=0)


def _of_each_trade(result: Result) -> pd.DataFrame:
    """In quote currency, on the rows of `result.trades`."""
    trades = result.trades
    forced = _liquidation_fees(result)
    return pd.DataFrame(
        {
            "gross": trades["pnl"] + trades["fees"] + trades["slippage"] - trades["funding"],
            "fees": forced - trades["fees"],
            "slippage": -trades["slippage"],
            "liquidation": -forced,
            "funding": trades["funding"],
            "net": trades["pnl"],
            "notional": trades["quantity"] * (trades["entry_price"] + trades["exit_price"]),
        }
    )


def _liquidation_fees(result: Result) -> pd.Series:
    """The fee of the forced close of each trade, 0 for the others; one symbol's trades follow each other, so both are in order of time."""
    trades, order = result.trades, ["symbol", "time"] if "symbol" in result.trades else ["time"]
    ended = trades[trades["exit_reason"] == "liquidation"].rename(columns={"exit_time": "time"}).sort_values(order)
    fees = pd.Series(0.0, index=trades.index)
    fees[ended.index] = result.liquidations.sort_values(order)["fee"].to_numpy()
    return fees
