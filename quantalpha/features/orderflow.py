"""Who pushes: takers against each other, and the best bid against the best ask.

`taker_imbalance` reads what exchanges tell with each bar. The others read columns that `market.orderbook.bars_from_book` makes of recorded
updates of the book.
"""

from quantalpha.features.base import Feature, check_window
from quantalpha.windows import mean, ratio, total


def taker_imbalance(window: int) -> Feature:
    """sum(2 taker_buy_volume - volume) / sum(volume): +1 all trades were struck by buyers, -1 by sellers; 0 without trades. Window >= 1."""
    check_window("taker_imbalance", window)

    def compute(bars):
        return 2 * ratio(total(bars["taker_buy_volume"], window), total(bars["volume"], window), empty=0.5) - 1

    return Feature(f"taker_imbalance_{window}", window, ("taker_buy_volume", "volume"), compute)


def order_flow_imbalance(window: int) -> Feature:
    """sum(order_flow_imbalance) / (2 mean(depth)): the flow in the ticks it moves a book of that depth. + to buyers. Window >= 1.

    In the stylised book of Cont, Kukanov and Stoikov (2014) the mid moves by OFI / (2 depth) ticks.
    """
    check_window("order_flow_imbalance", window)

    def compute(bars):
        return ratio(total(bars["order_flow_imbalance"], window), 2 * mean(bars["depth"], window), empty=0.0)

    return Feature(f"order_flow_imbalance_{window}", window, ("order_flow_imbalance", "depth"), compute)


def book_imbalance(window: int) -> Feature:
    """Mean of (bid_qty - ask_qty) / (bid_qty + ask_qty) at the closes: -1 to 1, + where more bids wait than asks. Window >= 1."""
    check_window("book_imbalance", window)

    def compute(bars):
        return mean(bars["book_imbalance"], window)

    return Feature(f"book_imbalance_{window}", window, ("book_imbalance",), compute)


def microprice(window: int) -> Feature:
    """Mean of microprice / mid - 1 at the closes: 0.0001 leans 1 basis point upwards. Window >= 1.

    In spreads it would be book_imbalance / 2; as a fraction of the price it also tells how wide the book is.
    """
    check_window("microprice", window)

    def compute(bars):
        return mean((bars["microprice"] - bars["mid"]) / bars["mid"], window)

    return Feature(f"microprice_{window}", window, ("microprice", "mid"), compute)


def relative_spread(window: int) -> Feature:
    """spread / mid against its mean over `window` bars (this one included), - 1: 0 is usual, 1 twice as wide. Window >= 2."""
    check_window("relative_spread", window, 2)

    def compute(bars):
        spread = bars["spread"] / bars["mid"]
        return ratio(spread, mean(spread, window), empty=1.0) - 1

    return Feature(f"relative_spread_{window}", window, ("spread", "mid"), compute)
