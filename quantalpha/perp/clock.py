"""The clock of a decision, compiled: what one bar does to one account. The only copy of the money's arithmetic.

Order inside a bar: funding on the position held, the order (or time stop) at the open, then inside the bar the adverse side (stops,
liquidation) before take-profit and resting orders, the mark at the close, the next decision. `Ledger` calls these functions bar by bar,
`run` in a loop and `run_many` for several symbols in one account, so all agree bit for bit. They are pure: a State in, a State out.
All of it stands in one file because numba's cache watches only the file of the function it caches.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numba.np.unsafe.ndarray import to_fixed_tuple

REASONS = ("", "order", "stop_loss", "take_profit", "liquidation", "trailing_stop", "time_stop", "limit", "delisting")
NONE, ORDER, STOP_LOSS, TAKE_PROFIT, LIQUIDATION, TRAILING_STOP, TIME_STOP, LIMIT, DELISTING = range(9)
ROUNDING = 1e-12  # float64 noise of target * equity / price: this little below a lot counts as the lot
TOLERATED = 1e-9  # relative: targets scaled to a limit may come out this much above it


class State(NamedTuple):
    """An account in one linear perpetual, in quote currency; every field finite."""

    cash: float  # wallet balance: initial cash + realised - fees + funding
    quantity: float  # signed, in base currency
    entry_price: float  # average fill price, 0 when flat
    liquidation_price: float  # 0 when flat or out of reach
    target: float  # last target acted on, signed leverage
    order: float  # signed quantity to trade; waits for its open, or rests at `limit`
    mark: float  # last mark price seen at a close
    limit: float  # price of the order, 0 for a market order
    wait: float  # opens that pass before the order is due
    rested: float  # bars a limit order has been resting, 0 before it arrived
    best: float  # best price since entry: what a trailing stop hangs on
    held: float  # closes since the last order filled
    # In an account of several symbols, what the other positions mean for this one; 0 in an account of its own.
    support: float  # they add this to its margin: profit of cross positions less margin of isolated ones
    reserve: float  # they need this maintenance margin
    elsewhere: float  # their unrealised profit


class Terms(NamedTuple):
    """What does not change while an account trades; fractions, infinity where there is no such level."""

    maker: float
    taker: float
    slippage: float
    ceiling: float  # of the slippage a model gives
    liquidation: float
    delay: float  # opens an order misses
    stop_loss: float
    take_profit: float
    trailing_stop: float
    max_bars: float
    leverage: float
    apart: float  # 1 or 2: only a margin of its own stands behind a position; 2: it is a coin, which nobody liquidates; 0: cross
    lot: float
    tick: float
    min_notional: float
    change_band: float  # a target counts as changed when it moves by more
    drift_band: float  # exposure may leave the target by as much
    limit_bars: float  # a limit order rests this long


class Tiers(NamedTuple):
    """Maintenance margin = the largest rate * notional - amount. Tuples of BRACKETS numbers, since counting references to arrays would
    cost more than all the rest; what is left over repeats the last bracket."""

    rates: tuple[float, ...]
    amounts: tuple[float, ...]  # quote currency


class Fill(NamedTuple):
    reason: int
    quantity: float
    price: float
    fee: float
    realised: float
    slippage: float  # quote currency, + paid, within the price


class Market(NamedTuple):
    """float64[n] each, or float64[symbols, n]; empty where a table has no such column."""

    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    mark: np.ndarray  # at the close; NaN where unknown
    rate: np.ndarray  # funding settled at the open
    spread: np.ndarray  # slippage of a taker: spread + impact * sqrt(notional); empty: Terms.slippage
    impact: np.ndarray


class Plan(NamedTuple):
    """What is decided at each close."""

    target: np.ndarray  # float64[n], signed leverage
    limit: np.ndarray  # float64[n], price of a limit order, 0 at market; may be empty
    sparse: bool  # whether a NaN target means that nothing is decided; else it is a fault


NO_FILL = Fill(NONE, 0.0, 0.0, 0.0, 0.0, 0.0)
FILL_COLUMNS, FUNDING_COLUMNS = 8, 5
BRACKETS = 16
BLOCK = 64  # bars looked at together


@njit(cache=True)
def updated(
    state, cash=None, quantity=None, entry_price=None, liquidation_price=None, target=None, order=None, mark=None, limit=None,
    wait=None, rested=None, best=None, held=None, support=None, reserve=None, elsewhere=None,
):  # fmt: skip
    """`State._replace`, which compiled code lacks."""
    return State(
        state.cash if cash is None else cash,
        state.quantity if quantity is None else quantity,
        state.entry_price if entry_price is None else entry_price,
        state.liquidation_price if liquidation_price is None else liquidation_price,
        state.target if target is None else target,
        state.order if order is None else order,
        state.mark if mark is None else mark,
        state.limit if limit is None else limit,
        state.wait if wait is None else wait,
        state.rested if rested is None else rested,
        state.best if best is None else best,
        state.held if held is None else held,
        state.support if support is None else support,
        state.reserve if reserve is None else reserve,
        state.elsewhere if elsewhere is None else elsewhere,
    )


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
def round_to_tick(price, tick, side):
    """`price` on the grid of `tick`, to the passive side: a buy (+1) down, a sell (-1) up."""
    rounded = round_to_lot(price, tick)
    return nearest_lot(rounded + tick, tick) if side < 0.0 and rounded < price * (1.0 - ROUNDING) else rounded


@njit(cache=True)
def liquidation_price(quantity, entry_price, margin, tiers):
    """Price at which margin + unrealised profit equals the maintenance margin; see `account.liquidation_price`.

    Bracket by bracket the price first comes nearer and then goes away again, since rates rise: the turn is the answer.
    """
    size, side = abs(quantity), np.sign(quantity)
    price = 0.0
    for i in range(BRACKETS if size > 0.0 else 0):
        root = (side * size * entry_price - margin - tiers.amounts[i]) / (size * (side - tiers.rates[i]))
        if i > 0 and side * root <= side * price:
            break
        price = root
    return max(price, 0.0)


@njit(cache=True)
def maintenance(quantity, price, tiers):
    """Maintenance margin of a position at `price`: the largest of the brackets' lines."""
    notional, needed = abs(quantity) * price, 0.0
    for i in range(BRACKETS):
        needed = max(needed, tiers.rates[i] * notional - tiers.amounts[i])
    return needed


