"""What a venue's broker knows of one symbol beyond its orders and what is held of it."""

import math
from dataclasses import dataclass
from decimal import Decimal

from quantalpha.runner.events import FillEvent, MarketCloseEvent, QuoteEvent, ValidatedOrderEvent
from quantalpha.runner.execution import Book, Execution, View

EMPTY = Book((), ())


@dataclass
class Traded:
    """opened: ms, of the fill that made the position; best: of the bars closed since; volume: base units traded on the market, counted
    from some moment on (NaN: nobody counts), and `begun`: what it was when the execution began."""

    book: Book = EMPTY
    volume: float = math.nan
    begun: float = math.nan
    close: float = math.nan
    mark: float = math.nan
    target: float = 0.0
    opened: int = 0
    best: float = 0.0
    bars: int = 0
    execution: Execution | None = None
    parent: tuple[ValidatedOrderEvent, Decimal] | None = None  # the last order decided, and the position then; None once it is done with
    waiting: bool = False  # it follows the execution that it has overtaken
    left: tuple[str, ...] = ()  # by a restart: orders under way of decisions before it, whose end it waits for

    def quoted(self, quote: QuoteEvent) -> None:
        self.book, self.volume = Book.of(quote), quote.traded

    def closed(self, bar: MarketCloseEvent, held: float) -> None:
        self.close, self.mark = bar.close, bar.close if bar.mark is None else bar.mark
        self.passed(bar, held)

    def passed(self, bar: MarketCloseEvent, held: float) -> None:
        """The position has lived through the bar, whenever that is told; what was before its first fill is none of its own."""
        if held and bar.event_time > self.opened:
            self.best = max(self.best, bar.high) if held > 0 else min(self.best, bar.low)
            self.bars += 1

    def filled(self, event: FillEvent, before: float, after: float) -> None:
        """before, after: signed base units held."""
        if after * before <= 0.0:
            self.opened, self.best, self.bars = event.event_time, event.price, 0
        elif abs(after) > abs(before):
            self.best = max(self.best, event.price) if after > 0 else min(self.best, event.price)

    def begin(self, execution: Execution) -> None:
        self.execution, self.begun = execution, self.volume

    def view(self, time: int) -> View:
        """What its execution sees; where the counting began after it, less than the truth."""
        if math.isnan(self.begun):
            self.begun = self.volume
        return View(time, self.book, self.volume - self.begun)

    def entering(self) -> float:
        """Signed base units of the order under way that will make the position larger or turn it; what closes frees nothing before it has
        traded."""
        if self.parent is None:
            return 0.0
        if self.execution is None or self.waiting:
            order, then = self.parent
            quantity, closing = order.quantity, min(abs(float(then)), abs(order.quantity)) if order.quantity * float(then) < 0 else 0.0
        else:
            quantity = self.execution.remaining
            closing = max(abs(self.execution.closing) - abs(self.execution.filled), 0.0)
        return math.copysign(max(abs(quantity) - closing, 0.0), quantity)

    def give_up(self) -> None:
        """The order under way is not wanted any more."""
        self.parent, self.waiting = None, False
        if self.execution is not None:
            self.execution.stop()
