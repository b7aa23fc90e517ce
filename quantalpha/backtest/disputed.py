"""What a backtest owes to bars that the clean stage disputes: the trades that rest on them, and the result without those."""

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.backtest.result import Result
from quantalpha.backtest.simulate import simulate
from quantalpha.perp import Account, Costs, Stops


def disputed_trades(result: Result, bars: pd.DataFrame) -> pd.DataFrame:
    """The rows of `result.trades` with a disputed bar, from that whose close decided the entry to that of exit; how many: `disputed_bars`.

    Features look back further than the bar of the decision: what they saw of earlier disputed bars is not counted.
    bars: those of the backtest, with the column `disputed` of `market.judge` where there are any.
    """
    trades = result.trades
    doubt = bars[schema.DISPUTED].to_numpy(float) != 0 if schema.DISPUTED in bars else np.zeros(len(bars), bool)
    before = np.append(0, np.cumsum(doubt))
    first, last = (bars.index.get_indexer(times) for times in (trades["entry_time"], trades["exit_time"].fillna(bars.index[-1])))
    count = before[last + 1] - before[np.maximum(first - 1, 0)]
    return trades.assign(disputed_bars=count)[count > 0]


def without_disputed(
    bars: pd.DataFrame, target: pd.Series, *, account: Account, costs: Costs, stops: Stops | None = None
) -> tuple[pd.DataFrame, Result]:
    """(the disputed trades, the result of the same targets without them): the account stays flat where each of them was held.

    The later trades then begin from another equity, and their quantities follow it. A trade that had been stopped out is not entered again
    before its target changes, as in the backtest itself.
    """
    terms = {"account": account, "costs": costs, "stops": stops}
    trades = disputed_trades(simulate(bars, target, **terms), bars)
    held = target.reindex(bars.index).ffill().fillna(0.0)
    run = held.ne(held.shift()).cumsum().to_numpy()  # number of the stretch of one target
    first, last = (bars.index.get_indexer(times) for times in (trades["entry_time"], trades["exit_time"].fillna(bars.index[-1])))
    cut = np.zeros(len(bars), bool)
    for entered, left in zip(first, last):
        decided = entered - 1  # an order fills at the open after its decision; so does the one that ends the trade
        cut |= (run >= run[decided]) & (run <= run[max(decided, left - 2)])
    return trades, simulate(bars, held.where(~cut, 0.0), **terms)
