"""How dear, how late and how large may it get: the same targets under other costs, delays and account sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd

from quantalpha.backtest.performance import path_performance
from quantalpha.backtest.result import Result
from quantalpha.backtest.simulate import simulate
from quantalpha.errors import UsageError
from quantalpha.perp import Account, Costs, Stops

FACTORS, DELAYS = (0.0, 0.5, 1.0, 2.0, 4.0), (0, 1, 2)
SIZES = tuple(10.0**power for power in np.arange(4.0, 8.5, 0.5))  # quote currency
FIGURES = ("sharpe_ratio", "total_return", "cagr", "max_drawdown")
DEAREST, PRECISION = 64.0, 1e-3  # how far and how finely the break-even factor is sought


def cost_frontier(
    bars,
    target,
    *,
    account: Account,
    costs: Costs | Mapping[str, Costs],
    stops: Stops | None = None,
    fees: Sequence[float] = FACTORS,
    slippages: Sequence[float] = FACTORS,
    delays: Sequence[int] = DELAYS,
) -> pd.DataFrame:
    """One row per combination: fee_factor and slippage_factor as in `Costs.stressed`, delay in place of `costs.delay`, FIGURES, n_trades.

    bars, target: as `simulate` takes them. Figures are net, funding included; the fee of a forced close is not stressed.
    """
    _check_grid(fees=fees, slippages=slippages, delays=delays)

    def row(fee: float, slippage: float, delay: int) -> dict[str, float]:
        terms = _stressed(costs, fee, slippage, delay)
        result = simulate(bars, target, account=account, costs=terms, stops=stops)
        return {"fee_factor": fee, "slippage_factor": slippage, "delay": delay, **_figures(result)}

    return pd.DataFrame([row(*point) for point in product(fees, slippages, delays)])


def break_even(bars, target, *, account: Account, costs: Costs | Mapping[str, Costs], stops: Stops | None = None) -> float:
    """The factor on fees and slippage at which the total return reaches 0, to PRECISION: 3 is room for costs three times as high.

    NaN where there is none: it loses even for free, or still gains at the highest factor that `Costs` allows (at most DEAREST).
    """

    def gain(factor: float) -> float:
        return path_performance(simulate(bars, target, account=account, costs=_stressed(costs, factor, factor), stops=stops))[
            "total_return"
        ]

    low, high = 0.0, _dearest(costs)
    if gain(low) <= 0.0 or gain(high) > 0.0:
        return float("nan")
    while high - low > PRECISION * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if gain(middle) > 0.0 else (low, middle)
    return 0.5 * (low + high)


def capacity(
    bars,
    target,
    *,
    account: Account,
    costs: Costs | Mapping[str, Costs],
    stops: Stops | None = None,
    sizes: Sequence[float] = SIZES,
) -> pd.DataFrame:
    """One row per account size: size (initial cash) and traded_notional in quote currency, slippage_basis_points of it, FIGURES, n_trades.

    Says something where `costs.slippage` is a `Slippage` with impact; a fixed fraction is the same for every size.
    """
    _check_grid(sizes=sizes)

    def row(size: float) -> dict[str, float]:
        result = simulate(bars, target, account=replace(account, initial_cash=float(size)), costs=costs, stops=stops)
        traded, slipped = float((result.fills["quantity"].abs() * result.fills["price"]).sum()), float(result.fills["slippage"].sum())
        return {
            "size": size,
            "traded_notional": traded,
            "slippage_basis_points": 1e4 * slipped / traded if traded > 0.0 else float("nan"),
            **_figures(result),
        }

    return pd.DataFrame([row(size) for size in sizes])


def half_sharpe_size(curve: pd.DataFrame) -> float:
    """The account size at which half the Sharpe of the smallest is lost, between sizes by their logarithm; NaN: never, or none to lose.

    curve: as `capacity` gives it, from a size small enough to move nothing.
    """
    curve = curve.sort_values("size")
    size, sharpe = np.log(curve["size"].to_numpy(float)), curve["sharpe_ratio"].to_numpy(float)
    half = sharpe[0] / 2.0
    below = np.flatnonzero(sharpe < half)
    if not sharpe[0] > 0.0 or not below.size:
        return float("nan")
    k = below[0]
    share = (sharpe[k - 1] - half) / (sharpe[k - 1] - sharpe[k])
    return float(np.exp(size[k - 1] + share * (size[k] - size[k - 1])))


def _stressed(costs: Costs | Mapping[str, Costs], fee: float, slippage: float, delay: int | None = None):
    """The fee of a forced close stays: it is no price of trading, and the first to leave the range that `Costs` allows."""
    if isinstance(costs, Mapping):
        return {symbol: _stressed(each, fee, slippage, delay) for symbol, each in costs.items()}
    fees = replace(costs, slippage=0.0, liquidation=0.0).stressed(fee)
    slipped = replace(costs, maker=0.0, taker=0.0, liquidation=0.0).stressed(slippage).slippage
    return replace(costs, maker=fees.maker, taker=fees.taker, slippage=slipped, delay=costs.delay if delay is None else delay)


def _figures(result: Result) -> dict[str, float]:
    path = path_performance(result)
    return {name: path[name] for name in FIGURES} | {"n_trades": len(result.trades)}


def _dearest(costs: Costs | Mapping[str, Costs]) -> float:
    """The highest factor that `Costs` allows, to PRECISION, at most DEAREST."""
    low, high = 1.0, DEAREST
    if _allowed(costs, high):
        return high
    while high - low > PRECISION * low:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _allowed(costs, middle) else (low, middle)
    return low


def _allowed(costs: Costs | Mapping[str, Costs], factor: float) -> bool:
    try:
        _stressed(costs, factor, factor)
    except UsageError:
        return False
    return True


def _check_grid(**grid):
    for name, values in grid.items():
        if not len(values) or len(set(values)) != len(values):
            raise UsageError(f"frontier: {name} must be at least one value and each once, found {list(values)}")
