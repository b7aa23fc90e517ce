"""One account at two venues of the practice exchange, which is two servers here: one may rise, fall or go away without the other."""

import asyncio
import contextlib
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from trading_accounts import KEYS, account_at
from venue_session import COSTS, HOUR, QUICK, SYMBOL, Desk

from quantalpha import config, perp
from quantalpha.market.trading import Elsewhere, open_trading
from quantalpha.runner.agreement import agree, differences
from quantalpha.runner.broker_exchange import ExchangeBroker
from quantalpha.runner.events import InstructionEvent, MarketCloseEvent, QuoteEvent
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


def test_legs_add_up_are_protected_each_and_made_flat_together():
    async def work(venues):
        async with session(venues) as desk:
            await desk.shown(0.006, 0.014)
            desk.order("qa-1", 0.02)
            await desk.until(lambda: sum(desk.legs) == pytest.approx(0.02) and desk.protected())
            assert all(leg > 0.0 for leg in desk.legs)
            await desk.shown(1.0, 1.0)
            desk.order("qa-2", -0.008, target=0.6)  # less
            await desk.until(lambda: sum(desk.legs) == pytest.approx(0.012) and desk.protected())
            desk.order("qa-3", -0.024, target=-0.6)  # turned
            await desk.until(lambda: sum(desk.legs) == pytest.approx(-0.012))
            assert all(leg <= 0.0 for leg in desk.legs)
            await desk.agree()
            desk.flatten()
            await desk.until(desk.broker.flat)
            for side in desk.sides:
                told = await side.trading.account()
                assert told.positions == {} and await side.trading.open_orders() == []

    with two() as (_, venues):
        asyncio.run(work(venues))


def test_a_restart_shares_out_as_it_was_and_agrees_at_both():
    """Killed while both legs are under way: told its record, without a quote, the next one knows both and goes on to the whole."""

    async def work(venues):
        async with session(venues) as desk:
            since = desk.trading.now() - 1000
            await desk.shown(0.006, 0.014)
            desk.order("qa-1", 0.02)
            told = list(desk.told)
        routes = [each for each in told if isinstance(each, InstructionEvent) and each.action == "route"]
        assert {each.symbol for each in routes} == {SYMBOL, LEG} and sum(each.quantity for each in routes) == pytest.approx(0.02)
        async with open_trading(venues[0], KEYS) as first, open_trading(venues[1], KEYS) as second:
            for trading in (first, second):
                await trading.exchange.load_markets()
            desk = assemble(first, second, retelling=True, since=since)
            for event in told:
                if not isinstance(event, InstructionEvent) and hasattr(event, "target"):
                    desk.broker.submit(event)
                else:
                    desk.broker.heard(event)
            desk.told = told
            await desk.agree()
            desk.broker.resume()
            tasks = [asyncio.create_task(side.line.run()) for side in desk.sides]
            desk.task = tasks[0]
            await desk.shown(1.0, 1.0)
            await desk.until(lambda: sum(desk.legs) == pytest.approx(0.02) and desk.protected())
            assert max(desk.sent().values()) == 1, "nothing was sent twice"
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await desk.agree()
            assert [differences(side.broker) for side in desk.sides] == [[], []]

    with two() as (_, venues):
        asyncio.run(work(venues))


def test_a_venue_that_goes_away_leaves_the_other_leg_in_hand():
    """What rests there stays there; the other is closed, and the account is not called flat before the lost one answers."""

    async def work(venues, lose):
        async with session(venues) as desk:
            await desk.shown(0.01, 0.01)
            desk.order("qa-1", 0.02)
            await desk.until(lambda: sum(desk.legs) == pytest.approx(0.02) and desk.protected())
            held = desk.legs
            lose()
            desk.flatten()
            await desk.until(lambda: desk.legs[0] == 0.0)
            await desk.until(lambda: desk.sides[0].broker.flat())
            assert desk.legs == (0.0, held[1]) and not desk.broker.flat()
            assert desk.sides[1].broker.told.open_orders, "its stop rests at the venue"

    with contextlib.ExitStack() as stack:
        _, first = stack.enter_context(account_at("binanceusdm"))
        gone = stack.enter_context(contextlib.ExitStack())
        _, second = gone.enter_context(account_at("bybit"))
        asyncio.run(work((first, second.model_copy(update={"timeout": 0.5})), gone.close))


def test_where_one_falls_alone_its_stop_is_its_own():
    """The second venue falls by a tenth: its leg is stopped out there, the other keeps its own, and nobody opens anew."""

    async def work(server, venues):
        async with session(venues) as desk:
            await desk.shown(0.01, 0.01)
            desk.order("qa-1", 0.02)
            await desk.until(lambda: sum(desk.legs) == pytest.approx(0.02) and desk.protected())
            kept = desk.legs[0]
            server.conditions.begin("price_gap", 60.0)
            await desk.until(lambda: desk.legs[1] == 0.0, 30.0)
            assert desk.legs[0] == kept and desk.fills[-1].reason == "stop_loss"
            assert desk.fills[-1].symbol == LEG

    with account_at("binanceusdm") as (_, first), account_at("bybit", speed=1200.0) as (server, second):
        asyncio.run(work(server, (first, second)))


def test_sizes_are_those_of_the_whole():
    """Both legs stand for one position of capital and profit together; a bar marks them both."""

    async def work(venues):
        async with session(venues) as desk:
            await desk.shown(0.01, 0.01)
            price = desk.price
            times = {"event_time": desk.trading.now(), "recv_time": desk.line.clock(), "symbol": SYMBOL, "bar": 0}
            bar = MarketCloseEvent(
                **times, open=price, high=price, low=price, close=price, volume=1.0, mark=None, funding_rate=0.0, warm_up=False
            )
            (equity,) = desk.broker.closed([bar])
            assert (equity.equity, equity.quantity) == (2_000.0, 0.0)
            wanted = desk.broker.order_quantity(SYMBOL, 1.0)
            assert wanted == pytest.approx(2_000.0 / price, abs=0.001)
            desk.order("qa-1", wanted)
            assert desk.broker.order_quantity(SYMBOL, 1.0) is None
            await desk.until(lambda: sum(desk.legs) == pytest.approx(wanted))
            assert desk.broker.order_quantity(SYMBOL, 0.0) == pytest.approx(-wanted)

    with two() as (_, venues):
        asyncio.run(work(venues))
