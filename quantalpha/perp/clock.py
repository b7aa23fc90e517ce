"""The clock of a decision, compiled: what one bar does to one account. The only copy of the money's arithmetic.

Order inside a bar: funding on the position held, the decided order at the open, stop-loss or liquidation, take-profit, mark at the close.
`Ledger` calls these functions bar by bar and `run` in a loop, so both agree bit for bit. They are pure: a State goes in, a State comes out.
All of it stands in one file because numba's cache watches only the file of the function it caches.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

NONE, ORDER, STOP_LOSS, TAKE_PROFIT, LIQUIDATION = range(5)
REASONS = ("", "order", "stop_loss", "take_profit", "liquidation")
ROUNDING = 1e-12  # float64 noise of target * equity / price: this little below a lot counts as the lot


class State(NamedTuple):
    """An account in one linear perpetual, in quote currency; every field finite."""

    cash: float  # wallet balance: initial cash + realised - fees + funding
    quantity: float  # signed, in base currency
    entry_price: float  # average fill price, 0 when flat
    liquidation_price: float  # 0 when flat or out of reach
    target: float  # last target decided, signed leverage
    order: float  # signed quantity to trade at the next open
    mark: float  # last mark price seen at a close


class Terms(NamedTuple):
    """What does not change while an account trades; fractions, infinity where there is no stop."""

    maker: float
    taker: float
    slippage: float
    liquidation: float
    stop_loss: float
    take_profit: float
    leverage: float
    isolated: bool
    lot: float


class Tiers(NamedTuple):
    """Maintenance margin = rate * notional - amount; apart from Terms because arrays make a call dear."""

    rates: np.ndarray  # of each bracket
    amounts: np.ndarray  # quote currency


class Fill(NamedTuple):
    reason: int
    quantity: float
    price: float
    fee: float
    realised: float


NO_FILL = Fill(NONE, 0.0, 0.0, 0.0, 0.0)


@njit(cache=True)
def nearest_lot(quantity, lot):
    """The multiple of `lot` nearest to `quantity`, as the decimal it stands for (3 lots of 0.1 are 0.3); lot 0: `quantity`."""
    if lot == 0.0:
        return quantity
    per_unit = 1.0 / lot
    if abs(per_unit - np.rint(per_unit)) <= 1e-9 * per_unit:
        return np.rint(quantity * np.rint(per_unit)) / np.rint(per_unit) + 0.0
    return np.rint(quantity / lot) * lot + 0.0


@njit(cache=True)
def round_to_lot(quantity, lot):
    """`quantity` rounded toward zero to a multiple of `lot`."""
    rounded = nearest_lot(quantity, lot)
    if abs(rounded) > abs(quantity) * (1.0 + ROUNDING):
        rounded = nearest_lot(rounded - np.copysign(lot, quantity), lot)
    return rounded


@njit(cache=True)
def liquidation_price(quantity, entry_price, margin, tiers):
    """Price at which margin + unrealised profit equals the maintenance margin; see `account.liquidation_price`."""
    size, side = abs(quantity), np.sign(quantity)
    price = 0.0
    for i in range(tiers.rates.size if size > 0.0 else 0):
        root = (side * size * entry_price - margin - tiers.amounts[i]) / (size * (side - tiers.rates[i]))
        if i == 0 or side * root > side * price:
            price = root
    return max(price, 0.0)


@njit(cache=True)
def margin_at_risk(cash, quantity, entry_price, terms):
    """What a position can lose: the whole wallet (cross) or its initial margin (isolated)."""
    if terms.isolated:
        return min(cash, abs(quantity) * entry_price / terms.leverage)
    return cash


@njit(cache=True)
def equity_at(state, terms, mark):
    """Cash + quantity * (mark - entry price); a position loses no more than its margin, so this is never below zero."""
    margin = margin_at_risk(state.cash, state.quantity, state.entry_price, terms)
    return state.cash + max(state.quantity * (mark - state.entry_price), -margin)


@njit(cache=True)
def settle(state, terms, tiers, cash, quantity, entry_price, order):
    """`state` with new money and position, and the liquidation price that follows from them."""
    margin = margin_at_risk(cash, quantity, entry_price, terms)
    level = liquidation_price(quantity, entry_price, margin, tiers)
    return State(cash, quantity, entry_price, level, state.target, order, state.mark)


@njit(cache=True)
def book(state, terms, tiers, reason, trade, price, fee):
    """Trade `trade` at `price`: average cost on the way in, realised profit on the way out, a flip closes the old side first.

    Nothing takes the account below zero: a loss beyond the margin falls to the venue's insurance fund, and a fee is at most what is left.
    """
    held, entry, closed, realised = state.quantity, state.entry_price, 0.0, 0.0
    after = nearest_lot(held + trade, terms.lot)
    if held == 0.0:
        entry = price
    elif held * trade > 0.0:
        entry = (held * entry + trade * price) / (held + trade)
    else:
        closed = held if after * held <= 0.0 else -trade
        margin = margin_at_risk(state.cash, held, entry, terms)
        realised = max(closed * (price - entry), -margin)
        if after * held <= 0.0:
            entry = price if after != 0.0 else 0.0
    fee = min(fee, max(state.cash + realised + (held - closed) * (price - state.entry_price), 0.0))
    return settle(state, terms, tiers, state.cash + realised - fee, after, entry, 0.0), Fill(reason, trade, price, fee, realised)


@njit(cache=True)
def liquidate(state, terms, tiers, price):
    """Close everything at `price`; the liquidation fee is taken from what is left of the margin."""
    margin = margin_at_risk(state.cash, state.quantity, state.entry_price, terms)
    left = max(margin + state.quantity * (price - state.entry_price), 0.0)
    fee = min(terms.liquidation * abs(state.quantity) * price, left)
    return book(state, terms, tiers, LIQUIDATION, -state.quantity, price, fee)


@njit(cache=True)
def decide(state, terms, target, close, mark):
    """At a bar's close: fix the order that brings the position to target * equity / close. An unchanged target orders nothing."""
    if target == state.target:
        return state
    wanted = round_to_lot(target * equity_at(state, terms, mark) / close, terms.lot)
    order = nearest_lot(wanted - state.quantity, terms.lot)
    return State(state.cash, state.quantity, state.entry_price, state.liquidation_price, target, order, mark)


