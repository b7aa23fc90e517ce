"""The only maker of a ValidatedOrderEvent. One limit is one small class; a check has no side effect and doubt means no.

A check returns None (passes) or a Refusal: a reason code and the values that refused. Comparisons are written so that NaN refuses.
"""

import math
from dataclasses import dataclass
from typing import Protocol

from quantalpha.runner.events import OrderEvent, RejectedOrderEvent, ValidatedOrderEvent, as_kind
from quantalpha.runner.views import AccountView

ROUNDING = 1e-9  # relative; a target of exactly the permitted leverage passes


@dataclass(frozen=True)
class Refusal:
    reason: str
    values: dict[str, float]


class Check(Protocol):
    def __call__(self, order: OrderEvent, account: AccountView) -> Refusal | None: ...


class Finite:
    """Price, equity, position and order must be finite numbers, the price above zero."""

    def __call__(self, order: OrderEvent, account: AccountView) -> Refusal | None:
        values = {"price": order.price, "quantity": order.quantity, "target": order.target}
        values |= {"equity": account.equity, "position": account.quantity(order.symbol)}
        sound = all(math.isfinite(value) for value in values.values()) and order.price > 0
        return None if sound else Refusal("not_finite", values)


class Solvent:
    """No equity, no order that makes a position."""

    def __call__(self, order: OrderEvent, account: AccountView) -> Refusal | None:
        if account.equity > 0 or not enters(order.quantity, account.quantity(order.symbol)):
            return None
        return Refusal("no_equity", {"equity": account.equity})


@dataclass(frozen=True)
class MaxLeverage:
    """Notional after the order, at the deciding price, within `leverage` x equity; an order that reduces always passes."""

    leverage: float

    def __call__(self, order: OrderEvent, account: AccountView) -> Refusal | None:
        after = account.quantity(order.symbol) + order.quantity
        notional, limit = abs(after) * order.price, self.leverage * account.equity
        if not enters(order.quantity, account.quantity(order.symbol)) or notional <= limit * (1 + ROUNDING):
            return None
        return Refusal("leverage", {"notional": notional, "limit": limit})


def enters(quantity: float, position: float) -> bool:
    """The order makes, grows or turns the position; false where it gets smaller without changing sign, or nothing is traded."""
    return quantity != 0 and not (quantity * position < 0 and abs(quantity) <= abs(position))


@dataclass(frozen=True)
class Risk:
    """The gate every order passes: the first check that refuses names the reason."""

    checks: tuple[Check, ...]

    def judge(self, order: OrderEvent, account: AccountView) -> ValidatedOrderEvent | RejectedOrderEvent:
        for check in self.checks:
            refusal = check(order, account)
            if refusal is not None:
                return as_kind(order, RejectedOrderEvent, reason=refusal.reason, values=refusal.values)
        return as_kind(order, ValidatedOrderEvent)


def standard(leverage: float) -> Risk:
    """The checks of every mode; `leverage` is the account's largest."""
    return Risk((Finite(), Solvent(), MaxLeverage(leverage)))
