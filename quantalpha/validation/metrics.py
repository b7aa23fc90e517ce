"""Performance in numbers: simple per-period returns, equity paths and trade results in, plain floats out.

What is undefined (no variance, no losses, no trades) is NaN, never infinite, so that no comparison passes on it.
`periods_per_year` counts bars in 365 days (`timeframe.bars_per_year`): the market never closes.
"""

import numpy as np

from quantalpha.errors import DataError

NAN = float("nan")


def sharpe_ratio(returns, *, periods_per_year: float) -> float:
    """Annualised mean over sample standard deviation of simple returns (risk-free rate 0); NaN without variance."""
    values = finite(returns, "returns")
    if values.size < 2 or np.ptp(values) == 0:
        return NAN
    return float(values.mean() / values.std(ddof=1) * np.sqrt(periods_per_year))


def sortino_ratio(returns, *, periods_per_year: float) -> float:
    """Annualised mean over downside deviation, the root of the mean of min(return, 0)^2 over all periods; NaN without a loss."""
    values = finite(returns, "returns")
    if not (values < 0).any():
        return NAN
    return float(values.mean() / np.sqrt(np.mean(np.minimum(values, 0) ** 2)) * np.sqrt(periods_per_year))


def omega_ratio(returns, *, threshold: float = 0.0) -> float:
    """What returns exceed `threshold` by over what others fall short of it, summed (Keating & Shadwick, 2002); NaN without a shortfall."""
    values = finite(returns, "returns") - threshold
    lacking = -values[values < 0].sum()
    return float(values[values > 0].sum() / lacking) if lacking > 0 else NAN


def annual_volatility(returns, *, periods_per_year: float) -> float:
    """Sample standard deviation of simple returns times sqrt(periods_per_year): 0.6 is 60 % a year."""
    values = finite(returns, "returns")
    return float(values.std(ddof=1) * np.sqrt(periods_per_year)) if values.size > 1 else NAN


def drawdown(equity) -> np.ndarray:
    """float64[n]: loss from the highest equity so far as a positive fraction: 0.2 is 20 % below the peak."""
    values = _equity(equity)
    return 1 - values / np.maximum.accumulate(values)


def max_drawdown(equity) -> float:
    """The largest `drawdown`, a positive fraction; the first value should be the cash at the start."""
    return float(drawdown(equity).max())


def average_drawdown(equity) -> float:
    """The mean of `drawdown` over all periods after the first, a positive fraction."""
    return float(drawdown(equity)[1:].mean()) if len(equity) > 1 else NAN


def ulcer_index(equity) -> float:
    """Root of the mean of drawdown^2 over all periods after the first (Martin, 1987), as a fraction: 0.1 is 10 %."""
    return float(np.sqrt(np.mean(drawdown(equity)[1:] ** 2))) if len(equity) > 1 else NAN


def cagr(equity, *, periods_per_year: float) -> float:
    """Compound growth a year over the n - 1 periods of `equity` (0.1 is +10 % a year); -1 if all is lost, NaN if beyond any number."""
    values = _equity(equity)
    if values.size < 2:
        return NAN
    with np.errstate(over="ignore"):
        growth = float((values[-1] / values[0]) ** (periods_per_year / (values.size - 1)) - 1)
    return growth if growth < np.inf else NAN


def calmar_ratio(equity, *, periods_per_year: float) -> float:
    """`cagr` over `max_drawdown`; NaN if equity never fell."""
    depth = max_drawdown(equity)
    return cagr(equity, periods_per_year=periods_per_year) / depth if depth > 0 else NAN


def profit_factor(results) -> float:
    """Sum of gains over sum of losses of trades (or periods), in cash or fractions; NaN without a loss."""
    values = finite(results, "results")
    losses = -values[values < 0].sum()
    return float(values[values > 0].sum() / losses) if losses > 0 else NAN


def win_rate(results) -> float:
    """Fraction of trades with a result above 0; NaN without trades."""
    values = finite(results, "results")
    return float((values > 0).mean()) if values.size else NAN


def payoff_ratio(results) -> float:
    """Mean gain over mean loss of trades; NaN without either."""
    values = finite(results, "results")
    gains, losses = values[values > 0], values[values < 0]
    return float(gains.mean() / -losses.mean()) if gains.size and losses.size else NAN


def expectancy(results) -> float:
    """Mean result of a trade, in the unit of `results`; NaN without trades."""
    values = finite(results, "results")
    return float(values.mean()) if values.size else NAN


def longest_losing_streak(results) -> int:
    """Most results below 0 in a row."""
    ends = np.flatnonzero(np.append(finite(results, "results"), 0.0) >= 0)  # each gain ends a streak, and so does the end
    return int(np.diff(ends, prepend=-1).max()) - 1


def finite(values, name: str) -> np.ndarray:
    """float64[n]; DataError naming the first value that is no number."""
    out = np.asarray(values, dtype=float)
    if not np.isfinite(out).all():
        raise DataError(f"metrics: {name} must be finite; row {int(np.flatnonzero(~np.isfinite(out))[0])} of {out.size} is not")
    return out


def _equity(equity) -> np.ndarray:
    values = finite(equity, "equity")
    if not values.size or values[0] <= 0 or (values < 0).any():
        raise DataError("metrics: equity must start above 0 and never be negative")
    return values
