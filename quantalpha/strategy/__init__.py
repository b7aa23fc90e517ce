"""From forecasts or prices to targets: signed leverage decided at each bar's close."""

from quantalpha.strategy.arbitrage import basis_arbitrage, funding_arbitrage
from quantalpha.strategy.bets import bet_size
from quantalpha.strategy.mean_reversion import mean_reversion
from quantalpha.strategy.panel import panel
from quantalpha.strategy.policy import HysteresisPolicy, edge
from quantalpha.strategy.portfolio import portfolio_weights
from quantalpha.strategy.range_trading import range_trading
from quantalpha.strategy.rules import ARBITRAGES, SEARCH, STRATEGIES
from quantalpha.strategy.scalping import scalping
from quantalpha.strategy.sizing import cap_exposure, fixed_risk, kelly, realised_volatility, volatility_target
from quantalpha.strategy.trend import breakout, buy_and_hold, ma_cross, momentum, trend

__all__ = [
    "ARBITRAGES", "SEARCH", "STRATEGIES", "HysteresisPolicy", "basis_arbitrage", "bet_size", "breakout", "buy_and_hold", "cap_exposure",
    "edge", "fixed_risk", "funding_arbitrage", "kelly", "ma_cross", "mean_reversion", "momentum", "panel", "portfolio_weights",
    "range_trading", "realised_volatility", "scalping", "trend", "volatility_target",
]  # fmt: skip
