"""Executions against a small random venue: nothing is lost, doubled or exceeded, whatever the venue does and whenever we are restarted."""

import math
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_venue import LOT, TICK, SmallVenue, hear

from quantalpha import config
from quantalpha.perp import round_price
from quantalpha.runner import execution
from quantalpha.runner import orders as states
from quantalpha.runner.events import InstructionEvent, OrderUpdateEvent, ValidatedOrderEvent
from quantalpha.runner.execution import ALGORITHMS, Book, Terms, View
from quantalpha.runner.execution.base import REFUSALS
from quantalpha.runner.orders import Orders

STANDARD = config.load().execution
START, STEP = 1_000_000, 200
TERMS = Terms(LOT, TICK, 5.0, (0.0001, 0.0))
CALM = Book(((1000.0, 10.0),), ((1000.2, 10.0),))


def decided(quantity: float) -> ValidatedOrderEvent:
    return ValidatedOrderEvent(
        event_time=START, recv_time=START, symbol="BTCUSDT", bar=0, client_id="qa-parent", quantity=quantity, target=1.0, price=1000.0
    )  # fmt: skip


def made(quantity: float, orders: Orders, algorithm: str, position: float = 0.0, terms: Terms = TERMS, **changes) -> execution.Execution:
    chosen = STANDARD.model_copy(update={"algorithm": algorithm, **changes})
    return execution.of(chosen, decided(quantity), position, terms, orders)


@dataclass
class Run:
    """One order's life against a venue; `sent`: what the venue was told, `ended`: when."""

    venue: SmallVenue
    orders: Orders
    execution: execution.Execution
    sent: list[InstructionEvent] = field(default_factory=list)
    ended: int = 0


def live(run: Run, remake, *, stop_at: int = 0, restart: float = 0.0, longest: int = 1500) -> Run:
    now = START
    for _ in range(longest):
        if run.execution.done:
            break
        now += STEP * run.venue.rng.randint(0, 4)
        hear(run.orders, run.venue.step(now))
        if run.venue.rng.random() < restart:
            run.execution = remake(run.orders)
        if stop_at and now >= stop_at:
            run.execution.stop()
        for instruction in run.execution.act(View(now, run.venue.book, run.venue.traded)):
            check(run, instruction, now)
            run.sent.append(instruction)
            run.venue.tell(instruction)
    run.ended = now
    assert run.execution.done, "it never ends"
    hear(run.orders, run.venue.settled())
    return run


def check(run: Run, told: InstructionEvent, now: int) -> None:
    """What holds whenever the venue is told something; `Orders` has it already."""
    children = run.orders.of("qa-parent")
    wanted = run.execution.order.quantity
    assert sum(not child.final for child in children) <= 1
    committed = math.fsum(child.committed for child in children)
    assert committed * wanted >= 0 and abs(committed) <= abs(wanted) * (1 + 1e-9)
    if told.action == "place":
        assert told.reduce_only or now < run.execution.deadline
        assert told.reduce_only or abs(told.quantity) * run.venue.book.bid >= TERMS.min_notional * (1 - 1e-9)
    if told.action != "cancel" and told.kind == "post_only":
        assert told.price == round_price(run.venue.book.touch(wanted), TICK, wanted)


QUANTITIES = st.integers(1, 400).map(lambda lots: round(lots * LOT, 3))
SIDES = st.sampled_from((1.0, -1.0))


@settings(max_examples=300)
@given(
    algorithm=st.sampled_from(sorted(ALGORITHMS)), size=QUANTITIES, side=SIDES, held=st.sampled_from((0.0, 0.5, 1.0, 2.0)),
    seed=st.integers(0, 2**32), stop_at=st.sampled_from((0, 0, START, START + 7_000, START + 30_000)),
    fallback=st.sampled_from(("market", "cancel")), amends=st.booleans(), restart=st.sampled_from((0.0, 0.2)),
)  # fmt: skip
def test_laws_under_any_interleaving(algorithm, size, side, held, seed, stop_at, fallback, amends, restart):
    quantity, position = side * size, -side * round(size * held, 3)
    remake = lambda orders: made(quantity, orders, algorithm, position, Terms(LOT, TICK, 5.0, (0.0001, 0.0), amends), fallback=fallback)  # noqa: E731
    orders = Orders()
    venue = SmallVenue(random.Random(seed), faults=True, position=position)
    run = live(Run(venue, orders, remake(orders)), remake, stop_at=stop_at, restart=restart)
    traded = venue.lots("qa-parent")
    assert run.execution.filled == pytest.approx(traded * LOT, abs=LOT * 1e-6)
    assert round(run.execution.remaining / LOT) + traded == round(quantity / LOT)
    assert 0 <= traded * side <= round(size / LOT)
    assert not orders.unfinished() and len({told.client_id for told in run.sent if told.action == "place"}) == len(orders.of("qa-parent"))
    if not position:
        assert run.ended <= run.execution.deadline + 60_000  # of a venue that answers within 15 steps


