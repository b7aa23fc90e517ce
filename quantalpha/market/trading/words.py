"""What is said to and heard from a venue about an account, in no venue's dialect.

Symbols are the venue's own ('BTCUSDT'), quantities signed base units (+ bought or long), prices and money in quote currency, times ms
since 1970 UTC. Statuses are those of `runner.orders`: open, partly_filled, filled, cancelled, rejected, expired.
"""

import math
from dataclasses import dataclass, field
from typing import Protocol

from quantalpha.errors import ExchangeError

OPEN, PARTLY_FILLED, FILLED, CANCELLED, REJECTED, EXPIRED = "open", "partly_filled", "filled", "cancelled", "rejected", "expired"
CONDITIONAL = ("stop", "take_profit")


class InDoubt(ExchangeError):
    """No usable answer came: what was asked for may be done or not."""


@dataclass(frozen=True)
class Keys:
    """An API key; neither part is ever printed."""

    key: str = field(repr=False)
    secret: str = field(repr=False)


class Refused(ExchangeError):
    """The venue has surely not done what it was asked. code: the venue's, as text; sound: whether this was an answer to the question,
    not a closed door (too many requests, shut out)."""

    def __init__(self, code: str, words: str, sound: bool = True):
        super().__init__(f"{code}: {words}")
        self.code, self.sound = code, sound


class NotSent(Refused):
    """Nothing was sent: it could not leave within its time."""


class Instruction(Protocol):
    """What `place` and `amend` read of `runner.events.InstructionEvent`."""

    symbol: str
    client_id: str
    kind: str  # market | limit | post_only | stop | take_profit
    quantity: float
    price: float | None
    reduce_only: bool


@dataclass(frozen=True)
class Rules:
    """Steps of quantity and price, smallest order in quote currency; most: base units, of one order of any kind."""

    lot: float
    tick: float
    min_notional: float
    most: float = math.inf


@dataclass(frozen=True)
class OrderReport:
    """An order as the venue knows it. price: limit or trigger, None at market; average: None before the first fill."""

    symbol: str
    client_id: str
    venue_id: str
    status: str
    quantity: float
    filled: float
    average: float | None
    price: float | None
    kind: str  # as in an instruction
    reduce_only: bool
    time: int
    reason: str = ""


@dataclass(frozen=True)
class Trade:
    """A fill, by the venue's name of it. client_id: None where no order with a client id made it (a liquidation)."""

    symbol: str
    id: str
    client_id: str | None
    quantity: float
    price: float
    fee: float  # + paid
    maker: bool
    time: int
    liquidation: bool = False


@dataclass(frozen=True)
class Payment:
    """A change of the wallet that no trade made. kind: funding | liquidation (its fee, or the insurance that took a loss over)."""

    symbol: str
    id: str
    amount: float  # + received
    time: int
    kind: str = "funding"


@dataclass(frozen=True)
class Paid:
    """A stream's word that the wallet has changed without a trade: which `Payment` it was must be asked. symbol: "" where nobody says."""

    symbol: str = ""


@dataclass(frozen=True)
class Held:
    """A position. liquidation_price: 0.0 where none is in reach."""

    quantity: float
    entry_price: float
    mark: float
    liquidation_price: float


@dataclass(frozen=True)
class AccountReport:
    """cash: wallet balance; equity: with unrealised profit; positions: by symbol, those held."""

    cash: float
    equity: float
    positions: dict[str, Held]


@dataclass(frozen=True)
class Settings:
    """How a symbol is traded: one_way: one position, long or short; one_asset: no other coin's balance or debt is margin too."""

    leverage: float
    margin_mode: str  # cross | isolated
    one_way: bool
    one_asset: bool = True


@dataclass(frozen=True)
class Permissions:
    """What a key may do; None where the venue does not say."""

    trade: bool | None
    withdraw: bool | None
