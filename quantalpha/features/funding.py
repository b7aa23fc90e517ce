"""What holding a perpetual costs, and how far it trades from what it stands for.

Rates are fractions of the notional, + where longs pay shorts. A bar's rate is what was settled after the open before it, up to its own.
"""

from quantalpha.errors import UsageError
from quantalpha.features.base import Arrays, Feature, check_order, check_window
from quantalpha.features.derived import TIME
from quantalpha.timeframe import YEAR_MS
from quantalpha.windows import lagged, mean, total

PRICES = ("mark", "index_price", "mid", "microprice")  # columns of the bars that are one at the close


def funding(window: int) -> Feature:
    """Sum of the funding rates settled in the last `window` bars: 0.0003 means longs paid 3 basis points to shorts. Window >= 1."""
    check_window("funding", window)

    def compute(bars):
        return total(bars["funding_rate"], window)

    return Feature(f"funding_{window}", window, ("funding_rate",), compute)


def funding_carry(window: int) -> Feature:
    """Funding of the last `window` bars by the time they really span, times 365 days: 0.1 means longs pay 10 % of the notional a year.

    Simple, not compounded. Missing bars and changes of the settlement interval (8 h, 4 h, 1 h) do not change its meaning. Take a window of
    whole settlement intervals, or it moves with the clock. Window >= 1.
    """
    check_window("funding_carry", window)

    def compute(bars):
        return _carry(bars, window)

    return Feature(f"funding_carry_{window}", window + 1, ("funding_rate", TIME), compute)


def funding_change(short: int, long: int) -> Feature:
    """`funding_carry` over `short` bars less that over `long`: 0.05 means that longs pay 5 % a year more than before. Short < long."""
    check_order("funding_change", ("short", "long"), (short, long))

    def compute(bars):
        return _carry(bars, short) - _carry(bars, long)

    return Feature(f"funding_change_{short}_{long}", long + 1, ("funding_rate", TIME), compute)


def basis(reference: str, window: int) -> Feature:
    """Mean of close / reference - 1 over `window` bars: 0.001 means the perpetual traded 0.1 % above it. Window >= 1.

    reference: the column of the bars with the price it is measured against, at the close: 'mark', 'index_price', or a leader such as a spot
    market's 'BTCUSDC.close'.
    """
    check_window("basis", window)
    if not isinstance(reference, str) or reference not in PRICES and not reference.endswith(".close"):
        raise UsageError(
            f"features.basis: expected a price column, {', '.join(PRICES)} or a leader such as BTCUSDC.close, found {reference!r}"
        )

    def compute(bars):
        return mean((bars["close"] - bars[reference]) / bars[reference], window)

    return Feature(f"basis_{reference}_{window}", window, ("close", reference), compute)


def _carry(bars: Arrays, window: int):
    """float64[n]: a year's funding at the pace of the last `window` bars; they were settled since the open of the bar before them."""
    return total(bars["funding_rate"], window) * (YEAR_MS / (bars[TIME] - lagged(bars[TIME], window)))
