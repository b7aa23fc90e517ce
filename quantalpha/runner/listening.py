"""What a session on a live market listens to: the bars it decides by, and what its executions are steered by."""

import contextlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from functools import partial

from quantalpha.errors import ExchangeError
from quantalpha.market import stream
from quantalpha.runner import feed
from quantalpha.runner.events import Event, QuoteEvent
from quantalpha.runner.latency import Stopwatch
from quantalpha.runner.legs import native, place_of, told_at
from quantalpha.runner.session import Session
from quantalpha.runner.socket import Socket
from quantalpha.runner.venue import Side
from quantalpha.runner.venue_setup import model_of
from quantalpha.runner.volume import Volume
from quantalpha.runner.walk import Walker
from quantalpha.runner.warm import rehearse, stay_warm

BOOK = "book"
SOCKET, PACED = "socket", "adaptive"
Take = Callable[[Event], None]


class Listening:
    """One session's sources, each the work of one task. sides: the venues it trades at, none on paper. take: of what the sources tell;
    give: of what a walk of the book has priced."""

    def __init__(self, session: Session, sides: Sequence[Side], take: Take, give: Take, stopwatch: Stopwatch):
        self.session, self.sides, self.params = session, sides, session.params
        self.symbols = session.composition.symbols
        self.take, self.give, self.stopwatch = take, give, stopwatch
        self.volumes = {side.place: Volume(side.params, self.symbols) for side in sides}
        self.walker: Walker | None = None  # of paper orders, with `runner.paper_price: book`

    def bars(self, since: dict[str, int]) -> Iterator[Coroutine]:
        """Of every symbol, from the one after the bar that opened at `since` (ms)."""
        by_socket = self.params.runner.feed == SOCKET
        walks = not self.sides and self.params.runner.paper_price == BOOK
        if by_socket or walks:
            socket = Socket(self.params, self.symbols, self.session.composition.timeframe, self.take, self.stopwatch)
            yield socket.run(since if by_socket else None, depth=walks)
            if by_socket and self.sides:
                yield stay_warm(partial(rehearse, self.session.engine, [side.trading for side in self.sides]), self.stopwatch.left)
            if walks:
                self.walker = self._walks(socket)
                yield self.walker.run()
        if not by_socket:
            yield from (self._by_rest(symbol, last + self.session.step) for symbol, last in since.items())

    def _walks(self, socket: Socket) -> Walker:
        models = {symbol: model_of(costs) for symbol, costs in self.session.composition.costs().items()}
        walker = Walker(self.session.engine.broker, socket.book, models, self.give)
        walker.latency = self.params.runner.paper_latency
        return walker

    async def _by_rest(self, symbol: str, since: int) -> None:
        """One symbol's bars by REST, when the websocket says that one has closed."""
        bar, settings = self.session.composition.timeframe, self.params.runner
        bars = stream.stream_bars(self.params.venue, symbol, bar, since, retries=settings.retries, clock=stream.wall_ms)
        async with contextlib.aclosing(bars):
            async for each in bars:
                self.take(feed.live(each, symbol, self.session.step, self.session.clock()))
        raise ExchangeError("runner: the venue's stream ended; run again when it is back")

    def quotes(self) -> Iterator[Coroutine]:
        """What executions are steered by: quotes; of two venues the funding of each; the volume, where orders keep to a share of it."""
        for side in self._quoting():
            yield Socket(side.params, self.symbols, self.session.composition.timeframe, self.taking(side.place)).run()
        if len(self.sides) > 1:
            yield from (side.follow_rates() for side in self.sides)
        if self.params.execution.algorithm == PACED:
            yield from (volume.run() for volume in self.volumes.values())

    def quoted(self) -> bool:
        """Whether every venue has quoted that is asked to; the first's quotes may come with its bars."""
        return all(side.quoted for side in self._quoting())

    def _quoting(self) -> list[Side]:
        return [side for side in self.sides if side.place or self.params.runner.feed != SOCKET]

    def taking(self, place: str) -> Take:
        """Takes what the venue at `place` tells."""
        return self.take if place == "" else lambda event: self.take(told_at(event, place))

    def with_volume(self, quote: QuoteEvent) -> QuoteEvent:
        """The quote with the volume traded, where somebody counts it."""
        place = place_of(quote.symbol)
        return replace(quote, traded=self.volumes[place][native(quote.symbol)]) if place in self.volumes else quote
