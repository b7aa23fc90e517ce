"""The money of an account: laws that hold for any orders on any tape, and perp's numbers for funding and liquidation."""

from decimal import Decimal
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha import perp
from quantalpha.practice import Tape
from quantalpha.practice.account import Account
from quantalpha.practice.candles import LOW
from quantalpha.practice.orders import BUY, SELL, Order, Rejected, Trigger, exact

from .support import HOUR
from .test_matching import BTC, D, refused
from .trading import Session, adds_up, desk_at

ETH = "ETHUSDT"
SYMBOLS = (BTC, ETH)


def crash(tape, symbol=BTC):
    """Open time of the bar that falls furthest."""
    instrument = tape.instruments[symbol]
    return int(instrument.times[np.argmin(instrument.last.rows[:, LOW] / instrument.last.rows[:, 0])])


def loaded(tape, side, leverage, mode="cross", *, share=0.97, before=2):
    """A session with a position as large as its margin allows, opened a few hours before the crash."""
    session, desk = desk_at(tape, crash(tape) - before * HOUR)
    if mode == "isolated":
        desk.set_margin_mode(BTC, mode)
    desk.set_leverage(BTC, leverage)
    best = desk.view.best(BTC, side)
    quantity = (desk.margins.available * leverage * D(share) / best / (1 + leverage * desk.account.fees[1])).quantize(Decimal("0.001"))
    desk.place(Order(BTC, side, quantity))
    return session, desk


def perps_price(desk, symbol=BTC):
    position, setting = desk.account.position(symbol), desk.account.setting(symbol)
    table = perp.brackets_for(symbol, pd.Timestamp(desk.time, unit="ms"))
    terms = perp.Account(1.0, leverage=float(setting.leverage), margin_mode=setting.margin_mode, brackets=table)
    return perp.liquidation_price(float(position.quantity), float(position.entry_price), float(desk.account.wallet), terms)


@pytest.mark.parametrize("mode", ["cross", "isolated"])
def test_a_liquidation_closes_at_perps_price_and_takes_no_more_than_there_is(tape, mode):
    session, desk = loaded(tape, BUY, 20, mode)
    expected, margin = perps_price(desk), desk.account.isolated_margin(BTC)
    assert float(desk.margins.liquidation_price(BTC)) == pytest.approx(expected, abs=1e-7)
    wallet = desk.account.wallet
    desk = session.wait(4)
    [closing] = [order for order in desk.records.orders.values() if order.ended_by == "liquidation"]
    fill = desk.records.fills[-1]
    assert fill.order_id == closing.id and not desk.account.position(BTC).quantity
    assert float(fill.price) == pytest.approx(expected, abs=1e-7)
    mark = tape.instruments[BTC].mark.price(fill.time)
    assert mark <= expected and closing.client_id.startswith("autoclose-")
    assert desk.account.wallet >= 0 and adds_up(desk.account)
    if mode == "isolated":
        assert wallet - margin <= desk.account.wallet < wallet
    fee = [each.amount for each in desk.account.incomes if each.kind == "INSURANCE_CLEAR"]
    assert len(fee) == 1 and -fee[0] <= perp_fee(fill)


def perp_fee(fill):
    return Decimal("0.0125") * fill.quantity * fill.price + Decimal("1e-8")


def test_an_owner_is_warned_once_before_the_end(tape):
    session, desk = loaded(tape, BUY, 20)
    kinds = [(change.kind, change.reason) for change in session.wait(4).records.changes]
    assert kinds.count(("margin_call", "cross")) == 1
    ended = [change.order is not None and change.order.ended_by == "liquidation" for change in desk.records.changes]
    assert kinds.index(("margin_call", "cross")) < ended.index(True)


def test_a_stop_before_the_liquidation_price_saves_the_rest(tape):
    session, desk = loaded(tape, BUY, 5)
    level = (desk.view.mark(BTC) * Decimal("0.97")).quantize(Decimal("0.1"))
    desk.place(Order(BTC, SELL, D(0), reduce_only=True, close_position=True, trigger=Trigger(level, -1, "mark")))
    desk = session.wait(4)
    assert not desk.account.held() and desk.account.wallet > 7_000
    assert all(each.kind != "INSURANCE_CLEAR" for each in desk.account.incomes)


def test_cross_positions_stand_and_fall_together(tape):
    """Two longs on one wallet: the crash of one asset takes both down when their equity no longer covers both maintenances, not before."""
    session, desk = two_longs(tape)
    assert len(desk.account.held()) == 2 and not desk.margins.short
    desk = session.wait(3)
    first = next(order for order in desk.records.orders.values() if order.ended_by == "liquidation")
    _, other = two_longs(tape)
    other.advance(first.created - 60_000)
    assert len(other.account.held()) == 2 and not other.margins.short
    assert desk.account.wallet >= 0 and adds_up(desk.account)


def two_longs(tape):
    session, desk = desk_at(tape, crash(tape) - HOUR)
    for symbol, share in ((BTC, 0.6), (ETH, 0.3)):
        desk.place(Order(symbol, BUY, (10_000 * 18 * D(share) / desk.view.best(symbol, BUY)).quantize(Decimal("0.001"))))
    return session, desk


