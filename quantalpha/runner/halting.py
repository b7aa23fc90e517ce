"""When a session gives up, and what it then says of an account that nobody has seen flat."""

import time
from collections.abc import Sequence

from quantalpha.errors import Halted, QuantalphaError
from quantalpha.runner.events import Event, SwitchEvent
from quantalpha.runner.session import Session
from quantalpha.runner.venue import Side

UNHEARD = 120.0  # seconds without the venue's word on the account, after which a tripped session leaves the rest to its watchdog


class Halting:
    """Of one session. sides: its accounts; none on paper."""

    def __init__(self, session: Session, sides: Sequence[Side]):
        self.session, self.sides = session, sides

    def ask(self, event: Event) -> None:
        """An observer: what the venue told before a switch tripped is no proof of a flat account."""
        if isinstance(event, SwitchEvent) and event.phase == "tripped":
            for side in self.sides:
                side.line.ask()

    def require_news(self, closed: float) -> None:
        """Halted where the market (closed: its last bar, monotonic seconds) or, once a switch has tripped, the account is silent."""
        patience = self.session.params.runner.stale_after * self.session.step / 1000
        if time.monotonic() - closed > patience:
            raise Halted(f"runner: no news for {patience:g} s (runner.stale_after); the position stays; check the venue, then run again")
        if self._tripped() and self._unheard() > UNHEARD:
            raise Halted(f"no word on the account for {UNHEARD:g} s")

    def told(self, error: QuantalphaError) -> QuantalphaError:
        """What ended the session; where a switch has tripped and the account was not seen flat, that above all."""
        if not self._tripped():
            return error
        held, orders = self._held(), self._orders()
        table = "; ".join(f"{name} {quantity:+g}" for name, quantity in held.items()) or "no position"
        watched = "its watchdog goes on" if self.session.params.runner.watchdog else "nobody goes on"
        found = Halted(
            f"runner: halted by {self.session.engine.halted.name}, NOT verified flat: {error}; believed held: {table}; "
            f"orders not known to be gone: {len(orders)}; {watched}; look at the venue, then `quantalpha kill`"
        )
        found.details = {"flat": False, "held": held, "orders": orders}
        return found

    def _tripped(self) -> bool:
        halted = self.session.engine.halted if self.sides else None
        return halted is not None and halted.phase == "tripped"

    def _unheard(self) -> float:
        """Seconds since the venue that is silent the longest told its account, or since the switch tripped."""
        told = [0 if side.broker.told is None else side.broker.told.recv_time for side in self.sides]
        return (self.session.clock() - max(self.session.engine.halted.recv_time, min(told))) / 1000

    def _held(self) -> dict[str, float]:
        return {name: held.quantity for name, held in self.session.engine.broker.account().positions.items() if held.quantity != 0}

    def _orders(self) -> list[str]:
        return [order.client_id for side in self.sides for order in side.broker.orders.unfinished()]
