"""A result with everything in it: flips, stops, funding, a liquidation and an open end; and one of two symbols."""

import numpy as np
import pandas as pd

from quantalpha.backtest import Result, simulate
from quantalpha.perp import Account, Costs, Stops
from quantalpha.schema import from_epoch_ms

HOUR = 3_600_000
COSTS = Costs(maker=0.0002, taker=0.0005, slippage=0.0003, liquidation=0.0125)
START = pd.Timestamp("2022-11-20").value // 10**6


def sample_bars(n: int = 6000, seed: int = 4, crash: int | None = None) -> pd.DataFrame:
    """Hourly bars with mark and funding; `crash`: the bar in which the price falls by half."""
    rng = np.random.default_rng(seed)
    step = rng.normal(0.0002, 0.008, n)
    if crash is not None:
        step[crash] = np.log(0.5)
    close = 100.0 * np.exp(np.cumsum(step))
    open_ = np.append(100.0, close[:-1])
    high, low = np.maximum(open_, close) * 1.002, np.minimum(open_, close) * 0.998
    index = from_epoch_ms(START + np.arange(n) * HOUR)
    bars = pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": 1e4}, index=index)
    funding = np.where(np.arange(n) % 8 == 0, rng.normal(1e-4, 3e-4, n), 0.0)
    return bars.assign(mark=close * (1.0 + rng.normal(0.0, 1e-4, n)), funding_rate=funding)


def sample_target(bars: pd.DataFrame, seed: int = 5) -> pd.Series:
    """A new leverage every twelve bars; long twice through the middle of the bars, and long at the end."""
    rng, n = np.random.default_rng(seed), len(bars)
    target = np.repeat(rng.choice([-1.0, 0.0, 0.5, 1.0], n // 12 + 1), 12)[:n]
    target[n // 2 - 20 : n // 2 + 20] = 3.0
    target[-20:] = 1.0
    return pd.Series(target, index=bars.index)


def sample_result(n: int = 6000, stops: Stops | None = None) -> Result:
    """Without stops it is liquidated half way, by a crash."""
    bars = sample_bars(n, crash=n // 2)
    return simulate(bars, sample_target(bars), account=Account(10_000.0, 3.0), costs=COSTS, stops=stops)


def two_symbols(n: int = 3000) -> Result:
    """The second symbol is listed half way."""
    bars = {"BTC<USDT>": sample_bars(n), "ETHUSDT": sample_bars(n, seed=9).iloc[n // 2 :]}
    targets = {symbol: sample_target(table, seed) * 0.5 for seed, (symbol, table) in enumerate(bars.items())}
    return simulate(bars, targets, account=Account(10_000.0, 2.0), costs=COSTS)
