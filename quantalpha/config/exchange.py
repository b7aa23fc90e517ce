"""The section of the practice exchange, and the names of all that it can be told to do wrong."""

from typing import Annotated, Literal

from pydantic import Field

from quantalpha.config.values import Count, Fraction, Instant, Positive, Section, Seed

FAULTS = (  # what it can do wrong with requests for market data
    "hang", "delay", "disconnect", "http_429", "http_418", "http_503", "malformed", "truncated", "empty", "duplicates", "disorder",
    "changed",
)  # fmt: skip
CONDITIONS = ("maintenance", "clock_skew", "halted", "partial", "price_gap")  # what may be wrong with all of it for a while
UNCERTAIN = ("timeout", "disconnect", "unknown_503", "http_504", "server_timeout", "server_error")  # answers that tell nothing
TRADING_FAULTS = (  # what it can do wrong with orders, cancellations, settings and questions about an account
    *(f"{name}_before_accept" for name in UNCERTAIN), *(f"{name}_after_accept" for name in UNCERTAIN),
    "late_answer", "malformed", "truncated", "http_429", "http_418", "http_503", *CONDITIONS,
)  # fmt: skip
STREAM_FAULTS = ("duplicate", "reorder", "drop", "delay", "disconnect", "expire")  # and with messages of an account's stream

Number = Annotated[int, Field(ge=0)]


class TradingFaults(Section):
    chance: dict[Literal[TRADING_FAULTS], Fraction]
    plan: dict[Number, Literal[TRADING_FAULTS]]


class StreamFaults(Section):
    chance: dict[Literal[STREAM_FAULTS], Fraction]
    plan: dict[Number, Literal[STREAM_FAULTS]]


class Faults(Section):
    chance: dict[Literal[FAULTS], Fraction]
    plan: dict[Number, Literal[FAULTS]]
    trading: TradingFaults
    account: TradingFaults
    stream: StreamFaults
    seed: Seed
    seconds: Positive
    skew: float
    gap: Annotated[float, Field(gt=-1, allow_inf_nan=False)]
    share: Annotated[float, Field(gt=0, le=1)]


class Exchange(Section):
    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    tape: str
    speed: Annotated[float, Field(ge=0)]
    now: Instant | None
    wait: bool
    weight_limit: Count
    weight_interval: Count
    ban: Positive
    deposit: Positive
    bybit_funding: Annotated[float, Field(gt=-1, lt=1)]
    address_limit: Count
    faults: Faults
