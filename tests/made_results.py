"""Small made-up markets and the results traded on them."""

import numpy as np
import pandas as pd

from quantalpha.backtest import Result, simulate
from quantalpha.perp import Account, Costs, Stops
from quantalpha.schema import from_epoch_ms

HOUR, DAY = 3_600_000, 86_400_000
COSTS = Costs(maker=0.0002, taker=0.0005, slippage=0.0003, liquidation=0.0125)


def bars_of(rows, spacing_ms: int = HOUR, **columns) -> pd.DataFrame:
    """Rows of open, high, low, close (or one price for all four)."""
    prices = np.array([row if np.ndim(row) else [row] * 4 for row in rows], dtype=float)
    index = from_epoch_ms(np.arange(len(prices)) * spacing_ms)
    return pd.DataFrame(prices, columns=["open", "high", "low", "close"], index=index).assign(volume=1e4, **columns)


def tape(n: int, *, seed: int = 0, drift: float = 0.0, scale: float = 0.01, spacing_ms: int = HOUR, **columns) -> pd.DataFrame:
    """A random walk with a constant drift a bar, or one of each bar's own."""
    close = 100 * np.exp(np.cumsum(drift + np.random.default_rng(seed).normal(0, scale, n)))
    open_ = np.append(100.0, close[:-1])
    high, low = np.maximum(open_, close) * 1.002, np.minimum(open_, close) * 0.998
    return bars_of(np.column_stack([open_, high, low, close]), spacing_ms, **columns)


def run(bars, targets, *, stops: Stops | None = None, leverage: float = 3.0, costs: Costs = COSTS, cash: float = 1000.0) -> Result:
    """`targets` one by one on the bars, or one for all."""
    target = pd.Series(np.broadcast_to(np.asarray(targets, dtype=float), len(bars)), index=bars.index)
    return simulate(bars, target, account=Account(cash, leverage), costs=costs, stops=stops)


def together(**results: Result) -> Result:
    """Accounts of one symbol each as one account of several; their cash is added."""
    first, *_ = results.values()
    cash = sum(result.account.initial_cash for result in results.values())
    legs = {symbol: result.legs[None] for symbol, result in results.items()}
    path = np.sum([result.path for result in results.values()], axis=0)
    return Result(first.index, path, legs, Account(cash, first.account.leverage), first.costs, first.stops)


def busy(n: int = 3000, *, seed: int = 4, scale: float = 0.01, **choices) -> Result:
    """Scaling, flips, stops, funding and an open end."""
    rng = np.random.default_rng(seed)
    bars = tape(n, seed=seed, scale=scale, funding_rate=np.where(np.arange(n) % 8 == 0, rng.normal(0, 5e-4, n), 0.0))
    targets = np.repeat(rng.choice([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0], n // 5), 5)
    targets[-3:] = 1.0
    return run(bars, targets, **{"stops": Stops(stop_loss=0.05, take_profit=0.08), **choices})
