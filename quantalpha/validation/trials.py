"""The ledger of tries: every parameter set that was scored on a stretch of data, once, whatever process scored it.

How good the best of many tries looks by luck alone depends on how many there were, the forgotten ones included; so each is written down
when it is scored, and nothing is ever taken out. SQLite in WAL mode: any number of processes of one machine may write at the same time, and
a process that is killed loses what it had not committed and nothing else.
"""

import hashlib
import inspect
import json
import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import schema, workspace
from quantalpha.errors import DataError, UsageError, did_you_mean
from quantalpha.files import locked

FILE = "mlruns/trials.db"
FORMAT = 2  # the database's user_version; 1 had no returns
WAIT = 60.0  # seconds for other writers
DAY = 86_400_000  # milliseconds
IDENTITY = ("data", "strategy", "code", "terms", "params")  # what makes two tries the same one
JSON = ("params", "scores", "context")
SCHEMA = """
CREATE TABLE tries (
    key TEXT PRIMARY KEY, time INTEGER NOT NULL, study TEXT NOT NULL, strategy TEXT NOT NULL, data TEXT NOT NULL, code TEXT NOT NULL,
    terms TEXT NOT NULL, params TEXT NOT NULL, scores TEXT NOT NULL, context TEXT NOT NULL) WITHOUT ROWID;
CREATE TRIGGER no_update BEFORE UPDATE ON tries BEGIN SELECT RAISE(ABORT, 'the ledger of tries is append-only'); END;
CREATE TRIGGER no_delete BEFORE DELETE ON tries BEGIN SELECT RAISE(ABORT, 'the ledger of tries is append-only'); END;
"""
RETURNS = """
CREATE TABLE returns (key TEXT PRIMARY KEY REFERENCES tries (key), first INTEGER NOT NULL, days BLOB NOT NULL) WITHOUT ROWID;
CREATE TRIGGER no_other_returns BEFORE UPDATE ON returns BEGIN SELECT RAISE(ABORT, 'the ledger of tries is append-only'); END;
CREATE TRIGGER no_lost_returns BEFORE DELETE ON returns BEGIN SELECT RAISE(ABORT, 'the ledger of tries is append-only'); END;
"""


@dataclass(frozen=True)
class Try:
    """One parameter set scored on one stretch of data. Mappings hold plain values (numbers, text, lists)."""

    data: str  # `data_hash` of the bars it was scored on
    strategy: str
    params: Mapping
    code: str  # `code_hash` of the strategy
    scores: Mapping[str, float]  # name -> number; what is undefined is NaN
    terms: str = ""  # what else a score hangs on (account, costs, stops), in words or as a hash
    study: str = ""  # what it was made for; stays that of the first time
    context: Mapping = field(default_factory=dict)  # where in the study: fold, role, notebook; no part of the key
    returns: pd.Series | None = None  # simple return of each UTC day, by which tries are compared; no part of the key

    @cached_property
    def key(self) -> str:
        """The same for the same params on the same data with the same code and terms, from whatever process, study or day.

        A try of another role (context) is another one: what was scored in training does not stand for what is traded.
        """
        role = [self.context["role"]] if "role" in self.context else []
        return hashlib.sha256(_json([*(getattr(self, name) for name in IDENTITY), *role]).encode()).hexdigest()


COLUMNS = tuple(column.name for column in fields(Try) if column.name != "returns")


