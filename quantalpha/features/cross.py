"""A coin against those that lead the market. A column `BTCUSDT.close` holds the leader's close on each bar (`market.leaders.join_leaders`).

On the leader's own bars its own close stands there: relative strength 0, slope 1, residual 0.
"""

import re

import numpy as np

from quantalpha.errors import UsageError
from quantalpha.features.base import Feature, check_window
from quantalpha.windows import lagged, ratio, total


def leader_return(symbol: str, window: int) -> Feature:
    """Simple return of the leader over `window` bars: 0.01 is +1 %. Window >= 1."""
    leader = _leader("leader_return", symbol, window)

    def compute(bars):
        return bars[leader] / lagged(bars[leader], window) - 1

    return Feature(f"leader_return_{symbol}_{window}", window + 1, (leader,), compute)


def relative_strength(symbol: str, window: int) -> Feature:
    """Own simple return over `window` bars less the leader's: 0.01 is 1 % ahead of it. Window >= 1."""
    leader = _leader("relative_strength", symbol, window)

    def compute(bars):
        return bars["close"] / lagged(bars["close"], window) - bars[leader] / lagged(bars[leader], window)

    return Feature(f"relative_strength_{symbol}_{window}", window + 1, ("close", leader), compute)


def leader_beta(symbol: str, window: int) -> Feature:
    """How far the coin follows its leader, and how far it went beyond: slope and residual of `window` one-bar log returns r on l.

        slope = sum(r l) / sum(l l)                     1 moves like the leader, 0 on its own (and where the leader stands still)
        residual = sum(r) - slope sum(l)                log return of `window` bars that the leader does not explain: 0.01 is +1 %

    Returns are not centred: the mean of a bar's return is small beside its deviation. Window >= 2.
    """
    leader = _leader("leader_beta", symbol, window, least=2)

    def compute(bars):
        own, lead = bars["log_return"], _log_return(bars[leader], 1)
        slope = ratio(total(own * lead, window), total(lead * lead, window), empty=0.0)
        return slope, _log_return(bars["close"], window) - slope * _log_return(bars[leader], window)

    return Feature(f"leader_beta_{symbol}_{window}", window + 1, ("close", "log_return", leader), compute, parts=("slope", "residual"))


def _log_return(close: np.ndarray, rows: int) -> np.ndarray:
    return np.log(close / lagged(close, rows))


def _leader(family: str, symbol: str, window: int, least: int = 1) -> str:
    """The bars' column with the leader's close, the parameters checked."""
    check_window(family, window, least)
    if not isinstance(symbol, str) or not re.fullmatch(r"[A-Z0-9]{2,30}", symbol):
        raise UsageError(f"features.{family}: expected a symbol such as BTCUSDT, found {symbol!r}")
    return f"{symbol}.close"
