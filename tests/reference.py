"""A second simulator, slow and plain, written from the text of the clock alone: one account, one symbol or several, every feature.

It keeps no closed form: the liquidation price is found by bisection on what stands behind a position = maintenance margin, with the
bracket looked up by notional. It remembers nothing that it can work out again, and shares no code with the compiled clock.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quantalpha.perp import Slippage, Stops

CEILING = 0.05  # of a slippage model
NOTHING = 1e-11  # a position this small is the noise of a sum


@dataclass
class Order:
    quantity: float
    limit: float | None  # None: a market order
    wait: int  # bars of its symbol until it is due: 0 at the next open
    rested: int | None = None  # closes it has rested; None: does not rest yet


class Book:
    """One symbol of the account: its bars, what is held, what is ordered."""

    def __init__(self, symbol, bars, target, account, costs):
        own = (account.instruments or {}).get(symbol)
        self.symbol, self.spot, self.costs = symbol, own is not None and own.spot, costs
        for name in ("lot", "tick", "min_notional", "brackets"):
            said = getattr(own, name, None)
            setattr(self, name, getattr(account, name) if said is None else said)
        self.rows = {bar.Index: bar for bar in bars.itertuples()}
        decisions = target if isinstance(target, pd.DataFrame) else target.to_frame("target")
        decisions = decisions.dropna(subset="target")
        limits = decisions["limit"] if "limit" in decisions else pd.Series(np.nan, index=decisions.index)
        self.decisions = {time: (value, limit) for time, value, limit in zip(decisions.index, decisions["target"], limits)}
        self.curves = None
        if isinstance(costs.slippage, Slippage):
            self.curves = dict(zip(bars.index, zip(*costs.slippage.curves(bars))))
        self.position = self.entry = self.target = self.best = 0.0
        self.held, self.order, self.born_inside = 0, None, False
        self.said, self.last = None, bars.index[-1]  # the decision that waits for a close; the last bar
        self.bar = self.before = None  # this bar and the one before it (None: missing)
        self.price = math.nan  # where the other positions see this one: the open in steps 1 to 3, the mark in step 4

    @property
    def side(self):
        return 1.0 if self.position > 0 else -1.0

    def profit(self, price):
        return self.position * (price - self.entry) if self.position else 0.0

    def maintenance(self, price, time):
        if self.spot or not self.position:
            return 0.0
        notional, amount, rate_below, table = abs(self.position) * price, 0.0, 0.0, self.brackets
        if isinstance(table[0][1], tuple):  # dated tables
            table = [brackets for start, brackets in table if start <= time][-1:] or [table[0][1]]
            table = table[0]
        for floor, rate in table:
            if floor > notional:
                break
            amount, rate_below = amount + floor * (rate - rate_below), rate
        return notional * rate_below - amount

    def mark(self):
        mark = getattr(self.bar, "mark", math.nan)
        return mark if math.isfinite(mark) else self.bar.close


class Reference:
    """`run` leaves fills (bar, symbol, quantity, price, fee, realised, reason, position, slippage), payments (bar, symbol, amount, rate,
    mark, quantity), the equity at each close and the cash."""

    def __init__(self, account, costs, stops=None):
        self.account, self.costs, self.stops = account, costs, stops or Stops()
        self.cash = account.initial_cash
        self.fills, self.payments, self.equity = [], [], []

    def run(self, bars, target):
        """One symbol: a frame and its target. Several: a mapping of frames, and a mapping or a frame of targets."""
        if isinstance(bars, pd.DataFrame):
            bars, target = {None: bars}, {None: target}
        self.books = [Book(symbol, frame, target[symbol], self.account, self.costs_of(symbol)) for symbol, frame in bars.items()]
        times = sorted(set().union(*(frame.index for frame in bars.values())))
        for i, time in enumerate(times):
            self.i, self.time = i, time
            self.live_through()
            self.delist([book for book in self.books if book.last == time < times[-1]])
        return self

    def costs_of(self, symbol):
        return self.costs[symbol] if isinstance(self.costs, Mapping) else self.costs

    def live_through(self):
        for book in self.books:
            book.before, book.bar = book.bar, book.rows.get(self.time)
            book.born_inside, book.said = False, book.decisions.get(self.time, book.said)
        present = [book for book in self.books if book.bar is not None]
        for book in present:
            book.price = book.bar.open
        for step in (self.fund, self.open, self.inside):
            for book in present:
                step(book)
        self.check_closes()
        for book in present:
            book.price = book.mark()
        self.equity.append(self.worth())
        for book in present:
            self.close(book)
        for book in present:
            self.decide(book)

    # --- what stands behind a position -------------------------------------------------------------------------------------------

    def alone(self, book):
        return book.spot or self.account.margin_mode == "isolated"

    def cross(self, but=None):
        return [book for book in self.books if book is not but and book.position and not self.alone(book)]

    def own_margins(self):
        """What each position that stands alone can lose: its initial margin (a coin: its cost), set aside for the coins first, then in the
        order of the symbols, and at most what the wallet then still holds. A coin's is never below zero."""
        aside = {}
        for book in self.in_turn():
            if book.position and self.alone(book):
                initial = abs(book.position) * book.entry / (1.0 if book.spot else self.account.leverage)
                left = self.cash - sum(aside.values()) + self.lent_to(book)
                aside[book] = min(initial, max(left, 0.0) if book.spot else left)
        return aside

    def lent_to(self, book):
        """A coin may be paid with the open profit of the cross positions."""
        return max(sum(other.profit(other.price) for other in self.cross()), 0.0) if book.spot else 0.0

    def free_cash(self, book):
        """The wallet less what was set aside before this position's turn; a cross position's turn comes last."""
        own = self.own_margins()
        turns = self.in_turn()
        before = turns[: turns.index(book)] if self.alone(book) else turns
        return self.cash - sum(own.get(other, 0.0) for other in before) + self.lent_to(book)

    def in_turn(self):
        return sorted(self.books, key=lambda book: not book.spot)

    def margin(self, book):
        if not book.position:
            return 0.0
        if self.alone(book):
            return self.own_margins()[book]
        return self.free_cash(book) + sum(other.profit(other.price) for other in self.cross(but=book))

    def covered(self, book, price):
        needed = book.maintenance(price, self.time)
        if not self.alone(book):
            needed += sum(other.maintenance(other.price, self.time) for other in self.cross(but=book))
        return self.margin(book) + book.profit(price) > needed

    def liquidation_level(self, book):
        """The price at which cover is lost, by bisection; None where no price does it."""
        low, high = 1e-12, 1e12
        if book.spot or self.covered(book, low) and self.covered(book, high):
            return None
        if not self.covered(book, low) and not self.covered(book, high):
            return 0.0 if book.position < 0 else math.inf
        below = self.covered(book, low)
        while low < (middle := (low + high) / 2) < high:
            if self.covered(book, middle) == below:
                low = middle
            else:
                high = middle
        return (low + high) / 2

    def worth(self):
        """Equity with every position at its `price`: no position loses more than what stands behind it."""
        own = self.own_margins()
        shared = max(self.cash - sum(own.values()) + sum(book.profit(book.price) for book in self.cross()), 0.0)
        return shared + sum(max(margin + book.profit(book.price), 0.0) for book, margin in own.items())

    # --- trades --------------------------------------------------------------------------------------------------------------------

    def slip(self, book, quantity, quoted):
        if book.curves is None:
            return book.costs.slippage
        base, impact = book.curves[self.time]
        return min(base + impact * math.sqrt(abs(quantity) * quoted), CEILING)

    def taken(self, book, quantity, quoted, limit=None):
        """A taker's price: the quoted one made worse by slippage, but no worse than his limit."""
        price = quoted * (1.0 + math.copysign(self.slip(book, quantity, quoted), quantity))
        if limit is not None:
            price = min(price, limit) if quantity > 0 else max(price, limit)
        return price

    def trade(self, book, quantity, price, fee, reason, quoted=None):
        held, after, closed, realised = book.position, book.position + quantity, 0.0, 0.0
        if abs(after) < NOTHING:
            after = 0.0
        if held * quantity < 0:
            closed = math.copysign(min(abs(quantity), abs(held)), held)
            realised = closed * (price - book.entry)
            if held * after <= 0:  # what is lost beyond the margin is forgiven when all is closed
                realised = max(realised, -self.margin(book))
        left = self.free_cash(book) + realised + (held - closed) * (price - book.entry if held else 0.0)
        left += 0.0 if self.alone(book) else sum(other.profit(other.price) for other in self.cross(but=book))
        if held * after <= 0:
            book.entry, book.best = (price, price) if after else (0.0, 0.0)
        elif abs(after) > abs(held):
            book.entry = (held * book.entry + quantity * price) / after
            book.best = max(book.best, price) if after > 0 else min(book.best, price)
        book.position = after
        fee = min(fee, max(left, 0.0))
        self.cash += realised - fee
        if reason in ("order", "limit"):
            book.held = 0
        else:
            book.held, book.order = 0, None
        slippage = 0.0 if quoted is None else abs(quantity) * abs(price - quoted)
        self.fills.append((self.i, book.symbol, quantity, price, fee, realised, reason, after, slippage))

    def leave(self, book, quoted, reason):
        """A taker's exit of the whole position."""
        price = self.taken(book, -book.position, quoted)
        self.trade(book, -book.position, price, book.costs.taker * abs(book.position) * price, reason, quoted)

    def liquidate(self, book, price):
        left = max(self.margin(book) + book.profit(price), 0.0)
        fee = min(book.costs.liquidation * abs(book.position) * price, left)
        self.trade(book, -book.position, price, fee, "liquidation")

    def liquidate_with_all(self, book, price):
        """A cross position takes all the others with it, at their opens (or their last marks)."""
        shared = not self.alone(book)
        self.liquidate(book, price)
        if shared:
            for other in self.cross():
                self.liquidate(other, other.price)

    def bankrupt(self, book, price):
        return book.position != 0.0 and not book.spot and self.margin(book) + book.profit(price) <= 0.0

    # --- the steps of a bar ----------------------------------------------------------------------------------------------------------

    def fund(self, book):
        rate = getattr(book.bar, "funding_rate", 0.0)
        if rate == 0.0 or book.position == 0.0 or book.spot:
            return
        mark = getattr(book.before, "mark", math.nan)
        mark = mark if math.isfinite(mark) else book.bar.open
        amount = -book.position * mark * rate
        self.cash += amount
        self.payments.append((self.i, book.symbol, amount, rate, mark, book.position))

    def open(self, book):
        order, open_, filled = book.order, book.bar.open, False
        if order is not None and order.rested is None:
            if order.wait > 0:
                order.wait -= 1
            elif order.limit is None or (open_ <= order.limit if order.quantity > 0 else open_ >= order.limit):
                price, filled = self.taken(book, order.quantity, open_, order.limit), True
                if self.bankrupt(book, price):
                    self.liquidate_with_all(book, open_)
                else:
                    book.order = None
                    self.trade(book, order.quantity, price, book.costs.taker * abs(order.quantity) * price, "order", open_)
            else:
                order.rested = 0
        overdue = self.stops.max_bars is not None and book.position and book.held >= self.stops.max_bars
        if overdue and not filled:
            if self.bankrupt(book, self.taken(book, -book.position, open_)):
                self.liquidate_with_all(book, open_)
            else:
                self.leave(book, open_, "time_stop")

    def adverse(self, book, limit=None):
        """Step 3a, or 3c after a fill at `limit`: never better than the open or that fill. True if it closed the position."""
        side, bar = book.side, book.bar
        levels = []
        if self.stops.stop_loss is not None:
            levels.append((book.entry * (1 - side * self.stops.stop_loss), "stop_loss"))
        if self.stops.trailing_stop is not None:
            levels.append((book.best * (1 - side * self.stops.trailing_stop), "trailing_stop"))
        liquidation = self.liquidation_level(book)
        if liquidation is not None:
            levels.append((liquidation, "liquidation"))
        reached = [pair for pair in levels if (bar.low <= pair[0] if side > 0 else bar.high >= pair[0])]
        if not reached:
            return False
        level, reason = max(reached, key=lambda pair: side * pair[0])  # of equals the first: stop-loss, trailing stop, liquidation
        seen = [level, bar.open] if limit is None else [level, bar.open, limit]
        level = min(seen) if side > 0 else max(seen)
        if reason == "liquidation":
            self.liquidate_with_all(book, level)
        else:
            self.leave(book, level, reason)
        return True

    def inside(self, book):
        if book.position and self.adverse(book):
            return
        order, bar, side = book.order, book.bar, book.side
        rests = order is not None and order.rested is not None
        take, take_price = False, math.nan
        if book.position and self.stops.take_profit is not None:
            level = book.entry * (1 + side * self.stops.take_profit)
            take = bar.high >= level if side > 0 else bar.low <= level
            take_price = max(level, bar.open) if side > 0 else min(level, bar.open)
            same_side = rests and order.quantity * book.position < 0
            if take and (not rests or same_side and side * level <= side * order.limit):
                self.take_profit(book, take_price)
                return
        if rests and (bar.low < order.limit if order.quantity > 0 else bar.high > order.limit):
            self.fill_resting(book, order)
        elif take:
            self.take_profit(book, take_price)

    def take_profit(self, book, price):
        self.trade(book, -book.position, price, book.costs.maker * abs(book.position) * price, "take_profit")

    def fill_resting(self, book, order):
        held, book.order = book.position, None
        self.trade(book, order.quantity, order.limit, book.costs.maker * abs(order.quantity) * order.limit, "limit")
        if held * book.position <= 0:
            book.born_inside = book.position != 0.0
        if book.position and (held * book.position <= 0 or abs(book.position) > abs(held)):
            self.adverse(book, order.limit)

    def check_closes(self):
        """Several symbols: whether the account still covers its cross positions at the closes."""
        if len(self.books) == 1:
            return
        for book in self.books:
            if book.bar is not None:
                book.price = book.bar.close
        held = self.cross()
        equity = self.cash - sum(self.own_margins().values()) + sum(book.profit(book.price) for book in held)
        if held and equity <= sum(book.maintenance(book.price, self.time) for book in held):
            for book in held:
                self.liquidate(book, book.price)

    def close(self, book):
        if book.position:
            book.held += 1
            if not book.born_inside:
                book.best = max(book.best, book.bar.high) if book.position > 0 else min(book.best, book.bar.low)
        order = book.order
        if order is not None and order.rested is not None:
            order.rested += 1
            if self.account.limit_bars is not None and order.rested >= self.account.limit_bars:
                book.order = None

    def delist(self, books):
        """After its last bar, at its last mark, for a taker's fee and no slippage."""
        for book in books:
            if book.position:
                self.trade(book, -book.position, book.price, book.costs.taker * abs(book.position) * book.price, "delisting")
            book.order = None
            self.equity[-1] = self.worth()

    def decide(self, book):
        """A target said in a gap waits for the close after it; one that rebalances is decided again at every close, at market."""
        if book.said is None:
            return
        target, limit = book.said
        book.said = None if self.account.rebalance_band is None else (target, math.nan)
        band, last, close, equity = self.account.rebalance_band, book.target, book.bar.close, self.equity[-1]
        changed = target != last and (band is None or abs(target - last) > band or target * last <= 0)
        drifted = False
        if band is not None and book.position and book.order is None:
            drifted = equity == 0.0 or abs(book.position * close / equity - target) > band
        if not changed and not drifted:
            return
        book.target, book.order = target, None
        wanted = target * equity / close
        if book.lot:
            wanted = math.copysign(math.floor(abs(wanted) / book.lot * (1 + 1e-12)) * book.lot, wanted)
        quantity = wanted - book.position
        if abs(quantity) < NOTHING or wanted != 0.0 and abs(quantity) * close < book.min_notional:
            return
        price = None
        if changed and math.isfinite(limit):
            price = limit
            if book.tick:
                steps = limit / book.tick
                steps = math.floor(steps * (1 + 1e-12)) if quantity > 0 else math.ceil(steps * (1 - 1e-12))
                price = steps * book.tick
            if price <= 0.0:  # nobody buys below the first tick
                return
        book.order = Order(quantity, price, book.costs.delay)
