"""`simulate` on five years of minutes and `sweep` on one, against one pass over the price columns and against vectorbt, in one process.

python benchmarks/simulate.py [bars] [sweep paths]

vectorbt gets its fast path (tz-naive index, numpy signals) and judges the same signals; it knows no funding, margin or liquidation, and
answers `total_return` without the path of equity that `simulate` gives. One core but for the sweep; best of several calls, in turn.
"""

import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from quantalpha.backtest import simulate, sweep
from quantalpha.perp import Account, Costs, Stops
from quantalpha.schema import from_epoch_ms

TERMS = {"account": Account(1e6, 3.0, lot=0.001), "costs": Costs(maker=0.0, taker=1e-5, slippage=0.0, liquidation=0.0125)}
STOPS = Stops(stop_loss=0.02, take_profit=0.04)
HOLD = 240  # bars a target stands
YEAR = 525_600
FRESH = """
import time; start = time.perf_counter()
from simulate import STOPS, TERMS, signals, tape
from quantalpha.backtest import simulate
bars = tape(100_000); made = time.perf_counter()
simulate(bars, signals(bars), **TERMS, stops=STOPS).trades
print(time.perf_counter() - made, time.perf_counter() - start)
"""


def tape(n: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    close = 30_000 * np.exp(np.cumsum(rng.normal(0, 5e-4, n)))
    open_ = np.append(30_000.0, close[:-1])
    high, low = np.maximum(open_, close) * (1 + 2e-4 * rng.random(n)), np.minimum(open_, close) * (1 - 2e-4 * rng.random(n))
    bars = pd.DataFrame({"open": open_, "high": high, "low": low, "close": close}, index=from_epoch_ms(np.arange(n) * 60_000))
    return bars.assign(volume=1.0, mark=close, funding_rate=np.where(np.arange(n) % 480 == 0, 1e-4, 0.0))


def signals(bars: pd.DataFrame) -> pd.Series:
    values = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], len(bars) // HOLD + 1)
    return pd.Series(np.repeat(values, HOLD)[: len(bars)], index=bars.index)


def cross(bars: pd.DataFrame, sums: np.ndarray, fast: int, slow: int) -> pd.Series:
    """A moving-average cross from running sums."""
    target = np.zeros(len(bars))
    np.sign((sums[slow:] - sums[slow - fast : -fast]) / fast - (sums[slow:] - sums[:-slow]) / slow, out=target[slow - 1 :])
    return pd.Series(target, index=bars.index)


def best(calls: dict, repeats: int = 7) -> dict[str, float]:
    """Seconds of each call's fastest of `repeats`, taken in turn."""
    times = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: min(taken) for name, taken in times.items()}


def vectorbt_calls(bars: pd.DataFrame, target: pd.Series) -> dict:
    import vectorbt

    naive, wanted = bars.set_axis(bars.index.tz_localize(None)), target.to_numpy()
    names = ("entries", "exits", "short_entries", "short_exits")
    given = dict(zip(names, (wanted == 1, wanted != 1, wanted == -1, wanted != -1))) | {"fees": 1e-5, "freq": "1min", "init_cash": 1e6}
    stops = {"sl_stop": STOPS.stop_loss, "tp_stop": STOPS.take_profit} | {name: naive[name] for name in ("open", "high", "low")}

    def call(engine: str, ask: str, **more):
        return getattr(vectorbt.Portfolio.from_signals(naive["close"], **given, **more, engine=engine), ask)()

    return {
        "vectorbt rust, from_signals + total_return": partial(call, "rust", "total_return"),
        "vectorbt rust, with stops, + total_return": partial(call, "rust", "total_return", **stops),
        "vectorbt rust, with stops, + value (equity path)": partial(call, "rust", "value", **stops),
        "vectorbt numba, with stops, + total_return": partial(call, "numba", "total_return", **stops),
    }


def report(n: int) -> None:
    bars = tape(n)
    target = signals(bars)
    prices = [bars[name].to_numpy() for name in ("open", "high", "low", "close")]

    def run():
        return simulate(bars, target, **TERMS, stops=STOPS)

    ours = {
        "one pass over open, high, low, close": lambda: [column.sum() for column in prices],
        "simulate": lambda: simulate(bars, target, **TERMS),
        "simulate with stops": run,
        "simulate with stops, then trades": lambda: run().trades,
        "simulate with trailing stop": lambda: simulate(bars, target, **TERMS, stops=Stops(0.02, 0.04, trailing_stop=0.03)),
        "simulate with stops, then trades and all metrics": lambda: run().metrics(),
    }
    calls = ours | vectorbt_calls(bars, target)
    for call in calls.values():
        call()
    taken = best(calls)
    one_pass, peer = taken["one pass over open, high, low, close"], taken["vectorbt rust, with stops, + total_return"]
    print(f"{n:,} bars, {len(run().trades):,} trades, funding every 480 bars")
    print(f"{'':52s}{'ms':>9s}{'passes':>9s}{'x vectorbt rust with stops':>28s}")
    for name, seconds in taken.items():
        print(f"{name:52s}{seconds * 1e3:9.1f}{seconds / one_pass:9.1f}{peer / seconds:28.1f}")


def report_sweep(paths: int) -> None:
    bars = tape(YEAR)
    sums = np.concatenate([[0.0], np.cumsum(bars["close"].to_numpy())])
    made = [(k, signals(bars).shift(k, fill_value=0.0)) for k in range(8)]
    given = ((k, made[k % 8][1]) for k in range(paths))
    crosses = {
        (60 * f, 1440 + 60 * s): partial(cross, sums=sums, fast=60 * f, slow=1440 + 60 * s) for f in range(1, 21) for s in range(1, 51)
    }
    sweep(bars, made, **TERMS, stops=STOPS)
    for name, targets in (("targets at hand", given), ("averages crossed on the way", dict(list(crosses.items())[:paths]))):
        start = time.perf_counter()
        table = sweep(bars, targets, **TERMS, stops=STOPS, workers=2)
        seconds, memory = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        speed = len(table) * YEAR / seconds / 1e6
        print(f"sweep of {len(table)} paths x {YEAR:,} bars, 2 threads, {name}: ", end="")
        print(f"{seconds:.1f} s, {speed:.0f} M bars/s, peak {memory:.1f} GB")


def report_fresh() -> None:
    first, whole = map(
        float,
        subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=True, cwd=Path(__file__).parent).stdout.split(),
    )
    print(f"fresh process: first simulate and trades {first:.2f} s (compiled code from the cache), with imports and the tape {whole:.2f} s")


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    report_sweep(given[1] if len(given) > 1 else 1000)
    report(given[0] if given else 2_628_000)
    report_fresh()
