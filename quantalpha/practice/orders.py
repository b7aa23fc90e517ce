"""What an order is, whichever venue's dialect it came in: its terms, how far it has got, and how the exchange says no to one.

Quantities are in base currency, prices and money in quote currency, all `Decimal`; times are tape milliseconds since 1970 UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from quantalpha.practice.tape import Instrument

ZERO = Decimal(0)
CENT = Decimal("1e-8")  # the smallest money there is
BUY, SELL = 1, -1
UNTRIGGERED, NEW, PARTIAL, FILLED, CANCELED, EXPIRED = "untriggered", "new", "partially_filled", "filled", "canceled", "expired"
OPEN = (UNTRIGGERED, NEW, PARTIAL)
TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "GTX", "GTD")  # GTX: post only; GTD: until `expires`


class Rejected(Exception):
    """The exchange does not do what was asked for. `reason` is one of REASONS; a dialect has a code and words for each."""

    def __init__(self, reason: str):
        super().__init__(REASONS[reason])
        self.reason = reason


REASONS = {
    "margin": "the available balance does not cover the order's initial margin",
    "leverage_bracket": "the position would exceed what this leverage may hold",
    "reduce_only": "a reduce-only order must make a position smaller",
    "would_take": "a post-only order would trade at once",
    "unfillable": "a fill-or-kill order cannot be filled at once",
    "would_trigger": "the trigger price has been reached already",
    "duplicate": "an open order has this client id",
    "unknown": "no open order has this id",
    "too_many": "no more open orders of this symbol are taken",
    "too_many_conditional": "no more conditional orders of this symbol are taken",
    "no_book": "nobody stands on the other side of the book",
    "unchanged": "the order has these terms already",
    "position_open": "not while a position is open",
    "orders_open": "not while orders are open",
    "leverage_reduction": "an isolated position's leverage does not go down",
    "not_traded": "the contract is not traded (any more)",
}


@dataclass(frozen=True)
class Trigger:
    """When a conditional order wakes: `by` ("last" or "mark") price reaches `price`, rising (direction +1) or falling (-1)."""

    price: Decimal
    direction: int
    by: str = "last"
    name: str = "stop"  # stop | take_profit

    def reached(self, price: Decimal) -> bool:
        return self.direction * (price - self.price) >= 0


@dataclass
class Order:
    """One order. What a dialect remembers of it beside all this stands in `told`."""

    symbol: str
    side: int  # BUY or SELL
    quantity: Decimal  # 0: all of the position there is when it is triggered (close_position)
    price: Decimal | None = None  # None: at market
    time_in_force: str = "GTC"
    expires: int | None = None
    reduce_only: bool = False
    close_position: bool = False
    trigger: Trigger | None = None
    client_id: str = ""
    told: Mapping[str, str] = field(default_factory=dict)
    id: int = 0
    condition_id: int = 0  # of the condition, where there is one: venues that keep both apart name them apart
    status: str = NEW
    filled: Decimal = ZERO
    cost: Decimal = ZERO  # quote currency paid or received for what is filled
    created: int = 0
    updated: int = 0
    triggered: int = 0  # when; 0: not (yet)
    ended_by: str = ""  # client | dead_man | reduce_only | time | self | ... : why it is canceled or expired
    queue: Decimal = ZERO  # what stands before it at its price, base currency

    @property
    def open(self) -> bool:
        return self.status in OPEN

    @property
    def resting(self) -> bool:
        """Whether it stands in the book."""
        return self.status in (NEW, PARTIAL)

    @property
    def left(self) -> Decimal:
        return self.quantity - self.filled

    @property
    def average_price(self) -> Decimal:
        """Of what is filled; 0 where nothing is."""
        return self.cost / self.filled if self.filled else ZERO

    def reaches(self, price: Decimal) -> bool:
        """Whether it would trade at `price`."""
        return self.price is None or self.side * (self.price - price) >= 0


@dataclass(frozen=True)
class Fill:
    """One trade of an order."""

    id: int
    order_id: int
    symbol: str
    side: int
    price: Decimal
    quantity: Decimal
    fee: Decimal  # + paid
    realised: Decimal  # profit of what it closed, before the fee
    maker: bool
    time: int


@dataclass(frozen=True)
class Change:
    """One thing that happened to an account, as streams tell it: snapshots, so that later changes do not alter it.

    kind         reason
    order        new, fill, amended, triggered, canceled, expired        order, and fill where it is one
    account      ORDER, FUNDING_FEE, DEPOSIT ...                         wallet and positions as they then stood, `symbols` that changed
    setting      leverage, margin_mode                                   symbols
    margin_call  cross or isolated                                       symbols
    """

    time: int
    kind: str
    reason: str
    symbols: tuple[str, ...] = ()
    order: Order | None = None
    fill: Fill | None = None
    wallet: Decimal = ZERO
    cross_wallet: Decimal = ZERO
    amount: Decimal = ZERO  # by which the wallet changed
    positions: tuple = ()  # of account.Position


def exact(value: float, digits: int = 8) -> Decimal:
    """A float of the tape as the decimal number that it stands for."""
    return Decimal(f"{value:.{digits}f}")


def tick_of(instrument: Instrument) -> Decimal:
    """Step of a price."""
    return Decimal(1).scaleb(-instrument.digits)


def lot_of(instrument: Instrument) -> Decimal:
    """Step of a quantity."""
    return Decimal(1).scaleb(-instrument.lot_digits)
