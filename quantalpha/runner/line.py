"""The line between a session and its account at a venue: instructions go out, news comes in as events, all in one loop's thread.

Of one order everything is sent strictly in turn, different orders at once. An order is sent once. Where no answer comes it is in doubt, and
the venue is asked for its client id, with growing pauses, until it knows the order or can no longer come to know it: a request carries its
time, and the venue takes none that is older than RECV_WINDOW, so that once this and SETTLING (in which what was taken shows up in answers)
have passed since the last moment at which it can have been signed, an order that the venue does not know is dead.

The private stream is the fast way in, REST the truth: fills are asked for by time with an overlap and counted by the venue's name of them,
orders that rest here but not there are asked about one by one, the account is read every few seconds.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import partial

from quantalpha.errors import ExchangeError
from quantalpha.market.connect import Retry, written
from quantalpha.market.stream import wall_ms
from quantalpha.market.trading import RECV_WINDOW, InDoubt, News, OrderReport, Payment, Refused, Trade, Trading, patiently, user_stream
from quantalpha.runner.broker_exchange import ExchangeBroker
from quantalpha.runner.events import AccountEvent, Event, FillEvent, FundingEvent, HealthEvent, InstructionEvent, OrderUpdateEvent
from quantalpha.runner.holdings import funding_terms
from quantalpha.runner.latency import Stopwatch
from quantalpha.runner.orders import FINAL, IN_DOUBT, REJECTED

SETTLING = 2.0  # seconds
OVERLAP = 300_000  # ms of trades asked for again: what shows up late is not lost
DAY, MANY = 86_400_000, 2  # ms; symbols up to which trades are asked for at full pace: a venue counts each question
PROMPT = 0.01  # seconds after the moment from which an unknown order is dead, until it is asked about
FRESH = 60.0  # seconds for which the venue's clock, once read, is known
UNKNOWN = float("nan")


@dataclass(frozen=True)
class Pace:
    """Seconds between questions: for the account and its orders, for trades, for payments, for the venue's clock and the line's health.
    doubt: pauses between questions about an order in doubt; dead: after so many seconds one that the venue does not know never arrived."""

    account: float = 5.0
    trades: float = 3.0
    payments: float = 120.0
    health: float = 2.0
    dead: float = RECV_WINDOW / 1000 + SETTLING
    doubt: Retry = field(default_factory=lambda: Retry(base=0.2, cap=5.0))


class Line:
    """feed: takes every event, in the loop's thread; what it raises ends `run`. clock: ours, ms; silence: seconds since the last
    word of the market. step: ms of a bar. since: ms, when the session began: what was before is not its own."""

    def __init__(
        self, trading: Trading, broker: ExchangeBroker, feed: Callable[[Event], None], *, step: int, since: int,
        clock: Callable[[], int] = wall_ms, silence: Callable[[], float] = lambda: 0.0, pace: Pace | None = None,
    ):  # fmt: skip
        self.trading, self.broker, self.feed = trading, broker, feed
        self.clock, self.silence = clock, silence
        self.step, self.pace = step, Pace() if pace is None else pace
        self.symbols = tuple(broker.setup.markets)
        self.stream, self.stopwatch = user_stream(trading, self.news), Stopwatch()
        self._last: dict[str, asyncio.Task] = {}  # of each order, what is sent last
        self._start, self._paid_since, self._since = since, since, dict.fromkeys(self.symbols, since)
        self._skew, self._checked = UNKNOWN, -FRESH
        self._wanted = {self.settle: asyncio.Event(), self.look: asyncio.Event()}
        self._failure: Exception | None = None
        self._over = asyncio.Event()

    def send(self, instruction: InstructionEvent) -> None:
        """The outbox: takes what is durable and returns at once."""
        before = self._last.get(instruction.client_id)
        task = asyncio.get_running_loop().create_task(self._guarded(self._deliver(instruction, before)))
        self._last[instruction.client_id] = task
        task.add_done_callback(
            lambda done: self._last.pop(instruction.client_id) if self._last.get(instruction.client_id) is done else None
        )

    async def run(self) -> None:
        """Until cancelled, or `feed` raises."""
        pace, crowd = self.pace, max(1.0, len(self.symbols) / MANY)
        rounds = {self.settle: pace.trades * crowd, self.look: pace.account, self.payments: pace.payments, self.check: pace.health}
        tasks = [asyncio.create_task(self._guarded(self._forever(ask, pause))) for ask, pause in rounds.items()]
        tasks.append(asyncio.create_task(self._guarded(self.stream.run())))
        try:
            await self._over.wait()
            raise self._failure
        finally:
            tasks += self._last.values()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _guarded(self, work: Awaitable) -> None:
        """What goes wrong here ends `run`: an event that was not taken is lost for good."""
        try:
            await work
        except Exception as error:
            self._failure = self._failure or error
            self._over.set()

    async def _forever(self, ask: Callable[[], Awaitable], pause: float) -> None:
        """A question that is not answered is asked again at its next turn; trades and the account also as soon as there is news."""
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
        for wanted in self._wanted.values():
            wanted.set()

    async def _deliver(self, instruction: InstructionEvent, before: asyncio.Task | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        act = {"place": self._place, "amend": self._amend, "cancel": self._cancel}[instruction.action]
        await act(instruction)
        self.ask()

    async def _place(self, instruction: InstructionEvent) -> None:
        written.set(partial(self.stopwatch.written, instruction))  # within this delivery's task
        try:
            self.tell(await self.trading.place(instruction))
        except Refused as error:
            self._say(instruction, REJECTED, str(error))
        except InDoubt as error:
            self._say(instruction, IN_DOUBT, str(error))
            await self.resolve(instruction)

    async def _amend(self, instruction: InstructionEvent) -> None:
        """What was refused or not answered leaves the order as the venue says it is."""
        try:
            self.tell(await self.trading.amend(instruction))
        except (Refused, InDoubt):
            await self._find_out(instruction)

    async def _cancel(self, instruction: InstructionEvent) -> None:
        """To cancel twice is harmless: it is said until the order is known to be over."""
        for attempt in range(self.pace.doubt.attempts):
            with contextlib.suppress(InDoubt, Refused):
                report = await self.trading.cancel(instruction.client_id, instruction.symbol)
                report = await self.trading.order(instruction.client_id, instruction.symbol) if report is None else report
                if report is not None:
                    self.tell(report)
                if report is None or report.status in FINAL:
                    return
            await self.pace.doubt.sleep(self.pace.doubt.pause(attempt))

    async def _find_out(self, instruction: InstructionEvent) -> None:
        for attempt in range(self.pace.doubt.attempts):
            try:
                report = await self.trading.order(instruction.client_id, instruction.symbol)
                if report is not None:
                    self.tell(report)
                return
            except (Refused, InDoubt):
                await self.pace.doubt.sleep(self.pace.doubt.pause(attempt))

    async def resolve(self, instruction: InstructionEvent) -> None:
        """Asks about an order in doubt until the venue knows it, or never will. It is not sent again."""
        dead, attempt = time.monotonic() + self.pace.dead, 0
        while not self.broker.orders[instruction.client_id].acknowledged:  # the stream may know it first
            late, answered, report = time.monotonic() > dead, True, None
            try:
                report = await self.trading.order(instruction.client_id, instruction.symbol)
            except (Refused, InDoubt):
                answered = False
            if report is not None:
                self.tell(report)
                return
            if late and answered:
                self._say(instruction, REJECTED, "never arrived: the venue does not know it, and takes nothing so old")
                return
            left = dead - time.monotonic()
            attempt = attempt + 1 if late == (left <= 0.0) else 0  # the question that decides is asked at once
            pause = self.pace.doubt.pause(min(attempt, 10))
            await self.pace.doubt.sleep(min(pause, max(left, 0.0) + PROMPT) if not late else pause)

    def news(self, news: News) -> None:
        """From the stream. What is not one of our orders is left to the questions that it prompts."""
        if isinstance(news, Trade) and self.broker.knows(news.client_id):
            self.trade(news)
        elif isinstance(news, OrderReport) and self.broker.knows(news.client_id):
            self.tell(news)
            if self.broker.orders[news.client_id].fills_missing:
                self.ask()
        else:
            self.ask()

    def tell(self, report: OrderReport) -> None:
        """An order as the venue has it."""
        if not self.broker.knows(report.client_id):
            return
        known = self.broker.orders[report.client_id]
        overtaken = known.final and report.status not in FINAL and abs(report.filled) <= abs(known.reported)  # by the stream
        if overtaken or report.status == known.status and report.filled == known.reported and known.venue_id is not None:
            return
        told = {"client_id": report.client_id, "venue_id": report.venue_id, "status": report.status, "filled": report.filled}
        self.feed(OrderUpdateEvent(**self._times(report.time), symbol=report.symbol, **told, average=report.average, reason=report.reason))

    def trade(self, trade: Trade) -> None:
        """A fill; each once, whoever tells it first, before a restart or after it."""
        if (trade.symbol, trade.id) in self.broker.trades:
            return
        ours = self.broker.knows(trade.client_id)
        reason = "liquidation" if trade.liquidation else self.broker.reason(trade.client_id)
        realised = self.broker.holdings[trade.symbol].profit(trade.quantity, trade.price)
        told = {"client_id": trade.client_id if ours else None, "quantity": trade.quantity, "price": trade.price, "fee": trade.fee}
        told |= {"realised": realised, "reason": reason, "trade": trade.id, "maker": trade.maker}
        self.feed(FillEvent(**self._times(trade.time), symbol=trade.symbol, bar=trade.time - trade.time % self.step, **told))

    def pay(self, payment: Payment, settled: tuple[float, float | None] = (UNKNOWN, None)) -> None:
        """Funding, with the rate and mark it was settled at; what a liquidation cost beyond its trades is the fee of a fill of nothing."""
        if self._paid(payment):
            return
        told = {**self._times(payment.time), "symbol": payment.symbol, "bar": payment.time - payment.time % self.step}
        if payment.kind == "funding":
            terms = funding_terms(payment.amount, *settled, self.broker.holdings.quantity(payment.symbol))
            self.feed(FundingEvent(**told, amount=payment.amount, **terms, payment=payment.id))
            return
        cost = {"quantity": 0.0, "price": 0.0, "fee": -payment.amount, "realised": 0.0, "reason": "liquidation", "trade": payment.id}
        self.feed(FillEvent(**told, client_id=None, **cost))

    def _paid(self, payment: Payment) -> bool:
        """It is counted already."""
        return bool({(payment.symbol, payment.id), (payment.symbol, payment.time)} & (self.broker.trades | self.broker.settlements))

    async def settle(self) -> None:
        """Every fill since the last one known; of a quiet market a day, or each question would be a longer one than the last."""
        for symbol in self.symbols:
            asked = self.trading.now()
            for trade in await self.trading.trades_since(symbol, max(self._since[symbol] - OVERLAP, self._start)):
                self.trade(trade)
                self._since[symbol] = max(self._since[symbol], trade.time)
            self._since[symbol] = max(self._since[symbol], asked - DAY)

    async def payments(self) -> None:
        until = self.trading.now()
        for symbol in self.symbols:
            found = await self.trading.payments_since(symbol, max(self._paid_since - DAY, self._start))
            new = [payment for payment in found if not self._paid(payment)]
            rates = await self._rates(symbol, [payment.time for payment in new if payment.kind == "funding"])
            for payment in new:
                self.pay(payment, rates.get(self.trading.minute(payment.time), (UNKNOWN, None)))
        self._paid_since = until

    async def _rates(self, symbol: str, times: list[int]) -> dict[int, tuple[float, float | None]]:
        """What these settlements were at; the money counts also where nobody says so."""
        if not times:
            return {}
        with contextlib.suppress(ExchangeError):
            return await patiently("what funding was settled at", lambda: self.trading.funding_rates(symbol, min(times)), self.pace.doubt)
        return {}

    async def look(self) -> None:
        """The account as the venue has it, and what became of orders that rest only here. What something happened during is no look."""
        while True:
            asked, before = self.trading.now(), self.broker.changes
            report, resting = await self.trading.account(), await self.trading.open_orders(self.symbols)
            if self.broker.changes == before:
                break
        positions = {symbol: asdict(held) for symbol, held in report.positions.items()}
        names = sorted(each.client_id for each in resting)
        told = {"cash": report.cash, "equity": report.equity, "positions": positions, "open_orders": names}
        self.feed(AccountEvent(**self._times(asked), symbol="", **told))
        await self._look_after(resting)

    async def _look_after(self, resting: Iterable[OrderReport]) -> None:
        there = {each.client_id: each for each in resting}
        for order in self.broker.orders.unfinished():
            if order.client_id in there:
                self.tell(there[order.client_id])
            elif order.acknowledged and order.client_id not in self._last:
                report = await self.trading.order(order.client_id, order.instruction.symbol)
                if report is not None:
                    self.tell(report)
                    self.ask()

    async def check(self) -> None:
        """How well the line goes; also when the venue cannot be asked the time: then what it last said holds for a while."""
        with contextlib.suppress(ExchangeError):
            self._skew, self._checked = await self.trading.synchronise(), time.monotonic()
        if self._skew != self._skew:
            return  # not asked yet: who never hears is told by the silence
        known = time.monotonic() - self._checked < FRESH
        health = {"api_errors": self.trading.errors, "silence": self.silence(), "clock_skew": self._skew if known else UNKNOWN}
        self.feed(HealthEvent(**self._times(self.trading.now()), symbol="", **health, connected=self.stream.steady))

    def _say(self, instruction: InstructionEvent, status: str, reason: str) -> None:
        """Our own word on an order that the venue has none on: where it has one, that stands."""
        known = self.broker.orders[instruction.client_id]
        if known.final or known.acknowledged and status == IN_DOUBT:
            return
        told = {"client_id": instruction.client_id, "venue_id": None, "status": status, "reason": reason}
        self.feed(OrderUpdateEvent(**self._times(self.trading.now()), symbol=instruction.symbol, **told))

    def _times(self, event_time: int) -> dict[str, int]:
        """InDoubt of what cannot have happened yet: everything after it would be taken for the past, and not asked for any more."""
        if not event_time <= self.trading.now() + DAY:
            raise InDoubt(f"an answer that makes no sense: something happened at {event_time} ms since 1970")
        return {"event_time": event_time, "recv_time": self.clock()}
