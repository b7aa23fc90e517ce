"""How much is traded against what is usual."""

from quantalpha.features.base import Feature, check_window
from quantalpha.features.windows import mean, ratio


def relative_volume(window: int) -> Feature:
    """volume / mean volume of `window` bars (this one included) - 1: 0 is usual, -1 none, at most window - 1; 0 if nothing traded at all.

    Window >= 2.
    """
    check_window("relative_volume", window, 2)

    def compute(bars):
        return ratio(bars["volume"], mean(bars["volume"], window), empty=1.0) - 1

    return Feature(f"relative_volume_{window}", window, ("volume",), compute)
