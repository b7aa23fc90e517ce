"""Schedules of faults, conditions of a venue, and the courier of an account's messages; no server."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantalpha import config
from quantalpha.config import CONDITIONS, TRADING_FAULTS
from quantalpha.errors import UsageError
from quantalpha.practice import Faults, StreamFaults, TradingFaults
from quantalpha.practice.candles import CLOSE, TRADES
from quantalpha.practice.clock import Clock
from quantalpha.practice.conditions import Conditions, Sizes
from quantalpha.practice.exchange import Exchange
from quantalpha.practice.stream_faults import Courier, Cut, Expired

from .support import Wall


def conditions(speed=1.0, **sizes):
    wall = Wall()
    return wall, Conditions(Clock(1_000, 10**9, speed, wall), Sizes(**sizes))


def test_a_plan_is_played_by_number_and_counted():
    faults = TradingFaults(plan={1: "http_503", 3: "late_answer"})
    assert [faults.draw() for _ in range(5)] == [None, "http_503", None, "late_answer", None]
    assert faults.number == 5 and faults.met == {"http_503": 1, "late_answer": 1}


def test_chance_depends_on_the_seed_and_on_what_is_counted():
    def drawn(seed, where="trading"):
        faults = TradingFaults({"http_503": 0.3, "timeout_after_accept": 0.2}, seed=seed, where=where)
        return [faults.draw() for _ in range(400)]

    assert drawn(1) == drawn(1) and drawn(1) != drawn(2) and drawn(1) != drawn(1, "account")
    assert 80 < drawn(1).count("http_503") < 160 and 45 < drawn(1).count("timeout_after_accept") < 115


def test_a_schedule_can_be_changed_while_it_runs():
    faults = TradingFaults()
    assert faults.draw() is None
    faults.soon("http_429", None, "malformed")
    assert [faults.draw() for _ in range(4)] == ["http_429", None, "malformed", None]
    faults.chance = {"truncated": 1.0}
    assert faults.draw() == "truncated"


@pytest.mark.parametrize(("kind", "name", "meant"), [
    (TradingFaults, "timeout_after", "timeout_after_accept"),
    (StreamFaults, "dups", "drop"),
    (StreamFaults, "disconect", "disconnect"),
    (Faults, "hangs", "hang"),
])  # fmt: skip
def test_an_unknown_name_is_refused_with_the_nearest(kind, name, meant):
    with pytest.raises(UsageError, match=rf"exchange\.faults.*no fault '{name}'.*{meant}"):
        kind(plan={0: name})
    faults = kind()
    faults.chance = {name: 0.5}
    with pytest.raises(UsageError, match=name):
        faults.draw()


@pytest.mark.parametrize("chance", [{"drop": 0.7, "delay": 0.4}, {"drop": float("nan")}])
def test_probabilities_beyond_one_or_unknown_are_refused(chance):
    with pytest.raises(UsageError, match="add up to 1"):
        StreamFaults(chance)


def test_the_sections_of_params_become_the_schedules():
    changes = ["exchange.faults.trading.plan={0: halted}", "exchange.faults.account.chance={http_418: 0.5}", "exchange.faults.seconds=3"]
    changes += ["exchange.faults.stream.plan={2: drop}", "exchange.faults.gap=0.2"]
    faults = Faults.of(config.load(overrides=changes).exchange.faults)
    assert faults.trading.draw() == "halted" and faults.trading.seconds == faults.stream.seconds == 3
    assert faults.account.chance == {"http_418": 0.5} and faults.stream.plan == {2: "drop"}
    assert faults.sizes == Sizes(10.0, 0.2, 0.5)
    for key in ("trading", "account", "stream"):
        with pytest.raises(UsageError, match=f"exchange.faults.{key}.plan.0: expected"):
            config.load(overrides=[f"exchange.faults.{key}.plan={{0: hang}}"])


def test_conditions_begin_end_and_name_symbols():
    wall, venue = conditions(share=0.25)
    assert venue.taken() == 1.0 and not any(venue.holds(name) for name in CONDITIONS)
    venue.begin("partial", 2.0)
    venue.begin("halted", 5.0, "BTCUSDT")
    assert venue.taken() == 0.25 and venue.holds("halted", "BTCUSDT") and not venue.holds("halted", "ETHUSDT")
    wall.seconds += 2.0
    assert venue.taken() == 1.0 and venue.holds("halted", "BTCUSDT")
    venue.end("halted")
    assert not venue.holds("halted", "BTCUSDT")
    with pytest.raises(UsageError, match="did you mean 'halted'"):
        venue.begin("halt", 1.0)
    assert set(CONDITIONS) < set(TRADING_FAULTS)


def test_a_skewed_clock_is_ahead_by_its_seconds_at_any_speed():
    wall, venue = conditions(speed=3600.0, skew=2.0)
    assert venue.server_time() == venue.clock.now()
    venue.begin("clock_skew", 1.0)
    assert venue.server_time() - venue.clock.now() == 2_000
    wall.seconds += 0.5
    assert venue.server_time() - venue.clock.now() == 2_000 + 500 * 3599  # beyond any client that goes at the wall's pace
    wall.seconds += 0.5
    assert venue.server_time() == venue.clock.now()


def test_a_gap_moves_trades_and_marks_for_a_while_and_leaves_the_tape_alone(tape, frames):
    wall = Wall()
    exchange = Exchange(tape, Clock(tape.opening, tape.end, 60.0, wall), sizes=Sizes(gap=-0.2))
    other = Exchange(tape, Clock(tape.opening, tape.end, 60.0, wall))
    wall.seconds += 10
    before = exchange.instruments["BTCUSDT"].last.price(exchange.now())
    exchange.conditions.begin("price_gap", 20.0, "BTCUSDT")
    assert exchange.instruments["BTCUSDT"].last.price(exchange.now()) == before  # what has been told stays
    start = exchange.now()
    wall.seconds += 15
    for name in ("last", "mark"):
        gapped, plain = (getattr(each.instruments["BTCUSDT"], name).price(each.now()) for each in (exchange, other))
        assert gapped == pytest.approx(0.8 * plain, rel=1e-5)
    assert exchange.instruments["ETHUSDT"].last.price(exchange.now()) == other.instruments["ETHUSDT"].last.price(other.now())
    assert max(exchange.book("BTCUSDT").bids) < 0.9 * max(other.book("BTCUSDT").bids)
    wall.seconds += 10
    assert exchange.instruments["BTCUSDT"].last.price(exchange.now()) == other.instruments["BTCUSDT"].last.price(other.now())
    bar = int(np.searchsorted(tape.instruments["BTCUSDT"].times, start, side="right")) - 1
    last, recorded = exchange.instruments["BTCUSDT"].last, tape.instruments["BTCUSDT"].last
    assert last.extremes(bar, bar, -1)[0] < 0.9 * recorded.extremes(bar, bar, -1)[0]
    assert last.extremes(bar, bar, 1)[0] == last.unfolded(bar)[:, CLOSE].max() <= recorded.extremes(bar, bar, 1)[0]
    assert (last.rows == recorded.rows).all() and (last.unfolded(bar) != recorded.unfolded(bar)).any()
    assert (last.unfolded(bar + 1) == recorded.unfolded(bar + 1)).all() and len(last.unfolded(bar)) == TRADES


def carried(plan, count=6, seconds=1.0, step=0.0):
    """Messages as they arrive, one `carry` each, then one long after."""
    wall, courier = Wall(), None
    courier = Courier(StreamFaults(plan=plan, seconds=seconds), wall)
    found = []
    for number in range(count):
        found += courier.carry([str(number)])
        wall.seconds += step
    wall.seconds += 10
    return found + list(courier.carry([]))


@pytest.mark.parametrize(("plan", "expected"), [
    ({}, "012345"),
    ({1: "duplicate"}, "0112345"),
    ({1: "drop"}, "02345"),
    ({1: "reorder"}, "021345"),
    ({5: "reorder"}, "012345"),
    ({1: "reorder", 2: "reorder"}, "021345"),
    ({1: "reorder", 2: "drop"}, "03145"),
    ({1: "delay"}, "012345"),
])  # fmt: skip
def test_messages_are_doubled_dropped_swapped_and_delayed(plan, expected):
    assert "".join(carried(plan)) == expected


def test_a_delay_holds_back_all_behind_it():
    wall = Wall()
    courier = Courier(StreamFaults(plan={1: "delay"}, seconds=2.0), wall)
    assert list(courier.carry(["0", "1", "2"])) == ["0"]
    wall.seconds += 1.0
    assert list(courier.carry(["3"])) == []
    wall.seconds += 1.0
    assert list(courier.carry([])) == ["1", "2", "3"]


@pytest.mark.parametrize(("fault", "error"), [("disconnect", Cut), ("expire", Expired)])
def test_an_ending_comes_at_its_place(fault, error):
    courier, found = Courier(StreamFaults(plan={2: fault}), Wall()), []
    with pytest.raises(error):
        for message in courier.carry(["0", "1", "2", "3"]):
            found.append(message)  # noqa: PERF402 (what was carried before the error counts)
    assert found == ["0", "1"]


@given(st.dictionaries(st.integers(0, 40), st.sampled_from(["duplicate", "reorder", "drop", "delay"])), st.floats(0, 2))
def test_only_what_is_dropped_is_lost_and_only_what_is_doubled_comes_twice(plan, step):
    found = carried(plan, count=40, step=step)
    times = {None: 1, "reorder": 1, "delay": 1, "duplicate": 2, "drop": 0}
    assert {str(number): times[plan.get(number)] for number in range(40)} == {str(number): found.count(str(number)) for number in range(40)}
