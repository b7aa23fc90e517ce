"""What a run does: `params.yaml` as frozen models, checked once at load; secrets, which never enter it.

    params = load(profile="demo", overrides=["labels.horizon=12"])
    params.labels.horizon

The values (and the only defaults) stand in `params.yaml`; a profile overlays it, `section.key=value` overlays both.
"""

import hashlib
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from quantalpha import timeframe
from quantalpha.errors import UsageError, did_you_mean
from quantalpha.files import sha256
from quantalpha.secrets import environment as environment  # everybody reads these from here
from quantalpha.secrets import mask as mask
from quantalpha.secrets import secret as secret
from quantalpha.workspace import path as path
from quantalpha.workspace import root as root

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


def _instant(value):
    """A date, datetime or ISO text as an aware UTC datetime."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("a date such as 2024-01-31") from None
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    raise ValueError("a date such as 2024-01-31")


def _timeframe(value):
    try:
        timeframe.milliseconds(value)
    except UsageError:
        raise ValueError("a number and m, h or d such as '15m'") from None
    return value


def _number(value):
    """1e-4 is a number to everybody but YAML, which wants 1.0e-4."""
    return float(value) if isinstance(value, str) and re.fullmatch(r"\d+(\.\d*)?[eE][-+]?\d+", value) else value


def _test_block(value):
    """The size of a test block, or the calendar period it is."""
    if value in timeframe.PERIODS or isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ValueError(f"a number of bars greater than 0, or {', '.join(timeframe.PERIODS[:-1])} or {timeframe.PERIODS[-1]}")


def _address(value: str) -> str:
    """scheme://host:port and nothing else: a path would be dropped, a password would be stored with every run."""
    match = re.fullmatch(r"(https?|wss?|tcp|tls)://([^/\s@]+)/?", value)
    if match is None:
        raise ValueError("an address such as http://127.0.0.1:8899, with no path, user or password")
    return value.rstrip("/")


Address = Annotated[str, AfterValidator(_address)]
Instant = Annotated[datetime, BeforeValidator(_instant)]
Timeframe = Annotated[str, AfterValidator(_timeframe)]
Symbol = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,30}$")]
Argument = Annotated[int | float | str, BeforeValidator(_number)]  # of a feature; which ones a family wants `quantalpha.features` knows
Catalogue = list[Argument | list[Argument]]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")]


IMPORT = "import"  # the venue name of the user's own files


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


class Venue(Section):
    name: str
    source: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,60}$")] | None
    rest_url: Address | None
    ws_url: Address | None
    timeout: Positive

    @property
    def kept_as(self) -> str:
        """The folder of data/raw that holds this venue's data, and the name a bundle remembers it by."""
        return self.name if self.source is None else self.source

    @model_validator(mode="after")
    def _addressed(self):
        if (self.rest_url is None) != (self.ws_url is None):
            raise ValueError("rest_url and ws_url go together: set both or neither")
        if self.rest_url is not None and self.source is None:
            where = mask(self.rest_url)
            raise ValueError(f"source must say what data from {where} is kept as, so that it never mixes with {self.name}'s own")
        return self


class Data(Section):
    symbols: Annotated[list[Symbol], Field(min_length=1)]
    timeframe: Timeframe
    start: Instant
    end: Instant | None

    @model_validator(mode="after")
    def _ordered(self):
        if self.end is not None and self.start >= self.end:
            raise ValueError(f"start {self.start:%Y-%m-%d %H:%M} must lie before end {self.end:%Y-%m-%d %H:%M}")
        if len(set(self.symbols)) < len(self.symbols):
            raise ValueError(f"symbols must differ, found {self.symbols}")
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


class Context(Section):
    leaders: list[Symbol]
    onchain: list[FileName]
    onchain_lag: Timeframe
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
    test: Annotated[int | str, BeforeValidator(_test_block)]
    embargo: Annotated[int, Field(ge=0)]


class Boosting(Section):
    trees: Count
    learning_rate: Positive
    leaves: Annotated[int, Field(ge=2)]
    min_rows_per_leaf: Count
    row_fraction: Annotated[float, Field(gt=0, le=1)]
    column_fraction: Annotated[float, Field(gt=0, le=1)]
    l2: Annotated[float, Field(ge=0)]


class Models(Section):
    names: Annotated[list[Literal["lightgbm", "xgboost"]], Field(min_length=1)]
    seed: Seed
    lightgbm: Boosting
    xgboost: Boosting


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


class Pipeline(Section):
    executor: Literal["local", "dask"]
    workers: Count
    dask_address: Address | None

    @model_validator(mode="after")
    def _addressed(self):
        if self.executor == "dask" and self.dask_address is None:
            raise ValueError("dask_address must name the scheduler (tcp://host:8786) when executor is dask")
        return self


class Exchange(Section):
    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    tape: str
    speed: Annotated[float, Field(ge=0)]
    now: Instant | None
    wait: bool


class Synthetic(Section):
    seed: Seed
    start: Instant
    bars: Annotated[int, Field(ge=1000)]
    timeframe: Timeframe
    edge: dict[Symbol, Fraction]


