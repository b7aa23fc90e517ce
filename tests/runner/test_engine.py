"""The chain of events, with a real paper broker and a scripted decider."""

import math

import pytest

from quantalpha.errors import DataError, Halted
from quantalpha.perp import Account, Costs
from quantalpha.runner.broker_paper import PaperBroker
from quantalpha.runner.engine import Engine, Gates, Strategy
from quantalpha.runner.events import MarketCloseEvent, MarketOpenEvent, SessionEvent, kind_of
from quantalpha.runner.journal import FILE, Journal, read
from quantalpha.runner.risk import Refusal, Risk, standard
from quantalpha.runner.status import status
from quantalpha.runner.targets import client_id

STEP = 60_000


class Script:
    """Decides the targets it was given, one a bar."""

    fingerprint, novelty = "", math.nan

    def __init__(self, targets):
        self.targets, self.seen, self.previous = iter(targets), [], []

    def observe(self, bar):
        self.seen.append(bar.bar)

    def decide(self, previous):
        self.previous.append(previous)
        target = next(self.targets)
        return target / 2, target


class Memory(list):
    """A journal that also looks at the world at the moment an event is written."""

    def __init__(self, look=lambda: None):
        self.look, self.looks = look, []

    def append(self, event):
        super().append(event)
        self.looks.append(self.look())
        return event

    def commit(self):
        """Everything is kept at once."""

    def kinds(self):
        return [kind_of(event) for event in self]

    def named(self, kind):
        return [event for event in self if kind_of(event) == kind]


def opening(i, price=100.0, rate=0.0):
    return MarketOpenEvent(event_time=i * STEP, recv_time=i * STEP, symbol="BTCUSDT", bar=i * STEP, open=price, funding_rate=rate)


def closing(i, price=100.0, rate=0.0, warm_up=False):
    times = {"event_time": (i + 1) * STEP, "recv_time": (i + 1) * STEP + 3, "bar": i * STEP, "symbol": "BTCUSDT"}
    prices = {"open": price, "high": price, "low": price, "close": price, "volume": 1.0}
    return MarketCloseEvent(**times, **prices, mark=None, funding_rate=rate, warm_up=warm_up)


def build(targets, journal=None, risk=None):
    broker = PaperBroker("BTCUSDT", Account(1000.0, leverage=5.0), Costs(0.0, 0.001, 0.0, 0.0125))
    journal = Memory() if journal is None else journal
    return Engine([Strategy("b" * 64, "BTCUSDT", Script(targets))], broker, Gates(risk or standard(5.0)), journal, lambda: 7)


def held(engine):
    """The target in force."""
    return engine.targets["b" * 64]


def test_the_chain_of_one_trade_in_order():
    engine = build([1.0, 1.0])
    for event in (opening(0), closing(0), opening(1), closing(1)):
        engine.feed(event)
    assert engine.journal.kinds() == [
        "MarketOpen", "MarketClose", "Equity", "Signal", "Order", "ValidatedOrder", "MarketOpen", "Fill", "MarketClose", "Equity", "Signal",
    ]  # fmt: skip
    fill, order = engine.journal.named("Fill")[0], engine.journal.named("Order")[0]
    assert (fill.bar, fill.quantity, fill.price, fill.fee) == (STEP, 10.0, 100.0, 1.0)
    assert fill.client_id == order.client_id == client_id("b" * 64, "BTCUSDT", STEP, 0)
    assert engine.journal.named("Equity")[1].equity == 999.0


def test_every_event_is_journalled_before_it_takes_effect():
    engine = build([1.0, 0.0])
    engine.journal.look = lambda: (engine.broker.ledger.order, held(engine))
    for event in (opening(0), closing(0)):
        engine.feed(event)
    written = dict(zip(engine.journal.kinds(), engine.journal.looks))
    assert written["ValidatedOrder"] == (0.0, 0.0)
    assert (engine.broker.ledger.order, held(engine)) == (10.0, 1.0)


def test_a_crash_in_the_broker_leaves_the_cause_in_a_readable_journal(tmp_path):
    engine = build([1.0], journal=Journal(tmp_path / FILE, "s"))

    def crash(order):
        raise RuntimeError("the broker died")

    engine.broker.submit = crash
    engine.feed(opening(0))
    with pytest.raises(RuntimeError):
        engine.feed(closing(0))
    assert kind_of(read(tmp_path / FILE)[-1]) == "ValidatedOrder"
    assert held(engine) == 0.0


def test_a_journal_that_fails_stops_the_effect():
    engine = build([1.0])

    class Full(Memory):
        def append(self, event):
            if kind_of(event) == "ValidatedOrder":
                raise OSError("disk full")
            return super().append(event)

    engine.journal = Full()
    engine.feed(opening(0))
    with pytest.raises(OSError):
        engine.feed(closing(0))
    assert engine.broker.ledger.order == 0.0 and held(engine) == 0.0


