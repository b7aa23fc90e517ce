"""Downloads that are killed, and downloads that share one request budget, against the practice exchange.

    python benchmarks/collect.py [kills] [processes]

1. kill -9 at random moments of a download of 1m bars, mark and index prices, funding and open interest, each resumed to its end: every lake
   must hold the same files, byte for byte, as an undisturbed one. Exits 1 where one does not.
2. Processes that download together, each another symbol: rows a second, share of the budget used, refusals (429) and bans (418), of which
   there must be none; and the same where each process counts its own requests alone, where there must be some, or the check could not fail.
"""

import asyncio
import multiprocessing
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from quantalpha import config
from quantalpha.errors import ExchangeError
from quantalpha.market import Lake, download_symbols
from quantalpha.market.budget import Budget
from quantalpha.practice import Limits, Tape
from quantalpha.practice.background import played

SEED = 7
LONG, MANY = 30_000, 12_000  # minutes on the tape of each part
LIMIT, INTERVAL, SHARE = 120, 5, 0.8  # weight the exchange allows in so many seconds, and what of it a budget may use
SHARED = "cache"
KINDS = ["bars", "mark", "index", "funding", "open_interest"]


def tape(minutes: int, symbols: list[str]) -> Tape:
    edge = dict.fromkeys(symbols, 0.0)
    return Tape.synthetic(config.Synthetic(seed=SEED, start="2024-01-20", bars=minutes, timeframe="1m", edge=edge))


def work(server_url: str, symbol: str, kinds: list[str], folder: str, cache: Path) -> None:
    """One process: its download, budgets in `cache`; in one of its own it does not hear either what the venue says others have used."""
    os.environ["QUANTALPHA_CACHE"] = str(cache)
    if cache.name != SHARED:
        Budget.correct = lambda *_: None
    address = {"rest_url": server_url, "ws_url": server_url.replace("http", "ws")}
    venue = config.Venue(name="binanceusdm", source="practice", timeout=10.0, budget=SHARE, **address)
    data = config.Data(symbols=[symbol], timeframe="1m", start="2024-01-20", end=None, kinds=kinds)
    try:
        asyncio.run(download_symbols(venue, data, Lake(Path(folder))))
    except ExchangeError as error:
        sys.exit(str(error))


def start(*arguments) -> multiprocessing.Process:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["quantalpha.market", "ccxt.async_support"])
    process = context.Process(target=work, args=arguments)
    process.start()
    return process


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


def killed(kills: int, scratch: Path) -> bool:
    """Whether every lake is the undisturbed one."""
    played_tape = tape(LONG, ["BTCUSDT"])
    with played(played_tape, speed=0.0, now=played_tape.end, limits=Limits(limit=10**9)) as server:

        def fetch(folder: Path) -> multiprocessing.Process:
            return start(server.url, "BTCUSDT", KINDS, str(folder), scratch / SHARED)

        since = time.monotonic()
        fetch(scratch / "whole").join()
        seconds, whole, moments = time.monotonic() - since, contents(scratch / "whole"), random.Random(SEED)
        print(f"undisturbed: {seconds:.1f} s, {server.faults.number} requests, {len(whole)} files", flush=True)
        same = caught = 0
        for number in range(kills):
            process, folder = fetch(scratch / f"cut-{number}"), scratch / f"cut-{number}"
            process.join(moments.uniform(0.1, seconds))
            caught += process.is_alive()
            process.kill()
            process.join()
            fetch(folder).join()
            left = [path for path in folder.rglob("*") if path.name.startswith(".")]
            same += contents(folder) == whole and not left
    print(
        f"killed at {kills} random moments ({caught} times at work) and resumed: {same} of {kills} lakes identical to the undisturbed one"
    )
    return same == kills


def together(processes: int, scratch: Path, shared: bool) -> Limits:
    symbols = [f"COIN{number}USDT" for number in range(processes)]
    limits = Limits(limit=LIMIT, interval=INTERVAL, ban=0.5)
    played_tape = tape(MANY, symbols)
    with played(played_tape, speed=0.0, now=played_tape.end, limits=limits) as server:
        since = time.monotonic()
        caches = [scratch / (SHARED if shared else symbol) for symbol in symbols]
        folder = scratch / ("shared" if shared else "apart")
        crowd = [start(server.url, symbol, ["bars", "mark"], str(folder), cache) for symbol, cache in zip(symbols, caches)]
        for process in crowd:
            process.join()
        seconds = time.monotonic() - since
    rows = sum(len(Lake(folder).read("practice", symbol, kind)) for symbol in symbols for kind in ("1m", "mark-1m"))
    used = limits.admitted / (LIMIT * SHARE * (seconds / INTERVAL + 1))  # windows that end while it lasts, the first one full at once
    told = [
        f"{processes} processes, {'one budget' if shared else 'each counts its own'}: {seconds:5.1f} s, {rows / seconds:,.0f} rows/s",
        f"{used:.0%} of the budget used ({SHARE:.0%} of {LIMIT} in {INTERVAL} s)",
        f"refusals 429: {limits.refused[429]}, bans 418: {limits.refused[418]}",
        f"processes that gave up: {sum(process.exitcode != 0 for process in crowd)}",
    ]
    print(", ".join(told), flush=True)
    return limits


def main(kills: int, processes: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        identical = killed(kills, scratch)
        polite, crowded = together(processes, scratch, shared=True), together(processes, scratch, shared=False)
    return 0 if identical and not polite.refused and crowded.refused[429] and crowded.refused[418] else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50, int(sys.argv[2]) if len(sys.argv) > 2 else 8))
