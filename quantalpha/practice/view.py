"""The market as one account sees it at a moment of the tape: prices, and the book less what the account has taken from it."""

from collections.abc import Iterator
from decimal import Decimal

from quantalpha.practice.book import Book
from quantalpha.practice.exchange import Exchange
from quantalpha.practice.orders import BUY, ZERO, Rejected, exact, tick_of
from quantalpha.practice.path import price_at
from quantalpha.practice.tape import Instrument


class View:
    """`time`: the moment seen; it only goes forward. What is taken is gone until the book moves."""

    def __init__(self, exchange: Exchange):
        self.exchange, self.time = exchange, exchange.now()
        self.instruments: dict[str, Instrument] = exchange.instruments
        self._books = {symbol: Book(each) for symbol, each in self.instruments.items()}
        self._taken: dict[str, tuple[int, dict[int, Decimal]]] = {}

    def mark(self, symbol: str) -> Decimal:
        return self._price(self.instruments[symbol].mark)

    def last(self, symbol: str) -> Decimal:
        return self._price(self.instruments[symbol].last)

    def price(self, symbol: str, by: str) -> Decimal:
        """by: "mark" or "last"."""
        return self.mark(symbol) if by == "mark" else self.last(symbol)

    def best(self, symbol: str, side: int) -> Decimal:
        """What an order of `side` would trade at first; Rejected where nobody stands there."""
        for _, price, _ in self.displayed(symbol, side):
            return price
        raise Rejected("no_book")

    def displayed(self, symbol: str, side: int) -> Iterator[tuple[int, Decimal, Decimal]]:
        """(ticks, price, quantity) that an order of `side` meets, best first."""
        book, each = self._book(symbol), self.instruments[symbol]
        tick, taken = tick_of(each), self._gone(symbol)
        levels = book.asks if side == BUY else book.bids
        for ticks, shown in levels.items():
            left = exact(shown, each.lot_digits) - taken.get(ticks, ZERO)
            if left > 0:
                yield ticks, ticks * tick, left

    def standing(self, symbol: str, side: int, price: Decimal) -> Decimal:
        """What stands in the book on `side` at `price`."""
        book, each = self._book(symbol), self.instruments[symbol]
        levels = book.bids if side == BUY else book.asks
        return exact(levels.get(int(price / tick_of(each)), 0.0), each.lot_digits)

    def take(self, symbol: str, ticks: int, quantity: Decimal) -> None:
        taken = self._gone(symbol)
        taken[ticks] = taken.get(ticks, ZERO) + quantity

    def _price(self, candles) -> Decimal:
        return price_at(candles, max(candles.trades_until(self.time) - 1, 0))

    def _book(self, symbol: str) -> Book:
        self._books[symbol].advance(self.time)
        return self._books[symbol]

    def _gone(self, symbol: str) -> dict[int, Decimal]:
        version = self._book(symbol).version
        known, taken = self._taken.get(symbol, (version, {}))
        self._taken[symbol] = version, taken if known == version else {}
        return self._taken[symbol][1]
