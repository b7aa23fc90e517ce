"""Each kill switch trips just beyond its limit and not just below it, with NaN and with what is missing; none is forgotten."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha import config
from quantalpha.runner import switches
from quantalpha.runner.events import (
    AccountEvent,
    EquityEvent,
    FillEvent,
    FundingEvent,
    HealthEvent,
    InstructionEvent,
    OrderUpdateEvent,
    SessionEvent,
    SignalEvent,
    SwitchEvent,
    TickEvent,
)
from quantalpha.runner.orders import ADOPTED
from quantalpha.runner.views import AccountView, Position

BTC, NAN, DAY, HOUR = "BTCUSDT", math.nan, 86_400_000, 3_600_000
LIMITS = config.load().switches


def at(time=0, symbol=BTC):
    return {"event_time": time, "recv_time": time, "symbol": symbol}


def equity(value=0.0, time=0):
    return EquityEvent(**at(time), bar=0, equity=value, cash=value, quantity=0.0, price=1.0)


def fill(quantity=1.0, realised=0.0, fee=0.0, reason="order", symbol=BTC):
    return FillEvent(**at(symbol=symbol), bar=0, client_id="qa-1", quantity=quantity, price=1.0, fee=fee, realised=realised, reason=reason)


def health(time=0, errors=0.0, silence=0.0, skew=0.0, connected=True):
    return HealthEvent(**at(time, ""), api_errors=errors, silence=silence, clock_skew=skew, connected=connected)


def signal(novelty=0.0, features="0f", strategy="a", time=0):
    values = {"bar": 0, "edge": 0.1, "previous": 0.0, "target": 0.0, "strategy": strategy}
    return SignalEvent(**at(time), **values, features=features, novelty=novelty)


def session(time=0):
    return SessionEvent(**at(time), phase="resume", reason="")


def tick(time=0):
    return TickEvent(event_time=0, recv_time=time, symbol="")


def told(quantity, time=0):
    return AccountEvent(**at(time, ""), cash=1.0, equity=1.0, positions={BTC: {"quantity": quantity}} if quantity else {})


def view(value=1.0, position=None, **more):
    return AccountView(value, {} if position is None else {BTC: position}, **more)


def moneyed(switch, *path):
    """What it says of the last of (equity, time) in a row."""
    for value, time in path:
        trip = switch.see(view(value, time=time), equity(value, time))
    return trip


@pytest.mark.parametrize("last, trips", [(95.001, False), (94.999, True), (NAN, True), (math.inf, True), (-math.inf, True)])
def test_daily_loss(last, trips):
    assert (moneyed(switches.DailyLoss(0.05), (100.0, HOUR), (last, 2 * HOUR)) is not None) == trips


def test_daily_loss_is_measured_from_midnight():
    switch = switches.DailyLoss(0.05)
    assert moneyed(switch, (100.0, 0), (96.0, 23 * HOUR), (92.0, DAY)) is None  # the bar that ends at midnight gives the new base
    assert moneyed(switch, (87.5, DAY + HOUR)) is None
    assert moneyed(switch, (87.3, DAY + HOUR)) is not None
    late = switches.DailyLoss(0.05)
    assert moneyed(late, (100.0, 0), (96.0, 23 * HOUR), (91.0, DAY + 1)) is not None  # 96 was the last word of the day before


def test_a_day_cannot_go_back():
    assert moneyed(switches.DailyLoss(0.05), (100.0, DAY), (95.5, DAY), (91.0, DAY - 1)) is not None


@pytest.mark.parametrize("last, trips", [(96.0, False), (95.999, True), (NAN, True)])
def test_drawdown(last, trips):
    assert (moneyed(switches.Drawdown(0.2), (100.0, 0), (120.0, DAY), (110.0, 2 * DAY), (last, 3 * DAY)) is not None) == trips


@pytest.mark.parametrize("kind", [switches.DailyLoss, switches.Drawdown])
def test_an_account_without_equity_trips_at_once(kind):
    for nothing in (0.0, -1.0, NAN):
        assert moneyed(kind(0.2), (nothing, 0)) is not None


@pytest.mark.parametrize("kind", [switches.DailyLoss, switches.Drawdown])
def test_a_tick_trips_but_leaves_no_trace(kind):
    switch = kind(0.2)
    moneyed(switch, (100.0, 0))
    assert switch.see(view(200.0), tick()) is None
    assert switch.see(view(100.0), tick()) is None  # 200 is not remembered: a restart would not know of it
    assert switch.see(view(79.0), tick()) is not None


@pytest.mark.parametrize("kind", [switches.DailyLoss, switches.Drawdown])
def test_a_session_starts_with_what_it_has(kind):
    switch = kind(0.05)
    assert switch.see(view(100.0), session()) is None
    assert switch.see(view(96.0), tick()) is None
    assert switch.see(view(94.0, time=DAY + 1), equity(94.0, DAY + 1)) is not None


def losses(*results, limit=5):
    """Whether each of these trades in a row trips."""
    switch = switches.ConsecutiveLosses(limit)
    said = []
    for result in results:
        switch.see(view(), fill(1.0))
        said.append(switch.see(view(), fill(-1.0, realised=result)) is not None)
    return said


def test_losses_in_a_row():
    assert losses(-1, -1, -1, -1, -1) == [False] * 4 + [True]
    assert not any(losses(-1, -1, -1, -1, 0, -1, -1, -1, -1))
    assert losses(NAN) == [True]


def test_a_trade_is_net_of_fees_and_funding():
    for fee, funding, lost in ((0.6, 0.0, True), (0.4, 0.0, False), (0.4, -0.3, True), (0.6, 0.3, False)):
        switch = switches.ConsecutiveLosses(1)
        switch.see(view(), fill(1.0, fee=fee))
        switch.see(view(), FundingEvent(**at(), bar=0, amount=funding, rate=0.0, mark=1.0, quantity=1.0))
        switch.see(view(), fill(-0.4, realised=0.5, fee=fee / 2))
        assert (switch.see(view(), fill(-0.6, realised=0.5, fee=fee / 2)) is not None) == lost


def test_a_reversal_ends_one_trade_and_begins_the_next():
    switch = switches.ConsecutiveLosses(2)
    switch.see(view(), fill(1.0))
    assert switch.see(view(), fill(-3.0, realised=-1.0, fee=0.3)) is None  # lost 1.1, and 0.2 of its fee opens the short
    assert switch.see(view(), fill(2.0, realised=0.15)).values["result"] == pytest.approx(-0.05)


def test_sums_of_floats_end_flat():
    switch = switches.ConsecutiveLosses(1)
    for quantity in (0.1, 0.2):
        switch.see(view(), fill(quantity))
    assert switch.see(view(), fill(-0.3, realised=-1.0)) is not None


def test_a_position_found_at_the_start_is_a_trade_under_way():
    switch = switches.ConsecutiveLosses(1)
    switch.see(view(position=Position(2.0)), session())
    assert switch.see(view(), fill(-1.0, realised=-1.0)) is None
    assert switch.see(view(), fill(-1.0, realised=-1.0)) is not None


def returns(last, usual=0.01, bars=120):
    rng = np.random.default_rng(0)
    calm = rng.choice([-usual, usual], bars)
    return np.append(calm, np.full(6, last))


@pytest.mark.parametrize("last, trips", [(0.06, False), (-0.06, False), (0.0601, True), (-0.0601, True), (NAN, True)])
def test_volatility(last, trips):
    switch = switches.Volatility(6.0, 6, True)
    assert (switch.see(view(returns={BTC: returns(last)}), equity()) is not None) == trips


def test_volatility_without_history():
    for known in ({}, {BTC: np.zeros(105)}):
        assert switches.Volatility(6.0, 6, True).see(view(returns=known), equity()) is not None
        assert switches.Volatility(6.0, 6, False).see(view(returns=known), equity()) is None
    assert switches.Volatility(6.0, 6, True).see(view(returns={BTC: np.zeros(106)}), equity()) is None


@pytest.mark.parametrize(
    "quantity, liquidation, trips",
    [(1.0, 95.0, False), (1.0, 95.01, True), (-1.0, 105.0, False), (-1.0, 104.99, True), (1.0, 101.0, True), (1.0, 0.0, False),
     (1.0, NAN, True), (0.0, 100.0, False), (NAN, 0.0, False), (NAN, 50.0, True)],
)  # fmt: skip
def test_liquidation(quantity, liquidation, trips):
    switch = switches.LiquidationNear(0.05)
    assert (switch.see(view(position=Position(quantity, 100.0, 100.0, liquidation)), equity()) is not None) == trips


@pytest.mark.parametrize("mark", [NAN, 0.0, -1.0])
def test_liquidation_without_a_mark(mark):
    for liquidation in (0.0, 50.0):
        assert switches.LiquidationNear(0.05).see(view(position=Position(1.0, 100.0, mark, liquidation)), equity()) is not None


@pytest.mark.parametrize(
    "switch, passing, tripping",
    [
        (switches.ApiErrors(0.5), health(errors=0.5), health(errors=0.51)),
        (switches.ApiErrors(0.5), health(), health(errors=NAN)),
        (switches.ClockSkew(2.0), health(skew=-2.0), health(skew=-2.001)),
        (switches.ClockSkew(2.0), health(skew=2.0), health(skew=NAN)),
        (switches.Silence(120.0), health(silence=120.0), health(silence=120.1)),
        (switches.Silence(120.0), health(), health(silence=NAN)),
        (switches.OutOfDistribution(0.5, True), signal(0.5), signal(0.51)),
        (switches.OutOfDistribution(0.5, False), signal(0.5), signal(NAN)),
        (switches.OutOfDistribution(0.5, False), signal(NAN, features=""), signal(1.0)),
        (switches.OutOfDistribution(0.5, True), signal(0.0), signal(NAN, features="")),
        (switches.Expired(10 * DAY, {"a": DAY}), signal(time=11 * DAY), signal(time=11 * DAY + 1)),
        (switches.Expired(10 * DAY, {"a": DAY}), signal(time=DAY), signal(time=DAY, strategy="b")),
    ],
)
def test_what_is_told_is_compared(switch, passing, tripping):
    assert switch.see(view(), passing) is None
    assert switch.see(view(), tripping) is not None


def test_silence_counts_while_nobody_tells():
    switch = switches.Silence(120.0)
    assert switch.see(view(), session(0)) is None
    assert switch.see(view(), health(60_000)) is None
    assert switch.see(view(), tick(180_000)) is None
    assert switch.see(view(), tick(180_001)) is not None


def test_a_lost_connection_counts_from_the_last_sound_word():
    switch = switches.Silence(120.0)
    switch.see(view(), health(0))
    assert switch.see(view(), health(120_000, connected=False)) is None
    assert switch.see(view(), health(120_001, connected=False)) is not None
    assert switch.see(view(), session(500_000)) is None  # a restart does not count the time it was away


def test_of_two_venues_one_that_goes_well_says_nothing_of_the_other():
    switch, both = switches.Silence(120.0), AccountView(1.0, {BTC: Position(), f"{BTC}@bybit": Position()})
    for second in range(0, 121, 20):
        assert switch.see(both, health(second * 1000)) is None
        assert switch.see(both, replace(health(second * 1000, connected=second == 0), symbol="@bybit")) is None
    assert switch.see(both, health(120_001)) is not None, "its line is down, and has been for too long"
    switch = switches.Silence(120.0)
    for second in range(0, 121, 20):
        assert switch.see(both, health(second * 1000)) is None
    assert switch.see(both, health(121_000)) is not None, "nobody looks after it at all"


def test_the_venue_tells_another_position():
    held = view(position=Position(1.0))
    switch = switches.Reconcile()
    assert switch.see(held, told(1.0 + 1e-12)) is None
    assert switch.see(held, told(2.0, 1000)) is None  # the fill may be told in a moment
    assert switch.see(held, tick(11_000)) is None
    assert switch.see(held, told(2.0, 11_001)) is not None
    assert switch.see(view(position=Position(2.0)), told(2.0, 11_002)) is None
    assert switch.see(held, told(NAN)) is not None
    assert switches.Reconcile().see(held, replace(told(1.0), positions={BTC: {}})) is not None
    assert switches.Reconcile().see(held, fill(reason="external")) is not None


def test_a_fill_that_was_still_to_come_ends_the_difference():
    """Though the venue is not heard of its account again in time."""
    switch = switches.Reconcile()
    assert switch.see(view(position=Position(1.0)), told(2.0, 1000)) is None
    assert switch.see(view(position=Position(2.0)), fill()) is None
    assert switch.see(view(position=Position(2.0)), tick(60_000)) is None


def test_what_was_taken_over_was_asked_for():
    taken = replace(fill(reason="external"), trade=f"{ADOPTED}1")
    assert switches.Reconcile().see(view(position=Position(1.0)), taken) is None


def test_a_position_that_only_the_venue_knows():
    switch = switches.Reconcile()
    assert switch.see(view(), told(1.0)) is None
    assert switch.see(view(), tick(10_001)) is not None


def stop(name="qa-s", quantity=-1.0, action="place"):
    values = {"bar": 0, "client_id": name, "parent": "", "action": action, "kind": "stop", "quantity": quantity, "price": 90.0}
    return InstructionEvent(**at(), **values, reduce_only=True, purpose="protection")


def update(status, name="qa-s", time=0):
    return OrderUpdateEvent(**at(time), client_id=name, venue_id="1", status=status)


def test_a_position_without_its_stop():
    held, switch = view(position=Position(1.0)), switches.Unprotected(10.0)
    assert switch.see(held, fill()) is None
    assert switch.see(held, stop()) is None
    assert switch.see(held, tick(10_000)) is None
    assert switch.see(held, tick(10_001)) is not None  # ordered is not resting
    assert switch.see(held, update("open", time=10_002)) is None
    assert switch.see(held, tick(10**9)) is None
    assert switch.see(held, update("cancelled", time=10**9)) is None
    assert switch.see(held, tick(10**9 + 10_001)) is not None
    assert switch.see(held, session(2 * 10**9)) is None


def test_a_stop_known_to_rest_is_not_lost_by_an_answer_that_was():
    """The stream tells it open, then the request's own answer times out."""
    held, switch = view(position=Position(1.0)), switches.Unprotected(10.0)
    for event in (stop(), update("open", time=1), update("in_doubt", time=2)):
        switch.see(held, event)
    assert switch.see(held, tick(60_000)) is None


