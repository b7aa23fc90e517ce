"""The lake in InfluxDB, or in a file of its line protocol: a measurement a shape, tags venue, symbol and kind, one field a value.

    bars,kind=1h,symbol=BTCUSDT,venue=binanceusdm close=42000.5,open=42010.0 1704067200000

Written to /write (1.x) or /api/v2/write (2.x) and read by InfluxQL at /query, which both answer; only 1.x is in the distribution, so that
2.x is tested against a stand-in. Python writes a float in the fewest digits that give it back, and so does Go: values arrive bit for bit.
Source: https://docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference/
"""

import base64
import http.client
import json
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import numpy as np
import pandas as pd

from quantalpha import secrets
from quantalpha.errors import DataError, ExchangeError, UsageError
from quantalpha.market.sinks.base import Change, Series, Sink, canonical, changed, require_finite
from quantalpha.schema import epoch_ms, from_epoch_ms

BATCH = 5_000  # lines a request, as InfluxDB advises
TIMEOUT = 60.0  # seconds
EXPECTED = (
    "expected http://user:password@host:8086/database or, of 2.x with QUANTALPHA_INFLUX_TOKEN, http://host:8086?org=ORG&bucket=BUCKET"
)
TAG_ESCAPES = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ "})
MEASUREMENT_ESCAPES = str.maketrans({",": r"\,", " ": r"\ "})
UNWRITABLE = "\n\r\\"  # the protocol has no escape for a line's end, and a last backslash would swallow what follows


class InfluxSink(Sink):
    """One connection. A month is written in batches: after a kill the next export sends what is missing."""

    name = "influx"

    def __init__(self, server: "Server"):
        self._server = server
        self._columns: dict[str, list[str]] = {}

    @classmethod
    def connect(cls, url: str) -> "InfluxSink":
        server = Server(url)
        server.create_database()
        return cls(server)

    def columns(self, shape: str) -> list[str]:
        if shape not in self._columns:
            found = self._server.query(f"SHOW FIELD KEYS FROM {_quoted(shape)}")
            self._columns[shape] = sorted(row[0] for row in found["values"])
        return self._columns[shape]

    def prepare(self, shape: str, columns: list[str]) -> None:
        """A measurement is there when its first line is."""
        self._columns[shape] = columns

    def read(self, series: Series, columns: list[str], low: int, high: int) -> pd.DataFrame:
        fields = ", ".join(map(_quoted, columns)) or "*"
        found = self._server.query(f"SELECT {fields} FROM {_quoted(series.shape)} WHERE {_of_range(series, low, high)}")
        frame = pd.DataFrame(found["values"], columns=found["columns"] or ["time"])
        frame.index = from_epoch_ms(frame.pop("time").to_numpy("int64"))
        return canonical(frame, columns)

    def replace(self, series: Series, rows: pd.DataFrame, low: int, high: int) -> Change:
        require_finite(rows, series, self.name)
        _require_values(rows, series)
        present = self.read(series, list(rows.columns), low, high)
        kept = present.index.isin(rows.index)
        emptied = (present.notna() & rows.reindex(present.index).isna()).to_numpy().any()  # a field that is there cannot be taken back
        new = changed(rows, present)
        if emptied:
            self._server.query(f"DELETE FROM {_quoted(series.shape)} WHERE {_of_range(series, low, high)}")
            present = present.iloc[:0]
        self._server.write(list(lines(series, rows[changed(rows, present)])))
        return Change(int(new.sum()), int((~kept).sum()))

    def close(self) -> None:
        self._server.close()


