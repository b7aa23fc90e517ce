"""What every order must satisfy, in three layers: the order (`trade`), the book (`portfolio`, `tail`, `liquidation`), the session
(`system`).

One limit is one small class; `Risk` asks them in turn and is the only maker of a ValidatedOrderEvent. Orders that only reduce a position
pass every limit but the soundness of their numbers.
"""

from collections.abc import Mapping

from quantalpha import config, perp, timeframe
from quantalpha.runner.risk.base import Check, Refusal, Risk, enters
from quantalpha.runner.risk.liquidation import Distance, MaxLiquidationProbability, MinLiquidationDistance
from quantalpha.runner.risk.portfolio import MaxConcentration, MaxGross, MaxLeverage, MaxNet, MaxPosition
from quantalpha.runner.risk.system import OrderRate
from quantalpha.runner.risk.tail import History, MaxTailLoss
from quantalpha.runner.risk.trade import Finite, MinNotional, PriceCollar, RiskPerTrade, Solvent, protective_distance

__all__ = [
    "Check", "Finite", "History", "MaxConcentration", "MaxGross", "MaxLeverage", "MaxLiquidationProbability", "MaxNet", "MaxPosition",
    "MaxTailLoss", "MinLiquidationDistance", "MinNotional", "OrderRate", "PriceCollar", "Refusal", "Risk", "RiskPerTrade",
    "Solvent", "enters", "of", "protective_distance", "standard",
]  # fmt: skip

ON_PAPER = ("paper",)  # the ledger is the backtest's: nothing rests anywhere, and the first bars have no history


def standard(leverage: float) -> Risk:
    """The checks of a replay, which must equal its backtest; `leverage` is the account's largest."""
    return Risk((Finite(),), (Solvent(), MaxLeverage(leverage)))


def of(limits: config.Risk, account: perp.Account, mode: str, stops: Mapping[str, float | None]) -> Risk:
    """Every limit of params.yaml's section risk, for any mode; a replay has the `standard` checks alone.

    stops: stop_loss of each symbol's bundle, None where it has none. Limits that need history refuse where they have too little, except on
    paper.
    """
    plain = standard(account.leverage)
    if mode == "replay":
        return plain
    order = (RiskPerTrade(limits.per_trade, stops), MinNotional(account), PriceCollar(limits.price_collar))
    rest = (*_exposure(limits, account), *_loss(limits, account, mode), OrderRate(limits.orders_per_minute))
    return Risk(plain.always, (*plain.entering, *order, *rest))


def _exposure(limits: config.Risk, account: perp.Account) -> list[Check]:
    gross = account.leverage if limits.max_gross is None else limits.max_gross
    optional = [(MaxPosition, limits.max_position), (MaxNet, limits.max_net), (MaxConcentration, limits.max_concentration)]
    return [MaxGross(gross), *(kind(limit) for kind, limit in optional if limit is not None)]


def _loss(limits: config.Risk, account: perp.Account, mode: str) -> list[Check]:
    history, horizon = History(limits.history, mode not in ON_PAPER), timeframe.milliseconds(limits.liquidation_horizon)
    distance = Distance(account)
    limited = limits.max_var is not None or limits.max_cvar is not None
    return [
        *([MaxTailLoss(limits.var_level, limits.max_var, limits.max_cvar, history)] if limited else []),
        MinLiquidationDistance(limits.min_liquidation_distance, distance),
        MaxLiquidationProbability(limits.max_liquidation_probability, horizon, distance, history),
    ]