class Runner(Section):
    bars: Count | None
    stale_after: Positive
    retries: Annotated[int, Field(ge=0)]


class Params(Section):
    venue: Venue
    data: Data
    holdout: Holdout
    clean: Clean
    context: Context
    features: dict[str, Catalogue | dict[str, Catalogue]]  # by family; of a higher timeframe, by timeframe and family
    labels: Labels
    splits: Splits
    models: Models
    policy: Policy
    account: AccountParams
    costs: CostParams
    stops: StopParams
    gate: Gate
    pipeline: Pipeline
    exchange: Exchange
    synthetic: Synthetic
    runner: Runner

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

    def sections(self, names) -> dict[str, Any]:
        """The named sections as plain JSON values: what a pipeline stage is given and hashed by."""
        return {name: self.model_dump(mode="json")[name] for name in names}


class Sections:
    """The sections a stage declared, by attribute; reading one it did not declare is an error, so that its cache stays true."""

    def __init__(self, values: dict[str, Any]):
        self._values = values

    def __getattr__(self, name):
        try:
            return self._values[name]
        except KeyError:
            hint = "add it to `params` of the stage in pipelines/*.yaml"
            raise UsageError(f"params: this stage did not declare section {name!r}; {hint}") from None


def stage_params(params: dict[str, Any], profile: str = "demo"):
    """What a notebook reads: the sections its pipeline passed, or (run on its own, `params` empty) all of `params.yaml` under `profile`."""
    if not params:
        return load(profile)
    unknown = set(params) - set(Params.model_fields)
    if unknown:
        raise UsageError(f"params: unknown section {sorted(unknown)[0]!r}; {did_you_mean(sorted(unknown)[0], Params.model_fields)}")
    full = load().model_dump(mode="json") | params
    checked = _check(full, "params")
    return Sections({name: getattr(checked, name) for name in params})


def load(profile: str = "default", overrides=(), source: Path | None = None) -> Params:
    """`params.yaml` under a profile and `section.key=value` overrides.

    Raises UsageError with one line naming the key, what was expected and found, and the nearest valid name.
    """
    source = source or root() / "params.yaml"
    try:
        values = yaml.safe_load(source.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{source.name}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{source.name}: expected sections, found {type(values).__name__}")
    profiles = values.pop("profiles", {})
    if profile not in profiles:
        raise UsageError(f"profile: expected one of {', '.join(profiles)}, found {profile!r}; {did_you_mean(profile, profiles)}")
    values = _overlay(values, profiles[profile] or {})
    for text in overrides:
        values = _overlay(values, _parse_override(text))
    return _check(_name_tape(values), source.name)


def _name_tape(values: dict) -> dict:
    """`{tape}` in venue.source becomes a short hash of what is played, so that two tapes never share a folder of the raw lake."""
    venue = values.get("venue")
    if not isinstance(venue, dict) or "{tape}" not in str(venue.get("source")):
        return values
    digest = hashlib.sha256("\n".join(_played(values)).encode()).hexdigest()[:8]
    return values | {"venue": venue | {"source": venue["source"].replace("{tape}", digest)}}


def _played(values: dict) -> list[str]:
    """What decides a tape's bars: a file's content, or the generator and its parameters (faulty ones are reported by the check to come)."""
    tape = str((values.get("exchange") or {}).get("tape"))
    if tape != "synthetic":
        return [tape, sha256(path(tape)) if path(tape).is_file() else "absent"]
    try:
        settings = Synthetic.model_validate(values.get("synthetic")).model_dump_json()
    except ValidationError:
        settings = "faulty"
    return [settings, sha256(Path(__file__).parent / "market" / "synthetic.py")]


def _parse_override(text: str) -> dict:
    key, sep, value = text.partition("=")
    if not sep or not all(key.split(".")):
        raise UsageError(f"--set: expected section.key=value, found {text!r}")
    try:
        nested = yaml.safe_load(value)
    except (ValueError, yaml.YAMLError):
        raise UsageError(f"--set {key}: {value!r} is no value, or no date of the calendar") from None
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return nested


def _overlay(base: dict, top: dict) -> dict:
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _overlay(merged[key], value) if both else value
    return merged


def _check(values: dict, where: str) -> Params:
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")  # a misspelt key is missing as well: name it
        raise UsageError(f"{where}: {_explain(faults[0], values)}") from None


def _explain(fault: dict, values: dict) -> str:
    """One line for one pydantic fault."""
    path = [part for part in fault["loc"] if isinstance(part, (str, int))]
    key = ".".join(map(str, path)) or "params"
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown key; {did_you_mean(path[-1], _known(path[:-1]))}"
    if fault["type"] == "missing":
        return f"{key}: missing; give it a value"
    expected = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    found = fault["input"]
    if isinstance(found, dict) or fault["type"] == "value_error" and isinstance(found, Section):
        return f"{key}: {expected}"
    return f"{key}: expected {expected}, found {found!r} ({type(found).__name__})"


def _known(path) -> list[str]:
    """Keys allowed at a place in the tree of models."""
    model = Params
    for part in path:
        model = model.model_fields[part].annotation
    return list(model.model_fields)
