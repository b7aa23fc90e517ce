"""Paper orders through the displayed book: what they pay is what was displayed, in the journal, and nothing else changes."""

import math

import pytest
import small_bundle
from paper_accounts import COSTS, HOUR, Kept, engine_of, tape, wishes

from quantalpha.market.synthetic import synthetic_bars
from quantalpha.practice import Tape
from quantalpha.practice.background import played
from quantalpha.promotion import attribute
from quantalpha.promotion.counterfactual import PRICE, TIMING
from quantalpha.promotion.evidence import Reviewed
from quantalpha.promotion.reconcile import Recorded
from quantalpha.runner import Request, feed, recorded, run_session, walk
from quantalpha.runner.events import FillEvent, InstructionEvent, MarketOpenEvent, ValidatedOrderEvent, WalkedEvent
from quantalpha.runner.execution.book import Book
from quantalpha.runner.journal import FILE, Retold, read
from quantalpha.runner.review import reviewed
from quantalpha.runner.walk import Walker, walked

NOWHERE = Book((), ())
MODEL = (0.001, 0.0)


def order(quantity: float) -> ValidatedOrderEvent:
    times = {"event_time": HOUR, "recv_time": HOUR, "symbol": "A", "bar": 0}
    return ValidatedOrderEvent(**times, client_id="c", quantity=quantity, target=1.0, price=100.0)


def book_at(mid: float, size: float = 2.0) -> Book:
    return Book(((mid - 0.1, size), (mid - 0.3, size)), ((mid + 0.1, size), (mid + 0.3, size)))


def test_an_order_pays_level_by_level_and_beyond_the_last_one_by_the_costs():
    within = walked(order(3.0), book_at(100.0), MODEL, (HOUR + 5, HOUR + 7))
    assert within.price == pytest.approx((2 * 100.1 + 1 * 100.3) / 3, rel=1e-12) and within.displayed == 1.0 and within.mid == 100.0
    assert (within.event_time, within.recv_time, within.client_id, within.quantity) == (HOUR + 5, HOUR + 7, "c", 3.0)
    thin = walked(order(-8.0), book_at(100.0), MODEL, (0, HOUR))
    assert thin.price == pytest.approx((2 * 99.9 + 2 * 99.7 + 4 * 99.7 * (1 - 0.001)) / 8, rel=1e-12)
    assert thin.displayed == 0.5 and thin.event_time == HOUR  # never before the decision


class Played:
    """A tape through a walker, which sees a book a little beside each next open; `hidden`: bars before whose opening none is shown."""

    def __init__(self, tables: dict, journal, hidden=frozenset()):
        targets = {name: wishes(i, table.index) / len(tables) for i, (name, table) in enumerate(tables.items())}
        self.engine = engine_of(tables, targets, journal)
        self.hidden, self.shown, self.outside = hidden, {}, []
        self.walker = Walker(self.engine.broker, self.book, dict.fromkeys(tables, MODEL), self.feed)
        self.walker.clock = lambda: 2**60  # long after any decision
        for event in feed.replay_all(tables, HOUR):
            if isinstance(event, MarketOpenEvent):
                self.shown[event.symbol] = NOWHERE if event.bar in hidden else book_at(event.open * 1.002)
            self.walker.take(event)

    def book(self, symbol: str) -> tuple[Book, int]:
        return self.shown.get(symbol, NOWHERE), 0

    def feed(self, event) -> None:
        self.outside.append(event)
        self.engine.feed(event)