@njit(cache=True)
def margin_at_risk(state, terms):
    """What a position can lose: all that stands behind it (cross), or its initial margin (isolated) as far as the wallet still has it.

    What a wallet below zero owes falls to perpetuals, never to a coin.
    """
    margin = state.cash + state.support
    if terms.apart == 0.0:
        return margin
    margin = max(margin, 0.0) if terms.apart == 2.0 else margin
    return min(margin, abs(state.quantity) * state.entry_price / terms.leverage) if state.quantity != 0.0 else 0.0


@njit(cache=True)
def equity_at(state, terms, mark):
    """Cash + unrealised profit of all positions, this one at `mark`; it loses no more than its margin."""
    return state.cash + state.elsewhere + max(state.quantity * (mark - state.entry_price), -margin_at_risk(state, terms))


@njit(cache=True)
def settle(state, terms, tiers):
    """`state` with the liquidation price that follows from its money and position."""
    level = 0.0
    if state.quantity != 0.0 and terms.apart != 2.0:
        margin = margin_at_risk(state, terms) - (0.0 if terms.apart != 0.0 else state.reserve)
        level = liquidation_price(state.quantity, state.entry_price, margin, tiers)
    return updated(state, liquidation_price=level)


@njit(cache=True)
def without_order(state):
    return updated(state, order=0.0, limit=0.0, wait=0.0, rested=0.0)


@njit(cache=True)
def slippage_of(terms, spread, impact, notional):
    """Fraction of the price that a taker of `notional` loses; NaN spread: the fixed one."""
    if np.isnan(spread):
        return terms.slippage
    return min(spread + impact * np.sqrt(notional), terms.ceiling)


@njit(cache=True)
def book(state, terms, tiers, reason, trade, price, fee, slipped):
    """Trade `trade` at `price`: average cost on the way in, realised profit on the way out, a flip closes the old side first.

    Whatever waited or rested is gone. Nothing takes the account below zero: a loss beyond the margin falls to the venue's insurance fund,
    and a fee is at most what is left.
    """
    held, entry, closed, realised, best = state.quantity, state.entry_price, 0.0, 0.0, state.best
    after = nearest_lot(held + trade, terms.lot)
    if held == 0.0:
        entry = best = price
    elif held * trade > 0.0:
        entry = (held * entry + trade * price) / (held + trade)
        best = max(best, price) if held > 0.0 else min(best, price)
    else:
        closed = held if after * held <= 0.0 else -trade
        realised = closed * (price - entry)
        if after * held <= 0.0:
            realised = max(realised, -margin_at_risk(state, terms))
            entry = best = price if after != 0.0 else 0.0
    left = state.cash + state.support + realised + (held - closed) * (price - state.entry_price)
    fee = min(fee, max(left, 0.0))
    state = updated(state, cash=state.cash + realised - fee, quantity=after, entry_price=entry, best=best, held=0.0)
    return settle(without_order(state), terms, tiers), Fill(reason, trade, price, fee, realised, slipped)


