"""How a session at a venue ends in order: not before what it has sent has found its end."""

import asyncio
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest

from quantalpha import config
from quantalpha.errors import Halted, ReconcileError, UsageError
from quantalpha.files import sole
from quantalpha.runner import dogs, live
from quantalpha.runner.accounts import AccountFolder
from quantalpha.runner.events import MarketCloseEvent, OrderUpdateEvent, QuoteEvent, TickEvent
from quantalpha.runner.traded import Traded


class Session:
    """Has made its decisions: says so after every event."""

    def __init__(self):
        self.params, self.composition = config.load(), SimpleNamespace(symbols=("BTCUSDT",))
        self.step, self.told, self.looks, self.halted = 60_000, [], 0, False
        self.engine = SimpleNamespace(last={})

    def feed(self, event):
        self.told.append(event)
        return True

    def clock(self):
        return 0

    def look_at_latch(self):
        self.looks += 1

    def require_running(self):
        if self.halted:
            raise Halted("a kill switch")


class Broker:
    """At rest after so many more ticks."""

    def __init__(self, session, ticks):
        self.session, self.ticks, self.given_up = session, ticks, False

    def give_up(self):
        self.given_up = True

    def at_rest(self):
        return sum(isinstance(event, TickEvent) for event in self.session.told) >= self.ticks


@pytest.fixture
def leaving(monkeypatch):
    monkeypatch.setattr(live, "TICK", 0.001)
    session = Session()
    venue = SimpleNamespace(broker=Broker(session, 5), trading=SimpleNamespace(now=lambda: 0), line=None, sides=())
    return live.Live(session, venue, dogs.Dogs(lambda: False))


def bar():
    prices = {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0, "mark": None, "funding_rate": 0.0}
    return MarketCloseEvent(event_time=60_000, recv_time=0, symbol="BTCUSDT", bar=0, **prices, warm_up=False)


@pytest.mark.parametrize("on_stop", ["keep", "cancel"])
def test_a_session_leaves_when_everything_rests(leaving, on_stop):
    leaving.params = leaving.params.model_copy(update={"runner": leaving.params.runner.model_copy(update={"on_stop": on_stop})})
    leaving.done.set()
    asyncio.run(leaving._leave())
    assert leaving.venue.broker.given_up and leaving.venue.broker.at_rest()
    assert leaving.session.looks >= 5  # it beats, and a latch is heeded


def test_a_session_that_leaves_decides_nothing_more(leaving):
    asyncio.run(leaving._leave())
    leaving.take(bar())
    assert all(isinstance(event, TickEvent) for event in leaving.session.told)


def test_what_is_heard_of_an_order_after_the_last_decision_is_not_lost(leaving):
    """An answer that came before the session began to leave was dropped: it then waited without end for an order that was refused."""
    leaving.take(bar())
    refused = OrderUpdateEvent(event_time=0, recv_time=0, symbol="BTCUSDT", client_id="qa-1", venue_id=None, status="rejected")
    leaving.take(refused), leaving.take(replace(bar(), bar=60_000, event_time=120_000))
    assert leaving.done.is_set() and leaving.session.told == [bar(), refused]


def test_a_kill_switch_counts_to_the_last(leaving):
    leaving.session.halted = True
    with pytest.raises(Halted):
        asyncio.run(leaving._leave())


@pytest.mark.parametrize("pause, looks", [(0.0, 0), (2.0, 1)])
def test_after_a_pause_of_the_process_the_latch_is_looked_at_before_a_bar_is_decided_on(leaving, monkeypatch, pause, looks):
    """Its watchdog may have latched the account and made it flat meanwhile: what it had still to do must not open it again."""
    seen, now = [], live.time.monotonic()
    monkeypatch.setattr(live.time, "monotonic", lambda: now + pause)
    monkeypatch.setattr(leaving.session, "look_at_latch", lambda: seen.append("latch"))
    monkeypatch.setattr(leaving.session, "feed", lambda event: seen.append(type(event)))
    leaving.looked = now
    leaving.take(bar()), leaving.take(bar())
    assert seen == ["latch"] * looks + [MarketCloseEvent] * 2


