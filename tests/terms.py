"""What hypothesis draws accounts, costs and stops from: few values each, so that they meet often."""

import pandas as pd
from hypothesis import strategies as st

from quantalpha.perp import Costs, Slippage, Stops

fixed_slippage = st.sampled_from([0.0, 0.0003, 0.01])
slippages = fixed_slippage | st.just(Slippage(0.0002, 0.5, 500.0, window=20))
delays = st.sampled_from([0, 0, 1, 3])
stops = st.builds(
    Stops,
    stop_loss=st.sampled_from([None, 0.01, 0.05, 0.2]),
    take_profit=st.sampled_from([None, 0.015, 0.05, 0.3]),
    trailing_stop=st.sampled_from([None, 0.01, 0.05, 0.1]),
    max_bars=st.sampled_from([None, None, 1, 5]),
)
DATED = (
    (pd.Timestamp("1969-01-01", tz="UTC"), ((0.0, 0.02),)),
    (pd.Timestamp("1970-01-03", tz="UTC"), ((0.0, 0.004), (30_000.0, 0.05))),
)
rules = {
    "margin_mode": st.sampled_from(["cross", "isolated"]),
    "lot": st.sampled_from([0.0, 0.001, 0.25, 1.0]),
    "min_notional": st.sampled_from([0.0, 0.0, 2000.0]),
    "tick": st.sampled_from([0.0, 0.25, 0.3]),
    "rebalance_band": st.sampled_from([None, None, 0.05, 0.3]),
    "limit_bars": st.sampled_from([None, 1, 3]),
    "brackets": st.sampled_from([None, ((0.0, 0.004), (50_000.0, 0.01)), DATED]),
}


def costs_with(slippage):
    """Costs whose slippage comes from the given strategy."""
    return st.builds(
        Costs,
        maker=st.sampled_from([-0.0001, 0.0002]),
        taker=st.just(0.0005),
        slippage=slippage,
        liquidation=st.sampled_from([0.0, 0.0125]),
        delay=delays,
    )


costs = costs_with(slippages)
