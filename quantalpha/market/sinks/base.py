"""What a sink is: a second home of the lake's rows, which can say what it holds and be made to hold what the lake does.

A sink keeps one row per (venue, symbol, kind, time); the lake keeps what its sources gave, and that may name a time twice. Of rows of one
time the last goes to the sink, as `clean.duplicates` does by default. NaN, a missing column and SQL's NULL are one thing: no value. Zero
has no sign. Everything else arrives bit for bit.
"""

import hashlib
import re
from abc import ABC, abstractmethod
from importlib import import_module
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantalpha import schema, secrets
from quantalpha.errors import DataError, UsageError, did_you_mean

ROWS_AT_ONE_TIME = "last"
KEY = ("venue", "symbol", "kind", "time")
SHAPE = re.compile(r"[a-z][a-z_]*")
UNIX_TO_2000 = 946_684_800_000_000  # microseconds: PostgreSQL counts from 2000
SINKS = {"postgres": "PostgresSink", "influx": "InfluxSink", "redis": "RedisSink"}


class Series(NamedTuple):
    """One folder of the lake."""

    venue: str
    symbol: str
    kind: str

    @property
    def shape(self) -> str:
        """The table of a kind: '1h' -> 'bars', 'mark-1h' -> 'mark', 'funding' -> 'funding'."""
        shape = re.sub(r"-?[1-9]\d*[mhd]$", "", self.kind) or "bars"
        if SHAPE.fullmatch(shape) is None:
            raise DataError(f"{'/'.join(self)}: expected a kind such as 1h, mark-1h or funding")
        return shape


class Digest(NamedTuple):
    """How many rows, and the sha256 of their times and values in time order."""

    rows: int
    sha256: str


class Change(NamedTuple):
    """What `Sink.replace` did: rows added or altered, rows taken away."""

    written: int
    removed: int


class Sink(ABC):
    """Times are milliseconds, ranges [low, high). Raises ExchangeError where the server is away, DataError where it refuses the rows."""

    name: str

    @classmethod
    @abstractmethod
    def connect(cls, url: str) -> "Sink":
        """A sink at an address. Raises UsageError where that is none, ExchangeError where nothing answers."""

    @abstractmethod
    def columns(self, shape: str) -> list[str]:
        """Names of the values a table of the sink has; none where it does not exist."""

    @abstractmethod
    def prepare(self, shape: str, columns: list[str]) -> None:
        """Make the table, or give it the columns that it lacks."""

    @abstractmethod
    def read(self, series: Series, columns: list[str], low: int, high: int) -> pd.DataFrame:
        """The sink's rows, canonical."""

    @abstractmethod
    def replace(self, series: Series, rows: pd.DataFrame, low: int, high: int) -> Change:
        """Make the sink hold exactly `rows` (canonical, of one month) in the range. Done twice, the second time changes nothing."""

    @abstractmethod
    def close(self) -> None:
        """Give the connection back."""

    def digest(self, series: Series, columns: list[str], low: int, high: int) -> Digest:
        """`digest` of what the sink holds in the range."""
        return digest(self.read(series, columns, low, high))

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()


def open_sink(name: str) -> Sink:
    """The sink of a name, at the address in QUANTALPHA_<NAME>_URL. UsageError where the name is unknown or the variable not set."""
    if name not in SINKS:
        raise UsageError(f"sink {name!r}: {did_you_mean(name, SINKS)}")
    kind = getattr(import_module(f"quantalpha.market.sinks.{name}"), SINKS[name])
    return kind.connect(secrets.secret(f"QUANTALPHA_{name.upper()}_URL"))


def require_names(rows: pd.DataFrame, series: Series) -> None:
    """DataError where a value would go by a name that a sink needs for itself."""
    taken = {*rows.columns} & {*KEY}
    if taken:
        raise DataError(f"{'/'.join(series)}: column {min(taken)!r} has a name that every sink needs for a row's key; rename it")


def epoch(instant) -> int:
    """Milliseconds of a datetime or its text, UTC where it names no zone. ValueError where it is none."""
    return int(schema.epoch_ms(pd.DatetimeIndex([instant]))[0])


def canonical(rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Rows as a sink holds them: one a time, these columns (NaN where a row has none), zero without a sign."""
    return rows[~rows.index.duplicated(keep=ROWS_AT_ONE_TIME)].reindex(columns=columns).astype(float) + 0.0


def digest(rows: pd.DataFrame) -> Digest:
    """Digest of canonical rows: per row the microseconds since 2000 as int64 and each value as float64, big-endian, which is also how
    PostgreSQL sends them, so that it can compute the same without sending them."""
    record = np.empty(len(rows), [("time", ">i8"), ("values", ">f8", (rows.shape[1],))])
    record["time"] = postgres_times(rows.index)
    values = rows.to_numpy(float)
    record["values"] = np.where(np.isnan(values), np.nan, values)  # one NaN of the many there are
    return Digest(len(rows), hashlib.sha256(record.tobytes()).hexdigest())


def postgres_times(index: pd.DatetimeIndex) -> np.ndarray:
    """int64[n] microseconds since 2000."""
    return schema.epoch_ms(index) * 1000 - UNIX_TO_2000


def changed(rows: pd.DataFrame, present: pd.DataFrame) -> np.ndarray:
    """bool[n]: rows that `present`, of the same columns, lacks or has otherwise."""
    there = present.reindex(rows.index)
    same = (there == rows) | (there.isna() & rows.isna())
    return ~(same.all(axis=1).to_numpy() & rows.index.isin(present.index))


def require_finite(rows: pd.DataFrame, series: Series, sink: str) -> None:
    """DataError naming the first infinite value: only PostgreSQL can hold one."""
    infinite = np.isinf(rows.to_numpy(float))
    if infinite.any():
        row, column = np.argwhere(infinite)[0]
        found = f"{rows.columns[column]} is {rows.iat[row, column]} at {rows.index[row]}"
        raise DataError(f"{'/'.join(series)}: {found}, and {sink} holds finite numbers only; repair the month or export to postgres")