def test_a_stop_for_a_part_protects_a_part():
    held, switch = view(position=Position(1.0)), switches.Unprotected(10.0)
    for event in (stop(quantity=-0.1), update("open"), tick(10_001)):
        trip = switch.see(held, event)
    assert trip is not None
    for event in (stop("qa-more", -0.9), update("open", "qa-more")):
        switch.see(held, event)
    assert switch.see(held, tick(60_000)) is None


def test_a_stop_of_the_wrong_side_protects_nothing():
    held, switch = view(position=Position(1.0)), switches.Unprotected(10.0)
    for event in (stop(quantity=1.0), update("open"), tick(10_001)):
        trip = switch.see(held, event)
    assert trip is not None
    assert switch.see(view(position=Position(0.0)), fill()) is None and switch.see(view(position=Position(0.0)), tick(10**9)) is None
    assert switches.Unprotected(10.0).see(view(position=Position(NAN)), fill()) is not None


def funding(amount):
    return FundingEvent(**at(), bar=0, amount=amount, rate=0.0, mark=1.0, quantity=1.0)


def held_at(quantity=1.0, mark=100.0, liquidation=50.0):
    return view(position=Position(quantity, 100.0, mark, liquidation))


READ = {  # each number that a switch reads: the switch, what came before, and what is told of it
    "equity of the day": (switches.DailyLoss(0.05), [(view(100.0), equity(100.0))], lambda x: (view(x), equity(x))),
    "equity from its highest": (switches.Drawdown(0.2), [(view(100.0), equity(100.0))], lambda x: (view(x), equity(x))),
    "equity at a tick": (switches.Drawdown(0.2), [(view(100.0), equity(100.0))], lambda x: (view(x), tick())),
    "realised": (switches.ConsecutiveLosses(5), [(view(), fill(1.0))], lambda x: (view(), fill(-1.0, realised=x))),
    "fee": (switches.ConsecutiveLosses(5), [(view(), fill(1.0))], lambda x: (view(), fill(-1.0, fee=x))),
    "traded quantity": (switches.ConsecutiveLosses(5), [(view(), fill(1.0))], lambda x: (view(), fill(x))),
    "funding": (switches.ConsecutiveLosses(5), [(view(), fill(1.0))], lambda x: (view(), funding(x))),
    "mark": (switches.LiquidationNear(0.05), [], lambda x: (held_at(mark=x), equity())),
    "liquidation price": (switches.LiquidationNear(0.05), [], lambda x: (held_at(liquidation=x), equity())),
    "held quantity": (switches.LiquidationNear(0.05), [], lambda x: (held_at(quantity=x), equity())),
    "failed requests": (switches.ApiErrors(0.5), [], lambda x: (view(), health(errors=x))),
    "clock": (switches.ClockSkew(2.0), [], lambda x: (view(), health(skew=x))),
    "silence": (switches.Silence(120.0), [(view(), session())], lambda x: (view(), health(silence=x))),
    "novelty": (switches.OutOfDistribution(0.5, False), [], lambda x: (view(), signal(x))),
    "the venue's quantity": (switches.Reconcile(), [], lambda x: (held_at(), told(x))),
    "our quantity": (switches.Reconcile(), [], lambda x: (held_at(quantity=x), told(1.0))),
}