class Server:
    """InfluxDB over HTTP, 1.x or 2.x as its address tells."""

    def __init__(self, url: str):
        try:
            parts, port = urlsplit(url), urlsplit(url).port
        except ValueError:
            raise UsageError(f"QUANTALPHA_INFLUX_URL: {EXPECTED}") from None
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.database = unquote(parts.path.strip("/")) or asked.get("bucket", "")
        if parts.scheme not in ("http", "https") or not parts.hostname or not self.database:
            raise UsageError(f"QUANTALPHA_INFLUX_URL: {EXPECTED}")
        self.version, self._organisation = (2, asked.get("org", "")) if "bucket" in asked else (1, "")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, port or 8086, timeout=TIMEOUT)
        self._where = f"{parts.hostname}:{port or 8086}"
        self._headers = {"Authorization": self._authorization(parts)} if self.version == 2 or parts.username else {}

    def _authorization(self, parts) -> str:
        if self.version == 2:
            return f"Token {secrets.secret('QUANTALPHA_INFLUX_TOKEN')}"
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    def create_database(self) -> None:
        """1.x makes it when asked, and is silent where it is there; a bucket of 2.x is made by its owner."""
        if self.version == 1:
            self.query(f"CREATE DATABASE {_quoted(self.database)}")

    def query(self, text: str) -> dict:
        """{columns, values} of the one table that a statement of InfluxQL answers; times in milliseconds."""
        words = urlencode({"db": self.database, "epoch": "ms", "q": text})
        answer = json.loads(self.post("/query", words.encode(), "application/x-www-form-urlencoded"))
        result = answer.get("results", [{}])[0]
        failed = answer.get("error") or result.get("error")
        if failed:
            raise DataError(f"influx: refused: {failed}")
        return {"columns": [], "values": []} | result.get("series", [{}])[0]

    def write(self, rows: list[str]) -> None:
        """Lines with times in milliseconds. DataError with the first line that the server does not take; those it takes are written."""
        for n in range(0, len(rows), BATCH):
            batch = rows[n : n + BATCH]
            refusal = self._refusal(batch)
            if refusal:
                line = self._first_refused(batch)
                raise DataError(f"influx: line refused: {line!r}: {refusal[:300]}; those before it are there, run again after the repair")

    def _refusal(self, rows: list[str]) -> str:
        """What the server has against these lines; '' where they are written."""
        target = {"bucket": self.database, "org": self._organisation} if self.version == 2 else {"db": self.database}
        path = "/api/v2/write?" if self.version == 2 else "/write?"
        try:
            self.post(path + urlencode(target | {"precision": "ms"}), "\n".join(rows).encode(), "text/plain; charset=utf-8")
        except DataError as error:
            return str(error)
        return ""

    def _first_refused(self, rows: list[str]) -> str:
        """By halves: to write a line twice changes nothing."""
        while len(rows) > 1:
            half = len(rows) // 2
            rows = rows[:half] if self._refusal(rows[:half]) else rows[half:]
        return rows[0]

    def post(self, path: str, body: bytes, kind: str) -> bytes:
        """The answer's body. DataError where the server refuses the request (4xx), ExchangeError where it cannot answer."""
        try:
            self._connection.request("POST", path, body, self._headers | {"Content-Type": kind})
            reply = self._connection.getresponse()
            answer = reply.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            told = str(error) or type(error).__name__
            raise ExchangeError(f"influx: {self._where} cannot be reached: {told}; run again to go on") from None
        if reply.status in (401, 403):
            raise UsageError(f"influx: {self._where} refuses the user, password or token: {_told(answer)}")
        if reply.status >= 500 or reply.status == 429:
            raise ExchangeError(f"influx: {self._where} answers {reply.status}: {_told(answer)}; run again to go on")
        if reply.status >= 400:
            raise DataError(_told(answer))
        return answer

    def close(self) -> None:
        self._connection.close()


def lines(series: Series, rows: pd.DataFrame, nanoseconds: bool = False) -> Iterator[str]:
    """One line a row; a value that is not there is left out. Times in milliseconds, or in nanoseconds, the default of most readers."""
    tags = ",".join(f"{name}={_tag(value)}" for name, value in sorted(series._asdict().items()))
    head = f"{_checked(series.shape).translate(MEASUREMENT_ESCAPES)},{tags} "
    names = [_tag(name) + "=" for name in rows.columns]
    times = (epoch_ms(rows.index) * (1_000_000 if nanoseconds else 1)).tolist()
    values = rows.to_numpy(float)
    whole = not np.isnan(values).any()
    for time, row in zip(times, values.tolist()):
        fields = [name + repr(value) for name, value in zip(names, row) if whole or value == value]
        yield f"{head}{','.join(fields)} {time}"


def write_lines(series: Series, months: Iterable[pd.DataFrame]) -> Iterator[bytes]:
    """The rows of a series as a file of line protocol, a month at a time, times in nanoseconds."""
    for month in months:
        rows = canonical(month, sorted(month.columns))
        require_finite(rows, series, "line protocol")
        _require_values(rows, series)
        yield "".join(line + "\n" for line in lines(series, rows, nanoseconds=True)).encode()


def _require_values(rows: pd.DataFrame, series: Series) -> None:
    empty = rows.isna().all(axis=1).to_numpy()
    if empty.any():
        raise DataError(f"{'/'.join(series)}: the row at {rows.index[empty][0]} has no value, and InfluxDB wants one; export to postgres")


def _of_range(series: Series, low: int, high: int) -> str:
    tags = (f"{_quoted(name)} = {_text(value)}" for name, value in series._asdict().items())
    return " AND ".join([*tags, f"time >= {int(low)}ms", f"time < {int(high)}ms"])


def _quoted(name: str) -> str:
    """An identifier of InfluxQL."""
    return '"' + _checked(name).replace('"', r"\"") + '"'


def _text(value: str) -> str:
    """A string of InfluxQL."""
    return "'" + _checked(value).replace("'", r"\'") + "'"


def _tag(value: str) -> str:
    return _checked(value).translate(TAG_ESCAPES)


def _checked(name: str) -> str:
    if not name or any(each in name for each in UNWRITABLE):
        raise DataError(f"influx: {name!r}: a name must not be empty, nor hold a backslash or the end of a line")
    return name


def _told(answer: bytes) -> str:
    """The server's own words."""
    try:
        value = json.loads(answer)
        return str(value.get("error") or value.get("message"))
    except (ValueError, AttributeError):
        return answer[:200].decode(errors="replace").strip() or "no reason given"
