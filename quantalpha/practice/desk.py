"""One account's desk: what its owner may ask for, and how the tape's time passes for it.

`advance(now)` plays everything that has happened since it was last called, in order of time: funding, expiry, the dead man's timer, and
every trade of the tape that matters. What matters is looked up in the bars' highs and lows, so that time costs nothing where no order
rests and nothing is held. The same tape and the same requests at the same moments always give the same records.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal

from quantalpha.practice.account import Account
from quantalpha.practice.exchange import Exchange
from quantalpha.practice.margins import Margins
from quantalpha.practice.matching import Matching
from quantalpha.practice.orders import UNTRIGGERED, Order, Rejected, exact
from quantalpha.practice.path import first_beyond, worst

Moment = tuple[int, int, str, Callable[[], None]]  # time, what comes first at that time, symbol, what happens
FUNDING, TIMER, TRADE = range(3)
ALL = ""  # the dead man's timer of all symbols
MOST_ORDERS, MOST_CONDITIONAL = 200, 10  # open ones of a symbol, as exchangeInfo's filters say


class Desk(Matching):
    """Every public method but `advance` acts at the moment `time`: call `advance(exchange.now())` first. Rejected says no, unchanged."""

    def __init__(self, exchange: Exchange, account: Account):
        super().__init__(exchange, account)
        self._deadlines: dict[str, float] = {}  # symbol or ALL -> wall second at which its orders are canceled
        self._trade: dict[str, int] = {}  # the next trade to look at
        self._settlement: dict[str, int] = {}  # the next funding settlement
        self._catch_up()

    def place(self, order: Order) -> Order:
        """Take an order on; market and crossing orders have traded when this returns."""
        self._admit(order)
        order.created = order.updated = self.time
        order.status = "new" if order.trigger is None else UNTRIGGERED
        self.records.add(order)
        self.records.tell_order("new", order)
        if order.trigger is None:
            self.work(order)
        return order

    def test(self, order: Order) -> None:
        """Rejected where `place` would be."""
        self._admit(order)

    def _admit(self, order: Order) -> None:
        if not self.exchange.takes_orders(self.view.instruments[order.symbol]):
            raise Rejected("not_traded")
        standing = self.records.open_orders()
        if order.client_id and any(each.client_id == order.client_id for each in standing):
            raise Rejected("duplicate")
        alike = [each for each in standing if each.symbol == order.symbol and (each.trigger is None) == (order.trigger is None)]
        if len(alike) >= (MOST_ORDERS if order.trigger is None else MOST_CONDITIONAL):
            raise Rejected("too_many" if order.trigger is None else "too_many_conditional")
        if order.trigger is None:
            self.check(order)
        elif order.trigger.reached(self.view.price(order.symbol, order.trigger.by)):
            raise Rejected("would_trigger")

    def cancel(self, order: Order, by: str = "client") -> Order:
        if not order.open:
            raise Rejected("unknown")
        self.records.end(order, "canceled", self.time, by)
        return order

    def amend(self, order: Order, quantity: Decimal, price: Decimal) -> Order:
        """New terms for a resting limit order; it keeps its place in the queue only where nothing but its quantity falls. A quantity that
        is filled already cancels it."""
        if not order.resting or order.price is None:
            raise Rejected("unknown")
        if (quantity, price) == (order.quantity, order.price):
            raise Rejected("unchanged")
        if quantity <= order.filled:
            return self.cancel(order)
        self.check(replace(order, quantity=quantity, price=price))
        stays = price == order.price and quantity < order.quantity
        order.quantity, order.price, order.updated = quantity, price, self.time
        self.records.tell_order("amended", order)
        if not stays:
            self.work(order)
        return order

    def count_down(self, symbol: str, milliseconds: int) -> None:
        """The dead man's timer: cancel the resting orders of a symbol (ALL: of all) so many milliseconds of the wall clock from now unless
        asked again before; 0 stops it.

        Wall time, not tape time: who must show that he is alive does so at the pace at which he lives, whatever the speed of the tape.
        """
        self._deadlines.pop(symbol, None)
        if milliseconds:
            self._deadlines[symbol] = self.exchange.clock.wall() + milliseconds / 1000

    def set_leverage(self, symbol: str, leverage: int) -> None:
        """Rejected where the margin would not suffice, or an isolated position would get more than it has."""
        setting, position = self.account.setting(symbol), self.account.position(symbol)
        if setting.margin_mode == "isolated" and position.quantity and leverage < setting.leverage:
            raise Rejected("leverage_reduction")
        if self.margins.exposure(symbol) > self.margins.largest(symbol, leverage):
            raise Rejected("leverage_bracket")
        self.account.settings[symbol] = replace(setting, leverage=leverage)
        if leverage < setting.leverage and self.margins.spare < 0:
            self.account.settings[symbol] = setting
            raise Rejected("margin")
        self.records.tell_account("leverage", (symbol,), self.time, kind="setting")

    def set_margin_mode(self, symbol: str, mode: str) -> None:
        """mode: cross or isolated."""
        setting = self.account.setting(symbol)
        if mode == setting.margin_mode:
            raise Rejected("unchanged")
        if self.account.position(symbol).quantity:
            raise Rejected("position_open")
        if self.records.open_orders(symbol):
            raise Rejected("orders_open")
        self.account.settings[symbol] = replace(setting, margin_mode=mode)
        self.records.tell_account("margin_mode", (symbol,), self.time, kind="setting")

    def advance(self, now: int) -> None:
        """Play what has happened up to `now`; never back."""
        while (moment := min(self._moments(now), key=lambda each: each[:3], default=None)) is not None:
            self.view.time = max(self.time, moment[0])
            moment[3]()
        self.view.time = max(self.time, now)
        self._catch_up()

    def _catch_up(self) -> None:
        for symbol, each in self.view.instruments.items():
            self._trade[symbol] = max(self._trade.get(symbol, 0), each.last.trades_until(self.time))
            self._settlement[symbol] = max(self._settlement.get(symbol, 0), each.settled(self.time))

    def _moments(self, now: int) -> Iterator[Moment]:
        """What comes next of everything that is waited for, up to `now`."""
        held = {position.symbol for position in self.account.held()}
        for symbol in held:
            yield from self._settlements(symbol, now)
        yield from self._timers(now)
        for symbol in held | {order.symbol for order in self.records.working.values()}:
            yield from self._trades(symbol, self._next_trade(symbol, now))
        if len(self.margins.cross) > 1:
            yield from self._in_danger(now)

    def _settlements(self, symbol: str, now: int) -> Iterator[Moment]:
        each = self.view.instruments[symbol]
        number = max(self._settlement[symbol], each.settled(self.account.position(symbol).opened))
        if number < each.settled(now):
            yield int(each.funding_times[number]), FUNDING, symbol, lambda: self._fund(symbol, number)

    def _fund(self, symbol: str, number: int) -> None:
        each, self._settlement[symbol] = self.view.instruments[symbol], number + 1
        rate, mark = Decimal(repr(float(each.funding_rates[number]))), exact(each.funding_marks[number])
        amount = self.account.fund(symbol, rate, mark, self.time)
        if amount:
            self.records.tell_account("FUNDING_FEE", (symbol,), self.time, amount)

    def _timers(self, now: int) -> Iterator[Moment]:
        for order in self.records.working.values():
            if order.expires is not None and order.expires <= now:
                yield order.expires, TIMER, order.symbol, lambda order=order: self.records.end(order, "expired", self.time, "time")
        clock = self.exchange.clock
        for symbol, deadline in self._deadlines.items():
            if clock.wall() >= deadline:
                yield min(clock.at(deadline), now), TIMER, symbol, lambda symbol=symbol: self._die(symbol)

    def _die(self, symbol: str) -> None:
        del self._deadlines[symbol]
        for order in self.records.open_orders(symbol or None):
            if order.resting:
                self.cancel(order, "dead_man")

    def _trades(self, symbol: str, trade: int | None) -> Iterator[Moment]:
        if trade is not None:
            yield self.view.instruments[symbol].last.trade_time(trade), TRADE, symbol, lambda: self._meet(symbol, trade)

    def _meet(self, symbol: str, trade: int) -> None:
        self._trade[symbol] = trade + 1
        self.play(symbol, trade)

    def _next_trade(self, symbol: str, now: int) -> int | None:
        """The first trade at which an order of the symbol may fill or wake, or its position be liquidated or its owner warned."""
        each, begin = self.view.instruments[symbol], self._trade[symbol]
        end, found = each.last.trades_until(now), []
        if begin >= end:
            return None
        for order in self.records.open_orders(symbol):
            if order.status == UNTRIGGERED:
                candles = each.mark if order.trigger.by == "mark" else each.last
                found.append(first_beyond(candles, begin, end, float(order.trigger.price), order.trigger.direction))
            else:
                found.append(first_beyond(each.last, begin, end, float(order.price), -order.side))
        for level in self.levels(symbol):
            found.append(first_beyond(each.mark, begin, end, float(level), -self.account.position(symbol).side))
        return min((trade for trade in found if trade is not None), default=None)

    def _in_danger(self, now: int) -> Iterator[Moment]:
        """Several cross positions stand or fall together: their next trades in the first bar whose worst marks might be too bad."""
        step, time = self.exchange.tape.step, self.time
        while time <= now:
            end = min(time - time % step + step - 1, now)
            held = {each.symbol: (each.side, self.view.instruments[each.symbol]) for each in self.margins.cross}
            marks = {symbol: exact(worst(each.mark, time, end, side)) for symbol, (side, each) in held.items()}
            if Margins(self.account, (), marks.__getitem__, end).short:
                for symbol, (_, each) in held.items():
                    trade = max(self._trade[symbol], each.last.trades_until(time - 1))
                    yield from self._trades(symbol, trade if trade < each.last.trades_until(now) else None)
                return
            time = end + 1
