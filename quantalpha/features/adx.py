"""How strongly the price is going somewhere, whichever way: Wilder's directional movement."""

import numpy as np
from numba import njit

from quantalpha.features.averages import wilder_mean, wilder_rows, wilder_sum
from quantalpha.features.base import Feature, check_window
from quantalpha.windows import ratio


@njit(cache=True)
def directional_moves(high, low):
    """(plus, minus), float64[n] each: how far the high rose or the low fell since the bar before, the larger of the two only."""
    plus, minus = np.full(len(high), np.nan), np.full(len(high), np.nan)
    for i in range(1, len(high)):
        up, down = high[i] - high[i - 1], low[i - 1] - low[i]
        nothing = 0.0 * (up + down)  # a missing price stays missing
        plus[i] = up if up > down and up > 0 else nothing
        minus[i] = down if down > up and down > 0 else nothing
    return plus, minus


def adx(window: int) -> Feature:
    """Average directional index (Wilder 1978) and its two indicators, 0 to 1 each: TA-Lib ADX, PLUS_DI, MINUS_DI / 100. Window >= 2.

    plus, minus: Wilder's sums of the upward and downward moves over that of the true ranges; adx: Wilder's average of |plus - minus| /
    (plus + minus). 0 where nothing moves. Wilder's averages see 12 window rows: plus and minus are off the endless ones by at most 6.2e-6
    times (true range before / since), adx by 6.2e-6 times (1 + 2 moves before / since).
    """
    check_window("adx", window, 2)

    def compute(bars):
        plus, minus = directional_moves(bars["high"], bars["low"])
        rise, fall, ranges = (wilder_sum(moves, window) for moves in (plus, minus, bars["true_range"]))
        strength = ratio(np.abs(rise - fall), rise + fall, empty=0.0)
        return wilder_mean(strength, window), ratio(rise, ranges, empty=0.0), ratio(fall, ranges, empty=0.0)

    return Feature(f"adx_{window}", 2 * wilder_rows(window), ("high", "low", "true_range"), compute, parts=("adx", "plus", "minus"))
