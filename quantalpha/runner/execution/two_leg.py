"""Two legs of an arbitrage, so that never more than a limit of one stands without the other.

The first leg goes in slices of at most the limit; what of it has filled is hedged on the second leg at once, at market. Either the first
leg rests (post-only, the cheaper way) or both cross together. The pair leaves when a leg is refused, the spread leaves its limit, something
stays unhedged for too long, or time is up: what rests is cancelled, what is hedged is kept, and what is not is evened out by the order
that makes a position smaller: it unwinds where the pair is being opened, and closes the other leg where it is being closed. What is less
than the venue takes stays unhedged.

Like every execution it keeps no books of its own: see `base`. Orders of both legs serve the same parent; symbols tell them apart.
"""

import math
from dataclasses import dataclass, replace

from quantalpha.errors import UsageError
from quantalpha.perp import meets_minimum, round_price
from quantalpha.runner import orders as states
from quantalpha.runner.events import InstructionEvent
from quantalpha.runner.execution import slippage
from quantalpha.runner.execution.base import PAUSE, REFUSALS, Terms, exact, refusal
from quantalpha.runner.execution.book import Book
from quantalpha.runner.orders import DUST, Orders, VenueOrder, child_id


@dataclass(frozen=True)
class Leg:
    """quantity: signed base units wanted of `symbol`; reduces: the pair is being closed."""

    symbol: str
    quantity: float
    terms: Terms
    reduces: bool = False


@dataclass(frozen=True)
class Limits:
    """unhedged: quote currency; patience: seconds something may stay unhedged, and the first leg rests before it follows the touch;
    edge: least (sold price / bought price - 1) at which the pair goes on, fees not counted; urgency: seconds; together: both legs cross."""

    unhedged: float
    patience: float
    edge: float
    urgency: float
    together: bool = False


