"""A venue's streams over its websockets: connected, kept alive, mended by REST, handed on in order. Without ccxt.pro.

    async with Feed(venue, Subscription(("BTCUSDT",), ("book", "depth", "trades")), params.stream) as feed:
        async for received_ns, message in feed.messages():
            ...  # feed.intake.books["BTCUSDT"] is the book, feed.health says how well it goes

ccxt.pro decodes 12,000 depth messages a CPU-second and joins bursts; here every message counts, so the socket is read directly. REST, with
its symbols, retries and limits, stays with ccxt.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import product

from quantalpha import config
from quantalpha.errors import ExchangeError, UsageError
from quantalpha.market.exchange import Retry
from quantalpha.market.ticks import binance, bybit
from quantalpha.market.ticks.health import Health
from quantalpha.market.ticks.intake import Intake
from quantalpha.market.ticks.messages import Line, Message
from quantalpha.market.ticks.rest import Rest

VENUES = {"binanceusdm": (binance.BASE, binance.Binance), "bybit": (bybit.BASE, bybit.Bybit)}
CLOCK_SECONDS = 30.0
PING_SECONDS = 20.0
MEND_SECONDS = 0.05  # between looks at what is wanted
RENEW_SECONDS = 2.0  # for a snapshot to come by the stream
BATCH = 2_000  # frames handled before the sockets are read again: about what one reading brings, so that a burst waits in the kernel
LARGEST_FRAME = 16 * 2**20
BINARY = 2  # websocket frames of a higher type are about the connection


@dataclass(frozen=True)
class Subscription:
    """What to listen to. kinds: of `messages.KINDS`; bar: length of the bars. since: what is known already, see `Intake`."""

    symbols: tuple[str, ...]
    kinds: tuple[str, ...]
    bar: str = "1m"
    since: dict[tuple[str, str], int] | None = None


@dataclass(frozen=True)
class Lost:
    """In the queue: whatever of these kinds came between what stands before and what stands behind is missing."""

    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Fetched:
    """In the queue: REST's answer. losses: of its kind, by `Intake.losses`, when it was asked for."""

    symbol: str
    kind: str
    rows: list
    losses: int