class FullOnce(Memory):
    """Fails on the first event of a kind, then has room again."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def append(self, event):
        if kind_of(event) == self.kind:
            self.kind = None
            raise OSError("disk full")
        return super().append(event)


def word(phase):
    return SessionEvent(event_time=0, recv_time=0, symbol="BTCUSDT", phase=phase, reason="test")


@pytest.mark.parametrize("kind", ["MarketClose", "Equity", "Signal", "Order", "ValidatedOrder"])
def test_after_an_error_only_the_stop_is_taken(kind):
    engine = build([1.0, 1.0], journal=FullOnce(kind))
    engine.feed(opening(0))
    with pytest.raises(OSError):
        engine.feed(closing(0))
    before, written = engine.broker.ledger.state(), engine.journal.kinds()
    for event in (opening(1), closing(1), word("start")):
        with pytest.raises(Halted, match="earlier error"):
            engine.feed(event)
    engine.feed(word("stop"))
    assert engine.journal.kinds() == [*written, "Session"] and kind not in written
    assert engine.broker.ledger.state() == before and engine.broker.ledger.order == 0.0 and held(engine) == 0.0


class RefuseOnce:
    def __init__(self):
        self.asked = 0

    def __call__(self, order, account):
        self.asked += 1
        return Refusal("test", {"equity": account.equity}) if self.asked == 1 else None


def test_a_rejected_order_changes_nothing_and_the_wish_comes_again():
    engine = build([1.0, 1.0, 1.0], risk=Risk((RefuseOnce(),)))
    before = engine.broker.ledger.state()
    engine.feed(opening(0))
    engine.feed(closing(0))
    refused = engine.journal.named("RejectedOrder")[0]
    assert (refused.reason, refused.values) == ("test", {"equity": 1000.0})
    assert held(engine) == 0.0 and engine.broker.ledger.state() == before | {"mark": 100.0}
    for event in (opening(1), closing(1), opening(2), closing(2)):
        engine.feed(event)
    assert engine.strategies[0].decider.previous == [0.0, 0.0, 1.0]
    assert [fill.bar for fill in engine.journal.named("Fill")] == [2 * STEP]


def test_funding_falls_on_what_was_held_before_the_open():
    engine = build([1.0, 1.0, 0.0])
    for event in (opening(0, rate=0.01), closing(0), opening(1, rate=0.01), closing(1), opening(2, rate=0.01), closing(2)):
        engine.feed(event)
    paid = engine.journal.named("Funding")
    assert [(p.bar, p.quantity, p.amount) for p in paid] == [(2 * STEP, 10.0, -10.0)]


def test_warm_up_is_seen_but_never_traded():
    engine = build([1.0])
    engine.feed(closing(0, warm_up=True))
    assert engine.journal.kinds() == ["MarketClose"] and status(engine).decisions == 0
    engine.feed(closing(1))
    assert engine.strategies[0].decider.seen == [0, STEP] and status(engine).decisions == 1


def test_a_bar_first_heard_of_at_its_close_opens_first():
    engine = build([1.0, 1.0])
    engine.feed(closing(0))
    engine.feed(closing(1, price=90.0))
    assert engine.journal.kinds()[6:8] == ["MarketOpen", "Fill"] and engine.journal.named("Fill")[0].price == 90.0


def test_a_missing_bar_is_no_reason_to_stop():
    engine = build([1.0, 1.0])
    for event in (opening(0), closing(0), opening(5), closing(5)):
        engine.feed(event)
    assert engine.journal.named("Fill")[0].bar == 5 * STEP


@pytest.mark.parametrize(
    "events",
    [
        [opening(1), closing(1), closing(1)],
        [opening(1), closing(1), opening(0)],
        [opening(1), opening(1)],
        [opening(1), opening(2)],
        [opening(1), closing(2)],
        [closing(1, warm_up=True), closing(1, warm_up=True)],
    ],
    ids=["closed twice", "backwards", "opened twice", "opened over an open bar", "closed another bar", "warm-up twice"],
)
def test_a_bar_out_of_turn_is_refused_and_not_journalled(events):
    engine = build([0.0, 0.0, 0.0])
    for event in events[:-1]:
        engine.feed(event)
    written = len(engine.journal)
    with pytest.raises(DataError, match="out of turn"):
        engine.feed(events[-1])
    assert len(engine.journal) == written


def test_a_client_id_names_one_decision():
    names = {client_id(b, s, t, leg) for b in ("a", "b") for s in ("BTCUSDT", "ETHUSDT") for t in (0, 1) for leg in (0, 1)}
    assert len(names) == 16 and all(len(name) <= 36 for name in names)
    assert client_id("a", "BTCUSDT", 0, 0) == client_id("a", "BTCUSDT", 0, 0)


def test_status_before_and_after_a_decision():
    engine = build([1.0])
    assert status(engine).edge is None and status(engine).prices == {}
    engine.feed(closing(0, price=50.0))
    now = status(engine)
    assert (now.time, now.prices, now.positions, now.equity) == (STEP, {"BTCUSDT": 50.0}, {"BTCUSDT": 0.0}, 1000.0)
    assert (now.edge, now.decisions, now.fills) == (0.5, 1, 0)
