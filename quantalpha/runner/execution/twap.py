"""Equal slices at equal times: the mean price of the next minutes instead of this moment's."""

from quantalpha.runner.execution.base import Execution, View


class Twap(Execution):
    """`slices` market orders over `urgency` seconds, the first at once.

    Slice k brings what is out up to (k + 1) / slices of the order: what lots, a refusal or a silent venue left behind is caught up by the
    next slice, and the last one leaves nothing.
    """

    def due(self, view: View) -> float:
        elapsed = (view.time - self.start) / (self.deadline - self.start)
        return min(int(elapsed * self.settings.slices) + 1, self.settings.slices) / self.settings.slices

    def style(self, view: View) -> str:
        return "market"
