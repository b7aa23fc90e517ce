"""How large an order is that brings a position to a target, by the compiled clock that the backtest sizes its orders with."""

from dataclasses import dataclass

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
    """One symbol of an account. Compiled terms are made once."""

    def __init__(self, account: perp.Account, symbol: str):
        self.account, self.symbol = account, symbol
        self._fresh, self._terms = fresh(account), terms(account, _FREE, None, symbol)

    def order(self, standing: Standing, target: float, close: float, mark: float) -> float | None:
        """Signed base units; None where nothing is to be decided: the target stands, or lies within the rebalance band."""
        from quantalpha.perp import clock

        check_target(target, self.account.leverage, f"broker: {self.symbol}")
        state = self._fresh._replace(**{name: float(value) for name, value in vars(standing).items()})
        after = clock.decide(state, self._terms, float(target), 0.0, close, mark)
        return None if after == state else after.order
