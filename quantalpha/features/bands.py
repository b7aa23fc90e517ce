"""Where the price stands between bands as wide as it usually moves."""

from quantalpha.features.averages import ema_gap, ema_rows
from quantalpha.features.base import Feature, check_window
from quantalpha.windows import mean, ratio, spread


def bollinger(window: int) -> Feature:
    """Position in the Bollinger bands (2 population standard deviations): -1 at the lower band, +1 at the upper, 0 for a constant price.

    Window >= 2.
    """
    check_window("bollinger", window, 2)

    def compute(bars):
        distance, deviation = spread(bars["close"], window)
        return ratio(distance, 2 * deviation, empty=0.0)

    return Feature(f"bollinger_{window}", window, ("close",), compute)


def bollinger_width(window: int) -> Feature:
    """Width of the Bollinger bands, (upper - lower) / SMA = 4 population standard deviations / SMA; 0.02 is 2 % of price. Window >= 2."""
    check_window("bollinger_width", window, 2)

    def compute(bars):
        distance, deviation = spread(bars["close"], window)
        return 4 * deviation / (bars["close"] - distance)

    return Feature(f"bollinger_width_{window}", window, ("close",), compute)


def keltner(window: int, atr_window: int) -> Feature:
    """Position in the Keltner channel: (close - EMA(close, window)) / (2 ATR), -1 at the lower line, +1 at the upper.

    ATR is the plain mean of `atr_window` true ranges, as in `atr`; 0 where nothing moved in them. The EMA sees 6 (window + 1) rows, as in
    `ema_distance`. Window >= 2, atr_window >= 1.
    """
    check_window("keltner", window, 2)
    check_window("keltner", atr_window)

    def compute(bars):
        gap = ema_gap(bars["change"], window)
        return ratio(gap, 2 * mean(bars["true_range"], atr_window), empty=0.0)

    lookback = max(ema_rows(window), atr_window) + 1
    return Feature(f"keltner_{window}_{atr_window}", lookback, ("change", "true_range"), compute)
