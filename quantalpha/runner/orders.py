"""The life of every order at a venue, by client id: what was said, what the venue answered, what is still in doubt.

    intended -> sent -> open -> partly_filled -> cancelling -> filled | cancelled | rejected | expired
                  \\-> in_doubt: no answer came; only the venue can say, it is never sent again blindly

Each word stands further along than the one before, and knowledge only moves forward: news older than what is known (a websocket's message
that comes late or twice) changes nothing, so any order of telling ends in the venue's state. News that contradicts what is known (a filled
order that was cancelled, fills that shrink or exceed the order) raises ReconcileError: then nobody knows the account.
A cancellation is asked for again where no answer comes, which is harmless; until its order is final, it may still fill.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from quantalpha.errors import ReconcileError
from quantalpha.runner.events import FillEvent, InstructionEvent, OrderUpdateEvent

INTENDED, SENT, IN_DOUBT, OPEN, PARTLY_FILLED, CANCELLING = "intended", "sent", "in_doubt", "open", "partly_filled", "cancelling"
FILLED, CANCELLED, REJECTED, EXPIRED = "filled", "cancelled", "rejected", "expired"
FINAL = (FILLED, CANCELLED, REJECTED, EXPIRED)
WORKING = (OPEN, PARTLY_FILLED, CANCELLING)
STATUSES = (INTENDED, SENT, IN_DOUBT, *WORKING, *FINAL)
RANK = {status: min(place, len(STATUSES) - len(FINAL)) for place, status in enumerate(STATUSES)}  # all final ones stand equally far
EMERGENCY = "qa-flat-"  # begins the client id of what closes an account without its session: a kill, the watchdog
ADOPTED = "adopted-"  # begins the name of a trade that stands for what was taken over
KEPT = 5_000  # orders that are over: more than hours of them
DUST = 1e-9  # relative to the order: sums of fills as floats


@lru_cache(maxsize=KEPT)  # asked for again and again while an order lives
def child_id(parent: str, purpose: str, count: int) -> str:
    """The name of the `count`-th order that serves `parent`: 35 characters of [a-z0-9-], the same after every restart."""
    return "qa-" + hashlib.sha256(f"{parent}|{purpose}-{count}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class VenueOrder:
    """One order as far as it is known. filled: signed base units that our fills add up to; reported: the most that fills or updates say.

    quantity: signed, the most it may ever trade: of an amendment that makes it smaller nobody knows whether it was in time; 0.0: whatever
    the position holds.
    """

    instruction: InstructionEvent
    quantity: float
    status: str = INTENDED
    venue_id: str | None = None
    filled: float = 0.0
    reported: float = 0.0
    reason: str = ""
    told: int = 0  # ms since 1970 UTC: when the venue was last to be told something of it

    @property
    def client_id(self) -> str:
        return self.instruction.client_id

    @property
    def final(self) -> bool:
        return self.status in FINAL

    @property
    def remaining(self) -> float:
        """Signed base units that may still trade; 0.0 once it is final."""
        return 0.0 if self.final else self.quantity - self.reported

    @property
    def committed(self) -> float:
        """Signed base units that have traded or still may."""
        return self.reported + self.remaining

    @property
    def fills_missing(self) -> bool:
        """The venue says more was filled than the fills we were told."""
        return _more(self.reported, self.filled)

    @property
    def acknowledged(self) -> bool:
        """The venue has shown that it knows the order."""
        return self.venue_id is not None or self.reported != 0.0 or self.status in (OPEN, PARTLY_FILLED, *FINAL)


class Orders:
    """All orders of an account; `instruct`, `update` and `fill` fold events into them, in any order in which a venue may tell them.

    Of those that are over the last KEPT stay, and every one that somebody still counts: what protects or flattens, until it is `release`d.
    trades: (symbol, the venue's name) of every trade that was counted; a restart is told them all again.
    """

    def __init__(self):
        self._orders: dict[str, VenueOrder] = {}
        self._unfinished: dict[str, None] = {}  # names, oldest first
        self._uncounted: dict[str, None] = {}  # names of those whose fills are missing
        self._children: dict[str, list[str]] = {}
        self._released: dict[str, None] = {}
        self._over: dict[str, None] = {}  # names that may be forgotten, oldest first
        self.trades: set[tuple[str, str]] = set()

    def __getitem__(self, client_id: str) -> VenueOrder:
        return self._orders[client_id]

    def __contains__(self, client_id: str) -> bool:
        return client_id in self._orders

    def __iter__(self) -> Iterator[VenueOrder]:
        return iter(self._orders.values())

    def of(self, parent: str) -> list[VenueOrder]:
        """The orders that serve a decided one, oldest first."""
        return [self._orders[name] for name in self._children.get(parent, ())]

    def unfinished(self) -> list[VenueOrder]:
        return [self._orders[name] for name in self._unfinished]

    def alive(self, names: Iterable[str]) -> list[VenueOrder]:
        """Those of them that may still trade."""
        return [self._orders[name] for name in names if name in self._unfinished]

    def left(self, symbol: str, parent: str) -> tuple[str, ...]:
        """The names of what is unfinished of other decisions about a symbol than this one."""
        placed = [order.instruction for order in self.unfinished() if order.instruction.purpose == "order"]
        return tuple(each.client_id for each in placed if each.symbol == symbol and each.parent != parent)

    def uncounted(self) -> list[VenueOrder]:
        """Those of which the venue says that more was filled than the fills we were told."""
        return [self._orders[name] for name in self._uncounted]

    def in_doubt(self) -> list[VenueOrder]:
        """Said or about to be said, and nobody here knows what became of it: only the venue can tell."""
        return [order for order in self.unfinished() if not order.acknowledged]

    def instruct(self, instruction: InstructionEvent) -> None:
        """Before it is sent. ReconcileError where the same order would be placed twice, or an unknown one be changed."""
        name, known = instruction.client_id, instruction.client_id in self._orders
        if (instruction.action == "place") == known:
            raise ReconcileError(f"order {name}: {instruction.action} of an order that is {'known' if known else 'not known'}; stopped")
        if instruction.action == "place":
            self._children.setdefault(instruction.parent, []).append(name)
            self._keep(VenueOrder(instruction, instruction.quantity, told=instruction.recv_time))
        elif not (order := self._orders[name]).final:
            changed = replace(order, status=CANCELLING) if instruction.action == "cancel" else _amended(order, instruction)
            self._keep(replace(changed, told=instruction.recv_time))

    def update(self, event: OrderUpdateEvent) -> None:
        order = self._orders.get(event.client_id)
        if order is None:
            raise ReconcileError(f"order {event.client_id}: the venue tells of an order that was never made here")
        problem = _contradiction(order, event) or _impossible(order, event.filled)
        if problem:
            raise ReconcileError(f"order {event.client_id}: was {order.status} with {order.reported} filled, {problem}; ask the venue")
        further = RANK[event.status] > RANK[order.status]
        known = replace(order, reported=max(order.reported, event.filled, key=abs), venue_id=order.venue_id or event.venue_id)
        self._keep(replace(known, status=event.status, reason=event.reason or order.reason) if further else known)

    def fill(self, event: FillEvent) -> bool:
        """Counts a trade; False where it was counted before. A trade of no order of ours is counted for nobody."""
        key = event.symbol, str(event.trade)
        if event.trade is not None and key in self.trades:
            return False
        order = self._orders.get(event.client_id or "")
        if order is not None:
            self._keep(_filled(order, order.filled + event.quantity))
        self.trades.add(key)
        return True

    def release(self, names: Iterable[str]) -> None:
        """Nobody counts these any more; they are forgotten in turn."""
        for name in names:
            self._released[name] = None
            if name in self._orders and self._orders[name].final:
                self._forget_after(name)

    def _forget_after(self, name: str) -> None:
        self._over[name] = None
        self._released.pop(name, None)
        if len(self._over) <= KEPT:
            return
        oldest = next(iter(self._over))
        del self._over[oldest]
        if self._orders[oldest].fills_missing:
            self._over[oldest] = None
            return
        parent = self._orders.pop(oldest).instruction.parent
        self._children[parent].remove(oldest)
        if not self._children[parent]:
            del self._children[parent]

    def _keep(self, order: VenueOrder) -> None:
        self._orders[order.client_id] = order
        if order.fills_missing:
            self._uncounted[order.client_id] = None
        else:
            self._uncounted.pop(order.client_id, None)
        if order.final:
            self._unfinished.pop(order.client_id, None)
            if order.instruction.purpose == "order" or order.client_id in self._released:
                self._forget_after(order.client_id)
        else:
            self._unfinished[order.client_id] = None


def _amended(order: VenueOrder, instruction: InstructionEvent) -> VenueOrder:
    asked = replace(instruction, action="place")
    return replace(order, instruction=asked, quantity=max(order.quantity, instruction.quantity, key=abs))


def _filled(order: VenueOrder, filled: float) -> VenueOrder:
    """A trade proves that the venue has the order."""
    problem = _impossible(order, filled) or (order.final and _more(filled, order.reported) and "and fills go on")
    if problem:
        raise ReconcileError(f"order {order.client_id}: was {order.status} with {order.reported} filled, {problem}; ask the venue")
    status = max(order.status, PARTLY_FILLED, key=RANK.__getitem__)
    return replace(order, status=status, filled=filled, reported=max(order.reported, filled, key=abs))


def _contradiction(order: VenueOrder, event: OrderUpdateEvent) -> str | None:
    """What both cannot be true, in words."""
    if event.status not in STATUSES:
        return f"the venue now says {event.status!r}, which is no status"
    if event.status in FINAL and (order.final and event.status != order.status or _more(order.reported, event.filled)):
        return f"the venue now says {event.status} with {event.filled} filled"
    if order.final and (_more(event.filled, order.reported) or order.status == REJECTED and event.status in WORKING):
        return f"the venue now says {event.status} with {event.filled} filled"
    return "rejected with fills" if event.status == REJECTED and event.filled else None


def _impossible(order: VenueOrder, filled: float) -> str | None:
    """So much cannot have been filled of this order; NaN neither."""
    within = order.quantity == 0.0 or not _more(filled, order.quantity) and filled * order.quantity >= 0.0
    return None if within and abs(filled) < float("inf") else f"now {filled} of {order.quantity} ordered"


def _more(one: float, other: float) -> bool:
    return abs(one) - abs(other) > DUST * max(abs(one), abs(other))
