"""Rest at the touch, follow it, and cross or give up in the end."""

from quantalpha.runner.execution.base import Execution, View
from quantalpha.runner.orders import VenueOrder


class Limit(Execution):
    """Post-only at the best price of its own side, moved after it every `chase` seconds, `chases` times; then `fallback`.

    A post-only order that would have crossed is refused or expires; that counts as one of the chases.
    """

    def style(self, view: View) -> str | None:
        resting = sum(child.instruction.kind == "post_only" for child in self.children)
        if view.time < self._chased and resting <= self.settings.chases:
            return "post_only"
        return "market" if self.settings.fallback == "market" else None

    def outdated(self, child: VenueOrder, view: View) -> bool:
        if view.time >= self._chased:
            return True
        return self._rested(child, view) and view.book.sound and self._price(child.quantity, view.book) != child.instruction.price

    def over(self, view: View) -> bool:
        return view.time >= self.deadline or self.style(view) is None

    @property
    def _chased(self) -> int:
        """When the last chase is over, in time for what falls back."""
        return min(self.start + (self.settings.chases + 1) * self._patience, self.deadline - self._patience)
