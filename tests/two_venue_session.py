"""One account at two venues of the practice exchange, which is two servers: one may rise, fall or go away without the other."""

import asyncio
import contextlib
from contextlib import asynccontextmanager
from dataclasses import replace

from trading_accounts import KEYS, account_at
from venue_session import COSTS, HOUR, QUICK, SYMBOL, Desk

from quantalpha import config, perp
from quantalpha.market.trading import Elsewhere, open_trading
from quantalpha.runner.agreement import agree
from quantalpha.runner.broker_exchange import ExchangeBroker
from quantalpha.runner.events import QuoteEvent
from quantalpha.runner.legs import told_at
from quantalpha.runner.line import Line
from quantalpha.runner.two_venues import Setting, TwoVenues
from quantalpha.runner.venue import Side
from quantalpha.runner.venue_setup import Market, Setup, terms_of, with_rules

PLACE = "@bybit"
LEG = SYMBOL + PLACE
ACCOUNT = perp.Account(2_000.0, leverage=5.0, lot=0.001)
EXECUTION = config.load().execution.model_copy(update={"max_slippage": 0.05, "chase": 0.3, "urgency": 20.0})


class Both(Desk):
    """A desk whose broker has two sides; `fed` may be told again to another."""

    sides: list[Side]

    def quoted(self, first: tuple[float, float], second: tuple[float, float]) -> None:
        """Best bid and what waits there, at each venue; the ask is 0.1 above it."""
        times = {"event_time": self.trading.now(), "recv_time": self.line.clock()}
        for symbol, (bid, depth) in ((SYMBOL, first), (LEG, second)):
            self.feed(QuoteEvent(**times, symbol=symbol, bid=bid, ask=bid + 0.1, bid_quantity=depth, ask_quantity=depth))

    async def prices(self) -> tuple[float, float]:
        told = [await each.exchange.fetch_order_book("BTC/USDT:USDT", 50) for each in (self.trading, self.sides[1].trading.trading)]
        return told[0]["bids"][0][0], told[1]["bids"][0][0]

    async def shown(self, first: float, second: float) -> None:
        """The venues' prices, with so much at each."""
        one, other = await self.prices()
        self.quoted((one, first), (other, second))

    @property
    def price(self) -> float:
        return self.broker.both[0].known(SYMBOL).book.mid

    @property
    def legs(self) -> tuple[float, float]:
        return tuple(broker.holdings.quantity(leg) for broker, leg in self.broker.legs(SYMBOL))

    def protected(self) -> bool:
        """At each venue rests a stop for what is held there, by the venue's own word."""
        return all(side.broker.told.open_orders and side.broker.protection.exposed(side.broker.time) == 0.0 for side in self.sides)

    async def agree(self) -> None:
        for side in self.sides:
            await agree(side.line)


def assemble(first, second, *, retelling: bool = False, since: int | None = None) -> Both:
    sides = [Side("", None, first), Side(PLACE, None, Elsewhere(second, PLACE))]
    desk = Both(first, None, None)
    desk.sides = sides
    for side in sides:
        leg = SYMBOL + side.place
        rules = {leg: side.trading.rules_of(leg)}
        account = with_rules(replace(ACCOUNT, initial_cash=1_000.0), rules)
        market = Market(terms_of(rules[leg], COSTS), perp.Stops(), 0.05)
        side.broker = ExchangeBroker(Setup(account, {leg: market}, EXECUTION, "test", side.send), retelling=retelling)
        feed = desk.feed if not side.place else lambda event: desk.feed(told_at(event, PLACE))
        began = side.trading.now() if since is None else since
        side.line = Line(side.trading, side.broker, feed, step=HOUR, since=began, pace=QUICK)
    setting = Setting(ACCOUNT, (SYMBOL,), PLACE, (COSTS.taker, COSTS.taker))
    desk.broker, desk.line = TwoVenues(sides[0].broker, sides[1].broker, setting), sides[0].line
    return desk


@contextlib.contextmanager
def two():
    with account_at("binanceusdm") as (one, first), account_at("bybit") as (other, second):
        yield (one, other), (first, second)


@asynccontextmanager
async def session(venues, **options):
    async with open_trading(venues[0], KEYS) as first, open_trading(venues[1], KEYS) as second:
        for trading in (first, second):
            await trading.exchange.load_markets()
        desk = assemble(first, second, **options)
        tasks = [asyncio.create_task(side.line.run()) for side in desk.sides]
        desk.task = tasks[0]
        try:
            await desk.shown(1.0, 1.0)
            await desk.until(lambda: all(side.broker.told is not None and side.line.stream.connected for side in desk.sides))
            yield desk
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
