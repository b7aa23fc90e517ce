"""What a candidate must beat: holding, a classic moving-average cross, and luck with the candidate's own trading style."""

from dataclasses import replace

import numpy as np
import pandas as pd

from quantalpha.backtest.significance import shuffled
from quantalpha.backtest.simulate import simulate
from quantalpha.backtest.walk_forward import span
from quantalpha.errors import UsageError
from quantalpha.perp import Account, Costs, Stops
from quantalpha.strategy import buy_and_hold, ma_cross

FAST, SLOW = 50, 200  # bars: the windows of the "golden cross", never tuned
NAMES = ("buy_and_hold", "spot_hold", "ma_cross", "random_median", "random_p95")


def baselines(
    bars: pd.DataFrame, target: pd.Series, *, account: Account, costs: Costs, stops: Stops | None = None, leverage: float, random_seeds: int
) -> pd.DataFrame:
    """Metrics (columns as Result.metrics) of each of NAMES on the candidate's bars, account, costs and stops, at its leverage.

    buy_and_hold is the perpetual, never rebalanced: it pays funding on a notional that grows, and can be liquidated years later.
    spot_hold is the coin itself, paid for in full: no funding, no margin. Neither has stops, after which a constant target stays flat.

    bars may begin before `target`: the cross uses them to warm up, nobody trades on them. The random rows are whole runs: of `random_seeds`
    shuffles of the candidate's own holding periods, those of median and of 95th-percentile Sharpe (the next higher run; an undefined
    Sharpe counts as the highest, so that nothing is beaten by it).
    """
    if random_seeds < 1:
        raise UsageError(f"baselines: random_seeds must be at least 1, found {random_seeds}")
    traded, known = span(bars, target.index), bars.loc[: target.index[-1], "close"]

    def run(path: pd.Series) -> dict[str, float]:
        return simulate(traded, path, account=account, costs=costs, stops=stops).metrics()

    never = replace(account, rebalance_band=None)
    held = simulate(traded, buy_and_hold(traded["close"], leverage), account=never, costs=costs).metrics()
    rules = [held, _spot_hold(traded, account, costs), run(ma_cross(known, FAST, SLOW, leverage).loc[traded.index])]
    luck = [run(shuffled(target, seed)) for seed in range(random_seeds)]
    ranked = sorted(luck, key=lambda metrics: np.nan_to_num(metrics["sharpe_ratio"], nan=np.inf))
    chosen = [ranked[int(np.ceil(q * (random_seeds - 1)))] for q in (0.5, 0.95)]
    return pd.DataFrame([*rules, *chosen], index=pd.Index(NAMES, name="baseline"))


def _spot_hold(bars: pd.DataFrame, account: Account, costs: Costs) -> dict[str, float]:
    """Metrics of the coin bought once, with the account's cash and no more."""
    coin = bars.drop(columns=["mark", "funding_rate"], errors="ignore")
    return simulate(coin, buy_and_hold(bars["close"]), account=Account(account.initial_cash, lot=account.lot), costs=costs).metrics()
