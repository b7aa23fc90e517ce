"""When to ask: bars at which enough has happened since the last question."""

import numpy as np
import pandas as pd
from numba import njit

from quantalpha import schema
from quantalpha.errors import DataError, UsageError
from quantalpha.labels.table import is_number


def cusum_events(close: pd.Series, threshold: float | pd.Series) -> pd.Series:
    """Symmetric CUSUM filter: +1 or -1 at bars where the price has run up or down by more than `threshold` since the last such bar, else 0.

    With r the log return close to close and h the threshold of the bar, both known at its close,
        up = max(0, up + r), down = min(0, down + r);   up > h: +1 and up = 0;   down < -h: -1 and down = 0;
    where both pass it (h has just come down) the larger counts. A level that is merely touched again and again makes no event.

    threshold: a log return per row (0.01: about 1 %), for one in units of volatility e.g. 2 * barrier_volatility(bars, window=168,
    horizon=1); where it is NaN or 0 nothing is counted and both sums start anew.

    The sums go back to the last event: live, start them as far back as research did. Two starts agree from the first bar on at which both
    have had an event to either side.
    Source: López de Prado, "Advances in Financial Machine Learning" (2018), section 2.5.2.1; Lam and Yam (1997).
    """
    if not isinstance(close, pd.Series) or not isinstance(close.index, pd.DatetimeIndex):
        raise DataError(f"cusum_events: close must be a Series by time, found {type(close).__name__}; give bars['close']")
    schema.check_order(close.index, "cusum_events")
    if is_number(threshold) and threshold > 0:
        threshold = pd.Series(float(threshold), index=close.index)
    if not isinstance(threshold, pd.Series):
        raise UsageError(f"cusum_events: threshold must be a number above 0 or a Series on the index of close, found {threshold!r}")
    if not threshold.index.equals(close.index):
        raise DataError("cusum_events: threshold must be on the index of close; use threshold.reindex(close.index)")
    if (threshold < 0).any():
        raise DataError(f"cusum_events: threshold must not be negative; it is at {close.index[threshold < 0][0]}")
    values = close.to_numpy(float)
    if not (values > 0).all():
        raise DataError(f"cusum_events: close must be above 0; it is not at {close.index[~(values > 0)][0]}")
    moves = _moves(np.diff(np.log(values), prepend=np.log(values[:1])), threshold.to_numpy(float).copy())
    return pd.Series(moves, index=close.index, name="event")


@njit(cache=True)
def _moves(change, threshold):
    """float64[n] of -1, 0, +1."""
    moves, up, down = np.zeros(len(change)), 0.0, 0.0
    for row in range(len(change)):
        if not threshold[row] > 0.0:
            up = down = 0.0
            continue
        up, down = max(0.0, up + change[row]), min(0.0, down + change[row])
        if up > threshold[row] and up >= -down:
            moves[row], up = 1.0, 0.0
        elif down < -threshold[row]:
            moves[row], down = -1.0, 0.0
    return moves
