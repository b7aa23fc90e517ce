"""A result by calendar and by episode: days, months, moving windows, drawdowns."""

import numpy as np
import pandas as pd

from quantalpha.backtest.performance import in_market, leverage
from quantalpha.backtest.result import Result, bars_per_year
from quantalpha.validation.metrics import drawdown

YEAR = "year"
DAYS = 365  # in a year: the market never closes
WINDOWS = (365, 180, 90, 30, 7)  # days: the first that fits four times into the result is the moving window


def daily_returns(returns: pd.Series) -> pd.Series:
    """Simple returns compounded by UTC day, indexed by the day; bars longer than a day keep their own days."""
    return (1.0 + returns).groupby(returns.index.floor("D")).prod() - 1.0


def monthly_returns(returns: pd.Series) -> pd.DataFrame:
    """Simple returns compounded by calendar month (UTC): rows years, columns 1 to 12 and 'year', NaN where there is no bar.

    returns: simple return per bar, indexed by bar open (`Result.returns`).
    """
    growth = 1.0 + returns
    months = growth.groupby([growth.index.year, growth.index.month]).prod().unstack().reindex(columns=range(1, 13)) - 1.0
    table = months.assign(**{YEAR: growth.groupby(growth.index.year).prod() - 1.0})
    return table.rename_axis(index=YEAR, columns="month")


def rolling(result: Result, days: int) -> pd.DataFrame:
    """sharpe_ratio and volatility (of daily returns, 365 days a year), exposure (share of bar closes with a position) and leverage (mean
    gross notional / equity) over the `days` before the end of each day; NaN until there are that many, Sharpe also without variance."""
    yearly = min(DAYS, bars_per_year(result.index))  # bars longer than a day are fewer
    rows = max(2, round(days * yearly / DAYS))
    daily, day = daily_returns(result.returns), result.equity.index.floor("D")
    held = pd.DataFrame({"exposure": in_market(result).astype(float), "leverage": leverage(result)}).groupby(day).mean()
    window = daily.rolling(rows)
    volatility = window.std() * np.sqrt(yearly)
    sharpe = (window.mean() * yearly / volatility).where(volatility > 1e-12)
    return pd.DataFrame({"sharpe_ratio": sharpe, "volatility": volatility}).join(held.rolling(rows).mean())


def window(result: Result) -> int:
    """Days of a moving window that suits the length of the result."""
    span = (result.equity.index[-1] - result.equity.index[0]) / pd.Timedelta("1D")
    return next((days for days in WINDOWS if 4 * days <= span), WINDOWS[-1])


def underwater(result: Result) -> pd.Series:
    """Loss from the highest equity so far, the initial cash included, at each bar's close: -0.2 is 20 % below it."""
    fall = drawdown(np.append(result.account.initial_cash, result.equity.to_numpy()))
    return pd.Series(-fall[1:], index=result.equity.index, name="drawdown")


def drawdowns(fall: pd.Series, count: int = 5) -> pd.DataFrame:
    """The `count` deepest episodes of `underwater`: peak (the last bar at the high; the first bar if it already lost), trough, recovered
    (NaT: not yet), depth (negative fraction), days_down (peak to trough) and days (peak to recovery, or to the last bar)."""
    values, index = fall.to_numpy(), fall.index
    below = np.r_[False, values < 0.0, False]
    first, end = np.flatnonzero(~below[:-1] & below[1:]), np.flatnonzero(below[:-1] & ~below[1:])  # episode k: rows first[k] to end[k] - 1
    if not first.size:
        return pd.DataFrame(columns=["peak", "trough", "recovered", "depth", "days_down", "days"])
    depth = np.minimum.reduceat(values, np.c_[first, end].ravel()[: 2 * first.size - (end[-1] == len(values))])[::2]
    deepest = np.argsort(depth, kind="stable")[:count]
    trough = np.array([first[k] + values[first[k] : end[k]].argmin() for k in deepest])
    peak, last = index[np.maximum(first[deepest] - 1, 0)], np.minimum(end[deepest], len(values) - 1)
    day = pd.Timedelta("1D")
    return pd.DataFrame(
        {
            "peak": peak,
            "trough": index[trough],
            "recovered": index[last].where(end[deepest] < len(values)),
            "depth": depth[deepest],
            "days_down": (index[trough] - peak) / day,
            "days": (index[last] - peak) / day,
        }
    )
