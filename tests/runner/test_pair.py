"""A pair at two venues of the practice exchange: opened and closed by a rule, never more unhedged than its limit, told again alike."""

import asyncio
import contextlib

import numpy as np
import pandas as pd
import pytest
from trading_accounts import KEYS, account_at
from two_venue_session import ACCOUNT, LEG, PLACE, assemble, two
from venue_session import COSTS, SYMBOL

from quantalpha.market.trading import open_trading
from quantalpha.runner.agreement import agree
from quantalpha.runner.engine import Engine, Gates
from quantalpha.runner.events import FillEvent, InstructionEvent, QuoteEvent, TickEvent
from quantalpha.runner.execution.two_leg import Limits
from quantalpha.runner.journal import FILE, Journal, Retold, read
from quantalpha.runner.legs import told_at
from quantalpha.runner.pair import Pair, run_pair
from quantalpha.runner.risk import standard
from quantalpha.runner.two_venues import Setting
from quantalpha.strategy import funding_arbitrage

LIMIT = 250.0  # quote currency
LIMITS = Limits(unhedged=LIMIT, patience=5.0, edge=-0.01, urgency=30.0, together=True)


class PairDesk:
    """Two venues, their lines, an engine and its journal."""

    def __init__(self, trading, log, since=None, retelling=False):
        self.under = assemble(*trading, retelling=retelling, since=since)
        sides = self.sides = self.under.sides
        self.pair = Pair(sides[0].broker, sides[1].broker, Setting(ACCOUNT, (SYMBOL,), PLACE, (COSTS.taker,) * 2), LIMITS)
        self.engine = Engine([], self.pair, Gates(standard(ACCOUNT.leverage)), log, sides[0].line.clock)
        self.most = 0.0
        for side in sides:
            side.line.reports.feed = lambda event, place=side.place: self.feed(told_at(event, place))

    def feed(self, event) -> None:
        self.engine.feed(event)
        if isinstance(event, FillEvent):
            self.most = max(self.most, abs(self.pair.unhedged(SYMBOL)) * event.price)

    async def quote(self) -> None:
        for side in self.sides:
            client = side.trading.trading if side.place else side.trading
            told = await client.exchange.fetch_order_book("BTC/USDT:USDT", 50)
            (bid, bids), (ask, asks) = told["bids"][0][:2], told["asks"][0][:2]
            times = {"event_time": side.trading.now(), "recv_time": side.line.clock(), "symbol": SYMBOL + side.place}
            self.feed(QuoteEvent(**times, bid=bid, ask=ask, bid_quantity=bids, ask_quantity=asks))

    def tick(self) -> None:
        self.feed(TickEvent(event_time=self.sides[0].trading.now(), recv_time=self.sides[0].line.clock(), symbol=""))

    async def until(self, holds, *tasks, patience: float = 20.0) -> None:
        async with asyncio.timeout(patience):
            while not holds():
                for task in tasks:
                    if task.done():
                        task.result()
                self.tick()
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def desk_at(venues, log, **options):
    async with open_trading(venues[0], KEYS) as first, open_trading(venues[1], KEYS) as second:
        for trading in (first, second):
            await trading.exchange.load_markets()
        desk = PairDesk((first, second), log, **options)
        if options.get("retelling"):
            desk.engine.recover()
        for side in desk.sides:
            await agree(side.line)
        if options.get("retelling"):
            desk.pair.resume()
        tasks = [asyncio.create_task(side.line.run()) for side in desk.sides]
        try:
            await desk.quote()
            yield desk, tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def carry(rate: float) -> dict[str, pd.DataFrame]:
    """A week of bars: the first venue pays nothing, the second's longs pay `rate` every eight hours."""
    index = pd.date_range("2024-01-01", periods=24 * 9, freq="1h", tz="UTC")
    settled = np.where(index.hour % 8 == 0, rate, 0.0)
    return {SYMBOL: pd.DataFrame({"close": 1.0}, index), LEG: pd.DataFrame({"close": 1.0, "funding_rate": settled}, index)}


