"""A result in numbers: the account's path, the returns' distribution, the trades, and what was traded to get there."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from quantalpha.validation import metrics
from quantalpha.validation.distribution import shape, tail_risk
from quantalpha.validation.path import path_metrics, simple_returns

if TYPE_CHECKING:
    from quantalpha.backtest.result import Result


def performance(result: "Result", periods_per_year: float | None = None) -> dict[str, float]:
    """Plain floats, NaN where undefined. Bars per year: by default from the median bar spacing, 365 days a year.

    Path: as `validation.path.annualised`. Distribution: of the returns of single bars, as `validation.distribution`; value_at_risk and
    expected_shortfall at 95 %, positive is a loss. Trades: as `trade_metrics`. turnover: traded notional a year / mean equity.
    exposure: share of bar closes with a position. mean_leverage: mean over all bar closes of gross notional / equity.
    fees and slippage: positive is paid; funding: positive is received. liquidations: how many fills the venue forced.
    """
    yearly = _yearly(result, periods_per_year)
    traded = float((result.fills["quantity"].abs() * result.fills["price"]).sum())
    returns = simple_returns(result.equity.to_numpy(), float(result.account.initial_cash))
    return {
        **path_performance(result, yearly),
        **shape(returns)._asdict(),
        **tail_risk(returns)._asdict(),
        **trade_metrics(result.trades),
        "turnover": traded / float(result.equity.mean()) * yearly / len(result.equity),
        "exposure": float(in_market(result).mean()),
        "mean_leverage": float(leverage(result).mean()),
        "fees": float(result.fills["fee"].sum()),
        "slippage": float(result.fills["slippage"].sum()),
        "funding": float(result.funding["amount"].sum()),
        "liquidations": float(len(result.liquidations)),
    }


def path_performance(result: "Result", periods_per_year: float | None = None) -> dict[str, float]:
    """The part of `performance` that the equity path alone tells; a small part of its cost."""
    yearly = _yearly(result, periods_per_year)
    return path_metrics(result.equity.to_numpy(), result.account.initial_cash, periods_per_year=yearly)


def trade_metrics(trades: pd.DataFrame) -> dict[str, float]:
    """Of `Result.trades` or some of its rows; a trade still open counts at its mark.

    expectancy, best_trade and worst_trade in quote currency, expectancy_return the mean of profit / entry notional, holding times in bars.
    """
    pnl, held = trades["pnl"].to_numpy(float), trades["bars"].to_numpy(float)
    return {
        "n_trades": float(len(trades)),
        "win_rate": metrics.win_rate(pnl),
        "profit_factor": metrics.profit_factor(pnl),
        "payoff_ratio": metrics.payoff_ratio(pnl),
        "expectancy": metrics.expectancy(pnl),
        "expectancy_return": metrics.expectancy(trades["return"].to_numpy(float)),
        "best_trade": float(pnl.max()) if pnl.size else metrics.NAN,
        "worst_trade": float(pnl.min()) if pnl.size else metrics.NAN,
        "longest_losing_streak": float(metrics.longest_losing_streak(pnl)),
        "mean_holding_bars": float(held.mean()) if held.size else metrics.NAN,
        "median_holding_bars": float(np.median(held)) if held.size else metrics.NAN,
    }


def trade_returns(result: "Result") -> np.ndarray:
    """float64[trades]: each trade's profit as a fraction of the account it began with, as if they followed each other in order of entry.

    One after the other they lead from the initial cash to the last equity. 0 once nothing is left.
    """
    path = np.maximum(np.append(0.0, np.cumsum(result.trades["pnl"])) + result.account.initial_cash, 0.0)
    return np.divide(path[1:], path[:-1], out=np.ones(len(path) - 1), where=path[:-1] > 0.0) - 1.0


def in_market(result: "Result") -> np.ndarray:
    """bool[n]: is anything held at each bar's close?"""
    held = result.position.to_numpy() != 0.0
    return held if held.ndim == 1 else held.any(axis=1)


def leverage(result: "Result") -> np.ndarray:
    """float64[n]: gross notional at the mark over equity at each bar's close; 0 once nothing is left."""
    notional = result.position.to_numpy() * result.marks.to_numpy()
    np.abs(notional, out=notional)
    notional = notional if notional.ndim == 1 else np.nansum(notional, axis=1)
    equity = result.equity.to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        notional /= equity
    notional[equity <= 0.0] = 0.0  # who owns nothing holds nothing
    return notional


def _yearly(result: "Result", periods_per_year: float | None) -> float:
    from quantalpha.backtest.result import bars_per_year

    return bars_per_year(result.equity.index) if periods_per_year is None else float(periods_per_year)
