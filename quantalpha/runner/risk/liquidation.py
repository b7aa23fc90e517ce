"""How near the venue's liquidation is after an order, and how likely the price gets there."""

import math
from dataclasses import dataclass, replace

import numpy as np

from quantalpha import perp
from quantalpha.perp.account import is_schedule
from quantalpha.perp.brackets import maintenance_margin
from quantalpha.runner.events import OrderEvent
from quantalpha.runner.risk.base import Refusal, beyond
from quantalpha.runner.risk.tail import History
from quantalpha.runner.views import AccountView, Position


@dataclass(frozen=True)
class MinLiquidationDistance:
    """Way from the mark to the liquidation price, a fraction of the mark, at least `limit`."""

    limit: float
    distance: "Distance"

    def __call__(self, order: OrderEvent, account: AccountView) -> Refusal | None:
        value = self.distance(order, account)
        return None if value >= self.limit else Refusal("liquidation_distance", {"liquidation_distance": value, "limit": self.limit})


@dataclass(frozen=True)
class MaxLiquidationProbability:
    """That the price meets the liquidation price within `horizon` (ms)."""

    limit: float
    horizon: int
    distance: "Distance"
    history: History

    def __call__(self, order: OrderEvent, account: AccountView) -> Refusal | None:
        away = self.distance(order, account)
        if away == math.inf:
            return None
        lacking, answer = self.history.lacking(order, account, [order.symbol])
        if lacking:
            return answer
        returns = np.asarray(account.returns[order.symbol], dtype=float)[-self.history.bars :]
        with np.errstate(all="ignore"):
            variance = float(np.mean(np.log1p(returns) ** 2))
        deviation = math.sqrt(variance * self.horizon / account.step)
        long = account.quantity(order.symbol) + order.quantity > 0
        return beyond("liquidation_probability", touched(away, deviation, long), self.limit)


class Distance:
    """From the symbol's mark to its liquidation price after the order, fraction of the mark; inf where none is in reach, NaN where a mark
    is missing, 0 or below where it is there already.

    Behind a cross position stands the equity less what the other positions must keep as maintenance margin; they are taken to stand still.
    Of an account at several venues the nearest, as if all of the order went to each, as far as its equity carries it.
    """

    def __init__(self, account: perp.Account):
        self.account = account
        self._liquidations: dict[str, perp.Liquidation] = {}

    def __call__(self, order: OrderEvent, view: AccountView) -> float:
        if view.venues:
            return float(np.min([self(_part(order, each, self.account.leverage), each) for each in view.venues]))
        position, mark = view.position(order.symbol), view.position(order.symbol).mark
        quantity = position.quantity + order.quantity
        if not mark > 0:
            return math.nan
        entry = entry_after(position, order.quantity, order.price)
        wallet = view.equity - quantity * (mark - entry) - _kept_elsewhere(order.symbol, view, self.account)
        if not math.isfinite(wallet):
            return math.nan
        price = self._of(order.symbol).price(quantity, entry, wallet)
        return math.inf if price == 0.0 else math.copysign(1.0, quantity) * (mark - price) / mark

    def _of(self, symbol: str) -> perp.Liquidation:
        if symbol not in self._liquidations:
            self._liquidations[symbol] = perp.Liquidation(self.account, symbol)
        return self._liquidations[symbol]


def _part(order: OrderEvent, view: AccountView, leverage: float) -> OrderEvent:
    """So much of an order as one venue takes at most."""
    held = view.quantity(order.symbol)
    most = max(leverage * view.equity / order.price, abs(held)) if order.price > 0 else math.nan
    return replace(order, quantity=float(np.clip(held + order.quantity, -most, most)) - held)


def touched(away: float, deviation: float, long: bool) -> float:
    """Probability that a driftless log price meets a level once within the horizon: 2 Phi(-|ln(level / price)| / deviation), the
    reflection principle (Shreve 2004, Stochastic Calculus for Finance II, 3.7). away: the level's distance, fraction of the price,
    below it for a long. deviation: of the log price over the horizon."""
    if away <= 0:
        return 1.0
    if long and away >= 1:
        return 0.0
    level = -math.log1p(-away) if long else math.log1p(away)
    return math.erfc(level / deviation / math.sqrt(2)) if deviation > 0 else 0.0 if deviation == 0 else math.nan


def entry_after(position: Position, quantity: float, price: float) -> float:
    """Average entry price once `quantity` more (signed) has traded at `price`: of an order that makes, grows or turns the position."""
    if position.quantity * quantity <= 0:
        return price
    return (position.quantity * position.entry_price + quantity * price) / (position.quantity + quantity)


def _kept_elsewhere(symbol: str, view: AccountView, account: perp.Account) -> float:
    """Maintenance margin of the other positions, quote currency; NaN where one has no mark."""
    others = [(name, held) for name, held in view.positions.items() if name != symbol and held.quantity != 0]
    return sum(maintenance_margin(abs(held.notional), _latest(account, name)) if held.mark > 0 else math.nan for name, held in others)


def _latest(account: perp.Account, symbol: str) -> tuple[perp.Bracket, ...]:
    """The symbol's maintenance table in force from now on."""
    brackets = account.instrument(symbol).brackets
    return brackets[-1][1] if is_schedule(brackets) else brackets
