"""Several symbols and strategies in one account: the backtest's money, bit by bit; and sessions that go on where their record ends."""

from dataclasses import replace
from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paper_accounts import ACCOUNT, COSTS, HOUR, Kept, Script, engine_of, tape, wishes

from quantalpha import schema
from quantalpha.backtest import simulate
from quantalpha.errors import DataError, ReconcileError, UsageError
from quantalpha.perp import Account
from quantalpha.runner import feed
from quantalpha.runner.broker_paper import PaperBroker
from quantalpha.runner.engine import Engine, Gates, Strategy
from quantalpha.runner.events import (
    EquityEvent,
    FillEvent,
    FundingEvent,
    MarketCloseEvent,
    OrderEvent,
    SessionEvent,
    SignalEvent,
    SwitchEvent,
    kind_of,
)  # fmt: skip
from quantalpha.runner.journal import FILE, Journal, Retold, read
from quantalpha.runner.risk import standard


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), symbols=st.integers(2, 3), missing=st.sampled_from([0.0, 0.1]), band=st.sampled_from([None, 0.05]))
def test_an_account_of_several_symbols_is_its_backtest(seed, symbols, missing, band):
    account = replace(ACCOUNT, rebalance_band=band)
    tables = {name: tape(seed + i, 40, missing) for i, name in enumerate(["BTCUSDT", "ETHUSDT", "SOLUSDT"][:symbols])}
    targets = {name: wishes(seed + 10 + i, table.index) / symbols * 2 for i, (name, table) in enumerate(tables.items())}
    result = simulate(tables, targets, account=account, costs=COSTS)
    events = Kept()
    engine = engine_of(tables, targets, events, account)
    for event in feed.replay_all(tables, HOUR):
        engine.feed(event)
    equity = {event.bar: event.equity for event in events if isinstance(event, EquityEvent)}
    assert list(equity.values()) == result.equity.tolist()
    fills = [(event.symbol, event.bar, event.quantity, event.price) for event in events if isinstance(event, FillEvent)]
    expected = result.fills.assign(time=schema.epoch_ms(pd.DatetimeIndex(result.fills["time"])))
    assert sorted(fills) == sorted(expected[["symbol", "time", "quantity", "price"]].itertuples(index=False, name=None))
    paid = sum(event.amount for event in events if isinstance(event, FundingEvent))
    assert paid == pytest.approx(result.funding["amount"].sum(), abs=1e-9)


def test_strategies_of_one_symbol_share_its_position():
    table = tape(1, 12)
    up, down = pd.Series(1.0, table.index), pd.Series(-0.5, table.index)
    strategies = [Strategy("a" * 64, "BTCUSDT", Script(up), 0.5), Strategy("b" * 64, "BTCUSDT", Script(down), 0.5)]
    events = Kept()
    engine = Engine(strategies, PaperBroker("BTCUSDT", ACCOUNT, COSTS), Gates(standard(4.0)), events, lambda: 7)
    for event in feed.replay(table, "BTCUSDT", HOUR):
        engine.feed(event)
    orders = [event for event in events if type(event) is OrderEvent]
    assert [order.target for order in orders] == [0.25]
    assert engine.targets == {"a" * 64: 1.0, "b" * 64: -0.5}
    with pytest.raises(UsageError, match="same bundle"):
        Engine([strategies[0]] * 2, PaperBroker("BTCUSDT", ACCOUNT, COSTS), Gates(standard(4.0)), events, lambda: 7)


def test_what_gets_smaller_is_ordered_before_what_grows():
    tables = {"AUSDT": tape(1, 6), "BUSDT": tape(2, 6)}
    flip = [4.0, 4.0, 0.0, 0.0, 0.0, 0.0]
    targets = {"AUSDT": pd.Series([4.0 - each for each in flip], tables["AUSDT"].index), "BUSDT": pd.Series(flip, tables["BUSDT"].index)}
    events = Kept()
    engine = engine_of(tables, targets, events)
    for event in feed.replay_all(tables, HOUR):
        engine.feed(event)
    turned = [event.symbol for event in events if type(event) is OrderEvent and event.bar == 2 * HOUR]
    assert turned == ["BUSDT", "AUSDT"]


def test_a_symbol_that_is_not_traded_is_refused():
    engine = engine_of({"BTCUSDT": tape(1, 6)}, {"BTCUSDT": wishes(1, tape(1, 6).index)}, Kept())
    with pytest.raises(DataError, match="not traded here"):
        engine.feed(next(feed.replay(tape(1, 6), "ETHUSDT", HOUR)))


