"""What can happen in a session: frozen events with two times, and their exact JSON form.

`event_time`: when it is true on the market; `recv_time`: when this process learned of it; `bar`: open time of the bar it belongs to
(integer ms since 1970 UTC). Python's JSON writes the shortest decimal that reads back to the same double, so a round trip is exact.
"""

import json
from dataclasses import asdict, dataclass

from quantalpha.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Event:
    event_time: int
    recv_time: int
    symbol: str


@dataclass(frozen=True, kw_only=True)
class SessionEvent(Event):
    """A session's first and last word."""

    phase: str  # "start" or "stop"
    reason: str


@dataclass(frozen=True, kw_only=True)
class MarketOpenEvent(Event):
    """A bar has opened; `funding_rate` is what was settled at this open, 0 where none was due."""

    bar: int
    open: float
    funding_rate: float


@dataclass(frozen=True, kw_only=True)
class MarketCloseEvent(Event):
    """A bar is complete. `mark`: at its close, None where the venue has none. `warm_up`: history from before the session, never traded."""

    bar: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    mark: float | None
    funding_rate: float
    warm_up: bool


@dataclass(frozen=True, kw_only=True)
class SignalEvent(Event):
    """The decision at a bar's close. `edge`: P(up) - P(down), NaN if none; `target`: signed leverage wanted; `previous`: the one held."""

    bar: int
    edge: float
    previous: float
    target: float


@dataclass(frozen=True, kw_only=True)
class OrderEvent(Event):
    """A wish to trade `quantity` (signed, base units) at the next open: to a position of `target` x equity at `price`, the close."""

    bar: int
    client_id: str
    quantity: float
    target: float
    price: float


@dataclass(frozen=True, kw_only=True)
class ValidatedOrderEvent(OrderEvent):
    """An order that passed every check; only `risk` makes one, only these reach a broker."""


@dataclass(frozen=True, kw_only=True)
class RejectedOrderEvent(OrderEvent):
    """An order refused: reason code and the values that refused it."""

    reason: str
    values: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class FillEvent(Event):
    """A trade: signed base units, price paid, fee (+ paid), realised profit. reason: order, stop_loss, take_profit, liquidation."""

    bar: int
    client_id: str | None
    quantity: float
    price: float
    fee: float
    realised: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class FundingEvent(Event):
    """Funding settled on the position held: `amount` in quote, + received."""

    bar: int
    amount: float
    rate: float
    mark: float
    quantity: float


@dataclass(frozen=True, kw_only=True)
class EquityEvent(Event):
    """The account at a bar's close."""

    bar: int
    equity: float
    cash: float
    quantity: float
    price: float


MARKET = (SessionEvent, MarketOpenEvent, MarketCloseEvent)
ORDERS = (SignalEvent, OrderEvent, ValidatedOrderEvent, RejectedOrderEvent)
RESULTS = (FillEvent, FundingEvent, EquityEvent)
KINDS = {kind.__name__.removesuffix("Event"): kind for kind in (*MARKET, *ORDERS, *RESULTS)}


def kind_of(event: Event) -> str:
    """The short name an event is stored under: 'Fill', 'MarketOpen'."""
    return type(event).__name__.removesuffix("Event")


def to_json(event: Event) -> str:
    return json.dumps(event.__dict__)


def from_json(kind: str, payload: str) -> Event:
    """The event back, equal to the one stored. Raises DataError for an unknown kind or a payload that does not fit it."""
    try:
        return KINDS[kind](**json.loads(payload))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"journal: not an event of kind {kind!r}: {error}; was this journal written by another version?") from None


def as_kind(order: OrderEvent, kind: type[OrderEvent], **verdict) -> OrderEvent:
    """The same order as another kind of event."""
    return kind(**asdict(order), **verdict)