@njit(cache=True)
def pay_funding(state, terms, tiers, mark, rate):
    """Step 1: the position held pays quantity * mark * rate (negative: receives)."""
    if rate == 0.0 or state.quantity == 0.0:
        return state, 0.0
    amount = -state.quantity * mark * rate
    return settle(state, terms, tiers, state.cash + amount, state.quantity, state.entry_price, state.order), amount


@njit(cache=True)
def fill_order(state, terms, tiers, open_):
    """Step 2: the order fills at the open with slippage, as taker. A position with nothing left at that price is liquidated instead."""
    if state.order == 0.0:
        return state, NO_FILL
    price = open_ * (1.0 + np.copysign(terms.slippage, state.order))
    margin = margin_at_risk(state.cash, state.quantity, state.entry_price, terms)
    if state.quantity != 0.0 and margin + state.quantity * (price - state.entry_price) <= 0.0:
        return liquidate(state, terms, tiers, open_)
    return book(state, terms, tiers, ORDER, state.order, price, terms.taker * abs(state.order) * price)


@njit(cache=True)
def touched(state, terms, open_, high, low):
    """Step 3: what closes the position inside the bar and at which quoted price; (NONE, 0) if nothing does.

    The adverse side first, whichever of stop-loss and liquidation is met first on the way; then take-profit. A bar that opens beyond a
    level fills at the open. Prices times `side` turn a short into a long: smaller is worse.
    """
    if state.quantity == 0.0:
        return NONE, 0.0
    side = np.sign(state.quantity)
    worst, best = (low, high) if side > 0.0 else (-high, -low)
    stop = side * state.entry_price * (1.0 - side * terms.stop_loss)
    liquidation = side * state.liquidation_price
    if worst <= max(stop, liquidation):
        return LIQUIDATION if liquidation > stop else STOP_LOSS, side * min(side * open_, max(stop, liquidation))
    take = side * state.entry_price * (1.0 + side * terms.take_profit)
    if best >= take:
        return TAKE_PROFIT, side * max(side * open_, take)
    return NONE, 0.0