@njit(cache=True)
def liquidate(state, terms, tiers, price):
    """Close everything at `price`; the liquidation fee is taken from what is left of the margin."""
    left = max(margin_at_risk(state, terms) + state.quantity * (price - state.entry_price), 0.0)
    fee = min(terms.liquidation * abs(state.quantity) * price, left)
    return book(state, terms, tiers, LIQUIDATION, -state.quantity, price, fee, 0.0)


@njit(cache=True)
def take(state, terms, tiers, reason, trade, quoted, price):
    """A taker's trade at `price` where `quoted` was seen."""
    size = abs(trade)
    return book(state, terms, tiers, reason, trade, price, terms.taker * size * price, size * abs(price - quoted))


@njit(cache=True)
def decide(state, terms, target, limit, close, mark):
    """At a bar's close: fix the order that brings the position to target * equity / close; `limit` 0 is a market order.

    Nothing is ordered while the target stands, unless the exposure has drifted out of the rebalance band.
    """
    changed = target != state.target and (abs(target - state.target) > terms.change_band or target * state.target <= 0.0)
    equity = equity_at(state, terms, mark)
    drift = abs(state.quantity * close - target * equity)
    drifted = state.quantity != 0.0 and state.order == 0.0 and drift > terms.drift_band * equity
    if not (changed or drifted):
        return state
    wanted = round_to_lot(target * equity / close, terms.lot)
    order = nearest_lot(wanted - state.quantity, terms.lot)
    if wanted != 0.0 and abs(order) * close < terms.min_notional:
        order = 0.0
    price = 0.0
    if changed and limit > 0.0 and order != 0.0:
        price = round_to_tick(limit, terms.tick, order)
        order = order if price > 0.0 else 0.0  # nobody buys below the first tick
    return updated(state, target=target, order=order, limit=price, wait=terms.delay if order != 0.0 else 0.0, rested=0.0)


@njit(cache=True)
def pay_funding(state, terms, tiers, mark, rate):
    """Step 1: the position held pays quantity * mark * rate (negative: receives)."""
    if rate == 0.0 or state.quantity == 0.0:
        return state, 0.0
    amount = -state.quantity * mark * rate
    return settle(updated(state, cash=state.cash + amount), terms, tiers), amount


@njit(cache=True)
def fill_open(state, terms, tiers, open_, spread, impact):
    """Step 2: a due order fills at the open as taker, a limit order only within its limit; else a position held too long is closed.

    A position with nothing left at that price is liquidated instead.
    """
    if state.order == 0.0 and (state.quantity == 0.0 or state.held < terms.max_bars):
        return state, NO_FILL
    return trade_open(state, terms, tiers, open_, spread, impact)


@njit(cache=True)
def open_one(state, terms, tiers, mark, rate, open_, spread, impact):
    """Steps 1 and 2 in one call, for who steps bar by bar: state, funding received, fill."""
    state, amount = pay_funding(state, terms, tiers, mark, rate)
    state, fill = fill_open(state, terms, tiers, open_, spread, impact)
    return state, amount, fill


@njit(cache=True)
def trade_open(state, terms, tiers, open_, spread, impact):
    reason, trade, price = NONE, state.order, 0.0
    if state.order != 0.0 and state.wait > 0.0:
        state = updated(state, wait=state.wait - 1.0)
    elif state.order != 0.0:
        side = np.sign(trade)
        price = open_ * (1.0 + side * slippage_of(terms, spread, impact, abs(trade) * open_))
        if state.limit == 0.0:
            reason = ORDER
        elif state.rested == 0.0 and side * (state.limit - open_) >= 0.0:
            reason, price = ORDER, side * min(side * price, side * state.limit)
        else:
            state = updated(state, rested=state.rested + 1.0)
    if reason == NONE and state.quantity != 0.0 and state.held >= terms.max_bars:
        reason, trade = TIME_STOP, -state.quantity
        price = open_ * (1.0 + np.sign(trade) * slippage_of(terms, spread, impact, abs(trade) * open_))
    if reason == NONE:
        return state, NO_FILL
    if state.quantity != 0.0 and terms.apart != 2.0 and margin_at_risk(state, terms) + state.quantity * (price - state.entry_price) <= 0.0:
        return liquidate(state, terms, tiers, open_)
    return take(state, terms, tiers, reason, trade, open_, price)


