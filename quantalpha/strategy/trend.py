"""Going with the price: holding it, following its averages, its past returns, its breakouts.

All want markets that move far in one direction, and are killed by markets that turn often: many small losses, paid for by few large gains.
"""

import numpy as np
import pandas as pd

from quantalpha.errors import UsageError
from quantalpha.strategy.parts import check_that, check_whole, latch, moving, sides

SPEEDS = (1, 2, 4)
PRICE_WINDOW, SIGNAL_WINDOW = 8, 32  # in units of `fast`: with fast = 8 about the paper's quarter (63) and year (252) of trading days
LARGEST_RESPONSE = 0.89  # the paper's divisor


def buy_and_hold(close: pd.Series, leverage: float = 1.0) -> pd.Series:
    """Long from the first bar to the last."""
    return pd.Series(float(leverage), index=close.index, name="target")


def ma_cross(close: pd.Series, fast: int, slow: int, leverage: float = 1.0) -> pd.Series:
    """Long while the mean of the last `fast` closes lies above that of the last `slow`, short while below; flat before `slow` bars."""
    if not 0 < fast < slow:
        raise UsageError(f"ma_cross: expected 0 < fast < slow bars, found {fast} and {slow}")
    gap = close.rolling(fast).mean() - close.rolling(slow).mean()
    return (np.sign(gap).fillna(0.0) * leverage).rename("target")


def trend(bars: pd.DataFrame, fast: int = 8, ratio: float = 3.0) -> pd.Series:
    """Blend of three crosses of exponential averages; strong in clear trends, weaker again in overstretched ones. In [-0.97, 0.97].

    For k = 1, 2, 4, with p the log close and E_n its exponential average that forgets 1/n a bar:
        y = (E_{k fast} - E_{k ratio fast}) / std(p, 8 fast bars),   z = y / std(y, 32 fast bars),   u = z exp(-z^2 / 4) / 0.89,
    and the target is the mean of the three u. Flat before 40 * fast - 1 bars. Changes at every bar: give the account a rebalance band.

    Source: Baz, Granger, Harvey, Le Roux and Rattray, "Dissecting investment strategies in the cross section and time series" (2015), whose
    8/24, 16/48, 32/96 days are the default on daily bars. They take prices, not logs, and both windows in fixed days.
    """
    check_whole("trend", 1, fast=fast)
    check_that(1 < ratio < np.inf, "trend", "ratio of slow to fast above 1", ratio)
    price = np.log(bars["close"])
    spread = moving(price.rolling(PRICE_WINDOW * fast).std())
    total = 0.0
    for speed in SPEEDS:
        gap = price.ewm(alpha=1 / (speed * fast)).mean() - price.ewm(alpha=1 / (speed * ratio * fast)).mean()
        signal = gap / spread
        usual = signal.rolling(SIGNAL_WINDOW * fast).std()
        z = signal / moving(usual)
        total += z * np.exp(-(z**2) / 4)
    return (total / (LARGEST_RESPONSE * len(SPEEDS))).fillna(0.0).rename("target")


def momentum(bars: pd.DataFrame, shortest: int = 30, longest: int = 365, horizons: int = 3) -> pd.Series:
    """Mean of the signs of the returns over `horizons` spans of bars, spaced geometrically from `shortest` to `longest`. In [-1, 1].

    Flat before the longest span. Source: Moskowitz, Ooi and Pedersen, "Time series momentum" (2012); a short, a middle and a year's span
    as in Hurst, Ooi and Pedersen, "A century of evidence on trend-following investing" (2017). The default is meant for daily bars.
    """
    check_whole("momentum", 1, shortest=shortest, longest=longest, horizons=horizons)
    check_that(shortest <= longest, "momentum", "shortest <= longest bars", shortest, longest)
    close = bars["close"]
    spans = np.geomspace(shortest, longest, horizons).round().astype(int)
    votes = sum(np.sign(close - close.shift(span)) for span in spans.tolist())
    return (votes / horizons).fillna(0.0).rename("target")


def breakout(bars: pd.DataFrame, entry: int = 55, exit: int = 20) -> pd.Series:
    """Long from a close above the highest high of the `entry` bars before it until one below the lowest low of the `exit` bars before it;
    short the other way round. In {-1, 0, 1}.

    Source: Donchian's channel with the Turtles' second system (55 and 20 days), Faith, "Way of the Turtle" (2007); decided at closes here.
    """
    check_whole("breakout", 1, entry=entry, exit=exit)
    check_that(exit <= entry, "breakout", "exit <= entry bars", exit, entry)
    high, low, close = bars["high"].shift(), bars["low"].shift(), bars["close"].to_numpy()
    long = latch(close > _of_last(high, entry, "max"), close < _of_last(low, exit, "min"))
    short = latch(close < _of_last(low, entry, "min"), close > _of_last(high, exit, "max"))
    return sides(long, short, bars.index)


def _of_last(values: pd.Series, window: int, extreme: str) -> np.ndarray:
    return values.rolling(window).agg(extreme).to_numpy()
