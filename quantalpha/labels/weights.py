"""How much a label says that its neighbours do not, and how much of it still holds: weights for training.

Source: López de Prado, "Advances in Financial Machine Learning" (2018), chapter 4.

`end_time` is the column of a label table on the index of ALL bars: the path of a label runs from the bar after its decision to the one of
`end_time`; NaT where there is no label, and there the weight is NaN. Of weights only the ratios count: multiply them to combine them, and
leave out the rows that weigh 0 before fitting.
"""

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.errors import DataError, UsageError
from quantalpha.labels.table import is_number, paths


def concurrency(end_time: pd.Series) -> pd.Series:
    """Number of labels whose path holds each bar, int64[n]."""
    _, first, stop = paths(end_time)
    return pd.Series(_alive(first, stop, len(end_time))[:-1], index=end_time.index, name="concurrency")


def average_uniqueness(end_time: pd.Series) -> pd.Series:
    """Weight in (0, 1] per decision: the mean of 1 / (labels alive) over the bars of its path (section 4.4).

    Labels that overlap nothing weigh 1; of labels at every bar with a path of h bars each weighs 1 / h.
    """
    decided, first, stop = paths(end_time)
    share = np.concatenate(([0.0], np.cumsum(1 / np.maximum(_alive(first, stop, len(end_time)), 1))))
    return _weights(end_time, decided, (share[stop] - share[first]) / (stop - first))


def return_attribution(bars: pd.DataFrame, end_time: pd.Series) -> pd.Series:
    """Weight per decision: |sum over its path of (log return of the bar, close to close) / (labels alive)| (section 4.6).

    A label earned in a large move that few others share weighs much, one of a path that ends where it began 0. Gaps in the bars are moves
    of the bar after them. The section's scaling to a mean of 1 is left to the fit, which knows the training rows: a mean of all labels
    would tell each of later moves.
    """
    schema.check_bars(bars, "return_attribution")
    if not end_time.index.equals(bars.index):
        raise DataError("return_attribution: end_time must be on the index of the bars; use end_time.reindex(bars.index)")
    decided, first, stop = paths(end_time)
    change = np.diff(np.log(bars["close"].to_numpy(float)), prepend=np.nan)
    change[:1] = 0.0  # no path holds the first bar
    share = np.concatenate(([0.0], np.cumsum(change / np.maximum(_alive(first, stop, len(bars))[:-1], 1))))
    return _weights(end_time, decided, np.abs(share[stop] - share[first]))


def time_decay(uniqueness: pd.Series, oldest: float) -> pd.Series:
    """Factor in [0, 1] per label, linear in the uniqueness gathered so far, so that crowded times age no faster than others (section 4.7).

    uniqueness: `average_uniqueness` of the TRAINING rows, oldest first; NaN rows stay NaN. With x the share of all their uniqueness that
    has come up to a label, its own included, the factor is
        oldest + (1 - oldest) x                 for 0 <= oldest <= 1: from `oldest` before the first label to 1 at the last; 1 is no decay
        max(0, (x + oldest) / (1 + oldest))     for -1 < oldest < 0: the oldest labels, -oldest of all uniqueness, get 0
    """
    if not is_number(oldest) or not -1 < oldest <= 1:
        raise UsageError(f"time_decay: oldest must lie in (-1, 1], found {oldest!r}")
    share = uniqueness.cumsum() / uniqueness.sum()
    factor = oldest + (1 - oldest) * share if oldest >= 0 else ((share + oldest) / (1 + oldest)).clip(lower=0.0)
    return factor.rename("weight")


def _alive(first, stop, rows) -> np.ndarray:
    """int64[rows + 1]: paths that hold each bar; the last is 0."""
    return np.cumsum(np.bincount(first, minlength=rows + 1) - np.bincount(stop, minlength=rows + 1))


def _weights(end_time, decided, weight) -> pd.Series:
    values = np.full(len(end_time), np.nan)
    values[decided] = weight
    return pd.Series(values, index=end_time.index, name="weight")