@njit(cache=True)
def exit_at(state, terms, tiers, reason, price):
    """Close the position for what `touched` found: a stop as taker with slippage, a take-profit as maker at its price."""
    if reason == LIQUIDATION:
        return liquidate(state, terms, tiers, price)
    if reason == STOP_LOSS:
        price *= 1.0 - np.copysign(terms.slippage, state.quantity)
    rate = terms.taker if reason == STOP_LOSS else terms.maker
    return book(state, terms, tiers, reason, -state.quantity, price, rate * abs(state.quantity) * price)


@njit(cache=True)
def mark_close(state, terms, mark):
    """Step 4: equity at the mark."""
    marked = State(state.cash, state.quantity, state.entry_price, state.liquidation_price, state.target, state.order, mark)
    return marked, equity_at(marked, terms, mark)


@njit(cache=True)
def record(bars, rows, k, bar, fill, position):
    """Write row k, return k + 1."""
    bars[k] = bar
    rows[k, 0], rows[k, 1], rows[k, 2] = fill.reason, fill.quantity, fill.price
    rows[k, 3], rows[k, 4], rows[k, 5] = fill.fee, fill.realised, position
    return k + 1


@njit(cache=True)
def run(open_, high, low, close, mark, rate, target, state, terms, tiers):
    """All bars in order. `mark` and `rate` may be empty (none known), `target` is NaN where nothing is decided.

    Returns the last state, equity[n], (bar[k], fill[k, 6]: reason, quantity, price, fee, realised, position after),
    (bar[m], payment[m, 4]: amount, rate, mark, quantity).
    """
    n = close.size
    equity = np.empty(n)
    fill_bar, fills, n_fills = np.empty(2 * n, np.int64), np.empty((2 * n, 6)), 0
    paid_bar, paid, n_paid = np.empty(n, np.int64), np.empty((n, 4)), 0
    for i in range(n):
        if rate.size > 0 and rate[i] != 0.0 and state.quantity != 0.0:
            at = mark[i - 1] if mark.size > 0 and i > 0 and not np.isnan(mark[i - 1]) else open_[i]
            state, amount = pay_funding(state, terms, tiers, at, rate[i])
            paid_bar[n_paid] = i
            paid[n_paid, 0], paid[n_paid, 1], paid[n_paid, 2], paid[n_paid, 3] = amount, rate[i], at, state.quantity
            n_paid += 1
        if state.order != 0.0:
            state, fill = fill_order(state, terms, tiers, open_[i])
            n_fills = record(fill_bar, fills, n_fills, i, fill, state.quantity)
        if state.quantity != 0.0:
            reason, price = touched(state, terms, open_[i], high[i], low[i])
            if reason != NONE:
                state, fill = exit_at(state, terms, tiers, reason, price)
                n_fills = record(fill_bar, fills, n_fills, i, fill, state.quantity)
        at = mark[i] if mark.size > 0 and not np.isnan(mark[i]) else close[i]
        state, equity[i] = mark_close(state, terms, at)
        if not np.isnan(target[i]):
            state = decide(state, terms, target[i], close[i], at)
    return state, equity, (fill_bar[:n_fills].copy(), fills[:n_fills].copy()), (paid_bar[:n_paid].copy(), paid[:n_paid].copy())