@pytest.mark.parametrize("bad", [NAN, math.inf])
@pytest.mark.parametrize("name", READ)
def test_what_is_no_number_trips(name, bad):
    """At once, and not when it has lasted."""
    switch, before, spoilt = copy.deepcopy(READ[name])
    assert all(switch.see(*each) is None for each in before)
    assert switch.see(*spoilt(bad)) is not None


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 125), st.sampled_from([NAN, math.inf, -math.inf]))
def test_no_return_may_be_missing(row, bad):
    spoilt = returns(0.01)
    spoilt[row] = bad
    assert switches.Volatility(6.0, 6, True).see(view(returns={BTC: spoilt}), equity()) is not None


def built(mode="live"):
    return switches.of(LIMITS, mode, "120d", {"a": 0})


def test_the_first_trip_stands_until_a_reset():
    every = built()
    trip = every.see(view(), health(errors=1.0))
    assert (trip.name, trip.phase, every.standing) == ("api_errors", "tripped", trip)
    assert every.see(view(), health(skew=9.0)) is None and every.standing is trip
    reset = SwitchEvent(**at(0, ""), name="", phase="reset", reason="mended")
    assert every.see(view(), reset) is None and every.standing is None
    assert every.see(view(), health(skew=9.0)).name == "clock_skew"