class Feed:
    """One venue's streams; at most `settings.queue` frames wait for a slow reader, then all are dropped, counted, and mended anew."""

    def __init__(self, venue: config.Venue, wish: Subscription, settings: config.Stream, clock: Callable[[], int] = time.time_ns):
        if venue.name not in VENUES:
            raise UsageError(f"venue.name: streams are read from {' and '.join(VENUES)}, found {venue.name!r}")
        self.venue, self.wish, self.settings, self.clock = venue, wish, settings, clock
        base, decoder = VENUES[venue.name]
        self.base, self.decoder = venue.ws_url or base, decoder()
        self.health = Health(settings.stale)
        for symbol, kind in product(wish.symbols, wish.kinds):
            self.health.channel(symbol, kind)  # one that stays silent is told too
        self.intake = Intake(self.decoder, self.health, wish.bar, wish.since)
        self.rest = Rest(venue, Retry(attempts=settings.retries))
        self._queue: deque = deque()
        self._asked: set[tuple[str, str]] = set()  # of REST, and not answered yet
        self._heard = 0  # frames
        self._sockets: set = set()  # those open
        self._arrived = asyncio.Event()
        self._tasks: list[asyncio.Task] = []

    async def __aenter__(self):
        from aiohttp import ClientSession

        await self.rest.__aenter__()
        try:
            for symbol in self.wish.symbols:
                self.rest.unified(symbol)
            await self._sample_clock()
        except BaseException:
            await self.rest.__aexit__()
            raise
        self._session = ClientSession()
        lines = self.decoder.lines(self.wish.symbols, self.wish.kinds, self.wish.bar)
        jobs = [self._listen(line) for line in lines]
        self._tasks = [asyncio.create_task(job) for job in [*jobs, self._keep_time(), self._mend()]]
        return self

    async def __aexit__(self, *_):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()
        await self.rest.__aexit__()

    async def messages(self) -> AsyncIterator[tuple[int, Message]]:
        """(our clock at receipt in ns, message), without end. Raises ExchangeError when a line stays broken."""
        while True:
            for task in [task for task in self._tasks if task.done()]:
                task.result()
                self._tasks.remove(task)
            if not self._queue:
                self._arrived.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(1.0):  # wait_for would swallow a cancellation that meets an arrival
                        await self._arrived.wait()
            for _ in range(min(len(self._queue), BATCH)):
                received, found = self._next()
                for message in found:
                    yield received, message
            await asyncio.sleep(0)

    def _next(self) -> tuple[int, list[Message]]:
        received, entry = self._queue.popleft()
        if type(entry) is Lost:
            self.intake.lose(entry.kinds)
            return received, []
        if type(entry) is Fetched:
            return received, self._mended(entry)
        return received, self.intake.take(entry, received)

    def _mended(self, entry: Fetched) -> list[Message]:
        key = entry.symbol, entry.kind
        self._asked.discard(key)
        if key not in self.intake.wanted() or entry.losses != self.intake.losses[entry.kind]:
            return []  # mended already; or more went missing since, and it is asked for again
        if entry.kind == "depth":
            return entry.rows if self.intake.snapshot(entry.rows[0]) else []
        return self.intake.mend(entry.symbol, entry.kind, entry.rows)

    def _put(self, entry) -> None:
        if len(self._queue) >= self.settings.queue:
            self._queue.clear()
            self._asked.clear()
            self._queue.append((self.clock(), Lost(self.wish.kinds)))
            self.health.overflows += 1
        self._queue.append((self.clock(), entry))
        self._arrived.set()

    async def _listen(self, line: Line) -> None:
        """Stay connected; after `settings.retries` failures in a row give up."""
        failures = 0
        while True:
            before = self._heard
            fault = await self._connected(line)
            self._put(Lost(line.kinds))
            self.health.reconnects += 1
            failures = 1 if self._heard > before else failures + 1
            if failures > self.settings.retries:
                where = f"{self.venue.name} at {self.base}{line.path}"
                raise ExchangeError(
                    f"{where}: broke off {failures} times in a row; last: {fault}; check the network and venue.ws_url, then run again"
                )
            await asyncio.sleep(Retry().pause(failures - 1))

    async def _connected(self, line: Line) -> str:
        """One connection until it breaks or falls silent; why."""
        import aiohttp

        closing = aiohttp.ClientWSTimeout(ws_close=1.0)
        try:
            async with self._session.ws_connect(self.base + line.path, max_msg_size=LARGEST_FRAME, timeout=closing) as socket:
                for request in line.requests:
                    await socket.send_str(request)
                self._sockets.add(socket)
                try:
                    return await self._receive(socket)
                finally:
                    self._sockets.discard(socket)
        except TimeoutError:
            self.health.stalls += 1
            return f"no message for {self.settings.stale:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return f"{type(error).__name__} {error}"

    async def _receive(self, socket) -> str:
        pinged = time.monotonic()
        while True:
            frame = await socket.receive(self.settings.stale)
            if frame.type.value > BINARY:
                return f"closed by the venue ({socket.close_code})"
            self._heard += 1
            self._put(frame.data)
            if self.decoder.ping is not None and time.monotonic() - pinged > PING_SECONDS:
                pinged = time.monotonic()
                await socket.send_str(self.decoder.ping)

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(CLOCK_SECONDS)
            try:
                await self._sample_clock()
            except ExchangeError:
                continue  # the samples before it stand

    async def _sample_clock(self) -> None:
        asked = self.clock()
        venue = await self.rest.server_time()
        self.health.clock.sample(asked / 1e6, venue, self.clock() / 1e6)

    async def _mend(self) -> None:
        """Fetch what is wanted and has not been asked for; again, with growing pauses, while it does not mend.

        Each in a task of its own, so that none waits for another's answer.
        """
        tries: dict[tuple[str, str], int] = {}
        while True:
            await asyncio.sleep(MEND_SECONDS)
            wanted = self.intake.wanted()
            tries = {key: tries.get(key, -1) + (key not in self._asked) for key in wanted}
            fresh = [key for key in wanted if key not in self._asked]
            self._asked.update(fresh)
            self._tasks += [asyncio.create_task(self._fetch(*key, tries[key])) for key in fresh]

    async def _fetch(self, symbol: str, kind: str, tries: int) -> None:
        if tries:
            await asyncio.sleep(Retry().pause(tries - 1))
        if (symbol, kind) not in self.intake.wanted():
            self._asked.discard((symbol, kind))
            return
        if kind == "depth" and self.decoder.renew(symbol):
            await self._renew(symbol, self.decoder.renew(symbol))
            return
        losses = self.intake.losses[kind]
        try:
            rows = [await self.rest.snapshot(symbol)] if kind == "depth" else await self._missed(symbol, kind)
        except ExchangeError:
            if kind == "depth":
                self._asked.discard((symbol, kind))  # the book stays void, and is asked for again
                return
            rows = []  # what is missing is counted as lost
        self._put(Fetched(symbol, kind, rows, losses))

    async def _renew(self, symbol: str, requests: list[str]) -> None:
        """Ask for a snapshot by the stream; it comes as a message."""
        for socket in self._sockets:
            for request in requests:
                with suppress(OSError):
                    await socket.send_str(request)
        await asyncio.sleep(RENEW_SECONDS)
        self._asked.discard((symbol, "depth"))

    async def _missed(self, symbol: str, kind: str) -> list[Message]:
        sequence = self.intake.sequences[symbol, kind]
        if kind == "bars":
            return await self.rest.bars_after(symbol, self.wish.bar, sequence.last, min(sequence.held))
        if self.decoder.counted_trades:
            return await self.rest.trades_after(symbol, sequence.last, min(sequence.held))
        return await self.rest.recent_trades(symbol)
