"""How an account's orders trade against the tape, at one moment of it.

Each account is alone with the tape. Who takes walks the levels displayed, and what it took is gone for it until the book moves. A resting
order fills as maker: behind what stood at its price when it came, by what trades at its price leave over, or by what trades beyond it move.
A liquidation closes at the liquidation price, or at the mark where a bar opens beyond it.
"""

from decimal import ROUND_DOWN, Decimal
from itertools import takewhile

from quantalpha.practice.account import Account
from quantalpha.practice.book import seller_made
from quantalpha.practice.candles import TRADES
from quantalpha.practice.exchange import Exchange
from quantalpha.practice.margins import Margins
from quantalpha.practice.orders import BUY, UNTRIGGERED, ZERO, Fill, Order, Rejected, exact, lot_of
from quantalpha.practice.path import price_at, quantity_at
from quantalpha.practice.records import Records
from quantalpha.practice.view import View


class Matching:
    """The account, its records, and the market as it sees it now."""

    def __init__(self, exchange: Exchange, account: Account):
        self.exchange, self.account = exchange, account
        self.view, self.records = View(exchange), Records(account)
        self._called: set[str] = set()  # symbols whose owner has been warned

    @property
    def time(self) -> int:
        """Up to when everything has been played, tape milliseconds."""
        return self.view.time

    @property
    def margins(self) -> Margins:
        return self._margins_beside(None)

    def _margins_beside(self, order: Order | None) -> Margins:
        """Without that order."""
        others = [each for each in self.records.working.values() if order is None or each.id != order.id]
        return Margins(self.account, others, self.view.mark, self.time)

    def check(self, order: Order) -> None:
        """Rejected where an order that goes to work now must not."""
        symbol, margins = order.symbol, self._margins_beside(order)
        if order.reduce_only and not self.account.position(symbol).closable(order.side):
            raise Rejected("reduce_only")
        best = self.view.best(symbol, order.side)
        if order.time_in_force == "GTX" and order.reaches(best):
            raise Rejected("would_take")
        if order.time_in_force == "FOK" and self._met(order) < order.left:
            raise Rejected("unfillable")
        if margins.cost(order, best if order.price is None else order.price) > margins.available:
            raise Rejected("margin")
        before, after = margins.exposure(symbol), margins.exposure(symbol, [*margins.orders, order])
        if not order.reduce_only and after > before and after > margins.largest(symbol, self.account.setting(symbol).leverage):
            raise Rejected("leverage_bracket")

    def _met(self, order: Order) -> Decimal:
        """How much the book has for it."""
        reached = takewhile(lambda level: order.reaches(level[1]), self.view.displayed(order.symbol, order.side))
        return sum((quantity for _, _, quantity in reached), ZERO)

    def work(self, order: Order) -> None:
        """Trade what can be traded at once; the rest rests, or ends where it must not."""
        self._take(order)
        if not order.resting:
            return
        if order.price is None or order.time_in_force == "IOC":
            self.records.end(order, "expired", self.time, "unfilled")
        else:
            order.queue = self.view.standing(order.symbol, order.side, order.price)

    def _take(self, order: Order) -> None:
        keeps = order.left - self._takeable(order)
        for ticks, price, quantity in self.view.displayed(order.symbol, order.side):
            if not order.resting or not order.reaches(price) or order.left <= keeps:
                return
            self.view.take(order.symbol, ticks, self._execute(order, price, min(order.left - keeps, quantity), maker=False))

    def _takeable(self, order: Order) -> Decimal:
        """How much of it trades at once: all there is, or a part (whole lots) while fills are partial."""
        share = self.exchange.conditions.taken()
        if share == 1.0 or order.time_in_force == "FOK":
            return order.left
        return (order.left * exact(share)).quantize(lot_of(self.view.instruments[order.symbol]), ROUND_DOWN)

    def play(self, symbol: str, trade: int) -> None:
        """One trade of the tape: liquidation or a warning, triggers, fills."""
        each = self.view.instruments[symbol]
        if self.account.position(symbol).quantity:
            self._check_margin(symbol, trade)
        for order in self.records.open_orders(symbol):
            if order.status == UNTRIGGERED:
                price = price_at(each.mark if order.trigger.by == "mark" else each.last, trade)
                if order.trigger.reached(price):
                    self._wake(order)
        self._fill_resting(symbol, trade)

    def _wake(self, order: Order) -> None:
        """A trigger price was reached: the order goes to work, or ends where it no longer may."""
        order.triggered = order.updated = self.time
        order.status = "new"
        if order.close_position:
            order.quantity = self.account.position(order.symbol).closable(order.side)
        self.records.tell_order("triggered", order)
        try:
            self.check(order)
        except Rejected as refused:
            self.records.end(order, "expired", self.time, refused.reason)
        else:
            self.records.tell_order("new", order)
            self.work(order)

    def _fill_resting(self, symbol: str, trade: int) -> None:
        """What a trade of the tape leaves to the orders that rest at its price or are passed by it, best price first."""
        each = self.view.instruments[symbol]
        price, quantity, sold = price_at(each.last, trade), quantity_at(each, trade), seller_made(each.last, trade)
        reached = [order for order in self.records.open_orders(symbol) if order.resting and order.reaches(price)]
        for order in sorted(reached, key=lambda order: (-order.side * order.price, order.id)):
            at_price = order.price == price
            if not order.resting or (at_price and sold != (order.side == BUY)):
                continue
            ahead = min(order.queue, quantity) if at_price else ZERO
            order.queue = order.queue - ahead if at_price else ZERO
            quantity -= ahead + self._execute(order, order.price, min(order.left, quantity - ahead), maker=True)

    def _execute(self, order: Order, price: Decimal, quantity: Decimal, *, maker: bool) -> Decimal:
        """Trade, reduce-only orders no more than there is to close; returns how much was traded."""
        closable = self.account.position(order.symbol).closable(order.side)
        quantity = min(quantity, closable) if order.reduce_only else quantity
        if quantity > 0:
            fill = self.account.trade(order, price, quantity, maker=maker, time=self.time, id=self.records.next_fill_id())
            self._booked(order, fill)
        return quantity

    def _booked(self, order: Order, fill: Fill) -> None:
        self._called.discard(order.symbol)
        self.records.filled(order, fill)
        position = self.account.position(order.symbol)
        for other in self.records.open_orders(order.symbol):
            if other.reduce_only and other.resting and not position.closable(other.side):
                self.records.end(other, "expired", self.time, "reduce_only")

    def levels(self, symbol: str) -> list[Decimal]:
        """Marks at which the position of a symbol is liquidated (where nothing else decides that with it) and its owner warned."""
        margins = self.margins
        found = [margins.liquidation_price(symbol)] if margins.alone(symbol) else []
        found += [] if symbol in self._called else [margins.call_price(symbol)]
        return [level for level in found if level > 0]

    def _check_margin(self, symbol: str, trade: int) -> None:
        margins, side = self.margins, self.account.position(symbol).side
        level, mark = margins.liquidation_price(symbol), self.view.mark(symbol)
        if symbol not in self._called and _beyond(mark, margins.call_price(symbol), side):
            self._called.add(symbol)
            self.records.tell_account(self.account.setting(symbol).margin_mode, (symbol,), self.time, kind="margin_call")
        if _beyond(mark, level, side) if margins.alone(symbol) else margins.short:
            self._liquidate(symbol, level if _beyond(mark, level, side) and trade % TRADES else mark)

    def _liquidate(self, symbol: str, price: Decimal) -> None:
        position, isolated = self.account.position(symbol), self.account.isolated(symbol)
        for order in self.records.open_orders(symbol if isolated else None):
            self.records.end(order, "expired", self.time, "liquidation")
        order = Order(symbol, -position.side, abs(position.quantity), reduce_only=True, client_id=f"autoclose-{self.time}")
        order.created = order.updated = self.time
        order.ended_by = "liquidation"
        backing = self.margins.backing(symbol)
        self.records.add(order)
        self.records.tell_order("new", order)
        fill = self.account.liquidate(order, price, time=self.time, id=self.records.next_fill_id(), backing=backing)
        self._booked(order, fill)


def _beyond(mark: Decimal, level: Decimal, side: int) -> bool:
    """Whether a position of `side` has lost more than it may at `mark`; level 0: there is no such price."""
    return level > 0 and side * (mark - level) <= 0
