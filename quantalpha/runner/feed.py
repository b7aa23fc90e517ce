"""Where market events come from: recorded tables, or the venue's streams; of several symbols in order of time."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from heapq import merge

import pandas as pd

from quantalpha import schema
from quantalpha.market.stream import BarClose, BarOpen
from quantalpha.runner.events import MarketCloseEvent, MarketOpenEvent

MarketEvent = MarketOpenEvent | MarketCloseEvent


def replay(bars: pd.DataFrame, symbol: str, step: int, *, warm_up: bool = False) -> Iterator[MarketEvent]:
    """Opening and close of each recorded bar of `step` ms, received the moment it is true; `warm_up`: closes only, marked as history."""
    values = {name: bars[name].astype(float).tolist() for name in schema.REQUIRED}
    values["mark"] = [None if mark != mark else mark for mark in bars["mark"].tolist()] if "mark" in bars else [None] * len(bars)
    values["funding_rate"] = bars["funding_rate"].astype(float).tolist() if "funding_rate" in bars else [0.0] * len(bars)
    rows = zip(*(values[name] for name in (*schema.REQUIRED, "mark", "funding_rate")))
    for time, (open, high, low, close, volume, mark, rate) in zip(schema.epoch_ms(bars.index).tolist(), rows):
        if not warm_up:
            yield MarketOpenEvent(event_time=time, recv_time=time, symbol=symbol, bar=time, open=open, funding_rate=rate)
        yield MarketCloseEvent(
            event_time=time + step, recv_time=time + step, symbol=symbol, bar=time, open=open, high=high, low=low, close=close,
            volume=volume, mark=mark, funding_rate=rate, warm_up=warm_up,
        )  # fmt: skip


def replay_all(tables: Mapping[str, pd.DataFrame], step: int) -> Iterator[MarketEvent]:
    """`replay` of several symbols; of one moment first all closes, then all openings."""
    return merge(*(replay(bars, symbol, step) for symbol, bars in tables.items()), key=_turn)


def _turn(event: MarketEvent) -> tuple[int, bool]:
    return event.event_time, type(event) is MarketOpenEvent


class Merge:
    """Live bars of several symbols in the order in which `replay_all` gives recorded ones: an opening waits until every symbol has closed
    the bar before, at most `longest_lag` seconds from when it was heard of."""

    def __init__(self, symbols: Sequence[str], longest_lag: float):
        self.longest_lag = longest_lag
        self._closed = dict.fromkeys(symbols, -1)  # ms: the time of each symbol's last close
        self._waiting: deque[tuple[float, MarketEvent]] = deque()

    def take(self, event: MarketEvent, now: float) -> list[MarketEvent]:
        """What may go on, this one included or not; now: seconds of any clock."""
        if type(event) is MarketOpenEvent:
            self._waiting.append((now, event))
            return self.late(now)
        self._closed[event.symbol] = event.event_time
        if all(each.symbol != event.symbol or each.bar > event.bar for _, each in self._waiting):
            return [event, *self.late(now)]
        older = [each for _, each in self._waiting if each.bar <= event.bar]  # its own opening among them: it is not waited for any longer
        self._waiting = deque(each for each in self._waiting if each[1].bar > event.bar)
        return [*older, event, *self.late(now)]

    def late(self, now: float) -> list[MarketEvent]:
        """Openings that have waited long enough, or need not wait."""
        due = 0
        for heard, event in self._waiting:
            missing = any(closed < event.event_time for closed in self._closed.values())
            if -1 < self._closed[event.symbol] < event.event_time or missing and now - heard < self.longest_lag:
                break  # its own bars never come out of turn
            due += 1
        return self._released(due)

    def _released(self, count: int) -> list[MarketEvent]:
        return [self._waiting.popleft()[1] for _ in range(count)]


def as_history(bar: MarketCloseEvent) -> MarketCloseEvent:
    """A bar to be known, and not to be traded on."""
    return replace(bar, warm_up=True)


def live(bar: BarOpen | BarClose, symbol: str, step: int, now: int) -> MarketEvent:
    """A message of the stream as an event; `now`: ms at which an opening was learned of (a close carries its own)."""
    if isinstance(bar, BarOpen):
        times = {"event_time": bar.time, "recv_time": now, "bar": bar.time}
        return MarketOpenEvent(**times, symbol=symbol, open=bar.open, funding_rate=bar.funding_rate)
    prices = {name: getattr(bar, name) for name in schema.REQUIRED}
    mark = None if bar.mark is None or bar.mark != bar.mark else bar.mark
    times = {"event_time": bar.time + step, "recv_time": bar.received, "bar": bar.time}
    return MarketCloseEvent(**times, symbol=symbol, **prices, mark=mark, funding_rate=bar.funding_rate, warm_up=False)