class Trials:
    """The ledger in a file; it is made when it is first used. Objects may be shared by threads and carried into other processes."""

    def __init__(self, path: Path | None = None):
        """path: None: `mlruns/trials.db` of the workspace."""
        self.path = workspace.path(FILE) if path is None else Path(path)

    def record(self, tries: Try | Iterable[Try]) -> int:
        """Stores tries in one transaction; returns how many were new. A try already there is left as it is."""
        now, tries = time.time_ns() // 1_000_000, [tries] if isinstance(tries, Try) else list(tries)
        rows = [[one.key, now, *(_cell(one, name) for name in COLUMNS)] for one in tries]
        days = [[one.key, *_blob(one.returns)] for one in tries if one.returns is not None]
        insert = f"INSERT INTO tries (key, time, {', '.join(COLUMNS)}) VALUES (?, ?{', ?' * len(COLUMNS)}) ON CONFLICT (key) DO NOTHING"
        with self._transaction() as connection:
            new = connection.executemany(insert, rows).rowcount
            connection.executemany("INSERT INTO returns (key, first, days) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING", days)
        return new

    def count(self, **equal: str) -> int:
        """How many tries there are, of those whose study, strategy, data, code or terms are as named: `count(strategy="ma_cross")`."""
        return self._select("count(*)", equal)[0][0]

    def frame(self, **equal: str) -> pd.DataFrame:
        """The tries as rows in order of time, chosen as in `count`: key time study strategy data code terms params context (dicts), then a
        column for every score (NaN where a try lacks it)."""
        plain = ["key", "time", *(name for name in COLUMNS if name not in JSON)]
        rows = self._select(", ".join([*plain, *JSON]), equal)
        table = pd.DataFrame(rows, columns=[*plain, *JSON])
        texts = {name: [json.loads(text) for text in table.pop(name)] for name in JSON}
        scores = pd.DataFrame(texts.pop("scores"), index=table.index).astype(float)
        return table.assign(time=schema.from_epoch_ms(table["time"]), **texts).join(scores)

    def returns(self, days: pd.DatetimeIndex, **equal: str) -> pd.DataFrame:
        """DataFrame[days, key] of simple daily returns on `days` (UTC midnights, one after another): of the tries chosen as in `count` that
        have returns, in order of time; NaN on days on which a try was not scored."""
        first = int(schema.epoch_ms(days[:1])[0]) // DAY
        found = {}
        for key, began, blob in self._select("tries.key, first, days", equal, "JOIN returns USING (key)"):
            values = np.frombuffer(blob)
            at = np.arange(len(days)) + first - began
            scored = (at >= 0) & (at < len(values))
            found[key] = np.where(scored, values[np.clip(at, 0, len(values) - 1)], np.nan)
        return pd.DataFrame(found, index=days)

    def spans(self, **equal: str) -> pd.DataFrame:
        """DataFrame[key: first last] of tries with returns, chosen as in `count`: the days, since 1970, that they begin and end on."""
        rows = self._select("tries.key, first, first + length(days) / 8 - 1", equal, "JOIN returns USING (key)")
        return pd.DataFrame(rows, columns=["key", "first", "last"]).set_index("key")

    def days(self, key: str) -> pd.DatetimeIndex:
        """The UTC midnights of a try's returns, one after another; DataError where it has none."""
        with self._transaction() as connection:
            found = connection.execute("SELECT first, length(days) / 8 FROM returns WHERE key = ?", [key]).fetchone()
        if found is None:
            raise DataError(f"ledger of tries: try {key[:12]} has no returns; score it again")
        return schema.from_epoch_ms(DAY * (found[0] + np.arange(found[1])))

    def _select(self, what: str, equal: Mapping[str, str], joined: str = "") -> list[tuple]:
        known = ["key", *(name for name in COLUMNS if name not in JSON)]
        for name in equal:
            if name not in known:
                raise UsageError(f"trials: tries are not chosen by {name!r}; {did_you_mean(name, known)}")
        where = " AND ".join(f"tries.{name} = ?" for name in equal) or "1"
        with self._transaction() as connection:
            return connection.execute(
                f"SELECT {what} FROM tries {joined} WHERE {where} ORDER BY time, key", list(equal.values())
            ).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own: nothing is shared with forked processes or other threads, nothing stays open."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with closing(sqlite3.connect(self.path, timeout=WAIT, isolation_level=None)) as connection:
                self._check(connection)
                connection.execute("PRAGMA synchronous=NORMAL")  # safe from a kill; a power cut may cost the last transactions
                connection.execute("BEGIN IMMEDIATE")
                with connection:
                    yield connection
        except sqlite3.Error as error:
            raise DataError(f"{self.path.parent.name}/{self.path.name}: the ledger of tries cannot be used: {error}") from None

    def _check(self, connection: sqlite3.Connection) -> None:
        """That the file is a ledger; an empty one becomes one, and an older one is extended, once."""
        if _format(connection) < FORMAT:
            with locked(self.path.parent):
                if _format(connection) == 0 and not connection.execute("SELECT * FROM sqlite_master").fetchone():
                    connection.executescript(f"PRAGMA journal_mode=WAL; BEGIN; {SCHEMA} PRAGMA user_version=1; COMMIT;")
                if _format(connection) == 1:
                    connection.executescript(f"BEGIN; {RETURNS} PRAGMA user_version={FORMAT}; COMMIT;")
        if _format(connection) != FORMAT:
            raise DataError(
                f"{self.path.name}: expected a ledger of tries of format {FORMAT}, found {_format(connection)}; name another file"
            )


