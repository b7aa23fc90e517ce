"""What can happen in a session: frozen events with two times, and their exact JSON form.

`event_time`: when it is true on the market; `recv_time`: when this process learned of it; `bar`: open time of the bar it belongs to
(integer ms since 1970 UTC). Python's JSON writes the shortest decimal that reads back to the same double, so a round trip is exact.
"""

import json
from dataclasses import dataclass, field

import orjson

from quantalpha.errors import DataError
from quantalpha.secrets import masked


@dataclass(frozen=True, kw_only=True)
class Event:
    event_time: int
    recv_time: int
    symbol: str


@dataclass(frozen=True, kw_only=True)
class SessionEvent(Event):
    """A session's first and last word."""

    phase: str  # start | resume | stop
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
    strategy: str = ""  # the bundle's id
    features: str = ""  # fingerprint of what the model was shown
    novelty: float = float("nan")  # share of the features beyond what it was trained on; NaN: nobody knows


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
class InstructionEvent(Event):
    """What a venue is about to be told of one order: durable before it is sent, so that nothing is sent that a restart does not know of."""

    bar: int
    client_id: str  # of the venue's order
    parent: str  # of the decided order it serves; "" where it protects a position or a kill switch sent it
    action: str  # place | amend | cancel | route (told to no venue: so much of `parent` goes to this leg)
    kind: str  # market | limit | post_only | stop | take_profit
    quantity: float  # signed, base units; of an amendment the new total; 0.0 where a stop closes whatever is held
    price: float | None  # limit price, or the trigger of a stop or take-profit
    reduce_only: bool
    purpose: str = "order"  # order | protection | flatten
    reference: float | None = None  # what slippage is measured from: the mid price when it was made; of what waits for a trigger, that
    predicted: float | None = None  # slippage expected of it then, a fraction of that price, + a cost; None where nobody knows


@dataclass(frozen=True, kw_only=True)
class OrderUpdateEvent(Event):
    """What is known of a venue's order now. filled: signed base units so far; average: their mean price, None before the first fill."""

    client_id: str
    venue_id: str | None
    status: str  # runner.orders.STATUSES
    filled: float = 0.0
    average: float | None = None
    reason: str = ""  # the venue's words for a refusal, an expiry, a doubt


@dataclass(frozen=True, kw_only=True)
class FillEvent(Event):
    """A trade: signed base units, price paid, fee (+ paid), realised profit. reason: order, limit, stop_loss, trailing_stop, take_profit,
    time_stop, liquidation, flatten, external (nobody here ordered it)."""

    bar: int
    client_id: str | None
    quantity: float
    price: float
    fee: float
    realised: float
    reason: str
    trade: str | None = None  # the venue's name of it, by which it is counted once; None on paper
    maker: bool | None = None  # None where nobody says


@dataclass(frozen=True, kw_only=True)
class WalkedEvent(Event):
    """What an order on paper pays in the displayed book: `runner.walk`. quantity: signed, base units; displayed: the share of it that the
    book showed; mid: of that book."""

    bar: int
    client_id: str
    quantity: float
    price: float
    mid: float
    displayed: float


@dataclass(frozen=True, kw_only=True)
class FundingEvent(Event):
    """Funding settled on the position held: `amount` in quote, + received."""

    bar: int
    amount: float
    rate: float
    mark: float
    quantity: float
    payment: str | None = None  # the venue's name of it; None on paper


@dataclass(frozen=True, kw_only=True)
class EquityEvent(Event):
    """The account at a bar's close, at the mark; at a venue also as it was left, see `parting`. price: the close, or the mark then."""

    bar: int
    equity: float
    cash: float
    quantity: float
    price: float


@dataclass(frozen=True, kw_only=True)
class AccountEvent(Event):
    """The account as the venue tells it. symbol: "", of a second venue its place (see `legs`). Signed base units; prices 0.0 where
    there is none."""

    cash: float  # wallet balance, quote currency
    equity: float
    positions: dict[str, dict[str, float]]  # symbol -> quantity, entry_price, mark, liquidation_price
    open_orders: list[str] = field(default_factory=list)  # client ids