@settings(max_examples=100)
@given(
    algorithm=st.sampled_from(sorted(ALGORITHMS)), size=QUANTITIES, side=SIDES, seed=st.integers(0, 2**32), held=st.sampled_from((0.0, 0.5))
)  # fmt: skip
def test_an_honest_venue_fills_all_of_it_in_time(algorithm, size, side, seed, held):
    quantity, position = side * size, -side * round(size * held, 3)
    remake = lambda orders: made(quantity, orders, algorithm, position)  # noqa: E731
    orders = Orders()
    run = live(Run(SmallVenue(random.Random(seed), faults=False, position=position), orders, remake(orders)), remake)
    assert abs(run.execution.remaining) * run.venue.book.bid < TERMS.min_notional  # less than the venue takes
    assert run.ended <= run.execution.deadline + 1_000


def asked(execution, time: int, book: Book = CALM, traded: float = math.nan) -> list[tuple]:
    return [(i.action, i.kind, i.quantity, i.price, i.reduce_only) for i in execution.act(View(time, book, traded))]


def answer(orders: Orders, status: str, filled: float = 0.0) -> None:
    name = list(orders)[-1].client_id
    orders.update(OrderUpdateEvent(event_time=0, recv_time=0, symbol="BTCUSDT", client_id=name, venue_id="1", status=status, filled=filled))


def test_what_closes_goes_first_and_cannot_turn_the_position():
    orders = Orders()
    turn = made(-0.3, orders, "market", position=0.1)
    assert asked(turn, START) == [("place", "market", -0.1, None, True)]
    assert asked(turn, START) == []
    answer(orders, states.FILLED, -0.1)
    assert asked(turn, START) == [("place", "market", -0.2, None, False)]
    answer(orders, states.FILLED, -0.2)
    assert asked(turn, START) == [] and turn.done and turn.remaining == 0.0


def test_limit_follows_the_touch_and_waits_for_the_last_word_on_a_cancellation():
    orders = Orders()
    limit = made(0.3, orders, "limit")
    assert asked(limit, START) == [("place", "post_only", 0.3, 1000.0, False)]
    answer(orders, states.OPEN)
    assert asked(limit, START + 5_000) == []  # it is the touch
    higher = Book(((1000.5, 1.0),), ((1000.7, 1.0),))
    assert asked(limit, START + 4_999, higher) == []
    assert asked(limit, START + 5_000, higher) == [("cancel", "post_only", 0.3, 1000.0, False)]
    assert asked(limit, START + 6_000, higher) == []
    assert asked(limit, START + 10_000, higher) == [("cancel", "post_only", 0.3, 1000.0, False)]  # no answer: asked again
    answer(orders, states.CANCELLED, 0.1)  # a fill overtook it
    assert asked(limit, START + 10_000, higher) == [("place", "post_only", 0.2, 1000.5, False)]
    answer(orders, states.OPEN)
    assert asked(limit, START + 30_000, higher) == [("cancel", "post_only", 0.2, 1000.5, False)]
    answer(orders, states.CANCELLED)
    assert asked(limit, START + 30_000, higher) == [("place", "market", 0.2, None, False)]


def test_limit_gives_up_where_it_is_told_to_and_amends_where_it_may():
    orders = Orders()
    limit = made(0.3, orders, "limit", terms=Terms(LOT, TICK, 5.0, (0.0, 0.0), amends=True), fallback="cancel")
    asked(limit, START)
    answer(orders, states.OPEN)
    higher = Book(((1000.5, 1.0),), ((1000.7, 1.0),))
    assert asked(limit, START + 5_000, higher) == [("amend", "post_only", 0.3, 1000.5, False)]
    assert asked(limit, START + 6_000, CALM) == []
    assert asked(limit, START + 30_000, higher) == [("cancel", "post_only", 0.3, 1000.5, False)]
    answer(orders, states.CANCELLED)
    assert asked(limit, START + 30_000, higher) == [] and limit.done and limit.remaining == 0.3


