"""A tape's prices with the gaps of a running exchange: trades and marks move, closed klines stay as recorded."""

from copy import copy

import numpy as np

from quantalpha.practice.candles import CLOSE, HIGH, LOW, TRADES, Candles
from quantalpha.practice.conditions import Conditions
from quantalpha.practice.tape import Instrument


class GappedCandles(Candles):
    """The same candles (and their caches), whose trades inside a gap are made at another price."""

    def __init__(self, candles: Candles, symbol: str, conditions: Conditions):
        self.__dict__ |= vars(candles)
        self._recorded, self._symbol, self._conditions = candles.unfolded, symbol, conditions
        self.unfolded = self._moved

    def extremes(self, first: int, last: int, direction: int) -> np.ndarray:
        found = super().extremes(first, last, direction)
        touched = [bar for bar in range(first, last + 1) if self._gaps(bar)] if self._conditions.gaps else []
        if touched:
            found = found.copy()
            for bar in touched:
                found[bar - first] = direction * (direction * self.unfolded(bar)[:, CLOSE]).max()
        return found

    def _gaps(self, bar: int) -> list[tuple[int, int, float, str | None]]:
        begin, end = int(self.times[bar]), int(self.times[bar]) + self.step
        return [gap for gap in self._conditions.gaps if gap[0] < end and begin <= gap[1] and gap[3] in (None, self._symbol)]

    def _moved(self, bar: int) -> np.ndarray:
        gaps = self._gaps(bar)
        if not gaps:
            return self._recorded(bar)
        rows, times = self._recorded(bar).copy(), np.array([self.trade_time(bar * TRADES + inside) for inside in range(TRADES)])
        for first, last, factor, _ in gaps:
            inside = (first <= times) & (times <= last)
            rows[inside, CLOSE] = np.round(rows[inside, CLOSE] * factor, self.digits[0])
        rows[:, HIGH] = np.maximum(rows[:, HIGH], np.maximum.accumulate(rows[:, CLOSE]))
        rows[:, LOW] = np.minimum(rows[:, LOW], np.minimum.accumulate(rows[:, CLOSE]))
        return rows


def with_gaps(instrument: Instrument, conditions: Conditions) -> Instrument:
    """The instrument as an exchange trades it; the tape's own stays as it is."""
    played = copy(instrument)
    for name in ("last", "mark"):
        setattr(played, name, GappedCandles(getattr(instrument, name), instrument.symbol, conditions))
    return played
