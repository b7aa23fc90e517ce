"""Where the price stands against its own average."""

from quantalpha.features.base import Feature, check_window
from quantalpha.features.windows import ratio, spread


def moving_average_distance(window: int) -> Feature:
    """close / SMA(close, window) - 1: 0.02 is 2 % above the average. Window >= 2."""
    check_window("moving_average_distance", window, 2)

    def compute(bars):
        distance, _ = spread(bars["close"], window)
        return distance / (bars["close"] - distance)

    return Feature(f"moving_average_distance_{window}", window, ("close",), compute)


def bollinger(window: int) -> Feature:
    """Position in the Bollinger bands (2 population standard deviations): -1 at the lower band, +1 at the upper, 0 for a constant price.

    Window >= 2.
    """
    check_window("bollinger", window, 2)

    def compute(bars):
        distance, deviation = spread(bars["close"], window)
        return ratio(distance, 2 * deviation, empty=0.0)

    return Feature(f"bollinger_{window}", window, ("close",), compute)
