"""Klines of a tape as they stood at any moment: closed bars exactly as recorded, the open one as far as its trades have gone.

The tape knows a bar by open, high, low, close and totals. `unfold` invents the TRADES trades inside it: open first, close last, high and
low at seeded moments in seeded order (so that the order tells nothing about the close), straight lines between. It is a way to fill the
time, not a market: nothing inside a bar is worth trading on.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from quantalpha.timeframe import UNITS, milliseconds

TRADES = 240  # per bar of the tape
COLUMNS = ("open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote")
OPEN, HIGH, LOW, CLOSE, VOLUME, QUOTE, COUNT, BUY, BUY_QUOTE = range(len(COLUMNS))
MONTH = "1M"
INTERVALS = {name: milliseconds(name) for name in ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d"]}
INTERVALS |= {"1w": 7 * UNITS["d"], MONTH: UNITS["d"]}  # a month is a multiple of days
MONDAY = 4 * UNITS["d"]  # weeks open on Mondays; 1970-01-01 was a Thursday


class Chart(NamedTuple):
    """Bars of one interval: open time, end (the next open), first base bar and its open, rows [n, len(COLUMNS)]."""

    times: np.ndarray
    ends: np.ndarray
    first: np.ndarray
    begins: np.ndarray
    rows: np.ndarray


class Candles:
    """A tape's base bars and every coarser interval of them.

    times: int64[n] opens; rows: float64[n, len(COLUMNS)]; step: bar length, all in milliseconds; digits: decimals of a price and of a
    quantity; seed: names the invented paths.
    """

    def __init__(self, times: np.ndarray, rows: np.ndarray, step: int, digits: tuple[int, int], seed: int):
        self.times, self.rows, self.step, self.digits, self.seed = times, rows, step, digits, seed
        self.chart = lru_cache(maxsize=None)(self._chart)
        self.unfolded = lru_cache(maxsize=64)(self._unfolded)

    def serves(self, interval: str) -> bool:
        """Whether `interval` is one of Binance's and a whole multiple of the tape's bars."""
        return interval in INTERVALS and INTERVALS[interval] % self.step == 0

    def trades_until(self, time: int) -> int:
        """Number of trades made at or before `time`; trade k belongs to base bar k // TRADES."""
        bar = int(np.searchsorted(self.times, time, side="right")) - 1
        if bar < 0:
            return 0
        inside = -(-(time - int(self.times[bar]) + 1) * (TRADES - 1) // (self.step - 1))
        return bar * TRADES + min(inside, TRADES)

    def trade_time(self, trade: int) -> int:
        """When trade number `trade` was made: the first at its bar's open, the last at its close time."""
        bar, inside = divmod(trade, TRADES)
        return int(self.times[bar]) + inside * (self.step - 1) // (TRADES - 1)

    def price(self, time: int) -> float:
        """Price of the last trade at `time`."""
        bar, inside = divmod(self.trades_until(time) - 1, TRADES)
        return float(self.unfolded(bar)[inside, CLOSE])

    def extremes(self, first: int, last: int, direction: int) -> np.ndarray:
        """The highest (direction +1) or lowest (-1) trade of each base bar from position `first` to `last`, both included."""
        return self.rows[first : last + 1, HIGH if direction > 0 else LOW]

    def row(self, bar: int, time: int) -> np.ndarray:
        """Base bar `bar` as it stood at `time`, a moment at or after its open."""
        if time >= self.times[bar] + self.step:
            return self.rows[bar]
        return self.unfolded(bar)[self.trades_until(time) - 1 - bar * TRADES]

    def standing(self, interval: str, index: int, time: int) -> np.ndarray:
        """Bar `index` of `interval` as it stood at `time`, a moment at or after its first trade."""
        chart = self.chart(interval)
        if time >= chart.ends[index]:
            return chart.rows[index]
        return self.merged(int(chart.first[index]), time)

    def merged(self, first: int, time: int) -> np.ndarray:
        """The base bars from position `first` to the one open at `time` as one bar, as it stood then."""
        last = int(np.searchsorted(self.times, time, side="right")) - 1
        return _merge(np.vstack([self.rows[first:last], self.row(last, time)]), np.array([0]))[0]

    def begun(self, interval: str, time: int) -> int:
        """Number of bars of `interval` whose first trade was made at or before `time`."""
        return int(np.searchsorted(self.chart(interval).begins, time, side="right"))

    def _chart(self, interval: str) -> Chart:
        opens, ends = _grid(self.times, interval)
        first = np.flatnonzero(np.r_[True, np.diff(opens) > 0])
        return Chart(opens[first], ends[first], first, self.times[first], _merge(self.rows, first))

    def _unfolded(self, bar: int) -> np.ndarray:
        return unfold(self.rows[bar], self.digits, np.random.default_rng([self.seed, int(self.times[bar] // 1000)]))


def unfold(row: np.ndarray, digits: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """[TRADES, len(COLUMNS)]: the bar as it stood after each of its trades; the last row is the bar itself."""
    turn, back = np.sort(rng.permutation(TRADES - 2)[:2] + 1)
    turns = row[[HIGH, LOW]] if rng.random() < 0.5 else row[[LOW, HIGH]]
    price = np.round(np.interp(np.arange(TRADES), [0, turn, back, TRADES - 1], [row[OPEN], *turns, row[CLOSE]]), digits[0])
    done = np.cumsum(rng.exponential(size=TRADES))
    rows = np.empty((TRADES, len(COLUMNS)))
    rows[:, OPEN], rows[:, CLOSE] = row[OPEN], price
    rows[:, HIGH], rows[:, LOW] = np.maximum.accumulate(price), np.minimum.accumulate(price)
    rows[:, VOLUME:] = np.round(row[VOLUME:] * (done / done[-1])[:, None], digits[1])
    rows[:, COUNT] = np.ceil(rows[:, COUNT])
    rows[-1] = row
    return rows


def _merge(rows: np.ndarray, first: np.ndarray) -> np.ndarray:
    """One bar for each run of rows that begins at a position in `first`; a run of one stays as it is."""
    last = np.r_[first[1:], len(rows)] - 1
    merged, several = rows[last], last > first
    merged[:, OPEN] = rows[first, OPEN]
    merged[:, HIGH] = np.maximum.reduceat(rows[:, HIGH], first)
    merged[:, LOW] = np.minimum.reduceat(rows[:, LOW], first)
    merged[several, VOLUME:] = np.round(np.add.reduceat(rows[:, VOLUME:], first), 8)[several]
    return merged


def _grid(times: np.ndarray, interval: str) -> tuple[np.ndarray, np.ndarray]:
    """Open and end of the `interval` bar each time falls into."""
    if interval == MONTH:
        months = times.astype("datetime64[ms]").astype("datetime64[M]")
        return months.astype("datetime64[ms]").astype("int64"), (months + 1).astype("datetime64[ms]").astype("int64")
    step, anchor = INTERVALS[interval], MONDAY if interval == "1w" else 0
    opens = times - (times - anchor) % step
    return opens, opens + step
