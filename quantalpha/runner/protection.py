"""The stop and the take-profit that rest on the venue for every position: what is needed against what rests, and what to tell the venue.

All are conditional orders that trade at market, reduce-only, for the quantity held. Why so, on Binance (whose conditional orders are "algo
orders") and Bybit alike:
- Binance allows one closePosition order of a kind and side (error -4130), so moving one would leave the position bare in between. Of
  orders with a quantity several may rest: the new stop is placed first, and the old one cancelled when the new one is known to rest.
  Should both trigger, reduce-only lets the second trade nothing.
- Binance counts open reduce-only LIMIT orders against the position, and refuses (-4118) to close it by another order. A take-profit that
  waits for its trigger stands in nobody's way; it pays the taker's fee where the backtest charges the maker's.

`act` is called after every piece of news, like an execution's, and returns instructions already entered in `Orders`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from quantalpha.perp import Stops, in_parts, round_price
from quantalpha.runner import orders as states
from quantalpha.runner.events import InstructionEvent
from quantalpha.runner.execution.book import Book
from quantalpha.runner.orders import DUST, Orders, VenueOrder, child_id
from quantalpha.runner.views import Position

REFUSALS = 2  # of a stop or take-profit, one after the other; then the position is closed at market
AGAIN = 1000  # ms before what was refused or not answered is asked for again
SETTLES = 500  # ms for which an order just made is not followed by another of its kind because more was bought
UNANSWERED = 2000  # ms after which a stop that nobody has answered for gets another beside it; the first of two to trade leaves nothing
RESTS = (states.OPEN, states.PARTLY_FILLED)
STOP, TAKE_PROFIT, CLOSE = "stop", "take_profit", "market"
EXITS = ("stop_loss", "trailing_stop", "take_profit", "time_stop")  # what their fills are called
ENDS = (*EXITS, "flatten", "liquidation")  # fills that take away the position an order was decided for


@dataclass(frozen=True)
class Need:
    """What a position asks for. quantity: signed base units held, 0.0 where none; opened: ms, of the fill that made it; levels: of each
    kind its trigger price, quote currency; close: it is to be closed at market now (a time stop)."""

    symbol: str
    quantity: float
    opened: int
    levels: dict[str, float]
    close: bool = False


def levels(position: Position, stops: Stops, distance: float, best: float) -> dict[str, float]:
    """The triggers of a position, as `perp.clock` has them. distance: of the stop from the entry, a fraction (`stops.stop_loss`, or where
    the model has none the protective one of `risk`); best: best price of the bars closed since the entry, which a trailing stop follows."""
    side = 1.0 if position.quantity > 0 else -1.0
    stop = side * position.entry_price * (1.0 - side * distance)
    if stops.trailing_stop is not None:
        stop = max(stop, side * best * (1.0 - side * stops.trailing_stop))
    wanted = {STOP: side * stop}
    if stops.take_profit is not None:
        wanted[TAKE_PROFIT] = position.entry_price * (1.0 + side * stops.take_profit)
    return wanted


def exit_reason(order: InstructionEvent, need: Need, fixed: float, tick: float) -> str:
    """What a fill of a protective order is called: see FillEvent. need: of the position it closes; fixed: the stop where it would be if
    nothing trailed. A market order was sent because time was up, or because the market had reached the level it should have waited at."""
    side = 1.0 if order.quantity < 0 else -1.0
    if order.kind == CLOSE and need.close:
        return "time_stop"
    beyond = order.kind == CLOSE and order.reference is not None and TAKE_PROFIT in need.levels
    if order.kind == TAKE_PROFIT or beyond and (order.reference - need.levels[TAKE_PROFIT]) * side >= 0.0:
        return "take_profit"
    level = need.levels.get(STOP, fixed) if order.price is None else order.price
    return "trailing_stop" if (level - fixed) * side > tick else "stop_loss"


class Protection:
    """Keeps every position of an account protected. `longest`: the most milliseconds in a row that one was not.

    ticks, most: by symbol, of prices, and base units of one order. A position larger than that has no stop the venue would take: after
    REFUSALS it is closed at market, in parts.
    """

    def __init__(self, orders: Orders, ticks: Mapping[str, float], most: Mapping[str, float]):
        self._orders, self._ticks, self._most = orders, ticks, most
        self._names: dict[tuple[str, str], list[str]] = {}  # (symbol, kind) -> those found in `Orders` of the position that is held
        self._opened: dict[str, int] = {}  # symbol -> when that one was
        self._bare: dict[str, int] = {}  # symbol -> since when its position is not covered
        self.longest = 0

    def act(self, time: int, need: Need, book: Book) -> list[InstructionEvent]:
        """What to tell the venue of one symbol now; time: ms since 1970 UTC."""
        told = [*self._wanted(time, need, book), *self._needless(time, need)]
        self._watch(time, need)
        return told

    def exposed(self, time: int) -> float:
        """Seconds that the position uncovered longest has lacked a stop that the venue is known to hold; 0.0 where all are covered."""
        return max((time - since for since in self._bare.values()), default=0) / 1000

    @property
    def complete(self) -> bool:
        """Every position has a stop that the venue is known to hold."""
        return not self._bare

    def _wanted(self, time: int, need: Need, book: Book) -> Iterable[InstructionEvent]:
        """New orders; each is entered before the next is thought of."""
        if need.quantity == 0.0 or self._leaving(need):
            return
        kinds = [kind for kind in need.levels if not self._stands(kind, need, time)]
        if need.close or self._closing(need) or any(self._hopeless(kind, need, book) for kind in kinds):
            kinds = [CLOSE]
        for kind in kinds:
            if not self._refused_at(kind, need, time):
                yield self._tell(self._placed(kind, need, book, time))

    def _needless(self, time: int, need: Need) -> Iterable[InstructionEvent]:
        """Cancellations: of everything where nothing is held, else of what a newer order that rests has replaced."""
        for order in self._resting(need.symbol):
            replaced = self._replaced(order, need)
            asked = order.status == states.CANCELLING and time - order.told < AGAIN
            if order.acknowledged and not asked and (need.quantity == 0.0 or replaced) and order.instruction.kind != CLOSE:
                yield self._tell(replace(order.instruction, action="cancel", event_time=time, recv_time=time))

    def _resting(self, symbol: str) -> list[VenueOrder]:
        orders = self._orders.unfinished()
        return [order for order in orders if order.instruction.symbol == symbol and order.instruction.purpose == "protection"]

    def _history(self, kind: str, need: Need) -> list[VenueOrder]:
        """All orders of the kind that this position ever had, oldest first, those that were made before a restart too."""
        if self._opened.get(need.symbol) != need.opened:
            self._turn(need)
        names = self._names.setdefault((need.symbol, kind), [])
        while (name := self._name(kind, need, len(names))) in self._orders:
            names.append(name)
        return [self._orders[name] for name in names]

    def _turn(self, need: Need) -> None:
        """Another position: what protected the last one may be forgotten."""
        for kind in (CLOSE, STOP, TAKE_PROFIT):
            self._orders.release(self._names.pop((need.symbol, kind), ()))
        self._opened[need.symbol] = need.opened

    def _name(self, kind: str, need: Need, count: int) -> str:
        return child_id(f"{need.symbol}|{need.opened}", kind, count)

    def _leaving(self, need: Need) -> bool:
        """The position is on its way out: orders that close all of it work, or one has filled and its trades are still to come."""
        newest = [order for kind in (CLOSE, STOP, TAKE_PROFIT) for order in self._history(kind, need)[-1:]]
        return any(order.fills_missing for order in newest) or abs(self._closing(need)) >= abs(need.quantity) * (1.0 - DUST)

    def _closing(self, need: Need) -> float:
        """Signed base units that orders to close the position may still trade."""
        return sum(order.remaining for order in self._history(CLOSE, need))

    def _stands(self, kind: str, need: Need, time: int) -> bool:
        """The newest order of the kind is out, for the whole position and at its price; one that has begun to trade is left alone, and
        one just made waits: a position built of many small fills is not followed by as many orders."""
        for order in self._history(kind, need)[-1:]:
            if order.final or not order.acknowledged and time - order.told >= UNANSWERED:
                return False
            if not _same(order.remaining, -need.quantity):
                return order.remaining * need.quantity < 0.0 and time - order.told < SETTLES
            return order.reported != 0.0 or not self._moves(order, need)
        return False

    def _moves(self, order: VenueOrder, need: Need) -> bool:
        """For the same position a stop only ever moves nearer to the market; a take-profit hangs on the entry price alone."""
        step = (self._trigger(order.instruction.kind, need) - order.instruction.price) * need.quantity
        return step > 0.0 if order.instruction.kind == STOP else step != 0.0

    def _hopeless(self, kind: str, need: Need, book: Book) -> bool:
        """The market is beyond the trigger, or the venue keeps refusing the order: it can no longer wait for a price."""
        last = self._history(kind, need)[-REFUSALS:]
        if len(last) == REFUSALS and all(order.status in (states.REJECTED, states.EXPIRED) for order in last):
            return True
        reached = (book.mid - self._trigger(kind, need)) * need.quantity
        return book.sound and (reached <= 0.0 if kind == STOP else reached >= 0.0)

    def _refused_at(self, kind: str, need: Need, time: int) -> bool:
        """A refused close is not hammered, nor a stop that is cancelled as soon as it is placed; a refused stop is placed again at once,
        since REFUSALS bounds that."""
        last = self._history(kind, need)[-1:]
        bounded = kind != CLOSE and bool(last) and last[0].status != states.CANCELLED
        return bool(last) and not bounded and last[0].final and time - last[0].told < AGAIN

    def _trigger(self, kind: str, need: Need) -> float:
        """On the grid, to the side nearer to the market."""
        return round_price(need.levels[kind], self._ticks[need.symbol], -need.quantity if kind == STOP else need.quantity)

    def _placed(self, kind: str, need: Need, book: Book, time: int) -> InstructionEvent:
        trigger, seen = None if kind == CLOSE else self._trigger(kind, need), book.mid if book.sound else None
        return InstructionEvent(
            event_time=time,
            recv_time=time,
            symbol=need.symbol,
            bar=need.opened,
            client_id=self._name(kind, need, len(self._history(kind, need))),
            parent="",
            action="place",
            kind=kind,
            quantity=-need.quantity if kind != CLOSE else self._still_to_close(need),
            price=trigger,
            reduce_only=True,
            purpose="protection",
            reference=seen if trigger is None else trigger,
        )

    def _still_to_close(self, need: Need) -> float:
        """Signed base units of the next order that closes."""
        return in_parts(-need.quantity - self._closing(need), self._most[need.symbol])[0]

    def _tell(self, instruction: InstructionEvent) -> InstructionEvent:
        self._orders.instruct(instruction)
        return instruction

    def _replaced(self, order: VenueOrder, need: Need) -> bool:
        """A newer order of its kind is known to rest for as much of the position as this one does."""
        least, history = min(abs(order.remaining), abs(need.quantity)) * (1.0 - DUST), self._history(order.instruction.kind, need)
        newer = history[history.index(order) + 1 :] if order in history else history
        return any(each.status in RESTS and abs(each.remaining) >= least for each in newer)

    def _watch(self, time: int, need: Need) -> None:
        stops = (order for order in self._resting(need.symbol) if order.instruction.kind == STOP and order.status in RESTS)
        cover = sum(order.remaining for order in stops)
        if need.quantity == 0.0 or cover * need.quantity < 0.0 and abs(cover) >= abs(need.quantity) * (1.0 - DUST):
            self._bare.pop(need.symbol, None)
        else:
            self.longest = max(self.longest, time - self._bare.setdefault(need.symbol, time))


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= DUST * max(abs(one), abs(other))
