"""Kill switches on the market: one that moves as it never does, and a liquidation that comes near."""

import math

import numpy as np

from quantalpha.runner.events import EquityEvent, Event
from quantalpha.runner.switches.base import MONEY, Trip
from quantalpha.runner.views import FLAT, AccountView, Position

USUAL = 100  # bars at least that say what is usual: returns have fat tails and come in clusters


class Volatility:
    """The deviation of the last `bars` closed bars of a symbol, in units of the deviation of the bars before them.

    required: too few bars trip (a venue); else they are waited for (paper, whose first bars have none before them).
    """

    heeds = (EquityEvent,)  # once a bar

    def __init__(self, limit: float, bars: int, required: bool):
        self.limit, self.bars, self.required = limit, bars, required

    def see(self, view: AccountView, event: Event) -> Trip | None:
        returns = np.asarray(view.returns.get(event.symbol, ()), dtype=float)
        if len(returns) < self.bars + USUAL and not self.required:
            return None
        now, usual = _deviation(returns[-self.bars :]), _deviation(returns[: -self.bars])
        if len(returns) >= self.bars + USUAL and now <= self.limit * usual < math.inf:
            return None
        values = {"deviation": now, "usual": usual, "limit": self.limit, "bars": float(len(returns))}
        return Trip(f"{event.symbol}: volatility", values)


class LiquidationNear:
    """Way from the mark to the venue's liquidation price of any position, a fraction of the mark."""

    heeds = MONEY

    def __init__(self, limit: float):
        self.limit = limit

    def see(self, view: AccountView, event: Event) -> Trip | None:
        for symbol, position in view.positions.items():
            away = liquidation_distance(position)
            if not away >= self.limit:
                values = {"distance": away, "limit": self.limit, "mark": position.mark, "liquidation_price": position.liquidation_price}
                return Trip(f"{symbol}: liquidation is near", values)
        return None


def liquidation_distance(position: Position = FLAT) -> float:
    """Fraction of the mark; inf where flat or none is in reach, NaN where a number is missing, 0 or below where it is there already."""
    if position.quantity == 0 or (position.liquidation_price == 0 and position.mark > 0):
        return math.inf
    side = math.copysign(1.0, position.quantity) if math.isfinite(position.quantity) else math.nan
    return side * (position.mark - position.liquidation_price) / position.mark if position.mark > 0 else math.nan


def _deviation(returns: np.ndarray) -> float:
    """Root mean square: a drift of a few bars is movement too. NaN of none."""
    return float(np.sqrt(np.mean(returns**2))) if len(returns) else math.nan
