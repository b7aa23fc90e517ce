"""The layer of the whole book: exposure of one symbol and of all, as notional over equity. Long and short count alike unless they net."""

from collections.abc import Mapping
from dataclasses import dataclass

from quantalpha.runner.events import OrderEvent
from quantalpha.runner.risk.base import ROUNDING, Refusal, beyond, book
from quantalpha.runner.views import AccountView


@dataclass(frozen=True)
class MaxLeverage:
    """Notional after the order, at the deciding price, within `leverage` x equity."""

    leverage: float

    def __call__(self, order: OrderEvent, account: AccountView) -> Refusal | None:
        after = account.quantity(order.symbol) + order.quantity
        notional, limit = abs(after) * order.price, self.leverage * account.equity
        return None if notional <= limit * (1 + ROUNDING) else Refusal("leverage", {"notional": notional, "limit": limit})


@dataclass(frozen=True)
class MaxPosition:
    """Of the order's symbol."""

    limit: float

    def __call__(self, order: OrderEvent, account: AccountView) -> Refusal | None:
        return beyond("position", abs(book(order, account)[order.symbol]) / account.equity, self.limit)


@dataclass(frozen=True)
class MaxGross:
    """Of all symbols, longs and shorts added up."""

    limit: float

    def __call__(self, order: OrderEvent, account: AccountView) -> Refusal | None:
        return beyond("gross", gross(book(order, account)) / account.equity, self.limit)


@dataclass(frozen=True)
class MaxNet:
    """Of all symbols, longs less shorts."""

    limit: float

    def __call__(self, order: OrderEvent, account: AccountView) -> Refusal | None:
        return beyond("net", abs(sum(book(order, account).values())) / account.equity, self.limit)


@dataclass(frozen=True)
class MaxConcentration:
    """The order's symbol as a share of the gross exposure, where the book then holds several: one alone is always all of it."""

    limit: float

    def __call__(self, order: OrderEvent, account: AccountView) -> Refusal | None:
        after = book(order, account)
        if sum(notional != 0 for notional in after.values()) < 2:
            return None
        return beyond("concentration", abs(after[order.symbol]) / gross(after), self.limit)


def gross(notionals: Mapping[str, float]) -> float:
    return sum(abs(notional) for notional in notionals.values())
