"""Labels of five years of minutes: events a second, and the cost next to one pass over the four price columns.

python benchmarks/labels.py [bars]

Every bar is an event. Processor time of one core; best of several calls, in turn. Narrow barriers are met after about 60 bars, wide ones
hardly ever, so that a search bar by bar would look at all 240.
"""

import sys
import time

import numpy as np
import pandas as pd

from quantalpha import labels
from quantalpha.schema import from_epoch_ms

HORIZON = 240


def tape(n: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    close = 30_000 * np.exp(np.cumsum(rng.normal(0, 7e-4, n)))
    open_ = np.append(30_000.0, close[:-1])
    high, low = np.maximum(open_, close) * (1 + 3e-4 * rng.random(n)), np.minimum(open_, close) * (1 - 3e-4 * rng.random(n))
    prices = {"open": open_, "high": high, "low": low, "close": close, "volume": 1.0}
    return pd.DataFrame(prices, index=from_epoch_ms(np.arange(n) * 60_000))


def calls(bars: pd.DataFrame) -> dict:
    volatility = labels.barrier_volatility(bars, window=HORIZON, horizon=HORIZON)
    step = labels.barrier_volatility(bars, window=HORIZON, horizon=1)
    prices = [bars[name].to_numpy() for name in ("open", "high", "low", "close")]

    def barriers(width, **more):
        return labels.triple_barrier(bars, take_profit=width, stop_loss=width, horizon=HORIZON, volatility=volatility, **more)

    end = barriers(1.0)["end_time"]
    hourly = end.where(np.arange(len(end)) % 60 == 0)
    mixed = pd.Series(np.random.default_rng(1).choice([-1.0, 1.0], len(bars)), bars.index)
    return {
        "one pass over open, high, low, close": lambda: [column.sum() for column in prices],
        "triple_barrier, narrow": lambda: barriers(0.5),
        "triple_barrier, as wide as the volatility": lambda: barriers(1.0),
        "triple_barrier, wide": lambda: barriers(2.0),
        "triple_barrier, longs and shorts": lambda: barriers(1.0, side=mixed),
        "fixed_horizon": lambda: labels.fixed_horizon(bars, horizon=HORIZON, threshold=0.5, volatility=volatility),
        "trend_scanning, 20 to 60 bars": lambda: labels.trend_scanning(bars, shortest=20, longest=60),
        "cusum_events": lambda: labels.cusum_events(bars["close"], 4 * step),
        "average_uniqueness": lambda: labels.average_uniqueness(end),
        "return_attribution": lambda: labels.return_attribution(bars, end),
        "sequential_bootstrap, a label an hour": lambda: labels.sequential_bootstrap(hourly, seed=0),
    }


def best(table: dict, repeats: int = 5) -> dict[str, float]:
    """Processor seconds of each call's fastest of `repeats`, taken in turn, the first one (compilation) apart."""
    times = {name: [] for name in table}
    for _ in range(repeats + 1):
        for name, call in table.items():
            start = time.process_time()
            call()
            times[name].append(time.process_time() - start)
    return {name: min(taken[1:]) for name, taken in times.items()}


def report(n: int) -> None:
    taken = best(calls(tape(n)))
    one_pass = taken["one pass over open, high, low, close"]
    print(f"{n:,} bars, an event at each, horizon {HORIZON}")
    print(f"{'':44s}{'ms':>9s}{'M events/s':>12s}{'passes':>9s}")
    for name, seconds in taken.items():
        print(f"{name:44s}{seconds * 1e3:9.1f}{n / seconds / 1e6:12.1f}{seconds / one_pass:9.1f}")


if __name__ == "__main__":
    report(int(sys.argv[1]) if len(sys.argv) > 1 else 2_628_000)
