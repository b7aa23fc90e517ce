"""The maintained book: Binance's own rules for keeping one, and what may go wrong with its numbering."""

import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantalpha.market.ticks.book import Book, Side
from quantalpha.market.ticks.messages import FETCHED, STREAMED, Depth


def change(first: int, last: int, previous: int, bids=(), asks=()) -> Depth:
    return Depth("BTCUSDT", last, last, first, last, previous, list(bids), list(asks))


def snapshot(last: int, bids=(("100", "1"),), asks=(("101", "2"),), kind=FETCHED) -> Depth:
    return Depth("BTCUSDT", last, last, last, last, last, list(bids), list(asks), kind)


LEVELS = st.lists(st.tuples(st.integers(1, 30).map(lambda tick: f"{tick / 10:.1f}"), st.sampled_from(["0", "1", "2.5", "0.001"])))


@given(st.lists(LEVELS), st.sampled_from([-1, 1]))
def test_a_side_is_a_mapping_read_in_order(messages, sign):
    side, plain = Side(sign), {}
    for levels in messages:
        side.update(levels)
        for price, amount in levels:
            plain[float(price)] = float(amount)
    plain = sorted(((price, amount) for price, amount in plain.items() if amount), key=lambda level: sign * level[0])
    prices, amounts = side.top(40)
    assert list(zip(prices, amounts))[: len(plain)] == plain
    assert all(math.isnan(price) for price in prices[len(plain) :]) and not any(amounts[len(plain) :])


def test_changes_wait_for_the_snapshot_and_join_on_to_it():
    book = Book("BTCUSDT")
    waiting = [change(5, 8, 4, [("90", "9")]), change(9, 12, 8, [("100", "3")]), change(13, 15, 12, asks=[("101", "0"), ("102", "7")])]
    assert [book.apply(each) for each in waiting] == ["waiting"] * 3
    assert book.apply(snapshot(11)) == "applied" and book.synced and book.last == 15
    assert book.bids.top(1) == ([100.0], [3.0])
    assert 90.0 not in [-key for key in book.bids.keys]  # ended before the snapshot: dropped
    assert book.asks.top(1) == ([102.0], [7.0])


def test_a_snapshot_older_than_the_first_change_does_not_join():
    book = Book("BTCUSDT")
    book.apply(change(9, 12, 8))
    assert book.apply(snapshot(7)) == "gap" and not book.synced
    assert book.apply(snapshot(10)) == "applied" and book.last == 12


def test_numbers_of_other_symbols_between_two_changes_are_no_hole():
    book = Book("BTCUSDT")
    book.apply(change(20, 22, 8, [("100", "5")]))
    assert book.apply(snapshot(15)) == "applied" and book.bids.top(1) == ([100.0], [5.0])  # nothing of this book lies in 9..19


def test_a_hole_voids_the_book_until_a_new_snapshot():
    book = Book("BTCUSDT")
    book.apply(snapshot(10))
    assert book.apply(change(11, 12, 10)) == "applied"
    assert book.apply(change(11, 12, 10)) == "old"  # sent twice
    assert book.apply(change(20, 21, 19, [("99", "4")])) == "gap" and not book.synced
    assert book.apply(change(22, 23, 21, [("98", "1")])) == "waiting"
    assert book.apply(snapshot(20)) == "applied" and book.last == 23
    assert book.bids.top(3) == ([100.0, 99.0, 98.0], [1.0, 4.0, 1.0])


def test_a_snapshot_in_the_stream_replaces_everything():
    book = Book("BTCUSDT")
    book.apply(snapshot(1_000))
    book.apply(change(2_000, 2_001, 1_999))
    assert book.apply(snapshot(1, [("50", "1")], [("51", "1")], STREAMED)) == "applied"  # Bybit's numbers begin again after a restart
    assert book.synced and book.apply(change(2, 2, 1, [("50", "0"), ("49", "2")])) == "applied"
    assert book.bids.top(1) == ([49.0], [2.0])


def test_a_crossed_book_is_known():
    book = Book("BTCUSDT")
    book.apply(snapshot(1))
    assert not book.crossed()
    book.apply(change(2, 2, 1, [("101", "1")]))
    assert book.crossed()


@given(st.data())
def test_whatever_is_dropped_doubled_or_late_a_book_in_step_is_the_exchanges(data):
    """Changes are lost, doubled and swapped at random; snapshots come at random moments: a synced book equals the exchange's at `last`."""
    length = data.draw(st.integers(1, 25))
    truth, state, messages = {0: ({}, {})}, ({}, {}), []
    for n in range(1, length + 1):
        bids, asks = data.draw(LEVELS), [(f"{float(price) + 10:.1f}", amount) for price, amount in data.draw(LEVELS)]
        state = tuple({**side, **{float(p): float(q) for p, q in levels}} for side, levels in zip(state, (bids, asks)))
        truth[n] = tuple({p: q for p, q in side.items() if q} for side in state)
        messages.append(change(n, n, n - 1, bids, asks))
    order = data.draw(st.lists(st.integers(0, length - 1), max_size=2 * length))
    book = Book("BTCUSDT")
    for place in order:
        if data.draw(st.booleans()):
            at = data.draw(st.integers(0, length))
            book.apply(snapshot(at, truth[at][0].items(), truth[at][1].items()))
        book.apply(messages[place])
        if book.synced:
            assert ({-key: q for key, q in book.bids.quantity.items()}, book.asks.quantity) == truth[book.last]
            assert len(book.bids.keys) == len(book.bids.quantity) and book.asks.keys == sorted(book.asks.quantity)


