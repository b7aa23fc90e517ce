"""How unusually far the price stands from its average."""

import numpy as np
from numba import njit

from quantalpha.features.base import Feature, check_window
from quantalpha.windows import ratio, spread


@njit(cache=True)
def mean_deviation(x, average, window):
    """float64[n]: mean of |x[i-k] - average[i]| over the window. Costs a pass a row of the window."""
    n, block = len(x), 1024
    out = np.zeros(n)
    for first in range(window - 1, n, block):  # a block stays in the cache while the rows of its window pass over it
        for k in range(window):
            for i in range(first, min(first + block, n)):
                out[i] += abs(x[i - k] - average[i])
    out[: window - 1] = np.nan
    return out / window


def cci(window: int) -> Feature:
    """Commodity channel index (Lambert 1980): (p - SMA(p)) / (0.015 mean |p - SMA(p)|) of typical prices p, mostly within +-100.

    Within +-33.4 window, reached where all prices but the last are equal; 0 for a constant price. TA-Lib CCI says the same, but sums its
    window from another row at every bar, so that its last digits (and, for a constant price, its sign) depend on where the history begins.
    Window >= 2.
    """
    check_window("cci", window, 2)

    def compute(bars):
        distance, _ = spread(bars["typical_price"], window)
        deviation = mean_deviation(bars["typical_price"], bars["typical_price"] - distance, window)
        return ratio(distance, 0.015 * deviation, empty=0.0)

    return Feature(f"cci_{window}", window, ("typical_price",), compute)
