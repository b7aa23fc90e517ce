"""Against the last few bars' move, with resting orders."""

import numpy as np
import pandas as pd

from quantalpha.strategy.parts import check_that, check_whole, fade, moving


def scalping(
    bars: pd.DataFrame, window: int = 3, volatility_window: int = 60, enter: float = 2.0, exit: float = 0.5, offset: float = 0.5
) -> pd.DataFrame:
    """DataFrame[target, limit]: buys what has just fallen, sells what has just risen, by limit orders away from the close.

    With v the sample standard deviation of the last `volatility_window` one-bar log returns and s = (log return over `window` bars) /
    (v sqrt(window)): target -1 from s >= enter until s <= exit, +1 the other way round, else 0. The order into a position rests at
    close * exp(-target * offset * v), that is `offset` one-bar deviations better than the close; the way out, a flip included, has no limit
    (NaN, a market order), for an exit that may not fill is no exit. A target is a wish: whether it was filled is the simulator's to say,
    and `Account.limit_bars` ends the wait. Flat for the first `volatility_window` bars.

    Wants jumps that are taken back: liquidity consumed, forced orders. Killed by news, by taker fees, and by adverse selection, which the
    simulator shows only in part: it fills a resting order only where the price trades through it, but knows nothing of the queue.
    Source: short-term reversal as pay for liquidity, Nagel, "Evaporating liquidity" (2012).
    """
    check_whole("scalping", 1, window=window)
    check_whole("scalping", 2, volatility_window=volatility_window)
    check_that(0 <= exit < enter < np.inf, "scalping", "0 <= exit < enter deviations", exit, enter)
    check_that(0 <= offset < np.inf, "scalping", "offset of at least 0 deviations", offset)
    price = np.log(bars["close"])
    volatility = price.diff().rolling(volatility_window).std()
    move = (price - price.shift(window)) / (moving(volatility) * np.sqrt(window))
    target = fade(move, enter, exit)
    entering = (target != 0) & (target * target.shift(fill_value=0.0) >= 0)
    limit = (bars["close"] * np.exp(-target * offset * volatility)).where(entering)
    return pd.DataFrame({"target": target, "limit": limit})
