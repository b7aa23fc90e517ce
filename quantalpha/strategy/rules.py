"""The only list of rule strategies: name -> function of bars, and the box in which its parameters may be searched."""

from collections.abc import Callable, Mapping

import pandas as pd

from quantalpha.strategy.arbitrage import basis_arbitrage, funding_arbitrage
from quantalpha.strategy.mean_reversion import mean_reversion
from quantalpha.strategy.range_trading import range_trading
from quantalpha.strategy.scalping import scalping
from quantalpha.strategy.trend import breakout, momentum, trend
from quantalpha.strategy.trend import buy_and_hold as hold
from quantalpha.strategy.trend import ma_cross as cross


def buy_and_hold(bars: pd.DataFrame) -> pd.Series:
    return hold(bars["close"])


def ma_cross(bars: pd.DataFrame, fast: int = 50, slow: int = 200) -> pd.Series:
    return cross(bars["close"], fast, slow)


# f(bars, **parameters) -> Series of targets, or DataFrame[target, limit]; the defaults in the signatures are the textbooks'
STRATEGIES: Mapping[str, Callable[..., pd.Series | pd.DataFrame]] = {
    "buy_and_hold": buy_and_hold,
    "ma_cross": ma_cross,
    "trend": trend,
    "momentum": momentum,
    "breakout": breakout,
    "mean_reversion": mean_reversion,
    "range_trading": range_trading,
    "scalping": scalping,
}
# f({leg: bars, leg: bars}, **parameters) -> DataFrame of targets, one column a leg
ARBITRAGES: Mapping[str, Callable[..., pd.DataFrame]] = {
    "funding_arbitrage": funding_arbitrage,
    "basis_arbitrage": basis_arbitrage,
}
# name -> parameter -> (low, high, kind), ends included; kind: "int", "float", or "log" (a float, even in its logarithm). Every point of a
# box is a valid set. Windows are in bars and reach from the textbooks' days on daily bars to some weeks of hours.
SEARCH: Mapping[str, Mapping[str, tuple[float, float, str]]] = {
    "ma_cross": {"fast": (5, 60, "int"), "slow": (80, 600, "int")},
    "trend": {"fast": (4, 96, "int"), "ratio": (2.0, 5.0, "float")},
    "momentum": {"shortest": (12, 96, "int"), "longest": (120, 1_440, "int")},
    "breakout": {"entry": (40, 480, "int"), "exit": (6, 40, "int")},
    "mean_reversion": {"window": (12, 240, "int"), "enter": (1.0, 3.0, "float"), "exit": (0.0, 0.9, "float")},
    "range_trading": {
        "window": (12, 240, "int"),
        "edge": (0.02, 0.3, "float"),
        "calm": (0.05, 0.3, "float"),
        "trending": (0.35, 0.8, "float"),
    },
    "scalping": {"window": (1, 12, "int"), "enter": (1.0, 4.0, "float"), "exit": (0.0, 0.9, "float"), "offset": (0.0, 2.0, "float")},
    "funding_arbitrage": {"window": (1.0, 30.0, "log"), "holding": (7.0, 90.0, "log"), "leave": (-0.05, 0.0, "float")},
    "basis_arbitrage": {
        "window": (24, 720, "int"),
        "enter": (1.0, 4.0, "float"),
        "exit": (0.0, 0.9, "float"),
        "holding": (0.35, 7.0, "log"),
    },
}