@njit(cache=True)
def adverse_level(state, terms):
    """The level met first on the losing side, times the position's side, and what it is; prices times `side` turn a short into a long."""
    side = np.sign(state.quantity)
    reason, level = STOP_LOSS, side * state.entry_price * (1.0 - side * terms.stop_loss)
    trailing = side * state.best * (1.0 - side * terms.trailing_stop)
    if trailing > level:
        reason, level = TRAILING_STOP, trailing
    liquidation = side * state.liquidation_price
    if liquidation > level:
        reason, level = LIQUIDATION, liquidation
    return reason, level


@njit(cache=True)
def adverse(state, terms, open_, high, low):
    """What closes the position on its losing side and at which quoted price: (NONE, 0) if nothing does."""
    if state.quantity == 0.0:
        return NONE, 0.0
    side = np.sign(state.quantity)
    reason, level = adverse_level(state, terms)
    if (low if side > 0.0 else -high) > level:
        return NONE, 0.0
    return reason, side * min(side * open_, level)


@njit(cache=True)
def exit_at(state, terms, tiers, reason, price, spread, impact):
    """Close the position on its losing side: a stop as taker with slippage, a liquidation at its price."""
    if reason == LIQUIDATION:
        return liquidate(state, terms, tiers, price)
    slip = slippage_of(terms, spread, impact, abs(state.quantity) * price)
    return take(state, terms, tiers, reason, -state.quantity, price, price * (1.0 - np.copysign(slip, state.quantity)))


@njit(cache=True)
def rest(state, terms, tiers, open_, high, low):
    """Take-profit and the resting limit order, whichever is met first: makers at their own price, (state, NO_FILL) if neither is met.

    An order on the losing side of the position adds to it and goes before the profit; on the winning side the nearer one goes first.
    """
    side = np.sign(state.quantity)
    profit = side * state.entry_price * (1.0 + side * terms.take_profit)
    profits = side != 0.0 and (high if side > 0.0 else -low) >= profit
    through = state.rested > 0.0 and (low < state.limit if state.order > 0.0 else high > state.limit)
    if through and not (profits and state.order * side < 0.0 and profit <= side * state.limit):
        fee = terms.maker * abs(state.order) * state.limit
        return book(state, terms, tiers, LIMIT, state.order, state.limit, fee, 0.0)
    if profits:
        price = side * max(side * open_, profit)
        return book(state, terms, tiers, TAKE_PROFIT, -state.quantity, price, terms.maker * abs(state.quantity) * price, 0.0)
    return state, NO_FILL


@njit(cache=True)
def inside(state, terms, tiers, open_, high, low, spread, impact):
    """Step 3: state and up to two fills."""
    side = np.sign(state.quantity)
    loss, gain = (low, high) if side > 0.0 else (-high, -low)
    met = side != 0.0 and (loss <= adverse_level(state, terms)[1] or gain >= side * state.entry_price * (1.0 + side * terms.take_profit))
    if not met and state.rested == 0.0:
        return with_best(state, terms, high, low), NO_FILL, NO_FILL
    return trade_inside(state, terms, tiers, open_, high, low, spread, impact)


@njit(cache=True)
def with_best(state, terms, high, low):
    """The bar's extreme is what a trailing stop hangs on from the next bar."""
    if terms.trailing_stop == np.inf or state.quantity == 0.0:
        return state
    return updated(state, best=max(state.best, high) if state.quantity > 0.0 else min(state.best, low))


@njit(cache=True)
def trade_inside(state, terms, tiers, open_, high, low, spread, impact):
    """The losing side first; a limit order that opens or enlarges the position is tested on it again."""
    before, opened = state.quantity, False
    second = NO_FILL
    reason, price = adverse(state, terms, open_, high, low)
    if reason != NONE:
        state, first = exit_at(state, terms, tiers, reason, price, spread, impact)
    else:
        state, first = rest(state, terms, tiers, open_, high, low)
    if first.reason == LIMIT and (before * state.quantity <= 0.0 or abs(state.quantity) > abs(before)):
        opened = before * state.quantity <= 0.0
        reached = min(first.price, open_) if first.quantity > 0.0 else max(first.price, open_)  # where the market was when it filled
        reason, price = adverse(state, terms, reached, high, low)
        if reason != NONE:
            state, second = exit_at(state, terms, tiers, reason, price, spread, impact)
    return state if opened else with_best(state, terms, high, low), first, second


