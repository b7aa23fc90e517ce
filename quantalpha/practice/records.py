"""What an account's dealings leave behind: orders, fills, and every change of them in order, for streams to tell."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from itertools import count

from quantalpha.practice.account import Account
from quantalpha.practice.orders import OPEN, ZERO, Change, Fill, Order

FIRST_ID = 1_000_001


class Records:
    """orders: every order ever, by id; fills and changes in order of time. A stream remembers how many changes it has told.

    watchers: called with every change as it happens; what they do then happens at that moment."""

    def __init__(self, account: Account):
        self.account = account
        self.orders: dict[int, Order] = {}
        self.working: dict[int, Order] = {}  # the open ones
        self.fills: list[Fill] = []
        self.changes: list[Change] = []
        self.watchers: list[Callable[[Change], None]] = []
        self._client_ids: dict[str, list[int]] = {}  # client id -> ids of the orders that had it
        self._conditions: dict[int, str] = {}  # condition id -> client id
        self._ids, self._fill_ids = count(FIRST_ID), count(FIRST_ID)

    def add(self, order: Order) -> None:
        """Give it its ids and keep it."""
        order.id = next(self._ids)
        if order.trigger is not None:
            order.condition_id = next(self._ids)
        order.client_id = order.client_id or f"practice-{order.id}"
        self.orders[order.id] = self.working[order.id] = order
        self._client_ids.setdefault(order.client_id, []).append(order.id)
        if order.condition_id:
            self._conditions[order.condition_id] = order.client_id

    def matching(self, *, id: int | None = None, client_id: str | None = None, condition_id: int | None = None) -> list[Order]:
        """The order of that id, of that condition, or all with that client id: open ones first, then the latest."""
        if id is not None:
            return [self.orders[id]] if id in self.orders else []
        if condition_id is not None:
            client_id = self._conditions.get(condition_id)
        found = [self.orders[each] for each in self._client_ids.get(client_id, ())]
        wanted = (order for order in found if condition_id in (None, order.condition_id))
        return sorted(wanted, key=lambda order: (not order.open, -order.id))

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
        self._tell(Change(order.updated, "order", reason, (order.symbol,), replace(order), fill))

    def tell_account(self, reason: str, symbols: Iterable[str], time: int, amount: Decimal = ZERO, kind: str = "account") -> None:
        """`kind` account, setting or margin_call."""
        symbols = tuple(symbols)
        positions = tuple(self.account.position(symbol) for symbol in symbols)
        told = {"wallet": self.account.wallet, "cross_wallet": self.account.cross_wallet, "amount": amount, "positions": positions}
        self._tell(Change(time, kind, reason, symbols, **told))

    def _tell(self, change: Change) -> None:
        self.changes.append(change)
        for watcher in self.watchers:
            watcher(change)

    def _settle(self, order: Order) -> None:
        if order.status not in OPEN:
            self.working.pop(order.id, None)
