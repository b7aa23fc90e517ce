"""The sections of `params.yaml` as frozen models, and what must hold between their values."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from quantalpha import timeframe
from quantalpha.config.exchange import Exchange
from quantalpha.config.trading import Alerts, Execution, Logs, Pair, Risk, Route, Runner, Switches
from quantalpha.config.training import KINDS, Models, Search, check_ends
from quantalpha.config.values import (
    Address,
    Count,
    Family,
    FileNames,
    Folder,
    Fraction,
    Instant,
    Lag,
    Positive,
    Section,
    Seed,
    Symbol,
    Symbols,
    TestBlock,
    Timeframe,
    distinct,
)
from quantalpha.secrets import mask

IMPORT = "import"  # the venue name of the user's own files
COLLECTED = ("bars", "mark", "index", "funding", "open_interest", "rules", "brackets")  # what may be fetched of a symbol


class Venue(Section):
    name: str
    source: Folder | None
    rest_url: Address | None
    ws_url: Address | None
    timeout: Positive
    budget: Annotated[float, Field(gt=0, le=1)]
    second: Folder | None = None

    @property
    def kept_as(self) -> str:
        """The folder of data/raw that holds this venue's data, and the name a bundle remembers it by."""
        return self.name if self.source is None else self.source

    @property
    def own(self) -> bool:
        """Whether it is the venue itself, and nothing that stands in for it: another address, or data kept under another name."""
        return self.source is None and self.rest_url is None and self.ws_url is None

    @model_validator(mode="after")
    def _addressed(self):
        if (self.rest_url is None) != (self.ws_url is None):
            raise ValueError("rest_url and ws_url go together: set both or neither")
        if self.rest_url is not None and self.source in (None, self.name, IMPORT):
            where = mask(self.rest_url)
            raise ValueError(f"source must say what data from {where} is kept as, so that it never mixes with {self.name}'s own")
        return self


class Data(Section):
    symbols: Annotated[Symbols, Field(min_length=1)]
    timeframe: Timeframe
    start: Instant
    end: Instant | None
    kinds: Annotated[list[Literal[COLLECTED]], AfterValidator(distinct), Field(min_length=1)]

    @model_validator(mode="after")
    def _ordered(self):
        if self.end is not None and self.start >= self.end:
            raise ValueError(f"start {self.start:%Y-%m-%d %H:%M} must lie before end {self.end:%Y-%m-%d %H:%M}")
        return self


class Holdout(Section):
    start: Instant | None

    def before(self, end: datetime | None) -> datetime | None:
        """Where research ends that would end at `end` (None: open)."""
        return min((time for time in (self.start, end) if time is not None), default=None)


class Clean(Section):
    duplicates: Literal["first", "last", "fail"]
    impossible: Literal["drop", "fail"]
    max_missing: Fraction
    funding_gaps: Literal["report", "fail"]


Doubt = Literal["drop", "flag", "mask"]


class Quality(Section):
    frozen: Doubt
    frozen_bars: Annotated[int, Field(ge=2)]
    zero_volume: Doubt
    outliers: Doubt
    outlier_scale: Positive
    outlier_window: Annotated[int, Field(ge=10)]
    jumps: Doubt
    max_jump: Positive
    sources: Literal["flag", "mask"]
    max_dropped: Fraction


class Context(Section):
    leaders: Symbols
    onchain: FileNames
    onchain_lag: Lag
    onchain_lags: dict[str, Timeframe]
    onchain_stale: Timeframe


class Labels(Section):
    kind: Literal["triple_barrier", "fixed_horizon", "trend_scanning"]
    take_profit: Positive
    stop_loss: Positive
    horizon: Count
    volatility_window: Annotated[int, Field(ge=2)]
    threshold: Annotated[float, Field(ge=0)]
    shortest: Annotated[int, Field(ge=2)]
    events: Positive | None
    weights: Literal["uniqueness", "attribution", "equal"]
    decay: Annotated[float, Field(gt=-1, le=1)]

    @model_validator(mode="after")
    def _ordered(self):
        if self.kind == "trend_scanning" and self.shortest > self.horizon:
            raise ValueError(f"shortest {self.shortest} must not exceed horizon {self.horizon}")
        return self


class Splits(Section):
    scheme: Literal["sliding", "expanding"]
    train: Count
    test: TestBlock
    embargo: Annotated[int, Field(ge=0)]


class Policy(Section):
    enter: Annotated[float, Field(ge=0, le=1)]
    exit: Annotated[float, Field(ge=0, le=1)]
    leverage: Positive

    @model_validator(mode="after")
    def _ordered(self):
        if self.exit > self.enter:
            raise ValueError(f"exit {self.exit} must not exceed enter {self.enter}")
        return self


class AccountParams(Section):
    initial_cash: Positive
    leverage: Annotated[float, Field(ge=1, le=125)]
    margin_mode: Literal["cross", "isolated"]
    lot: Annotated[float, Field(ge=0)]
    min_notional: Annotated[float, Field(ge=0)]
    rebalance_band: Annotated[float, Field(ge=0)] | None


