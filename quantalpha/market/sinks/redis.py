"""The lake in Redis: a hash a month, `quantalpha:{venue}:{symbol}:{kind}:{2024-01}`, from open time (ms) to a JSON object of the values.

For programs that want a few recent bars at once: HMGET of the times they need. A set `quantalpha:{venue}:{symbol}:{kind}` names the
months. Redis keeps it all in memory; the whole lake belongs into a database. Live ticks go to streams: see `ticks`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import pandas as pd
import redis

from quantalpha.errors import DataError, ExchangeError, UsageError
from quantalpha.market.kinds import month_bounds, months
from quantalpha.market.sinks.base import Change, Series, Sink, canonical, changed, require_finite
from quantalpha.schema import epoch_ms, from_epoch_ms

FIELDS_A_COMMAND = 2_000
FIELDS = "quantalpha:fields:"  # a set a shape: which values its rows may have


class RedisSink(Sink):
    """One connection. Each month is one MULTI: there, or not."""

    name = "redis"

    def __init__(self, client: redis.Redis):
        self._client = client

    @classmethod
    def connect(cls, url: str) -> "RedisSink":
        client = open_client(url)
        with told():
            client.ping()
        return cls(client)

    def columns(self, shape: str) -> list[str]:
        with told():
            return sorted(name.decode() for name in self._client.smembers(FIELDS + shape))

    def prepare(self, shape: str, columns: list[str]) -> None:
        with told():
            self._client.sadd(FIELDS + shape, *columns)

    def read(self, series: Series, columns: list[str], low: int, high: int) -> pd.DataFrame:
        found: dict[int, dict] = {}
        with told():
            for month in sorted(name.decode() for name in self._client.smembers(key(series))):
                first, last = month_bounds(month)
                if first < high and low < last:
                    found |= {int(time): orjson.loads(value) for time, value in self._client.hgetall(key(series, month)).items()}
        times = sorted(time for time in found if low <= time < high)
        frame = pd.DataFrame([found[time] for time in times], from_epoch_ms(times), columns or None)
        return canonical(frame, columns)

    def replace(self, series: Series, rows: pd.DataFrame, low: int, high: int) -> Change:
        require_finite(rows, series, self.name)
        (month,) = months(low, high)
        present = self.read(series, list(rows.columns), low, high)
        gone = epoch_ms(present.index[~present.index.isin(rows.index)]).tolist()
        new = list(entries(rows[changed(rows, present)]))
        with told(), self._client.pipeline(transaction=True) as pipe:
            pipe.sadd(key(series), month)
            for n in range(0, len(gone), FIELDS_A_COMMAND):
                pipe.hdel(key(series, month), *gone[n : n + FIELDS_A_COMMAND])
            for n in range(0, len(new), FIELDS_A_COMMAND):
                pipe.hset(key(series, month), mapping=dict(new[n : n + FIELDS_A_COMMAND]))
            pipe.execute()
        return Change(len(new), len(gone))

    def close(self) -> None:
        self._client.close()


def key(series: Series, *month: str) -> str:
    """The name of a series, or of one of its months."""
    return ":".join(("quantalpha", *series, *month))


def entries(rows: pd.DataFrame) -> Iterator[tuple[int, bytes]]:
    """(time, JSON) of canonical rows; orjson writes the fewest digits that give a float back."""
    names = list(rows.columns)
    for time, row in zip(epoch_ms(rows.index).tolist(), rows.to_numpy().tolist()):
        yield time, orjson.dumps({name: value for name, value in zip(names, row) if value == value})


def open_client(url: str, timeout: float = 10.0) -> redis.Redis:
    """A client; nothing is sent yet. Raises UsageError where the URL is none."""
    try:
        return redis.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)
    except ValueError:
        raise UsageError("QUANTALPHA_REDIS_URL: expected redis://user:password@host:port/0") from None


@contextmanager
def told() -> Iterator[None]:
    """Redis's errors in the words of this house."""
    try:
        yield
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        raise UsageError(f"redis: {error}") from None
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise ExchangeError(f"redis: cannot be reached: {error}; run again to go on") from None
    except redis.RedisError as error:
        raise DataError(f"redis: refused: {error}") from None