@dataclass(frozen=True, kw_only=True)
class HealthEvent(Event):
    """How well the line to the venue goes. symbol: as an account's. NaN: not known, which trips."""

    api_errors: float  # share of the last requests that got no sound answer
    silence: float  # seconds since the last word of the market
    clock_skew: float  # seconds our clock is ahead of the venue's
    connected: bool


@dataclass(frozen=True, kw_only=True)
class SwitchEvent(Event):
    """A kill switch has tripped, the account is verified flat, or a person has reset it. symbol: ""."""

    name: str
    phase: str  # tripped | flat | reset
    reason: str
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CarriedEvent(Event):
    """What the account had lost before this session, in the money of the session that wrote it down (see `carried`). symbol: ""."""

    equity: float  # when it was written down
    cash: float  # its wallet then
    day: int  # the last one that it knew, in days since 1970 UTC; -1: a person has reset what was lost in it
    base: float  # equity at the beginning of that day
    peak: float  # highest equity; 0.0: a person has reset it since
    losses: int  # trades lost in a row


@dataclass(frozen=True, kw_only=True)
class ApprovalEvent(Event):
    """What a person said to an order that waited for it, or that nobody said anything in time."""

    client_id: str
    approved: bool
    who: str  # user@host, or why nobody answered
    price: float  # of the market when it was said; NaN where it is not known, which refuses


@dataclass(frozen=True, kw_only=True)
class QuoteEvent(Event):
    """Best bid and ask, and the volume: what executions are steered by. Never journalled: an instruction keeps the price it was made at."""

    bid: float
    ask: float
    bid_quantity: float
    ask_quantity: float
    traded: float = float("nan")  # base units traded on the market since somebody began to count; NaN: nobody does


@dataclass(frozen=True, kw_only=True)
class TickEvent(Event):
    """Time has passed. symbol: "". Never journalled."""


MARKET = (SessionEvent, MarketOpenEvent, MarketCloseEvent)
ORDERS = (SignalEvent, OrderEvent, ValidatedOrderEvent, RejectedOrderEvent, InstructionEvent)
RESULTS = (OrderUpdateEvent, WalkedEvent, FillEvent, FundingEvent, EquityEvent)
STATE = (AccountEvent, HealthEvent, SwitchEvent, CarriedEvent, ApprovalEvent)
WORDED = (SessionEvent, OrderUpdateEvent, SwitchEvent, ApprovalEvent)  # hold words of others, in which a secret may stand
REPORTS = (OrderUpdateEvent, FillEvent, FundingEvent, AccountEvent, HealthEvent, WalkedEvent)  # what becomes of orders outside
ON_STOP = "on_stop"  # what a graceful stop with runner.on_stop=flatten is called among the switches
PASSING = (QuoteEvent, TickEvent)  # change nothing that a restart must know
KINDS = {kind.__name__.removesuffix("Event"): kind for kind in (*MARKET, *ORDERS, *RESULTS, *STATE)}
NAMES = {kind: name for name, kind in KINDS.items()}


def kind_of(event: Event) -> str:
    """The short name an event is stored under: 'Fill', 'MarketOpen'."""
    return NAMES[type(event)]


def to_json(event: Event) -> str:
    """Its stored form, in which no secret stands. Every number is the shortest decimal that reads back to it; orjson is five times as fast
    as json, but has no word for NaN and infinity."""
    values = masked(event.__dict__) if type(event) in WORDED else event.__dict__
    text = orjson.dumps(values)
    if b"null" in text and text.count(b"null") != list(values.values()).count(None):
        return json.dumps(values)
    return text.decode()


def from_json(kind: str, payload: str) -> Event:
    """The event back, equal to the one stored. Raises DataError for an unknown kind or a payload that does not fit it."""
    try:
        return KINDS[kind](**json.loads(payload))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"journal: not an event of kind {kind!r}: {error}; was this journal written by another version?") from None


def as_kind(order: OrderEvent, kind: type[OrderEvent], **verdict) -> OrderEvent:
    """The same order as another kind of event."""
    return kind(**vars(order), **verdict)
