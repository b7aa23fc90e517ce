"""An order shared out over two legs: they add up to what was decided, none turns against it, and each gets what it takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantalpha.runner.execution.book import Book
from quantalpha.runner.execution.router import Offer
from quantalpha.runner.execution.routing import routed
from quantalpha.runner.legs import together
from quantalpha.runner.views import AccountView, Position

LOT = 0.001
NONE = Book((), ())
lots = st.integers(-500, 500)


def book(bid: float = 100.0, depth: float = 10.0) -> Book:
    return Book(((bid, depth),), ((bid + 0.1, depth),))


def offer(position: float = 0.0, fee: float = 0.0005, **changes) -> Offer:
    return Offer(**{"book": book(), "fee": fee, "position": position} | changes)


books = st.sampled_from([NONE, book(), book(99.0), book(100.0, 0.05), book(103.0, 0.2)])
offers = st.builds(
    Offer,
    book=books,
    fee=st.sampled_from([0.0, 0.0005]),
    funding=st.sampled_from([-0.001, 0.0, 0.002]),
    position=lots.map(lambda count: count * LOT),
    min_notional=st.sampled_from([0.0, 5.0]),
)


@given(first=offers, second=offers, change=lots)
def test_law_the_legs_add_up_and_none_stands_against_the_whole(first, second, change):
    one, other = routed(change * LOT, (first, second), LOT)
    wanted = first.position + second.position + change * LOT
    legs = [first.position + one, second.position + other]
    assert all(leg * wanted >= -1e-9 for leg in legs)
    opens = abs(wanted) > sum(abs(each.position) for each in (first, second) if each.position * wanted > 0.0) + 1e-9
    if first.book.sound or second.book.sound or not opens:
        assert sum(legs) == pytest.approx(wanted, abs=1e-9)
    for before, after, venue in ((first.position, legs[0], first), (second.position, legs[1], second)):
        assert venue.book.sound or abs(after) <= abs(before) + 1e-9, "opened where nobody sees a price"


def test_it_opens_where_it_is_cheaper_and_closes_what_is_held():
    assert routed(1.0, (offer(), offer(fee=0.0001)), LOT) == (0.0, 1.0)
    assert routed(1.0, (offer(), offer(funding=-0.001)), LOT) == (0.0, 1.0)
    assert routed(1.0, (offer(), offer(book=book(99.0))), LOT) == (0.0, 1.0)
    assert routed(-1.0, (offer(1.0), offer(book=book(103.0))), LOT) == (-1.0, 0.0), "closed where it is held, whatever others pay"
    assert routed(-1.0, (offer(1.0), offer(0.5, fee=0.0)), LOT) == (-0.5, -0.5)
    assert routed(-3.0, (offer(1.0), offer(0.5, fee=0.0)), LOT) == (-1.0, -2.0), "turned: both are closed, the rest goes to the cheaper"
    assert routed(-0.5, (offer(1.0), offer(-0.5)), LOT) == (-1.0, 0.5), "flat is flat at both"


def test_what_a_book_does_not_show_and_margin_does_not_allow():
    shallow = book(99.0, 0.4)
    assert routed(1.0, (offer(), offer(book=shallow)), LOT) == (0.6, 0.4)
    assert routed(1.0, (offer(book=shallow), offer(book=shallow)), LOT) == (0.6, 0.4)
    assert routed(1.0, (offer(most=0.3), offer(book=NONE)), LOT) == (0.3, 0.0)
    assert routed(-1.0, (offer(0.4, book=NONE), offer(0.6, book=NONE)), LOT) == (-0.4, -0.6)


def test_limits_see_the_legs_as_one_position():
    legs = {"BTCUSDT": Position(1.0, 90.0, 100.0, 60.0), "BTCUSDT@bybit": Position(0.5, 110.0, 100.0, 80.0)}
    seen = together(AccountView(1000.0, legs | {"ETHUSDT": Position(mark=5.0)}, pending={"BTCUSDT@bybit": 0.25, "BTCUSDT": 0.5}))
    whole = seen.position("BTCUSDT")
    assert (whole.quantity, whole.mark, whole.liquidation_price) == (1.5, 100.0, 80.0)
    assert whole.unrealised == pytest.approx(5.0) and seen.pending == {"BTCUSDT": 0.75}
    assert seen.quantity("ETHUSDT") == 0.0 and set(seen.positions) == {"BTCUSDT", "ETHUSDT"}
