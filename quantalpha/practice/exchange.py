"""What every connection shares: the tape, the clock that hides its future, and the books."""

from collections.abc import Iterable
from copy import copy

from quantalpha.practice.book import Book
from quantalpha.practice.clock import Clock
from quantalpha.practice.conditions import Conditions, Sizes
from quantalpha.practice.gaps import with_gaps
from quantalpha.practice.keys import ApiKey
from quantalpha.practice.limits import Limits
from quantalpha.practice.tape import Instrument, Tape
from quantalpha.timeframe import UNITS

SETTLING = UNITS["d"]  # how long a contract that trades no more is still listed, and its history served


class Exchange:
    """One running exchange; `now` is the only door to time."""

    def __init__(
        self,
        tape: Tape,
        clock: Clock,
        limits: Limits | None = None,
        keys: Iterable[ApiKey] = (ApiKey(),),
        sizes: Sizes | None = None,
    ):
        self.tape, self.clock = tape, clock
        self.keys = {each.key: each for each in keys}
        self.limits = Limits(wall=clock.wall) if limits is None else limits
        self.conditions = Conditions(clock, Sizes() if sizes is None else sizes)
        self.instruments = {symbol: with_gaps(each, self.conditions) for symbol, each in tape.instruments.items()}
        self._books = {symbol: Book(instrument) for symbol, instrument in self.instruments.items()}

    def with_funding(self, more: float) -> "Exchange":
        """The same market, on whose other side longs pay so much (a fraction) more at each settlement."""
        side = copy(self)
        side.instruments = {symbol: each.with_funding(more) for symbol, each in self.instruments.items()}
        return side

    def now(self) -> int:
        """Tape time, milliseconds since 1970 UTC."""
        return self.clock.now()

    def listed(self) -> dict[str, Instrument]:
        """The instruments that have traded by now and are not delisted; the others do not exist yet, or any more."""
        now = self.now()
        return {symbol: each for symbol, each in self.instruments.items() if each.times[0] <= now < self._delisted(each)}

    def trades(self, instrument: Instrument) -> bool:
        """Whether it is still traded: one whose bars end a day or more before the tape does is not, once they have ended."""
        return not self._ends_early(instrument) or self.now() < instrument.end

    def takes_orders(self, instrument: Instrument) -> bool:
        """Whether it is traded and not halted."""
        return self.trades(instrument) and not self.conditions.holds("halted", instrument.symbol)

    def _delisted(self, instrument: Instrument) -> float:
        return instrument.end + SETTLING if self._ends_early(instrument) else float("inf")

    def _ends_early(self, instrument: Instrument) -> bool:
        return instrument.end + SETTLING <= self.tape.end

    def book(self, symbol: str) -> Book:
        """The book of a listed symbol, brought up to the present."""
        book = self._books[symbol]
        book.advance(self.now())
        return book
