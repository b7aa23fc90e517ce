"""What the strategies of an account want, and the one order of each symbol that brings it there."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quantalpha.errors import UsageError
from quantalpha.runner.events import MarketCloseEvent, OrderEvent, SignalEvent
from quantalpha.runner.protocols import Broker, Decider
from quantalpha.runner.risk import enters


@dataclass(frozen=True)
class Strategy:
    """Whose decisions these are, on what, and for which share of the account's equity."""

    bundle_id: str
    symbol: str
    decider: Decider
    share: float = 1.0

    @property
    def name(self) -> str:
        return self.bundle_id


def client_id(bundle_id: str, symbol: str, decision_time: int, leg: int | str) -> str:
    """The order's name, at most 36 characters of [a-z0-9-]: the same decision always gives the same name, so sending twice is harmless."""
    return "qa-" + hashlib.sha256(f"{bundle_id}|{symbol}|{decision_time}|{leg}".encode()).hexdigest()[:32]


class Targets:
    """held: the target each strategy holds, by its name. Of a slice that is decided all wishes are waited for."""

    def __init__(self, strategies: Sequence[Strategy]):
        self.strategies = tuple(strategies)
        self.symbols = tuple(dict.fromkeys(each.symbol for each in self.strategies))
        if len({each.name for each in self.strategies}) < len(self.strategies):
            raise UsageError("engine: two strategies of one account are the same bundle; give each its own")
        self.sharing = {symbol: [each for each in self.strategies if each.symbol == symbol] for symbol in self.symbols}
        self._names = {symbol: [each.name for each in sharing] for symbol, sharing in self.sharing.items()}
        self.held = dict.fromkeys((each.name for each in self.strategies), 0.0)
        self._wishes: dict[str, float] = {}
        self._asked = 0

    def ask(self, bars: Sequence[MarketCloseEvent]) -> list[tuple[Strategy, MarketCloseEvent]]:
        """Who decides on which of these bars."""
        by_symbol = {bar.symbol: bar for bar in bars}
        asked = [(each, by_symbol[each.symbol]) for each in self.strategies if each.symbol in by_symbol]
        self._wishes, self._asked = {}, len(asked)
        return asked

    def orders(self, event: SignalEvent, broker: Broker, price: Callable[[str], float]) -> list[OrderEvent]:
        """Once everybody has spoken, the targets of a symbol are one; what gets smaller comes first, to make room for what grows."""
        self._wishes[event.strategy] = event.target
        if len(self._wishes) < self._asked:
            return []
        made = [self._order(symbol, event, broker, price) for symbol in self.symbols]
        orders = [order for order in made if order is not None]
        return orders if len(orders) < 2 else sorted(orders, key=lambda each: enters(each.quantity, broker.account().quantity(each.symbol)))

    def _order(self, symbol: str, event: SignalEvent, broker: Broker, price: Callable[[str], float]) -> OrderEvent | None:
        """What brings a symbol to the targets of its strategies; those that were not asked want what they held."""
        names = self._names[symbol]
        if self._wishes.keys().isdisjoint(names):
            return None
        target = sum([each.share * self._wish(each.bundle_id) for each in self.sharing[symbol]])
        quantity = broker.order_quantity(symbol, target)
        if quantity is None:
            self.hold(symbol)
            return None
        times = {"event_time": event.event_time, "recv_time": event.recv_time, "symbol": symbol, "bar": event.bar}
        name = client_id("|".join(names), symbol, event.event_time, 0)
        return OrderEvent(**times, client_id=name, quantity=quantity, target=target, price=price(symbol))

    def _wish(self, name: str) -> float:
        return self._wishes[name] if name in self._wishes else self.held[name]

    def hold(self, symbol: str) -> None:
        """What the strategies of a symbol wished for is what they hold from now on."""
        for each in self.sharing.get(symbol, ()):  # an order may come from outside, as a pair does
            self.held[each.bundle_id] = self._wish(each.bundle_id)

    def release(self) -> None:
        """Nobody holds anything."""
        self.held = dict.fromkeys(self.held, 0.0)
