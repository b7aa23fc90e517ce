"""What waits on a market's two sides, as an execution sees it: levels, best first. A quote is a book of one level."""

import math
from dataclasses import dataclass

from quantalpha.runner.events import QuoteEvent

Level = tuple[float, float]  # price, quantity in base units


@dataclass(frozen=True)
class Book:
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]

    @classmethod
    def of(cls, quote: QuoteEvent) -> "Book":
        return cls(((quote.bid, quote.bid_quantity),), ((quote.ask, quote.ask_quantity),))

    @property
    def bid(self) -> float:
        return self.bids[0][0] if self.bids else math.nan

    @property
    def ask(self) -> float:
        return self.asks[0][0] if self.asks else math.nan

    @property
    def sound(self) -> bool:
        """Both sides quoted and not crossed; nothing is priced by any other book."""
        return 0.0 < self.bid <= self.ask < math.inf

    @property
    def mid(self) -> float:
        """Quote currency; NaN where the book is not sound."""
        return (self.bid + self.ask) / 2 if self.sound else math.nan

    @property
    def spread(self) -> float:
        """(ask - bid) / mid, a fraction; NaN where the book is not sound."""
        return (self.ask - self.bid) / self.mid

    def touch(self, side: float) -> float:
        """The price at which a buy (side > 0) or sell rests at the front: the best of its own side."""
        return self.bid if side > 0 else self.ask

    def against(self, side: float) -> tuple[Level, ...]:
        """What a buy (side > 0) or a sell would take."""
        return self.asks if side > 0 else self.bids


def walk(levels: tuple[Level, ...], quantity: float) -> tuple[float, float]:
    """(taken, money): what of `quantity` (above 0) the levels hold, and what it trades for, quote currency."""
    taken = money = 0.0
    for price, waiting in levels:
        part = min(waiting, quantity - taken)
        if part > 0.0:
            taken, money = taken + part, money + part * price
    return taken, money