@pytest.mark.parametrize("symbols", [1, 2])
def test_walked_orders_fill_at_the_next_open_at_the_price_that_was_walked(symbols, monkeypatch):
    tables = {name: tape(i, 80) for i, name in enumerate(["BTCUSDT", "ETHUSDT"][:symbols])}
    hidden = frozenset(HOUR * bar for bar in range(20, 40))
    monkeypatch.setattr(walk, "PATIENCE", 0.0)  # where no book is shown, nobody waits for it
    events = Kept()
    session = Played(tables, events, hidden)
    prices = {each.client_id: each for each in events if isinstance(each, WalkedEvent)}
    fills = [each for each in events if isinstance(each, FillEvent) and each.reason == "order"]
    instructions = {each.parent: each for each in events if isinstance(each, InstructionEvent)}
    assert prices.keys() == instructions.keys() and {each.reference for each in instructions.values()} == {
        each.mid for each in prices.values()
    }
    assert len(fills) > 20 and {each.client_id in prices for each in fills} == {True, False}
    for fill in fills:
        table = tables[fill.symbol]
        opened = float(table["open"].iloc[fill.bar // HOUR])
        usual = opened * (1 + math.copysign(COSTS.slippage, fill.quantity))
        known = prices.get(fill.client_id)
        assert (known is None) == (fill.bar in hidden)
        assert fill.price == pytest.approx(usual if known is None else known.price, rel=1e-12)
        assert fill.fee == pytest.approx(COSTS.taker * abs(fill.quantity) * fill.price, rel=1e-12)
    assert not session.engine.broker.unpriced or max(each.bar for each in session.engine.broker.unpriced.values()) == 79 * HOUR


def test_an_opening_waits_for_the_walk_of_its_symbol_and_the_walk_for_the_latency(monkeypatch):
    tables = {"A": tape(3, 30)}
    times = iter(range(10**6))
    events = Kept()
    engine = engine_of(tables, {"A": wishes(3, tables["A"].index)}, events)
    now = [0]
    walker = Walker(engine.broker, lambda symbol: (book_at(100.0), next(times)), {"A": MODEL}, engine.feed)
    walker.latency, walker.clock = 0.5, lambda: now[0]
    bars = list(feed.replay_all(tables, HOUR))
    for event in bars:
        walker.take(event)
    held = len(events)
    assert type(events[-1]) is ValidatedOrderEvent  # its receive time is 7, by the engine's clock
    now[0] = 506
    walker.act()
    assert len(events) == held
    now[0] = 507
    walker.act()
    walks = [each for each in events if isinstance(each, WalkedEvent)]
    assert len(walks) > 5 and {each.recv_time for each in walks} == {507}
    assert [each for each in events if type(each) is type(bars[0]) or type(each) is type(bars[1])] == bars


@pytest.mark.parametrize("after", [3, 20, 21, 22, 23, 90])
def test_a_session_with_walks_is_told_again_to_the_bit(after):
    """Killed between any two events from outside."""
    tables = {"A": tape(3, 60)}
    whole = Kept()
    session = Played(tables, whole)
    cut = next(place for place, each in enumerate(whole) if each is session.outside[after])
    engine = engine_of(tables, {"A": wishes(0, tables["A"].index)}, Retold(list(whole[:cut]), again := Kept()))
    engine.recover()
    for event in session.outside[after:]:
        engine.feed(event)
    assert list(again) == list(whole[cut:])
    assert engine.broker.account().equity == session.engine.broker.account().equity


def test_a_paper_session_on_the_displayed_book_says_where_the_money_went(tmp_path):
    tape_of = ["synthetic.bars=1500", "synthetic.timeframe=1m", "synthetic.edge={BTCUSDT: 0.05}"]
    eager = ["policy.enter=0.0", "policy.exit=0.0", "runner.paper_price=book", "runner.bars=25", "runner.max_model_age=null"]
    params = small_bundle.params("venue.source=practice", "switches.volatility=1000", *tape_of, *eager)
    bars = Tape.synthetic(params.synthetic)
    trained = small_bundle.build(tmp_path / "bundles", synthetic_bars("BTCUSDT", params.synthetic), params, timeframe="1m")
    with played(bars, speed=300.0, now=bars.start + 700 * 60_000) as server:  # five bars a second
        venue = params.venue.model_copy(update={"rest_url": server.url, "ws_url": server.ws_url})
        run_session(trained, params.model_copy(update={"venue": venue}), Request(name="book", sessions=tmp_path / "sessions"))
    folder = tmp_path / "sessions" / "book"
    events = read(folder / FILE)
    prices = {each.client_id: each.price for each in events if isinstance(each, WalkedEvent)}
    paid = {each.client_id: each.price for each in events if isinstance(each, FillEvent) and each.client_id in prices}
    assert paid and paid == pytest.approx({name: prices[name] for name in paid}, rel=1e-12)
    found = attribute(trained, Recorded(**recorded(folder)), Reviewed(**reviewed(folder)))
    moved = {part.cause for part in found.parts if abs(part.money) > 1e-6}
    assert moved <= {PRICE, TIMING} and PRICE in moved and found.unexplained < 1e-9
