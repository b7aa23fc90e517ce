"""Kill switches on the line to the venue: requests that fail, a market or a venue that falls silent, a clock that is wrong."""

from quantalpha.runner.events import Event, HealthEvent, SessionEvent, TickEvent
from quantalpha.runner.legs import place_of
from quantalpha.runner.switches.base import SECOND, Trip, recorded
from quantalpha.runner.views import AccountView


class ApiErrors:
    """Share of the last requests that got no sound answer."""

    heeds = (HealthEvent,)

    def __init__(self, limit: float):
        self.limit = limit

    def see(self, view: AccountView, event: Event) -> Trip | None:
        if event.api_errors <= self.limit:
            return None
        return Trip("requests without a sound answer", {"api_errors": event.api_errors, "limit": self.limit})


class ClockSkew:
    """Seconds our clock is ahead of the venue's, or behind."""

    heeds = (HealthEvent,)

    def __init__(self, limit: float):
        self.limit = limit

    def see(self, view: AccountView, event: Event) -> Trip | None:
        if abs(event.clock_skew) <= self.limit:
            return None
        return Trip("the clock differs from the venue's", {"clock_skew": event.clock_skew, "limit": self.limit})


class Silence:
    """Seconds without a word of the market, without a connection, or without anybody who looks after it; of two venues each counts."""

    heeds = (SessionEvent, HealthEvent, TickEvent)

    def __init__(self, limit: float):
        self.limit = limit
        self._sound: dict[str, int] = {}  # by place (see `legs`): when its line was last known to be well, ms of our clock

    def see(self, view: AccountView, event: Event) -> Trip | None:
        health = event if isinstance(event, HealthEvent) else None
        well = health is not None and health.connected and health.silence <= self.limit
        if recorded(event):
            begun = isinstance(event, SessionEvent) or not self._sound
            places = {"", *map(place_of, view.positions)} if begun else {event.symbol} if well else ()
            self._sound |= dict.fromkeys(places, event.recv_time)
        waited = max(((event.recv_time - sound) / SECOND for sound in self._sound.values()), default=0.0)
        told = 0.0 if health is None else health.silence
        if waited <= self.limit and told <= self.limit:
            return None
        return Trip("no word of the venue", {"silence": told, "waited": waited, "limit": self.limit})
