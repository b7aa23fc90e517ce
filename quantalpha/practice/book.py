"""An order book around the last trade: seeded quantities on a fixed grid of prices, one tick of spread, LEVELS a side."""

from weakref import WeakSet

import numpy as np

from quantalpha.practice.candles import CLOSE, OPEN, TRADES, Candles
from quantalpha.practice.tape import Instrument

LEVELS = 1000
SPACING = 1e-5  # of the first price on the tape, between levels
LEVEL_NOTIONAL = 50_000.0  # quote currency, about, at the first price on the tape


class Book:
    """The book as of trade number `version` - 1 of its instrument; prices are whole ticks, quantities are in base currency.

    `advance` moves it to the present and tells every listener (a set) which prices changed, so that a stream of differences
    and a snapshot taken at any moment always agree. Sides are worked out when they are asked for.
    """

    def __init__(self, instrument: Instrument):
        self.instrument = instrument
        self.version = self._bid = 0
        self._sides: dict[int, dict[int, float]] = {-1: {}, 1: {}}  # those of this version that were asked for, by direction
        self.listeners: WeakSet[Changes] = WeakSet()
        first = float(instrument.last.rows[0, OPEN])
        self._grid = max(1, int(first * SPACING * 10**instrument.digits))
        self._unit = LEVEL_NOTIONAL / first

    def advance(self, time: int) -> None:
        """Move to the tape's moment `time`; never back."""
        version = self.instrument.last.trades_until(time)
        if version <= self.version:
            return
        before = (self.bids, self.asks) if self.listeners else None
        self.version, self._bid = version, best_bid(self.instrument, time)
        self._sides.clear()
        for changes in self.listeners:
            changes.bids |= changed(before[0], self.bids)
            changes.asks |= changed(before[1], self.asks)

    @property
    def bids(self) -> dict[int, float]:
        """Ticks -> quantity, best price first."""
        return self._side(-1)

    @property
    def asks(self) -> dict[int, float]:
        return self._side(1)

    def top(self, direction: int) -> tuple[int, float]:
        """(ticks, quantity) of the best ask (direction +1) or bid (-1), once the book has moved."""
        best = self._bid + 1 if direction > 0 else self._bid
        return best, float(self._quantity(np.array(hashed(self.version + best))))

    def _side(self, direction: int) -> dict[int, float]:
        if direction not in self._sides:
            best, quantity = self.top(direction)
            nearest = -(-best // self._grid) if direction > 0 else best // self._grid
            ticks = (nearest + direction * np.arange(LEVELS)) * self._grid
            ticks = ticks[(ticks != best) & (ticks > 0)][: LEVELS - 1]
            self._sides[direction] = {best: quantity} | dict(zip(ticks.tolist(), self._quantity(hashed(ticks)).tolist()))
        return self._sides[direction]

    def _quantity(self, share: np.ndarray) -> np.ndarray:
        least = 10.0**-self.instrument.lot_digits
        return np.maximum(np.round(self._unit * (0.2 + share), self.instrument.lot_digits), least)


class Changes:
    """Prices whose quantity changed since this was last emptied."""

    def __init__(self, book: Book):
        self.bids: set[int] = set()
        self.asks: set[int] = set()
        book.listeners.add(self)

    def __bool__(self):
        return bool(self.bids or self.asks)

    def clear(self) -> None:
        self.bids.clear()
        self.asks.clear()


def hashed(number: int | np.ndarray) -> float | np.ndarray:
    """Knuth's multiplicative hash, as a fraction."""
    return (number * 2654435761 % 2**32) / 2**32


def changed(before: dict[int, float], after: dict[int, float]) -> set[int]:
    """Prices (ticks) whose quantity is another one."""
    return {price for price, _ in before.items() ^ after.items()}


def best_bid(instrument: Instrument, time: int) -> int:
    """Best bid at `time` in ticks: the last price if a seller made it, else one tick below; the best ask lies one tick above."""
    last = instrument.last
    price = round(last.price(time) * 10**instrument.digits)
    return max(1, price - (0 if seller_made(last, last.trades_until(time) - 1) else 1))


def seller_made(candles: Candles, trade: int) -> bool:
    """Whether a seller took trade number `trade`: the price fell, or stood and the number is odd."""
    move = price_move(candles, trade)
    return move < 0 or (move == 0 and trade % 2 == 1)


def price_move(candles: Candles, trade: int) -> float:
    """Price of trade number `trade` less that of the trade before it."""
    bar, inside = divmod(trade, TRADES)
    prices = candles.unfolded(bar)[:, CLOSE]
    return float(prices[inside] - (prices[inside - 1] if inside else candles.rows[max(bar - 1, 0), CLOSE]))
