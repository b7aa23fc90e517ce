"""The router against every division there is, and slippage against walking the book by hand."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.errors import UsageError
from quantalpha.runner.events import FillEvent
from quantalpha.runner.execution import Book
from quantalpha.runner.execution.book import walk
from quantalpha.runner.execution.router import Offer, split
from quantalpha.runner.execution.slippage import measured, permitted, predicted

LOT = 0.1
BOOK = Book(((99.0, 1.0), (98.0, 2.0)), ((101.0, 1.0), (102.0, 2.0)))


@st.composite
def offers(draw):
    size = st.integers(0, 30).map(lambda lots: lots * LOT / 2)
    step = st.integers(1, 8).map(lambda ticks: ticks / 4)
    mid = 100.0 + draw(st.integers(-4, 4)) / 2
    sides, gap = [], 0.0
    for way in (-1, 1):
        gap, levels = 0.0, []
        for _ in range(draw(st.integers(1, 4))):
            gap += draw(step)
            levels.append((mid + way * gap, draw(size)))
        sides.append(tuple(levels))
    return Offer(
        Book(*sides),
        fee=draw(st.sampled_from((0.0, 0.0005, 0.02))),
        funding=draw(st.sampled_from((0.0, 0.001, -0.02))),
        position=draw(st.sampled_from((0.0, 1.0, -1.0))),
        most=draw(st.sampled_from((math.inf, 2.0, 0.5))),
        min_notional=draw(st.sampled_from((0.0, 5.0, 60.0))),
    )


def by_hand(quantity: float, offers: tuple[Offer, Offer]) -> tuple[int, float]:
    """(lots placed, cost) of the best of all divisions: most placed first, then cheapest."""
    side, whole = math.copysign(1.0, quantity), round(abs(quantity) / LOT)
    answers = []
    for parts in ((one, other) for one in range(whole + 1) for other in range(whole + 1 - one)):
        costs = [price(offer, part, side) for offer, part in zip(offers, parts)]
        if None not in costs:
            answers.append((-sum(parts), sum(costs)))
    placed, cost = min(answers, key=lambda answer: (answer[0], round(answer[1], 6)))
    return -placed, cost


def price(offer: Offer, lots: int, side: float) -> float | None:
    levels, quantity = offer.book.against(side), lots * LOT
    taken, money = walk(levels, quantity)
    best = levels[0][0]
    room = min(taken, offer.most - side * offer.position)
    if lots and (quantity > room + 1e-9 or quantity * best < offer.min_notional - 1e-9):
        return None
    return side * money + offer.fee * money + side * offer.funding * money


@settings(max_examples=300)
@given(offers(), offers(), st.integers(1, 40), st.sampled_from((1.0, -1.0)))
def test_the_split_is_the_best_of_all(first, second, lots, side):
    quantity = round(side * lots * LOT, 1)
    found = split(quantity, first, second, LOT)
    placed, cost = by_hand(quantity, (first, second))
    assert round(abs(found.first + found.second) / LOT) == placed
    assert found.cost == pytest.approx(cost, abs=1e-6)
    assert found.first + found.second + found.unplaced == pytest.approx(quantity)
    assert found.first * side >= 0 and found.second * side >= 0


def test_each_part_of_the_price_turns_the_split():
    cheap, dear = Offer(BOOK, fee=0.0), Offer(BOOK, fee=0.02)
    assert split(1.0, cheap, dear, LOT) == split(1.0, cheap, dear, LOT) and split(1.0, cheap, dear, LOT).first == 1.0
    assert split(1.0, dear, cheap, LOT).second == 1.0
    assert split(1.0, Offer(BOOK, 0.0, funding=0.02), cheap, LOT).second == 1.0  # a long would pay
    assert split(-1.0, Offer(BOOK, 0.0, funding=0.02), cheap, LOT).first == -1.0  # a short receives
    assert split(2.0, cheap, cheap, LOT).first == 1.0  # the second level costs more than the other venue's first
    assert split(-2.0, Offer(BOOK, 0.0, position=1.5, most=0.5), Offer(Book((), ()), 0.0), LOT).first == -2.0  # closing makes room
    assert split(9.0, cheap, cheap, LOT).unplaced == pytest.approx(3.0)
    with pytest.raises(UsageError, match="lot"):
        split(1.0, cheap, cheap, 0.0)


def test_slippage_predicted_by_walking_the_book():
    model = (0.001, 0.0)
    assert predicted(1.0, BOOK, model) == pytest.approx(0.01)
    assert predicted(2.0, BOOK, model) == pytest.approx(0.015)
    assert predicted(-2.0, BOOK, model) == pytest.approx(0.015)
    assert predicted(4.0, BOOK, model) == pytest.approx((101 + 204 + 102 * 1.001) / 400 - 1)
    assert predicted(0.0, BOOK, model) == 0.0 and math.isnan(predicted(1.0, Book((), ()), model))
    quote = Book(((99.9, 1.0),), ((100.1, 1.0),))
    assert predicted(1.0, quote, model) == pytest.approx(0.001)
    assert predicted(4.0, quote, (0.001, 0.0001)) == pytest.approx((100.1 + 3 * 100.1 * (1 + 0.001 + 0.0001 * 20)) / 400 - 1)


@given(st.floats(0.1, 6.0).map(lambda q: round(q, 1)), st.sampled_from((1.0, -1.0)), st.floats(0.0, 0.05))
def test_what_is_permitted_costs_no_more_and_one_lot_more_would(size, side, limit):
    quantity, model = side * size, (0.001, 0.0001)
    cut = permitted(quantity, BOOK, model, limit, LOT)
    assert cut * side >= 0 and abs(cut) <= size
    assert cut == 0.0 or predicted(cut, BOOK, model) <= limit * (1 + 1e-9)
    more = cut + side * LOT
    assert cut == quantity or predicted(more, BOOK, model) > limit * (1 - 1e-9)
    assert permitted(quantity, Book((), ()), model, limit, LOT) == 0.0


def traded(quantity: float, price: float) -> FillEvent:
    return FillEvent(
        event_time=0, recv_time=0, symbol="X", bar=0, client_id="a", quantity=quantity, price=price, fee=0.1, realised=0.0, reason="order"
    )  # fmt: skip


def test_shortfall_is_a_cost_whichever_way_the_order_went():
    bought = measured(3.0, [traded(1.0, 101.0), traded(1.0, 102.0)], reference=100.0, now=105.0)
    assert (bought.filled, bought.price, bought.missed, bought.fees) == (2.0, 3.0, 5.0, 0.2)
    assert bought.fraction == pytest.approx(0.015) and bought.total == pytest.approx(8.2)
    sold = measured(-1.0, [traded(-1.0, 101.0)], reference=100.0, now=90.0)
    assert sold.price == -1.0 and sold.fraction == pytest.approx(-0.01) and sold.missed == 0.0
    assert math.isnan(measured(1.0, [], 100.0, 100.0).fraction)
