"""Where along the tape's trades something happens: the first trade beyond a level, and what was traded.

Trade number k of an instrument: see `candles`. Mark and last price have the same trades, so one number names a moment of both.
"""

from decimal import Decimal

import numpy as np

from quantalpha.practice.candles import CLOSE, TRADES, VOLUME, Candles
from quantalpha.practice.orders import exact
from quantalpha.practice.tape import Instrument


def first_beyond(candles: Candles, begin: int, end: int, level: float, direction: int) -> int | None:
    """The first trade in [begin, end) at or above `level` (direction +1), at or below it (-1); None where there is none.

    Whole bars are passed over by their highs and lows.
    """
    if begin >= end:
        return None
    bar, last = begin // TRADES, (end - 1) // TRADES
    for each in (bar + np.flatnonzero(direction * (candles.extremes(bar, last, direction) - level) >= 0.0)).tolist():
        low = max(begin - each * TRADES, 0)
        prices = candles.unfolded(each)[low : end - each * TRADES, CLOSE]
        reached = np.flatnonzero(direction * (prices - level) >= 0.0)
        if reached.size:
            return each * TRADES + low + int(reached[0])
    return None


def worst(candles: Candles, begin: int, end: int, side: int) -> float:
    """The worst price for a position of `side` in the bars that are open between the times begin and end."""
    first, last = (max(candles.trades_until(time) - 1, 0) // TRADES for time in (begin, end))
    return -side * float((-side * candles.extremes(first, last, -side)).max())


def price_at(candles: Candles, trade: int) -> Decimal:
    """Last or mark price, whichever the candles are of, at trade number `trade`."""
    bar, inside = divmod(trade, TRADES)
    return exact(candles.unfolded(bar)[inside, CLOSE], candles.digits[0])


def quantity_at(instrument: Instrument, trade: int) -> Decimal:
    """What trade number `trade` moved, base currency."""
    bar, inside = divmod(trade, TRADES)
    volumes = instrument.last.unfolded(bar)[:, VOLUME]
    return exact(volumes[inside] - (volumes[inside - 1] if inside else 0.0), instrument.lot_digits)