def test_openings_wait_for_the_last_close_but_not_for_ever():
    tables = {"A": tape(1, 3), "B": tape(2, 3)}
    wanted = list(feed.replay_all(tables, HOUR))
    late = sorted(wanted, key=lambda event: event.event_time + (1 if event.symbol == "B" else 0))  # B is always heard of after A
    merge, out = feed.Merge(("A", "B"), 10.0), []
    for event in late:
        out += merge.take(event, now=0.0)
    out += merge.late(20.0)
    key = [(event.event_time, kind_of(event)) for event in out]
    assert all(a <= b or (a[0] == b[0] and a[1] == "MarketOpen" == b[1]) for a, b in pairwise(key)) and len(out) == len(wanted)
    merge = feed.Merge(("A", "B"), 10.0)
    first = next(event for event in wanted if event.symbol == "A")
    assert merge.take(first, now=0.0) == [] and merge.late(9.0) == [] and merge.late(10.0) == [first]


@pytest.mark.parametrize("lag", [1, 2, 5])
def test_bars_of_one_symbol_that_come_late_are_decided_at_their_own_moment(lag):
    """One symbol is heard a few bars ahead of the other: no decision is made twice, and none mixes two moments."""
    tables = {"AUSDT": tape(1, 12), "BUSDT": tape(2, 12)}
    targets = {name: wishes(i, table.index) / 2 for i, (name, table) in enumerate(tables.items())}
    events = Kept()
    engine = engine_of(tables, targets, events)
    ahead, behind = (list(feed.replay(tables[name], name, HOUR)) for name in tables)
    for event in [*ahead[: 2 * lag], *(each for pair in zip(behind, ahead[2 * lag :]) for each in pair), *behind[-2 * lag :]]:
        engine.feed(event)
    signals = [(each.symbol, each.bar) for each in events if isinstance(each, SignalEvent)]
    orders = [each for each in events if type(each) is OrderEvent]
    closes = {(each.symbol, each.event_time): each.close for each in events if isinstance(each, MarketCloseEvent)}
    assert sorted(signals) == [(name, int(bar)) for name, table in tables.items() for bar in schema.epoch_ms(table.index)]
    assert len({each.client_id for each in orders}) == len(orders) > 0
    assert all(each.price == closes[each.symbol, each.event_time] for each in orders)


def test_closes_that_were_mended_stand_between_the_openings_that_came_before_them():
    """After a hole the stream holds closes back until REST has mended it, and openings go on."""
    whole = list(feed.replay(tape(1, 6), "A", HOUR))
    openings, closes = whole[0::2], whole[1::2]
    for hole in range(1, 5):
        merge, out = feed.Merge(("A",), 10.0), []
        for opening, close in zip(openings[:hole], closes[:hole]):
            out += merge.take(opening, now=0.0) + merge.take(close, now=0.0)
        for event in [*openings[hole:], *closes[hole:]]:
            out += merge.take(event, now=60.0)
        assert out == whole


@pytest.mark.parametrize("symbols", [1, 2])
@pytest.mark.parametrize("cut", [3, 40, 77, 110, 10_000])
def test_a_session_goes_on_where_its_record_ends(tmp_path, symbols, cut):
    """Killed after `cut` events from outside and told its record again, it ends in the same record, without asking its models again."""
    tables = {name: tape(i, 60) for i, name in enumerate(["BTCUSDT", "ETHUSDT"][:symbols])}
    targets = {name: wishes(i, table.index) / symbols for i, (name, table) in enumerate(tables.items())}
    outside = list(feed.replay_all(tables, HOUR))
    whole = Kept()
    engine = engine_of(tables, targets, whole)
    for event in outside:
        engine.feed(event)

    journal = Journal(tmp_path / FILE, "s")
    killed = engine_of(tables, targets, journal)
    for event in outside[:cut]:
        killed.feed(event)
    told = read(tmp_path / FILE)
    resumed = engine_of(tables, targets, Retold(told, Journal.reopen(tmp_path / FILE, "s", len(told))))
    resumed.recover()
    assert resumed.targets == killed.targets and resumed.broker.account() == killed.broker.account()
    assert sum(each.decider.asked for each in resumed.strategies) == 0 and len(read(tmp_path / FILE)) == len(told)
    for event in outside[cut:]:
        resumed.feed(event)
    assert list(map(repr, read(tmp_path / FILE))) == list(map(repr, whole))


