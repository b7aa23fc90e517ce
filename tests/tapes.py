"""Random tapes on which things happen: gaps, funding, marks that miss, missing bars, prices on a coarse grid so that levels tie."""

import numpy as np
import pandas as pd

from quantalpha.schema import from_epoch_ms

HOUR = 3_600_000
OHLCV = ["open", "high", "low", "close", "volume"]


def tape(rng, n, volatility, *, grid=0.0, funding=1e-3, missing=0.0, start=100.0):
    """Bars of hours with heavy tails; funding every 8 bars; a mark near the close, sometimes unknown.

    grid: step of all prices (0: none). funding: scale of its rates. missing: share of bars left out, the last never.
    """
    close = start * np.exp(np.cumsum(rng.standard_t(3, n) * volatility))
    open_ = np.append(start, close[:-1]) * np.exp(rng.standard_t(3, n) * volatility * (rng.random(n) < 0.3))
    high = np.maximum(open_, close) * (1 + np.abs(rng.normal(0, volatility, n)))
    low = np.minimum(open_, close) / (1 + np.abs(rng.normal(0, volatility, n)))
    bars = pd.DataFrame({"open": open_, "high": high, "low": low, "close": close})
    if grid:
        bars = np.maximum(np.round(bars / grid) * grid, grid)
    bars = bars.set_index(from_epoch_ms(np.arange(n) * HOUR))
    bars["volume"] = rng.integers(1, 10_000, n).astype(float)
    bars["funding_rate"] = np.where(np.arange(n) % 8 == 0, rng.normal(0, 1, n) * funding, 0.0)
    bars["mark"] = np.where(rng.random(n) < 0.1, np.nan, bars["close"] * (1 + rng.normal(0, volatility / 10, n)))
    return bars[(rng.random(n) >= missing) | (np.arange(n) == n - 1)]


def path(rng, index, levels, *, change=0.3, known=0.8):
    """Targets: one of `levels`, changed at a share `change` of the bars, told at a share `known` of them."""
    drawn = rng.choice(levels, len(index))
    held = np.maximum.accumulate(np.arange(len(index)) * (rng.random(len(index)) < change))
    return pd.Series(drawn[held], index=index)[rng.random(len(index)) < known]


def with_limits(rng, target, bars, volatility, *, grid=0.0):
    """The target with a limit near the close on either side of it; a fifth at market."""
    close = bars["close"].loc[target.index]
    limit = close * (1 + rng.normal(0, volatility, len(close)))
    if grid:
        limit = np.maximum(np.round(limit / grid) * grid, grid)
    return pd.DataFrame({"target": target, "limit": np.where(rng.random(len(close)) < 0.2, np.nan, limit)})
