"""What the rule strategies are made of. Row i of every result uses rows up to i; prices are taken in logs, so that a market and its mirror
image (1 / price) give opposite targets, and the unit of the price does not matter."""

import numpy as np
import pandas as pd

from quantalpha.errors import DataError, UsageError

STILL = 1e-7  # pandas' running sums leave up to 3e-8 on a price that has stopped; a quiet minute of Bitcoin has 1e-5


def latch(on: np.ndarray, off: np.ndarray) -> np.ndarray:
    """bool[n]: true from a row where `on` until the next row where `off`; false before the first. `on` wins where both are true."""
    last = np.maximum.accumulate(np.where(on | off, np.arange(len(on)), 0))
    return on[last]


def sides(long: np.ndarray, short: np.ndarray, index: pd.Index) -> pd.Series:
    """Target +1 where `long`, -1 where `short`, else 0."""
    return pd.Series(long.astype(float) - short, index=index, name="target")


def fade(score: pd.Series, enter: float, exit: float) -> pd.Series:
    """Against the score: -1 from `score` >= enter on while it stays above exit, +1 the other way round; 0 where it is NaN."""
    values = score.to_numpy()
    long = latch(values <= -enter, ~(values < -exit))
    short = latch(values >= enter, ~(values > exit))
    return sides(long, short, score.index)


def z_score(values: pd.Series, window: int) -> pd.Series:
    """(value - mean) / sample standard deviation of the last `window` rows, this one included; NaN before and where nothing moves."""
    trailing = values.rolling(window)
    return (values - trailing.mean()) / moving(trailing.std())


def moving(deviation: pd.Series) -> pd.Series:
    """A deviation of log prices (or of what is made of them) where it is more than a running sum's rounding, else NaN."""
    return deviation.where(deviation > STILL)


def annual_carry(bars: pd.DataFrame, days: float) -> pd.Series:
    """Funding a year that longs have paid to shorts, from the settlements of the last `days` days: 0.1 is 10 % of the notional a year.

    NaN until the bars cover `days`.
    """
    if "funding_rate" not in bars:
        raise DataError(f"strategy: needs column 'funding_rate'; found {', '.join(map(str, bars.columns))}; join the venue's funding first")
    rate = bars["funding_rate"]
    return rate.rolling(pd.Timedelta(days=days)).sum().where(covered(rate.index, days)) * (365 / days)


def covered(index: pd.DatetimeIndex, days: float) -> np.ndarray:
    """bool[n]: at least `days` days have passed since the first row."""
    return np.asarray(index >= index.min() + pd.Timedelta(days=days))


def check_whole(strategy: str, least: int, **windows) -> None:
    """UsageError unless every window is a whole number of at least `least` bars."""
    for name, window in windows.items():
        if isinstance(window, bool) or not isinstance(window, (int, np.integer)) or window < least:
            raise UsageError(f"{strategy}: expected {name} to be a whole number of at least {least} bars, found {window!r}")


def check_same_times(strategy: str, target: pd.Series, other: pd.Series) -> None:
    """DataError unless both are Series and `other` has a value's place at every time of `target`: elsewhere no size would be known."""
    for given in (target, other):
        if not isinstance(given, pd.Series):
            raise DataError(f"{strategy}: expected a Series, found {type(given).__name__}; of bars take bars['close']")
    missing = target.index.difference(other.index)
    if len(missing):
        raise DataError(f"{strategy}: the target has {len(missing)} times, the first {missing[0]}, at which the other series has none")


def check_that(true: bool, strategy: str, expected: str, *found) -> None:
    """UsageError in the house's words unless `true`."""
    if not true:
        raise UsageError(f"{strategy}: expected {expected}, found {', '.join(map(repr, found))}")