def test_a_chain_that_an_error_cut_stays_cut(tmp_path):
    table = tape(1, 20)
    outside, targets = list(feed.replay(table, "BTCUSDT", HOUR)), {"BTCUSDT": wishes(1, table.index)}
    engine = engine_of({"BTCUSDT": table}, targets, Journal(tmp_path / FILE, "s"))
    for event in outside[:9]:
        engine.feed(event)
    engine.broker.order_quantity = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        engine.feed(outside[9])
    engine.feed(SessionEvent(event_time=0, recv_time=0, symbol="BTCUSDT", phase="stop", reason="ZeroDivisionError"))
    told = read(tmp_path / FILE)
    assert isinstance(told[-2], SignalEvent)
    resumed = engine_of({"BTCUSDT": table}, targets, Retold(told, Journal.reopen(tmp_path / FILE, "s", len(told))))
    resumed.recover()
    resumed.feed(outside[10])
    assert [kind_of(event) for event in read(tmp_path / FILE)[len(told) :]][0] == "MarketOpen"


def test_another_story_is_not_resumed(tmp_path):
    table = tape(1, 20)
    outside, targets = list(feed.replay(table, "BTCUSDT", HOUR)), {"BTCUSDT": wishes(1, table.index)}
    engine = engine_of({"BTCUSDT": table}, targets, Journal(tmp_path / FILE, "s"))
    for event in outside:
        engine.feed(event)
    told = read(tmp_path / FILE)
    other = Engine(
        engine.strategies, PaperBroker("BTCUSDT", Account(999.0, 4.0), COSTS), Gates(standard(4.0)), Retold(told, None), lambda: 7
    )
    with pytest.raises(ReconcileError, match="told again"):
        other.recover()


def test_a_switch_flattens_and_ends_at_a_flat_account():
    table = tape(1, 20)

    class Trip:
        heeds = frozenset([EquityEvent])

        def see(self, view, event):
            tripped = event.bar == 5 * HOUR
            when = {"event_time": event.event_time, "recv_time": 0, "symbol": ""}
            return SwitchEvent(**when, name="test", phase="tripped", reason="five bars", values={}) if tripped else None

    events = Kept()
    strategy = Strategy("a" * 64, "BTCUSDT", Script(pd.Series(1.0, table.index)))
    engine = Engine([strategy], PaperBroker("BTCUSDT", ACCOUNT, COSTS), Gates(standard(4.0), Trip()), events, lambda: 7)
    for event in feed.replay(table, "BTCUSDT", HOUR):
        engine.feed(event)
    switches = [event for event in events if isinstance(event, SwitchEvent)]
    assert [event.phase for event in switches] == ["tripped", "flat"] and engine.broker.flat()
    assert max(event.bar for event in events if isinstance(event, SignalEvent)) == 5 * HOUR
    assert [event.bar for event in events if isinstance(event, FillEvent)] == [HOUR, 6 * HOUR]
    assert engine.halted.name == "test" and engine.halted.phase == "flat"


def test_after_a_reset_the_account_trades_again():
    table = tape(1, 20)
    engine = engine_of({"BTCUSDT": table}, {"BTCUSDT": pd.Series(1.0, table.index)}, Kept())
    outside = list(feed.replay(table, "BTCUSDT", HOUR))
    for event in outside[:10]:
        engine.feed(event)
    now = {"event_time": 0, "recv_time": 0, "symbol": "", "name": "kill", "reason": "a drill"}
    engine.feed(SwitchEvent(**now, phase="tripped"))
    for event in outside[10:16]:
        engine.feed(event)
    assert engine.broker.flat() and engine.halted is not None
    engine.feed(SwitchEvent(**now, phase="reset"))
    for event in outside[16:]:
        engine.feed(event)
    assert engine.halted is None and not engine.broker.flat()


def test_an_order_that_waits_when_a_switch_trips_is_given_up_though_nothing_is_held():
    table = tape(1, 12)
    events = Kept()
    engine = engine_of({"BTCUSDT": table}, {"BTCUSDT": pd.Series(1.0, table.index)}, events, ACCOUNT)
    outside = list(feed.replay(table, "BTCUSDT", HOUR))
    while not engine.counts["Order"]:
        engine.feed(outside.pop(0))
    times = {"event_time": outside[0].event_time, "recv_time": 0, "symbol": ""}
    engine.feed(SwitchEvent(**times, name="test", phase="tripped", reason="now", values={}))
    for event in outside:
        engine.feed(event)
    assert not engine.counts["Fill"] and engine.halted.phase == "flat"
