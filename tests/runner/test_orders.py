"""Orders: whatever way a venue's words arrive, what is known ends where the venue is; what cannot be true stops everything."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantalpha.errors import ReconcileError
from quantalpha.runner import orders as states
from quantalpha.runner.events import FillEvent, InstructionEvent, OrderUpdateEvent
from quantalpha.runner.orders import Orders, child_id

AT = {"event_time": 0, "recv_time": 0, "symbol": "BTCUSDT"}
PLACED = InstructionEvent(
    **AT, bar=0, client_id="a", parent="p", action="place", kind="limit", quantity=5.0, price=100.0, reduce_only=False
)  # fmt: skip


def told(status: str, filled: float = 0.0, client_id: str = "a", **more) -> OrderUpdateEvent:
    return OrderUpdateEvent(**AT, client_id=client_id, venue_id=more.pop("venue_id", "7"), status=status, filled=filled, **more)


def traded(quantity: float, trade: str | None, client_id: str | None = "a") -> FillEvent:
    return FillEvent(
        **AT, bar=0, client_id=client_id, quantity=quantity, price=100.0, fee=0.0, realised=0.0, reason="order", trade=trade
    )  # fmt: skip


def placed(**changes) -> Orders:
    orders = Orders()
    orders.instruct(replace(PLACED, **changes))
    return orders


@st.composite
def histories(draw):
    """(side, the words of a venue about one order in their true order, its end)."""
    side, parts = draw(st.sampled_from((1.0, -1.0))), draw(st.lists(st.integers(1, 3), max_size=4))
    parts = [part for at, part in enumerate(parts) if sum(parts[: at + 1]) <= 5]
    words, filled = [told(states.OPEN)], 0.0
    for at, part in enumerate(parts):
        filled += side * part
        words += [traded(side * part, str(at)), told(states.PARTLY_FILLED if abs(filled) < 5 else states.FILLED, filled)]
    if abs(filled) < 5:
        ends = [states.CANCELLED, states.EXPIRED] + [states.REJECTED] * (not parts)
        words = ([] if (end := draw(st.sampled_from(ends))) == states.REJECTED else words) + [told(end, filled)]
    return side, words, words[-1]


def fold(orders: Orders, words) -> None:
    for word in words:
        orders.fill(word) if isinstance(word, FillEvent) else orders.update(word)
        assert {each.client_id for each in orders.uncounted()} == {each.client_id for each in orders if each.fills_missing}


@given(histories(), st.data())
def test_any_arrival_ends_in_the_venues_state(history, data):
    """Any permutation, duplication and loss on the way, our own words in between; in the end the venue is asked and tells everything."""
    side, words, end = history
    orders = placed(quantity=side * 5.0)
    arrived = data.draw(st.lists(st.sampled_from(words), max_size=2 * len(words)))
    ours = st.sampled_from([told(states.SENT, venue_id=None), told(states.IN_DOUBT, venue_id=None), "cancel"])
    for word in data.draw(st.permutations([*arrived, *data.draw(st.lists(ours, max_size=3))])):
        if word == "cancel":
            orders.instruct(replace(PLACED, action="cancel", quantity=side * 5.0))
        else:
            fold(orders, [word])
    fold(orders, [*(word for word in words if isinstance(word, FillEvent)), end])
    order = orders["a"]
    assert (order.status, order.filled, order.reported) == (end.status, end.filled, end.filled)
    assert order.final and order.remaining == 0.0 and not order.fills_missing and not orders.unfinished() and not orders.in_doubt()


@given(histories(), st.data())
def test_knowledge_only_moves_forward(history, data):
    side, words, _ = history
    orders, before = placed(quantity=side * 5.0), None
    for word in data.draw(st.lists(st.sampled_from(words), max_size=12)):
        fold(orders, [word])
        order = orders["a"]
        assert before is None or states.RANK[order.status] >= states.RANK[before.status] and abs(order.reported) >= abs(before.reported)
        assert abs(order.committed) <= 5.0 and (not before or abs(order.committed) <= abs(before.committed))
        before = order


@pytest.mark.parametrize("first, then", [
    (told(states.FILLED, 5.0), told(states.CANCELLED, 5.0)),
    (told(states.CANCELLED, 2.0), told(states.EXPIRED, 2.0)),
    (told(states.CANCELLED, 2.0), told(states.CANCELLED, 3.0)),
    (told(states.CANCELLED, 2.0), told(states.CANCELLED, 1.0)),
    (told(states.CANCELLED, 2.0), told(states.PARTLY_FILLED, 3.0)),
    (told(states.PARTLY_FILLED, 3.0), told(states.CANCELLED, 2.0)),
    (told(states.REJECTED), told(states.OPEN)),
    (told(states.OPEN), told(states.REJECTED, 1.0)),
    (told(states.OPEN), told(states.PARTLY_FILLED, 5.1)),
    (told(states.OPEN), told(states.PARTLY_FILLED, -1.0)),
    (told(states.OPEN), told(states.PARTLY_FILLED, float("nan"))),
    (told(states.OPEN), told("new")),
    (told(states.CANCELLED, 0.0), traded(1.0, "1")),
    (told(states.REJECTED), traded(1.0, "1")),
    (traded(4.0, "1"), traded(2.0, "2")),
    (traded(4.0, "1"), told(states.EXPIRED, 3.0)),
    (told(states.OPEN), traded(-1.0, "1")),
    (told(states.OPEN), traded(float("nan"), "1")),
])  # fmt: skip
def test_contradictions_stop_everything(first, then):
    orders = placed()
    fold(orders, [first])
    before = orders["a"]
    with pytest.raises(ReconcileError, match="order a: "):
        fold(orders, [then])
    assert orders["a"] == before


def test_late_and_repeated_words_do_not():
    orders = placed()
    fold(
        orders,
        [told(states.FILLED, 5.0), told(states.OPEN), told(states.PARTLY_FILLED, 3.0), told(states.IN_DOUBT), told(states.FILLED, 5.0)],
    )
    assert orders["a"].status == states.FILLED and orders["a"].fills_missing
    assert orders.fill(traded(5.0, "1")) and not orders.fill(traded(5.0, "1"))
    assert not orders["a"].fills_missing


def test_trades_without_a_name_all_count_and_strangers_count_for_nobody():
    orders = placed()
    assert orders.fill(traded(1.0, None)) and orders.fill(traded(1.0, None)) and orders.fill(traded(9.0, "1", client_id=None))
    assert orders["a"].filled == 2.0
    with pytest.raises(ReconcileError, match="never made here"):
        orders.update(told(states.OPEN, client_id="b"))


def test_an_order_is_placed_once_and_only_known_ones_are_changed():
    orders = placed()
    with pytest.raises(ReconcileError, match="place"):
        orders.instruct(PLACED)
    with pytest.raises(ReconcileError, match="cancel"):
        orders.instruct(replace(PLACED, client_id="b", action="cancel"))


def test_in_flight_is_in_doubt_until_the_venue_has_shown_that_it_knows_the_order():
    orders = placed()
    assert [order.client_id for order in orders.in_doubt()] == ["a"]
    fold(orders, [told(states.SENT, venue_id=None)])
    orders.instruct(replace(PLACED, action="cancel"))  # the place may still be under way
    assert orders.in_doubt() and orders["a"].status == states.CANCELLING and orders["a"].remaining == 5.0
    fold(orders, [traded(1.0, "1")])
    assert not orders.in_doubt() and orders["a"].remaining == 4.0
    fold(orders, [told(states.OPEN)])  # late; the cancellation is still under way
    assert orders["a"].status == states.CANCELLING and orders.unfinished()


def test_a_fill_that_overtakes_the_cancellation_counts():
    orders = placed()
    fold(orders, [told(states.OPEN)])
    orders.instruct(replace(PLACED, action="cancel"))
    fold(orders, [traded(2.0, "1"), told(states.CANCELLED, 3.0)])
    assert (orders["a"].reported, orders["a"].committed) == (3.0, 3.0) and orders["a"].fills_missing
    fold(orders, [traded(1.0, "2")])
    assert not orders["a"].fills_missing


def test_of_an_amendment_the_larger_total_counts_until_the_end():
    orders = placed()
    orders.instruct(replace(PLACED, action="amend", quantity=3.0, price=101.0))
    assert orders["a"].remaining == 5.0 and orders["a"].instruction.price == 101.0 and orders["a"].instruction.action == "place"
    orders.instruct(replace(PLACED, action="amend", quantity=6.0))
    assert orders["a"].remaining == 6.0
    fold(orders, [told(states.FILLED, 3.0)])
    orders.instruct(replace(PLACED, action="amend", quantity=9.0))  # answered after the fill: too late
    assert orders["a"].committed == 3.0


def test_a_stop_that_closes_whatever_is_held_has_no_quantity_of_its_own():
    orders = placed(kind="stop", quantity=0.0)
    fold(orders, [traded(-4.0, "1"), told(states.FILLED, -4.0)])
    assert orders["a"].status == states.FILLED


def test_names_are_short_plain_and_repeatable():
    names = {child_id(parent, purpose, count) for parent in ("x", "y") for purpose in ("limit", "stop") for count in range(9)}
    assert len(names) == 36 and all(len(name) <= 36 and set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for name in names)
    assert child_id("x", "limit", 1) == child_id("x", "limit", 1)


def test_of_those_that_are_over_only_the_last_are_remembered_unless_somebody_counts_them(monkeypatch):
    monkeypatch.setattr(states, "KEPT", 10)
    orders = Orders()
    for number in range(300):
        purpose = ("order", "protection", "flatten")[number % 3]
        name = f"{purpose}{number}"
        parent = "" if number % 3 else "p"
        orders.instruct(replace(PLACED, client_id=name, parent=parent, purpose=purpose))
        if number != 0:  # the first one stays out
            fold(orders, [traded(5.0, name, name), told(states.FILLED, 5.0, name)])
        if number >= 10 and purpose == "protection":
            orders.release([f"protection{number - 9}"])
    kept = [each.client_id for each in orders]
    assert sum(name.startswith("flatten") for name in kept) == 100 and "order0" in kept
    assert sum(not name.startswith("flatten") for name in kept) <= 10 + 1 + 3  # over, still out, not released yet
    assert {each.client_id for parent in ("", "p") for each in orders.of(parent)} == set(kept)
    assert not orders.fill(traded(5.0, "order30", "order30")) and "order30" not in orders  # a trade is never counted twice


def test_an_order_whose_fills_are_missing_is_not_forgotten(monkeypatch):
    monkeypatch.setattr(states, "KEPT", 3)
    orders = Orders()
    for number in range(40):
        name = f"o{number}"
        orders.instruct(replace(PLACED, client_id=name))
        fold(orders, [told(states.FILLED, 5.0, name), *([] if number == 5 else [traded(5.0, name, name)])])
    assert orders["o5"].fills_missing and len(list(orders)) <= 5
    orders.fill(traded(5.0, "o5", "o5"))
    assert not orders["o5"].fills_missing
