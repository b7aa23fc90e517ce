"""The life of every order at a venue, by client id: what was said, what the venue answered, what is still in doubt.

    intended -> sent -> open -> partly_filled -> filled
                  |       \\-> cancelling -> cancelled        (a fill may still overtake the cancellation)
                  |-> rejected | expired
                  \\-> in_doubt: no answer came; only the venue can say, it is never sent again blindly

A state knows which may follow. News older than what is known (a websocket's message that comes late or twice) changes nothing; news that
contradicts it (a filled order that is open again, fills that shrink) raises ReconcileError: then nobody knows the account.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from quantalpha.errors import ReconcileError
from quantalpha.runner.events import FillEvent, InstructionEvent, OrderUpdateEvent

INTENDED, SENT, IN_DOUBT, OPEN, PARTLY_FILLED, CANCELLING = "intended", "sent", "in_doubt", "open", "partly_filled", "cancelling"
FILLED, CANCELLED, REJECTED, EXPIRED = "filled", "cancelled", "rejected", "expired"
FINAL = (FILLED, CANCELLED, REJECTED, EXPIRED)
WORKING = (OPEN, PARTLY_FILLED, CANCELLING)
STATUSES = (INTENDED, SENT, IN_DOUBT, *WORKING, *FINAL)
FOLLOWS = {
    INTENDED: {SENT, IN_DOUBT, *WORKING, *FINAL},
    SENT: {IN_DOUBT, *WORKING, *FINAL},
    IN_DOUBT: {*WORKING, *FINAL},
    OPEN: {PARTLY_FILLED, CANCELLING, FILLED, CANCELLED, EXPIRED, REJECTED},
    PARTLY_FILLED: {CANCELLING, FILLED, CANCELLED, EXPIRED},
    CANCELLING: {OPEN, PARTLY_FILLED, *FINAL},
}
DUST = 1e-9  # base units, relative to the order: sums of fills as floats


@dataclass(frozen=True)
class VenueOrder:
    """One order as far as it is known. filled: signed base units that our fills add up to; reported: what the venue's updates say."""

    instruction: InstructionEvent
    status: str = INTENDED
    venue_id: str | None = None
    filled: float = 0.0
    reported: float = 0.0
    reason: str = ""

    @property
    def client_id(self) -> str:
        return self.instruction.client_id

    @property
    def final(self) -> bool:
        return self.status in FINAL

    @property
    def remaining(self) -> float:
        """Signed base units that may still trade; 0.0 once it is final."""
        return 0.0 if self.final else self.instruction.quantity - self.filled

    @property
    def fills_missing(self) -> bool:
        """The venue says more was filled than the fills we were told."""
        return abs(self.reported) - abs(self.filled) > DUST * max(1.0, abs(self.reported))


class Orders:
    """All orders of an account; `take` folds events into them, in any order in which a venue may tell them."""

    def __init__(self):
        self._orders: dict[str, VenueOrder] = {}
        self._trades: set[tuple[str, str]] = set()

    def __getitem__(self, client_id: str) -> VenueOrder:
        return self._orders[client_id]

    def __contains__(self, client_id: str) -> bool:
        return client_id in self._orders

    def __iter__(self) -> Iterator[VenueOrder]:
        return iter(self._orders.values())

    def unfinished(self) -> list[VenueOrder]:
        return [order for order in self if not order.final]

    def in_doubt(self) -> list[VenueOrder]:
        """Said or about to be said, and nobody here knows what became of it: only the venue can tell."""
        return [order for order in self if order.status in (INTENDED, SENT, IN_DOUBT)]

    def instruct(self, instruction: InstructionEvent) -> None:
        """Before it is sent. ReconcileError where the same order would be placed twice, or an unknown one be changed."""
        name, known = instruction.client_id, instruction.client_id in self._orders
        if (instruction.action == "place") == known:
            raise ReconcileError(f"order {name}: {instruction.action} of an order that is {'known' if known else 'not known'}; stopped")
        if instruction.action == "place":
            self._orders[name] = VenueOrder(instruction)
        elif instruction.action == "cancel":
            order = self._orders[name]
            self._orders[name] = order if order.final else replace(order, status=CANCELLING)
        else:
            placed = replace(self._orders[name].instruction, quantity=instruction.quantity, price=instruction.price)
            self._orders[name] = replace(self._orders[name], instruction=placed)

    def update(self, event: OrderUpdateEvent) -> None:
        order = self._orders.get(event.client_id)
        if order is None:
            raise ReconcileError(f"order {event.client_id}: the venue tells of an order that was never made here")
        if abs(event.filled) < abs(order.reported) or (order.final and event.status != order.status):
            if event.status in FINAL and order.final:
                raise ReconcileError(f"order {event.client_id}: was {order.status}, the venue now says {event.status}")
            return  # older news
        news = {"reported": event.filled, "venue_id": event.venue_id or order.venue_id, "reason": event.reason or order.reason}
        status = event.status if event.status in FOLLOWS.get(order.status, ()) else order.status
        self._orders[event.client_id] = replace(order, status=status, **news)

    def fill(self, event: FillEvent) -> bool:
        """Counts a trade; False where it was counted before. A trade of no order of ours is counted for nobody."""
        key = event.symbol, str(event.trade)
        if event.trade is not None and key in self._trades:
            return False
        self._trades.add(key)
        order = self._orders.get(event.client_id or "")
        if order is not None:
            filled = order.filled + event.quantity
            self._orders[order.client_id] = replace(order, filled=filled, reported=max(order.reported, filled, key=abs))
        return True