@njit(cache=True)
def mark_close(state, terms, mark):
    """Step 4: equity at the mark; a limit order that has rested long enough is gone."""
    state = updated(state, mark=mark, held=state.held + (1.0 if state.quantity != 0.0 else 0.0))
    if state.rested >= terms.limit_bars:
        state = without_order(state)
    return state, equity_at(state, terms, mark)


@njit(cache=True)
def record(rows, count, bar, fill, position):
    """Write a fill as a row: bar, reason, quantity, price, fee, realised, position after, slippage. Returns the number of rows."""
    rows[count, 0], rows[count, 1], rows[count, 2], rows[count, 3] = bar, fill.reason, fill.quantity, fill.price
    rows[count, 4], rows[count, 5], rows[count, 6], rows[count, 7] = fill.fee, fill.realised, position, fill.slippage
    return count + 1


@njit(cache=True)
def record_funding(rows, count, bar, amount, rate, mark, quantity):
    """Write a payment as a row of these five."""
    rows[count, 0], rows[count, 1], rows[count, 2], rows[count, 3], rows[count, 4] = bar, amount, rate, mark, quantity
    return count + 1


@njit(cache=True)
def sound(open_, high, low, close):
    """Positive finite prices with the body between low and high; false for NaN."""
    return (low > 0.0) & (low <= open_) & (low <= close) & (high >= open_) & (high >= close) & (high < np.inf)


@njit(cache=True)
def quiet_bounds(state, terms):
    """Lows above the first and highs below the second leave the account alone; none do while an order or what must be looked at waits."""
    if state.order != 0.0:
        return np.inf, -np.inf
    if state.quantity == 0.0:
        return 0.0, np.inf
    if terms.trailing_stop < np.inf or terms.max_bars < np.inf or terms.drift_band < np.inf:
        return np.inf, -np.inf
    side = np.sign(state.quantity)
    loss = side * adverse_level(state, terms)[1]
    profit = state.entry_price * (1.0 + side * terms.take_profit)
    return (loss, profit) if side > 0.0 else (max(profit, 0.0), loss)


@njit(cache=True)
def first_event(open_, high, low, close, marks, rate, target, sparse, bounds, known, holding, first, end):
    """The first bar that may change more than the mark or is unsound, or `end`. Whole blocks without branches, which vectorise."""
    lower, upper = bounds
    while first < end:
        size = min(BLOCK, end - first)
        found = size
        for k in range(size):
            i = np.uint64(first + k)
            quiet = (low[i] <= open_[i]) & (low[i] <= close[i]) & (high[i] >= open_[i]) & (high[i] >= close[i])
            quiet &= (low[i] > lower) & (high[i] < upper) & ~(marks[i] <= 0.0) & ~(marks[i] >= np.inf)
            quiet &= (target[i] == known) | (sparse & (target[i] != target[i]))
            found = min(found, size if quiet else k)
        for k in range(size if rate.size > 0 else 0):
            due = rate[np.uint64(first + k)]
            quiet = (due == 0.0) | ((not holding) & (abs(due) < 1.0))
            found = min(found, size if quiet else k)
        if found < size:
            return first + found
        first += size
    return end


@njit(cache=True)
def mark_stretch(state, terms, marks, close, equity, first, end):
    """Equity of bars that change nothing but the mark."""
    cash, quantity, entry, floor = state.cash + state.elsewhere, state.quantity, state.entry_price, -margin_at_risk(state, terms)
    for k in range(first, end):
        i = np.uint64(k)
        at = close[i] if marks[i] != marks[i] else marks[i]
        equity[i] = cash + max(quantity * (at - entry), floor)


