"""The lake in PostgreSQL or TimescaleDB: one table a shape in the schema `market`, one row per (venue, symbol, kind, time).

psycopg is used directly and not SQLAlchemy (the journal's door) because rows arrive by binary COPY, which SQLAlchemy does not speak: the
bytes of a month are made by numpy, and no value passes through text, so each float64 arrives bit for bit. Identifiers are composed by
psycopg.sql and values are bound: no name of a symbol, kind or column is ever part of a statement's text.

Where the server offers the extension timescaledb a new table is a hypertable with chunks of 30 days; elsewhere it is partitioned by
year. A primary key serves questions about one series, a BRIN index those about a span of time. The hypertable's statements follow
https://docs.timescale.com/api/latest/hypertable/create_hypertable/ and were run against a stand-in of that function only: the extension
is not in the distribution where this was written.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import psycopg
from psycopg import sql

from quantalpha.errors import DataError, ExchangeError, UsageError
from quantalpha.market.sinks.base import KEY, Change, Digest, Series, Sink, canonical, postgres_times
from quantalpha.schema import from_epoch_ms

SCHEMA = "market"
LONGEST = 63  # bytes of an identifier: the server cuts a longer one without a word
UNIX = datetime(1970, 1, 1, tzinfo=UTC)
OF_RANGE = sql.SQL("venue = %(venue)s AND symbol = %(symbol)s AND kind = %(kind)s AND time >= %(low)s AND time < %(high)s")
NO_VALUE = r"'\x7ff8000000000000'::bytea"  # NaN, as `base.digest` writes it
SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END = b"\xff\xff"


class PostgresSink(Sink):
    """One connection. Each month is one transaction: there, or not."""

    name = "postgres"

    def __init__(self, connection: psycopg.Connection):
        self._connection = connection
        self._columns: dict[str, list[str]] = {}

    @classmethod
    def connect(cls, url: str) -> "PostgresSink":
        if not _is_address(url):
            raise UsageError("QUANTALPHA_POSTGRES_URL: expected postgresql://user:password@host:port/database")
        with _told():
            return cls(psycopg.connect(url, autocommit=True, connect_timeout=10, application_name="quantalpha"))

    def columns(self, shape: str) -> list[str]:
        if shape not in self._columns:
            asked = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
            with _told():
                names = {name for (name,) in self._run(asked, [SCHEMA, shape])}
            self._columns[shape] = sorted(names - {*KEY})
        return self._columns[shape]

    def prepare(self, shape: str, columns: list[str]) -> None:
        long = [name for name in columns if len(name.encode()) > LONGEST]
        if long:
            raise DataError(f"postgres: {shape}: column {long[0]!r}: a name has at most {LONGEST} bytes")
        with _told(), self._connection.transaction():
            self._run("SELECT pg_advisory_xact_lock(hashtext('quantalpha.sinks'))")  # two exporters may start together
            for statement in definition(shape, columns, timescale=self.has_timescale()):
                self._run(statement)
        self._columns.pop(shape, None)

    def has_timescale(self) -> bool:
        """Whether the server offers the extension, in use or not yet."""
        asked = "SELECT count(*) FROM pg_available_extensions WHERE name = 'timescaledb'"
        return self._run(asked).fetchone()[0] > 0

    def digest(self, series: Series, columns: list[str], low: int, high: int) -> Digest:
        """Computed by the server: nothing but the answer travels."""
        known = self.columns(series.shape)
        if not known:
            return super().digest(series, columns, low, high)
        sent = [sql.SQL("timestamptz_send(time)")]
        sent += [_sent(name) if name in known else sql.SQL(NO_VALUE) for name in columns]
        hash_ = "encode(sha256(coalesce(string_agg({}, ''::bytea ORDER BY time), ''::bytea)), 'hex')"
        asked = sql.SQL("SELECT count(*), " + hash_ + " FROM {} WHERE {}").format(
            sql.SQL(" || ").join(sent), _table(series.shape), OF_RANGE
        )
        with _told():
            found = self._run(asked, _range(series, low, high))
            return Digest(*found.fetchone())

    def read(self, series: Series, columns: list[str], low: int, high: int) -> pd.DataFrame:
        known = self.columns(series.shape)
        if not known:
            return canonical(pd.DataFrame(index=from_epoch_ms([]), dtype=float), columns)
        values = [sql.SQL("(extract(epoch FROM time) * 1000)::bigint"), *map(_name, known)]
        asked = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY time")
        with _told(), self._connection.cursor(binary=True) as cursor:
            cursor.execute(asked.format(sql.SQL(", ").join(values), _table(series.shape), OF_RANGE), _range(series, low, high))
            found = cursor.fetchall()
        frame = pd.DataFrame([row[1:] for row in found], from_epoch_ms([row[0] for row in found]), known, float)
        return canonical(frame, columns)

    def replace(self, series: Series, rows: pd.DataFrame, low: int, high: int) -> Change:
        with _told(), self._connection.transaction():
            for statement in self._partitions(series.shape, rows.index):
                self._run(statement)
            self._copy(rows)
            gone = self._run(_delete(series.shape), _range(series, low, high)).rowcount
            written = self._run(_upsert(series.shape, list(rows.columns)), [*series]).rowcount
        return Change(written, gone)

    def _run(self, statement: str | sql.Composed, values: Sequence | Mapping = ()) -> psycopg.Cursor:
        return self._connection.execute(statement, values)

    def close(self) -> None:
        self._connection.close()

    def _copy(self, rows: pd.DataFrame) -> None:
        """`incoming`, with a key: without one the planner, which knows no numbers of it, may compare each row with each."""
        columns = sql.SQL("").join(sql.SQL(", {} float8").format(_name(name)) for name in rows.columns)
        self._run(sql.SQL("CREATE TEMP TABLE incoming (time timestamptz PRIMARY KEY{}) ON COMMIT DROP").format(columns))
        with self._connection.cursor() as cursor, cursor.copy("COPY incoming FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(copy_bytes(rows))

    def _partitions(self, shape: str, index: pd.DatetimeIndex) -> list[sql.Composed]:
        asked = "SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass(%s)"
        partitioned = self._run(asked, [f"{SCHEMA}.{shape}"]).fetchone()[0]
        return [partition(shape, year) for year in sorted(set(index.year))] if partitioned else []


def definition(shape: str, columns: list[str], *, timescale: bool) -> list[sql.Composed]:
    """Statements that make a table, or add what it lacks; to run them again changes nothing."""
    table, floats = _table(shape), [sql.SQL("{} float8").format(_name(name)) for name in columns]
    keys = "venue text, symbol text, kind text, time timestamptz, PRIMARY KEY (venue, symbol, kind, time)"
    create = sql.SQL("CREATE TABLE IF NOT EXISTS {} (" + keys + ")" + ("" if timescale else " PARTITION BY RANGE (time)")).format(table)
    statements = [sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)), create]
    if timescale:
        hyper = "SELECT create_hypertable({}::regclass, 'time'::name, chunk_time_interval => interval '30 days', if_not_exists => true)"
        statements.insert(0, sql.SQL("CREATE EXTENSION IF NOT EXISTS timescaledb"))
        statements.append(sql.SQL(hyper).format(sql.Literal(f"{SCHEMA}.{shape}")))
    statements += [sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {}").format(table, each) for each in floats]
    index = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} USING brin (time)").format(sql.Identifier(f"{shape}_time_brin"), table)
    return [*statements, index]


def partition(shape: str, year: int) -> sql.Composed:
    """One year (UTC) of a partitioned table."""
    days = (sql.Literal(f"{each:04d}-01-01 00:00:00+00") for each in (year, year + 1))
    made = sql.SQL("CREATE TABLE IF NOT EXISTS {} PARTITION OF {} FOR VALUES FROM ({}) TO ({})")
    return made.format(sql.Identifier(SCHEMA, f"{shape}_{year:04d}"), _table(shape), *days)


def copy_bytes(rows: pd.DataFrame) -> bytes:
    """Canonical rows as COPY's binary format: per row the number of fields, then each field's length and big-endian bytes."""
    fields = [("time_length", ">i4"), ("time", ">i8"), ("values", [("length", ">i4"), ("value", ">f8")], (rows.shape[1],))]
    record = np.empty(len(rows), [("fields", ">i2"), *fields])
    record["fields"], record["time_length"], record["time"] = 1 + rows.shape[1], 8, postgres_times(rows.index)
    record["values"]["length"], record["values"]["value"] = 8, rows.to_numpy(float)
    return SIGNATURE + record.tobytes() + END


def _range(series: Series, low: int, high: int) -> dict:
    return series._asdict() | {name: UNIX + timedelta(milliseconds=ms) for name, ms in (("low", low), ("high", high))}


def _name(column: str) -> sql.SQL:
    """A column's name in a statement that is run with values: there a '%' is doubled."""
    return sql.SQL(sql.Identifier(column).as_string().replace("%", "%%"))


