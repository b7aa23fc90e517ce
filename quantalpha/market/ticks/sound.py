"""Whether a decoded message says what its kind can say: whole numbers that fit, prices and quantities that are finite and not negative.

The levels of a depth message are looked at where they enter the book.
"""

from quantalpha.market.ticks.messages import Bar, Depth, Mark, Message, Quote, Trade

INFINITE = float("inf")
LATEST = 253_402_300_800_000  # ms, the end of the year 9999
LARGEST = 2**63  # of what a file can hold


def require_sound(message: Message) -> None:
    """Raises ValueError or TypeError for a message that is not."""
    timed = type(message.time) is type(message.event) is int and 0 <= message.time < LATEST and 0 <= message.event < LATEST
    if not (timed and type(message.symbol) is str and SOUND[type(message)](message)):
        raise ValueError(f"malformed: {message}")


def _quote(m: Quote) -> bool:
    numbered = type(m.update) is int and 0 <= m.update < LARGEST
    return numbered and 0.0 <= m.bid < INFINITE and 0.0 <= m.bid_qty < INFINITE and 0.0 <= m.ask < INFINITE and 0.0 <= m.ask_qty < INFINITE


def _depth(m: Depth) -> bool:
    whole = type(m.first) is type(m.last) is type(m.previous) is int
    return whole and -1 <= m.previous < LARGEST and 0 <= m.first < LARGEST and 0 <= m.last < LARGEST


def _trade(m: Trade) -> bool:
    named = 0 <= m.id < LARGEST if type(m.id) is int else type(m.id) is str and m.id != ""
    return named and 0.0 < m.price < INFINITE and 0.0 <= m.qty < INFINITE


def _mark(m: Mark) -> bool:
    """An index price or a rate that the venue does not tell is NaN."""
    told = 0.0 < m.mark < INFINITE and abs(m.index) != INFINITE and abs(m.funding_rate) != INFINITE
    return told and type(m.next_funding) is int and 0 <= m.next_funding < LARGEST


def _bar(m: Bar) -> bool:
    priced = all(0.0 < price < INFINITE for price in (m.open, m.high, m.low, m.close))
    return priced and 0.0 <= m.volume < INFINITE and type(m.bar) is str and type(m.closed) is bool


SOUND = {Quote: _quote, Depth: _depth, Trade: _trade, Mark: _mark, Bar: _bar}