@njit(cache=True, nogil=True)
def run(market, plan, span, state, terms, tiers, out):
    """The bars from span[0] up to span[1] in order.

    out: equity float64[n], fills float64[rows, 8] (as `record`) and funding float64[rows, 5], which are written. Returns the state, how
    many fills and payments there were, the bar before which it stopped (the end, or earlier where a table is full: go on from there), and
    whether that bar's price, mark, rate, target or limit is unsound.
    """
    open_, high, low, close, mark, rate, spread, impact = market
    target, limit, sparse = plan
    i, end = span
    equity, fills, paid = out
    has_mark, has_rate, n_fills, n_paid = mark.size > 0, rate.size > 0, 0, 0
    marks = mark if has_mark else close
    state = settle(state, terms, tiers)
    while i < end and n_fills + 3 <= fills.shape[0] and n_paid < paid.shape[0]:
        # Most bars change nothing but the mark: the first that may do more is found with vector instructions.
        start, bounds, holding = i, quiet_bounds(state, terms), state.quantity != 0.0
        if bounds[0] < np.inf:
            i = first_event(open_, high, low, close, marks, rate, target, sparse, bounds, state.target, holding, i, end)
        if i > start:
            mark_stretch(state, terms, marks, close, equity, start, i)
            at = close[i - 1] if np.isnan(marks[i - 1]) else marks[i - 1]
            state = updated(state, mark=at, held=state.held + (i - start if holding else 0))
        if i == end:
            break
        at = close[i] if np.isnan(marks[i]) else marks[i]
        due, bound = rate[i] if has_rate else 0.0, limit[i] if limit.size > 0 else 0.0
        decided = not (sparse and np.isnan(target[i]))
        if not (sound(open_[i], high[i], low[i], close[i]) and 0.0 < at < np.inf and abs(due) < 1.0):
            return state, n_fills, n_paid, i, True
        if decided and not (abs(target[i]) <= terms.leverage * (1.0 + TOLERATED) and 0.0 <= bound < np.inf):
            return state, n_fills, n_paid, i, True
        wide, steep = (spread[i], impact[i]) if spread.size > 0 else (np.nan, 0.0)
        if due != 0.0 and state.quantity != 0.0:
            settled = mark[i - 1] if has_mark and i > 0 and not np.isnan(mark[i - 1]) else open_[i]
            state, amount = pay_funding(state, terms, tiers, settled, due)
            n_paid = record_funding(paid, n_paid, i, amount, due, settled, state.quantity)
        state, fill = fill_open(state, terms, tiers, open_[i], wide, steep)
        if fill.reason != NONE:
            n_fills = record(fills, n_fills, i, fill, state.quantity)
        state, fill, second = inside(state, terms, tiers, open_[i], high[i], low[i], wide, steep)
        if fill.reason != NONE:
            n_fills = record(fills, n_fills, i, fill, state.quantity if second.reason == NONE else -second.quantity)
        if second.reason != NONE:
            n_fills = record(fills, n_fills, i, second, state.quantity)
        state, equity[i] = mark_close(state, terms, at)
        if decided:
            state = decide(state, terms, target[i], bound, close[i], at)
        i += 1
    return state, n_fills, n_paid, i, False


# Several symbols in one account. Each step visits the symbols in order, sees one as the State of an account of its own that the others
# support (`view`), and calls the same functions as `run`. Arrays are float64[symbols]; an open of NaN is a symbol without a bar.


class Books(NamedTuple):
    """An account of several symbols; arrays that the steps write."""

    cash: np.ndarray  # float64[1]: the wallet they share
    states: np.ndarray  # float64[symbols, State], whose cash and last three columns are not used
    terms: np.ndarray  # float64[symbols, Terms]
    rates: np.ndarray  # float64[symbols, BRACKETS], as Tiers
    amounts: np.ndarray
    prices: np.ndarray  # float64[symbols]: at what each position is valued now
    lent: np.ndarray  # float64[symbols]: margins set aside before its turn


class Log(NamedTuple):
    """What happened; `counts` says how many rows are written."""

    fills: np.ndarray  # float64[rows, 9]: as `record`, then the symbol's number
    paid: np.ndarray  # float64[rows, 6]: as `record_funding`, then the symbol's number
    counts: np.ndarray  # int64[2]


STATE_FIELDS, TERMS_FIELDS = len(State._fields), len(Terms._fields)
QUANTITY, ENTRY_PRICE, ORDERED = (State._fields.index(name) for name in ("quantity", "entry_price", "order"))
APART = Terms._fields.index("apart")


@njit(cache=True)
def terms_of(books, s):
    return Terms(*to_fixed_tuple(books.terms[s], TERMS_FIELDS))


@njit(cache=True)
def tiers_of(books, s):
    return Tiers(to_fixed_tuple(books.rates[s], BRACKETS), to_fixed_tuple(books.amounts[s], BRACKETS))


@njit(cache=True)
def stored(books, s):
    """The State of symbol s, alone with the whole wallet."""
    return updated(State(*to_fixed_tuple(books.states[s], STATE_FIELDS)), cash=books.cash[0], support=0.0, reserve=0.0, elsewhere=0.0)


@njit(cache=True)
def store(books, s, state):
    books.cash[0] = state.cash
    row = books.states[s]
    row[1], row[2], row[3], row[4], row[5], row[6] = state[1], state[2], state[3], state[4], state[5], state[6]
    row[7], row[8], row[9], row[10], row[11] = state[7], state[8], state[9], state[10], state[11]


