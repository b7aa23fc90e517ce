"""How to divide an order between two venues that trade the same coin: the cheapest division, to the lot."""

import math
from dataclasses import dataclass

from quantalpha.errors import UsageError
from quantalpha.perp import round_quantity
from quantalpha.runner.execution.book import Book, walk


@dataclass(frozen=True)
class Offer:
    """One venue, as an order meets it. Only what its book displays counts: nobody knows what lies beyond."""

    book: Book
    fee: float  # of a taker, fraction of notional
    funding: float = 0.0  # expected until the horizon: what a long pays and a short receives, fraction of notional
    position: float = 0.0  # held there, signed base units
    most: float = math.inf  # largest position its margin allows, base units, either side
    min_notional: float = 0.0  # quote currency


@dataclass(frozen=True)
class Split:
    """Signed base units for each venue, what fits nowhere, and what it costs: money paid (+) or received (-), fees and expected funding
    included, quote currency."""

    first: float
    second: float
    unplaced: float
    cost: float


def split(quantity: float, first: Offer, second: Offer, lot: float) -> Split:
    """Divide `quantity` (signed; in lots that both venues take): as much as fits, as cheap as possible.

    What a venue charges for one lot more only rises as its book is eaten, so the cost of a division is convex in the part of the first
    venue and a search by halves finds its least. A part must reach its venue's least notional or be nothing, so the division in two is
    compared with all of it at either venue. Funding is linear in the position, so a position held counts only by the room it leaves: an
    order that closes it has twice as much.
    """
    if not lot > 0.0:
        raise UsageError(f"router: expected a lot above 0, found {lot!r}")
    sides = [_Side(offer, math.copysign(1.0, quantity), lot) for offer in (first, second)]
    whole = round(round_quantity(abs(quantity), lot) / lot)
    here, there = (min(side.room, whole) for side in sides)
    divisions = [(0, 0), (here, 0), (0, there), *_both(sides, whole)]
    allowed = [parts for parts in divisions if all(part == 0 or part >= side.least for part, side in zip(parts, sides))]
    best = min(allowed, key=lambda parts: (-sum(parts), _cost(sides, parts)))
    signed = [round_quantity(math.copysign(part * lot, quantity), lot) if part else 0.0 for part in best]
    return Split(*signed, unplaced=quantity - sum(signed), cost=_cost(sides, best))


class _Side:
    """One venue's side of the book in lots."""

    def __init__(self, offer: Offer, side: float, lot: float):
        self._levels, self._lot = offer.book.against(side) if offer.book.sound else (), lot
        self._rate = side * (1.0 + offer.funding) + offer.fee  # of the money traded
        depth = sum(quantity for _, quantity in self._levels)
        self.room = max(0, round(round_quantity(min(depth, offer.most - side * offer.position), lot) / lot))
        worth = self._levels[0][0] * lot if self._levels else math.inf
        self.least = math.ceil(offer.min_notional / worth) if self._levels else 0

    def cost(self, lots: int) -> float:
        return walk(self._levels, lots * self._lot)[1] * self._rate


def _cost(sides: list[_Side], parts: tuple[int, int]) -> float:
    return sum(side.cost(part) for side, part in zip(sides, parts))


def _both(sides: list[_Side], whole: int) -> list[tuple[int, int]]:
    """The cheapest division in which both venues get something they take, with all that fits placed."""
    first, second = sides
    total = min(whole, first.room + second.room)
    low, high = max(first.least, total - second.room), min(first.room, total - second.least)
    if low > high:
        return []
    cost = lambda part: _cost(sides, (part, total - part))  # noqa: E731
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if cost(middle + 1) >= cost(middle) else (middle + 1, high)
    return [(low, total - low)]
