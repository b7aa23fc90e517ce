"""Ichimoku Kinko Hyo: the middles of past ranges, and the cloud they cast ahead."""

import numpy as np

from quantalpha.features.base import Feature, check_order, check_window
from quantalpha.windows import highest, lagged, lowest


def ichimoku(conversion: int, base: int, span: int) -> Feature:
    """Ichimoku (Hosoda 1968; usually 9, 26, 52), as fractions of price; parts cross, cloud, thickness. 1 <= conversion < base <= span.

    middle(n) = (highest high + lowest low) / 2 of n bars. cross = middle(conversion) / middle(base) - 1. The cloud of this bar was known
    `base` bars ago, between span A = (middle(conversion) + middle(base)) / 2 and span B = middle(span) of that bar: cloud is close / its
    nearer edge - 1, above 0 over it, below 0 under it, 0 within; thickness = (A - B) / close, above 0 where the quicker span is the higher.
    """
    check_order("ichimoku", ("conversion", "base"), (conversion, base))
    check_window("ichimoku", span, base)

    def compute(bars):
        high, low, close = bars["high"], bars["low"], bars["close"]
        quick, slow, slowest = (0.5 * (highest(high, window) + lowest(low, window)) for window in (conversion, base, span))
        first, second = lagged(0.5 * (quick + slow), base), lagged(slowest, base)
        cloud = np.maximum(close / np.maximum(first, second), 1.0) + np.minimum(close / np.minimum(first, second), 1.0) - 2
        return quick / slow - 1, cloud, (first - second) / close

    parts = ("cross", "cloud", "thickness")
    return Feature(f"ichimoku_{conversion}_{base}_{span}", span + base, ("high", "low", "close"), compute, parts)