class Totals(NamedTuple):
    """Of all positions at `Books.prices`."""

    profit: float  # of cross positions
    needed: float  # maintenance margin of cross positions
    lent: float  # margins of positions that stand apart
    apart: float  # profits of positions that stand apart, each no less than minus its margin


@njit(cache=True)
def totals(books):
    """Writes `Books.lent` on the way. Coins are paid in full, so their margin is set aside first, then the others' in order.

    A coin may be paid with the open profit of the cross positions, which then no longer stands behind them.
    """
    profit = needed = lent = apart = 0.0
    for turn in (0.0, 2.0, 1.0):
        for s in range(books.prices.size):
            quantity = books.states[s, QUANTITY]
            if books.terms[s, APART] != turn:
                continue
            books.lent[s] = lent
            own = quantity * (books.prices[s] - books.states[s, ENTRY_PRICE])
            if quantity != 0.0 and turn == 0.0:
                profit, needed = profit + own, needed + maintenance(quantity, books.prices[s], tiers_of(books, s))
            elif quantity != 0.0:
                margin = margin_at_risk(updated(stored(books, s), support=backing(turn, profit, lent)), terms_of(books, s))
                lent, apart = lent + margin, apart + max(own, -margin)
    return Totals(profit, needed, lent, apart)


@njit(cache=True)
def backing(apart, profit, lent):
    """What a position that stands apart finds beside the wallet."""
    return max(profit, 0.0) - lent if apart == 2.0 else -lent


@njit(cache=True)
def account_equity(books):
    """Wallet and unrealised profit at `Books.prices`; cross positions together lose no more than what the others leave them."""
    all_ = totals(books)
    return books.cash[0] + all_.apart + max(all_.profit, -(books.cash[0] - all_.lent))


@njit(cache=True)
def view(books, s, all_):
    """Symbol s as an account of its own, supported by the others: `all_` are the totals at `Books.prices`."""
    state, terms, tiers = stored(books, s), terms_of(books, s), tiers_of(books, s)
    own = state.quantity * (books.prices[s] - state.entry_price)
    if terms.apart == 0.0:
        reserve = all_.needed - maintenance(state.quantity, books.prices[s], tiers)
        others = all_.profit - own
        state = updated(state, support=others - all_.lent, reserve=reserve, elsewhere=others + all_.apart)
    else:
        state = updated(state, support=backing(terms.apart, all_.profit, books.lent[s]))
        held = max(own, -margin_at_risk(state, terms)) if state.quantity != 0.0 else 0.0
        cross = max(all_.profit, -(state.cash - all_.lent))
        state = updated(state, elsewhere=cross + (all_.apart - held))
    return settle(state, terms, tiers), terms, tiers


@njit(cache=True)
def log_fill(log, bar, s, fill, position):
    log.fills[log.counts[0], 8] = s
    log.counts[0] = record(log.fills, log.counts[0], bar, fill, position)


@njit(cache=True)
def liquidate_cross(books, log, bar):
    """Close every cross position at `Books.prices`."""
    for s in range(books.prices.size):
        if books.states[s, QUANTITY] != 0.0 and books.terms[s, APART] == 0.0:
            state, terms, tiers = view(books, s, totals(books))
            state, fill = liquidate(state, terms, tiers, books.prices[s])
            store(books, s, state)
            log_fill(log, bar, s, fill, state.quantity)


@njit(cache=True)
def after_fill(books, log, bar, s, fill, position, all_):
    """Note a fill; a cross position that is liquidated takes the others with it. Returns the totals as they are then."""
    if fill.reason == NONE:
        return all_
    log_fill(log, bar, s, fill, position)
    if fill.reason == LIQUIDATION and books.terms[s, APART] == 0.0:
        liquidate_cross(books, log, bar)
    return totals(books)


@njit(cache=True)
def engaged(books, s):
    """Whether symbol s holds or orders something."""
    return books.states[s, QUANTITY] != 0.0 or books.states[s, ORDERED] != 0.0


@njit(cache=True)
def open_all(books, log, bar, open_, rate, settled_at, spread, impact):
    """Steps 1 and 2 of all symbols: funding (at `settled_at`; NaN: the open), then orders at the open."""
    for s in range(open_.size):
        books.prices[s] = books.prices[s] if np.isnan(open_[s]) else open_[s]
    for s in range(open_.size):
        if not np.isnan(open_[s]) and rate[s] != 0.0 and books.states[s, QUANTITY] != 0.0:
            at = open_[s] if np.isnan(settled_at[s]) else settled_at[s]
            state, amount = pay_funding(stored(books, s), terms_of(books, s), tiers_of(books, s), at, rate[s])
            store(books, s, state)
            log.paid[log.counts[1], 5] = s
            log.counts[1] = record_funding(log.paid, log.counts[1], bar, amount, rate[s], at, state.quantity)
    all_ = totals(books)
    for s in range(open_.size):
        if not np.isnan(open_[s]) and engaged(books, s):
            state, terms, tiers = view(books, s, all_)
            state, fill = fill_open(state, terms, tiers, open_[s], spread[s], impact[s])
            store(books, s, state)
            all_ = after_fill(books, log, bar, s, fill, state.quantity, all_)


