"""The way out: whatever could open a position is cancelled, what is held is closed at market, reduce-only.

Said again and again until the venue confirms: an order that was refused is followed by another, one that nobody answered for is waited for,
because it may still trade.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from quantalpha.perp import in_parts
from quantalpha.runner import orders as states
from quantalpha.runner.events import InstructionEvent
from quantalpha.runner.execution import Book
from quantalpha.runner.holdings import Holdings
from quantalpha.runner.orders import Orders, VenueOrder, child_id

AGAIN = 1000  # ms before what was refused or not answered is asked for again
PURPOSE = "flatten"


class Flatten:
    """seed: what makes the names of this session's orders its own; most: base units of one order, by symbol."""

    def __init__(self, orders: Orders, holdings: Holdings, seed: str, most: Mapping[str, float]):
        self._orders, self._holdings, self._seed, self._most = orders, holdings, seed, most

    def act(self, time: int, books: Mapping[str, Book]) -> list[InstructionEvent]:
        """What to tell the venue now, entered in the orders already."""
        told = [*cancellations(self._orders.unfinished(), time), *self._closings(time, books)]
        for instruction in told:
            self._orders.instruct(instruction)
        return told

    def _closings(self, time: int, books: Mapping[str, Book]) -> Iterable[InstructionEvent]:
        for symbol, holding in self._holdings.open.items():
            sent = self._sent(symbol)
            if all(order.final and not order.fills_missing for order in sent) and not self._just_refused(sent, time):
                quantity = in_parts(-holding.quantity, self._most.get(symbol, math.inf))[0]  # the next part follows when it has traded
                yield self._closing(symbol, quantity, len(sent), time, books.get(symbol))

    def _closing(self, symbol: str, quantity: float, count: int, time: int, book: Book | None) -> InstructionEvent:
        name = child_id(f"{self._seed}|{symbol}", PURPOSE, count)
        terms = {"client_id": name, "parent": "", "action": "place", "kind": "market", "quantity": quantity, "price": None}
        seen = book.mid if book is not None and book.sound else None
        times = {"event_time": time, "recv_time": time, "bar": 0}
        return InstructionEvent(**times, symbol=symbol, **terms, reduce_only=True, purpose=PURPOSE, reference=seen)

    def _sent(self, symbol: str) -> list[VenueOrder]:
        return [each for each in self._orders.of("") if each.instruction.purpose == PURPOSE and each.instruction.symbol == symbol]

    def _just_refused(self, sent: list[VenueOrder], time: int) -> bool:
        return bool(sent) and sent[-1].status in (states.REJECTED, states.EXPIRED) and time - sent[-1].told < AGAIN


def cancellations(orders: Iterable[VenueOrder], time: int) -> Iterable[InstructionEvent]:
    """Of those that were decided and may still trade; what the venue has not answered for yet is waited for."""
    for order in orders:
        asked = order.status == states.CANCELLING and time - order.told < AGAIN
        if order.instruction.purpose == "order" and order.acknowledged and not asked:
            yield replace(order.instruction, action="cancel", event_time=time, recv_time=time)
