"""What an order is expected to lose against the mid price before it is sent, and what it lost after it was filled. + is a cost.

Fractions of the mid (0.0005 is 5 basis points) and quote currency. Fees are no slippage and stand apart.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from quantalpha.perp import round_quantity
from quantalpha.runner.events import FillEvent
from quantalpha.runner.execution.book import Book, walk

Model = tuple[float, float]  # (base, impact): a row of perp.Slippage.curves, or (costs.slippage, 0.0)


def predicted(quantity: float, book: Book, model: Model) -> float:
    """Fraction of the mid that a market order of `quantity` (signed, base units) loses; NaN where the book is not sound.

    What the displayed levels hold is walked. What they do not hold (all but the first bite, where only the best prices are known) is
    charged at the last level's price and, beyond it, by the cost model for the whole order: base + impact * sqrt(notional).
    """
    side, size, mid = math.copysign(1.0, quantity), abs(quantity), book.mid
    if not book.sound or size == 0.0:
        return math.nan if not book.sound else 0.0
    taken, money = walk(book.against(side), size)
    base, impact = model
    beyond = book.against(side)[-1][0] * (1.0 + side * (base + impact * math.sqrt(size * mid)))
    return side * ((money + (size - taken) * beyond) / (size * mid) - 1.0)


def expected(kind: str, quantity: float, book: Book, model: Model) -> float | None:
    """`predicted` of an order of that kind; one that rests earns its distance from the mid. None where nothing is known."""
    if not book.sound:
        return None
    side = math.copysign(1.0, quantity)
    return predicted(quantity, book, model) if kind == "market" else side * (book.touch(quantity) / book.mid - 1.0)


def permitted(quantity: float, book: Book, model: Model, limit: float, lot: float) -> float:
    """The most of `quantity` (signed, in lots) that is expected to lose at most `limit`; 0.0 where not one lot is, or nothing is known."""
    if predicted(quantity, book, model) <= limit:
        return quantity
    low, high = 0.0, 1.0  # the expected loss only grows with the quantity
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if predicted(quantity * middle, book, model) <= limit else (low, middle)
    return round_quantity(quantity * low, lot)


@dataclass(frozen=True)
class Shortfall:
    """Implementation shortfall of one order in quote currency (Perold 1988, "The implementation shortfall: paper versus reality")."""

    wanted: float  # signed base units
    filled: float
    reference: float  # mid price when it was decided
    price: float  # cost of the fills against the reference
    missed: float  # what the part that was not filled would have earned by now
    fees: float

    @property
    def fraction(self) -> float:
        """Slippage of what was filled, of its notional at the reference; NaN where nothing was filled."""
        notional = abs(self.filled) * self.reference
        return self.price / notional if notional > 0 else math.nan

    @property
    def total(self) -> float:
        return self.price + self.missed + self.fees


def measured(wanted: float, fills: Iterable[FillEvent], reference: float, now: float) -> Shortfall:
    """What an order of `wanted` lost against `reference`, the mid at its decision; `now`: the mid after it, for what it missed."""
    fills = list(fills)
    filled = math.fsum(fill.quantity for fill in fills)
    return Shortfall(
        wanted=wanted,
        filled=filled,
        reference=reference,
        price=math.fsum(fill.quantity * (fill.price - reference) for fill in fills),
        missed=(wanted - filled) * (now - reference),
        fees=math.fsum(fill.fee for fill in fills),
    )
