"""Performance in numbers: simple per-period returns, equity paths and trade results in, plain floats out.

What is undefined (no variance, no losses, no trades) is NaN, never infinite, so that no comparison passes on it.
`periods_per_year` counts bars in 365 days (`timeframe.bars_per_year`): the market never closes.
"""

import numpy as np

from quantalpha.errors import DataError

NAN = float("nan")


def sharpe_ratio(returns, *, periods_per_year: float) -> float:
    """Annualised mean over sample standard deviation of simple returns (risk-free rate 0); NaN without variance."""
    values = _finite(returns, "returns")
    if values.size < 2 or np.ptp(values) == 0:
        return NAN
    return float(values.mean() / values.std(ddof=1) * np.sqrt(periods_per_year))


def sortino_ratio(returns, *, periods_per_year: float) -> float:
    """Annualised mean over downside deviation, the root of the mean of min(return, 0)^2 over all periods; NaN without a loss."""
    values = _finite(returns, "returns")
    if not (values < 0).any():
        return NAN
    return float(values.mean() / np.sqrt(np.mean(np.minimum(values, 0) ** 2)) * np.sqrt(periods_per_year))


def annual_volatility(returns, *, periods_per_year: float) -> float:
    """Sample standard deviation of simple returns times sqrt(periods_per_year): 0.6 is 60 % a year."""
    values = _finite(returns, "returns")
    return float(values.std(ddof=1) * np.sqrt(periods_per_year)) if values.size > 1 else NAN


def drawdown(equity) -> np.ndarray:
    """float64[n]: loss from the highest equity so far as a positive fraction: 0.2 is 20 % below the peak."""
    values = _equity(equity)
    return 1 - values / np.maximum.accumulate(values)


def max_drawdown(equity) -> float:
    """The largest `drawdown`, a positive fraction; the first value should be the cash at the start."""
    return float(drawdown(equity).max())


def cagr(equity, *, periods_per_year: float) -> float:
    """Compound growth a year over the n - 1 periods of `equity` (0.1 is +10 % a year); -1 if all is lost."""
    values = _equity(equity)
    if values.size < 2:
        return NAN
    return float((values[-1] / values[0]) ** (periods_per_year / (values.size - 1)) - 1)


def calmar_ratio(equity, *, periods_per_year: float) -> float:
    """`cagr` over `max_drawdown`; NaN if equity never fell."""
    depth = max_drawdown(equity)
    return cagr(equity, periods_per_year=periods_per_year) / depth if depth > 0 else NAN


def profit_factor(results) -> float:
    """Sum of gains over sum of losses of trades (or periods), in cash or fractions; NaN without a loss."""
    values = _finite(results, "results")
    losses = -values[values < 0].sum()
    return float(values[values > 0].sum() / losses) if losses > 0 else NAN


def win_rate(results) -> float:
    """Fraction of trades with a result above 0; NaN without trades."""
    values = _finite(results, "results")
    return float((values > 0).mean()) if values.size else NAN


def _finite(values, name: str) -> np.ndarray:
    out = np.asarray(values, dtype=float)
    if not np.isfinite(out).all():
        raise DataError(f"metrics: {name} must be finite; row {int(np.flatnonzero(~np.isfinite(out))[0])} of {out.size} is not")
    return out


def _equity(equity) -> np.ndarray:
    values = _finite(equity, "equity")
    if not values.size or values[0] <= 0 or (values < 0).any():
        raise DataError("metrics: equity must start above 0 and never be negative")
    return values
