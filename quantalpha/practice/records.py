"""What an account's dealings leave behind: orders, fills, and the changes its listeners are told of, each exactly once and in order."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from itertools import count

from quantalpha.practice.account import Account
from quantalpha.practice.orders import OPEN, ZERO, Change, Fill, Order, Rejected

Listener = Callable[[Change], None]
FIRST_ID = 1_000_001


class Records:
    """orders: every order ever, by id; fills in order of time; `listeners` are called with every Change as it happens."""

    def __init__(self, account: Account):
        self.account = account
        self.orders: dict[int, Order] = {}
        self.working: dict[int, Order] = {}  # the open ones
        self.fills: list[Fill] = []
        self.listeners: list[Listener] = []
        self._ids, self._fill_ids, self._numbers = count(FIRST_ID), count(FIRST_ID), count(1)

    def add(self, order: Order) -> None:
        """Give it its ids and keep it."""
        order.id = next(self._ids)
        if order.trigger is not None:
            order.condition_id = next(self._ids)
        order.client_id = order.client_id or f"practice-{order.id}"
        self.orders[order.id] = self.working[order.id] = order

    def find(self, *, id: int | None = None, client_id: str | None = None, condition_id: int | None = None) -> Order:
        """The order of that id, of that condition, or the latest with that client id (an open one first); Rejected where there is none."""
        if id is not None:
            found = [self.orders[id]] if id in self.orders else []
        elif condition_id is not None:
            found = [order for order in self.orders.values() if order.condition_id == condition_id]
        else:
            found = [order for order in self.orders.values() if order.client_id == client_id]
        if not found:
            raise Rejected("unknown")
        return max(found, key=lambda order: (order.open, order.id))

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """Resting and conditional ones, oldest first."""
        return [order for order in self.working.values() if symbol in (None, order.symbol)]

    def next_fill_id(self) -> int:
        return next(self._fill_ids)

    def filled(self, order: Order, fill: Fill) -> None:
        """Book one trade of an order, and tell of both."""
        order.filled, order.cost, order.updated = order.filled + fill.quantity, order.cost + fill.quantity * fill.price, fill.time
        order.status = "filled" if order.left <= 0 else "partially_filled"
        self.fills.append(fill)
        self._settle(order)
        self.tell_account("ORDER", (order.symbol,), fill.time, fill.realised - fill.fee)
        self.tell_order("fill", order, fill)

    def end(self, order: Order, status: str, time: int, by: str) -> None:
        """Canceled or expired, and why."""
        order.status, order.updated, order.ended_by = status, time, by
        self._settle(order)
        self.tell_order(status, order)

    def tell_order(self, reason: str, order: Order, fill: Fill | None = None) -> None:
        self._tell(Change(next(self._numbers), order.updated, "order", reason, (order.symbol,), replace(order), fill))

    def tell_account(self, reason: str, symbols: Iterable[str], time: int, amount: Decimal = ZERO, kind: str = "account") -> None:
        """`kind` account, setting or margin_call."""
        symbols = tuple(symbols)
        positions = tuple(self.account.position(symbol) for symbol in symbols)
        told = {"wallet": self.account.wallet, "amount": amount, "positions": positions}
        self._tell(Change(next(self._numbers), time, kind, reason, symbols, **told))

    def _settle(self, order: Order) -> None:
        if order.status not in OPEN:
            self.working.pop(order.id, None)

    def _tell(self, change: Change) -> None:
        for listener in list(self.listeners):
            listener(change)
