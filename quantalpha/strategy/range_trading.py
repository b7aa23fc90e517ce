"""Between the bounds of a market that goes nowhere."""

import numpy as np
import pandas as pd

from quantalpha.strategy.parts import check_that, check_whole, latch, moving, sides

MIDDLE = 0.5


def range_trading(bars: pd.DataFrame, window: int = 20, edge: float = 0.1, calm: float = 0.2, trending: float = 0.4) -> pd.Series:
    """Long at the bottom of the Donchian channel, short at its top, out at the middle; only while the efficiency ratio says range.

    With p the place of the log close in the channel of the last `window` bars (0: lowest low, 1: highest high) and
        efficiency = |log close - log close `window` bars ago| / sum of the |one-bar log returns| between      (1: straight, 0: no way made)
    a long begins where p <= edge and efficiency <= calm, and ends where p >= 1/2 or efficiency >= trending; a short is its mirror image.
    In {-1, 0, 1}, flat for the first `window` bars. A random walk's efficiency is about 1 / sqrt(window).

    Wants a market held between two prices; killed by the breakout that ends every range: bound the loss with `Stops`. Source: the
    efficiency ratio of Kaufman, "Trading Systems and Methods" (2013), ch. 17; the bounds are Donchian's.
    """
    check_whole("range_trading", 2, window=window)
    check_that(0 <= edge < MIDDLE, "range_trading", "0 <= edge < 0.5", edge)
    check_that(0 < calm < trending <= 1, "range_trading", "0 < calm < trending <= 1", calm, trending)
    high, low, close = (np.log(bars[name]) for name in ("high", "low", "close"))
    bottom, top = low.rolling(window).min(), high.rolling(window).max()
    width = top - bottom
    place = ((close - bottom) / width.where(width > 0)).to_numpy()
    efficiency = _efficiency(close, window).to_numpy()
    still, ranging = efficiency <= calm, efficiency < trending
    long = latch(still & (place <= edge), ~(ranging & (place < MIDDLE)))
    short = latch(still & (1 - place <= edge), ~(ranging & (1 - place < MIDDLE)))
    return sides(long, short, bars.index)


def _efficiency(log_close: pd.Series, window: int) -> pd.Series:
    """In [0, 1]; NaN for the first `window` bars and where nothing moved."""
    way = log_close.diff().abs().rolling(window).sum()
    return (log_close - log_close.shift(window)).abs() / moving(way)
