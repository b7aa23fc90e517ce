"""A session on a live market: history first, then the streams of all symbols from the first bar that is not in it. No gap, no overlap.

Everything that happens outside comes to the engine in this one loop's thread: bars, quotes, the venue's word, a person's, the clock's.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial

from quantalpha import config, schema
from quantalpha.errors import ExchangeError, Halted, QuantalphaError
from quantalpha.market import stream
from quantalpha.runner import accounts, feed, folders, latency
from quantalpha.runner.agreement import agree, catch_up
from quantalpha.runner.composition import Composition
from quantalpha.runner.desk import asking
from quantalpha.runner.dogs import Dogs
from quantalpha.runner.events import ON_STOP, Event, MarketCloseEvent, MarketOpenEvent, QuoteEvent, SwitchEvent, TickEvent
from quantalpha.runner.halting import Halting
from quantalpha.runner.legs import place_of
from quantalpha.runner.line import Line
from quantalpha.runner.listening import Listening
from quantalpha.runner.outbox import Pace
from quantalpha.runner.parting import parting
from quantalpha.runner.request import Request
from quantalpha.runner.session import Session, accounts_of
from quantalpha.runner.stopping import asked_to_stop, first
from quantalpha.runner.summary import Summary
from quantalpha.runner.venue import Venue, opened

TICK = 0.2  # seconds between looks at the clock, the latch and the state of the tasks
PAUSED = 1.0  # seconds without such a look after which it comes before anything else: the process may have been stopped, and replaced
PARTING = 5.0  # seconds for the last questions
LONGEST_LAG = 10.0  # seconds for which the opening of a bar waits for another symbol's close of the bar before
FLATTEN = "flatten"


async def run(composition: Composition, params: config.Params, request: Request) -> Summary:
    """A session from its first word to its last. Where another one has the account, nothing is made here and nothing set at the venue."""
    request = request.named(composition)
    async with contextlib.AsyncExitStack() as stack:
        for folder in accounts_of(request.mode, params, folders.root(request.sessions) / request.name):
            stack.enter_context(folder.alone())
        venue = None
        if request.mode in accounts.VENUES:
            venue = await stack.enter_async_context(opened(composition, params, request.mode, request.name, request.resume))
        start = Session.resume if request.resume else Session.start
        session = start(composition, params, request, composition.paper() if venue is None else venue.broker)
        dogs = Dogs(session.seen_flat)
        stack.push_async_exit(dogs.part)  # once the account is let go
        for folder, card in session.accounts:
            stack.enter_context(folder.known_as(card))
        with session:
            await Live(session, venue, dogs).follow()
    return session.summary()


class Live:
    """One session's tasks. venue: None on paper."""

    def __init__(self, session: Session, venue: Venue | None, dogs: Dogs):
        self.session, self.venue, self.params = session, venue, session.params
        self.sides = () if venue is None else venue.sides
        self.symbols, self.step = session.composition.symbols, session.step
        self.merge = feed.Merge(self.symbols, LONGEST_LAG)
        self.closed = time.monotonic()  # the market's last bar
        self.heard = defaultdict(time.monotonic)  # by place, the market's last word
        self.looked = time.monotonic()  # at the latch
        self.done = asyncio.Event()
        self.desk = asking(session)
        self.tasks: list[asyncio.Task] = []
        self.leaving = False
        self.dogs, self.halting = dogs, Halting(session, self.sides)
        self.stopwatch = latency.Stopwatch()
        self.listening = Listening(session, self.sides, self.take, self._feed, self.stopwatch)

    async def follow(self) -> None:
        """Until asked to stop or done. Raises as `run_session` says."""
        with asked_to_stop() as stop:
            since = {symbol: await self._caught_up(symbol) for symbol in self.symbols}
            self.session.require_young(max(since.values()) + self.step, self.params.runner.max_model_age)
            with self.session.engine.ready():
                await self._trade(since, stop)

    async def _trade(self, since: dict[str, int], stop: asyncio.Event) -> None:
        try:
            if self.venue is not None:
                await self._connect()
                await self._look_on(stop)
            self._listen(since)
            await self._watch(stop)
            if self.venue is not None:
                await self._leave()
        except QuantalphaError as error:
            if isinstance(error, Halted):
                await self._settle_up()
            raise self.halting.told(error) from None
        finally:
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
            self.stopwatch.write(self.session.folder)

    async def _caught_up(self, symbol: str) -> int:
        """Shows a new session its history; open time (ms) of the last closed bar it has seen."""
        known = self.session.engine.closed(symbol)
        if known is not None:
            return known
        timeframe, rows = self.session.composition.timeframe, self.session.history_bars
        history = await stream.backfill(self.params.venue, symbol, timeframe, rows)
        for event in feed.replay(history, symbol, self.step, warm_up=True):
            self.session.feed(event)
        return int(schema.epoch_ms(history.index)[-1])

    async def _connect(self) -> None:
        """The venues and this session agree on the account, or nothing is traded; then somebody watches them all."""
        for side in self.sides:
            since = self.session.began.get(side.place, side.trading.now())
            pace = Pace(entry=self.params.execution.deadline * self.step / 1000)
            terms = {"step": self.step, "since": since, "silence": partial(self._silence, side.place), "pace": pace}
            side.line = Line(side.trading, side.broker, self.listening.taking(side.place), **terms)
            side.line.outbox.stopwatch = self.stopwatch
            await agree(side.line, adopt=self.session.request.adopt)
        if self.session.resumed:
            self.venue.broker.resume()
        self.session.carry(self.sides[0].trading.now())
        if self.params.runner.watchdog:
            await self.dogs.start(folder for folder, _ in self.session.accounts)
        self.session.engine.observers.append(self.halting.ask)
        for side in self.sides:
            self._start(side.line.run())

    def _silence(self, place: str) -> float:
        return time.monotonic() - self.heard[place]

    def _listen(self, since: dict[str, int]) -> None:
        for work in self.listening.bars(since):
            self._start(work)

    async def _look_on(self, stop: asyncio.Event) -> None:
        """Of two venues nothing is decided before both have quoted, for what is shared out by one book alone lies there for good; one that
        says nothing for LONGEST_LAG gets nothing."""
        end = time.monotonic() + LONGEST_LAG
        for work in self.listening.quotes():
            self._start(work)
        if len(self.sides) > 1:
            await self._until(lambda: stop.is_set() or time.monotonic() > end or self.listening.quoted(), self._look)

    def _start(self, work) -> None:
        self.tasks.append(asyncio.create_task(work))

    def take(self, event: Event) -> None:
        """Anything from outside. Bars go on in order of time; at a venue one that is long over is history, nothing to trade on."""
        if time.monotonic() - self.looked > PAUSED:
            self._look_at_latch()
        if isinstance(event, QuoteEvent):
            event = self._quote(event)
        if not isinstance(event, MarketOpenEvent | MarketCloseEvent):
            self._feed(event)
            return
        self.heard[""] = self.closed = time.monotonic()
        if isinstance(event, MarketOpenEvent) and event.bar <= self.session.engine.opened(event.symbol):
            return  # it had opened before the session was resumed
        for each in self.merge.take(event, self.closed):
            self._go_on(each)

    def _go_on(self, bar: MarketOpenEvent | MarketCloseEvent) -> None:
        if self.listening.walker is None:
            self._feed(self._history(bar))
        else:
            self.listening.walker.take(bar)

    def _quote(self, event: QuoteEvent) -> QuoteEvent:
        self.heard[place_of(event.symbol)] = time.monotonic()
        return self.listening.with_volume(event)

    def _history(self, event: Event) -> Event:
        late = self.venue is not None and isinstance(event, MarketCloseEvent) and event.event_time + self.step <= self.venue.trading.now()
        return feed.as_history(event) if late else event

    def _feed(self, event: Event) -> None:
        """Once enough was decided, or the session leaves, bars are dropped; what is heard of orders counts to the last."""
        over = self.leaving or self.done.is_set()
        if not (over and isinstance(event, MarketOpenEvent | MarketCloseEvent)) and self.session.feed(event):
            self.done.set()

    async def _watch(self, stop: asyncio.Event) -> None:
        """A look at everything every TICK."""
        while not (stop.is_set() or self.done.is_set()):
            await first(TICK, (stop, self.done), self.tasks)
            self._require_tasks()
            for each in self.merge.late(time.monotonic()):
                self._go_on(each)
            self._look_at_latch()
            for answer in self._answers():
                self._feed(answer)
            self._tick()
            self.session.require_running()
            self.dogs.require_alive()
            self.halting.require_news(self.closed)

    def _tick(self) -> None:
        self._feed(TickEvent(**self._now(), symbol=""))

    def _now(self) -> dict[str, int]:
        """By the market's clock, which on paper is ours, and by our own."""
        ours = self.session.clock()
        return {"event_time": ours if self.venue is None else self.venue.trading.now(), "recv_time": ours}

    def _answers(self) -> list[Event]:
        """What a person said to orders that wait for a word."""
        return [] if self.desk is None else self.desk.poll(self._now(), self._price)

    def _price(self, symbol: str) -> float:
        """Of the market now, NaN while no sound quote is known; on paper, where nobody need quote, the last close."""
        if self.venue is None:
            return self.session.engine.prices().get(symbol, float("nan"))
        return self.sides[0].broker.known(symbol).book.mid

    async def _leave(self) -> None:
        """A graceful stop, as `runner.on_stop` says. What could still trade is cancelled in any case, for nobody would protect what it
        buys; a position that is kept is left when its stops are known to rest."""
        self.leaving, broker = True, self.venue.broker
        if self.params.runner.on_stop == FLATTEN:
            self.session.feed(self._switch("tripped"))
            await self._until(broker.flat, self.session.beat)
            self.session.feed(self._switch("reset"))
        else:
            broker.give_up()
            await self._until(broker.at_rest, self._look)
        await self._settle_up()

    async def _settle_up(self) -> None:
        """What the venue may not have told yet, such as funding, is asked for a last time, so that the record is whole."""
        for side in self.sides:
            with contextlib.suppress(ExchangeError, Halted, TimeoutError):
                async with asyncio.timeout(PARTING):
                    await catch_up(side.line)
        with contextlib.suppress(Halted):  # an engine that an error ended takes no more
            for event in () if self.venue is None else parting(self.session.engine, self.venue.trading.now(), self.step):
                self.session.feed(event)

    def _look(self) -> None:
        """A kill switch counts to the last."""
        self._look_at_latch()
        self.session.require_running()

    def _look_at_latch(self) -> None:
        self.looked = time.monotonic()
        self.session.look_at_latch()

    async def _until(self, over: Callable[[], bool], look: Callable[[], None]) -> None:
        while not over():
            look()
            self._tick()
            await asyncio.sleep(TICK)
            self._require_tasks()
            self.halting.require_news(self.closed)

    def _switch(self, phase: str) -> SwitchEvent:
        return SwitchEvent(**self._now(), symbol="", name=ON_STOP, phase=phase, reason="runner.on_stop: flatten")

    def _require_tasks(self) -> None:
        """What ended a task ends the session."""
        for task in self.tasks:
            if task.done():
                task.result()
