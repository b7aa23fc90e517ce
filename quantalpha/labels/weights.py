"""How much a label says that its neighbours do not."""

import numpy as np
import pandas as pd

from quantalpha.errors import DataError


def average_uniqueness(end_time: pd.Series) -> pd.Series:
    """Weight in (0, 1] per decision: the mean of 1 / (labels alive) over the bars of its path (López de Prado, 2018, ch. 4).

    A path runs from the bar after the decision to the one of `end_time`, the column of `triple_barrier` on the index of all bars.
    Labels that overlap nothing weigh 1; unfinished ones NaN.
    """
    done = end_time.notna().to_numpy()
    start = np.flatnonzero(done) + 1
    stop = end_time.index.searchsorted(pd.DatetimeIndex(end_time[done]), side="right")
    if (stop <= start).any():
        raise DataError(f"average_uniqueness: the label decided at {end_time.index[start[stop <= start][0] - 1]} ends before it begins")
    alive = np.cumsum(np.bincount(start, minlength=len(done) + 1) - np.bincount(stop, minlength=len(done) + 1))
    share = np.concatenate(([0.0], np.cumsum(1 / np.maximum(alive, 1))))
    weight = np.full(len(done), np.nan)
    weight[done] = (share[stop] - share[start]) / (stop - start)
    return pd.Series(weight, index=end_time.index, name="weight")
