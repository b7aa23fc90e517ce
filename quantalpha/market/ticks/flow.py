"""Order flow on bars, live: the sums and columns of `orderbook` and `ticks.trades`, gathered message by message.

flow = Flow(step=1000, levels=10)
flow.depth(book)           # after each change of it; or flow.quote(message) with levels=1
flow.trade(message)
flow.closed()              # the bars that have closed since, as `flow_bars` gives them from the same messages
"""

from array import array
from collections import deque

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.market.orderbook import book_columns, book_rows, check_step
from quantalpha.market.ticks.book import Book
from quantalpha.market.ticks.messages import Quote, Trade
from quantalpha.market.ticks.trades import HORIZON_MS, trade_columns

CHUNK = 128  # updates summed at a time: numpy's start-up is shared, and no message waits long for it


class Flow:
    """One symbol's. step: bar length, ms; levels: of the book; horizon: ms after which a trade's realised spread is known.

    A bar closes when an update of the book is later than its end. What then still comes of it is dropped, and counted in `late`.
    """

    def __init__(self, step: int, levels: int = 1, horizon: int = HORIZON_MS):
        check_step(step, "Flow")
        self.step, self.levels, self.horizon = step, levels, horizon
        self.late = 0
        self._quotes = array("d")  # the last update summed, and those since
        self._width = 4 * levels
        self._sums = np.zeros(2 * levels + 3)
        self._number, self._known = -1, False
        self._time = self._before = -1
        self._mid = self._mid_before = float("nan")
        self._struck: dict[int, list[float]] = {}
        self._kept: dict[int, list[float]] = {}
        self._pending: deque[tuple[int, int, float, float]] = deque()
        self._bars: list[tuple] = []

    def quote(self, message: Quote) -> None:
        """The best bid and ask, of a flow of one level."""
        self._update(message.time, (message.bid, message.bid_qty, message.ask, message.ask_qty))

    def depth(self, book: Book) -> None:
        """The book as it stands now, as of `book.time`. One that is not in step with the exchange is a hole, see `lose`."""
        if not book.synced or not book.bids.keys or not book.asks.keys:
            self.lose()
            return
        (bids, bid_qty), (asks, ask_qty) = book.bids.top(self.levels), book.asks.top(self.levels)
        self._update(book.time, bids + bid_qty + asks + ask_qty)

    def trade(self, message: Trade) -> None:
        if message.time // self.step < self._number:
            self.late += 1
            return
        mid = self._mid if message.time > self._time else self._mid_before
        effective = 2 * message.side * (message.price - mid) * message.qty
        known = effective == effective  # not NaN
        struck = self._struck.setdefault(message.time // self.step, [0.0] * 5)
        for place, value in enumerate((1.0, message.qty, message.side * message.qty, effective if known else 0.0, known * message.qty)):
            struck[place] += value
        self._pending.append((message.time + self.horizon, message.side, message.price, message.qty))

    def lose(self) -> None:
        """Updates are missing here: the open bar is not known whole, and no flow is computed across the hole."""
        self._quotes = array("d")
        self._sums[:] = 0.0
        self._number, self._known = -1, False

    def closed(self) -> pd.DataFrame:
        """Bars that have closed since this was last asked, each once."""
        bars, self._bars = self._bars, []
        number, sums, last, struck, kept = ([bar[i] for bar in bars] for i in range(5))
        index = schema.from_epoch_ms(np.array(number, dtype="int64") * self.step)
        shape = np.array(sums).reshape(len(bars), 2 * self.levels + 3), np.array(last).reshape(len(bars), 4, self.levels)
        trades = np.array(struck, dtype=float).reshape(len(bars), 5), np.array(kept, dtype=float).reshape(len(bars), 2)
        return pd.DataFrame(book_columns(*shape) | trade_columns(*trades), index=index)

    def _update(self, time: int, quotes) -> None:
        if time < self._time:
            self.late += 1
            return
        self._settle(time)
        number = time // self.step
        if number > self._number:
            self._close(number)
        self._quotes.extend(quotes)
        if len(self._quotes) > CHUNK * self._width:
            self._fold()
        if time > self._time:
            self._before, self._mid_before = self._time, self._mid
        self._time, self._mid = time, (quotes[0] + quotes[2 * self.levels]) / 2

    def _settle(self, time: int) -> None:
        """The mid at the moment at which a trade's horizon ended, once a later update has come."""
        while self._pending and self._pending[0][0] < time:
            due, side, price, qty = self._pending.popleft()
            if self._mid != self._mid:
                continue  # there was no book yet
            kept = self._kept.setdefault(due // self.step, [0.0, 0.0])
            kept[0] += qty
            kept[1] += 2 * side * (price - self._mid) * qty

    def _close(self, number: int) -> None:
        if self._quotes:
            self._fold()
        if self._known:
            none = [float("nan")] * 5
            trades = self._struck.get(self._number, none), self._kept.get(self._number, none[:2])
            self._bars.append((self._number, self._sums.copy(), np.array(self._quotes), *trades))
        self._known = number == self._number + 1 and self._number >= 0
        self._number = number
        self._sums[:] = 0.0
        for sums in (self._struck, self._kept):
            for old in [bar for bar in sums if bar < number]:
                del sums[old]

    def _fold(self) -> None:
        """Sum what has gathered; the last update stays, the next one's flow is against it."""
        rows = book_rows(np.frombuffer(self._quotes).reshape(-1, 4, self.levels))
        self._sums += rows.sum(axis=0)
        self._quotes = self._quotes[-self._width :]
