"""How lucky was the path? The account's own bars or trades in other orders, drawn in blocks."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quantalpha.backtest.performance import trade_returns
from quantalpha.backtest.result import Result, bars_per_year
from quantalpha.errors import DataError, UsageError
from quantalpha.validation.bootstrap import Resampled, block_length, resample
from quantalpha.validation.metrics import NAN, cagr, max_drawdown, sharpe_ratio

PERCENTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True)
class MonteCarlo:
    """What `paths` resampled accounts came to, beside the one observed. A Sharpe or growth that is undefined on a path is left out."""

    bands: pd.DataFrame  # columns p5 p25 p50 p75 p95 observed: equity, quote currency; index: bar open times or trade numbers
    figures: pd.DataFrame  # rows total_return cagr sharpe_ratio max_drawdown; columns observed p5 p25 p50 p75 p95
    probability_of_loss: float  # share of paths that end below the initial cash
    probability_of_ruin: float  # share of paths that at any time have lost `ruin` of the initial cash
    block: float  # mean length of a block, bars or trades
    paths: int


def bootstrap_bars(
    result: Result, *, paths: int = 1000, block: float | None = None, seed: int = 0, ruin: float = 0.5, points: int = 200
) -> MonteCarlo:
    """Paths made of the account's bar returns, in blocks of `block` bars on average.

    block None: the longer of what `block_length` asks for the returns and for their squares, so that calm and storm stay together.
    ruin: fraction lost. points: how many points of the bands are kept.
    """
    returns, index = result.returns.to_numpy(), result.equity.index
    path = np.append(result.account.initial_cash, result.equity)
    return _drawn(returns, path, index, len(index) / bars_per_year(index), (paths, block, seed, ruin, points))


def bootstrap_trades(
    result: Result, *, paths: int = 1000, block: float | None = None, seed: int = 0, ruin: float = 0.5, points: int = 200
) -> MonteCarlo:
    """Paths made of the trades' results, each as a fraction of the account it began with; arguments as `bootstrap_bars`.

    The trades follow each other in order of entry, also where those of several symbols overlapped. A drawdown within a trade is not seen;
    the Sharpe ratio is that of the trades' returns, annualised with their number a year.
    """
    returns, index = trade_returns(result), result.equity.index
    if returns.size < 2:
        raise DataError(f"bootstrap: expected at least two trades, found {returns.size}")
    path = result.account.initial_cash * np.cumprod(np.append(1.0, 1.0 + returns))
    trades = pd.RangeIndex(1, returns.size + 1, name="trade")
    return _drawn(returns, path, trades, len(index) / bars_per_year(index), (paths, block, seed, ruin, points))


def _drawn(returns: np.ndarray, path: np.ndarray, index: pd.Index, years: float, choices: tuple) -> MonteCarlo:
    """path: the observed equity, the initial cash first. choices: paths, block, seed, ruin, points."""
    paths, block, seed, ruin, points = choices
    if not 0.0 < ruin <= 1.0 or points < 1:
        raise UsageError(f"bootstrap: expected a ruin of (0, 1] and at least one point, found {ruin} and {points}")
    block = max(block_length(returns), block_length(returns**2)) if block is None else float(block)
    steps = np.unique(np.linspace(1, returns.size, points).astype(np.int64))
    drawn = resample(returns, paths=paths, block=block, seed=seed, steps=steps)
    bands = np.percentile(drawn.curves, PERCENTILES, axis=0) * path[0]
    names = [f"p{percent}" for percent in PERCENTILES]
    return MonteCarlo(
        bands=pd.DataFrame(bands.T, columns=names, index=index[steps - 1]).assign(observed=path[steps]),
        figures=_figures(drawn, returns, path, years).rename(columns=dict(zip(PERCENTILES, names))),
        probability_of_loss=float((drawn.final < 1.0).mean()),
        probability_of_ruin=float((drawn.lowest <= 1.0 - ruin).mean()),
        block=block,
        paths=paths,
    )


def _figures(drawn: Resampled, returns: np.ndarray, path: np.ndarray, years: float) -> pd.DataFrame:
    yearly = returns.size / years
    sharpe = np.divide(drawn.mean, drawn.deviation, out=np.full(drawn.mean.size, NAN), where=drawn.deviation > 0.0)
    rows = {
        "total_return": (path[-1] / path[0] - 1.0, drawn.final - 1.0),
        "cagr": (cagr(path[[0, -1]], periods_per_year=1.0 / years), _growth(drawn.final, years)),
        "sharpe_ratio": (sharpe_ratio(returns, periods_per_year=yearly), sharpe * math.sqrt(yearly)),
        "max_drawdown": (max_drawdown(path), drawn.max_drawdown),
    }
    table = {name: [float(observed), *np.nanpercentile(values, PERCENTILES)] for name, (observed, values) in rows.items()}
    return pd.DataFrame.from_dict(table, orient="index", columns=["observed", *PERCENTILES]).rename_axis(index="figure")


def _growth(final: np.ndarray, years: float) -> np.ndarray:
    """Compound growth a year; NaN if beyond any number."""
    with np.errstate(over="ignore"):
        growth = final ** (1.0 / years) - 1.0
    return np.where(np.isfinite(growth), growth, NAN)
