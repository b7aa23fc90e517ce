"""The layer of one order: sound numbers, what it may lose at its stop, how large and how far from the market it may be."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from quantalpha import perp
from quantalpha.errors import DataError
from quantalpha.runner.events import OrderEvent
from quantalpha.runner.risk.base import Refusal, beyond
from quantalpha.runner.views import AccountView

WIDEST = 0.5  # of the entry price: a stop further away, where a position is small, would protect nothing


@dataclass(frozen=True)
class Finite:
    """Price, equity, position and order must be finite numbers, the price above zero."""

    def __call__(self, order: OrderEvent, account: AccountView) -> Refusal | None:
        values = {"price": order.price, "quantity": order.quantity, "target": order.target}
        values |= {"equity": account.equity, "position": account.quantity(order.symbol)}
        sound = all(math.isfinite(value) for value in values.values()) and order.price > 0
        return None if sound else Refusal("not_finite", values)


@dataclass(frozen=True)
class Solvent:
    """No equity, no order that makes a position."""

    def __call__(self, order: OrderEvent, account: AccountView) -> Refusal | None:
        return None if account.equity > 0 else Refusal("no_equity", {"equity": account.equity})


def protective_distance(stop_loss: float | None, per_trade: float, target: float) -> float:
    """How far from the average fill price the stop of a position rests, as a fraction of that price.

    stop_loss: the bundle's own; None: it has none, and the stop rests where just `per_trade` of the equity is lost, at most half way.
    target: the position's notional / equity, signed. DataError where that is no leverage a position can have.
    """
    if stop_loss is not None:
        return stop_loss
    if not 0 < abs(target) < math.inf:
        raise DataError(f"protective stop: expected the leverage of a position, found {target!r}; nobody knows where the stop rests")
    return min(per_trade / abs(target), WIDEST)


@dataclass(frozen=True)
class RiskPerTrade:
    """What the position after the order loses at its stop, within `per_trade` of the equity; a gap beyond the stop is not foreseen.

    stops: each symbol's stop_loss. Where it has none, one rests on a venue at `protective_distance`, which loses no more by construction;
    on paper nothing rests, and the other limits judge alone.
    """

    per_trade: float
    stops: Mapping[str, float | None] = field(default_factory=dict)

    def __call__(self, order: OrderEvent, account: AccountView) -> Refusal | None:
        stop_loss = self.stops.get(order.symbol)
        if stop_loss is None:
            return None
        leverage = abs(account.quantity(order.symbol) + order.quantity) * order.price / account.equity
        return beyond("risk_per_trade", leverage * stop_loss, self.per_trade)


@dataclass(frozen=True)
class MinNotional:
    """No order smaller than the venue takes; the account says what that is."""

    account: perp.Account

    def __call__(self, order: OrderEvent, account: AccountView) -> Refusal | None:
        least = self.account.instrument(order.symbol).min_notional
        if perp.meets_minimum(order.quantity, order.price, least):
            return None
        return Refusal("min_notional", {"notional": abs(order.quantity) * order.price, "limit": least})


@dataclass(frozen=True)
class PriceCollar:
    """The deciding price within `collar` of the mark price: a price that the rest of the market does not know is an error or a trap."""

    collar: float

    def __call__(self, order: OrderEvent, account: AccountView) -> Refusal | None:
        mark = account.position(order.symbol).mark
        away = abs(order.price - mark) / mark if mark > 0 else math.nan
        return beyond("price_collar", away, self.collar)
