"""The line protocol, what the server says to a bad line, and 2.x on a stand-in."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from workspace import entered

from quantalpha import schema
from quantalpha.errors import DataError, ExchangeError, UsageError
from quantalpha.market.sinks import Series, export, open_sink, write_lines
from quantalpha.market.sinks.influx import BATCH, InfluxSink, Server, lines

from .support import bars, fill, fresh


@pytest.fixture
def sink_name():
    return "influx"


def test_a_line_is_as_documented():
    """Example of the reference, with our tags; the escapes it lists: comma, equals sign, space."""
    rows = bars(2)[["open"]].assign(open=[42000.5, np.nan], volume=[1e-308, 2.0])
    rows.index = schema.from_epoch_ms([1704067200000, 1704070800001])
    assert list(lines(Series("a b", "c,d=e", "1h"), rows)) == [
        r"bars,kind=1h,symbol=c\,d\=e,venue=a\ b open=42000.5,volume=1e-308 1704067200000",
        r"bars,kind=1h,symbol=c\,d\=e,venue=a\ b volume=2.0 1704070800001",
    ]
    assert (
        list(lines(Series("v", "s", "mark-5m"), rows[["volume"]], nanoseconds=True))[1]
        == "mark,kind=mark-5m,symbol=s,venue=v volume=2.0 1704070800001000000"
    )


@pytest.mark.parametrize("symbol", ["a\nb", "a\\", "", "a\rb"])
def test_what_the_protocol_cannot_say_is_refused(symbol):
    with pytest.raises(DataError, match="must not be empty"):
        list(lines(Series("v", symbol, "1h"), bars(1)))


def test_a_file_holds_the_same_lines_as_the_server_is_sent(lake, series):
    fill(lake, series, bars(1_000))
    rows = lake.read(*series)
    file = b"".join(write_lines(series, [rows])).decode().splitlines()
    assert file == list(lines(series, rows[sorted(rows.columns)], nanoseconds=True)) and len(file) == 1_000


def test_the_first_line_that_the_server_refuses_is_named(sink):
    """A field that is a float already does not become a text; what was sound in the batch is written."""
    series = fresh()
    good = list(lines(series, bars(BATCH + 500)))
    broken = good.copy()
    broken[BATCH + 123] = broken[BATCH + 123].replace("open=", 'open="')
    broken[BATCH + 300] = "nonsense"
    with pytest.raises(DataError) as told:
        sink._server.write(broken)
    assert repr(broken[BATCH + 123]) in str(told.value)
    conflict = good[7].replace("close=", "close=true,low=")
    with pytest.raises(DataError, match="field type conflict"):
        sink._server.write([*good[:50], conflict, *good[50:60]])


def test_a_wrong_password_is_a_users_error(urls):
    wrong = urls["QUANTALPHA_INFLUX_URL"].replace("quantalpha:", "quantalpha:no-")
    with pytest.raises(UsageError, match="refuses the user"):
        InfluxSink.connect(wrong)


@pytest.mark.parametrize("url", ["nonsense", "http://h", "ftp://h/db", "http://u:hunter2@h:port/db", "http://[h/db"])
def test_no_address_is_refused_without_repeating_it(url):
    with pytest.raises(UsageError, match="expected http") as told:
        Server(url)
    assert "hunter2" not in str(told.value)


class Version2(BaseHTTPRequestHandler):
    """As much of InfluxDB 2.x as its documents promise: write with org, bucket, precision and a token; InfluxQL over the bucket's name."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        target, words = urlsplit(self.path), self.server
        if self.headers["Authorization"] != "Token t0ken-of-the-test":
            return self.answer(401, {"code": "unauthorized", "message": "unauthorized access"})
        if words.failing:
            return self.answer(words.failing, {"code": "x", "message": "not now"})
        if target.path == "/api/v2/write":
            assert parse_qs(target.query) == {"org": ["desk"], "bucket": ["lake"], "precision": ["ms"]}
            words.written += body.splitlines()
            return self.answer(204, None)
        assert target.path == "/query" and parse_qs(body)["db"] == ["lake"]
        return self.answer(200, {"results": [{"statement_id": 0}]})

    def answer(self, status: int, value) -> None:
        data = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def version2(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Version2)
    server.written, server.failing = [], 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}?org=desk&bucket=lake"
    with entered(tmp_path, QUANTALPHA_INFLUX_URL=server.url, QUANTALPHA_INFLUX_TOKEN="t0ken-of-the-test"):
        yield server
    server.shutdown()
    server.server_close()


def test_version_2_is_written_by_its_own_door(version2, lake, series):
    fill(lake, series, bars(30))
    with open_sink("influx") as sink:
        assert export(lake, sink, series).written == 30
    assert version2.written == list(lines(series, bars(30)[sorted(bars(1).columns)]))


@pytest.mark.parametrize("status, error", [(503, ExchangeError), (429, ExchangeError), (401, UsageError), (422, DataError)])
def test_a_refusal_keeps_its_kind(version2, status, error):
    version2.failing = status
    with pytest.raises(error, match="not now"), open_sink("influx") as sink:
        sink.columns("bars")


def test_version_2_wants_a_token(tmp_path):
    with entered(tmp_path), pytest.raises(UsageError, match="QUANTALPHA_INFLUX_TOKEN"):
        Server("http://127.0.0.1?org=desk&bucket=lake")