class Process:
    """poll: its exit codes, one a question, then the last."""

    def __init__(self, *codes):
        self.codes, self.terminated = list(codes), False

    def poll(self):
        return self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]

    def terminate(self):
        self.terminated, self.codes = True, [0]


@pytest.fixture
def spawned(monkeypatch):
    """By name what the next process does; they are appended in order."""
    names, coming = [], []
    monkeypatch.setattr(dogs, "spawn", lambda name: names.append(name) or (coming.pop(0) if coming else Process(None)))
    return names, coming


@pytest.mark.parametrize("code, again", [(None, 0), (0, 0), (7, 0), (-9, 1), (1, 1), (2, 1)])
def test_a_watchdog_that_has_died_is_followed_by_another(spawned, tmp_path, code, again):
    names, coming = spawned
    coming.append(Process(code))
    watched = dogs.Dogs(lambda: False)
    asyncio.run(watched.start([AccountFolder("live-x", tmp_path)]))
    watched.require_alive(), watched.require_alive()
    assert names == ["live-x"] * (1 + again)


def test_a_session_waits_for_its_own_watchdog(spawned, tmp_path, monkeypatch):
    """That of the session before may still make the account flat."""
    monkeypatch.setattr(dogs, "LEAVING", 0.2)
    account, names = AccountFolder("live-x", tmp_path), spawned[0]
    with sole(account.path / "watchdog.lock"), pytest.raises(UsageError, match=r"still at work \(NOT flat after 30 s\)"):
        account.note("NOT flat after 30 s")
        asyncio.run(dogs.Dogs(lambda: False).start([account]))
    assert names == []
    asyncio.run(dogs.Dogs(lambda: False).start([account]))
    assert names == ["live-x"]


@pytest.mark.parametrize("error, watched, begun, names", [
    (ReconcileError("x"), True, False, ["live-x"]), (ReconcileError("x"), True, True, ["live-x"]), (ReconcileError("x"), False, False, []),
    (None, True, False, []),
])  # fmt: skip
def test_a_session_that_ends_before_it_has_a_watchdog_leaves_the_account_none_the_worse(spawned, tmp_path, error, watched, begun, names):
    """That of a session which has died with a position leaves when another one takes the account."""
    account, own = AccountFolder("live-x", tmp_path), dogs.Dogs(lambda: False)
    with sole(account.path / "watchdog.lock") if watched else nullcontext():
        own.relieve(account)
    if begun:
        asyncio.run(own.start([account]))
    asyncio.run(own.part(type(error), error, None))
    assert spawned[0] == names


@pytest.mark.parametrize("error, flat, left", [(None, False, True), (Halted("x"), True, True), (Halted("x"), False, False)])
def test_watchdogs_are_dismissed_where_nothing_is_left_to_do(spawned, tmp_path, error, flat, left):
    process = Process(None)
    spawned[1].append(process)
    watched = dogs.Dogs(lambda: flat)
    asyncio.run(watched.start([AccountFolder("live-x", tmp_path)]))
    asyncio.run(watched.part(type(error), error, None))
    assert process.terminated is left


def test_a_yes_is_judged_by_the_price_of_now_and_not_by_the_close_that_the_order_was_decided_at(leaving):
    """Which is the order's own price: no move of the market would ever refuse it."""
    known, shown = Traded(close=100.0), []
    leaving.sides = (SimpleNamespace(place="", broker=SimpleNamespace(known=lambda symbol: known)),)
    leaving.session.engine = SimpleNamespace(prices=lambda: {"BTCUSDT": 100.0})
    leaving.desk = SimpleNamespace(poll=lambda now, price: shown.append(price("BTCUSDT")) or [])
    leaving._answers()
    known.quoted(QuoteEvent(event_time=1, recv_time=1, symbol="BTCUSDT", bid=119.0, ask=121.0, bid_quantity=1.0, ask_quantity=1.0))
    leaving._answers()
    assert shown[0] != shown[0] and shown[1] == 120.0
