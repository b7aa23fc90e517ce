"""The numbers of a report on five years of minutes, against one pass over the equity path, in one process.

python benchmarks/analysis.py [bars]
"""

import sys
import time

import numpy as np
import pandas as pd
from simulate import tape

from quantalpha.backtest import simulate
from quantalpha.backtest.attribution import decompose
from quantalpha.backtest.breakdown import by_regime, by_side
from quantalpha.backtest.critic import critique
from quantalpha.backtest.monte_carlo import bootstrap_bars, bootstrap_trades
from quantalpha.backtest.performance import performance
from quantalpha.backtest.result import bars_per_year
from quantalpha.perp import Account, Costs
from quantalpha.validation.distribution import shape, tail_risk
from quantalpha.validation.path import equity_statistics, simple_returns


def best(call, repeats: int = 5) -> float:
    """Seconds of the fastest call after one that compiles."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def main(n: int) -> None:
    bars = tape(n)
    rng = np.random.default_rng(1)
    target = pd.Series(np.repeat(rng.choice([-1.0, 0.0, 1.0], n // 240 + 1), 240)[:n], index=bars.index)
    terms = {"account": Account(1e6, 3.0, lot=0.001), "costs": Costs(maker=0.0, taker=1e-5, slippage=0.0, liquidation=0.0125)}
    result = simulate(bars, target, **terms)
    equity, returns = result.equity.to_numpy(), result.returns.to_numpy()
    regimes = pd.Series((np.arange(n) // 50_000 % 3).astype(float), index=bars.index)

    def fresh():
        for name in ("returns", "trades", "position", "marks", "fills", "funding", "equity"):
            result.__dict__.pop(name, None)
        return result

    one_pass = best(equity.sum)
    rows = {
        "one pass over the equity": one_pass,
        "equity_statistics": best(lambda: equity_statistics(equity, 1e6)),
        "equity_statistics, a year of minutes": best(lambda: equity_statistics(equity[:525_600], 1e6)),
        "returns": best(lambda: simple_returns(equity, 1e6)),
        "skewness and kurtosis": best(lambda: shape(returns)),
        "value at risk, expected shortfall, tail ratio": best(lambda: tail_risk(returns)),
        "the same three with numpy's quantile": best(lambda: np.quantile(returns, (0.05, 0.95)), 3),
        "bars a year": best(lambda: bars_per_year(bars.index)),
        "performance, fills and trades made on the way": best(lambda: performance(fresh())),
        "by side": best(lambda: by_side(result)),
        "by regime (3)": best(lambda: by_regime(result, regimes), 3),
        "costs by trade": best(lambda: decompose(result, "trade")),
        "critic": best(lambda: critique(result), 3),
        "bootstrap of bars, 1,000 paths in blocks of a day": best(lambda: bootstrap_bars(result, block=1440.0), 1),
        "bootstrap of trades, 1,000 paths": best(lambda: bootstrap_trades(result), 1),
    }
    for name, seconds in rows.items():
        print(f"{name:60s}{seconds * 1e3:10.1f} ms {seconds / one_pass:8.1f} x")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_628_000)
