"""Where a coin's on-chain numbers stand against their own past.

A column `onchain_NAME` holds, on each bar, the value that was already published then (`market.onchain.join_onchain`). It moves once a day,
and windows count bars: 720 hours hold 30 values.
"""

import re

import numpy as np

from quantalpha.errors import UsageError
from quantalpha.features.base import Feature, check_window
from quantalpha.windows import lagged, ratio, spread


def onchain_change(column: str, window: int) -> Feature:
    """log(x / x of `window` bars ago) of `onchain_COLUMN`: 0.01 is 1 % more; NaN where x is not above 0. Window >= 1."""
    source = _source("onchain_change", column, window, least=1)

    def compute(bars):
        known = np.where(bars[source] > 0, bars[source], np.nan)
        return np.log(known / lagged(known, window))

    return Feature(f"onchain_change_{column}_{window}", window + 1, (source,), compute)


def onchain_score(column: str, window: int) -> Feature:
    """(x - mean) / population standard deviation of `onchain_COLUMN` over `window` bars: 2 is two deviations above; 0 for a constant.

    Also for series that cross 0. Window >= 2.
    """
    source = _source("onchain_score", column, window, least=2)

    def compute(bars):
        distance, deviation = spread(bars[source], window)
        return ratio(distance, deviation, empty=0.0)

    return Feature(f"onchain_score_{column}_{window}", window, (source,), compute)


def _source(family: str, column: str, window: int, least: int) -> str:
    """The bars' column, the parameters checked."""
    check_window(family, window, least)
    if not isinstance(column, str) or not re.fullmatch(r"[A-Za-z0-9_]+", column):
        raise UsageError(f"features.{family}: expected the name of an on-chain series such as CapMVRVCur, found {column!r}")
    return f"onchain_{column}"
