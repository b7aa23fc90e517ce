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
    and a snapshot taken at any moment always agree.
    """

    def __init__(self, instrument: Instrument):
        self.instrument = instrument
        self.version = 0
        self.bids: dict[int, float] = {}
        self.asks: dict[int, float] = {}
        self.listeners: WeakSet[Changes] = WeakSet()
        first = float(instrument.last.rows[0, OPEN])
        self._grid = max(1, int(first * SPACING * 10**instrument.digits))
        self._unit = LEVEL_NOTIONAL / first

    def advance(self, time: int) -> None:
        """Move to the tape's moment `time`; never back."""
        version = self.instrument.last.trades_until(time)
        if version <= self.version:
            return
        bid = best_bid(self.instrument, time)
        bids, asks = self._side(bid, -1, version), self._side(bid + 1, 1, version)
        for changes in self.listeners:
            changes.bids |= changed(self.bids, bids)
            changes.asks |= changed(self.asks, asks)
        self.version, self.bids, self.asks = version, bids, asks

    def _side(self, best: int, direction: int, version: int) -> dict[int, float]:
        """Ticks -> quantity, best price first."""
        nearest = -(-best // self._grid) if direction > 0 else best // self._grid
        ticks = np.r_[best, (nearest + direction * np.arange(LEVELS + 1)) * self._grid]
        ticks = np.r_[best, ticks[1:][ticks[1:] != best][: LEVELS - 1]]
        ticks = ticks[ticks > 0]
        share = (ticks * 2654435761 % 2**32) / 2**32  # Knuth's multiplicative hash
        share[0] = ((version + best) * 2654435761 % 2**32) / 2**32
        least = 10.0**-self.instrument.lot_digits
        quantity = np.maximum(np.round(self._unit * (0.2 + share), self.instrument.lot_digits), least)
        return dict(zip(ticks.tolist(), quantity.tolist()))


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
