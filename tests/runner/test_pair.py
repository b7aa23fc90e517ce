"""A pair at two venues of the practice exchange: opened and closed by a rule, never more unhedged than its limit, told again alike."""

import asyncio
import contextlib

import pytest
from trading_accounts import KEYS, account_at
from two_venue_session import ACCOUNT, LEG, PLACE, assemble, two
from venue_session import COSTS, HOUR, SYMBOL

from quantalpha import config
from quantalpha.market.trading import open_trading
from quantalpha.runner.agreement import agree
from quantalpha.runner.engine import Engine, Gates, Strategy
from quantalpha.runner.events import FillEvent, InstructionEvent, MarketCloseEvent, QuoteEvent, TickEvent
from quantalpha.runner.execution.two_leg import Limits
from quantalpha.runner.journal import FILE, Journal, Retold, read
from quantalpha.runner.legs import told_at
from quantalpha.runner.pair import Pair
from quantalpha.runner.pairing import Carry
from quantalpha.runner.risk import standard
from quantalpha.runner.two_venues import Setting

LIMIT = 250.0  # quote currency
LIMITS = Limits(unhedged=LIMIT, patience=5.0, edge=-0.01, urgency=30.0, together=True)


class Wish:
    """A decider that wants what it is told."""

    fingerprint, novelty, target = "", 0.0, 0.0

    def observe(self, bar) -> None:
        pass

    def decide(self, previous: float) -> tuple[float, float]:
        return 0.0, self.target


class PairDesk:
    """Two venues, their lines, an engine and its journal."""

    def __init__(self, trading, log, since=None, retelling=False):
        self.under = assemble(*trading, retelling=retelling, since=since)
        sides = self.sides = self.under.sides
        self.pair = Pair(sides[0].broker, sides[1].broker, Setting(ACCOUNT, (SYMBOL,), PLACE, (COSTS.taker,) * 2), LIMITS)
        self.wish, self.most, self.bars = Wish(), 0.0, 0
        self.engine = Engine([Strategy("pair", SYMBOL, self.wish)], self.pair, Gates(standard(ACCOUNT.leverage)), log, sides[0].line.clock)
        for side in sides:
            side.line.reports.feed = lambda event, place=side.place: self.feed(told_at(event, place))

    def feed(self, event) -> None:
        self.engine.feed(event)
        if isinstance(event, FillEvent):
            self.most = max(self.most, abs(self.unhedged) * event.price)

    @property
    def held(self) -> tuple[float, float]:
        return self.pair.held(SYMBOL)

    @property
    def unhedged(self) -> float:
        return sum(self.held)

    @property
    def mid(self) -> float:
        return self.pair.both[0].known(SYMBOL).book.mid

    def decide(self, target: float) -> None:
        """At the close of a bar, some hours ago."""
        self.wish.target, self.bars = target, self.bars + 1
        bar = self.sides[0].trading.now() // HOUR * HOUR + (self.bars - 20) * HOUR
        prices = dict.fromkeys(("open", "high", "low", "close"), self.mid)
        times = {"event_time": bar + HOUR, "recv_time": self.sides[0].line.clock(), "symbol": SYMBOL, "bar": bar}
        self.feed(MarketCloseEvent(**times, **prices, volume=1.0, mark=self.mid, funding_rate=0.0, warm_up=False))

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


def test_a_pair_is_opened_and_closed_with_little_ever_unhedged(tmp_path):
    async def work(venues):
        journal = Journal(tmp_path / FILE, "pair")
        async with desk_at(venues, journal) as (desk, lines):
            desk.decide(0.4)
            wanted = pytest.approx(0.4 * 2_000.0 / desk.mid, abs=0.002)
            await desk.until(lambda: desk.held[0] == wanted and not desk.pair.under_way, *lines)
            assert desk.unhedged == pytest.approx(0.0, abs=1e-9)
            await desk.until(lambda: all(side.broker.told.open_orders for side in desk.sides), *lines)
            desk.decide(-0.4)  # closed before it is turned
            await desk.until(lambda: desk.held == (0.0, 0.0) and not desk.pair.under_way, *lines)
            await desk.until(desk.pair.flat, *lines)
            assert 0.0 < desk.most <= LIMIT * 1.02
        journal.close()
        sent = [each for each in read(tmp_path / FILE) if isinstance(each, InstructionEvent) and each.purpose == "order"]
        assert {each.symbol for each in sent} == {SYMBOL, LEG} and len({each.client_id for each in sent}) == len(sent)
        return sent

    with two() as (_, venues):
        sent = asyncio.run(work(venues))
    assert [each.action for each in sent].count("route") == 2, "each of the two is told to be over, once"


def told_again(folder):
    events = read(folder / FILE)
    return Retold(events, Journal.reopen(folder / FILE, "pair", len(events)))


