"""Orders against the tape: who takes walks the book, who rests waits for trades, triggers and timers meet their exact moment."""

from decimal import Decimal

import numpy as np
import pytest

from quantalpha.practice.candles import CLOSE, TRADES, VOLUME
from quantalpha.practice.desk import ALL
from quantalpha.practice.orders import BUY, SELL, Order, Rejected, Trigger, exact
from quantalpha.practice.path import first_beyond

from .support import HOUR
from .trading import desk_at

BTC = "BTCUSDT"


def D(value) -> Decimal:
    return Decimal(str(value))


def refused(act) -> str:
    with pytest.raises(Rejected) as caught:
        act()
    return caught.value.reason


def trades(instrument, begin, end):
    """(time, price, quantity) of trades [begin, end), from the unfolded bars alone."""
    for number in range(begin, end):
        bar, inside = divmod(number, TRADES)
        rows = instrument.last.unfolded(bar)
        volume = rows[inside, VOLUME] - (rows[inside - 1, VOLUME] if inside else 0.0)
        yield instrument.last.trade_time(number), exact(rows[inside, CLOSE], instrument.digits), exact(volume, instrument.lot_digits)


def test_a_market_order_walks_the_levels_displayed_and_takes_them_away(tape):
    session, desk = desk_at(tape, deposit=5_000_000)
    shown = list(desk.view.displayed(BTC, BUY))
    wanted = shown[0][2] + shown[1][2] + Decimal("0.001")
    order = desk.place(Order(BTC, BUY, wanted))
    assert [(fill.price, fill.quantity) for fill in desk.records.fills] == [shown[0][1:], shown[1][1:], (shown[2][1], Decimal("0.001"))]
    assert order.status == "filled" and order.cost == sum(fill.price * fill.quantity for fill in desk.records.fills)
    assert desk.view.best(BTC, BUY) == shown[2][1]
    assert not any(fill.maker for fill in desk.records.fills)
    later = session.wait(0.02)
    assert list(later.view.displayed(BTC, BUY))[0][2] > 0  # the book has moved and is whole again
    assert len(list(later.view.displayed(BTC, BUY))) == 1000


def test_a_crossing_limit_takes_what_it_reaches_and_rests_with_the_rest(tape):
    _, desk = desk_at(tape, deposit=5_000_000)
    (_, price, quantity), *_ = list(desk.view.displayed(BTC, SELL))
    order = desk.place(Order(BTC, SELL, quantity + 1, price))
    assert order.status == "partially_filled" and order.filled == quantity and order.left == 1
    assert [each.id for each in desk.records.open_orders(BTC)] == [order.id]


def test_times_in_force(tape):
    _, desk = desk_at(tape, deposit=5_000_000)
    (_, price, quantity), *_ = list(desk.view.displayed(BTC, BUY))
    assert refused(lambda: desk.place(Order(BTC, BUY, Decimal(1), price, "GTX"))) == "would_take"
    assert refused(lambda: desk.place(Order(BTC, BUY, quantity + 1, price, "FOK"))) == "unfillable"
    assert not desk.records.orders
    partly = desk.place(Order(BTC, BUY, quantity + 1, price, "IOC"))
    assert (partly.status, partly.filled, partly.ended_by) == ("expired", quantity, "unfilled")
    assert desk.place(Order(BTC, BUY, Decimal(1), price - 100, "GTX")).status == "new"


def test_a_resting_order_fills_as_maker_when_trades_pass_through_its_price(tape):
    session, desk = desk_at(tape)
    each = tape.instruments[BTC]
    price = desk.view.last(BTC) - 40
    begin = each.last.trades_until(desk.time)
    order = desk.place(Order(BTC, BUY, Decimal("0.5"), price))
    assert order.queue == desk.view.standing(BTC, BUY, price)
    passed = first_beyond(each.last, begin, begin + 200 * TRADES, float(price) - 0.05, -1)
    desk = session.wait(200)
    assert order.status == "filled"
    fills = [fill for fill in desk.records.fills if fill.order_id == order.id]
    assert all(fill.maker and fill.price == price for fill in fills)
    assert fills[0].time <= each.last.trade_time(passed)
    moved = {time: quantity for time, at, quantity in trades(each, begin, passed + TRADES) if at <= price}
    assert all(fill.quantity <= moved[fill.time] for fill in fills)


