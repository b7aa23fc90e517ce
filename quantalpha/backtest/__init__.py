"""Target paths against recorded markets, under the one clock of `quantalpha.perp`.

`walk_forward`, `baselines` and `importance` (which features forecasts rest on) bring the labels' compiled code along, so they are
imported by their own names.
"""

from quantalpha.backtest.result import Result
from quantalpha.backtest.simulate import simulate
from quantalpha.backtest.sweep import sweep

__all__ = ["Result", "simulate", "sweep"]
