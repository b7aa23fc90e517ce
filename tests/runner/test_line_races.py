"""News that overtakes answers, and questions that must not grow: a line without a venue."""

import asyncio
import time
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from quantalpha.market.connect import Retry
from quantalpha.market.trading import InDoubt, OrderReport
from quantalpha.runner import line as lines
from quantalpha.runner import outbox, watchdog
from quantalpha.runner.events import HealthEvent, InstructionEvent, OrderUpdateEvent
from quantalpha.runner.line import DAY, Line
from quantalpha.runner.orders import Orders
from quantalpha.runner.outbox import Pace

BTC, NAME = "BTCUSDT", "qa-1"


def report(status, filled=0.0):
    values = {"venue_id": "7", "quantity": 1.0, "average": None, "price": None, "kind": "market", "reduce_only": False, "time": 0}
    return OrderReport(symbol=BTC, client_id=NAME, status=status, filled=filled, **values)


@dataclass
class Venue:
    """Says what a test wants; `time`: ms, which only a test lets pass."""

    time: int = 0
    asked: list = field(default_factory=list)
    answers: dict = field(default_factory=dict)
    errors: float = 0.0

    def now(self):
        return self.time

    async def place(self, instruction):
        return self.answers["place"]()

    async def order(self, client_id, symbol):
        self.asked.append(client_id)

    async def trades_since(self, symbol, since):
        self.asked.append(since)
        return []

    async def synchronise(self):
        return self.answers["synchronise"]()


@pytest.fixture
def line(monkeypatch):
    monkeypatch.setattr(lines, "user_stream", lambda *_: SimpleNamespace(steady=True))
    orders, told = Orders(), []
    broker = SimpleNamespace(setup=SimpleNamespace(markets={BTC: None}), orders=orders, knows=lambda name: name in orders)

    def feed(event):
        told.append(event)
        if isinstance(event, OrderUpdateEvent):
            orders.update(event)

    line = Line(Venue(), broker, feed, step=60_000, since=0, pace=Pace(dead=0.0, doubt=Retry(base=0.0, cap=0.0)))
    line.told = told
    return line


def placed(line):
    times = {"event_time": 0, "recv_time": 0, "symbol": BTC, "bar": 0}
    terms = {"client_id": NAME, "parent": "", "action": "place", "kind": "market", "quantity": 1.0, "price": None, "reduce_only": False}
    instruction = InstructionEvent(**times, **terms)
    line.broker.orders.instruct(instruction)
    asyncio.run(line.outbox.place(instruction))
    return [event.status for event in line.told]


def test_an_order_that_the_stream_has_told_of_is_not_in_doubt(line):
    def lost():
        line.reports.order(report("open"))
        raise InDoubt("timeout")

    line.trading.answers["place"] = lost
    assert placed(line) == ["open"] and line.trading.asked == []


@pytest.mark.parametrize("status", ["rejected", "cancelled", "expired"])
def test_an_answer_that_the_stream_has_overtaken_changes_nothing(line, status):
    """Bybit's says only that the request was taken."""

    def taken():
        line.reports.order(report(status))
        return report("open")

    line.trading.answers["place"] = taken
    assert placed(line) == [status]


def test_the_last_question_about_an_order_in_doubt_is_asked_as_soon_as_it_decides(line):
    """One that was under way when the order died says nothing, and is followed at once."""
    pauses = []

    async def slept(seconds):
        pauses.append(seconds)
        await asyncio.sleep(seconds)

    async def order(client_id, symbol):
        line.trading.asked.append(client_id)
        while len(line.trading.asked) == 1 and time.monotonic() < begun + 0.25:  # until it is dead
            await asyncio.sleep(0.0)

    def lost():
        raise InDoubt("timeout")

    line.outbox.pace = Pace(dead=0.05, doubt=Retry(base=5.0, cap=5.0, sleep=slept))
    line.trading.order, line.trading.answers["place"] = order, lost
    begun = time.monotonic()
    assert placed(line) == ["in_doubt", "rejected"]
    assert len(line.trading.asked) == 2 and pauses == [pytest.approx(outbox.PROMPT)]


def test_a_quiet_year_is_not_asked_for_in_every_question(line):
    for day in range(400):
        line.trading.time = day * DAY
        asyncio.run(line.settle())
    assert all(day * DAY - since <= 2 * DAY + lines.OVERLAP for day, since in enumerate(line.trading.asked))


def test_a_clock_not_read_yet_is_no_wrong_clock(line):
    def lost():
        raise InDoubt("timeout")

    line.trading.answers["synchronise"] = lost
    asyncio.run(line.check())
    line.trading.answers["synchronise"] = lambda: 0.1
    asyncio.run(line.check())
    (health,) = line.told
    assert isinstance(health, HealthEvent) and health.clock_skew == 0.1


@pytest.mark.parametrize("symbols", [1, 4, 10])
def test_a_session_and_its_watchdog_leave_room_in_binances_minute(symbols):
    """Request weights of developers.binance.com, of 2400 a minute: what is left is for orders, bars and other programs."""
    pace, dead_man = Pace(), 30.0
    account, income, trades, countdown, resting = 5 + 5, 2 * 30, 5, 10, 1 + 1
    line = trades * symbols / (pace.trades * max(1.0, symbols / lines.MANY)) + income * symbols / pace.payments
    line += (account + resting * symbols) / pace.account + 1 / pace.health
    dog = (account + resting * symbols) / (watchdog.LOOK * max(1.0, symbols / watchdog.MANY)) + countdown * symbols / (dead_man / 4)
    assert 60 * (line + dog) < 2400
