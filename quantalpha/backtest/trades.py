"""From fills to round trips: flat to flat, a flip ends one and begins the next."""

import numpy as np
import pandas as pd


def round_trips(fills: pd.DataFrame, funding: pd.DataFrame, index: pd.DatetimeIndex, *, mark: float, unrealised: float) -> pd.DataFrame:
    """One row per trade, in order of entry.

    fills, funding: as in `Result`. index: the bars. mark, unrealised: last mark price and open profit, for a trade still open at the end.
    Prices are averages over the trade's fills, money is in quote currency, quantity the total bought (long) or sold (short) to enter,
    pnl = realised - fees + funding (+ open profit), return = pnl / entry notional, bars = bars in which the position was held.
    """
    legs = _legs(fills, index)
    first = np.flatnonzero(legs["opens"] & (legs["before"] == 0.0))
    trade = np.cumsum(np.isin(np.arange(len(legs["before"])), first)) - 1
    last = np.append(first[1:], len(trade))[: len(first)] - 1
    still_open = legs["after"][last] != 0.0

    def total(values, where=True):
        return np.bincount(trade, np.where(where, values, 0.0), minlength=len(first)).astype(float)

    size, notional = np.abs(legs["quantity"]), np.abs(legs["quantity"]) * legs["price"]
    entered, left = legs["opens"], np.where(still_open, np.abs(legs["after"][last]), 0.0)
    entry_notional = total(notional, entered)
    entry_bar, exit_bar = legs["bar"][first], np.where(still_open, len(index) - 1, legs["bar"][last])
    inside = still_open | (legs["reason"][last] != "order")
    paid = np.bincount(np.searchsorted(entry_bar, index.searchsorted(funding["time"])) - 1, funding["amount"], minlength=len(first)).astype(
        float
    )  # funding at a bar's open belongs to the trade entered before it
    pnl = total(legs["realised"]) - total(legs["fee"]) + paid + np.where(still_open, unrealised, 0.0)
    return pd.DataFrame(
        {
            "entry_time": index[entry_bar],
            "exit_time": index[exit_bar].where(~still_open),
            "side": np.where(legs["after"][first] > 0.0, "long", "short"),
            "quantity": total(size, entered),
            "entry_price": entry_notional / total(size, entered),
            "exit_price": (total(notional, ~entered) + left * mark) / (total(size, ~entered) + left),
            "fees": total(legs["fee"]),
            "funding": paid,
            "pnl": pnl,
            "return": pnl / entry_notional,
            "bars": exit_bar - entry_bar + inside,
            "exit_reason": pd.Series(np.where(still_open, "open", legs["reason"][last]), dtype="str"),
        }
    )


def _legs(fills: pd.DataFrame, index: pd.DatetimeIndex) -> dict[str, np.ndarray]:
    """Fills with every flip split into the leg that closes and the leg that opens; the fee is shared by quantity."""
    after = fills["position"].to_numpy()
    before = np.append(0.0, after[:-1])[: len(after)]
    row = np.repeat(np.arange(len(after)), 1 + (before * after < 0.0))
    second = np.append(False, row[1:] == row[:-1])[: len(row)]
    flips = second | np.append(second[1:], False)[: len(row)]
    ends, starts = np.where(flips & ~second, 0.0, after[row]), np.where(second, 0.0, before[row])
    quantity = np.where(flips, ends - starts, fills["quantity"].to_numpy()[row])
    share = quantity / fills["quantity"].to_numpy()[row]
    return {
        "bar": index.searchsorted(fills["time"])[row],
        "before": starts,
        "after": ends,
        "opens": np.abs(ends) > np.abs(starts),
        "quantity": quantity,
        "price": fills["price"].to_numpy()[row],
        "fee": fills["fee"].to_numpy()[row] * share,
        "realised": np.where(second, 0.0, fills["realised"].to_numpy()[row]),
        "reason": fills["reason"].to_numpy()[row],
    }
