"""Binance USD-M futures' market streams over the tape, by pulling: a stream remembers what it has sent and yields what is due since.

A slow reader therefore delays a stream but loses nothing that must not be lost: of every kline its first and its final message, of every
bar the mark at its close, every trade. Only intermediate states are thinned out, by wall time, as Binance does.
Source: developers.binance.com, USD-M futures, websocket market streams.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from quantalpha.practice import payloads
from quantalpha.practice.book import Changes
from quantalpha.practice.exchange import Exchange
from quantalpha.practice.tape import Instrument

KLINE_SECONDS = 0.25  # wall seconds between updates of an open kline


class Stream(Protocol):
    def due(self, now: int, wall: float) -> Iterator[dict]:
        """Messages up to tape time `now`; what is yielded counts as sent. `wall`: seconds, for the pace of updates."""


class Klines:
    """Bars of one interval: first message at the open, updates, the final one carrying exactly the tape's bar.

    event: (instrument, interval, bar, time) -> the dialect's message of the bar as it stood at `time`.
    """

    def __init__(self, instrument: Instrument, interval: str, now: int, event: Callable[[Instrument, str, int, int], dict]):
        self.instrument, self.interval, self.event = instrument, interval, event
        self.chart = instrument.last.chart(interval)
        begun = instrument.last.begun(interval, now)
        self.bar = begun - 1 if begun and now < self.chart.ends[begun - 1] else begun
        self.since, self.opened, self.trades, self.paced = now, False, 0, 0.0

    def due(self, now: int, wall: float) -> Iterator[dict]:
        while self.bar < len(self.chart.times):
            begin, end = int(self.chart.begins[self.bar]), int(self.chart.ends[self.bar])
            if begin > now:
                return
            if not self.opened:
                self.opened = True
                yield self._message(max(begin, self.since), wall)
            if now < end:
                if wall - self.paced >= KLINE_SECONDS and self.instrument.last.trades_until(now) > self.trades:
                    yield self._message(now, wall)
                return
            self.bar, self.opened = self.bar + 1, False
            yield self.event(self.instrument, self.interval, self.bar - 1, end)

    def _message(self, time: int, wall: float) -> dict:
        self.trades, self.paced = self.instrument.last.trades_until(time), wall
        return self.event(self.instrument, self.interval, self.bar, time)


class Marks:
    """`<symbol>@markPrice[@1s]`: every 3 (1) wall seconds, and once at every bar's close time with exactly the tape's mark."""

    def __init__(self, instrument: Instrument, seconds: float, now: int):
        self.instrument, self.seconds, self.paced = instrument, seconds, float("-inf")
        self.bar = int((instrument.times + instrument.step <= now).sum())

    def due(self, now: int, wall: float) -> Iterator[dict]:
        times, step = self.instrument.times, self.instrument.step
        while self.bar < times.size and times[self.bar] + step <= now:
            self.bar += 1
            yield payloads.mark_event(self.instrument, int(times[self.bar - 1]) + step - 1)
        if wall - self.paced >= self.seconds:
            self.paced = wall
            yield payloads.mark_event(self.instrument, now)


class Trades:
    """Every trade, in order. event: (instrument, number) -> the dialect's message of one trade."""

    def __init__(self, instrument: Instrument, now: int, event: Callable[[Instrument, int], dict]):
        self.instrument, self.event, self.sent = instrument, event, instrument.last.trades_until(now)

    def due(self, now: int, wall: float) -> Iterator[dict]:
        for number in range(self.sent, self.instrument.last.trades_until(now)):
            self.sent = number + 1
            yield self.event(self.instrument, number)


class BookTop:
    """`<symbol>@bookTicker`: the best bid and ask whenever a trade has moved the book."""

    def __init__(self, exchange: Exchange, instrument: Instrument):
        self.exchange, self.instrument, self.sent = exchange, instrument, 0

    def due(self, now: int, wall: float) -> Iterator[dict]:
        book = self.exchange.book(self.instrument.symbol)
        if book.version > self.sent:
            self.sent = book.version
            top, traded = payloads.book_top(self.exchange, self.instrument), self.instrument.last.trade_time(book.version - 1)
            head = {"e": "bookTicker", "u": book.version, "s": self.instrument.symbol}
            prices = {"b": top["bidPrice"], "B": top["bidQty"], "a": top["askPrice"], "A": top["askQty"]}
            yield head | prices | {"T": traded, "E": max(now, traded)}


class Depth:
    """`<symbol>@depth[@100ms|@500ms]`: absolute quantities of the prices that changed; `pu` is the `u` before, and 0 removes a price.

    The first event reaches back to the version at subscription, so that a snapshot taken at any later moment falls inside some event.
    """

    def __init__(self, exchange: Exchange, instrument: Instrument, seconds: float):
        self.exchange, self.instrument, self.seconds, self.paced = exchange, instrument, seconds, 0.0
        book = exchange.book(instrument.symbol)
        self.changes, self.sent = Changes(book), book.version - 1

    def due(self, now: int, wall: float) -> Iterator[dict]:
        if wall - self.paced < self.seconds:
            return
        book, changes, each = self.exchange.book(self.instrument.symbol), self.changes, self.instrument
        if changes:
            self.paced = wall
            traded = each.last.trade_time(book.version - 1)
            head = {"e": "depthUpdate", "E": max(now, traded), "T": traded, "s": each.symbol}
            ids = {"U": self.sent + 1, "u": book.version, "pu": self.sent}
            bids, asks = sorted(changes.bids, reverse=True), sorted(changes.asks)
            message = head | ids | {"b": payloads.levels(each, book.bids, bids), "a": payloads.levels(each, book.asks, asks)}
            self.sent = book.version
            changes.clear()
            yield message


DEPTH_SECONDS = {None: 0.25, "500ms": 0.5, "100ms": 0.1}
KINDS: dict[str, Callable[[Exchange, Instrument, re.Match], Stream]] = {
    r"kline_(\w+)": lambda exchange, each, name: Klines(each, name[1], exchange.now(), payloads.kline_event),
    r"markPrice(?:@(1s))?": lambda exchange, each, name: Marks(each, 3.0 if name[1] is None else 1.0, exchange.now()),
    r"aggTrade|trade": lambda exchange, each, name: Trades(each, exchange.now(), partial(payloads.trade_event, name[0])),
    r"bookTicker": lambda exchange, each, name: BookTop(exchange, each),
    r"depth(?:@(100ms|500ms))?": lambda exchange, each, name: Depth(exchange, each, DEPTH_SECONDS[name[1]]),
}


def subscribe(exchange: Exchange, name: str) -> Stream | None:
    """The stream of that name; None where there is no such stream, which Binance accepts and never serves."""
    symbol, _, kind = name.partition("@")
    listed = exchange.listed()
    if symbol != symbol.lower() or symbol.upper() not in listed:
        return None
    instrument = listed[symbol.upper()]
    for pattern, build in KINDS.items():
        match = re.fullmatch(pattern, kind)
        if match is not None and (not kind.startswith("kline_") or instrument.last.serves(match[1])):
            return build(exchange, instrument, match)
    return None
