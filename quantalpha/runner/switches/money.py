"""Kill switches on money lost: of a day, from the highest equity, in a row. Open losses and funding count: they are in the equity.

They are the account's, not the session's: what earlier sessions lost is carried into the next one as a share of its money (`CarriedEvent`).
`carry` says what the next one must know.
"""

import math
from collections.abc import Mapping

from quantalpha.runner.events import CarriedEvent, Event, FillEvent, FundingEvent, SessionEvent
from quantalpha.runner.switches.base import DAY, MONEY, Trip, higher, recorded, share, worth
from quantalpha.runner.views import AccountView, Position

DUST = 1e-9  # of a fill: what is left of a position by floating-point sums


class DailyLoss:
    """Loss since 00:00 UTC as a fraction of the equity then: the last one known, of a session that starts later the one it
    starts with. The day is the venue's, by view.time."""

    heeds = MONEY

    def __init__(self, limit: float):
        self.limit = limit
        self._day, self._base, self._last = -1, math.nan, math.nan

    def see(self, view: AccountView, event: Event) -> Trip | None:
        if recorded(event):
            self._note(view.equity, view.time)
        if isinstance(event, CarriedEvent) and event.day >= self._day:
            self._base = higher(self._base, event.base * worth(view, event))
        loss = 1 - share(view.equity, self._base)
        if -math.inf < loss <= self.limit:
            return None
        return Trip("equity lost since 00:00 UTC", {"loss": loss, "limit": self.limit, "equity": view.equity, "base": self._base})

    def carry(self) -> dict[str, float]:
        return {"day": self._day, "base": self._base}

    def _note(self, equity: float, time: int) -> None:
        if time // DAY > self._day:
            self._base = equity if self._day < 0 or time % DAY == 0 else self._last
            self._day = time // DAY
        self._last = equity


class Drawdown:
    """Loss from the highest equity, as a fraction of it."""

    heeds = MONEY

    def __init__(self, limit: float):
        self.limit = limit
        self._peak = 0.0

    def see(self, view: AccountView, event: Event) -> Trip | None:
        if recorded(event):
            self._peak = max(self._peak, view.equity)  # keeps the peak where the equity is NaN
        if isinstance(event, CarriedEvent) and event.peak != 0.0:  # a reset has forgiven it, whatever was left then
            self._peak = higher(self._peak, event.peak * worth(view, event))
        drawdown = 1 - share(view.equity, self._peak)
        if -math.inf < drawdown <= self.limit:
            return None
        return Trip("equity lost from its highest", {"drawdown": drawdown, "limit": self.limit, "equity": view.equity, "peak": self._peak})

    def carry(self) -> dict[str, float]:
        return {"peak": self._peak}


class ConsecutiveLosses:
    """So many trades in a row that lost, all symbols together. A trade goes from flat to flat or to the other side; its result is what its
    fills realised, less fees, and its funding."""

    heeds = (SessionEvent, CarriedEvent, FillEvent, FundingEvent)

    def __init__(self, limit: int):
        self.limit = limit
        self._trades: dict[str, _Trade] = {}
        self._losses = 0

    def see(self, view: AccountView, event: Event) -> Trip | None:
        if isinstance(event, SessionEvent):
            self._begin(view.positions)
            return None
        result = 0.0 if isinstance(event, CarriedEvent) else self._trade(event.symbol).take(event)
        if result is None:
            return None
        self._losses = self._counted(event, result)
        if self._losses < self.limit and math.isfinite(result):
            return None
        return Trip("trades lost in a row", {"losses": float(self._losses), "limit": float(self.limit), "result": result})

    def carry(self) -> dict[str, float]:
        return {"losses": self._losses}

    def _counted(self, event: Event, result: float) -> int:
        if isinstance(event, CarriedEvent):
            return max(self._losses, event.losses)
        return 0 if result >= 0 else self._losses + 1

    def _begin(self, positions: Mapping[str, Position]) -> None:
        """What a session finds in its account and has no fills of."""
        for symbol, position in positions.items():
            if self._trade(symbol).quantity == 0:
                self._trade(symbol).quantity = position.quantity

    def _trade(self, symbol: str) -> "_Trade":
        return self._trades.setdefault(symbol, _Trade())


class _Trade:
    """The open trade of a symbol: signed quantity held, net result so far in quote currency."""

    def __init__(self):
        self.quantity, self.net = 0.0, 0.0

    def take(self, event: FillEvent | FundingEvent) -> float | None:
        """The result of the trade that this ends, NaN where it cannot be told any more; None where it ends none."""
        result = self._fill(event) if isinstance(event, FillEvent) else None
        if isinstance(event, FundingEvent):
            self.net += event.amount
        return result if math.isfinite(self.net + self.quantity + event.quantity) else math.nan

    def _fill(self, event: FillEvent) -> float | None:
        before, self.quantity = self.quantity, self.quantity + event.quantity
        if abs(self.quantity) <= DUST * abs(event.quantity):
            self.quantity = 0.0
        if self.quantity * before > 0 or before == 0:
            self.net += event.realised - event.fee
            return None
        closing = min(1.0, abs(before / event.quantity))  # of its fee; the rest opens the other side
        result = self.net + event.realised - event.fee * closing
        self.net = -event.fee * (1 - closing) if self.quantity != 0 else 0.0
        return result
