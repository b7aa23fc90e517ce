"""What an instrument demands of an order: lot, tick, least notional. Floats inside, exact decimals at the edge."""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from quantalpha.errors import UsageError
from quantalpha.perp.costs import check

if TYPE_CHECKING:
    from quantalpha.perp.brackets import Bracket

ON_GRID = Decimal("1e-6")  # of a step: float64 noise of a rounded value, far below any step


@dataclass(frozen=True)
class Instrument:
    """One contract (or coin) of an account, where it differs from what the account says; None: as the account."""

    lot: float | None = None  # step of quantity, base currency; 0: any quantity
    tick: float | None = None  # step of price; 0: any price
    min_notional: float | None = None  # quote currency
    brackets: "tuple[Bracket, ...] | None" = None  # maintenance margin, dated or not
    spot: bool = False  # a coin held in full: no funding, no maintenance, long only

    def __post_init__(self):
        for name in ("lot", "tick", "min_notional"):
            if getattr(self, name) is not None:
                check(f"instrument.{name}", getattr(self, name), 0.0, math.inf)
        if not isinstance(self.spot, bool):
            raise UsageError(f"instrument.spot: expected True or False, found {self.spot!r}")


def round_quantity(quantity: float, lot: float) -> float:
    """`quantity` (signed, base currency) rounded toward zero to a multiple of `lot`; lot 0 leaves it alone.

    Lots are decimals: three lots of 0.1 are 0.3. A quantity within 1e-12 of the next lot counts as that lot.
    """
    from quantalpha.perp import clock

    return clock.round_to_lot(float(quantity), float(lot))


def round_price(price: float, tick: float, side: float) -> float:
    """`price` on the grid of `tick`, to the passive side: a buy (side > 0) down, a sell (side < 0) up; tick 0 leaves it alone."""
    from quantalpha.perp import clock

    return clock.round_to_tick(float(price), float(tick), float(side))


def meets_minimum(quantity: float, price: float, min_notional: float) -> bool:
    """Whether an order of signed `quantity` at `price` is large enough to be sent."""
    return abs(quantity) * price >= min_notional


def to_venue(value: float, step: float) -> str:
    """A rounded quantity or price as the order message says it: '0.003', never '0.0030000000000000001' nor '3e-3'. Step 0: every digit.

    Refuses a value that is no multiple of `step`: rounding here, unseen, would send another order than the one that was decided.
    """
    check("to_venue: step", step, 0.0, math.inf)
    check("to_venue: value", value, -math.inf, math.inf, inclusive=False)
    exact = Decimal(repr(float(value)))
    if step > 0.0:
        unit = Decimal(repr(float(step)))
        rounded = (exact / unit).to_integral_value() * unit
        if abs(exact - rounded) > ON_GRID * unit:
            raise UsageError(f"to_venue: expected a multiple of {step!r}, found {value!r}; round the quantity or price first")
        exact = rounded
    return format(exact.normalize() + 0, "f")


def in_parts(quantity: float, most: float) -> list[float]:
    """A signed quantity as orders of at most `most` each (above 0, inf: no bound), the largest first; exactly their sum."""
    if not abs(quantity) > most:
        return [quantity]
    left, largest, parts = Decimal(repr(quantity)), Decimal(repr(most)).copy_sign(Decimal(repr(quantity))), []
    while left:
        parts.append(largest if abs(left) > most else left)
        left -= parts[-1]
    return [float(part) for part in parts]
