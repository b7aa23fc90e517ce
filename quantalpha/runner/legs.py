"""Symbols of two venues in one account: BTCUSDT at the first, BTCUSDT@bybit at the second; '@bybit' is a place, '' the first's."""

from collections.abc import Mapping
from dataclasses import replace

from quantalpha.runner.events import Event, OrderEvent, RejectedOrderEvent, ValidatedOrderEvent
from quantalpha.runner.risk import Risk
from quantalpha.runner.views import AccountView, Position


def place_of(symbol: str) -> str:
    return symbol[symbol.index("@") :] if "@" in symbol else ""


def native(symbol: str) -> str:
    """As the venue itself calls it."""
    return symbol.partition("@")[0]


def told_at(event: Event, place: str) -> Event:
    """News of a venue with the place it comes from; what concerns no symbol, such as its account, has the place for one."""
    return event if place_of(event.symbol) == place else replace(event, symbol=native(event.symbol) + place)


def together(view: AccountView) -> AccountView:
    """The same account with the legs of a symbol as one position: what limits judge, since they fall and rise together.

    Its mark is the first venue's, its entry price such that it has the legs' profit, its liquidation the nearest of theirs.
    """
    positions = {name: _one(legs) for name, legs in _by_symbol(view.positions).items()}
    pending = {name: sum(legs.values()) for name, legs in _by_symbol(view.pending).items()}
    return replace(view, positions=positions, pending=pending)


def _by_symbol(values: Mapping) -> dict[str, dict]:
    """symbol -> leg -> value; the first venue's leg comes first."""
    found: dict[str, dict] = {}
    for leg in sorted(values, key=place_of):
        found.setdefault(native(leg), {})[leg] = values[leg]
    return found


def _one(legs: Mapping[str, Position]) -> Position:
    mark, quantity = next(iter(legs.values())).mark, sum(each.quantity for each in legs.values())
    if quantity == 0.0:
        return Position(mark=mark)
    profit = sum(each.unrealised for each in legs.values() if each.quantity)
    levels = [each.liquidation_price * mark / each.mark for each in legs.values() if each.quantity and each.liquidation_price]
    return Position(quantity, mark - profit / quantity, mark, min(levels, key=lambda level: abs(level - mark), default=0.0))


class Together:
    """Limits that judge the legs of a symbol as one position; see `risk.Risk`."""

    def __init__(self, risk: Risk):
        self.risk = risk

    def judge(self, order: OrderEvent, view: AccountView) -> ValidatedOrderEvent | RejectedOrderEvent:
        return self.risk.judge(order, together(view))
