"""Protection: a position is never held without an order out that ends it, and nothing rests for what is no longer held."""

import math
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantalpha.perp import Stops
from quantalpha.runner import orders as states
from quantalpha.runner.events import FillEvent, InstructionEvent, OrderUpdateEvent
from quantalpha.runner.execution import Book
from quantalpha.runner.orders import Orders
from quantalpha.runner.protection import AGAIN, SETTLES, Need, Protection, exit_reason, levels
from quantalpha.runner.views import Position


def book(price: float) -> Book:
    return Book(((price - 0.1, 1.0),), ((price + 0.1, 1.0),))


@dataclass
class Desk:
    """A position of whole units, its protection, and a venue that does what a test tells it to."""

    orders: Orders = field(default_factory=Orders)
    quantity: int = 0
    price: float = 1000.0
    time: int = 1_000
    opened: int = 0
    wanted: dict[str, float] = field(default_factory=dict)
    trades: int = 0
    most: float = math.inf

    def __post_init__(self):
        self.restart()

    def restart(self) -> None:
        self.protection = Protection(self.orders, {"BTCUSDT": 0.1}, {"BTCUSDT": self.most})

    def act(self, close: bool = False) -> list[tuple]:
        self.told = self.protection.act(self.time, Need("BTCUSDT", self.quantity, self.opened, self.wanted, close), book(self.price))
        return [(told.action, told.kind, told.quantity, told.price) for told in self.told]

    def hold(self, quantity: int, **wanted: float) -> list[tuple]:
        if quantity * self.quantity <= 0:
            self.opened = self.time
        self.quantity, self.wanted = quantity, wanted
        return self.act()

    def answer(self, instruction: InstructionEvent, status: str) -> None:
        name = instruction.client_id
        filled = self.orders[name].reported if status != states.FILLED else instruction.quantity
        at = {"event_time": self.time, "recv_time": self.time, "symbol": "BTCUSDT", "client_id": name}
        self.orders.update(OrderUpdateEvent(**at, venue_id=name, status=status, filled=filled))

    def fill(self, instruction: InstructionEvent, quantity: float) -> None:
        """Reduce-only: no more than is held."""
        self.trades += 1
        at = {"event_time": self.time, "recv_time": self.time, "symbol": "BTCUSDT", "bar": 0, "client_id": instruction.client_id}
        self.orders.fill(FillEvent(**at, quantity=quantity, price=self.price, fee=0.0, realised=0.0, reason="", trade=str(self.trades)))
        self.quantity += round(quantity)

    def resting(self, kind: str) -> list[float]:
        return [order.remaining for order in self.orders.unfinished() if order.instruction.kind == kind]


def test_a_position_is_protected_at_once_and_its_stop_moved_without_a_gap():
    desk = Desk()
    assert desk.hold(2, stop=980.0, take_profit=1040.0) == [("place", "stop", -2, 980.0), ("place", "take_profit", -2, 1040.0)]
    first, profit = desk.told
    assert first.reduce_only and first.purpose == "protection" and first.parent == "" and desk.act() == []
    desk.answer(first, states.OPEN), desk.answer(profit, states.OPEN)
    assert desk.act() == []
    assert desk.hold(2, stop=990.0, take_profit=1040.0) == [("place", "stop", -2, 990.0)]
    (second,) = desk.told
    assert desk.act() == [] and desk.resting("stop") == [-2, -2]
    desk.answer(second, states.OPEN)
    assert desk.act() == [("cancel", "stop", -2, 980.0)]
    assert desk.act() == []
    desk.time += AGAIN
    assert desk.act() == [("cancel", "stop", -2, 980.0)]  # no answer: asked for again
    assert desk.hold(2, stop=985.0, take_profit=1040.0) == []  # never away from the market


def test_what_was_bought_on_top_is_protected_too():
    desk = Desk()
    desk.hold(1, stop=980.0)
    desk.time += SETTLES
    assert desk.hold(3, stop=975.0) == [("place", "stop", -3, 975.0)]
    desk.answer(desk.told[0], states.OPEN)
    assert desk.act() == []  # the first is not known yet: a cancellation must not overtake it
    assert desk.hold(-1, stop=1020.0) == [("place", "stop", 1, 1020.0)]


def test_a_position_built_of_many_fills_does_not_flood_the_venue_with_stops():
    """Binance takes ten conditional orders of a symbol; a stop that it refuses twice is a market order."""
    desk, most = Desk(), 0
    for quantity in range(1, 61):
        desk.hold(quantity, stop=980.0, take_profit=1040.0)
        most = max(most, len(desk.orders.unfinished()))
        for order in desk.orders.unfinished():
            if quantity % 5 == 0:
                desk.answer(order.instruction, states.CANCELLED if order.status == states.CANCELLING else states.OPEN)
        desk.time += 100
    assert most <= 6 and len(list(desk.orders)) <= 2 * 60 * 100 / SETTLES + 2
    desk.time += SETTLES
    desk.act()
    assert desk.resting("stop")[-1] == -60


