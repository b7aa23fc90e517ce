"""A broker and its line at a practice exchange, with what an engine does between them: hear, remember, send."""

import asyncio
from collections import Counter, deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from trading_accounts import KEYS

from quantalpha import config, perp
from quantalpha.market.connect import Retry
from quantalpha.market.trading import open_trading
from quantalpha.runner.broker_exchange import ExchangeBroker
from quantalpha.runner.events import Event, FillEvent, InstructionEvent, QuoteEvent, TickEvent, ValidatedOrderEvent
from quantalpha.runner.line import Line
from quantalpha.runner.outbox import Pace
from quantalpha.runner.venue_setup import Market, Setup, terms_of, with_rules

SYMBOL, HOUR = "BTCUSDT", 3_600_000
COSTS = perp.Costs(maker=0.0002, taker=0.0005, slippage=1e-4, liquidation=0.0125)
QUICK = Pace(account=0.3, trades=0.2, payments=1.0, health=0.3, dead=0.5, doubt=Retry(base=0.05, cap=0.2))


@dataclass
class Desk:
    """`told`: every event in order, as a journal would hold it."""

    trading: object
    broker: ExchangeBroker
    line: Line
    told: list[Event] = field(default_factory=list)
    task: asyncio.Task | None = None
    last_quote: QuoteEvent | None = None

    def feed(self, event: Event) -> None:
        queue, instructions = deque([event]), []
        while queue:
            each = queue.popleft()
            if not isinstance(each, QuoteEvent | TickEvent):
                self.told.append(each)
            if isinstance(each, InstructionEvent):
                instructions.append(each)
            queue.extend(self.broker.submit(each) if isinstance(each, ValidatedOrderEvent) else self.broker.heard(each))
        for instruction in instructions:
            self.broker.send(instruction)

    def order(self, name: str, quantity: float, target: float = 1.0) -> None:
        """A decided order that passed risk."""
        times = {"event_time": self.trading.now(), "recv_time": self.line.clock(), "symbol": SYMBOL, "bar": 0}
        self.feed(ValidatedOrderEvent(**times, client_id=name, quantity=quantity, target=target, price=self.price))

    def flatten(self) -> None:
        for instruction in self.broker.flatten():
            self.feed(instruction)

    @property
    def price(self) -> float:
        return self.broker._symbols[SYMBOL].book.mid

    async def quote(self) -> None:
        """The market's word: an execution sends nothing without one."""
        told = await self.trading.exchange.fetch_order_book("BTC/USDT:USDT", 20 if self.trading.venue.name == "binanceusdm" else 50)
        (bid, bids), (ask, asks) = told["bids"][0][:2], told["asks"][0][:2]
        times = {"event_time": self.trading.now(), "recv_time": self.line.clock(), "symbol": SYMBOL}
        self.last_quote = QuoteEvent(**times, bid=bid, ask=ask, bid_quantity=bids, ask_quantity=asks)
        self.feed(self.last_quote)

    def tick(self) -> None:
        self.feed(TickEvent(event_time=self.trading.now(), recv_time=self.line.clock(), symbol=""))

    async def until(self, holds, patience: float = 20.0) -> None:
        """Ticks as a session does while it waits."""
        async with asyncio.timeout(patience):
            while not holds():
                if self.task is not None and self.task.done():
                    self.task.result()
                self.tick()
                await asyncio.sleep(0.05)

    async def pass_time(self, server, milliseconds: int) -> None:
        """The venue's clock jumps ahead, at once: nothing that a test does takes tape time, however busy the machine is."""
        await self.until(lambda: self.trading.clock._pace is not None)  # which would be learnt from the jump
        server.clock._from += milliseconds

    @property
    def fills(self) -> list[FillEvent]:
        return [each for each in self.told if isinstance(each, FillEvent)]

    @property
    def quantity(self) -> float:
        return self.broker.holdings.quantity(SYMBOL)

    def sent(self, action: str = "place") -> Counter:
        return Counter(each.client_id for each in self.told if isinstance(each, InstructionEvent) and each.action == action)


def assemble(
    trading, *, stops: perp.Stops | None = None, algorithm: str = "market", retelling: bool = False, since: int | None = None,
    most: float | None = None,
) -> Desk:  # fmt: skip
    """most: base units of one order, instead of the venue's."""
    told = trading.rules_of(SYMBOL)
    rules = {SYMBOL: told if most is None else replace(told, most=most)}
    account = with_rules(perp.Account(1_000.0, leverage=5.0), rules)
    market = Market(terms_of(rules[SYMBOL], COSTS), perp.Stops() if stops is None else stops, 0.05)
    execution = config.load().execution.model_copy(update={"algorithm": algorithm, "max_slippage": 0.05, "chase": 0.3, "urgency": 20.0})
    desk = Desk(trading, None, None)
    broker = ExchangeBroker(
        Setup(account, {SYMBOL: market}, execution, "test", lambda each: desk.line.outbox.send(each)), retelling=retelling
    )
    desk.broker = broker
    desk.line = Line(trading, broker, desk.feed, step=HOUR, since=trading.now() if since is None else since, pace=QUICK)
    return desk


@asynccontextmanager
async def session(venue: config.Venue, **options):
    """A desk whose line runs; what fails in it fails the test."""
    async with open_trading(venue, KEYS) as trading:
        await trading.exchange.load_markets()
        desk = assemble(trading, **options)
        task = desk.task = asyncio.create_task(desk.line.run())
        try:
            await desk.quote()
            await desk.until(lambda: desk.broker.told is not None and desk.line.stream.connected)
            yield desk
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