class CostParams(Section):
    maker: Annotated[float, Field(gt=-0.01, lt=0.1)]
    taker: Annotated[float, Field(ge=0, lt=0.1)]
    slippage: Annotated[float, Field(ge=0, lt=0.1)]
    liquidation: Annotated[float, Field(ge=0, lt=0.1)]
    delay: Annotated[int, Field(ge=0)]


class StopParams(Section):
    stop_loss: Annotated[float, Field(gt=0, lt=1)] | None
    take_profit: Positive | None
    trailing_stop: Annotated[float, Field(gt=0, lt=1)] | None
    max_bars: Count | None


class Gate(Section):
    min_trades: Count
    min_cost: Annotated[float, Field(ge=0, lt=0.1)]
    random_seeds: Annotated[int, Field(ge=20)]
    causality_cuts: Count
    min_sharpe: Annotated[float, Field(ge=0)]
    max_drawdown: Annotated[float, Field(gt=0, le=1)]
    min_profit_factor: Annotated[float, Field(ge=1)]
    stress: Annotated[float, Field(ge=1)]
    groups: Annotated[int, Field(ge=2)]
    test_groups: Count
    min_winning_folds: Fraction
    min_neighbour: Fraction
    max_calibration_error: Annotated[float, Field(gt=0, lt=1)]
    min_deflated_sharpe: Annotated[float, Field(gt=0.5, lt=1)]
    max_overfitting: Annotated[float, Field(gt=0, le=0.5)]
    max_decision_ms: Annotated[float, Field(gt=0)]
    paper_days: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _some_train(self):
        if self.test_groups >= self.groups:
            raise ValueError(f"test_groups: expected fewer than groups ({self.groups}), found {self.test_groups}")
        return self


class Pipeline(Section):
    executor: Literal["local", "dask"]
    workers: Count
    dask_address: Address | None

    @model_validator(mode="after")
    def _addressed(self):
        if self.executor == "dask" and self.dask_address is None:
            raise ValueError("dask_address must name the scheduler (tcp://host:8786) when executor is dask")
        return self


class Synthetic(Section):
    seed: Seed
    start: Instant
    bars: Annotated[int, Field(ge=1000)]
    timeframe: Timeframe
    edge: dict[Symbol, Fraction]


class Stream(Section):
    kinds: Annotated[list[Literal["book", "depth", "trades", "mark", "bars"]], Field(min_length=1)]
    bar: Timeframe
    queue: Count
    stale: Positive
    retries: Count
    flush: Positive
    rotate: Positive
    rotate_mb: Positive


class Params(Section):
    venue: Venue
    data: Data
    holdout: Holdout
    clean: Clean
    quality: Quality
    context: Context
    features: dict[str, Family]  # by family; of a higher timeframe, by timeframe and family
    labels: Labels
    splits: Splits
    models: Models
    search: Search
    policy: Policy
    account: AccountParams
    costs: CostParams
    stops: StopParams
    gate: Gate
    pipeline: Pipeline
    exchange: Exchange
    synthetic: Synthetic
    runner: Runner
    risk: Risk
    switches: Switches
    execution: Execution
    route: Route
    pair: Pair
    alerts: Alerts
    logs: Logs
    stream: Stream

    @model_validator(mode="after")
    def _affordable(self):
        if self.policy.leverage > self.account.leverage:
            raise ValueError(f"policy.leverage {self.policy.leverage:g} must not exceed account.leverage {self.account.leverage:g}")
        return self

    @model_validator(mode="after")
    def _something_is_before_the_holdout(self):
        start, bar = self.holdout.start, self.data.timeframe
        if start is not None and start <= self.data.start:
            raise ValueError(f"holdout.start {start:%Y-%m-%d %H:%M} must lie after data.start {self.data.start:%Y-%m-%d %H:%M}")
        if start is not None and int(start.timestamp() * 1000) % timeframe.milliseconds(bar):
            raise ValueError(f"holdout.start {start:%Y-%m-%d %H:%M} must be where a bar of {bar} opens")
        return self

    @model_validator(mode="after")
    def _leaders_are_fetched(self):
        strange = [symbol for symbol in self.context.leaders if symbol not in self.data.symbols]
        if strange:
            raise ValueError(f"context.leaders must be among data.symbols, found {strange[0]}")
        return self

    @model_validator(mode="after")
    def _ranges_hold_hyperparameters(self):
        for kind in KINDS:
            for name, bounds in getattr(self.search, kind).items():
                check_ends(f"search.{kind}.{name}", bounds, getattr(self.models, kind), name)
        return self

    def sections(self, names) -> dict[str, Any]:
        """The named sections as plain JSON values: what a pipeline stage is given and hashed by."""
        return {name: self.model_dump(mode="json")[name] for name in names}
