"""What Bybit remembers of one account beside its desk: link ids, the stops of its positions, and its dead man's timer."""

from collections import defaultdict
from decimal import Decimal

from quantalpha.practice.desk import ALL, Desk
from quantalpha.practice.orders import NEW, UNTRIGGERED, ZERO, Change, Order, Rejected, Trigger

TYPE = "stopOrderType"
STOP_LOSS, TAKE_PROFIT = "StopLoss", "TakeProfit"
STOPS = {"stopLoss": STOP_LOSS, "takeProfit": TAKE_PROFIT}  # parameter -> stopOrderType


class Member:
    """stops: conditional orders that close a position, at most one of each kind a symbol; they end with the position.

    The dead man's timer (DCP) runs from the moment at which the last private connection that subscribed to a `dcp` topic is gone, and is
    stopped by the next one. Its orders are the resting ones; conditional ones stay.
    """

    def __init__(self, desk: Desk, withdraws: bool):
        self.desk, self.withdraws = desk, withdraws
        self.fees: dict[int, Decimal] = defaultdict(Decimal)  # paid, by order id
        self.window: int | None = None  # seconds; None: never set, so no timer
        self._watched: set[object] = set()  # connections that subscribed to `dcp`
        desk.records.watchers.append(self._heard)

    def place(self, order: Order) -> Order:
        """Rejected where its link id was ever used before."""
        if order.client_id and self.linked(order.client_id) is not None:
            raise Rejected("duplicate")
        return self.desk.place(order)

    def linked(self, link: str) -> Order | None:
        """The order that was placed under that link id."""
        return next(iter(self.desk.records.matching(client_id=link)), None)

    def end_at_once(self, order: Order, reason: str) -> None:
        """Take an order on that is canceled before anything else happens."""
        self._keep(order, NEW)
        self.desk.records.end(order, "canceled", self.desk.time, reason)

    def amend_condition(self, order: Order, quantity: Decimal, price: Decimal | None, trigger: Trigger) -> None:
        """New terms for a conditional order that waits."""
        if (quantity, price, trigger) == (order.quantity, order.price, order.trigger):
            raise Rejected("unchanged")
        if trigger.reached(self.desk.view.price(order.symbol, trigger.by)):
            raise Rejected("would_trigger")
        order.quantity, order.price, order.trigger, order.updated = quantity, price, trigger, self.desk.time
        self.desk.records.tell_order("amended", order)

    def stop_of(self, symbol: str, kind: str) -> Order | None:
        """kind: StopLoss or TakeProfit of the position."""
        standing = self.desk.records.open_orders(symbol)
        return next((order for order in standing if order.status == UNTRIGGERED and order.told.get(TYPE) == kind), None)

    def set_stop(self, symbol: str, kind: str, price: Decimal, by: str) -> None:
        """The stop of the whole position at that price, in place of the one before; 0: none. One that is reached already triggers at the
        next trade."""
        standing, position = self.stop_of(symbol, kind), self.desk.account.position(symbol)
        if standing is not None:
            self.desk.cancel(standing, "stop_cleared")
        if price > ZERO:
            direction, name = (-position.side, "stop") if kind == STOP_LOSS else (position.side, "take_profit")
            trigger = Trigger(price, direction, by, name)
            self._keep(
                Order(symbol, -position.side, ZERO, reduce_only=True, close_position=True, trigger=trigger, told={TYPE: kind}), UNTRIGGERED
            )

    def _keep(self, order: Order, status: str) -> None:
        """Record an order of which nothing is asked: a stop closes what is there, and may wait where no order is taken."""
        order.created = order.updated = self.desk.time
        order.status = status
        self.desk.records.add(order)
        self.desk.records.tell_order("new", order)

    def connect(self, connection: object) -> None:
        """A private connection subscribes to `dcp`."""
        self._watched.add(connection)
        self.desk.count_down(ALL, 0)

    def disconnect(self, connection: object) -> None:
        if connection in self._watched:
            self._watched.remove(connection)
            if not self._watched and self.window is not None:
                self.desk.count_down(ALL, self.window * 1000)

    def _heard(self, change: Change) -> None:
        if change.reason == "fill":
            self.fees[change.order.id] += change.fill.fee
            self._clear_stops(change.order.symbol)
            self._attach_stops(change.order)

    def _clear_stops(self, symbol: str) -> None:
        """A stop whose position is gone, or stands on the other side now, ends."""
        position = self.desk.account.position(symbol)
        for kind in STOPS.values():
            standing = self.stop_of(symbol, kind)
            if standing is not None and not position.closable(standing.side):
                self.desk.cancel(standing, "stop_cleared")

    def _attach_stops(self, order: Order) -> None:
        """The stops that came with an order are its position's from the first fill on."""
        if self.desk.account.position(order.symbol).side != order.side:
            return
        for name, kind in STOPS.items():
            standing, price = self.stop_of(order.symbol, kind), Decimal(order.told.get(name, "0"))
            if price > ZERO and (standing is None or standing.trigger.price != price):
                self.set_stop(order.symbol, kind, price, order.told.get(f"{name}By", "last"))