def test_after_one_of_both_has_filled_the_other_is_cancelled():
    desk = Desk()
    desk.hold(2, stop=980.0, take_profit=1040.0)
    stop, profit = desk.told
    desk.answer(stop, states.OPEN), desk.answer(profit, states.OPEN)
    desk.answer(stop, states.FILLED)
    assert desk.act() == []  # its trades are still to come: the position is not what it seems
    desk.fill(stop, -2)
    assert desk.act() == [("cancel", "take_profit", -2, 1040.0)]


def test_a_stop_that_would_trigger_at_once_is_a_market_order():
    desk = Desk(price=979.0)
    assert desk.hold(2, stop=980.0) == [("place", "market", -2, None)]
    assert desk.told[0].reduce_only and desk.act() == []
    desk.answer(next(iter(desk.orders)).instruction, states.REJECTED)
    assert desk.act() == []
    desk.time += AGAIN
    assert desk.act() == [("place", "market", -2, None)]


def test_a_stop_that_is_refused_twice_is_a_market_order():
    desk = Desk()
    desk.hold(-2, stop=1020.0)
    desk.answer(desk.told[0], states.REJECTED)
    assert desk.act() == [("place", "stop", 2, 1020.0)]
    desk.answer(desk.told[0], states.REJECTED)
    assert desk.act() == [("place", "market", 2, None)]


def test_a_take_profit_already_reached_and_a_time_stop_close_at_market():
    assert Desk(price=1041.0).hold(2, stop=980.0, take_profit=1040.0) == [("place", "market", -2, None)]
    desk = Desk()
    desk.hold(2, stop=980.0)
    assert desk.act(close=True) == [("place", "market", -2, None)]


def test_a_stop_taken_away_from_outside_is_placed_again():
    desk = Desk()
    desk.hold(2, stop=980.0)
    desk.answer(desk.told[0], states.OPEN), desk.answer(desk.told[0], states.CANCELLED)
    assert desk.act() == []  # who cancels each at once is not answered by a flood
    desk.time += AGAIN
    assert desk.act() == [("place", "stop", -2, 980.0)]


def test_a_restart_knows_its_orders_by_their_names():
    desk = Desk()
    desk.hold(2, stop=980.0)
    desk.answer(desk.told[0], states.OPEN)
    desk.restart()
    desk.time += SETTLES
    assert desk.act() == [] and desk.hold(3, stop=980.0) == [("place", "stop", -3, 980.0)]


def test_seconds_without_a_stop_are_counted():
    desk = Desk()
    assert desk.protection.exposed(0) == 0.0
    desk.hold(2, stop=980.0)
    desk.time += 2_500
    desk.act()
    assert desk.protection.exposed(desk.time) == 2.5
    desk.answer(next(iter(desk.orders)).instruction, states.OPEN)
    desk.act()
    assert desk.protection.exposed(desk.time + 9_000) == 0.0 and desk.protection.longest == 2_500


LONG = Position(2.0, 1000.0, 1010.0)
SHORT = Position(-2.0, 1000.0, 990.0)


@pytest.mark.parametrize("position, stops, distance, best, wanted", [
    (LONG, Stops(stop_loss=0.02), 0.02, 1050.0, {"stop": 980.0}),
    (SHORT, Stops(stop_loss=0.02), 0.02, 950.0, {"stop": 1020.0}),
    (LONG, Stops(), 0.5, 1000.0, {"stop": 500.0}),
    (LONG, Stops(trailing_stop=0.02), 0.1, 1050.0, {"stop": 1029.0}),
    (SHORT, Stops(trailing_stop=0.02), 0.1, 950.0, {"stop": 969.0}),
    (LONG, Stops(trailing_stop=0.1), 0.02, 1050.0, {"stop": 980.0}),
    (LONG, Stops(take_profit=0.03), 0.02, 1000.0, {"stop": 980.0, "take_profit": 1030.0}),
    (SHORT, Stops(take_profit=0.03), 0.02, 1000.0, {"stop": 1020.0, "take_profit": 970.0}),
])  # fmt: skip
def test_levels(position, stops, distance, best, wanted):
    assert levels(position, stops, distance, best) == pytest.approx(wanted)


@pytest.mark.parametrize("side", [1, -1])
def test_each_exit_is_called_what_it_was(side):
    """A long (and its mirror image) at 1000, its stop fixed at 2 % and trailed, its profit taken at 3 %."""
    desk = Desk()
    at = lambda far: 1000.0 + side * far  # noqa: E731
    desk.hold(side, stop=at(-20.0), take_profit=at(30.0))
    stop, take_profit = desk.told
    close = replace(stop, kind="market", price=None, reference=at(1.0))
    need = Need("BTCUSDT", side, 0, {"stop": at(-20.0), "take_profit": at(30.0)})
    trailed = replace(need, levels=need.levels | {"stop": at(-5.0)})
    called = lambda order, need: exit_reason(order, need, at(-20.0), 0.1)  # noqa: E731
    assert called(stop, trailed) == called(close, need) == "stop_loss"
    assert called(replace(stop, price=at(-5.0)), trailed) == called(close, trailed) == "trailing_stop"
    assert called(take_profit, need) == called(replace(close, reference=at(30.5)), need) == "take_profit"
    assert called(close, replace(need, close=True)) == "time_stop"


