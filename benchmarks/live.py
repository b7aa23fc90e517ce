"""What research and the runner pay for features and decisions, beside one TA-Lib EMA over the same rows.

python benchmarks/live.py [bars]
"""

import sys
import time
from itertools import pairwise

import numpy as np
import talib

from quantalpha import config, features, schema
from quantalpha.market.synthetic import synthetic_bars
from quantalpha.perp import Account, Costs, Ledger


def best(call, repeats: int = 5) -> float:
    """Least of several wall times, seconds; the first call, which compiles, is left out."""
    call()
    marks = [time.perf_counter()]
    for _ in range(repeats):
        call()
        marks.append(time.perf_counter())
    return min(later - earlier for earlier, later in pairwise(marks))


def main(rows: int) -> None:
    params = config.load("demo", [f"synthetic.bars={rows}"])
    bars = synthetic_bars("BTCUSDT", params.synthetic)
    catalogue, close = features.build(params.features, params.data.timeframe), bars["close"].to_numpy().copy()
    ema = best(lambda: talib.EMA(close, 24))
    batch = best(lambda: catalogue.compute(bars))
    print(f"{len(bars):,} bars, {len(catalogue.names)} columns; one TA-Lib EMA {ema * 1e3:.2f} ms")
    print(
        f"compute, the whole table     {batch * 1e3:8.1f} ms   {batch / ema:7.1f} EMAs, {batch / ema / len(catalogue.names):.1f} a column"
    )
    ends = np.random.default_rng(0).integers(catalogue.lookback, len(bars), 2000)
    windows = [bars.iloc[end - catalogue.lookback : end] for end in ends]
    times = []
    for window in windows:
        started = time.perf_counter()
        catalogue.latest(window)
        times.append(time.perf_counter() - started)
    print(f"latest, one trailing window  {np.median(times) * 1e6:8.0f} us   P99 {np.quantile(times, 0.99) * 1e6:.0f} us")
    step = best(lambda: walk(bars.head(2000))) / 2000
    print(f"ledger, one bar of a session {step * 1e6:8.1f} us")


def walk(bars) -> None:
    """One account through the four steps of every bar, a new target each day."""
    ledger = Ledger(Account(10_000.0, 5.0), Costs(maker=0.0002, taker=0.0005, slippage=0.0001, liquidation=0.0125))
    values = bars[["open", "high", "low", "close", "mark", "funding_rate"]].to_numpy().tolist()
    for n, (time_ms, row) in enumerate(zip(schema.epoch_ms(bars.index).tolist(), values)):
        ledger.open_bar(time_ms, row[0], None, row[5])
        ledger.inside_bar(time_ms, row[0], row[1], row[2])
        ledger.close_bar(row[3], row[4])
        ledger.decide(float(n // 24 % 3 - 1), row[3], row[4])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60_000)
