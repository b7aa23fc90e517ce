"""Flattening by the venue's word and the watchdog's judgement, against a venue that fails as it likes."""

import asyncio
import random
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha import config
from quantalpha.errors import UsageError
from quantalpha.market.connect import Retry
from quantalpha.market.trading import AccountReport, Held, InDoubt, OrderReport, Refused
from quantalpha.runner import emergency
from quantalpha.runner.emergency import flatten
from quantalpha.runner.judge import Around, Judge, Seen, protected
from quantalpha.runner.views import Position

BTC, ETH = "BTCUSDT", "ETHUSDT"
LIMITS = config.load().switches
NAN = float("nan")


def resting(name, symbol=BTC, quantity=1.0, kind="limit", price=90.0, reduce_only=False):
    values = {"venue_id": name, "status": "open", "filled": 0.0, "average": None, "time": 0, "kind": kind}
    return OrderReport(symbol=symbol, client_id=name, quantity=quantity, price=price, reduce_only=reduce_only, **values)


def stop(name="stop", symbol=BTC, quantity=-1.0, price=90.0):
    return resting(name, symbol, quantity, "stop", price, reduce_only=True)


class Venue:
    """An account in memory. `trouble` of its answers get lost, before or after what was asked is done."""

    rules = {}

    def __init__(self, positions, orders=(), trouble=0.0, seed=0):
        self.positions, self.orders, self.trouble = dict(positions), {each.client_id: each for each in orders}, trouble
        self.random, self.largest, self.bare = random.Random(seed), dict(positions), False

    def _lost(self):
        if self.random.random() < self.trouble:
            raise self.random.choice([InDoubt("timeout"), Refused("-1", "no"), OSError("cut"), TimeoutError()])

    async def synchronise(self):
        self._lost()

    async def account(self):
        self._lost()
        return AccountReport(1.0, 1.0, {symbol: Held(quantity, 1.0, 1.0, 0.0) for symbol, quantity in self.positions.items()})

    async def open_orders(self, symbols=None):
        self._lost()
        return list(self.orders.values())

    async def place(self, instruction):
        self._lost()
        held, wanted = self.positions.get(instruction.symbol, 0.0), instruction.quantity
        assert instruction.reduce_only
        if any(each.reduce_only and each.kind == "limit" and each.symbol == instruction.symbol for each in self.orders.values()):
            raise Refused("-4118", "ReduceOnly Order Failed. Please check your existing position and open orders")
        if held * wanted >= 0:
            raise Refused("-2022", "ReduceOnly Order is rejected")
        self.positions[instruction.symbol] = held + (wanted if abs(wanted) <= abs(held) else -held)
        self._lost()

    async def cancel(self, client_id, symbol):
        self._lost()
        assert self.orders.get(client_id, resting("x")).kind != "stop" or not self.positions.get(symbol)
        self.orders.pop(client_id, None)

    async def cancel_all(self, symbol):
        self._lost()
        self.bare = self.bare or bool(self.positions.get(symbol))
        self.orders = {name: each for name, each in self.orders.items() if each.symbol != symbol}


BOOK = [resting("a"), stop(), resting("b", ETH), resting("tp", BTC, -1.0, "take_profit", 120.0, True)]


def test_everything_is_closed_and_cancelled():
    venue = Venue({BTC: 1.0, ETH: -2.0}, BOOK)
    done = asyncio.run(flatten(venue, 5.0))
    assert done.flat and not any(venue.positions.values()) and not venue.orders and not done.errors
    assert not venue.bare  # no stop was taken from a position
    assert str(done).startswith("flat after")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 0.6))
def test_a_venue_that_fails_is_asked_again(seed, trouble):
    emergency.PACE, pace = Retry(base=0.0), emergency.PACE
    venue = Venue({BTC: 1.0, ETH: -2.0}, BOOK, trouble, seed)
    try:
        done = asyncio.run(flatten(venue, 30.0))
    finally:
        emergency.PACE = pace
    assert done.flat and not any(venue.positions.values()) and not venue.orders and not venue.bare


def test_the_way_out_without_a_session_is_in_parts_too():
    sent = []

    class Small(Venue):
        rules = {BTC: SimpleNamespace(most=0.4)}

        async def place(self, instruction):
            sent.append(instruction.quantity)
            assert abs(instruction.quantity) <= 0.4
            await super().place(instruction)

    done = asyncio.run(flatten(Small({BTC: 1.0}), 5.0))
    assert done.flat and sent == [-0.4, -0.4, -0.2]


def test_a_limit_order_on_its_way_out_does_not_bar_the_way():
    """A session that hangs while it closes by a resting order."""
    venue = Venue({BTC: 1.0}, [resting("out", BTC, -1.0, price=130.0, reduce_only=True), stop()])
    done = asyncio.run(flatten(venue, 5.0))
    assert done.flat and not venue.orders and not venue.bare


@pytest.mark.parametrize("quantity", [NAN, 1.0])
def test_what_is_not_known_to_be_flat_is_not_flat(quantity):
    class Deaf(Venue):
        async def place(self, instruction):
            raise InDoubt("timeout")

    done = asyncio.run(flatten(Deaf({BTC: quantity}), 0.3))
    assert not done.flat and "NOT flat" in str(done) and "timeout" in str(done)


def test_a_venue_that_never_answers_ends_with_the_patience():
    class Hanging(Venue):
        async def account(self):
            await asyncio.sleep(60)

    done = asyncio.run(flatten(Hanging({}), 0.3))
    assert not done.flat and "nobody knows" in str(done)


