"""The gate between risk and broker where a person has the last word (`runner.orders`): a pure state machine, no I/O, no clock.

    send     every validated order goes on
    signal   none does: a person is told, the position stays what it is
    approve  each waits for its ApprovalEvent, which comes from outside and is journalled, so that a replay decides the same

    decision = gate.decide(order)        # or gate.answer(approval)
    decision.order                       # to be submitted now, or None
    decision.refused                     # RejectedOrderEvents to be journalled: this order, or those whose place it takes

Silence is an answer too: the desk that asks (`runner.desk`) says so with an ApprovalEvent when the time is up.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from quantalpha.runner.events import ApprovalEvent, Event, OrderEvent, RejectedOrderEvent, ValidatedOrderEvent

SEND, APPROVE, SIGNAL = "send", "approve", "signal"
APPROVED, PENDING, REFUSED = "approved", "pending", "refused"
NOT_APPROVED, SIGNAL_ONLY, SUPERSEDED, PRICE_MOVED = "not_approved", "signal_only", "superseded", "price_collar"


@dataclass(frozen=True)
class Decision:
    """What became of an order: approved, pending or refused."""

    state: str
    order: ValidatedOrderEvent | None = None
    refused: tuple[RejectedOrderEvent, ...] = ()


class Gate:
    """orders: runner.orders; collar: risk.price_collar, the fraction by which the price may differ from the order's when it is approved."""

    def __init__(self, orders: str, collar: float):
        self.orders, self.collar = orders, collar
        self._pending: dict[str, ValidatedOrderEvent] = {}

    def __iter__(self) -> Iterator[ValidatedOrderEvent]:
        """The orders that wait for a word, oldest first."""
        return iter(tuple(self._pending.values()))

    def decide(self, order: ValidatedOrderEvent) -> Decision:
        """An order that passed risk. A newer one for the same symbol takes the place of one that still waits."""
        if self.orders == SEND:
            return Decision(APPROVED, order)
        if self.orders == SIGNAL:
            return Decision(REFUSED, refused=(_refusal(order, order, SIGNAL_ONLY),))
        older = [waiting for waiting in self if waiting.symbol == order.symbol]
        for waiting in older:
            del self._pending[waiting.client_id]
        refused = tuple(_refusal(waiting, order, SUPERSEDED) for waiting in older)
        if order.quantity == 0.0:  # a new target with nothing to trade
            return Decision(APPROVED, order, refused)
        self._pending[order.client_id] = order
        return Decision(PENDING, refused=refused)

    def answer(self, event: ApprovalEvent) -> Decision:
        """The word of a person, from which on an execution's time counts. One for an order that does not wait (late, given twice) changes
        nothing: PENDING, no order, no refusal."""
        order = self._pending.pop(event.client_id, None)
        if order is None:
            return Decision(PENDING)
        if not event.approved:
            return Decision(REFUSED, refused=(_refusal(order, event, NOT_APPROVED),))
        if not (order.price > 0.0 and abs(event.price - order.price) <= self.collar * order.price):
            values = {"price": event.price, "decided_at": order.price, "limit": self.collar}
            return Decision(REFUSED, refused=(_refusal(order, event, PRICE_MOVED, **values),))
        return Decision(APPROVED, replace(order, recv_time=event.recv_time))

    def withdraw(self, event: Event, reason: str) -> tuple[RejectedOrderEvent, ...]:
        """Refuses all that wait, because of `event`: a kill switch has tripped, the session ends."""
        waiting, self._pending = tuple(self), {}
        return tuple(_refusal(order, event, reason) for order in waiting)


def _refusal(order: OrderEvent, because: Event, reason: str, **values: float) -> RejectedOrderEvent:
    """Of the order as it was decided, at the moment of what refused it."""
    when = {"event_time": because.event_time, "recv_time": because.recv_time}
    return RejectedOrderEvent(**asdict(order) | when, reason=reason, values=values)
