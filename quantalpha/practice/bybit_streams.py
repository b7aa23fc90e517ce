"""Bybit's public websocket topics over the tape; see `streams` for what is never lost and what is thinned out.

Source: bybit-exchange.github.io/docs/v5/websocket/public.
"""

from collections.abc import Iterator

from quantalpha.practice import bybit_payloads as payloads
from quantalpha.practice.bybit_book import PUSH_SECONDS, Feed, Updates
from quantalpha.practice.bybit_query import INTERVALS
from quantalpha.practice.exchange import Exchange
from quantalpha.practice.streams import Klines, Stream, Trades
from quantalpha.practice.tape import Instrument

TICKER_SECONDS = 0.1  # wall seconds between updates
DEPTHS = {str(depth): depth for depth in PUSH_SECONDS}


class Tickers:
    """A snapshot, then what has changed since the message before; besides, at every bar's close, the mark and all else of that moment."""

    def __init__(self, exchange: Exchange, instrument: Instrument):
        self.exchange, self.instrument, self.paced = exchange, instrument, float("-inf")
        self.bar = int((instrument.times + instrument.step <= exchange.now()).sum())
        self.told: dict[str, str] = {}

    def due(self, now: int, wall: float) -> Iterator[dict]:
        each = self.instrument
        while self.told and self.bar < each.times.size and each.times[self.bar] + each.step <= now:
            close = int(each.times[self.bar]) + each.step - 1
            self.bar += 1
            yield from self._news(payloads.ticker(each, close), close)
        if wall - self.paced >= TICKER_SECONDS:
            self.paced = wall
            yield from self._news(payloads.ticker(each, now) | payloads.sizes(self.exchange, each), now)

    def _news(self, facts: dict[str, str], time: int) -> Iterator[dict]:
        news = {name: value for name, value in facts.items() if self.told.get(name) != value}
        kind = "delta" if self.told else "snapshot"
        self.told |= news
        if news:
            head = {"topic": f"tickers.{self.instrument.symbol}", "type": kind, "ts": time}
            yield head | {"data": {"symbol": self.instrument.symbol} | news, "cs": self.instrument.last.trades_until(time)}


class Topics:
    """The topics of a running exchange, and the order book feeds that all their clients share."""

    def __init__(self, exchange: Exchange):
        self.exchange = exchange
        self._feeds: dict[tuple[str, int], Feed] = {}

    def feed(self, instrument: Instrument, depth: int) -> Feed:
        """The numbered order book of that depth."""
        key = instrument.symbol, depth
        if key not in self._feeds:
            self._feeds[key] = Feed(self.exchange, instrument, depth)
        return self._feeds[key]

    def subscribe(self, topic: str) -> Stream | None:
        """The stream of a topic; None where there is no such topic."""
        kind, _, symbol = topic.rpartition(".")
        instrument = self.exchange.listed().get(symbol)
        if instrument is None:
            return None
        name, _, argument = kind.partition(".")
        match name, argument:
            case "kline", _ if instrument.last.serves(INTERVALS.get(argument, "")):
                return Klines(instrument, INTERVALS[argument], self.exchange.now(), payloads.kline_event)
            case "orderbook", _ if argument in DEPTHS:
                return Updates(self.feed(instrument, DEPTHS[argument]))
            case "tickers", "":
                return Tickers(self.exchange, instrument)
            case "publicTrade", "":
                return Trades(instrument, self.exchange.now(), payloads.trade_event)
        return None