def test_a_rule_opens_and_closes_a_pair_with_little_ever_unhedged(tmp_path):
    """Long the first, short the second while its longs pay; out when they no longer do."""
    rate = [0.0005]

    async def wish() -> float:
        return float(funding_arbitrage(carry(rate[0]), window=3.0, weight=0.4)[SYMBOL].iloc[-1])

    async def work(venues):
        journal = Journal(tmp_path / FILE, "pair")
        async with desk_at(venues, journal) as (desk, lines):
            trader = asyncio.create_task(run_pair(desk.pair, desk.engine, wish, pause=0.05, clock=desk.sides[0].line.clock))
            wanted = pytest.approx(0.4 * 2_000.0 / desk.pair.both[0].known(SYMBOL).book.mid, abs=0.002)
            await desk.until(lambda: desk.pair.held(SYMBOL)[0] == wanted and not desk.pair.under_way, trader, *lines)
            assert desk.pair.unhedged(SYMBOL) == pytest.approx(0.0, abs=1e-9)
            await desk.until(lambda: all(side.broker.told.open_orders for side in desk.sides), *lines)
            rate[0] = -0.0001
            await desk.until(lambda: desk.pair.held(SYMBOL) == (0.0, 0.0) and not desk.pair.under_way, trader, *lines)
            await desk.until(desk.pair.flat, *lines)
            trader.cancel()
            assert 0.0 < desk.most <= LIMIT * 1.02
        journal.close()
        sent = [each for each in read(tmp_path / FILE) if isinstance(each, InstructionEvent) and each.purpose == "order"]
        assert {each.symbol for each in sent} == {SYMBOL, LEG} and len({each.client_id for each in sent}) == len(sent)

    with two() as (_, venues):
        asyncio.run(work(venues))


def test_a_pair_told_again_is_the_same_and_agrees_with_both(tmp_path):
    """Left in the middle: after a restart both legs are known, and what is not hedged is evened out."""

    async def wish() -> float:
        return 0.4

    async def work(venues):
        journal = Journal(tmp_path / FILE, "pair")
        async with desk_at(venues, journal) as (desk, lines):
            since = desk.sides[0].trading.now() - 5_000
            trader = asyncio.create_task(run_pair(desk.pair, desk.engine, wish, pause=0.05, clock=desk.sides[0].line.clock))
            await desk.until(lambda: abs(desk.pair.held(SYMBOL)[0]) > 0.0, trader, *lines)
            trader.cancel()
        journal.close()
        events = read(tmp_path / FILE)
        log = Retold(events, Journal.reopen(tmp_path / FILE, "pair", len(events)))
        async with desk_at(venues, log, retelling=True, since=since) as (desk, lines):
            await desk.until(lambda: not desk.pair.under_way, *lines)
            assert abs(desk.pair.unhedged(SYMBOL)) * desk.pair.both[0].known(SYMBOL).book.mid < 20.0, "no more than a venue takes"
            for side in desk.sides:
                await agree(side.line)
        log.close()

    with two() as (_, venues):
        asyncio.run(work(venues))


def test_where_one_venue_goes_away_no_more_than_the_limit_stands_alone(tmp_path):
    """It goes while the pair is being opened: nothing more is opened at the other, and what stands there is closed again."""

    async def wish() -> float:
        return 0.4

    async def work(venues, lose):
        journal = Journal(tmp_path / FILE, "pair")
        async with desk_at(venues, journal) as (desk, lines):
            lose()
            trader = asyncio.create_task(run_pair(desk.pair, desk.engine, wish, pause=0.05, clock=desk.sides[0].line.clock))
            await desk.until(lambda: desk.pair.held(SYMBOL)[0] > 0.0, trader, *lines)
            trader.cancel()
            await desk.until(lambda: desk.pair.under_way == {} or bool(desk.pair.under_way[SYMBOL].leaving), *lines)
            assert desk.most <= LIMIT * 1.02
        journal.close()

    with contextlib.ExitStack() as stack:
        _, first = stack.enter_context(account_at("binanceusdm"))
        gone = stack.enter_context(contextlib.ExitStack())
        _, second = gone.enter_context(account_at("bybit"))
        asyncio.run(work((first, second.model_copy(update={"timeout": 0.5})), gone.close))
