"""Kill switches on the model: shown what it has never seen, or too old to be believed."""

import math
from collections.abc import Mapping

from quantalpha.runner.events import Event, SignalEvent
from quantalpha.runner.switches.base import DAY, Trip
from quantalpha.runner.views import AccountView


class OutOfDistribution:
    """Share of a decision's features beyond the range the model was trained on. required: a decision made on nothing trips too (a venue);
    on paper the first ones have too few bars behind them."""

    heeds = (SignalEvent,)

    def __init__(self, limit: float, required: bool):
        self.limit, self.required = limit, required

    def see(self, view: AccountView, event: Event) -> Trip | None:
        if event.novelty <= self.limit or not (event.features or self.required):
            return None
        return Trip(f"{event.symbol}: features beyond what the model was trained on", {"novelty": event.novelty, "limit": self.limit})


class Expired:
    """Time since the last bar a model may have learnt from. until: ms since 1970 UTC, by bundle; max_age: ms."""

    heeds = (SignalEvent,)

    def __init__(self, max_age: int, until: Mapping[str, int]):
        self.max_age, self.until = max_age, dict(until)

    def see(self, view: AccountView, event: Event) -> Trip | None:
        age = event.event_time - self.until.get(event.strategy, math.nan)
        if age <= self.max_age:
            return None
        return Trip(f"{event.symbol}: the model is too old", {"days": age / DAY, "limit": self.max_age / DAY})
