"""What the price did over a fixed number of bars."""

import numpy as np
import pandas as pd

from quantalpha import schema
from quantalpha.errors import UsageError
from quantalpha.labels.table import check_bars_ahead, check_entry, end_times, entry_prices, is_number, volatility_of


def fixed_horizon(
    bars: pd.DataFrame, *, horizon: int, threshold: float, volatility: pd.Series | None = None, entry: str = "next_open"
) -> pd.DataFrame:
    """One label for a decision at the close of every bar: DataFrame[label, end_time, ret] on the index of `bars`.

    label     +1 where ret > threshold * volatility, -1 where ret < -threshold * volatility, else 0
    end_time  open time of the bar `horizon` bars after the deciding one: the outcome is known when it closes
    ret       simple return of a long from the entry (the next bar's open, or the deciding close with entry="close") to that bar's close,
              before costs; bit for bit the `ret` of a triple barrier whose levels are off

    volatility: a fraction per row (None: 1, so that `threshold` is a plain fraction). The last `horizon` rows, and a row without volatility
    (NaN, or 0 with a threshold above 0), have NaN and NaT.
    """
    schema.check_bars(bars, "fixed_horizon")
    horizon = check_bars_ahead("fixed_horizon", "horizon", horizon)
    check_entry("fixed_horizon", entry)
    if not is_number(threshold) or not 0 <= threshold < np.inf:
        raise UsageError(f"fixed_horizon: threshold must be a number of at least 0, found {threshold!r}")
    level = threshold * volatility_of(volatility, bars, "fixed_horizon")
    row = np.arange(len(bars)) + horizon
    done = (row < len(bars)) & (level > 0 if threshold > 0 else level == 0)
    end = np.where(done, row, 0)
    start = entry_prices(bars, entry)
    ret = np.where(done, (bars["close"].to_numpy(float)[end] - start) / start, np.nan)
    label = np.where(done, (ret > level).astype(float) - (ret < -level), np.nan)
    return pd.DataFrame({"label": label, "end_time": end_times(bars.index, end, done), "ret": ret}, index=bars.index)
