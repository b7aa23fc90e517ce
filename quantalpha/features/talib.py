"""TA-Lib where it does what a feature must: a row that depends, bit for bit, on a finite window of bars.

AROON, WILLR, STOCHF, MIN and MAX do: they only compare. SMA, STDDEV, BBANDS or MFI carry running sums, EMA, RSI or ADX never forget, and
the rounding of CCI and LINEARREG hangs on where the history begins: `windows` has those, with TA-Lib as their oracle in the tests.
"""

import numpy as np

from quantalpha.windows import total


def windowed(function: str, *columns: np.ndarray, window: int, **options) -> np.ndarray:
    """What TA-Lib's `function` says, float64[n]; NaN in every row whose `window` rows hold one, which TA-Lib does not see."""
    import talib

    call = getattr(talib, function)
    missing = np.isnan(sum(columns))
    if not missing.any():
        return call(*columns, **options)
    found = call(*(np.where(missing, 0.0, column) for column in columns), **options)
    return np.where(total(missing.astype(float), window) == 0.0, found, np.nan)
