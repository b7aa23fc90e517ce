"""How fast the lake gives its rows back: five years of minutes of one symbol, every month verified by hash.

    python benchmarks/lake.py [rounds]

Beside it, in the same run: the same files read without a check, the hashing alone, one pass over the same memory (the limit), and SQL.
"""

import hashlib
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.files import read_parquet
from quantalpha.market.kinds import month_bounds
from quantalpha.market.query import query
from quantalpha.market.store import Lake

KEY = ("binanceusdm", "BTCUSDT", "1m")
MINUTE = 60_000


def minutes() -> pd.DataFrame:
    """A random walk in ticks of 0.1 from 2019 to 2023, as bars."""
    times = np.arange(month_bounds("2019-01")[0], month_bounds("2024-01")[0], MINUTE)
    random = np.random.default_rng(1)
    close = np.round(30_000 * np.exp(np.cumsum(random.normal(0, 4e-4, len(times)))), 1)
    opens = np.r_[close[0], close[:-1]]
    high, low = np.maximum(opens, close) + 0.1, np.minimum(opens, close) - 0.1
    volume = np.round(random.lognormal(3, 1, len(times)), 3)
    return pd.DataFrame(dict(zip(schema.REQUIRED, (opens, high, low, close, volume))), schema.from_epoch_ms(times))


def best(work, rounds: int) -> float:
    """Seconds of the quickest of `rounds` runs: the others were disturbed."""
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def main(rounds: int) -> None:
    rows = minutes()
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        begin = time.perf_counter()
        lake.merge(*KEY, rows, source="benchmark", complete_before=2**62)
        written = time.perf_counter() - begin
        files = [lake.path(*KEY, name) for name in lake.stored(*KEY)]
        size = sum(file.stat().st_size for file in files)
        assert lake.read(*KEY).equals(rows)
        memory = rows.to_numpy().copy()
        daily = "select date_trunc('day', timestamp) t, max(high), min(low), sum(volume) from bars group by 1"
        figures = {
            "Lake.read, verified": best(lambda: lake.read(*KEY), rounds),
            "the files without a check": best(lambda: pd.concat([read_parquet(file) for file in files]), rounds),
            "their sha256 alone": best(lambda: [hashlib.sha256(file.read_bytes()).hexdigest() for file in files], rounds),
            "one pass over the memory (copy)": best(memory.copy, rounds),
            "one month of them": best(lambda: lake.read(*KEY, "2022-03-01", "2022-04-01"), rounds),
            "SQL: days of five years, verified": best(lambda: query(lake, daily, kind="1m"), rounds),
        }
    print(f"{len(rows):,} rows, {len(files)} files, {size / 1e6:.0f} MB ({size / len(rows):.1f} bytes a row); merged in {written:.1f} s")
    whole = figures["Lake.read, verified"]
    for name, seconds in figures.items():
        print(f"{name:36}{seconds * 1000:9.1f} ms{whole / seconds:9.2f} x")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
