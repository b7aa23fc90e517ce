"""One decided order on its way to a venue, whatever the algorithm: how much has to be out by now, and how.

An execution keeps no books of its own. What it has sent stands in `Orders`, under names made of the parent's name and a count; from them,
the time and the market it says what is to be told now. So it does not matter in which order news comes, nothing is sent twice, and after a
restart it goes on where its orders stand: make it again from the same order and position.

`act` is called after every piece of news (quote, tick, update, fill) and returns the instructions, already entered in `Orders`.
At most one child works at a time, and the next is made when the venue has said the last word on it: what has traded and what may still
trade never exceeds what was decided, even where a fill overtakes a cancellation or no answer comes.

What closes a position goes first, reduce-only, and what opens the new one follows: a stop that fills meanwhile turns nobody's position.
"""

import math
from dataclasses import dataclass, replace

from quantalpha import config
from quantalpha.perp import in_parts, meets_minimum, round_price, round_quantity
from quantalpha.runner import orders as states
from quantalpha.runner.events import InstructionEvent, ValidatedOrderEvent
from quantalpha.runner.execution import slippage
from quantalpha.runner.execution.book import Book
from quantalpha.runner.orders import Orders, VenueOrder, child_id

REFUSALS = 3  # of market children; then the venue does not want the order, and more would only spend the rate budget
PAUSE = 1000  # ms after a refusal


@dataclass(frozen=True)
class Terms:
    """What the venue demands of an order and what its market costs. model: see `slippage.Model`. amends: resting orders can be moved.
    most: base units of one order."""

    lot: float
    tick: float
    min_notional: float  # quote currency; a reduce-only order may be smaller
    model: slippage.Model
    amends: bool = False
    most: float = math.inf


@dataclass(frozen=True)
class View:
    """What an execution may know: ms since 1970 UTC, the book, and the base units traded on the market since the order's start (NaN:
    nobody counts them)."""

    time: int
    book: Book
    traded: float = math.nan