@njit(cache=True)
def inside_all(books, log, bar, open_, high, low, spread, impact):
    """Step 3 of all symbols, the others at their open."""
    all_ = totals(books)
    for s in range(open_.size):
        if not np.isnan(open_[s]) and engaged(books, s):
            state, terms, tiers = view(books, s, all_)
            state, fill, second = inside(state, terms, tiers, open_[s], high[s], low[s], spread[s], impact[s])
            store(books, s, state)
            all_ = after_fill(books, log, bar, s, fill, state.quantity if second.reason == NONE else -second.quantity, all_)
            all_ = after_fill(books, log, bar, s, second, state.quantity, all_)


@njit(cache=True)
def close_all(books, log, bar, close, mark):
    """Step 4 of all symbols: liquidation if the closes leave no more than the maintenance margin, else the mark (NaN: the close)."""
    for s in range(close.size):
        books.prices[s] = books.prices[s] if np.isnan(close[s]) else close[s]
    all_ = totals(books)
    if all_.needed > 0.0 and close.size > 1 and books.cash[0] - all_.lent + all_.profit <= all_.needed:
        liquidate_cross(books, log, bar)
    for s in range(close.size):
        if not np.isnan(close[s]):
            books.prices[s] = close[s] if np.isnan(mark[s]) else mark[s]
            state, _ = mark_close(stored(books, s), terms_of(books, s), books.prices[s])
            store(books, s, state)
    return account_equity(books)


@njit(cache=True)
def decide_all(books, target, limit, close):
    """What each symbol orders at its close; a NaN target decides nothing."""
    all_ = totals(books)
    for s in range(close.size):
        if not np.isnan(close[s]) and not np.isnan(target[s]):
            state, terms, _ = view(books, s, all_)
            store(books, s, decide(state, terms, target[s], limit[s], close[s], books.prices[s]))


@njit(cache=True)
def delist(books, log, bar, s):
    """After the last bar of symbol s its position is closed at its last mark, with a taker's fee, and its order is gone; the equity."""
    state, terms, tiers = view(books, s, totals(books))
    if state.quantity != 0.0:
        state, fill = take(state, terms, tiers, DELISTING, -state.quantity, books.prices[s], books.prices[s])
        log_fill(log, bar, s, fill, 0.0)
    store(books, s, updated(without_order(state), target=0.0))
    return account_equity(books)


@njit(cache=True, nogil=True)
def run_many(market, plan, span, books, leverage, equity, log):
    """As `run`, on Market and Plan of float64[n, symbols]; `rate`, `mark`, `spread` and `impact` are whole, NaN (rate: 0) where unknown.

    Returns the bar before which it stopped and the number of the symbol whose values are unsound, or -1.
    """
    open_, high, low, close, mark, rate, spread, impact = market
    i, end = span
    symbols = open_.shape[1]
    unknown = np.full(symbols, np.nan)
    while i < end and log.counts[0] + 4 * symbols <= log.fills.shape[0] and log.counts[1] + symbols <= log.paid.shape[0]:
        for s in range(symbols):
            if np.isnan(open_[i, s]):
                continue
            at = close[i, s] if np.isnan(mark[i, s]) else mark[i, s]
            if not (sound(open_[i, s], high[i, s], low[i, s], close[i, s]) and 0.0 < at < np.inf and abs(rate[i, s]) < 1.0):
                return i, s
            decided = not (plan.sparse and np.isnan(plan.target[i, s]))
            if decided and not (abs(plan.target[i, s]) <= leverage * (1.0 + TOLERATED) and 0.0 <= plan.limit[i, s] < np.inf):
                return i, s
        open_all(books, log, i, open_[i], rate[i], mark[i - 1] if i > 0 else unknown, spread[i], impact[i])
        inside_all(books, log, i, open_[i], high[i], low[i], spread[i], impact[i])
        equity[i] = close_all(books, log, i, close[i], mark[i])
        decide_all(books, plan.target[i], plan.limit[i], close[i])
        i += 1
    return i, -1
