"""From forecasts or prices to targets: signed leverage decided at each bar's close."""

from quantalpha.strategy.policy import HysteresisPolicy, edge
from quantalpha.strategy.rules import buy_and_hold, ma_cross

__all__ = ["HysteresisPolicy", "buy_and_hold", "edge", "ma_cross"]
