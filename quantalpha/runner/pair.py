"""A pair of one coin at two venues, long at one and short at the other, opened and closed by `execution.two_leg`.

A broker as any other: the target of a symbol is that of its first leg (signed leverage of the whole equity), and an order of the first leg
moves both, as much against it at the second. One step after the other: a pair is closed before it is turned, and one that stands is left to
drift. Each leg has its own stop at its venue; where one is stopped out, the other is closed too, and another target is waited for. A
restart makes the same orders of its record; what was under way is then evened out and left, since nobody knows for how long it stood.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

from quantalpha.perp import round_quantity
from quantalpha.runner.broker_exchange import ExchangeBroker
from quantalpha.runner.events import Event, InstructionEvent, ValidatedOrderEvent
from quantalpha.runner.execution.two_leg import Leg, Limits, TwoLeg
from quantalpha.runner.orders import VenueOrder, child_id
from quantalpha.runner.two_venues import ROUTE, Setting, TwoVenues


class BothOrders:
    """The orders of two brokers, as an execution over both reads and enters them."""

    def __init__(self, pair: "Pair"):
        self._pair = pair

    def of(self, parent: str) -> list[VenueOrder]:
        return [*chain.from_iterable(broker.orders.of(parent) for broker in self._pair.both)]

    def instruct(self, instruction: InstructionEvent) -> None:
        self._pair.broker_of(instruction).orders.instruct(instruction)


class Pair(TwoVenues):
    """One pair at a time for each symbol. limits: of what may stand unhedged, and when it is left."""

    def __init__(self, first: ExchangeBroker, second: ExchangeBroker, setting: Setting, limits: Limits):
        super().__init__(first, second, setting)
        self.limits = limits
        self.under_way: dict[str, TwoLeg] = {}
        self._over: set[str] = set()  # orders whose pairs have said so
        self._parting = False  # a leg was stopped out: the other is being closed
        self._stopped: dict[str, float] = {}  # by symbol the target under which it was

    def broker_of(self, event: Event) -> ExchangeBroker:
        return self._whose(event)[0]

    def held(self, symbol: str) -> tuple[float, float]:
        """Signed base units of both legs."""
        first, second = (broker.holdings.quantity(leg) for broker, leg in self.legs(symbol))
        return first, second

    def order_quantity(self, symbol: str, target: float) -> float | None:
        """From flat to the target, or from a pair of another side to flat; 0.0 where a leg was stopped out and another target ends that."""
        known, held = self._symbols[symbol], self.held(symbol)[0]
        if symbol in self.under_way or self._parting or self._stopped.get(symbol) == target:
            return None
        if held:
            return None if held * target > 0.0 else -held
        quantity = round_quantity(target * self.account().equity / known.close, self.setting.account.instrument(symbol).lot)
        return quantity if quantity or symbol in self._stopped else None

    def submit(self, order: ValidatedOrderEvent) -> Iterable[Event]:
        """Opens a pair from nothing or closes all of one; what comes while one is under way is not begun."""
        if order.symbol in self.under_way or self._parting:
            return []
        self._symbols[order.symbol].target = order.target
        self._stopped.pop(order.symbol, None)
        if order.quantity == 0.0:
            return []
        first, second = self.held(order.symbol)
        wanted = (-first, -second) if order.quantity * first < 0.0 else (order.quantity, -order.quantity)
        legs = (
            Leg(name, quantity, broker.setup.markets[name].terms, reduces=order.quantity * first < 0.0)
            for (broker, name), quantity in zip(self.legs(order.symbol), wanted)
        )
        made = TwoLeg(order.client_id, order.recv_time, tuple(legs), self.limits, BothOrders(self))
        self.under_way[order.symbol] = made
        return self._share_out()

    def _share_out(self) -> list[InstructionEvent]:
        """What the pairs under way have to say now; see `TwoVenues.heard`."""
        if self._parting and all(broker.holdings.flat and not broker.orders.unfinished() for broker in self.both):
            self.release()
        if self._retelling:
            return []
        if self._parting:
            return [told for broker in self.both for told in broker.flatten()]
        return [told for symbol in self.under_way for told in self._advanced(symbol)]

    def _advanced(self, symbol: str) -> Iterator[InstructionEvent]:
        pair, legs = self.under_way[symbol], self.legs(symbol)
        books = tuple(broker.known(leg).book for broker, leg in legs)
        yield from pair.act(max(broker.time for broker in self.both), books)
        if pair.done and pair.parent not in self._over and all(broker.idle(leg) for broker, leg in legs):
            self._over.add(pair.parent)
            yield self._told_over(symbol, pair)

    def _told_over(self, symbol: str, pair: TwoLeg) -> InstructionEvent:
        """What a pair has come to is written down, for a restart sees neither the books nor the time by which it was left."""
        named = {"symbol": symbol, "client_id": child_id(pair.parent, "over", 0), "parent": pair.parent}
        told = {"action": ROUTE, "kind": "market", "quantity": 0.0, "price": None, "reduce_only": False}
        first = self.both[0]
        return InstructionEvent(event_time=first.venue_time, recv_time=first.time, bar=pair.start, **named, **told)

    def _routed(self, event: InstructionEvent) -> Iterable[Event]:
        """One leg alone is no pair: what was too little to be evened out is closed."""
        self.under_way.pop(event.symbol, None)
        first, second = self.held(event.symbol)
        self._parting = self._parting or (first == 0.0) != (second == 0.0)
        return []

    def _given_up(self, symbol: str) -> list[Event]:
        """One leg was stopped out: nothing stands against the other any more, so it is closed at its venue, for as long as it takes."""
        if symbol in self._symbols:
            self._parting, self._stopped[symbol] = True, self._symbols[symbol].target
            self.under_way.clear()
        return []

    def flatten(self) -> Iterable[Event]:
        self.under_way.clear()
        return super().flatten()

    def at_rest(self) -> bool:
        return not self.under_way and not self._parting and super().at_rest()

    def release(self) -> None:
        self._parting = False
        super().release()

    def resume(self) -> None:
        super().resume()
        self._forget()

    def _forget(self) -> None:
        for pair in self.under_way.values():
            pair.stop()
