"""Bybit's order book topics: numbered updates of the nearest levels, the same messages for every client and for REST.

A client gets a snapshot, then every delta after it, `u` rising by one; one that lags behind what is remembered gets another snapshot.
Source: bybit-exchange.github.io/docs/v5/websocket/public/orderbook; seen on the venue: depth 1 sends nothing but snapshots, and no delta is
empty. The depth 500 is the documentation's before it became 1000.
"""

from collections import deque
from collections.abc import Iterator
from itertools import islice

from quantalpha.practice import payloads
from quantalpha.practice.book import changed
from quantalpha.practice.exchange import Exchange
from quantalpha.practice.tape import Instrument

PUSH_SECONDS = {1: 0.01, 50: 0.02, 200: 0.1, 500: 0.1, 1000: 0.2}  # wall seconds between updates, by depth
REPEAT_SECONDS = 3.0  # of silence, after which the best prices are told again
REMEMBERED = 16  # deltas


class Feed:
    """The book of one symbol down to `depth` levels a side, as the topic's clients know it after update number `u`.

    `seq` numbers the trade that made it, so that feeds of different depths can be compared.
    """

    def __init__(self, exchange: Exchange, instrument: Instrument, depth: int):
        self.exchange, self.instrument, self.depth = exchange, instrument, depth
        self.u, self.seq, self.paced = 0, 0, float("-inf")
        self.bids: dict[int, float] = {}
        self.asks: dict[int, float] = {}
        self.deltas: deque[dict] = deque(maxlen=REMEMBERED)

    def advance(self, wall: float, *, now: bool = False) -> None:
        """Take the book's present state as the next update, once the last one is old enough (`now`: at once)."""
        book = self.exchange.book(self.instrument.symbol)
        if book.version == self.seq or (wall - self.paced < PUSH_SECONDS[self.depth] and not now):
            return
        bids, asks = (dict(islice(side.items(), self.depth)) for side in (book.bids, book.asks))
        moved_bids, moved_asks = sorted(changed(self.bids, bids), reverse=True), sorted(changed(self.asks, asks))
        self.bids, self.asks, self.seq = bids, asks, book.version
        if moved_bids or moved_asks:
            self.u, self.paced = self.u + 1, wall
            self.deltas.append(self._message("delta", moved_bids, moved_asks))

    def snapshot(self) -> dict:
        return self._message("snapshot", self.bids, self.asks)

    def levels(self, limit: int) -> dict:
        """The result of GET /orderbook."""
        message = self._message("snapshot", islice(self.bids, limit), islice(self.asks, limit))
        return message["data"] | {"ts": message["ts"], "cts": message["cts"]}

    def _message(self, kind, bids, asks) -> dict:
        """Of a message, and so of its time, nothing is later than the trade it tells of or the clock."""
        each, traded = self.instrument, self.instrument.last.trade_time(self.seq - 1)
        sides = {"b": payloads.levels(each, self.bids, bids), "a": payloads.levels(each, self.asks, asks)}
        head = {"topic": f"orderbook.{self.depth}.{each.symbol}", "type": kind, "ts": max(self.exchange.now(), traded)}
        return head | {"data": {"s": each.symbol, **sides, "u": self.u, "seq": self.seq}, "cts": traded}


class Updates:
    """One client's stream of a feed."""

    def __init__(self, feed: Feed):
        self.feed, self.sent, self.told = feed, None, 0.0

    def due(self, now: int, wall: float) -> Iterator[dict]:
        feed = self.feed
        feed.advance(wall)
        if feed.depth == 1:
            news = [feed.snapshot()] if feed.u != self.sent or wall - self.told >= REPEAT_SECONDS else []
        elif self.sent is None or feed.u - self.sent > len(feed.deltas):
            news = [feed.snapshot()]
        else:
            news = [delta for delta in feed.deltas if delta["data"]["u"] > self.sent]
        if news:
            self.sent, self.told = feed.u, wall
        yield from news
