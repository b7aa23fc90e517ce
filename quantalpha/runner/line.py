"""The line between a session and its account at a venue: instructions go out, news comes in as events, all in one loop's thread.

What goes out is `outbox`'s, how news becomes events `reports`'s. The private stream is the fast way in, REST the truth: fills are asked
for by time with an overlap and counted by the venue's name of them, orders that rest here but not there are asked about one by one, the
account is read every few seconds.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from functools import partial

from quantalpha.errors import ExchangeError
from quantalpha.market.trading import InDoubt, News, OrderReport, Paid, Refused, Trade, Trading, patiently, user_stream
from quantalpha.runner import steady
from quantalpha.runner.broker_exchange import ExchangeBroker
from quantalpha.runner.events import AccountEvent, Event, HealthEvent
from quantalpha.runner.orders import CANCELLED, VenueOrder
from quantalpha.runner.outbox import Outbox, Pace
from quantalpha.runner.reports import Reports

OVERLAP = 300_000  # ms of trades asked for again: what shows up late is not lost
DAY, MANY = 86_400_000, 2  # ms; symbols up to which trades are asked for at full pace: a venue counts each question
LOOKS, CALM = 5, 0.05  # of one question, and seconds between them, while something happens during each
GONE = 3  # answers in a row that an acknowledged order is not known, until that is believed
FRESH = 60.0  # seconds for which the venue's clock, once read, is known
UNKNOWN = float("nan")


class Line:
    """feed: takes every event, in the loop's thread; what it raises ends `run`. clock: ours, ms; silence: seconds since the last
    word of the market. step: ms of a bar. since: ms, when the session began: what was before is not its own."""

    def __init__(
        self, trading: Trading, broker: ExchangeBroker, feed: Callable[[Event], None], *, step: int, since: int,
        clock: Callable[[], int] = steady.ms, silence: Callable[[], float] = lambda: 0.0, pace: Pace | None = None,
    ):  # fmt: skip
        self.trading, self.broker, self.clock = trading, broker, clock
        self.silence, self.pace = silence, Pace() if pace is None else pace
        self.symbols = tuple(broker.setup.markets)
        self.reports = Reports(broker, feed, clock, trading.now, step)
        self.outbox = Outbox(trading, self.reports, self.pace, self._guarded, self.ask)
        self.stream = user_stream(trading, self.news)
        self._unknown: dict[str, tuple[float, int]] = {}  # of orders that the venue had and does not know now: since when, how often told
        self._start, self._paid_since, self._since = since, since, dict.fromkeys(self.symbols, since)
        self._skew, self._checked = UNKNOWN, -FRESH
        self._wanted = {question: asyncio.Event() for question in (self.settle, self.look, self.payments)}
        self._failure: Exception | None = None
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled, or `feed` raises."""
        pace, crowd = self.pace, max(1.0, len(self.symbols) / MANY)
        rounds = {self.settle: pace.trades * crowd, self.look: pace.account, self.payments: pace.payments, self.check: pace.health}
        tasks = [asyncio.create_task(self._guarded(partial(self._forever, ask, pause))) for ask, pause in rounds.items()]
        tasks.append(asyncio.create_task(self._guarded(self.stream.run)))
        try:
            await self._over.wait()
            raise self._failure
        finally:
            tasks += self.outbox.tasks
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _guarded(self, work: Callable[[], Awaitable]) -> None:
        """What goes wrong here ends `run`: an event that was not taken is lost for good."""
        try:
            await work()
        except Exception as error:
            self._failure = self._failure or error
            self._over.set()

    async def _forever(self, ask: Callable[[], Awaitable], pause: float) -> None:
        """A question that is not answered is asked again at its next turn; those in `_wanted` also as soon as there is news."""
        while True:
            with contextlib.suppress(InDoubt, Refused):  # counted in the line's health
                await ask()
            await self._news_or(pause, self._wanted.get(ask))

    async def _news_or(self, pause: float, wanted: asyncio.Event | None) -> None:
        """Not by `wait_for`, which before Python 3.12 swallows a cancellation that meets the news."""
        if wanted is None:
            await asyncio.sleep(pause)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await wanted.wait()
        wanted.clear()

    def ask(self) -> None:
        """Trades and the account are asked for now."""
        self._wanted[self.settle].set()
        self._wanted[self.look].set()

    def news(self, news: News) -> None:
        """From the stream. What is not one of our orders is left to the questions that it prompts."""
        if isinstance(news, Trade) and self.broker.knows(news.client_id):
            self.reports.trade(news)
        elif isinstance(news, OrderReport) and self.broker.knows(news.client_id):
            self.reports.order(news)
            if self.broker.orders[news.client_id].fills_missing:
                self.ask()
        elif isinstance(news, Paid):  # asked for at once, so that what is decided next knows of it
            self._wanted[self.payments].set()
        else:
            self.ask()

    async def settle(self) -> None:
        """Every fill since the last one known; of a quiet market a day, or each question would be a longer one than the last."""
        for symbol in self.symbols:
            asked = self.trading.now()
            for trade in await self.trading.trades_since(symbol, max(self._since[symbol] - OVERLAP, self._start)):
                self.reports.trade(trade)
                self._since[symbol] = max(self._since[symbol], trade.time)
            self._since[symbol] = max(self._since[symbol], asked - DAY)

    async def payments(self) -> None:
        until = self.trading.now()
        for symbol in self.symbols:
            found = await self.trading.payments_since(symbol, max(self._paid_since - DAY, self._start))
            new = [payment for payment in found if not self.reports.paid(payment)]
            funded = [payment.time for payment in new if payment.kind == "funding"]
            rates = await self._rates(symbol, funded) if funded else {}
            for payment in new:
                self.reports.pay(payment, rates.get(self.trading.minute(payment.time), (UNKNOWN, None)))
        self._paid_since = until

    async def _rates(self, symbol: str, times: list[int]) -> dict[int, tuple[float, float | None]]:
        """What these settlements were at, which a venue may tell seconds after it has paid; the money counts also where it never does."""
        found: dict[int, tuple[float, float | None]] = {}

        async def ask() -> None:
            found.update(await self.trading.funding_rates(symbol, min(times)))
            if not {self.trading.minute(time) for time in times} <= found.keys():
                raise InDoubt("a settlement that was paid is not told yet")

        with contextlib.suppress(ExchangeError):
            await patiently("what funding was settled at", ask, self.pace.doubt)
        return found

    async def look(self) -> None:
        """The account as the venue has it, and what became of orders that rest only here. What something happened during is no look."""
        for _ in range(LOOKS):
            asked, before = self.trading.now(), self.broker.changes
            report, resting = await self.trading.account(), await self.trading.open_orders(self.symbols)
            if self.broker.changes == before:
                break
            await asyncio.sleep(CALM)
        else:
            raise InDoubt("the account changes faster than it can be read")
        positions = {symbol: asdict(held) for symbol, held in report.positions.items()}
        names = sorted(each.client_id for each in resting)
        told = {"cash": report.cash, "equity": report.equity, "positions": positions, "open_orders": names}
        self.reports.feed(AccountEvent(**self.reports.times(asked), symbol="", **told))
        await self._look_after(resting)

    async def _look_after(self, resting: Iterable[OrderReport]) -> None:
        there, unfinished = {each.client_id: each for each in resting}, self.broker.orders.unfinished()
        self._unknown = {each.client_id: self._unknown[each.client_id] for each in unfinished if each.client_id in self._unknown}
        for order in unfinished:
            if order.client_id in there:
                self.reports.order(there[order.client_id])
            elif order.acknowledged and not self.outbox.busy(order.client_id):
                await self._ask_about(order)

    async def _ask_about(self, order: VenueOrder) -> None:
        report = await self.trading.order(order.client_id, order.instruction.symbol)
        if report is None:
            await self._missed(order)
            return
        self._unknown.pop(order.client_id, None)
        self.reports.order(report)
        self.ask()

    async def _missed(self, order: VenueOrder) -> None:
        """The venue had it and does not know it now. That is asked again, for it may only not be told yet; in the end the order is gone
        with what its trades say, for which is asked last. It is never sent again."""
        since, times = self._unknown.get(order.client_id, (time.monotonic(), 0))
        self._unknown[order.client_id] = since, times + 1
        if times + 1 < GONE or time.monotonic() - since < self.pace.dead:
            return
        await self.settle()
        self.reports.say(order.client_id, CANCELLED, "gone: the venue had it, and does not know it any more")

    async def check(self) -> None:
        """How well the line goes; also when the venue cannot be asked the time: then what it last said holds for a while."""
        with contextlib.suppress(ExchangeError):
            self._skew, self._checked = await self.trading.synchronise(), time.monotonic()
        if self._skew != self._skew:
            return  # not asked yet: who never hears is told by the silence
        known = time.monotonic() - self._checked < FRESH
        health = {"api_errors": self.trading.errors, "silence": self.silence(), "clock_skew": self._skew if known else UNKNOWN}
        self.reports.feed(HealthEvent(**self.reports.times(self.trading.now()), symbol="", **health, connected=self.stream.steady))