class TwoLeg:
    """`parent`: the name both legs' orders serve; start: ms since 1970 UTC."""

    def __init__(self, parent: str, start: int, legs: tuple[Leg, Leg], limits: Limits, orders: Orders):
        least = max(2 * leg.terms.min_notional for leg in legs)
        if not limits.unhedged > least:
            raise UsageError(
                f"two legs: expected a limit of what is unhedged above {least:g}, twice the least notional, found {limits.unhedged!r}"
            )
        self.parent, self.start, self.legs, self.limits, self._orders = parent, start, legs, limits, orders
        self._since: int | None = None  # unhedged since
        self.leaving = ""  # why
        self.done = False

    def stop(self) -> None:
        self.leaving = self.leaving or "stopped"

    @property
    def filled(self) -> tuple[float, float]:
        """Signed base units of each leg."""
        first, second = (math.fsum(child.reported for child in self._children(leg)) for leg in self.legs)
        return first, second

    @property
    def unhedged(self) -> float:
        """Signed base units of the second leg that are missing beside the first."""
        first, second = self.filled
        return first * self._ratio - second

    def act(self, time: int, books: tuple[Book, Book]) -> list[InstructionEvent]:
        """What to tell the venues now, already entered in `Orders`; books: of the two legs."""
        if self.done:
            return []
        self._watch(time, books)
        told = self._leave(time, books) if self.leaving else self._advance(time, books)
        idle = not told and not any(self._live(leg) or self._paused(leg, time) for leg in self.legs)
        self.done = idle and (bool(self.leaving) or self._filled_up and self._missing(books) == 0.0)
        return told

    @property
    def _ratio(self) -> float:
        first, second = self.legs
        return second.quantity / first.quantity

    @property
    def _filled_up(self) -> bool:
        return exact(self.legs[0].quantity - self.filled[0], self.legs[0].terms.lot) == 0.0

    def _children(self, leg: Leg) -> list[VenueOrder]:
        return [order for order in self._orders.of(self.parent) if order.instruction.symbol == leg.symbol]

    def _live(self, leg: Leg) -> VenueOrder | None:
        return next((child for child in self._children(leg) if not child.final), None)

    def _watch(self, time: int, books: tuple[Book, Book]) -> None:
        """Whether it is time to leave; comparisons are such that an unknown price says yes."""
        self._since = None if self._missing(books) == 0.0 else time if self._since is None else self._since
        reasons = {
            "refused": self._refused(self.legs[0]) or self._refused(self.legs[1]),
            "unhedged": self._since is not None and time - self._since >= self.limits.patience * 1000,
            "late": time - self.start >= self.limits.urgency * 1000,
            "edge": not self._filled_up and not self._edge(books) >= self.limits.edge,
        }
        self.leaving = self.leaving or next((reason for reason, given in reasons.items() if given), "")

    def _refused(self, leg: Leg) -> bool:
        last = [child for child in self._children(leg) if child.instruction.kind == "market"][-REFUSALS:]
        return len(last) == REFUSALS and all(refusal(child) for child in last)

    def _edge(self, books: tuple[Book, Book]) -> float:
        """What selling one against buying the other brings at the prices at which the legs would trade now."""
        (first, second), (one, other) = self.legs, books
        if not (one.sound and other.sound):
            return math.nan
        side = first.quantity
        mine = one.against(side)[0][0] if self.limits.together else one.touch(side)
        theirs = other.against(second.quantity)[0][0]
        return theirs / mine - 1.0 if side > 0 else mine / theirs - 1.0

    def _missing(self, books: tuple[Book, Book]) -> float:
        """Of the second leg, in lots; 0.0 where it is too little to be sent."""
        return self._sendable(self.legs[1], self.unhedged, books[1])

    def _sendable(self, leg: Leg, quantity: float, book: Book) -> float:
        quantity = exact(quantity, leg.terms.lot)
        small = book.sound and not meets_minimum(quantity, book.bid, leg.terms.min_notional)
        return 0.0 if small and not _reduces(leg, quantity) else quantity

    def _advance(self, time: int, books: tuple[Book, Book]) -> list[InstructionEvent]:
        first, second = self.legs
        told = self._hedged(time, books)
        resting = self._live(first)
        if resting is not None:
            return told + self._followed(resting, time, books[0])
        if told or self._live(second) or self._missing(books) != 0.0 or self._paused(first, time):
            return told
        kind = "market" if self.limits.together else "post_only"
        told = self._placed(first, self._slice(books[0]), kind, time, books[0])
        if told and self.limits.together:
            beside = self._sendable(second, told[0].quantity * self._ratio + self.unhedged, books[1])
            told += self._placed(second, beside, "market", time, books[1])
        return told

    def _hedged(self, time: int, books: tuple[Book, Book]) -> list[InstructionEvent]:
        """What the first leg has filled, at once."""
        second = self.legs[1]
        if self._live(second) or self._paused(second, time) or self.limits.together and self._live(self.legs[0]):
            return []
        return self._placed(second, self._missing(books), "market", time, books[1])

    def _slice(self, book: Book) -> float:
        """The next part of the first leg: with all that is unhedged already, within the limit."""
        first = self.legs[0]
        left = max(0.0, abs(first.quantity) - abs(self.filled[0]))
        room = max(0.0, self.limits.unhedged / book.ask - abs(self.unhedged / self._ratio))
        if left > room:
            room = min(room, left - first.terms.min_notional / book.bid)  # so that the last part is one that the venue takes
        return self._sendable(first, math.copysign(max(0.0, min(left, room)), first.quantity), book)

    def _followed(self, resting: VenueOrder, time: int, book: Book) -> list[InstructionEvent]:
        rested = time - resting.told >= self.limits.patience * 1000
        stays = resting.status != states.CANCELLING and resting.instruction.price == self._price(self.legs[0], book)
        return [] if stays or not rested else self._cancelled(resting, time)

    def _cancelled(self, order: VenueOrder, time: int) -> list[InstructionEvent]:
        asked = order.status == states.CANCELLING and time - order.told < PAUSE
        if asked or not order.acknowledged or order.instruction.kind == "market":
            return []
        return self._tell(replace(order.instruction, action="cancel", event_time=time, recv_time=time))

    def _leave(self, time: int, books: tuple[Book, Book]) -> list[InstructionEvent]:
        """Cancel what rests; when the last word on everything is known, even out what is not hedged."""
        live = [child for child in map(self._live, self.legs) if child is not None]
        if live:
            return [told for child in live for told in self._cancelled(child, time)]
        lacking = 1 if self.unhedged * self.legs[1].quantity > 0.0 else 0
        chosen = lacking if self.legs[lacking].reduces else 1 - lacking  # always the order that makes a position smaller
        chosen = 1 - chosen if self._refused(self.legs[chosen]) else chosen  # that venue will not: the other has to follow
        leg, book = self.legs[chosen], books[chosen]
        quantity = self.unhedged if chosen == 1 else -self.unhedged / self._ratio
        if self._paused(leg, time):
            return []
        return self._placed(leg, self._sendable(leg, quantity, book), "market", time, book)

    def _paused(self, leg: Leg, time: int) -> bool:
        last = self._children(leg)[-1:]
        return bool(last) and refusal(last[0]) and time - last[0].told < PAUSE

    def _price(self, leg: Leg, book: Book) -> float:
        return round_price(book.touch(leg.quantity), leg.terms.tick, leg.quantity)

    def _placed(self, leg: Leg, quantity: float, kind: str, time: int, book: Book) -> list[InstructionEvent]:
        if abs(quantity) <= DUST or kind == "post_only" and not book.sound:
            return []
        return self._tell(
            InstructionEvent(
                event_time=time,
                recv_time=time,
                symbol=leg.symbol,
                bar=self.start,
                client_id=child_id(self.parent, leg.symbol, len(self._children(leg))),
                parent=self.parent,
                action="place",
                kind=kind,
                quantity=quantity,
                price=self._price(leg, book) if kind == "post_only" else None,
                reduce_only=_reduces(leg, quantity),
                reference=book.mid if book.sound else None,
                predicted=slippage.expected(kind, quantity, book, leg.terms.model),
            )
        )

    def _tell(self, instruction: InstructionEvent) -> list[InstructionEvent]:
        self._orders.instruct(instruction)
        return [instruction]


def _reduces(leg: Leg, quantity: float) -> bool:
    """An order on the way out: of a pair that is being closed, or back from one that is being opened."""
    return leg.reduces == (quantity * leg.quantity > 0.0)