def seen(equity=100.0, quantity=0.0, time=0, orders=(), mark=100.0, liquidation=0.0):
    held = {BTC: Held(quantity, 100.0, mark, liquidation)} if quantity else {}
    return Seen(time, AccountReport(cash=equity, equity=equity, positions=held), list(orders))


CALM = Around(0.0, False)


def told(*path, around=CALM):
    """What the watchdog makes of the last of (seconds, what it sees)."""
    judge = Judge(LIMITS, 30.0, 0.0)
    for now, what in path:
        found = judge.see(now, around, what)
    return found and found[0]


def test_a_quiet_account_is_left_alone():
    assert told((0, seen(quantity=1.0, orders=[stop()])), (1000, seen(quantity=1.0, orders=[stop()], mark=95.0))) is None


@pytest.mark.parametrize(
    "path, name",
    [
        ([(0, seen(100.0)), (1, seen(94.9))], "daily_loss"),
        ([(0, seen(100.0)), (1, seen(95.1))], None),
        ([(0, seen(NAN))], "daily_loss"),
        ([(0, seen(100.0)), (1, seen(97.0, time=80_000_000)), (2, seen(94.0, time=90_000_000))], None),  # the day began at 97
        ([(0, seen(quantity=1.0, liquidation=95.1, orders=[stop()]))], "liquidation"),
        ([(0, seen(quantity=1.0, liquidation=94.9, orders=[stop()]))], None),
        ([(0, seen(quantity=1.0)), (10, seen(quantity=1.0))], None),
        ([(0, seen(quantity=1.0)), (10.1, seen(quantity=1.0))], "unprotected"),
        ([(0, seen(quantity=1.0)), (5, seen(quantity=1.0, orders=[stop()])), (12, seen(quantity=1.0))], None),
        ([(0, seen()), (120, None)], None),
        ([(0, seen()), (120.1, None)], "silence"),
    ],
)
def test_judgement(path, name):
    assert told(*path) == name


@pytest.mark.parametrize(
    "capital, wallet, lost, name",
    [
        (100.0, 10_000.0, 5.1, "daily_loss"),
        (100.0, 10_000.0, 4.9, None),
        (10_000.0, 100.0, 5.1, "daily_loss"),
        (100.0, NAN, 0.0, "daily_loss"),
    ],
)
def test_what_is_lost_counts_against_what_the_session_may_lose_from(capital, wallet, lost, name):
    """Not against a wallet a hundred times as large; nor against a capital that is not there."""
    judge = Judge(LIMITS, 30.0, 0.0, capital)
    found = [judge.see(now, CALM, seen(equity)) for now, equity in enumerate((wallet, wallet - lost))][-1]
    assert (found and found[0]) == name


@pytest.mark.parametrize("age, name", [(30.0, None), (30.1, "heartbeat"), (NAN, "heartbeat"), (None, None)])
def test_heartbeat(age, name):
    assert told((0, seen()), around=Around(age, False)) == name
    assert told((0, None), around=Around(age, False)) == name  # also while the venue is silent


def test_a_latch_that_nobody_obeys():
    held, latched = seen(quantity=1.0, orders=[stop()]), Around(0.0, True)
    assert told((0, held), (10, held), around=latched) is None
    assert told((0, held), (10.1, held), around=latched) == "latched"
    assert told((0, held), (5, seen()), (100, seen()), around=latched) is None
    assert told((0, seen(orders=[resting("a")])), (10.1, seen(orders=[resting("a")])), around=latched) == "latched"


@pytest.mark.parametrize(
    "order, covered",
    [(stop(), True), (stop(quantity=-0.0), True), (stop(quantity=-0.1), False), (stop(quantity=1.0), False),
     (stop(price=110.0), False), (stop(price=100.5), True), (stop(symbol=ETH), False),
     (stop(price=None), False), (resting("limit", quantity=-1.0), False), (resting("tp", BTC, -1.0, "take_profit", 90.0, True), False)],
)  # fmt: skip
def test_what_protects_a_long(order, covered):
    assert protected(BTC, Position(1.0, 100.0, 100.0), [order]) == covered
    assert not protected(BTC, Position(1.0, 100.0, NAN), [order])
    assert protected(BTC, Position(1.0, 100.0, 100.0), [stop("a", quantity=-0.4), stop("b", quantity=-0.6)])
    assert protected(BTC, Position(0.0), [])


def test_a_rehearsal_on_this_machine_needs_no_key(monkeypatch):
    for name in ("QUANTALPHA_API_KEY", "QUANTALPHA_WATCHDOG_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    config.environment.cache_clear()
    venue = config.load("demo").venue
    assert emergency.keys_of("rehearse", venue).key == "practice-key"
    for mode, where in (("live", venue), ("rehearse", venue.model_copy(update={"rest_url": "https://api.example.com"}))):
        with pytest.raises(UsageError, match="QUANTALPHA_API_KEY"):
            emergency.keys_of(mode, where)
    monkeypatch.setenv("QUANTALPHA_WATCHDOG_API_KEY", "own-key"), monkeypatch.setenv("QUANTALPHA_WATCHDOG_API_SECRET", "own-secret")
    config.environment.cache_clear()
    assert emergency.keys_of("live", venue, watchdog=True).key == "own-key"
    config.environment.cache_clear()
