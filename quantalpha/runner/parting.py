"""What an account at a venue was worth when its session left it: later than its last bar's close, by funding and by what traded since."""

from collections.abc import Iterable

from quantalpha.runner.engine import Engine
from quantalpha.runner.events import EquityEvent
from quantalpha.runner.legs import together


def parting(engine: Engine, time: int, step: int) -> Iterable[EquityEvent]:
    """Of each symbol, at the venue's mark of `time` (ms, the venue's), which is its `price`; none where no bar has closed yet. They belong
    to the bar that is open then. step: ms of a bar."""
    if "Equity" not in engine.last:
        return
    view = together(engine.broker.account())
    for symbol in engine.symbols:
        held, bar = view.position(symbol), max(time - time % step, engine.closed(symbol) + step)
        times = {"event_time": time, "recv_time": engine.clock(), "symbol": symbol, "bar": bar}
        yield EquityEvent(**times, equity=view.equity, cash=view.cash, quantity=held.quantity, price=held.mark)