def _table(shape: str) -> sql.Identifier:
    return sql.Identifier(SCHEMA, shape)


def _sent(name: str) -> sql.Composed:
    return sql.SQL("coalesce(float8send({}), " + NO_VALUE + ")").format(_name(name))


def _delete(shape: str) -> sql.Composed:
    absent = sql.SQL("DELETE FROM {} AS held WHERE {} AND NOT EXISTS (SELECT FROM incoming WHERE incoming.time = held.time)")
    return absent.format(_table(shape), OF_RANGE)


def _upsert(shape: str, columns: list[str]) -> sql.Composed:
    """`incoming` into the table; NaN becomes NULL, a row that is there already is left alone."""
    names = [_name(name) for name in columns]
    listed = sql.SQL("").join(sql.SQL(", {}").format(name) for name in names)
    values = sql.SQL("").join(sql.SQL(", NULLIF({}, 'NaN')").format(name) for name in names)
    text = "INSERT INTO {} AS held (venue, symbol, kind, time{}) SELECT %s, %s, %s, time{} FROM incoming ORDER BY time "
    insert = sql.SQL(text + "ON CONFLICT (venue, symbol, kind, time) DO ").format(_table(shape), listed, values)
    if not names:
        return insert + sql.SQL("NOTHING")
    new = sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(name) for name in names)
    differ = sql.SQL(" OR ").join(sql.SQL("held.{0} IS DISTINCT FROM excluded.{0}").format(name) for name in names)
    return insert + sql.SQL("UPDATE SET {} WHERE {}").format(new, differ)


def _is_address(url: str) -> bool:
    try:
        return str(psycopg.conninfo.conninfo_to_dict(url).get("port", 5432)).isdigit()
    except psycopg.Error:
        return False


@contextmanager
def _told() -> Iterator[None]:
    """The server's errors in the words of this house; libpq names host and port, never the password."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        if "authentication failed" in str(error):
            raise UsageError(f"postgres: {_line(error)}") from None
        raise ExchangeError(f"postgres: cannot be reached: {_line(error)}; what was sent whole is there, run again to go on") from None
    except psycopg.Error as error:
        raise DataError(f"postgres: refused: {_line(error)}") from None


def _line(error: psycopg.Error) -> str:
    return " ".join((error.diag.message_primary or str(error)).split())[:300]
