"""How large an order is that brings a position to a target, by the compiled clock that the backtest sizes its orders with."""

import math
from dataclasses import dataclass
from decimal import Decimal

from quantalpha import perp
from quantalpha.perp.account import fresh, terms
from quantalpha.perp.ledger import check_target

_FREE = perp.Costs(maker=0.0, taker=0.0, slippage=0.0, liquidation=0.0)  # sizes do not depend on costs


@dataclass(frozen=True)
class Standing:
    """Where a symbol stands. cash, elsewhere (unrealised profit of other positions): quote currency; order: base units under way."""

    cash: float
    elsewhere: float
    quantity: float
    entry_price: float
    target: float
    order: float


class Sizing:
    """One symbol of an account. Compiled terms are made once. most: base units of the largest position, which one stop can close."""

    def __init__(self, account: perp.Account, symbol: str, most: float = math.inf):
        self.account, self.symbol, self.most = account, symbol, most
        self._fresh, self._terms = fresh(account), terms(account, _FREE, None, symbol)

    def order(self, standing: Standing, target: float, close: float, mark: float) -> float | None:
        """Signed base units; None where nothing is to be decided: the target stands, or lies within the rebalance band."""
        from quantalpha.perp import clock

        check_target(target, self.account.leverage, f"broker: {self.symbol}")
        state = self._fresh._replace(**{name: float(value) for name, value in vars(standing).items()})
        after = clock.decide(state, self._terms, float(target), 0.0, close, mark)
        return None if after == state else self._within(standing.quantity, after.order)

    def _within(self, held: float, order: float) -> float:
        """Cut where it would lead to more than the largest position."""
        wanted = held + order
        if not abs(wanted) > max(self.most, abs(held)):
            return order
        return float(Decimal(repr(math.copysign(max(self.most, abs(held)), wanted))) - Decimal(repr(held)))
