"""Folders laid out as Binance's public archive is, from tables of ours, and a server on this machine that serves one and misbehaves."""

import hashlib
import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import timeframe
from quantalpha.market.archive_names import KLINE_COLUMNS, METRIC_COLUMNS, Series, days
from quantalpha.market.kinds import month_bounds

FUNDING_COLUMNS = ("calc_time", "funding_interval_hours", "last_funding_rate")
METRICS = Series("futures/um", "metrics", "BTCUSDT", "5m")
FUNDING = Series("futures/um", "fundingRate", "BTCUSDT", None)


def bars_of(bar: str = "1h", symbol: str = "BTCUSDT", market: str = "futures/um", dataset: str = "klines") -> Series:
    return Series(market, dataset, symbol, bar)


def times_of(label: str, step: int) -> np.ndarray:
    """int64[n] ms of a month ('2024-01') or day ('2024-01-05')."""
    if len(label) == 7:
        return np.arange(*month_bounds(label), step)
    begin = int(np.datetime64(label, "ms").astype("int64"))
    return np.arange(begin, begin + timeframe.UNITS["d"], step)


def klines(label: str, bar: str) -> pd.DataFrame:
    """Bars as published: values that follow from their time alone, so that a month and its days agree."""
    times = times_of(label, timeframe.milliseconds(bar))
    seed = (times // 60_000) % 10_007
    close = 100 + seed / 7
    table = {"open_time": times, "open": close - 0.25, "high": close + 1.5, "low": close - 1.25, "close": close, "volume": seed / 3}
    table |= {"close_time": times + timeframe.milliseconds(bar) - 1, "quote_volume": close * seed / 3, "count": seed + 1}
    table |= {"taker_buy_volume": seed / 6, "taker_buy_quote_volume": close * seed / 6, "ignore": 0}
    return pd.DataFrame(table)[list(KLINE_COLUMNS)].round(8)


def metrics(day: str, symbol: str = "BTCUSDT") -> pd.DataFrame:
    """A day of open interest, from five past midnight to the next midnight."""
    times = times_of(day, 300_000) + 300_000
    seen = 1000 + (times // 300_000) % 997
    created = pd.to_datetime(times, unit="ms").strftime("%Y-%m-%d %H:%M:%S")
    table = {"create_time": created, "symbol": symbol, "sum_open_interest": seen, "sum_open_interest_value": seen * 100.0}
    return pd.DataFrame(table | dict.fromkeys(METRIC_COLUMNS[4:], 1.5))


def funding(month: str) -> pd.DataFrame:
    times = times_of(month, 8 * 3_600_000) + 3  # settled some milliseconds late
    rates = np.round(1e-8 * (times // 3_600_000 % 20_011), 8)
    return pd.DataFrame(dict(zip(FUNDING_COLUMNS, (times, 8, rates))))


def table_of(series: Series, label: str) -> pd.DataFrame:
    if series.dataset == "metrics":
        return metrics(label, series.symbol)
    return funding(label) if series.dataset == "fundingRate" else klines(label, series.interval)


def csv_of(table: pd.DataFrame, header: bool = True) -> bytes:
    return table.to_csv(index=False, header=header).encode()


def zipped(members: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return sink.getvalue()


def put(root: Path, series: Series, label: str, data: bytes | None = None, checksum: str | None = "right", header: bool = True) -> Path:
    """One file of the archive and its checksum. data: of the zip; checksum: its text, 'right', or None for none."""
    file = series.file(label)
    path = root / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if data is None:
        data = zipped({file.name.replace(".zip", ".csv"): csv_of(table_of(series, label), header)})
    path.write_bytes(data)
    text = f"{hashlib.sha256(data).hexdigest()}  {file.name}\n" if checksum == "right" else checksum
    if text is not None:
        path.with_name(path.name + ".CHECKSUM").write_text(text)
    return path


def put_days(root: Path, series: Series, month: str, count: int | None = None) -> list[Path]:
    return [put(root, series, day) for day in list(days(month))[:count]]


class Server:
    """Serves `root` on a free port. faults: {ending of a path: function of (handler, data)} that answers in its own way."""

    def __init__(self, root: Path):
        self.root, self.faults, self.asked = root, {}, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, handler) -> None:
        self.asked.append((handler.command, handler.path))
        path = self.root / handler.path.lstrip("/")
        data = path.read_bytes() if path.is_file() else None
        for ending, fault in list(self.faults.items()):
            if handler.path.endswith(ending) and fault(handler, data):
                return
        reply(handler, 404 if data is None else 200, data or b"not there")


def reply(handler, status: int, data: bytes, announced: int | None = None) -> bool:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(data) if announced is None else announced))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(data)
    return True