def _format(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def data_hash(bars: pd.DataFrame | Mapping[str, pd.DataFrame]) -> str:
    """sha256 of times, column names and values of one table of bars or of several by symbol."""
    digest = hashlib.sha256()
    for symbol, table in bars.items() if isinstance(bars, Mapping) else [("", bars)]:
        digest.update(f"{symbol}\0{list(table.columns)}\0{len(table)}\0".encode())
        digest.update(schema.epoch_ms(table.index).tobytes())
        for name in table:
            digest.update(np.ascontiguousarray(table[name].to_numpy(float)).tobytes())
    return digest.hexdigest()


def name_of(function: Callable) -> str:
    """A function's name; of what `partial` has bound to it, functions are named in brackets: panel(trend)."""
    if not isinstance(function, partial):
        return getattr(function, "__name__", type(function).__name__)
    bound = [name_of(value) for value in (*function.args, *function.keywords.values()) if callable(value)]
    return name_of(function.func) + (f"({', '.join(bound)})" if bound else "")


def code_hash(function: Callable) -> str:
    """sha256 of the Python files beside the one that defines `function` (its helpers among them) and of bound arguments; of a function
    defined in a notebook, of its own source.

    Too much rather than too little: an edit next door makes a new try of an old one, but no new idea passes for an old try.
    """
    if isinstance(function, partial):
        bound = [*function.args, *(item for pair in sorted(function.keywords.items()) for item in pair)]
        parts = [code_hash(value) if callable(value) else repr(value) for value in (function.func, *bound)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()
    function = inspect.unwrap(function)
    try:
        file = Path(inspect.getsourcefile(function))
        beside = [path.read_bytes() for path in sorted(file.parent.glob("*.py"))] if file.is_file() else []  # a notebook's cell is no file
        sources = beside or [inspect.getsource(function).encode()]
    except (OSError, TypeError):
        raise UsageError(f"trials: the source of {function!r} cannot be read; define it in a file or a notebook cell") from None
    return hashlib.sha256(b"\0".join([f"{function.__module__}.{function.__qualname__}".encode(), *sources])).hexdigest()


def _cell(one: Try, name: str):
    value = getattr(one, name)
    return _json(value) if name in JSON else value


def _blob(returns: pd.Series) -> tuple[int, bytes]:
    """(first day since 1970, float64 bytes of every day from then on; 0 where nothing happened)."""
    days = schema.epoch_ms(pd.DatetimeIndex(returns.index))
    if not len(days) or (days % DAY).any() or (np.diff(days) <= 0).any() or not np.isfinite(returns.to_numpy(float)).all():
        raise UsageError(
            "trials: expected the returns of a try by UTC day, in order, all of them numbers; use backtest.periods.daily_returns"
        )
    places = (days - days[0]) // DAY
    values = np.zeros(places[-1] + 1)
    values[places] = returns.to_numpy(float)
    return int(days[0] // DAY), values.tobytes()


def _json(value) -> str:
    return json.dumps(_plain(value), sort_keys=True, allow_nan=False)


def _plain(value):
    """Numpy's numbers as Python's, undefined ones as None."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
