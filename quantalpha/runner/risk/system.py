"""The layer of the whole session: how fast it may go. That nothing is entered while a kill switch stands is the engine's own word."""

from dataclasses import dataclass

from quantalpha.runner.events import OrderEvent
from quantalpha.runner.risk.base import Refusal, beyond
from quantalpha.runner.views import AccountView

MINUTE = 60_000  # ms


@dataclass(frozen=True)
class OrderRate:
    """Instructions to place or amend within a minute, this order's first one counted."""

    per_minute: int

    def __call__(self, order: OrderEvent, account: AccountView) -> Refusal | None:
        recent = sum(time > account.time - MINUTE for time in account.sent)
        return beyond("order_rate", float(recent + 1), self.per_minute)
