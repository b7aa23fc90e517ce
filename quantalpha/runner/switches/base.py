"""What a kill switch is: it sees the account after every event and says when it has had enough.

A switch keeps only what the recorded events told it, so that the same events bring it to the same state again. `TickEvent` and `QuoteEvent`
are not recorded: on them a switch may trip, but remembers nothing. Comparisons are written so that NaN trips.
"""

from dataclasses import dataclass
from typing import Protocol

from quantalpha.runner.events import (
    PASSING,
    AccountEvent,
    CarriedEvent,
    EquityEvent,
    Event,
    FillEvent,
    FundingEvent,
    SessionEvent,
    TickEvent,
)
from quantalpha.runner.views import AccountView

DAY = 86_400_000  # ms
SECOND = 1000  # ms
MONEY = (SessionEvent, CarriedEvent, EquityEvent, AccountEvent, FillEvent, FundingEvent, TickEvent)  # after these the equity may be another


@dataclass(frozen=True)
class Trip:
    """Why everything is to stop, and the numbers that say so."""

    reason: str
    values: dict[str, float]


class Switch(Protocol):
    """heeds: the kinds of events it is shown."""

    heeds: tuple[type[Event], ...]

    def see(self, view: AccountView, event: Event) -> Trip | None: ...


def recorded(event: Event) -> bool:
    """Whether a restart will be shown this event again."""
    return not isinstance(event, PASSING)


def share(part: float, whole: float) -> float:
    """part / whole; NaN where there is no whole."""
    return part / whole if whole > 0 else float("nan")


def worth(view: AccountView, carried: CarriedEvent) -> float:
    """What a unit of money of the session that wrote it down is in this one, whose capital may be another: by the wallets where a position
    was taken over, which leaves them as they are; NaN where either is unknown."""
    held = any(each.quantity != 0 for each in view.positions.values())
    return share(view.cash, carried.cash) if held else share(view.equity, carried.equity)


def higher(known: float, carried: float) -> float:
    """NaN where what is carried is."""
    return known if carried <= known else carried
