"""The market by websocket, message by message: best quotes that executions are steered by and, with `runner.feed: socket`, the bars.

A closed bar goes on the moment its last message is read; what `feed: rest` would have asked for is compared by `quantalpha reconcile`
afterwards (data revision). A bar's mark is the last one heard before it closed. What funding was settled at its open is asked of REST
while it is open, which is a whole bar's time.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from quantalpha import config, timeframe
from quantalpha.errors import ExchangeError
from quantalpha.market.clean import align_funding
from quantalpha.market.exchange import Client
from quantalpha.market.ticks import Bar, Feed, Mark, Quote, Subscription
from quantalpha.market.ticks import book as ticks
from quantalpha.runner import steady
from quantalpha.runner.events import Event, MarketCloseEvent, MarketOpenEvent, QuoteEvent
from quantalpha.runner.execution.book import Book
from quantalpha.runner.latency import Stopwatch
from quantalpha.schema import from_epoch_ms

QUOTES, BARS = ("book",), ("book", "bars", "mark")
MARKS = 8  # kept of each symbol: enough to look behind a close
MINUTE = timeframe.UNITS["m"]
LEVELS = 1000  # of a side of the book, as many as a snapshot by REST holds
MS = 1_000_000  # nanoseconds
AFTER_CLOSE = 0.002  # seconds that the stream waits after a bar's close, so that the order goes out first


class Socket:
    """tell: takes every event, in the loop's thread. since: open time (ms) of the last bar known, by symbol; None: quotes alone."""

    def __init__(
        self, params: config.Params, symbols: tuple[str, ...], bar: str, tell: Callable[[Event], None], stopwatch: Stopwatch | None = None
    ):
        self.params, self.symbols, self.bar, self.tell = params, symbols, bar, tell
        self.step, self.stopwatch = timeframe.milliseconds(bar), Stopwatch() if stopwatch is None else stopwatch
        self._marks: dict[str, deque[Mark]] = {symbol: deque(maxlen=MARKS) for symbol in symbols}
        self._opened: dict[str, int] = {}
        self._closed: dict[str, int] = {}
        self._early: dict[str, MarketOpenEvent] = {}  # openings that wait for the close of the bar before, which REST still has to tell
        self._rates: dict[tuple[str, int], float] = {}  # settled at the open of a bar
        self._quotes: dict[str, QuoteEvent] = {}
        self._asking: set[asyncio.Task] = set()
        self._books: dict[str, ticks.Book] = {}

    async def run(self, since: dict[str, int] | None = None, *, depth: bool = False) -> None:
        """Without end. depth: the whole book too, for `book`. ExchangeError when a line stays broken."""
        self._closed = {} if since is None else dict(since)
        known = None if since is None else {(symbol, "bars"): time for symbol, time in since.items()}
        kinds = (*(QUOTES if since is None else BARS), *(("depth",) if depth else ()))
        wish = Subscription(self.symbols, kinds, self.bar, known)
        async with Client(self.params.venue) as client, Feed(self.params.venue, wish, self.params.stream, steady.ns) as feed:
            self._books = feed.intake.books
            for symbol, time in (since or {}).items():
                self._ask_rate(client, symbol, time + self.step)
            try:
                async for received, message in feed.messages():
                    self._take(client, received, message)
                    if type(message) is Bar and message.closed:
                        await asyncio.sleep(AFTER_CLOSE)
            finally:
                for task in self._asking:
                    task.cancel()

    def book(self, symbol: str) -> tuple[Book, int]:
        """What is displayed now, and the venue's time (ms) of it; an empty book where nobody knows."""
        known = self._books.get(symbol)
        if known is None or not known.synced:
            return Book((), ()), 0
        bids, asks = (tuple(zip(*side.top(min(LEVELS, len(side.keys))))) for side in (known.bids, known.asks))
        return Book(bids, asks), known.time

    def _take(self, client: Client, received_ns: int, message) -> None:
        kind, received = type(message), received_ns // MS
        if kind is Quote:
            values = {"bid": message.bid, "ask": message.ask, "bid_quantity": message.bid_qty, "ask_quantity": message.ask_qty}
            self.tell(QuoteEvent(event_time=message.event, recv_time=received, symbol=message.symbol, **values))
        elif kind is Mark:
            self._marks[message.symbol].append(message)
        elif kind is Bar and message.closed:
            self.stopwatch.closed(message.time, received_ns)
            self._close(received, message)
        elif kind is Bar and message.time > self._opened.get(message.symbol, -1):
            self._open(client, received, message)

    def _open(self, client: Client, received: int, bar: Bar) -> None:
        self._opened[bar.symbol] = bar.time
        if self._due(bar.symbol, bar.time):
            self._ask_rate(client, bar.symbol, bar.time)
        times = {"event_time": bar.time, "recv_time": received, "symbol": bar.symbol, "bar": bar.time}
        self._early[bar.symbol] = MarketOpenEvent(**times, open=bar.open, funding_rate=self._foretold(bar.symbol, bar.time))
        self._tell_opening(bar.symbol)

    def _tell_opening(self, symbol: str) -> None:
        """Bars open, then close: an opening is told once the bar before has closed."""
        early = self._early.get(symbol)
        if early is not None and early.bar - self.step <= self._closed[symbol]:
            del self._early[symbol]
            if early.bar > self._closed[symbol]:
                self.tell(early)

    def _close(self, received: int, bar: Bar) -> None:
        end = bar.time + self.step
        mark = next((each.mark for each in reversed(self._marks[bar.symbol]) if each.time < end), None)
        rate = self._rates.pop((bar.symbol, bar.time), None)
        rate = self._foretold(bar.symbol, bar.time) if rate is None else rate
        times = {"event_time": end, "recv_time": received, "symbol": bar.symbol, "bar": bar.time}
        prices = {"open": bar.open, "high": bar.high, "low": bar.low, "close": bar.close, "volume": bar.volume}
        self.tell(MarketCloseEvent(**times, **prices, mark=mark, funding_rate=rate, warm_up=False))
        self._closed[bar.symbol] = bar.time
        self._tell_opening(bar.symbol)

    def _foretold(self, symbol: str, time: int) -> float:
        """What the stream said would be settled at `time`, last before it; 0.0 where nothing was due then."""
        return next((each.funding_rate for each in reversed(self._marks[symbol]) if each.next_funding == time), 0.0)

    def _due(self, symbol: str, time: int) -> bool:
        """Whether funding may have been settled at `time`: not where the stream last said before that it would be later."""
        before = next((each for each in reversed(self._marks[symbol]) if each.time < time), None)
        return before is None or before.next_funding <= time

    def _ask_rate(self, client: Client, symbol: str, time: int) -> None:
        task = asyncio.get_running_loop().create_task(self._rate(client, symbol, time))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _rate(self, client: Client, symbol: str, time: int) -> None:
        """The stream's own word stands where REST gives none in time."""
        with contextlib.suppress(ExchangeError):
            records = await client.funding(symbol, time - self.step, time + MINUTE)
            self._rates[symbol, time] = float(align_funding(records, from_epoch_ms([time]), self.bar).iloc[0])
