"""Raw frames in, messages out, each once and in order: decoding, sequence checks, books, health. No sockets here, and no clock.

What only REST can mend shows in `wanted`. Until then a book with a hole is not `synced`, and trades or bars after a hole are held back.
"""

from collections import Counter

from quantalpha import timeframe
from quantalpha.market.ticks.book import Book
from quantalpha.market.ticks.health import Channel, Health
from quantalpha.market.ticks.messages import KIND, STREAMED, Bar, Depth, Mark, Message, Quote, Trade
from quantalpha.market.ticks.sequence import Named, Numbered
from quantalpha.market.ticks.sound import require_sound

FAULTS = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError)  # what decoding a malformed frame raises


class Intake:
    """One venue's messages. decoder: `Binance()` or `Bybit()`; bar: length of the bars asked for.

    since: what is known already, by (symbol, kind): number of the last trade (its time where the venue does not count), open time of the
    last bar, ms. The stream then goes on after it, whatever passed meanwhile included.
    """

    def __init__(self, decoder, health: Health, bar: str, since: dict[tuple[str, str], int] | None = None):
        self.decoder, self.health = decoder, health
        self.books: dict[str, Book] = {}
        self.sequences: dict[tuple[str, str], Numbered | Named] = {}
        self.losses: Counter[str] = Counter()  # by kind: what was asked for before one does not mend what went missing in it
        self._step, self._since = timeframe.milliseconds(bar), dict(since or {})
        self._newest: dict[tuple[str, str], int] = {}
        self._checks = {Quote: self._quote, Depth: self._depth, Trade: self._trade, Mark: self._mark, Bar: self._bar}

    def take(self, raw: bytes | str, received_ns: int) -> list[Message]:
        """What is new in one frame. A malformed one is counted and dropped whole: the sequence checks see the hole."""
        found = []
        try:
            messages = self.decoder.decode(raw)
            for message in messages:
                require_sound(message)
            for message in messages:
                kind = type(message)
                channel = self.health.channel(message.symbol, KIND[kind])
                self.health.received(channel, message.event, received_ns)
                found += self._checks[kind](message, channel)
        except FAULTS:
            self._malformed()
        return found

    def wanted(self) -> list[tuple[str, str]]:
        """(symbol, kind) of what is to be asked for now."""
        books = [(symbol, "depth") for symbol, book in self.books.items() if not book.synced]
        return books + [key for key, sequence in self.sequences.items() if sequence.broken]

    def snapshot(self, message: Depth) -> bool:
        """A book from REST; whether it joins on to the changes received."""
        try:
            joined = self.book(message.symbol).apply(message) == "applied"
        except FAULTS:
            self._malformed()
            return False
        self.health.channel(message.symbol, "depth").resyncs += joined
        return joined

    def mend(self, symbol: str, kind: str, fetched: list[Message]) -> list[Message]:
        """Trades or bars fetched by REST, and those that waited for them; what is in neither counts as lost."""
        return self.sequences[symbol, kind].mend(fetched)

    def lose(self, kinds) -> None:
        """A line that carried `kinds` broke, or ran over: books are void, and trades and bars may be missing."""
        self.losses.update(kinds)
        for book in self.books.values() if "depth" in kinds else ():
            book.lose()
        for (_, kind), sequence in self.sequences.items():
            if kind in kinds:
                sequence.lose()

    def book(self, symbol: str) -> Book:
        found = self.books.get(symbol)
        if found is None:
            found = self.books[symbol] = Book(symbol)
        return found

    def _malformed(self) -> None:
        """Binance's numbers show what was dropped. Bybit's trades have none, and its book may begin anew with the frame dropped."""
        self.health.malformed += 1
        if not self.decoder.counted_trades:
            self.lose(("depth", "trades"))

    def _depth(self, message: Depth, channel: Channel) -> list[Message]:
        book = self.book(message.symbol)
        synced = book.synced
        verdict = book.apply(message)
        channel.old += verdict == "old"
        channel.gaps += verdict == "gap"
        channel.resyncs += message.snapshot == STREAMED and not synced
        if verdict == "applied" and book.crossed():
            channel.gaps += 1
            book.lose()
        return [] if verdict == "old" else [message]

    def _quote(self, message: Quote, channel: Channel) -> list[Message]:
        return self._grows(message, "book", message.update, channel)

    def _mark(self, message: Mark, channel: Channel) -> list[Message]:
        return self._grows(message, "mark", message.time, channel)

    def _grows(self, message: Message, kind: str, number: int, channel: Channel) -> list[Message]:
        before = self._newest.get((message.symbol, kind), -1)
        if number > before or number == 1:  # Bybit counts from 1 again after a restart
            self._newest[message.symbol, kind] = number
            return [message]
        channel.duplicates += number == before
        channel.old += number < before
        return []

    def _trade(self, message: Trade, channel: Channel) -> list[Message]:
        if type(message.id) is not (int if self.decoder.counted_trades else str):
            raise TypeError(f"malformed: {message}")
        return self._sequence(message.symbol, "trades", channel).take(message)

    def _bar(self, message: Bar, channel: Channel) -> list[Message]:
        sequence = self._sequence(message.symbol, "bars", channel)
        if message.closed:
            return sequence.take(message)
        return [message] if sequence.last is None or message.time > sequence.last else []

    def _sequence(self, symbol: str, kind: str, channel: Channel) -> Numbered | Named:
        found = self.sequences.get((symbol, kind))
        if found is None:
            since = self._since.get((symbol, kind))
            named = kind == "trades" and not self.decoder.counted_trades
            found = Named(channel, since) if named else Numbered(channel, 1 if kind == "trades" else self._step, since)
            self.sequences[symbol, kind] = found
        return found
