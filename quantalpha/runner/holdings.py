"""What a session holds and has earned, folded from its fills and funding by the formulas of `perp.Ledger`.

Positions are one-way: average cost on the way in, realised profit on the way out, a flip closes the old side first. Money in quote
currency, quantities in signed base units, added up as the decimals they are, so that a closed position is exactly 0.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property

from quantalpha.runner.events import FillEvent, FundingEvent


@dataclass(frozen=True)
class Holding:
    """One symbol. entry_price: average price of what is held, 0.0 when flat; realised: before fees; fees: + paid; funding: + received."""

    exact: Decimal = Decimal(0)
    entry_price: float = 0.0
    realised: float = 0.0
    fees: float = 0.0
    funding: float = 0.0

    @cached_property
    def quantity(self) -> float:
        return float(self.exact)

    def profit(self, quantity: float, price: float) -> float:
        """What a trade of `quantity` at `price` realises, before its fee."""
        if quantity * self.quantity >= 0.0:
            return 0.0
        closed = min(abs(quantity), abs(self.quantity))
        return (closed if self.quantity > 0.0 else -closed) * (price - self.entry_price)

    def unrealised(self, mark: float) -> float:
        return self.quantity * (mark - self.entry_price) if self.exact else 0.0


NONE = Holding()


class Holdings:
    """cash: the wallet: what it began with, realised profits, less fees, and funding. Each fill must be given once."""

    def __init__(self, cash: float):
        self.initial_cash = float(cash)
        self._held: dict[str, Holding] = {}

    def __getitem__(self, symbol: str) -> Holding:
        return self._held.get(symbol, NONE)

    def quantity(self, symbol: str) -> float:
        return self[symbol].quantity

    @property
    def open(self) -> dict[str, Holding]:
        return {symbol: holding for symbol, holding in self._held.items() if holding.exact}

    @property
    def flat(self) -> bool:
        return not self.open

    @property
    def cash(self) -> float:
        return self.initial_cash + sum(each.realised - each.fees + each.funding for each in self._held.values())

    def equity(self, marks: Mapping[str, float]) -> float:
        """Cash and unrealised profit at `marks`; NaN where something is held and its mark is not known."""
        return self.cash + sum(holding.unrealised(marks.get(symbol, float("nan"))) for symbol, holding in self.open.items())

    def fill(self, event: FillEvent) -> None:
        held = self[event.symbol]
        after = held.exact + Decimal(repr(event.quantity))
        self._held[event.symbol] = replace(
            held,
            exact=after,
            entry_price=_entry(held, event, float(after)),
            realised=held.realised + held.profit(event.quantity, event.price),
            fees=held.fees + event.fee,
        )

    def pay(self, event: FundingEvent) -> None:
        held = self[event.symbol]
        self._held[event.symbol] = replace(held, funding=held.funding + event.amount)


def _entry(held: Holding, event: FillEvent, after: float) -> float:
    """Average price of the position after a trade."""
    if after == 0.0:
        return 0.0
    if event.quantity == 0.0 or event.quantity * held.quantity < 0.0 < after * held.quantity:
        return held.entry_price
    if event.quantity * held.quantity > 0.0:
        return (held.quantity * held.entry_price + event.quantity * event.price) / (held.quantity + event.quantity)
    return event.price


def funding_terms(amount: float, rate: float, mark: float | None, held: float) -> dict[str, float]:
    """amount = -quantity * rate * mark: the one that the venue does not tell follows from the others; NaN where it cannot. held: base units
    now, which a trade since the settlement may have changed."""
    if mark is None:
        return {"rate": rate, "mark": -amount / (held * rate) if held * rate else math.nan, "quantity": held}
    return {"rate": rate, "mark": mark, "quantity": -amount / (rate * mark) if rate * mark else held}
