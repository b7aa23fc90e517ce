"""A pair of one coin at two venues, long at one and short at the other, opened and closed by `execution.two_leg`.

    pair = Pair(first, second, setting, limits)      # a broker for an engine without strategies
    await run_pair(pair, engine, wish, clock)        # opens and closes as `wish` says, until cancelled

An order of the first leg moves both: as much against it at the second. Each leg has its own stop at its venue; where one is stopped out,
the other is closed too. A restart makes the same orders of its record; what was under way is then evened out and left, not gone on with,
since nobody knows for how long it stood.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import chain

from quantalpha.errors import UsageError
from quantalpha.perp import round_quantity
from quantalpha.runner.broker_exchange import ExchangeBroker
from quantalpha.runner.engine import Engine
from quantalpha.runner.events import Event, InstructionEvent, OrderEvent, ValidatedOrderEvent
from quantalpha.runner.execution.two_leg import Leg, Limits, TwoLeg
from quantalpha.runner.legs import native
from quantalpha.runner.orders import VenueOrder
from quantalpha.runner.targets import client_id
from quantalpha.runner.two_venues import Setting, TwoVenues


class BothOrders:
    """The orders of two brokers, as an execution over both reads and enters them."""

    def __init__(self, pair: "Pair"):
        self._pair = pair

    def of(self, parent: str) -> list[VenueOrder]:
        return [*chain.from_iterable(broker.orders.of(parent) for broker in self._pair.both)]

    def instruct(self, instruction: InstructionEvent) -> None:
        self._pair.broker_of(instruction).orders.instruct(instruction)


class Pair(TwoVenues):
    """One pair at a time for each symbol. limits: of what may stand unhedged, and when it is left."""

    def __init__(self, first: ExchangeBroker, second: ExchangeBroker, setting: Setting, limits: Limits):
        super().__init__(first, second, setting)
        self.limits = limits
        self.under_way: dict[str, TwoLeg] = {}

    def broker_of(self, event: Event) -> ExchangeBroker:
        return self._whose(event)[0]

    def held(self, symbol: str) -> tuple[float, float]:
        """Signed base units of both legs."""
        first, second = (broker.holdings.quantity(leg) for broker, leg in self.legs(symbol))
        return first, second

    def unhedged(self, symbol: str) -> float:
        """Base units of the first leg that the second does not stand against."""
        return sum(self.held(symbol))

    def sound(self, symbol: str) -> bool:
        return all(broker.known(leg).book.sound for broker, leg in self.legs(symbol))

    def submit(self, order: ValidatedOrderEvent) -> Iterable[Event]:
        """Opens a pair from nothing or closes all of one."""
        if order.symbol in self.under_way:
            raise UsageError(f"pair: {order.symbol}: {order.client_id} would overtake {self.under_way[order.symbol].parent}; wait for it")
        first, second = self.held(order.symbol)
        wanted = (-first, -second) if order.quantity * first < 0.0 else (order.quantity, -order.quantity)
        legs = (
            Leg(name, quantity, broker.setup.markets[name].terms, reduces=order.quantity * first < 0.0)
            for (broker, name), quantity in zip(self.legs(order.symbol), wanted)
        )
        made = TwoLeg(order.client_id, order.recv_time, tuple(legs), self.limits, BothOrders(self))
        self.under_way[order.symbol] = made
        return self._share_out()

    def _share_out(self) -> list[InstructionEvent]:
        """What the pairs under way have to say now; see `TwoVenues.heard`."""
        if self._retelling:
            return []
        return [told for symbol in list(self.under_way) for told in self._advanced(symbol)]

    def _advanced(self, symbol: str) -> Iterator[InstructionEvent]:
        pair, legs = self.under_way[symbol], self.legs(symbol)
        books = tuple(broker.known(leg).book for broker, leg in legs)
        yield from pair.act(max(broker.time for broker in self.both), books)
        if pair.done:
            del self.under_way[symbol]

    def _given_up(self, symbol: str) -> list[Event]:
        """One leg was stopped out: nothing stands against the other any more, so it is closed at its venue."""
        self._forget()
        return [each for broker in self.both for each in broker.flatten()] if symbol in self._symbols else []

    def resume(self) -> None:
        super().resume()
        self._forget()

    def _forget(self) -> None:
        for pair in self.under_way.values():
            pair.stop()


async def run_pair(pair: Pair, engine: Engine, wish: Callable[[], Awaitable[float]], *, pause: float, clock: Callable[[], int]) -> None:
    """Asks every `pause` seconds for the first leg's target (signed leverage of the whole equity) and brings the pair there, through risk
    and journal, one step after the other: closed before it is turned. Until cancelled; the lines of both venues feed the engine meanwhile.

    UsageError: a target that both legs together could not hold.
    """
    (symbol,) = pair.setting.symbols
    largest = pair.setting.account.leverage / 2.0
    while True:
        target = await wish()
        if not abs(target) <= largest:
            raise UsageError(f"pair: expected a target within {largest:g}, half the account's leverage for each leg, found {target!r}")
        if pair.sound(symbol) and symbol not in pair.under_way and engine.halted is None:
            order = _order(pair, symbol, target, clock())
            if order is not None:
                engine.feed(order)
        await asyncio.sleep(pause)


def _order(pair: Pair, symbol: str, target: float, now: int) -> OrderEvent | None:
    """From flat to the target, or from a pair of another side to flat; a pair that stands is left to drift."""
    held, price = pair.held(symbol)[0], pair.both[0].known(symbol).book.mid
    if held and held * target > 0.0:
        return None
    lot = pair.setting.account.instrument(native(symbol)).lot
    quantity = -held if held else round_quantity(target * pair.account().equity / price, lot)
    if quantity == 0.0:
        return None
    times = {"event_time": pair.both[0].venue_time, "recv_time": now, "symbol": symbol, "bar": now}
    aim = 0.0 if held else target
    return OrderEvent(**times, client_id=client_id("pair", symbol, now, 0), quantity=quantity, target=aim, price=price)
