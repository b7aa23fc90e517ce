"""Rows a second from the lake into each sink, beside what its server takes when the bytes are ready made, in the same run.

python benchmarks/sinks.py [months of 1m bars]     the servers must be installed; they are started here and end with it

postgres: a plain binary COPY of the same bytes into a table without a key. influx: POST of lines written beforehand. redis: the same
HSET commands, encoded beforehand, down a socket. ticks: the same XADD commands so. `again` is a second export, which sends nothing.
"""

import os
import socket
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import psycopg
import redis

from quantalpha import schema
from quantalpha.market import Lake
from quantalpha.market.sinks import RedisTicks, Series, canonical, export, open_sink
from quantalpha.market.sinks.export import parts
from quantalpha.market.sinks.influx import BATCH, Server, lines
from quantalpha.market.sinks.postgres import copy_bytes
from quantalpha.market.sinks.redis import entries

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import services  # noqa: E402

SERIES = Series("binanceusdm", "BTCUSDT", "1m")
TICKS = 100_000


def minute_bars(months: int) -> pd.DataFrame:
    """A random walk with eight columns from 2023 on."""
    end = np.datetime64("2023-01", "M") + months
    times = np.arange(np.datetime64("2023-01-01", "m"), end.astype("datetime64[m]")).astype("datetime64[ms]").astype("int64")
    random = np.random.default_rng(0)
    close = np.round(30_000 * np.exp(np.cumsum(3e-4 * random.standard_normal(len(times)))), 1)
    values = {"open": close, "high": close + 5.1, "low": close - 4.9, "close": close, "volume": random.exponential(10, len(times))}
    values |= {
        "quote_volume": values["volume"] * close,
        "trades": random.poisson(900, len(times)),
        "taker_buy_volume": values["volume"] / 2,
    }
    return pd.DataFrame(values, schema.from_epoch_ms(times)).astype(float)


def seconds(call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def copy_alone(url: str, months: list[pd.DataFrame]) -> float:
    """Seconds for COPY of ready bytes."""
    columns = ", ".join(f'"{name}" float8' for name in months[0].columns)
    data = [copy_bytes(rows) for rows in months]
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE limit_of_copy (time timestamptz, {columns})")

        def send() -> None:
            for each in data:
                with cursor.copy("COPY limit_of_copy FROM STDIN (FORMAT BINARY)") as copy:
                    copy.write(each)

        return seconds(send)


def post_alone(url: str, months: list[pd.DataFrame]) -> float:
    """Seconds for ready lines, in the sink's batches."""
    other = Series(*SERIES[:1], "LIMIT", *SERIES[2:])
    bodies = []
    for rows in months:
        text = list(lines(other, rows))
        bodies += ["\n".join(text[n : n + BATCH]).encode() for n in range(0, len(text), BATCH)]
    server = Server(url)
    taken = seconds(lambda: [server.post(f"/write?db={server.database}&precision=ms", body, "text/plain") for body in bodies])
    server.close()
    return taken


def socket_alone(url: str, commands: list[tuple]) -> float:
    """Seconds for ready commands, sent and answered a thousand at a time."""
    where, packer = urlsplit(url), redis.connection.PythonRespSerializer(6000, redis.connection.Encoder("utf-8", "strict", False).encode)
    packs = [b"".join(b"".join(packer.pack(*words)) for words in commands[n : n + 1000]) for n in range(0, len(commands), 1000)]
    counts = [len(commands[n : n + 1000]) for n in range(0, len(commands), 1000)]
    with socket.create_connection((where.hostname, where.port)) as peer:
        peer.sendall(b"".join(packer.pack("AUTH", where.password)))
        peer.recv(64)

        def send() -> None:
            for data, count in zip(packs, counts):
                peer.sendall(data)
                answered = 0
                while answered < count:
                    got = peer.recv(1 << 16)
                    answered += got.count(b":") if got[:1] == b":" else got.count(b"$")

        return seconds(send)


def show(name: str, rows: int, taken: float, limit: float, again: float | None = None) -> None:
    tail = "" if again is None else f"   again {again:6.2f} s"
    print(
        f"{name:9} {rows / taken:12,.0f} rows/s   limit {rows / limit:12,.0f}   {taken / limit:5.1f} times the limit's time{tail}",
        flush=True,
    )


def main(months: int) -> None:
    with services.running() as urls, tempfile.TemporaryDirectory() as folder:
        os.environ |= urls
        lake = Lake(Path(folder))
        lake.write(*SERIES, minute_bars(months), source="benchmark", complete_before=2**42)
        held = [canonical(part.rows, sorted(part.rows.columns)) for part in parts(lake, SERIES)]
        rows = sum(map(len, held))
        lake_alone = seconds(lambda: list(parts(lake, SERIES)))
        print(f"{rows:,} rows of {held[0].shape[1]} values; to read and verify them in the lake {lake_alone:.2f} s")
        hashes = [("HSET", "limit", *(word for pair in list(entries(month)) for word in pair)) for month in held]
        limits = {
            "postgres": copy_alone(urls["QUANTALPHA_POSTGRES_URL"], held),
            "influx": 0.0,
            "redis": socket_alone(urls["QUANTALPHA_REDIS_URL"], hashes),
        }
        for name in limits:
            with open_sink(name) as sink:
                taken, again = (seconds(lambda: export(lake, sink, SERIES)) for _ in range(2))
            limit = limits[name] or post_alone(urls["QUANTALPHA_INFLUX_URL"], held)
            show(name, rows, taken, limit, again)
        ticks(urls["QUANTALPHA_REDIS_URL"])


def ticks(url: str) -> None:
    """Publish to acknowledged, and what `publish` costs its caller."""
    fields = [{"price": 30_000 + n / 10, "quantity": 0.001 * n, "time": 1_700_000_000_000 + n} for n in range(TICKS)]
    words = [("XADD", "limit:ticks", "MAXLEN", "~", 100_000, "*", *(word for pair in each.items() for word in pair)) for each in fields]
    limit = socket_alone(url, words)
    sender = RedisTicks(url)
    began = time.perf_counter()
    for each in fields:
        sender.publish("binanceusdm:BTCUSDT:trades", each)
    published = time.perf_counter() - began
    while sender.waiting:
        time.sleep(0.001)
    show("ticks", TICKS, time.perf_counter() - began, limit)
    sender.close()
    print(f"publish   {published / TICKS * 1e6:12.2f} us a tick for the caller; dropped {sender.dropped}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