def test_at_its_own_price_an_order_waits_behind_what_stood_there(tape):
    """Whatever trades at the price goes to the queue first; only a trade beyond it, or more than the queue, reaches the order."""
    session, desk = desk_at(tape, deposit=5_000_000)
    ticks, price, shown = list(desk.view.displayed(BTC, SELL))[0]
    order = desk.place(Order(BTC, BUY, Decimal("0.001"), price))
    assert order.queue == shown
    begin = tape.instruments[BTC].last.trades_until(desk.time)
    session.wait(24)
    fill = next(fill for fill in desk.records.fills if fill.order_id == order.id)
    day = list(trades(tape.instruments[BTC], begin, begin + 24 * TRADES))
    before = sum(quantity for time, at, quantity in day if time <= fill.time and at == price)
    beyond = any(time == fill.time and at < price for time, at, _ in day)
    assert beyond or before > shown


def test_a_large_resting_order_fills_trade_by_trade(tape):
    session, desk = desk_at(tape, deposit=1_000_000_000)
    desk.set_leverage(BTC, 2)
    order = desk.place(Order(BTC, BUY, Decimal(9_000), desk.view.last(BTC) - 40))
    session.wait(100)
    fills = [fill for fill in desk.records.fills if fill.order_id == order.id]
    assert len(fills) > 10 and order.filled == sum(fill.quantity for fill in fills)
    assert [fill.time for fill in fills] == sorted(fill.time for fill in fills)


@pytest.mark.parametrize("by", ["last", "mark"])
def test_a_stop_wakes_at_the_exact_trade_and_trades_at_that_moment(tape, by):
    session, desk = desk_at(tape)
    each = tape.instruments[BTC]
    candles = each.mark if by == "mark" else each.last
    desk.place(Order(BTC, BUY, Decimal("0.1")))
    level = desk.view.price(BTC, by) - 300
    begin = each.last.trades_until(desk.time)
    trade = first_beyond(candles, begin, begin + 400 * TRADES, float(level), -1)
    stop = desk.place(Order(BTC, SELL, Decimal("0.1"), reduce_only=True, trigger=Trigger(level, -1, by)))
    desk = session.wait(400)
    assert stop.triggered == each.last.trade_time(trade) == desk.records.fills[-1].time
    assert stop.status == "filled" and not desk.account.position(BTC).quantity


def test_triggers_that_were_reached_already_are_refused(tape):
    _, desk = desk_at(tape)
    last = desk.view.last(BTC)
    assert refused(lambda: desk.place(Order(BTC, SELL, D(1), trigger=Trigger(last + 1, -1)))) == "would_trigger"
    assert refused(lambda: desk.place(Order(BTC, BUY, D(1), trigger=Trigger(last - 1, +1)))) == "would_trigger"


def test_close_position_closes_what_there_is_and_ends_where_there_is_nothing(tape):
    session, desk = desk_at(tape)
    level = desk.view.last(BTC) - 200
    closing = {"reduce_only": True, "close_position": True}
    desk.place(Order(BTC, BUY, D("0.2")))
    first = desk.place(Order(BTC, SELL, D(0), trigger=Trigger(level, -1), **closing))
    second = desk.place(Order(BTC, SELL, D(0), trigger=Trigger(level - 1, -1), **closing))
    desk = session.wait(400)
    assert (first.status, first.filled) == ("filled", D("0.2"))
    assert (second.status, second.ended_by) == ("expired", "reduce_only")


def test_reduce_only_orders_never_open_and_end_with_the_position(tape):
    session, desk = desk_at(tape)
    assert refused(lambda: desk.place(Order(BTC, SELL, D("0.1"), reduce_only=True))) == "reduce_only"
    desk.place(Order(BTC, BUY, D("0.1")))
    resting = desk.place(Order(BTC, SELL, D("0.1"), desk.view.last(BTC) + 5_000, reduce_only=True))
    more = desk.place(Order(BTC, SELL, D("0.5"), reduce_only=True))
    assert (more.status, more.filled) == ("expired", D("0.1"))
    assert not desk.account.position(BTC).quantity
    assert (resting.status, resting.ended_by) == ("expired", "reduce_only")


