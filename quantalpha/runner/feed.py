"""Where market events come from: a recorded table, or the venue's stream."""

from collections.abc import Iterator

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
    names = list(values)
    for time, *row in zip(schema.epoch_ms(bars.index).tolist(), *values.values()):
        bar = dict(zip(names, row))
        if not warm_up:
            rate = bar["funding_rate"]
            yield MarketOpenEvent(event_time=time, recv_time=time, symbol=symbol, bar=time, open=bar["open"], funding_rate=rate)
        yield MarketCloseEvent(event_time=time + step, recv_time=time + step, symbol=symbol, bar=time, warm_up=warm_up, **bar)


def live(bar: BarOpen | BarClose, symbol: str, step: int, now: int) -> MarketEvent:
    """A message of the stream as an event; `now`: ms at which an opening was learned of (a close carries its own)."""
    if isinstance(bar, BarOpen):
        times = {"event_time": bar.time, "recv_time": now, "bar": bar.time}
        return MarketOpenEvent(**times, symbol=symbol, open=bar.open, funding_rate=bar.funding_rate)
    prices = {name: getattr(bar, name) for name in schema.REQUIRED}
    mark = None if bar.mark is None or bar.mark != bar.mark else bar.mark
    times = {"event_time": bar.time + step, "recv_time": bar.received, "bar": bar.time}
    return MarketCloseEvent(**times, symbol=symbol, **prices, mark=mark, funding_rate=bar.funding_rate, warm_up=False)
