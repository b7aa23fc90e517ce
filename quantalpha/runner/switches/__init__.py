"""Kill switches: each stops everything, has the account flattened, and stays until a person resets it with a reason.

One switch is one small class; `Switches` shows them every event and reports the first that trips.
"""

from collections.abc import Callable, Mapping

from quantalpha import config, timeframe
from quantalpha.runner.events import ON_STOP, Event, SwitchEvent
from quantalpha.runner.switches.base import Switch, Trip
from quantalpha.runner.switches.line import ApiErrors, ClockSkew, Silence
from quantalpha.runner.switches.market import LiquidationNear, Volatility
from quantalpha.runner.switches.model import Expired, OutOfDistribution
from quantalpha.runner.switches.money import ConsecutiveLosses, DailyLoss, Drawdown
from quantalpha.runner.switches.state import Reconcile, Unprotected
from quantalpha.runner.views import AccountView

__all__ = [
    "ApiErrors", "ClockSkew", "ConsecutiveLosses", "DailyLoss", "Drawdown", "Expired", "LiquidationNear", "OutOfDistribution", "Reconcile",
    "Silence", "Switch", "Switches", "Trip", "Unprotected", "Volatility", "of", "outlasts",
]  # fmt: skip

DAILY_LOSS = "daily_loss"
MONEY = (DAILY_LOSS, "drawdown", "consecutive_losses")


class Switches:
    """All of them, by name. standing: the trip that stands, None while none does."""

    def __init__(self, make: Callable[[], Mapping[str, Switch]]):
        self._make = make
        self.standing: SwitchEvent | None = None
        self._begin({})

    def _begin(self, kept: Mapping[str, Switch]) -> None:
        self._switches = switches = {**self._make(), **kept}
        kinds = {kind for switch in switches.values() for kind in switch.heeds}
        self._heeding = {kind: [(name, each) for name, each in switches.items() if kind in each.heeds] for kind in kinds}
        self.heeds = frozenset({*kinds, SwitchEvent})

    def see(self, view: AccountView, event: Event) -> SwitchEvent | None:
        """To be called after every event and tick of the kinds that it `heeds`; the switch that trips, once. A reset begins them
        anew, but not what `outlasts` it."""
        if isinstance(event, SwitchEvent):
            self._heed(event)
        trips = ((name, switch.see(view, event)) for name, switch in self._heeding.get(type(event), ()))
        tripped = [(name, trip) for name, trip in trips if trip is not None]  # all of them see it
        if self.standing is not None or not tripped:
            return None
        name, trip = tripped[0]
        times = {"event_time": event.event_time or view.time, "recv_time": event.recv_time, "symbol": ""}
        self.standing = SwitchEvent(**times, name=name, phase="tripped", reason=trip.reason, values=trip.values)
        return self.standing

    def _heed(self, event: SwitchEvent) -> None:
        if event.phase == "tripped":
            self.standing = event if self.standing is None else self.standing
        if event.phase == "reset":
            self.standing = None
            self._begin({name: self._switches[name] for name in outlasts(event.name) if name in self._switches})

    def carry(self) -> dict[str, float]:
        """What the account's next session must know: day, base, peak and losses of a `CarriedEvent`."""
        return {key: value for name in MONEY for key, value in self._switches[name].carry().items()}


def outlasts(reset: str) -> tuple[str, ...]:
    """The switches that a reset of what this one latched does not begin anew. A person who resets has judged drawdown and losses in a row,
    but the loss of the day only where that is what had tripped; a graceful stop is no judgement."""
    if reset == ON_STOP:
        return MONEY
    return () if reset.endswith(DAILY_LOSS) else (DAILY_LOSS,)


def of(limits: config.Switches, mode: str, max_model_age: str | None, until: Mapping[str, int]) -> Switches:
    """Those of params.yaml's section switches. On paper nothing is told by a venue, so that the line to one and what rests there are not
    watched, and history may still be missing.

    max_model_age: as runner.max_model_age; until: of each bundle the open time (ms) of the last bar it may have learnt from.
    """
    venue = mode != "paper"

    def make() -> dict[str, Switch]:
        age = {} if max_model_age is None else {"expired": Expired(timeframe.milliseconds(max_model_age), until)}
        return _everywhere(limits, venue) | age | (_at_a_venue(limits) if venue else {})

    return Switches(make)


def _everywhere(limits: config.Switches, venue: bool) -> dict[str, Switch]:
    return {
        DAILY_LOSS: DailyLoss(limits.daily_loss),
        "drawdown": Drawdown(limits.drawdown),
        "consecutive_losses": ConsecutiveLosses(limits.consecutive_losses),
        "liquidation": LiquidationNear(limits.min_liquidation_distance),
        "volatility": Volatility(limits.volatility, limits.volatility_bars, venue),
        "out_of_distribution": OutOfDistribution(limits.out_of_distribution, venue),
    }


def _at_a_venue(limits: config.Switches) -> dict[str, Switch]:
    return {
        "api_errors": ApiErrors(limits.api_errors),
        "silence": Silence(limits.silence),
        "clock_skew": ClockSkew(limits.clock_skew),
        "reconcile": Reconcile(),
        "unprotected": Unprotected(limits.unprotected),
    }
