"""From fills to round trips: flat to flat, a flip ends one and begins the next."""

import numpy as np
import pandas as pd
from numba import njit

AT_OPEN = (1, 6)  # reasons filled at a bar's open: order, time_stop (perp.clock)
FAVOURABLE = (3, 7)  # reasons met after the bar's adverse side: take_profit, limit
FIELDS = (
    "entry_bar", "exit_bar", "side", "entered", "entry_notional", "left", "exit_notional", "fees", "slippage", "funding", "realised",
    "mae", "mfe", "reason",
)  # fmt: skip
ENTRY, EXIT, SIDE, ENTERED, ENTRY_NOTIONAL, LEFT, EXIT_NOTIONAL, FEES, SLIPPAGE, FUNDING, REALISED, MAE, MFE, REASON = range(len(FIELDS))


def round_trips(leg, index: pd.DatetimeIndex, reasons: tuple[str, ...]) -> pd.DataFrame:
    """One row per trade of one symbol, in order of entry. leg: as in `Result`; index: the bars. Open at the end: valued at the last mark.

    Prices are averages over the trade's fills, money is in quote currency, quantity the total bought (long) or sold (short) to enter,
    pnl = realised - fees + funding (+ open profit), return = pnl / entry notional, bars = bars in which the position was held, slippage is
    within the prices, mae and mfe the worst (<= 0) and best (>= 0) profit on the way, before fees and funding, as fractions of the entry
    notional. Inside a bar the adverse side comes first, as the clock has it.
    """
    high, low = (np.ascontiguousarray(leg.bars[name].to_numpy(float)) for name in ("high", "low"))
    rows = _round_trips(leg.rows, leg.paid, high, low)
    still_open = np.isnan(rows[:, REASON])
    position, mark, last = leg.final.quantity, leg.final.mark, len(index) - 1
    held_to = np.where(still_open, last, rows[:, EXIT]).astype(np.int64)
    entry, notional, left = rows[:, ENTRY].astype(np.int64), rows[:, ENTRY_NOTIONAL], np.where(still_open, abs(position), 0.0)
    open_profit = np.where(still_open, position * (mark - leg.final.entry_price), 0.0)
    pnl = rows[:, REALISED] - rows[:, FEES] + rows[:, FUNDING] + open_profit
    inside = still_open | ~np.isin(rows[:, REASON], AT_OPEN)
    names = np.array(["open" if np.isnan(code) else reasons[int(code)] for code in rows[:, REASON]], dtype=object)
    return pd.DataFrame(
        {
            "entry_time": index[entry],
            "exit_time": index[held_to].where(~still_open),
            "side": pd.Series(np.where(rows[:, SIDE] > 0.0, "long", "short"), dtype="str"),
            "quantity": rows[:, ENTERED],
            "entry_price": notional / rows[:, ENTERED],
            "exit_price": (rows[:, EXIT_NOTIONAL] + left * mark) / (rows[:, LEFT] + left),
            "fees": rows[:, FEES],
            "slippage": rows[:, SLIPPAGE],
            "funding": rows[:, FUNDING],
            "pnl": pnl,
            "return": pnl / notional,
            "mae": rows[:, MAE] / notional,
            "mfe": rows[:, MFE] / notional,
            "bars": held_to - entry + inside,
            "exit_reason": pd.Series(names, dtype="str"),
        }
    )


@njit(cache=True)
def _round_trips(fills, paid, high, low):
    """float64[trades, FIELDS]; reason NaN where the last trade is still open. fills, paid: rows as the clock records them."""
    out, n = np.zeros((fills.shape[0] + 1, len(FIELDS))), -1
    held = average = 0.0
    payment = seen = 0  # next payment; first bar whose range the open trade has not seen
    for k in range(fills.shape[0]):
        bar, reason, price, after = int(fills[k, 0]), fills[k, 1], fills[k, 3], fills[k, 6]
        while payment < paid.shape[0] and paid[payment, 0] <= bar:  # funding at a bar's open comes before its fills
            if held != 0.0:
                out[n, FUNDING] += paid[payment, 1]
            payment += 1
        if held != 0.0:
            _look(out[n], held, average, high, low, seen, bar)
            if reason in FAVOURABLE:
                _reach(out[n], held, average, low[bar] if held > 0.0 else high[bar])
            _reach(out[n], held, average, price)
        closes = -held if held * after < 0.0 else 0.0
        trade = fills[k, 2] if closes == 0.0 else closes
        share = trade / fills[k, 2]
        if held == 0.0:
            n = _enter(out, n, bar, after)
        _leg(out[n], trade, price, held, fills[k], share)
        if held * trade < 0.0:
            out[n, REALISED] += fills[k, 5]
        if closes != 0.0 or after == 0.0:
            out[n, EXIT], out[n, REASON] = bar, reason
        if closes != 0.0:
            n = _enter(out, n, bar, after)
            _leg(out[n], after, price, 0.0, fills[k], 1.0 - share)
        if held * after <= 0.0:
            average = price
        elif abs(after) > abs(held):
            average = (held * average + trade * price) / (held + trade)
        enlarged = held * after <= 0.0 or abs(after) > abs(held)
        held, seen = after, bar if reason in AT_OPEN else bar + 1
        if held != 0.0 and enlarged and seen > bar:  # entered on the way to the bar's adverse side
            _reach(out[n], held, average, low[bar] if held > 0.0 else high[bar])
    while payment < paid.shape[0] and held != 0.0:
        out[n, FUNDING] += paid[payment, 1]
        payment += 1
    if held != 0.0:
        _look(out[n], held, average, high, low, seen, high.size)
        out[n, REASON] = np.nan
    return out[: n + 1].copy()


@njit(cache=True)
def _enter(out, n, bar, position):
    out[n + 1, ENTRY], out[n + 1, SIDE] = bar, np.sign(position)
    return n + 1


@njit(cache=True)
def _leg(row, trade, price, held, fill, share):
    """Add one way of a trade, and its share of the fill's costs."""
    size = abs(trade)
    if held * trade >= 0.0:
        row[ENTERED] += size
        row[ENTRY_NOTIONAL] += size * price
    else:
        row[LEFT] += size
        row[EXIT_NOTIONAL] += size * price
    row[FEES] += fill[4] * share
    row[SLIPPAGE] += fill[7] * share


@njit(cache=True)
def _look(row, held, average, high, low, first, end):
    """Extremes of the bars from `first` up to `end`; NaN where the symbol has no bar."""
    top, bottom = -np.inf, np.inf
    for bar in range(first, end):
        top, bottom = max(top, high[bar]), min(bottom, low[bar])
    if top >= bottom:
        _reach(row, held, average, top)
        _reach(row, held, average, bottom)


@njit(cache=True)
def _reach(row, held, average, price):
    """The trade's profit at `price`, closed parts included."""
    profit = row[REALISED] + held * (price - average)
    row[MAE], row[MFE] = min(row[MAE], profit), max(row[MFE], profit)