def test_twap_slices_add_up_exactly_and_catch_up():
    orders = Orders()
    twap, sent = made(1.0, orders, "twap", slices=3), []
    for second in (0, 5, 45, 59):  # the second slice is missed
        sent += asked(twap, START + second * 1_000)
        if list(orders)[-1].status == states.INTENDED:
            answer(orders, states.FILLED, list(orders)[-1].quantity)
    assert [told[2] for told in sent] == [0.333, 0.667] and twap.done


@pytest.mark.parametrize("quantity, slices", [(0.012, [0.006, 0.006]), (0.009, [0.009]), (0.004, [])])
def test_twap_never_sends_nor_leaves_less_than_the_venue_takes(quantity, slices):
    orders = Orders()
    twap, sent = made(quantity, orders, "twap"), []
    for second in range(60):
        sent += asked(twap, START + second * 1_000)
        if sent and not list(orders)[-1].final:
            answer(orders, states.FILLED, list(orders)[-1].quantity)
    assert [told[2] for told in sent] == slices and twap.done


def test_adaptive_waits_for_volume_and_spread_and_crosses_when_late():
    orders, wide = Orders(), Book(((1000.0, 10.0),), ((1003.0, 10.0),))
    adaptive = made(-1.0, orders, "adaptive")
    assert asked(adaptive, START, CALM, 0.0) == []
    assert asked(adaptive, START, wide, 5.0) == []
    assert asked(adaptive, START, CALM, 5.0) == [("place", "post_only", -0.5, 1000.2, False)]
    answer(orders, states.OPEN)
    assert asked(adaptive, START + 1_000, wide, 6.0) == [("cancel", "post_only", -0.5, 1000.2, False)]
    answer(orders, states.CANCELLED)
    assert asked(adaptive, START + 30_000, CALM, 7.0) == [("place", "market", -0.7, None, False)]  # behind an even pace
    answer(orders, states.FILLED, -0.7)
    assert asked(adaptive, START + 55_000, wide, 7.0) == [("place", "market", -0.3, None, False)]


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_nothing_opens_at_a_price_that_is_not_known(algorithm):
    for book in (Book((), ()), Book(((math.nan, 1.0),), ((1000.0, 1.0),)), Book(((1000.1, 1.0),), ((1000.0, 1.0),))):
        execution = made(0.3, Orders(), algorithm)
        assert asked(execution, START, book, 100.0) == [] and asked(execution, execution.deadline, book, 100.0) == []
        assert execution.done and execution.remaining == 0.3


def test_a_position_is_closed_at_any_price():
    assert asked(made(-0.3, Orders(), "market", position=0.3), START, Book((), ())) == [("place", "market", -0.3, None, True)]


def test_what_would_slip_too_far_is_cut_and_waits():
    thin = Book(((999.9, 0.1), (900.0, 10.0)), ((1000.1, 0.1), (1100.0, 10.0)))
    orders = Orders()
    market = made(1.0, orders, "market")
    ((_, _, quantity, *_),) = asked(market, START, thin)
    assert 0.1 <= quantity < 0.12
    answer(orders, states.FILLED, quantity)
    assert asked(market, market.deadline, thin) == [] and market.done and market.remaining == pytest.approx(1.0 - quantity)


def test_refusals_end_it_and_are_not_hammered():
    orders = Orders()
    market = made(-0.3, orders, "market", position=0.3)
    for number in range(REFUSALS):
        assert len(asked(market, START + 1_000 * number)) == 1
        answer(orders, states.REJECTED)
        assert asked(market, START + 1_000 * number + 999) == []
    assert asked(market, START + 60_000) == [] and market.done


def test_an_order_nobody_answers_for_is_never_replaced():
    orders = Orders()
    market = made(0.3, orders, "market")
    asked(market, START)
    answer(orders, states.IN_DOUBT)
    market.stop()
    assert asked(market, START + 3_600_000) == [] and not market.done
    answer(orders, states.REJECTED)  # the venue never had it
    assert asked(market, START + 3_600_000) == [] and market.done


@given(quantity=st.integers(-50, 50).filter(lambda lots: abs(lots) > 5))
def test_what_an_order_is_expected_to_lose_stands_in_its_instruction(quantity):
    for algorithm in ("market", "limit"):
        (told,) = made(quantity * LOT, Orders(), algorithm).act(View(START, CALM))
        half = 0.1 / 1000.1
        assert told.predicted == pytest.approx(half if algorithm == "market" else -half)
