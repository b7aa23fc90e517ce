"""What a limit is: a check that returns None (passes) or a Refusal, a reason code and the values that refused.

A check has no side effect and doubt means no: comparisons are written so that NaN refuses.
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


@dataclass(frozen=True)
class Risk:
    """The gate every order passes, and the only maker of a ValidatedOrderEvent: the first check that refuses names the reason.

    always: asked of every order; entering: only of one that makes, grows or turns a position, so that a way out is never barred.
    """

    always: tuple[Check, ...]
    entering: tuple[Check, ...] = ()

    def judge(self, order: OrderEvent, account: AccountView) -> ValidatedOrderEvent | RejectedOrderEvent:
        more = self.entering if enters(order.quantity, account.quantity(order.symbol)) else ()
        for check in (*self.always, *more):
            refusal = check(order, account)
            if refusal is not None:
                return as_kind(order, RejectedOrderEvent, reason=refusal.reason, values=refusal.values)
        return as_kind(order, ValidatedOrderEvent)


def enters(quantity: float, position: float) -> bool:
    """The order makes, grows or turns the position; false where it gets smaller without changing sign, or nothing is traded."""
    return quantity != 0 and not (quantity * position < 0 and abs(quantity) <= abs(position))


def beyond(reason: str, value: float, limit: float) -> Refusal | None:
    """A refusal unless `value` is within `limit`; NaN refuses."""
    return None if value <= limit * (1 + ROUNDING) else Refusal(reason, {reason: value, "limit": limit})


def book(order: OrderEvent, account: AccountView) -> dict[str, float]:
    """Signed notional of every symbol after the order, quote currency: its own at the deciding price, the others at their marks, with what
    they have pending as if it had traded; NaN where a mark is missing. An order takes the place of what its own symbol has pending."""
    held = {symbol: _notional(account, symbol) for symbol in {*account.positions, *account.pending}}
    return held | {order.symbol: (account.quantity(order.symbol) + order.quantity) * order.price}


def _notional(account: AccountView, symbol: str) -> float:
    mark, quantity = account.position(symbol).mark, account.quantity(symbol) + account.pending.get(symbol, 0.0)
    return quantity * mark if quantity == 0 or mark > 0 else math.nan
