"""How much is traded against what is usual, and on which side of the price."""

import numpy as np

from quantalpha.features.base import Feature, check_order, check_window
from quantalpha.windows import lagged, mean, ratio, total


def relative_volume(window: int) -> Feature:
    """volume / mean volume of `window` bars (this one included) - 1: 0 is usual, -1 none, at most window - 1; 0 if nothing traded at all.

    Window >= 2.
    """
    check_window("relative_volume", window, 2)

    def compute(bars):
        return ratio(bars["volume"], mean(bars["volume"], window), empty=1.0) - 1

    return Feature(f"relative_volume_{window}", window, ("volume",), compute)


def on_balance_volume(window: int) -> Feature:
    """Share of the volume of `window` bars traded in rising bars less that in falling ones, -1 to 1; 0 if nothing traded. Window >= 1.

    The change of Granville's (1963) on-balance volume, TA-Lib OBV, over the window, divided by all its volume; a bar rises when it closes
    above the close before.
    """
    check_window("on_balance_volume", window)

    def compute(bars):
        change, volume = bars["change"], bars["volume"]
        return ratio(total(np.sign(change) * volume, window), total(volume, window), empty=0.0)

    return Feature(f"on_balance_volume_{window}", window + 1, ("change", "volume"), compute)


def money_flow(window: int) -> Feature:
    """Money flow index (Quong and Soudack 1989), 0 (the typical price only fell) to 1 (only rose); TA-Lib MFI / 100. Window >= 1.

    Typical price times volume of the bars where the typical price rose, over that of the bars where it moved, of `window` bars; 0.5 where
    no bar that traded moved it.
    """
    check_window("money_flow", window)

    def compute(bars):
        price = bars["typical_price"]
        flow = np.sign(price - lagged(price, 1)) * price * bars["volume"]
        return ratio(total(np.maximum(flow, 0.0), window), total(np.abs(flow), window), empty=0.5)

    return Feature(f"money_flow_{window}", window + 1, ("typical_price", "volume"), compute)


def vwap_distance(window: int) -> Feature:
    """close / VWAP - 1 of `window` bars, each traded at its typical price: 0.02 is 2 % above it; 0 if nothing traded. Window >= 1."""
    check_window("vwap_distance", window)

    def compute(bars):
        volume, value = bars["volume"], bars["typical_price"] * bars["volume"]
        return ratio(bars["close"] * total(volume, window), total(value, window), empty=1.0) - 1

    return Feature(f"vwap_distance_{window}", window, ("close", "typical_price", "volume"), compute)


def amihud(short: int, long: int) -> Feature:
    """Amihud's (2002) illiquidity, mean |log return| / traded value, of `short` bars over that of `long` - 1: 1 is twice the usual impact.

    From -1 to long / short - 1; 0 if nothing moved. A bar without trade counts as 0. 1 <= short < long.
    """
    check_order("amihud", ("short", "long"), (short, long))

    def compute(bars):
        impact = ratio(np.abs(bars["log_return"]), bars["traded_value"], empty=0.0)
        return ratio(mean(impact, short), mean(impact, long), empty=1.0) - 1

    return Feature(f"amihud_{short}_{long}", long + 1, ("log_return", "traded_value"), compute)
