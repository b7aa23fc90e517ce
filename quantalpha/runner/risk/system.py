"""The layer of the whole session: whether it may enter at all, and how fast."""

from collections.abc import Callable
from dataclasses import dataclass

from quantalpha.runner.events import OrderEvent
from quantalpha.runner.risk.base import Refusal, beyond
from quantalpha.runner.views import AccountView

MINUTE = 60_000  # ms


@dataclass(frozen=True)
class NotHalted:
    """Nothing is entered while a kill switch stands. standing: tells whether one does, such as `lambda: switches.standing is not None`."""

    standing: Callable[[], bool]

    def __call__(self, order: OrderEvent, account: AccountView) -> Refusal | None:
        return Refusal("halted", {}) if self.standing() else None


@dataclass(frozen=True)
class OrderRate:
    """Instructions to place or amend within a minute, this order's first one counted."""

    per_minute: int

    def __call__(self, order: OrderEvent, account: AccountView) -> Refusal | None:
        recent = sum(time > account.time - MINUTE for time in account.sent)
        return beyond("order_rate", float(recent + 1), self.per_minute)