def test_what_waits_for_a_trigger_slips_from_there_what_goes_at_once_from_the_mid():
    """Else the way to the stop counts as slippage: 2 % of it, where the fill was a tick away."""
    desk = Desk()
    desk.hold(1, stop=980.0, take_profit=1030.0)
    assert {told.kind: told.reference for told in desk.told} == {"stop": 980.0, "take_profit": 1030.0}
    desk.act(close=True)
    assert [(told.kind, told.reference) for told in desk.told if told.action == "place"] == [("market", 1000.0)]


def protected(desk: Desk) -> bool:
    """A stop or market orders out for all of it, or just made; or trades on their way here, or a market order just refused."""
    if -desk.quantity in desk.resting("stop") or abs(sum(desk.resting("market"))) >= abs(desk.quantity):
        return True
    stops = [order for order in desk.orders if order.instruction.kind == "stop" and order.instruction.quantity * desk.quantity < 0]
    if stops and desk.time - stops[-1].told < (AGAIN if stops[-1].final else SETTLES):
        return True  # it was just made
    closes = [order for order in desk.orders if order.instruction.kind == "market"]
    return any(order.fills_missing for order in desk.orders) or bool(closes) and desk.time - closes[-1].told < AGAIN


MOVES = st.one_of(
    st.tuples(st.just("trade"), st.integers(-3, 3)),
    st.tuples(st.just("price"), st.floats(900.0, 1100.0)),
    st.tuples(st.sampled_from(("time", "time", "restart")), st.integers(0, 2_000)),
    st.tuples(st.sampled_from(("open", "refuse", "execute", "part", "cancel")), st.integers(0, 5)),
)


@settings(max_examples=400)
@given(st.lists(MOVES, max_size=40))
def test_law_whatever_happens_the_whole_position_has_an_order_out_that_ends_it(moves):
    desk, entry = Desk(), 1000.0
    for move, amount in moves:
        before = desk.quantity
        happen(desk, move, amount)
        if desk.quantity * before <= 0 and desk.quantity != before:
            entry, desk.opened = desk.price, desk.time
        side = math.copysign(1.0, desk.quantity)
        desk.wanted = {"stop": entry * (1 - 0.02 * side), "take_profit": entry * (1 + 0.04 * side)}
        desk.act()
        assert desk.quantity == 0 or protected(desk)
        assert all(told.reduce_only and told.quantity * desk.quantity <= 0 for told in desk.told if told.action == "place")
    finish(desk)
    assert desk.quantity == 0 or len(desk.resting("stop")) == 1 or desk.resting("market")
    assert desk.quantity != 0 or not desk.orders.unfinished()


def happen(desk: Desk, move: str, amount: float) -> None:
    live = desk.orders.unfinished()
    order = live[int(amount) % len(live)] if live else None
    if move == "trade":
        desk.quantity += amount
    elif move == "price":
        desk.price = round(amount, 1)
    elif move == "time":
        desk.time += amount
    elif move == "restart":
        desk.restart()
    elif order is not None:
        answer(desk, move, order)


def answer(desk: Desk, move: str, order: states.VenueOrder) -> None:
    can_fill = order.instruction.quantity * desk.quantity < 0 and abs(order.remaining) <= abs(desk.quantity)
    if move == "open":
        desk.answer(order.instruction, states.OPEN)
    elif move == "refuse" and not order.acknowledged:
        desk.answer(order.instruction, states.REJECTED)
    elif move == "cancel" and order.acknowledged:
        desk.answer(order.instruction, states.CANCELLED)
    elif move == "execute" and can_fill and not order.reported:
        desk.answer(order.instruction, states.FILLED)
        desk.act()
        desk.fill(order.instruction, order.instruction.quantity)
    elif move == "part" and can_fill and abs(order.remaining) > 1:
        desk.fill(order.instruction, math.copysign(1.0, order.remaining))


def finish(desk: Desk) -> None:
    """Calm: everything is answered."""
    desk.price = desk.wanted.get("stop", 1000.0) + math.copysign(5.0, desk.quantity)
    for _ in range(6):
        desk.time += AGAIN
        for order in desk.orders.unfinished():
            if order.instruction.kind == "market" and order.instruction.quantity == -desk.quantity and not order.reported:
                answer(desk, "execute", order)
            elif order.instruction.kind == "market":
                answer(desk, "open", order), answer(desk, "cancel", desk.orders[order.client_id])
            else:
                answer(desk, "cancel" if order.status == states.CANCELLING else "open", order)
        desk.act()


def test_a_position_that_no_stop_can_close_is_closed_in_parts():
    desk = Desk(most=4.0)
    desk.restart()
    desk.hold(10, stop=950.0)
    assert desk.act(close=True) == [("place", "market", -4.0, None)]
    assert desk.act(close=True) == [("place", "market", -4.0, None)]
    assert desk.act(close=True) == [("place", "market", -2.0, None)]
    assert desk.act(close=True) == []