class Execution:
    """One algorithm is a subclass that says `due`, `style` and perhaps `outdated`. `position`: signed, held when the order was decided."""

    def __init__(self, order: ValidatedOrderEvent, position: float, terms: Terms, settings: config.Execution, orders: Orders):
        self.order, self.terms, self.settings = order, terms, settings
        self._orders = orders
        opposed = order.quantity * position < 0
        self.closing = math.copysign(min(abs(order.quantity), abs(position)), order.quantity) if opposed else 0.0
        self.stopped = self.done = False

    def due(self, view: View) -> float:
        """Share (0 to 1) of the quantity that may be out by now."""
        return 1.0

    def style(self, view: View) -> str | None:
        """market | post_only | None: not now."""
        raise NotImplementedError

    def outdated(self, child: VenueOrder, view: View) -> bool:
        """A resting child no longer stands where or how it should."""
        return False

    def over(self, view: View) -> bool:
        """Whether time is up: what cannot be sent now is never sent."""
        return view.time >= self.deadline

    @property
    def start(self) -> int:
        return self.order.recv_time

    @property
    def deadline(self) -> int:
        """ms since 1970 UTC."""
        return self.start + round(self.settings.urgency * 1000)

    @property
    def children(self) -> list[VenueOrder]:
        return self._orders.of(self.order.client_id)

    @property
    def filled(self) -> float:
        """Signed base units, as the venue's words and the fills have it."""
        return math.fsum(child.reported for child in self.children)

    @property
    def remaining(self) -> float:
        """Signed base units not traded yet, or never, once `done`."""
        return exact(self.order.quantity - self.filled, self.terms.lot)

    def stop(self) -> None:
        """A newer decision, a stop that filled or a switch has overtaken the order: its child is cancelled, nothing more is sent.

        Call `act` after it until `done`, then start what follows. Say it again after a restart.
        """
        self.stopped = True

    def act(self, view: View) -> list[InstructionEvent]:
        """What to tell the venue now; [] once `done`."""
        if self.done:
            return []
        working = [child for child in self.children if not child.final]
        instruction = self._changed(working[0], view) if working else self._next(view)
        self.done = instruction is None and not working and (self.stopped or self._refused or self._spent(view))
        if instruction is None:
            return []
        self._orders.instruct(instruction)
        return [instruction]

    @property
    def _refused(self) -> bool:
        return sum(child.instruction.kind == "market" and refusal(child) for child in self.children) >= REFUSALS

    def _paused(self, view: View) -> bool:
        last = self.children[-1:]
        return bool(last) and refusal(last[0]) and view.time - last[0].told < PAUSE

    def _spent(self, view: View) -> bool:
        return self.over(view) or self._rest(1.0, view) == 0.0

    def _changed(self, child: VenueOrder, view: View) -> InstructionEvent | None:
        """Cancel or move what rests; a child not acknowledged yet is left alone: a cancellation must not overtake it."""
        if child.status == states.CANCELLING:
            return self._cancel(child, view) if self._rested(child, view) and child.acknowledged else None
        if not child.acknowledged or child.instruction.kind == "market" or not (self.stopped or self.outdated(child, view)):
            return None
        return self._moved(child, view) if self._may_move(child, view) else self._cancel(child, view)

    @property
    def _patience(self) -> int:
        """ms after which a resting child is looked at again, and an unanswered cancellation is asked for again."""
        return round(self.settings.chase * 1000)

    def _rested(self, child: VenueOrder, view: View) -> bool:
        return view.time - child.told >= self._patience

    def _may_move(self, child: VenueOrder, view: View) -> bool:
        return self.terms.amends and not self.stopped and self.style(view) == "post_only" and view.book.sound

    def _cancel(self, child: VenueOrder, view: View) -> InstructionEvent:
        return replace(child.instruction, action="cancel", **self._moment(view))

    def _moved(self, child: VenueOrder, view: View) -> InstructionEvent:
        price = self._price(child.quantity, view.book)
        expected = slippage.expected(child.instruction.kind, child.quantity, view.book, self.terms.model)
        return replace(child.instruction, action="amend", price=price, reference=view.book.mid, predicted=expected, **self._moment(view))

    def _next(self, view: View) -> InstructionEvent | None:
        """The next child, or None where there is nothing to send now."""
        style = None if self.stopped or self._refused or self._paused(view) else self.style(view)
        reduces = self._reduces
        if style is None or not reduces and view.time >= self.deadline:
            return None  # closing goes on after the deadline: a position that is not wanted is not kept because a venue was slow
        quantity = self._rest(self.due(view), view)
        if not reduces:
            quantity = self._affordable(quantity, style, view.book)
        if quantity == 0.0 or style == "post_only" and not view.book.sound:
            return None
        return self._placed(in_parts(quantity, self.terms.most)[0], style, reduces, view)

    def _placed(self, quantity: float, style: str, reduces: bool, view: View) -> InstructionEvent:
        sound = view.book.sound
        return InstructionEvent(
            **self._moment(view),
            symbol=self.order.symbol,
            bar=self.order.bar,
            client_id=child_id(self.order.client_id, "child", len(self.children)),
            parent=self.order.client_id,
            action="place",
            kind=style,
            quantity=quantity,
            price=self._price(quantity, view.book) if style == "post_only" else None,
            reduce_only=reduces,
            reference=view.book.mid if sound else None,
            predicted=slippage.expected(style, quantity, view.book, self.terms.model),
        )

    def _moment(self, view: View) -> dict[str, int]:
        return {"event_time": view.time, "recv_time": view.time}

    def _price(self, quantity: float, book: Book) -> float:
        return round_price(book.touch(quantity), self.terms.tick, quantity)

    @property
    def _reduces(self) -> bool:
        return abs(self._committed) < abs(self.closing) * (1.0 - states.DUST)

    @property
    def _committed(self) -> float:
        return math.fsum(child.committed for child in self.children)

    def _rest(self, share: float, view: View) -> float:
        """Signed base units to send so that `share` of the order is out: in lots, of what closes first, never less than the venue takes."""
        whole, out = self.order.quantity, self._committed
        limit = self.closing if self._reduces else whole
        left = exact(limit - out, self.terms.lot)
        part = left if share >= 1.0 else exact(whole * share - out, self.terms.lot)
        part = math.copysign(min(abs(part), abs(left)), whole) if part * whole > 0 else 0.0
        if self._reduces:
            return part
        if not self._enough(exact(left - part, self.terms.lot), view.book):
            part = left  # what would be left over is too small to be sent by itself
        return part if self._enough(part, view.book) else 0.0

    def _enough(self, quantity: float, book: Book) -> bool:
        price = book.bid if book.sound else self.order.price
        return quantity != 0.0 and meets_minimum(quantity, price, self.terms.min_notional)

    def _affordable(self, quantity: float, style: str, book: Book) -> float:
        """What opens a position at market only as far as the expected slippage allows; what rests pays none."""
        if style != "market" or quantity == 0.0:
            return quantity
        cut = slippage.permitted(quantity, book, self.terms.model, self.settings.max_slippage, self.terms.lot)
        return cut if self._enough(cut, book) else 0.0


def refusal(child: VenueOrder) -> bool:
    """The venue took nothing of it."""
    return child.status in (states.REJECTED, states.EXPIRED) and child.reported == 0.0


def exact(quantity: float, lot: float) -> float:
    """A difference of multiples of `lot` as the multiple it stands for."""
    return round_quantity(quantity + math.copysign(lot * 0.01, quantity), lot) if lot else quantity