def test_a_trip_from_elsewhere_stands_too():
    every = built()
    kill = SwitchEvent(**at(0, ""), name="kill", phase="tripped", reason="by hand")
    assert every.see(view(), kill) is None and every.standing is kill


def test_paper_has_no_line_to_watch():
    assert built("paper").see(view(), health(errors=NAN)) is None
    assert built("paper").see(view(NAN), equity(NAN)).name == "daily_loss"


EVENTS = st.one_of(
    st.builds(lambda v, h: (view(v, time=h * HOUR), equity(v, h * HOUR)), st.floats(50, 150), st.integers(0, 72)),
    st.builds(lambda q, r: (view(position=Position(q, 1.0, 1.0)), fill(q, r)), st.sampled_from([1.0, -1.0, 2.0, -2.0]), st.floats(-2, 2)),
    st.builds(lambda t: (view(), tick(t)), st.integers(0, 10**6)),
    st.builds(lambda t, e: (view(), health(t, e)), st.integers(0, 10**6), st.floats(0, 1)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(EVENTS, max_size=30))
def test_the_same_recorded_events_lead_to_the_same_state(path):
    """What passes leaves no trace: without the ticks every later word is the same."""
    through, without = built(), built()
    for seen, event in path:
        if isinstance(event, TickEvent):
            if through.see(seen, event) is not None:
                return
        else:
            assert through.see(seen, event) == without.see(seen, event)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.floats(-0.06, 0.06), st.integers(1, 12)), max_size=40))
def test_no_path_of_equity_stays_untripped_beyond_its_limit(steps):
    """Against a plain reading of the rules over the whole path."""
    times, values = [HOUR], [100.0]
    for change, hours in steps:
        times.append(times[-1] + hours * HOUR + 1)
        values.append(values[-1] * (1 + change))
    days = np.array(times) // DAY
    base = np.array([values[0] if day == days[0] else values[int(np.flatnonzero(days < day)[-1])] for day in days])
    peak = np.maximum.accumulate(values)
    for kind, limit, loss in ((switches.DailyLoss, 0.05, 1 - values / base), (switches.Drawdown, 0.2, 1 - values / peak)):
        switch = kind(limit)
        assert [moneyed(switch, step) is not None for step in zip(values, times)] == list(loss > limit)
