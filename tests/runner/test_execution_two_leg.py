"""Two legs: whatever the venues do, never more than the limit of one stands without the other, and in the end nothing does."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_venue import LOT, TICK, SmallVenue, hear

from quantalpha.errors import UsageError
from quantalpha.runner import orders as states
from quantalpha.runner.events import OrderUpdateEvent
from quantalpha.runner.execution import Book, Terms
from quantalpha.runner.execution.two_leg import Leg, Limits, TwoLeg
from quantalpha.runner.orders import Orders

START, LIMIT = 1_000_000, 60.0
TERMS = Terms(LOT, TICK, 5.0, (0.0, 0.0))
LEAST = 5  # lots that make the least notional, and one


def pair(size: float, ratio: float, orders: Orders, *, reduces: bool = False, **limits) -> TwoLeg:
    legs = Leg("ONE", size, TERMS, reduces), Leg("TWO", round(-size * ratio, 3), TERMS, reduces)
    return TwoLeg("qa-pair", START, legs, Limits(**{"unhedged": LIMIT, "patience": 5.0, "edge": -1.0, "urgency": 120.0} | limits), orders)


@settings(max_examples=200)
@given(
    lots=st.integers(6, 300), side=st.sampled_from((1.0, -1.0)), ratio=st.sampled_from((1.0, 2.0)), seed=st.integers(0, 2**32),
    faults=st.booleans(), together=st.booleans(), reduces=st.booleans(),
    edge=st.sampled_from((-1.0, -0.002)), stop=st.sampled_from((0, 40)),
)  # fmt: skip
def test_the_unhedged_part_stays_within_its_limit_and_ends_at_nothing(lots, side, ratio, seed, faults, together, reduces, edge, stop):
    orders, rng, now = Orders(), random.Random(seed), START
    size = side * round(lots * LOT, 3)
    held = (-size, size * ratio) if reduces else (0.0, 0.0)
    venues = {name: SmallVenue(rng, faults=faults, position=position) for name, position in zip(("ONE", "TWO"), held)}
    legs = pair(size, ratio, orders, reduces=reduces, together=together, edge=edge)
    since, longest = now, 0
    for step in range(3000):
        if legs.done:
            break
        now += 100 * rng.randint(0, 4)
        for venue in venues.values():
            hear(orders, venue.step(now))
        if stop and step > stop:
            legs.stop()
        for told in legs.act(now, (venues["ONE"].book, venues["TWO"].book)):
            venues[told.symbol].tell(told)
        first, second = venues["ONE"].lots("qa-pair"), venues["TWO"].lots("qa-pair")
        bare = abs(first + second / ratio)
        assert bare * LOT * venues["ONE"].mid <= LIMIT * 1.02
        assert abs(first) <= lots and first * side >= 0
        since = since if bare > LEAST + 1 else now
        longest = max(longest, now - since)
    assert legs.done
    assert bare <= LEAST + 1, legs.leaving
    assert longest <= 5_000 + 15_000  # its patience, and what these venues take to answer a handful of orders
    if not faults and not stop and edge == -1.0 and not legs.leaving:
        assert lots - abs(first) <= LEAST and legs.filled == pytest.approx((first * LOT, second * LOT))


CALM = Book(((1000.0, 10.0),), ((1000.2, 10.0),))
RICH = Book(((1010.0, 10.0),), ((1010.2, 10.0),))


def told(legs: TwoLeg, time: int, first: Book = CALM, second: Book = RICH) -> list[tuple]:
    return [(i.symbol, i.action, i.kind, i.quantity, i.reduce_only) for i in legs.act(time, (first, second))]


def answer(orders: Orders, symbol: str, status: str, filled: float = 0.0) -> None:
    name = [order.client_id for order in orders if order.instruction.symbol == symbol][-1]
    orders.update(OrderUpdateEvent(event_time=0, recv_time=0, symbol=symbol, client_id=name, venue_id="1", status=status, filled=filled))


def test_what_the_resting_leg_fills_is_hedged_at_once():
    orders = Orders()
    legs = pair(0.1, 1.0, orders)
    assert told(legs, START) == [("ONE", "place", "post_only", 0.059, False)]
    answer(orders, "ONE", states.PARTLY_FILLED, 0.02)
    assert told(legs, START) == [("TWO", "place", "market", -0.02, False)]
    answer(orders, "ONE", states.FILLED, 0.059)
    assert told(legs, START) == []
    answer(orders, "TWO", states.FILLED, -0.02)
    assert told(legs, START) == [("TWO", "place", "market", -0.039, False)]
    answer(orders, "TWO", states.FILLED, -0.039)
    assert told(legs, START) == [("ONE", "place", "post_only", 0.041, False)]
    answer(orders, "ONE", states.FILLED, 0.041)
    told(legs, START)
    answer(orders, "TWO", states.FILLED, -0.041)
    assert told(legs, START) == [] and legs.done and not legs.leaving and legs.unhedged == pytest.approx(0.0)


def test_both_legs_cross_together_and_a_failed_one_is_made_good():
    orders = Orders()
    legs = pair(0.05, 1.0, orders, together=True)
    assert told(legs, START) == [("ONE", "place", "market", 0.05, False), ("TWO", "place", "market", -0.05, False)]
    answer(orders, "ONE", states.REJECTED), answer(orders, "TWO", states.FILLED, -0.05)
    assert told(legs, START) == [("TWO", "place", "market", 0.05, True)]


def test_a_second_leg_that_is_refused_has_the_first_unwound():
    orders = Orders()
    legs = pair(0.05, 1.0, orders)
    told(legs, START)
    answer(orders, "ONE", states.FILLED, 0.05)
    for number in range(3):
        assert told(legs, START + 1_000 * number) == [("TWO", "place", "market", -0.05, False)]
        answer(orders, "TWO", states.REJECTED)
    assert told(legs, START + 3_000) == [("ONE", "place", "market", -0.05, True)] and legs.leaving == "refused"
    answer(orders, "ONE", states.FILLED, -0.05)
    assert told(legs, START + 3_000) == [] and legs.done


def test_an_unwinding_that_is_refused_too_leaves_the_hedge_to_be_tried_again():
    orders = Orders()
    legs = pair(0.05, 1.0, orders)
    told(legs, START)
    answer(orders, "ONE", states.FILLED, 0.05)
    legs.stop()
    for number in range(3):
        assert told(legs, START + 1_000 * number) == [("ONE", "place", "market", -0.05, True)]
        answer(orders, "ONE", states.REJECTED)
    assert told(legs, START + 3_000) == [("TWO", "place", "market", -0.05, False)]


def test_a_spread_that_closes_ends_it():
    orders = Orders()
    legs = pair(0.05, 1.0, orders, edge=0.005)
    told(legs, START)
    answer(orders, "ONE", states.OPEN)
    assert told(legs, START + 100, second=CALM) == [("ONE", "cancel", "post_only", 0.05, False)] and legs.leaving == "edge"
    answer(orders, "ONE", states.CANCELLED, 0.02)  # a fill overtook it
    assert told(legs, START + 200, second=RICH) == [("ONE", "place", "market", -0.02, True)]


def test_a_hedge_that_nobody_answers_for_is_waited_for_and_nothing_is_added():
    orders = Orders()
    legs = pair(0.1, 1.0, orders)
    told(legs, START)
    answer(orders, "ONE", states.PARTLY_FILLED, 0.02)
    told(legs, START)
    answer(orders, "TWO", states.IN_DOUBT)
    assert told(legs, START + 5_000) == [("ONE", "cancel", "post_only", 0.059, False)] and legs.leaving == "unhedged"
    answer(orders, "ONE", states.CANCELLED, 0.02)
    assert told(legs, START + 9_000) == [] and not legs.done
    answer(orders, "TWO", states.FILLED, -0.02)
    assert told(legs, START + 9_000) == [] and legs.done


def test_unknown_prices_and_limits_that_cannot_be_kept_are_refused():
    legs = pair(0.1, 1.0, Orders())
    assert told(legs, START, second=Book((), ())) == [] and legs.leaving == "edge"
    with pytest.raises(UsageError, match="twice the least notional"):
        pair(0.1, 1.0, Orders(), unhedged=10.0)
