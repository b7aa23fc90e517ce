"""Is the timing worth anything? The result against the same holdings at random times."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from quantalpha.backtest.performance import path_performance
from quantalpha.backtest.simulate import simulate
from quantalpha.errors import UsageError, did_you_mean
from quantalpha.perp import Account, Costs, Stops

MORE_IS_BETTER = ("sharpe_ratio", "sortino_ratio", "calmar_ratio", "omega_ratio", "total_return", "cagr")


@dataclass(frozen=True)
class RandomEntry:
    """`observed` against `luck`, the same metric of each random run (NaN where undefined)."""

    metric: str
    observed: float
    luck: np.ndarray  # float64[runs]
    p_value: float  # chance of a result as good by timing that knows nothing; NaN where the observed metric is undefined


def random_entry(
    bars: pd.DataFrame,
    target: pd.Series,
    *,
    account: Account,
    costs: Costs,
    stops: Stops | None = None,
    runs: int = 500,
    metric: str = "sharpe_ratio",
    seed: int = 0,
) -> RandomEntry:
    """Simulates `runs` shuffles of the target's holdings on the same bars, account, costs and stops.

    p = (1 + how many are as good or better) / (1 + runs): the observed run is one of those that could have come (Phipson & Smyth, 2010), so
    p is never 0. A random run whose metric is undefined counts as better. metric: one of MORE_IS_BETTER.
    """
    if metric not in MORE_IS_BETTER:
        raise UsageError(f"random_entry: metric {metric!r} is not one of which more is better; {did_you_mean(metric, MORE_IS_BETTER)}")
    if runs < 1:
        raise UsageError(f"random_entry: runs must be at least 1, found {runs}")
    if not isinstance(target, pd.Series):
        raise UsageError(f"random_entry: expected the target of one symbol, a Series without limit prices, found {type(target).__name__}")

    def measured(path: pd.Series) -> float:
        return path_performance(simulate(bars, path, account=account, costs=costs, stops=stops))[metric]

    observed = measured(target)
    target = target.reindex(bars.index).ffill().fillna(0.0)  # a holding lasts for bars, not for rows of the target
    luck = np.array([measured(shuffled(target, child)) for child in np.random.SeedSequence(seed).spawn(runs)])
    better = int((~(luck < observed)).sum())
    return RandomEntry(metric, observed, luck, float("nan") if np.isnan(observed) else (1 + better) / (1 + runs))


def shuffled(target: pd.Series, seed: int | np.random.SeedSequence) -> pd.Series:
    """The target's holding periods in another order: holdings change places among themselves, pauses among themselves.

    A holding is a stretch of bars with a target of one sign, its sizes move along with it. Durations, sides and the alternation of market
    and pause stay; when to be in it is left to chance.
    """
    values = target.to_numpy(float)
    side = np.sign(values)
    starts = np.flatnonzero(np.r_[True, side[1:] != side[:-1]])
    rng, order = np.random.default_rng(seed), np.arange(len(starts))
    for group in (np.flatnonzero(side[starts] != 0), np.flatnonzero(side[starts] == 0)):
        order[group] = rng.permutation(group)
    lengths = np.diff(np.r_[starts, len(values)])[order]
    rows = np.arange(len(values)) + np.repeat(starts[order] - (np.cumsum(lengths) - lengths), lengths)
    return pd.Series(values[rows], index=target.index, name="target")
