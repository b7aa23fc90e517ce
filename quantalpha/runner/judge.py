"""What a watchdog sees of an account, and when it has had enough."""

import math
from dataclasses import dataclass, replace

from quantalpha import config
from quantalpha.market.trading import AccountReport, OrderReport
from quantalpha.runner.events import AccountEvent, CarriedEvent
from quantalpha.runner.orders import DUST
from quantalpha.runner.switches import DailyLoss, Drawdown, LiquidationNear, Trip
from quantalpha.runner.views import AccountView, Position

BASIS = 0.01  # of the mark: how far the last price may be from it


@dataclass(frozen=True)
class Seen:
    """The account as the venue told it at `time` (ms, the venue's)."""

    time: int
    account: AccountReport
    orders: list[OrderReport]

    @property
    def view(self) -> AccountView:
        positions = {symbol: Position(**vars(each)) for symbol, each in self.account.positions.items()}
        return AccountView(self.account.equity, positions, time=self.time)

    @property
    def flat(self) -> bool:
        return not self.orders and all(position.quantity == 0 for position in self.account.positions.values())


@dataclass(frozen=True)
class Around:
    """What the watchdog sees beside the venue. heartbeat: seconds since the session's last one, None where no session is to beat; latched:
    whether the account is."""

    heartbeat: float | None
    latched: bool


class Judge:
    """When it is enough. Times are seconds of a clock that only goes forward.

    capital: what the session may lose from; shares lost are of it, however much more lies in the wallet, and of the wallet where that is
    less. Both are taken as they stand at the first look.
    """

    def __init__(self, limits: config.Switches, dead_man: float, now: float, capital: float = math.inf):
        self.limits, self.dead_man, self.capital = limits, dead_man, capital
        self._beside: float | None = None  # what of the first equity is not the session's
        money = [DailyLoss(limits.daily_loss), Drawdown(limits.drawdown), LiquidationNear(limits.min_liquidation_distance)]
        self._money = dict(zip(("daily_loss", "drawdown", "liquidation"), money))
        self._answered = now
        self._since: dict[str, float] = {}  # of what must not last: a symbol without its stop, a latch that is not obeyed

    def carry(self, seen: Seen, before: CarriedEvent) -> None:
        """What the account had lost before the first look, as a share of what it has then."""
        view = AccountView(self._equity(seen), time=seen.time)
        for switch in (self._money["daily_loss"], self._money["drawdown"]):
            switch.see(view, before)

    def see(self, now: float, around: Around, seen: Seen | None) -> tuple[str, Trip] | None:
        """(name, why) of the first that trips. seen: None where the venue gave no sound answer."""
        if seen is not None:
            self._answered = now
        answered = [] if seen is None else [*self._loss(seen), *self._lasting(now, around, seen)]
        return next(iter([*answered, *self._silence(now, around)]), None)

    def _loss(self, seen: Seen) -> list[tuple[str, Trip]]:
        told = AccountEvent(
            event_time=seen.time, recv_time=seen.time, symbol="", cash=seen.account.cash, equity=seen.account.equity, positions={}
        )
        view = replace(seen.view, equity=self._equity(seen))
        trips = {name: switch.see(view, told) for name, switch in self._money.items()}
        return [(name, trip) for name, trip in trips.items() if trip is not None]

    def _equity(self, seen: Seen) -> float:
        """The session's part of it."""
        if self._beside is None:
            self._beside = max(seen.account.equity - self.capital, 0.0) if self.capital < math.inf else 0.0
        return seen.account.equity - self._beside

    def _lasting(self, now: float, around: Around, seen: Seen) -> list[tuple[str, Trip]]:
        """What a session may leave so for a moment, and no longer."""
        bare = {symbol for symbol, position in seen.view.positions.items() if not protected(symbol, position, seen.orders)}
        obeyed = seen.flat or not around.latched
        wrong = bare | (set() if obeyed else {"latch"})
        self._since = {name: self._since.get(name, now) for name in wrong}
        for name, since in self._since.items():
            if not now - since <= self.limits.unprotected:
                reason = "latched, and not flat" if name == "latch" else f"{name}: no stop rests at the venue"
                values = {"seconds": now - since, "limit": self.limits.unprotected}
                return [("latched" if name == "latch" else "unprotected", Trip(reason, values))]
        return []

    def _silence(self, now: float, around: Around) -> list[tuple[str, Trip]]:
        trips, unanswered = [], now - self._answered
        if around.heartbeat is not None and not around.heartbeat <= self.dead_man:
            values = {"seconds": around.heartbeat, "limit": self.dead_man}
            trips.append(("heartbeat", Trip("the session no longer beats: it hangs, or has died", values)))
        if not unanswered <= self.limits.silence:
            values = {"seconds": unanswered, "limit": self.limits.silence}
            trips.append(("silence", Trip("no sound answer of the venue", values)))
        return trips


def protected(symbol: str, position: Position, orders: list[OrderReport]) -> bool:
    """Whether stops rest that close all of the position (one for 0 base units closes whatever is held): reduce-only, of the other side,
    triggered on the side where it loses. A little beyond the mark they still wait: they are triggered by the last price, which the mark
    follows and leads by turns."""
    side = math.copysign(1.0, position.quantity)
    stops = (each for each in orders if each.symbol == symbol and each.kind == "stop" and each.reduce_only and each.price is not None)
    beyond = BASIS * position.mark
    losing = (each for each in stops if side * (each.price - position.mark) <= beyond and side * math.copysign(1.0, each.quantity) < 0)
    closing = sum(abs(each.quantity - each.filled) if each.quantity else math.inf for each in losing)
    return position.quantity == 0 or closing >= abs(position.quantity) * (1.0 - DUST)