@pytest.mark.parametrize("after", ["in the middle", "closed and turned"])
def test_a_pair_told_again_is_the_same_and_agrees_with_both(tmp_path, after):
    """After a restart both legs are known; what was under way is evened out."""

    async def work(venues):
        journal = Journal(tmp_path / FILE, "pair")
        async with desk_at(venues, journal) as (desk, lines):
            since = desk.sides[0].trading.now() - 5_000
            desk.decide(0.2)
            await desk.until(lambda: desk.held[0] > 0.0, *lines)
            for target in () if after == "in the middle" else (-0.2, -0.2):
                await desk.until(lambda: not desk.pair.under_way, *lines)
                desk.decide(target)
            await desk.until(lambda: after == "in the middle" or desk.held[0] < 0.0 and not desk.pair.under_way, *lines)
            left = desk.held
        journal.close()
        log = told_again(tmp_path)
        async with desk_at(venues, log, retelling=True, since=since) as (desk, lines):
            await desk.until(lambda: not desk.pair.under_way, *lines)
            assert abs(desk.unhedged) * desk.mid < 20.0, "no more than a venue takes"
            assert after == "in the middle" or desk.held == left and left[0] < 0.0 < left[1]
            for side in desk.sides:
                await agree(side.line)
        log.close()

    with two() as (_, venues):
        asyncio.run(work(venues))


def test_where_one_venue_goes_away_no_more_than_the_limit_stands_alone(tmp_path):
    """It goes while the pair is being opened: nothing more is opened at the other, and what stands there is closed again."""

    async def work(venues, lose):
        journal = Journal(tmp_path / FILE, "pair")
        async with desk_at(venues, journal) as (desk, lines):
            lose()
            desk.decide(0.4)
            await desk.until(lambda: desk.held[0] > 0.0, *lines)
            await desk.until(lambda: desk.pair.under_way == {} or bool(desk.pair.under_way[SYMBOL].leaving), *lines)
            assert desk.most <= LIMIT * 1.02
        journal.close()

    with contextlib.ExitStack() as stack:
        _, first = stack.enter_context(account_at("binanceusdm"))
        gone = stack.enter_context(contextlib.ExitStack())
        _, second = gone.enter_context(account_at("bybit"))
        asyncio.run(work((first, second.model_copy(update={"timeout": 0.5})), gone.close))


def test_a_leg_that_is_stopped_out_takes_the_other_with_it(tmp_path):
    """The first venue falls; another target is waited for."""

    async def work(venues, fall):
        journal = Journal(tmp_path / FILE, "pair")
        async with desk_at(venues, journal) as (desk, lines):
            since = desk.sides[0].trading.now() - 5_000
            desk.decide(0.2)
            await desk.until(lambda: desk.held[0] > 0.0 and not desk.pair.under_way, *lines)
            await desk.until(lambda: all(side.broker.protection.exposed(side.broker.time) == 0.0 for side in desk.sides), *lines)
            fall()
            await desk.until(lambda: desk.held == (0.0, 0.0) and desk.pair.flat(), *lines)
            assert desk.pair.order_quantity(SYMBOL, 0.2) is None
            assert desk.pair.order_quantity(SYMBOL, 0.0) == 0.0 > desk.pair.order_quantity(SYMBOL, -0.2)
        journal.close()
        log = told_again(tmp_path)
        async with desk_at(venues, log, retelling=True, since=since) as (desk, _):
            assert desk.held == (0.0, 0.0) and desk.pair.order_quantity(SYMBOL, 0.2) is None
        log.close()
        return [each.reason for each in read(tmp_path / FILE) if isinstance(each, FillEvent)]

    with two() as (servers, venues):
        reasons = asyncio.run(work(venues, lambda: servers[0].conditions.begin("price_gap", 60.0)))
    assert reasons.count("stop_loss") >= 1 and reasons[-1] == "flatten"


RULE = config.load().pair
EIGHT = 8 * HOUR


def decided(paid: float, *, hours: int = 240, late: int = 0) -> tuple[float, float]:
    """By a venue that pays nothing and one whose longs pay `paid` every eight hours, until `late` hours ago."""
    end = 2_000 * EIGHT
    times = range(end - hours * HOUR, end + 1, EIGHT)
    decider = Carry(RULE, {LEG: dict.fromkeys(times, paid), SYMBOL: dict.fromkeys(times, 0.0)})
    decider.observe(MarketCloseEvent(
        event_time=end + late * HOUR, recv_time=0, symbol=SYMBOL, bar=end + late * HOUR - HOUR, open=1.0, high=1.0, low=1.0, close=1.0,
        volume=1.0, mark=1.0, funding_rate=0.0, warm_up=False,
    ))  # fmt: skip
    return decider.decide(0.1)


def test_the_side_that_is_paid_is_taken_where_it_pays_for_the_round_trip():
    enough = RULE.round_trip / RULE.holding / 3 * 1.01  # of each of three settlements a day
    assert decided(enough) == (pytest.approx(enough * 3 * 365), RULE.weight) and decided(-enough)[1] == -RULE.weight
    assert decided(enough * 0.9)[1] == decided(0.0)[1] == 0.0


@pytest.mark.parametrize("unknown", [{"hours": 48}, {"late": 30}])
def test_where_too_little_is_told_nothing_is_decided_anew(unknown):
    edge, target = decided(0.01, **unknown)
    assert edge != edge and target == 0.1
