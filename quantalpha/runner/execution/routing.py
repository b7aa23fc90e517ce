"""How a decided order is shared out over the legs of a symbol at two venues: what is held first, then where it is cheapest."""

from dataclasses import replace

from quantalpha.perp import round_quantity
from quantalpha.runner.execution.base import exact
from quantalpha.runner.execution.router import Offer, split

Parts = tuple[float, float]


def routed(change: float, offers: tuple[Offer, Offer], lot: float) -> Parts:
    """Signed base units for each leg that change the whole position by `change` (in lots of `lot`, which both venues take).

    A leg that stands against the position wanted is closed. What is left is taken off the legs, no more than each holds, or put on top of
    them, no more than each may hold, by `split`; what the books do not show goes where something goes already, to the
    better price. Where a book is not sound nothing is
    opened. Sum of both: `change`, or less where the margins of both end.
    """
    held = [offer.position for offer in offers]
    wanted = exact(sum(held) + change, lot)
    closed = [-each if each * wanted <= 0.0 else 0.0 for each in held]
    left = [exact(each + part, lot) for each, part in zip(held, closed)]
    rest = exact(wanted - sum(left), lot)
    more = _taken_off(rest, offers, left, lot) if rest * wanted < 0.0 else _put_on(rest, offers, left, lot)
    first, second = (exact(part + also, lot) for part, also in zip(closed, more))
    return first, second


def _taken_off(rest: float, offers: tuple[Offer, Offer], left: list[float], lot: float) -> Parts:
    """Reduce-only orders may be smaller than a venue's least, and need no book."""
    given = [replace(offer, position=each, most=0.0, min_notional=0.0) for offer, each in zip(offers, left)]
    return _shared(rest, given, [abs(each) for each in left], lot)


def _put_on(rest: float, offers: tuple[Offer, Offer], left: list[float], lot: float) -> Parts:
    side = 1.0 if rest > 0.0 else -1.0
    given = [replace(offer, position=each) for offer, each in zip(offers, left)]
    return _shared(rest, given, [offer.most - side * each if offer.book.sound else 0.0 for offer, each in zip(offers, left)], lot)


def _shared(rest: float, offers: list[Offer], room: list[float], lot: float) -> Parts:
    """room: the most that each leg takes, base units without sign."""
    if rest == 0.0:
        return 0.0, 0.0
    side, found = (1.0 if rest > 0.0 else -1.0), split(rest, *offers, lot)
    parts, unplaced = [found.first, found.second], exact(found.unplaced, lot)
    for number in sorted((0, 1), key=lambda number: (parts[number] == 0.0, _price(offers[number], side))):
        free = round_quantity(max(room[number] - abs(parts[number]), 0.0), lot) if room[number] < abs(rest) else abs(rest)
        part = side * min(abs(unplaced), free)
        parts[number], unplaced = exact(parts[number] + part, lot), exact(unplaced - part, lot)
    return parts[0], parts[1]


def _price(offer: Offer, side: float) -> float:
    """What a unit costs there, + paid; infinite where nobody knows."""
    return offer.book.against(side)[0][0] * (side * (1.0 + offer.funding) + offer.fee) if offer.book.sound else float("inf")
