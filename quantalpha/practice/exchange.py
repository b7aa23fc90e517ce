"""What every connection shares: the tape, the clock that hides its future, and the books."""

from quantalpha.practice.book import Book
from quantalpha.practice.clock import Clock
from quantalpha.practice.tape import Instrument, Tape


class Exchange:
    """One running exchange; `now` is the only door to time."""

    def __init__(self, tape: Tape, clock: Clock):
        self.tape, self.clock = tape, clock
        self._weights: dict[str, tuple[int, int]] = {}  # per client: minute, weight used in it
        self._books = {symbol: Book(instrument) for symbol, instrument in tape.instruments.items()}

    def now(self) -> int:
        """Tape time, milliseconds since 1970 UTC."""
        return self.clock.now()

    def listed(self) -> dict[str, Instrument]:
        """The instruments that have traded by now; the others do not exist yet."""
        now = self.now()
        return {symbol: each for symbol, each in self.tape.instruments.items() if each.times[0] <= now}

    def book(self, symbol: str) -> Book:
        """The book of a listed symbol, brought up to the present."""
        book = self._books[symbol]
        book.advance(self.now())
        return book

    def use_weight(self, client: str, weight: int) -> int:
        """Request weight that `client` has used in this wall-clock minute, this request included."""
        minute = int(self.clock.wall() // 60)
        since, used = self._weights.get(client, (minute, 0))
        used = weight + (used if since == minute else 0)
        self._weights[client] = minute, used
        return used
