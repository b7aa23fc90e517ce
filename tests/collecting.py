"""Downloads in processes of their own, which can be killed, and what a lake holds afterwards."""

import asyncio
import multiprocessing
import os
import time
from pathlib import Path

import pandas as pd

from quantalpha import config
from quantalpha.market.download import download_symbols
from quantalpha.market.exchange import Retry
from quantalpha.market.store import Lake
from quantalpha.practice import Tape
from quantalpha.practice.background import played

MINUTE, HOUR = 60_000, 3_600_000
KINDS = ["bars", "mark", "index", "funding", "open_interest"]


def ms(text: str) -> int:
    return int(pd.Timestamp(text, tz="UTC").timestamp() * 1000)


def venue(server, *, timeout: float = 5.0, budget: float = 0.8) -> config.Venue:
    """The practice exchange as `binanceusdm`."""
    return config.Venue(name="binanceusdm", source="practice", rest_url=server.url, ws_url=server.ws_url, timeout=timeout, budget=budget)


def data(start: str, end: str | None, *, timeframe: str = "1h", symbols=("BTCUSDT",), kinds=("bars", "mark", "funding")) -> config.Data:
    return config.Data(symbols=list(symbols), timeframe=timeframe, start=start, end=end, kinds=list(kinds))


def minutes(bars: int, start: str = "2024-01-20", symbols=("BTCUSDT",)) -> Tape:
    """A tape of synthetic 1m bars."""
    edge = dict.fromkeys(symbols, 0.0)
    return Tape.synthetic(config.Synthetic(seed=5, start=start, bars=bars, timeframe="1m", edge=edge))


def fetch(at: config.Venue, what: config.Data, folder: Path, retry: Retry | None = None) -> pd.DataFrame:
    return asyncio.run(download_symbols(at, what, Lake(folder), retry=retry))


def contents(folder: Path) -> dict[str, bytes]:
    """Every parquet file of a lake by its name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


def undisturbed(tape: Tape, what: config.Data, folder: Path) -> dict[str, bytes]:
    """`contents` of what a download comes to that nothing disturbs."""
    with played(tape, speed=0.0, now=tape.end) as server:
        fetch(venue(server), what, folder)
    return contents(folder)


def _work(at, what, folder, cache):
    os.environ["QUANTALPHA_CACHE"] = str(cache)
    fetch(at, what, folder)


def process(at: config.Venue, what: config.Data, folder: Path, cache: Path | None = None) -> multiprocessing.Process:
    """A download under way in another process; cache: where its budgets lie, None: where this process's do."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["collecting", "ccxt.async_support"])
    worker = context.Process(target=_work, args=(at, what, folder, cache or os.environ["QUANTALPHA_CACHE"]), daemon=True)
    worker.start()
    return worker


def kill_after(worker: multiprocessing.Process, server, requests: int, seconds: float) -> bool:
    """kill -9 once the exchange has seen so many more requests, and a little later; whether the process was still at work."""
    until = server.faults.number + requests
    while server.faults.number < until and worker.is_alive():
        time.sleep(0.001)
    time.sleep(seconds)
    alive = worker.is_alive()
    worker.kill()
    worker.join()
    return alive
