"""Paper orders through the displayed book: `runner.paper_price: book`.

`runner.paper_latency` seconds after it was decided, an order walks what the venue displays then. What it would have paid is an event from
outside, journalled as any other, and the price at which the ledger fills the order at the next open, instead of the open and the costs'
slippage. What is not displayed is charged at the last level's price and, beyond it, by the costs (`slippage.predicted`).
An opening waits for the walks of its symbol. Where no sound book is displayed for PATIENCE, it goes on and the order pays what it pays in
the backtest.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Mapping

from quantalpha.runner import steady
from quantalpha.runner.broker_paper import PaperBroker, PaperPortfolio
from quantalpha.runner.events import Event, MarketOpenEvent, ValidatedOrderEvent, WalkedEvent
from quantalpha.runner.execution import slippage
from quantalpha.runner.execution.book import Book, walk
from quantalpha.runner.feed import MarketEvent

PATIENCE = 10.0  # seconds
PAUSE = 0.01  # seconds between looks at what is due


class Walker:
    """book: what is displayed of a symbol, and the venue's time (ms) of it; models: of each symbol, as `slippage.Model`; feed: takes
    every event. `latency`: seconds; `clock`: that of the orders' receive times, ms."""

    def __init__(
        self,
        broker: PaperBroker | PaperPortfolio,
        book: Callable[[str], tuple[Book, int]],
        models: Mapping[str, slippage.Model],
        feed: Callable[[Event], None],
    ):
        self.broker, self.book, self.models, self.feed = broker, book, models, feed
        self.latency, self.clock = 0.0, steady.ms
        self._waiting: deque[tuple[float, MarketEvent]] = deque()

    def take(self, bar: MarketEvent) -> None:
        """Bars go on in turn."""
        self._waiting.append((time.monotonic(), bar))
        self.act()

    def act(self) -> None:
        """Walks what is due, and passes on what no longer waits for it."""
        self._walk()
        while self._waiting and not self._held(*self._waiting[0]):
            self.feed(self._waiting.popleft()[1])
            self._walk()

    async def run(self) -> None:
        while True:
            self.act()
            await asyncio.sleep(PAUSE)

    def _held(self, since: float, bar: MarketEvent) -> bool:
        waits = type(bar) is MarketOpenEvent and bar.symbol in self.broker.unpriced
        return waits and time.monotonic() - since < self.latency + PATIENCE

    def _walk(self) -> None:
        for order in list(self.broker.unpriced.values()):
            if self.clock() - order.recv_time < self.latency * 1000:
                continue
            book, moment = self.book(order.symbol)
            if book.sound:
                self.feed(walked(order, book, self.models[order.symbol], (moment, self.clock())))


def walked(order: ValidatedOrderEvent, book: Book, model: slippage.Model, times: tuple[int, int]) -> WalkedEvent:
    """What the order pays in that book. times: ms of the book, and ours."""
    side, size = math.copysign(1.0, order.quantity), abs(order.quantity)
    price = book.mid * (1.0 + side * slippage.predicted(order.quantity, book, model))
    displayed, _ = walk(book.against(side), size)
    when = {"event_time": max(times[0], order.event_time), "recv_time": times[1], "symbol": order.symbol, "bar": order.bar}
    values = {"client_id": order.client_id, "quantity": order.quantity, "price": price, "mid": book.mid, "displayed": displayed / size}
    return WalkedEvent(**when, **values)
