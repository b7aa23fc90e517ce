"""Strategies without a model: target series (signed leverage, known at each bar's close) from closes up to that bar."""

import numpy as np
import pandas as pd

from quantalpha.errors import UsageError


def buy_and_hold(close: pd.Series, leverage: float = 1.0) -> pd.Series:
    """Long from the first bar to the last."""
    return pd.Series(float(leverage), index=close.index, name="target")


def ma_cross(close: pd.Series, fast: int, slow: int, leverage: float = 1.0) -> pd.Series:
    """Long while the mean of the last `fast` closes lies above that of the last `slow`, short while below; flat before `slow` bars."""
    if not 0 < fast < slow:
        raise UsageError(f"ma_cross: expected 0 < fast < slow bars, found {fast} and {slow}")
    gap = close.rolling(fast).mean() - close.rolling(slow).mean()
    return (np.sign(gap).fillna(0.0) * leverage).rename("target")
