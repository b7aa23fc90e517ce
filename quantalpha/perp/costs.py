"""What trading costs and when a position is closed by itself. Fractions: 0.0005 is 5 basis points."""

import math
from dataclasses import dataclass

from quantalpha.errors import UsageError


def check(name: str, value: float, low: float, high: float, *, inclusive: bool = True) -> None:
    """Refuse a number outside [low, high) (or (low, high) when not inclusive)."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not (number and value < high and (value > low or inclusive and value == low)):
        raise UsageError(f"{name}: expected a number in {'[' if inclusive else '('}{low:g}, {high:g}), found {value!r}")


@dataclass(frozen=True)
class Costs:
    """Fractions of the notional actually traded."""

    maker: float  # fee of a resting order; negative is a rebate
    taker: float  # fee of an order that fills at once
    slippage: float  # a taker buys this much above and sells this much below the quoted price
    liquidation: float  # fee of a forced close

    def __post_init__(self):
        check("costs.maker", self.maker, -0.01, 0.1)
        for name in ("taker", "slippage", "liquidation"):
            check(f"costs.{name}", getattr(self, name), 0.0, 0.1)


@dataclass(frozen=True)
class Stops:
    """Levels around the average fill price; None: no such level."""

    stop_loss: float | None = None  # 0.02 closes a long 2 % below its entry
    take_profit: float | None = None

    def __post_init__(self):
        if self.stop_loss is not None:
            check("stops.stop_loss", self.stop_loss, 0.0, 1.0, inclusive=False)
        if self.take_profit is not None:
            check("stops.take_profit", self.take_profit, 0.0, math.inf, inclusive=False)