@st.composite
def streams(draw):
    """Changes as Binance sends them, of several updates each and with numbers of other symbols between; the book after every number."""
    state, truth, messages, number = ({}, {}), {0: ({}, {})}, [], 0
    for _ in range(draw(st.integers(1, 8))):
        previous, number = number, number + draw(st.integers(0, 3))
        first = number + 1
        changed = ({}, {})
        for number in range(previous + 1, first + draw(st.integers(0, 5))):
            for side, add in (0, 0.0), (1, 10.0):
                levels = {float(price) + add: float(amount) for price, amount in draw(LEVELS)} if number >= first else {}
                state[side].update(levels)
                changed[side].update(levels)
            truth[number] = tuple({price: amount for price, amount in side.items() if amount} for side in state)
        messages.append(change(first, number, previous, changed[0].items(), changed[1].items()))
    return messages, truth


@given(streams(), st.data())
def test_wherever_a_snapshot_falls_an_undisturbed_line_has_no_gap(stream, data):
    """It is as of any number the stream has come to, mostly inside a change (U <= L < u), and answered before or after that one."""
    messages, truth = stream
    asked = data.draw(st.integers(1, len(messages)), label="changes received when it is answered")
    late = min(asked, len(messages) - 1)
    at = data.draw(st.integers(messages[0].previous, messages[late].last), label="L")
    book = Book("BTCUSDT")
    assert [book.apply(each) for each in messages[:asked]] == ["waiting"] * asked
    assert book.apply(snapshot(at, truth[at][0].items(), truth[at][1].items())) == "applied"
    verdicts = [book.apply(each) for each in messages[asked:]]
    assert set(verdicts) <= {"applied", "old"} and book.synced
    if at <= messages[-1].last:
        assert book.last == messages[-1].last
        assert ({-key: q for key, q in book.bids.quantity.items()}, book.asks.quantity) == truth[book.last]


def test_the_first_change_after_a_snapshot_by_rest_reaches_back_to_it_and_the_next_follow_exactly():
    book = Book("BTCUSDT")
    book.apply(change(91, 100, 90))
    assert book.apply(snapshot(105)) == "applied"
    assert book.apply(change(101, 104, 100)) == "old"
    assert book.apply(change(105, 110, 104, [("100", "7")])) == "applied" and book.bids.top(1) == ([100.0], [7.0])
    assert book.apply(change(109, 115, 108)) == "gap"  # once joined, `pu` is the `u` before
    assert book.apply(snapshot(120)) == "applied"
    assert book.apply(change(125, 130, 124)) == "gap"  # 121 to 124 were missed


def test_a_snapshot_in_the_stream_is_followed_exactly():
    book = Book("BTCUSDT")
    book.apply(snapshot(105, kind=STREAMED))
    assert book.apply(change(101, 110, 100)) == "gap"


@pytest.mark.parametrize(
    "bad", [("x", "1"), ("99",), ("nan", "1"), ("inf", "1"), ("99", "nan"), ("99", "inf"), ("99", "-1"), ("-9", "1"), (None, "1")]
)
@pytest.mark.parametrize("side", ["bids", "asks"])
def test_what_is_no_level_leaves_no_book_behind(bad, side):
    faults = (ValueError, TypeError)
    book = Book("BTCUSDT")
    with pytest.raises(faults):
        book.apply(change(1, 2, 0, **{side: [bad]}))  # while it waits
    assert book.apply(snapshot(10)) == "applied" and book.synced
    with pytest.raises(faults):
        book.apply(change(11, 12, 10, **{side: [("99.5", "1"), bad]}))
    assert not book.synced
    with pytest.raises(faults):
        book.apply(snapshot(12, **{side: [bad]}))
    assert not book.synced and book.apply(snapshot(12)) == "applied" and book.bids.top(2)[0][0] == 100.0


def test_levels_are_taken_as_the_wire_has_them():
    book = Book("BTCUSDT")
    book.apply(snapshot(1, *orjson.loads('[[["61837.60","0.5"]],[["61837.70","1"]]]')))
    book.apply(change(2, 2, 1, orjson.loads('[["61837.6","0"],["61830","2"]]')))
    assert book.bids.top(1) == ([61830.0], [2.0])
