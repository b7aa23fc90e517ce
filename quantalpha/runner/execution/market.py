"""Everything at once, at whatever the book asks, as long as that is within `max_slippage`."""

from quantalpha.runner.execution.base import Execution, View


class Market(Execution):
    """A part that the book cannot take within `max_slippage` waits for it to fill up again, until `urgency` is over."""

    def style(self, view: View) -> str:
        return "market"
