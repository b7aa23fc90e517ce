"""What a venue's streams say, in one shape for all venues.

`time`: when it happened at the matching engine, `event`: when the venue sent it; both int milliseconds of the VENUE's clock. Where a venue
tells only one of them it stands for both. Prices are float64 exactly as published, quantities are in base units (or contracts).
"""

from typing import NamedTuple

KINDS = ("book", "depth", "trades", "mark", "bars")  # what can be asked for: best bid and ask, changes of the book, and so on
CHANGES, STREAMED, FETCHED = 0, 1, 2


class Quote(NamedTuple):
    """Best bid and ask. update: number of the book's state; grows."""

    symbol: str
    time: int
    event: int
    update: int
    bid: float
    bid_qty: float
    ask: float
    ask_qty: float


class Depth(NamedTuple):
    """Changes of the book, or all of it. bids, asks: [price, quantity as waits there now], as text or numbers; 0: nothing left.

    snapshot: CHANGES; STREAMED, all of the book; FETCHED, all of it by REST, which may be older than changes that came before it.

    first, last: numbers of the updates inside; previous: the `last` of the message before, by which a hole is seen.
    """

    symbol: str
    time: int
    event: int
    first: int
    last: int
    previous: int
    bids: list
    asks: list
    snapshot: int = 0


class Trade(NamedTuple):
    """side: +1 a buyer took, -1 a seller took. id: the venue's; counts up by one where the venue counts, else text."""

    symbol: str
    time: int
    event: int
    id: int | str
    price: float
    qty: float
    side: int


class Mark(NamedTuple):
    """funding_rate: what the next settlement, at `next_funding` (ms), would be by now."""

    symbol: str
    time: int
    event: int
    mark: float
    index: float
    funding_rate: float
    next_funding: int


class Bar(NamedTuple):
    """time: the bar's OPEN, ms. closed: whether its values are final."""

    symbol: str
    time: int
    event: int
    bar: str
    open: float
    high: float
    low: float
    close: float
    volume: float
    closed: bool


Message = Quote | Depth | Trade | Mark | Bar
KIND = {Quote: "book", Depth: "depth", Trade: "trades", Mark: "mark", Bar: "bars"}


class Line(NamedTuple):
    """One websocket: its path, the kinds it carries, and the requests that subscribe to them."""

    path: str
    kinds: tuple[str, ...]
    requests: list[str]
