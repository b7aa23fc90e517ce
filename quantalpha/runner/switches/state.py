"""Kill switches on what is known of the account: it is not what the venue says, or a position rests without its stop."""

import math

from quantalpha.runner.events import AccountEvent, Event, FillEvent, InstructionEvent, OrderUpdateEvent, SessionEvent, TickEvent
from quantalpha.runner.legs import place_of
from quantalpha.runner.orders import ADOPTED, FINAL, OPEN, PARTLY_FILLED
from quantalpha.runner.switches.base import SECOND, Trip, recorded
from quantalpha.runner.views import AccountView

SETTLED = 10.0  # seconds within which the news of a fill and of the account it led to agree
EXACT = 1e-9  # relative difference of quantities: sums of fills as floats


class Reconcile:
    """Positions that the venue tells otherwise for longer than news take, and trades that nobody here ordered."""

    heeds = (SessionEvent, FillEvent, AccountEvent, TickEvent)

    def __init__(self):
        self._since: dict[str, int] = {}  # symbol -> since when (ms of our clock) the venue says something else
        self._differs: dict[str, dict[str, float]] = {}

    def see(self, view: AccountView, event: Event) -> Trip | None:
        if isinstance(event, FillEvent) and event.reason == "external" and not str(event.trade).startswith(ADOPTED):
            return Trip(f"{event.symbol}: a trade that nobody here ordered", {"quantity": event.quantity, "price": event.price})
        if isinstance(event, SessionEvent):
            self._since.clear()
        if isinstance(event, AccountEvent):
            self._compare(view, event)
        if isinstance(event, FillEvent):
            self._heard(view)
        for symbol, since in self._since.items():
            values = self._differs[symbol]
            if event.recv_time - since > SETTLED * SECOND or not math.isfinite(values["venue"] - values["here"]):
                return Trip(f"{symbol}: the venue tells another position", values)
        return None

    def _heard(self, view: AccountView) -> None:
        """A fill that was still to come ends a difference; the venue's next word on the account may be late."""
        ended = [symbol for symbol in self._since if _same(self._differs[symbol]["venue"], view.quantity(symbol))]
        for symbol in ended:
            del self._since[symbol]

    def _compare(self, view: AccountView, event: AccountEvent) -> None:
        here_too = (symbol for symbol in view.positions if place_of(symbol) == event.symbol)
        for symbol in {*here_too, *event.positions}:
            venue, here = event.positions.get(symbol, {"quantity": 0.0}).get("quantity", math.nan), view.quantity(symbol)
            if _same(venue, here):
                self._since.pop(symbol, None)
            else:
                self._since.setdefault(symbol, event.recv_time)
                self._differs[symbol] = {"venue": venue, "here": here}


class Unprotected:
    """Seconds for which a position, or a part of it, lacks a stop that rests on the venue. After a restart they begin anew."""

    heeds = (SessionEvent, InstructionEvent, OrderUpdateEvent, FillEvent, AccountEvent, TickEvent)

    def __init__(self, limit: float):
        self.limit = limit
        self._stops: dict[str, InstructionEvent] = {}  # ordered ones by client id, until the venue is done with them
        self._resting: set[str] = set()
        self._since: dict[str, int] = {}

    def see(self, view: AccountView, event: Event) -> Trip | None:
        if isinstance(event, SessionEvent):
            self._since.clear()
        if isinstance(event, InstructionEvent) and (event.kind, event.purpose, event.action) == ("stop", "protection", "place"):
            self._stops[event.client_id] = event
        if isinstance(event, OrderUpdateEvent) and event.client_id in self._stops:
            self._update(event)
        if recorded(event):
            self._note(view, event.recv_time)
        for symbol, since in self._since.items():
            seconds = (event.recv_time - since) / SECOND
            if not seconds <= self.limit or math.isnan(view.quantity(symbol)):
                return Trip(f"{symbol}: no stop rests", {"seconds": seconds, "limit": self.limit, "quantity": view.quantity(symbol)})
        return None

    def _update(self, event: OrderUpdateEvent) -> None:
        if event.status in (OPEN, PARTLY_FILLED):
            self._resting.add(event.client_id)
        if event.status in FINAL:
            self._resting.discard(event.client_id)
            del self._stops[event.client_id]

    def _note(self, view: AccountView, now: int) -> None:
        for symbol in view.positions:
            if self._protected(symbol, view.quantity(symbol)):
                self._since.pop(symbol, None)
            else:
                self._since.setdefault(symbol, now)
        for symbol in self._since.keys() - view.positions.keys():
            del self._since[symbol]

    def _protected(self, symbol: str, quantity: float) -> bool:
        """Stops of its side rest for all that is held; of two for the same, the second finds nothing left to close."""
        resting = (self._stops[name] for name in self._resting)
        closing = [stop.quantity for stop in resting if stop.symbol == symbol and not stop.quantity * quantity > 0]
        return quantity == 0 or sum(abs(each) or math.inf for each in closing) >= abs(quantity) * (1 - EXACT)


def _same(venue: float, here: float) -> bool:
    return abs(venue - here) <= EXACT * max(1.0, abs(here)) < math.inf