def test_a_good_till_date_order_expires_at_its_time(tape):
    session, desk = desk_at(tape)
    until = desk.time + 3 * HOUR + 1_000
    order = desk.place(Order(BTC, BUY, D("0.1"), desk.view.last(BTC) - 5_000, "GTD", expires=until))
    assert session.wait(3).records.open_orders()
    session.wait(1)
    assert (order.status, order.updated) == ("expired", until)


def test_the_dead_mans_timer_counts_wall_seconds_and_is_rewound(tape):
    """At a tape hour a second, 10 s of the wall are ten tape hours; the orders go at that moment, however late somebody looks."""
    session, desk = desk_at(tape)
    far = desk.view.last(BTC) - 5_000
    order = desk.place(Order(BTC, BUY, D("0.1"), far))
    stop = desk.place(Order(BTC, SELL, D("0.1"), trigger=Trigger(far, -1)))
    desk.count_down(BTC, 10_000)
    session.wall.seconds += 9
    session.desk.count_down(BTC, 10_000)
    session.wall.seconds += 9
    assert session.desk.records.open_orders(BTC) == [order, stop]
    session.wall.seconds += 20
    begun = desk.time
    assert session.desk.records.open_orders(BTC) == [stop]  # what protects a position stays
    assert (order.status, order.ended_by, order.updated) == ("canceled", "dead_man", begun + HOUR)
    desk.count_down(ALL, 1_000)
    desk.count_down(ALL, 0)
    session.wall.seconds += 5
    again = desk.place(Order(BTC, BUY, D("0.1"), session.desk.view.last(BTC) - 5_000))
    session.wall.seconds += 1
    assert again in session.desk.records.open_orders(BTC)


def test_an_amended_order_keeps_its_place_only_where_it_shrinks(tape):
    _, desk = desk_at(tape)
    price = list(desk.view.displayed(BTC, SELL))[3][1]
    order = desk.place(Order(BTC, BUY, D("0.2"), price))
    order.queue -= D("0.5")
    kept = order.queue
    assert desk.amend(order, D("0.1"), price).queue == kept
    assert desk.amend(order, D("0.15"), price).queue == kept + D("0.5")
    assert refused(lambda: desk.amend(order, D("0.15"), price)) == "unchanged"
    assert desk.amend(order, D("0.15"), desk.view.best(BTC, BUY)).status == "filled"


def test_looking_often_or_seldom_shows_the_same(tape):
    """The records depend on the tape and the requests alone."""

    def play(steps):
        session, desk = desk_at(tape)
        last = desk.view.last(BTC)
        for distance in (30, 80, 200):
            desk.place(Order(BTC, BUY, D("0.3"), last - distance))
            desk.place(Order(BTC, SELL, D("0.3"), last + distance))
        desk.place(Order("ETHUSDT", BUY, D(5)))
        desk.place(
            Order("ETHUSDT", SELL, D(0), reduce_only=True, close_position=True, trigger=Trigger(desk.view.mark("ETHUSDT") - 20, -1, "mark"))
        )
        for step in steps:
            session.wait(step)
        return desk.records.changes, desk.account.incomes

    assert play([150]) == play([0.37] * 405 + [0.15]) == play(np.full(30, 5).tolist())


def test_orders_too_many_twice_named_or_unknown_are_refused(tape):
    _, desk = desk_at(tape)
    far = desk.view.last(BTC) - 5_000
    order = desk.place(Order(BTC, BUY, D("0.001"), far, client_id="one"))
    assert refused(lambda: desk.place(Order(BTC, BUY, D("0.001"), far, client_id="one"))) == "duplicate"
    desk.cancel(order)
    assert refused(lambda: desk.cancel(order)) == "unknown"
    assert desk.place(Order(BTC, BUY, D("0.001"), far, client_id="one")).open
    for _ in range(10):
        desk.place(Order(BTC, SELL, D("0.001"), trigger=Trigger(far, -1)))
    assert refused(lambda: desk.place(Order(BTC, SELL, D("0.001"), trigger=Trigger(far, -1)))) == "too_many_conditional"