def test_funding_is_paid_on_what_is_held_at_the_settlement(tape):
    session, desk = desk_at(tape)
    each = tape.instruments[BTC]
    desk.place(Order(BTC, SELL, D("0.3")))
    opened, first = desk.time, each.settled(desk.time)
    desk = session.wait(80)
    paid = [income for income in desk.account.incomes if income.kind == "FUNDING_FEE"]
    due = range(first, each.settled(desk.time))
    assert opened < paid[0].time and [income.time for income in paid] == [int(each.funding_times[i]) for i in due if each.funding_rates[i]]
    expected = [0.3 * each.funding_rates[i] * each.funding_marks[i] for i in due if each.funding_rates[i]]
    assert [float(income.amount) for income in paid] == pytest.approx(expected, abs=1e-8)


def test_margin_leverage_and_modes_are_kept(tape):
    _, desk = desk_at(tape)
    last = desk.view.last(BTC)
    assert refused(lambda: desk.place(Order(BTC, BUY, D(9), last - 10))) == "margin"
    desk.place(Order(BTC, BUY, D(5), last - 10))
    assert desk.margins.order_margin(BTC) == (5 * (last - 10) / 20).quantize(Decimal("1e-8"))
    assert refused(lambda: desk.place(Order(BTC, BUY, D(5), last - 10))) == "margin"
    assert desk.place(Order(BTC, SELL, D("4"), last + 500)).open  # the other side asks for nothing more
    assert refused(lambda: desk.set_leverage(BTC, 5)) == "margin"
    assert refused(lambda: desk.set_margin_mode(BTC, "cross")) == "unchanged"
    assert refused(lambda: desk.set_margin_mode(BTC, "isolated")) == "orders_open"
    for order in desk.records.open_orders():
        desk.cancel(order)
    desk.set_leverage(BTC, 125)
    assert refused(lambda: desk.place(Order(BTC, BUY, D(20), last - 10))) == "leverage_bracket"


def test_a_flip_realises_the_old_side_and_opens_the_new_one():
    account = Account(D(1_000), (D("0.0002"), D("0.0005")))
    buy, sell = Order(BTC, BUY, D(3)), Order(BTC, SELL, D(3))
    account.trade(buy, D(100), D("0.1"), maker=True, time=1, id=1)
    account.trade(buy, D(103), D("0.2"), maker=True, time=2, id=2)
    fill = account.trade(sell, D(105), D(1), maker=False, time=3, id=3)
    assert fill.realised == D("0.9") and fill.fee == D("0.0525")
    position = account.position(BTC)
    assert (position.quantity, position.entry_price, position.opened) == (D("-0.7"), D(105), 3)
    assert adds_up(account)


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["market", "limit", "crossing", "reduce", "stop", "cancel", "leverage", "wait", "amend"]),
        st.sampled_from(SYMBOLS),
        st.sampled_from([BUY, SELL]),
        st.floats(0.01, 1.0),
        st.floats(0.001, 0.05),
    ),
    min_size=5,
    max_size=40,
)


def act(session: Session, move) -> None:
    """One request, whatever becomes of it."""
    kind, symbol, side, size, away = move
    desk = session.wait(0.3)
    last, open_orders = desk.view.last(symbol), desk.records.open_orders(symbol)
    quantity = D(round(size * 40_000 / float(last), 3))
    near, far = (exact(float(last) * factor, 1) for factor in (1 - side * away / 10, 1 - side * away))
    orders = {
        "market": lambda: Order(symbol, side, quantity),
        "limit": lambda: Order(symbol, side, quantity, near),
        "crossing": lambda: Order(symbol, side, quantity, 2 * last - near),
        "reduce": lambda: Order(symbol, side, quantity, near, reduce_only=True),
        "stop": lambda: Order(symbol, side, quantity, trigger=Trigger(2 * last - far, side, "mark")),
    }
    if kind in orders:
        desk.place(orders[kind]())
    elif kind == "cancel" and open_orders:
        desk.cancel(open_orders[0])
    elif kind == "amend" and open_orders:
        desk.amend(open_orders[0], quantity, near)
    elif kind == "leverage":
        desk.set_leverage(symbol, 1 + int(size * 49))
    elif kind == "wait":
        session.wait(size * 60)


@settings(max_examples=150, deadline=None)
@given(moves=MOVES, start=st.integers(300, 2_300))
def test_the_books_balance_whatever_is_done(tape: Tape, moves, start):
    """Incomes add up to the wallet to the last digit, fills to the position, reduce-only never grows it, and nobody ends up owing."""
    session, desk = desk_at(tape, int(tape.instruments[BTC].times[start]))
    for move in moves:
        try:
            act(session, move)
        except Rejected:
            continue
    desk = session.wait(48)
    account = desk.account
    assert adds_up(account)
    assert account.wallet >= 0 or account.held()
    for symbol in SYMBOLS:
        fills = [fill for fill in desk.records.fills if fill.symbol == symbol]
        assert account.position(symbol).quantity == sum(fill.side * fill.quantity for fill in fills)
        assert account.position(symbol).realised == sum(fill.realised for fill in fills)
    for order in desk.records.orders.values():
        fills = [fill for fill in desk.records.fills if fill.order_id == order.id]
        assert order.filled == sum(fill.quantity for fill in fills) <= order.quantity
        assert (order.status == "filled") == (order.left == 0)
    _check_reduce_only(desk)
    times = [change.time for change in desk.records.changes]
    assert all(before <= after for before, after in pairwise(times))


def _check_reduce_only(desk) -> None:
    held = dict.fromkeys(SYMBOLS, Decimal(0))
    for fill in desk.records.fills:
        after = held[fill.symbol] + fill.side * fill.quantity
        if desk.records.orders[fill.order_id].reduce_only:
            assert abs(after) < abs(held[fill.symbol]) and after * held[fill.symbol] >= 0
        held[fill.symbol] = after
