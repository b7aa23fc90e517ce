"""Against the price's distance from its own average."""

import numpy as np
import pandas as pd

from quantalpha.strategy.parts import check_that, check_whole, fade, z_score


def mean_reversion(bars: pd.DataFrame, window: int = 20, enter: float = 2.0, exit: float = 0.5) -> pd.Series:
    """Short from z >= enter until z <= exit, long from z <= -enter until z >= -exit. In {-1, 0, 1}.

    z = (log close - mean) / sample standard deviation, both of the last `window` log closes, the latest included, so that |z| is at most
    (window - 1) / sqrt(window): an `enter` above that is refused. Flat before `window` bars.

    Wants a price that is pulled back (overreaction, a thin book); killed by trends, where it holds against the move while the average
    follows: bound the loss with `Stops`. Source: the Bollinger band rule of Chan, "Algorithmic Trading" (2013), ch. 3; entry and exit
    apart as in Avellaneda and Lee, "Statistical arbitrage in the US equities market" (2010).
    """
    check_whole("mean_reversion", 3, window=window)
    reachable = (window - 1) / np.sqrt(window)
    check_that(0 <= exit < enter <= reachable, "mean_reversion", f"0 <= exit < enter <= {reachable:.3g} deviations", exit, enter)
    return fade(z_score(np.log(bars["close"]), window), enter, exit)
