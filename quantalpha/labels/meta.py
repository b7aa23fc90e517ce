"""Meta-labelling: a rule says which way, a second model learns when to follow it.

    side = rule_sides(target)                                    # or side_at(target, cusum_events(...) != 0)
    table = meta_labels(bars, side, take_profit=1.0, stop_loss=1.0, horizon=24, volatility=volatility)

The second model is trained on table["label"] (1 the bet gained, 0 it did not) with features known at the decision, the side among them; its
probability of 1 decides whether to bet, and how much (`quantalpha.strategy.bet_size`). It can raise precision, the share of bets that gain,
at the price of fewer bets; it cannot find bets that the rule does not see.
Source: López de Prado, "Advances in Financial Machine Learning" (2018), sections 3.6 to 3.8 and 10.3.
"""

import numpy as np
import pandas as pd

from quantalpha.errors import DataError
from quantalpha.labels.triple_barrier import triple_barrier


def rule_sides(target: pd.Series) -> pd.Series:
    """+1 or -1 at the bars where the sign of a rule's target turns to that side, else NaN; before the first bar the rule is flat."""
    side = _sign(target)
    return side.where((side != side.shift(fill_value=0.0)) & (side != 0.0)).rename("side")


def side_at(target: pd.Series, event: pd.Series) -> pd.Series:
    """The sign of a rule's target at the bars where `event` (bool on the same index), NaN elsewhere and where the rule is flat."""
    if not event.index.equals(target.index) or event.dtype != bool:
        raise DataError(f"side_at: event must be a bool Series on the index of target, found {event.dtype}; e.g. cusum_events(...) != 0")
    side = _sign(target)
    return side.where(event & (side != 0.0)).rename("side")


def meta_labels(
    bars: pd.DataFrame,
    side: pd.Series,
    *,
    take_profit: float,
    stop_loss: float,
    horizon: int,
    volatility: pd.Series | None = None,
    cost: float = 0.0,
    entry: str = "next_open",
) -> pd.DataFrame:
    """DataFrame[label, end_time, ret, barrier, side] on the index of `bars`: `triple_barrier` of the sides given, its label made 1 or 0.

    label  1 where the bet's return exceeds `cost` (round trip, a fraction of the notional), whichever barrier it met; 0 where it does not;
           NaN where there is no side, or the path is unfinished
    """
    levels = {"take_profit": take_profit, "stop_loss": stop_loss, "horizon": horizon, "volatility": volatility}
    table = triple_barrier(bars, side=side, entry=entry, **levels)
    gained = (table["ret"] > cost).astype(float).where(table["ret"].notna())
    return table.assign(label=gained, side=side)


def _sign(target: pd.Series) -> pd.Series:
    """-1, 0 or +1; a target that is not known is flat."""
    return np.sign(target.fillna(0.0))
