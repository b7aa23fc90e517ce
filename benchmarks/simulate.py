"""`simulate` on five years of minutes, against one pass over the four price columns and against vectorbt's `from_signals`, in one process.

python benchmarks/simulate.py [bars]
"""

import sys
import time

import numpy as np
import pandas as pd

from quantalpha.backtest import simulate
from quantalpha.perp import Account, Costs, Stops
from quantalpha.schema import from_epoch_ms


def tape(n: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    close = 30_000 * np.exp(np.cumsum(rng.normal(0, 5e-4, n)))
    open_ = np.append(30_000.0, close[:-1])
    high, low = np.maximum(open_, close) * (1 + 2e-4 * rng.random(n)), np.minimum(open_, close) * (1 - 2e-4 * rng.random(n))
    bars = pd.DataFrame({"open": open_, "high": high, "low": low, "close": close}, index=from_epoch_ms(np.arange(n) * 60_000))
    return bars.assign(volume=1.0, mark=close, funding_rate=np.where(np.arange(n) % 480 == 0, 1e-4, 0.0))


def best(call, repeats: int = 5) -> float:
    """Seconds of the fastest call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main(n: int) -> None:
    bars = tape(n)
    rng = np.random.default_rng(1)
    target = pd.Series(np.repeat(rng.choice([-1.0, 0.0, 1.0], n // 240 + 1), 240)[:n], index=bars.index)
    prices = [bars[name].to_numpy() for name in ("open", "high", "low", "close")]
    terms = {"account": Account(1e6, 3.0, lot=0.001), "costs": Costs(maker=0.0, taker=1e-5, slippage=0.0, liquidation=0.0125)}

    import vectorbt

    naive = bars.set_axis(bars.index.tz_localize(None))
    signals = {
        "entries": (target == 1).to_numpy(), "exits": (target != 1).to_numpy(),
        "short_entries": (target == -1).to_numpy(), "short_exits": (target != -1).to_numpy(),
    }  # fmt: skip
    start = time.perf_counter()
    simulate(bars, target, **terms)
    print(f"{'first call in this process (compiled code from the cache, once there)':74s}{time.perf_counter() - start:9.3f} s")
    one_pass = best(lambda: [column.sum() for column in prices])
    rows = {
        "one pass over open, high, low, close": one_pass,
        "simulate": best(lambda: simulate(bars, target, **terms)),
        "simulate with stops": best(lambda: simulate(bars, target, **terms, stops=Stops(0.02, 0.04))),
        "simulate, then trades and metrics": best(lambda: simulate(bars, target, **terms).metrics(), 3),
        "vectorbt from_signals": best(lambda: vectorbt.Portfolio.from_signals(naive["close"], **signals, fees=1e-5, freq="1min"), 3),
    }
    for name, seconds in rows.items():
        print(f"{name:74s}{seconds * 1e3:9.1f} ms {seconds / one_pass:7.1f} x {n / seconds / 1e6:8.1f} M bars/s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_628_000)
