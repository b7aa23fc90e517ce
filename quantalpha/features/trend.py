"""Where the price stands against its own averages, and which way they point."""

from quantalpha.features.averages import ema, ema_gap, ema_rows
from quantalpha.features.base import Feature, check_order, check_window
from quantalpha.features.talib import windowed
from quantalpha.windows import moments, spread


def moving_average_distance(window: int) -> Feature:
    """close / SMA(close, window) - 1: 0.02 is 2 % above the average. Window >= 2."""
    check_window("moving_average_distance", window, 2)

    def compute(bars):
        distance, _ = spread(bars["close"], window)
        return distance / (bars["close"] - distance)

    return Feature(f"moving_average_distance_{window}", window, ("close",), compute)


def ema_distance(window: int) -> Feature:
    """close / EMA(close, window) - 1: 0.02 is 2 % above the exponential average, as TA-Lib EMA. Window >= 2.

    Bars more than 6 (window + 1) rows ago have no weight: off the endless average by at most 6.2e-6 of the distance at that time.
    """
    check_window("ema_distance", window, 2)

    def compute(bars):
        close = bars["close"]
        distance = ema_gap(bars["change"], window)
        return distance / (close - distance)

    return Feature(f"ema_distance_{window}", ema_rows(window) + 1, ("close", "change"), compute)


def ma_cross(fast: int, slow: int) -> Feature:
    """SMA(close, fast) / SMA(close, slow) - 1: above 0 the latest prices are the higher ones. 1 <= fast < slow."""
    check_order("ma_cross", ("fast", "slow"), (fast, slow))

    def compute(bars):
        return moments(bars["close"], fast)[0] / moments(bars["close"], slow)[0] - 1

    return Feature(f"ma_cross_{fast}_{slow}", slow, ("close",), compute)


def macd(fast: int, slow: int, signal: int) -> Feature:
    """Moving average convergence divergence (Appel 1979), as fractions of the close; parts line, signal, histogram. 2 <= fast < slow.

    line = EMA(close, fast) - EMA(close, slow); signal = EMA(line, signal), signal >= 2; histogram = line - signal. Each EMA of n bars sees
    6 (n + 1) rows: the line is off TA-Lib's by at most 6.2e-6 of the gaps between price and EMA then, the signal by that and 6.2e-6 of its
    own distance from the line then.
    """
    check_order("macd", ("fast", "slow"), (fast, slow), 2)
    check_window("macd", signal, 2)

    def compute(bars):
        close = bars["close"]
        line = ema_gap(bars["change"], slow) - ema_gap(bars["change"], fast)
        smooth = ema(line, signal)
        return line / close, smooth / close, (line - smooth) / close

    lookback = ema_rows(slow) + ema_rows(signal)
    return Feature(f"macd_{fast}_{slow}_{signal}", lookback, ("close", "change"), compute, parts=("line", "signal", "histogram"))


def aroon(window: int) -> Feature:
    """Aroon oscillator (Chande 1995), -1 to 1: (bars since the lowest low - bars since the highest high) / window; TA-Lib AROONOSC / 100.

    Both are sought among the last window + 1 bars, the later of two equal ones counts; 0 for a constant price. Window >= 2.
    """
    check_window("aroon", window, 2)

    def compute(bars):
        return windowed("AROONOSC", bars["high"], bars["low"], window=window + 1, timeperiod=window) / 100

    return Feature(f"aroon_{window}", window + 1, ("high", "low"), compute)
