"""The sections of trading: what an order must satisfy, what stops everything, how orders are executed, who is told."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from quantalpha.config.values import Address, Count, Folder, Fraction, Positive, Section, Symbol, Timeframe

Share = Annotated[float, Field(gt=0, lt=1)]
OrNull = Positive | None


class Risk(Section):
    per_trade: Share
    max_position: OrNull
    max_gross: OrNull
    max_net: OrNull
    max_concentration: Annotated[float, Field(gt=0, le=1)] | None
    max_var: Share | None
    max_cvar: Share | None
    var_level: Annotated[float, Field(gt=0.5, lt=1)]
    history: Annotated[int, Field(ge=20)]
    min_liquidation_distance: Share
    max_liquidation_probability: Share
    liquidation_horizon: Timeframe
    orders_per_minute: Count
    price_collar: Share


class Switches(Section):
    daily_loss: Share
    drawdown: Share
    consecutive_losses: Count
    volatility: Positive
    volatility_bars: Annotated[int, Field(ge=2)]
    api_errors: Fraction
    silence: Positive
    clock_skew: Positive
    min_liquidation_distance: Share
    out_of_distribution: Fraction
    unprotected: Positive


class Execution(Section):
    algorithm: Literal["market", "limit", "twap", "adaptive"]
    urgency: Positive
    deadline: Share
    chase: Positive
    chases: Count
    fallback: Literal["market", "cancel"]
    slices: Count
    participation: Share
    max_spread: Share
    max_slippage: Share


class Route(Section):
    venue: Literal["binanceusdm", "bybit"] | None
    source: Folder | None
    rest_url: Address | None
    ws_url: Address | None
    fee: Annotated[float, Field(gt=-1, lt=1)] | None


class Pair(Section):
    symbol: Symbol
    weight: Annotated[float, Field(gt=0, le=1)]
    window: Positive
    holding: Positive
    round_trip: Annotated[float, Field(ge=0, lt=1)]
    leave: float
    stop_loss: Share
    unhedged: Positive
    patience: Positive
    edge: Annotated[float, Field(gt=-1, lt=1)]
    urgency: Positive
    together: bool


class Alerts(Section):
    tell: list[Literal["fill", "veto", "switch", "error", "session", "signal", "report"]]
    repeat_after: Positive
    per_minute: Count
    reports: list[Literal["daily", "weekly", "monthly"]]


class Logs(Section):
    level: Literal["debug", "info", "warning", "error"]
    rotate_mb: Positive
    keep: Count


class Runner(Section):
    bars: Count | None
    stale_after: Positive
    retries: Annotated[int, Field(ge=0)]
    max_model_age: Timeframe | None
    feed: Literal["rest", "socket"]
    paper_price: Literal["open", "book"]
    paper_latency: Annotated[float, Field(ge=0)]
    orders: Literal["send", "approve", "signal"]
    approve_within: Positive
    on_stop: Literal["keep", "cancel", "flatten"]
    watchdog: bool
    dead_man: Positive
    ladder: list["Rung"]

    @model_validator(mode="after")
    def _rising(self):
        if any(not lower.capital < upper.capital for lower, upper in zip(self.ladder, self.ladder[1:])):
            raise ValueError("ladder: expected rungs of rising capital")
        return self


class Rung(Section):
    """So much capital, once so many days were traded on the rung below without a kill switch."""

    capital: Positive
    days: Annotated[float, Field(ge=0)]
