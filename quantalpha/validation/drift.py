"""How far a distribution has moved from the one that was learnt."""

import numpy as np
import pandas as pd

from quantalpha.errors import DataError
from quantalpha.validation.coverage import LEAST


def period_drift(features: pd.DataFrame, train: int, period: str = "QS") -> pd.DataFrame:
    """DataFrame[columns, period starts] in [0, 1]: Kolmogorov and Smirnov's distance of each period's rows from the first `train` rows.

    The largest gap between the two distribution functions: 0 where they are the same, 1 where they do not meet. Slow features move from
    one period to the next in the best of worlds: the periods within the training rows tell how much. NaN: too few rows. period: a pandas
    offset ("QS": quarter, "MS": month).
    """
    learnt = features.iloc[:train]
    empty = learnt.columns[learnt.notna().sum() < LEAST]
    if len(empty):
        raise DataError(f"period_drift: {empty[0]!r} has fewer than {LEAST} values in the first {train} rows; train on more")
    groups = dict(iter(features.groupby(pd.Grouper(freq=period))))
    return pd.DataFrame(
        {start: [_distance(learnt[name].to_numpy(), rows[name].to_numpy()) for name in features] for start, rows in groups.items()},
        index=features.columns,
    )


def _distance(learnt: np.ndarray, found: np.ndarray) -> float:
    learnt, found = (np.sort(x[~np.isnan(x)]) for x in (learnt, found))
    if len(found) < LEAST:
        return np.nan
    below, through = (np.searchsorted(learnt, found, side) / len(learnt) for side in ("left", "right"))
    share = np.arange(len(found) + 1) / len(found)
    return float(max((share[1:] - through).max(), (below - share[:-1]).max()))
