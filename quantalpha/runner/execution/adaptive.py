"""Goes with the market's volume, rests where there is time, waits while the spread is wide, and crosses when it is late."""

import math

from quantalpha.runner.execution.base import Execution, View
from quantalpha.runner.orders import VenueOrder


class Adaptive(Execution):
    """At most `participation` of what was traded since the start is out at any time, until the last `chase` seconds before the deadline.

    It rests at the touch, moved after it every `chase` seconds, and takes where it is more than one of `slices` behind an even pace.
    While the spread is wider than `max_spread` nothing is sent. In the last `chase` seconds all that is left crosses.
    Where nobody counts the volume, the pace is even. Schedule and catching up as in Almgren and Chriss 2001, "Optimal execution of
    portfolio transactions", for a trader who minds risk little: an even pace.
    """

    def due(self, view: View) -> float:
        if self._late(view):
            return 1.0
        even = self._elapsed(view)
        if math.isnan(view.traded):
            return min(even + 1.0 / self.settings.slices, 1.0)
        return min(self.settings.participation * view.traded / abs(self.order.quantity), 1.0)

    def style(self, view: View) -> str | None:
        if self._late(view):
            return "market"
        if not view.book.spread <= self.settings.max_spread:
            return None
        return "market" if self._behind(view) else "post_only"

    def outdated(self, child: VenueOrder, view: View) -> bool:
        if self._late(view) or not view.book.spread <= self.settings.max_spread:
            return True
        return self._rested(child, view) and (self._behind(view) or self._price(child.quantity, view.book) != child.instruction.price)

    def _elapsed(self, view: View) -> float:
        return (view.time - self.start) / (self.deadline - self.start)

    def _behind(self, view: View) -> bool:
        return abs(self.filled / self.order.quantity) < self._elapsed(view) - 1.0 / self.settings.slices

    def _late(self, view: View) -> bool:
        return view.time >= self.deadline - self._patience
