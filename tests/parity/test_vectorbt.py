"""With funding, margin and leverage off, fills and equity are those of vectorbt's `Portfolio.from_orders`, which sizes the orders itself.

vectorbt gets the wanted share of the portfolio (TargetPercent) at each bar whose open trades, valued at the close before: its own way to
say "decided at the close, filled at the next open". It has no margin, so wants stay within 0.9 of the equity, where its cash suffices.
"""

import numpy as np
import pandas as pd
import pytest
from tapes import OHLCV, tape

from quantalpha.backtest import simulate
from quantalpha.perp import Account, Costs

CASH = 10_000.0
LEVELS = [0.0, 0.9, -0.9, 0.5, -0.5, 0.123]
COSTS = [Costs(maker=0.0, taker=taker, slippage=slippage, liquidation=0.0) for taker in (0.0, 0.0005) for slippage in (0.0, 0.0003)]
EXACTLY = {"rtol": 1e-9, "atol": 1e-9}
SETS = 25  # signal sets vectorbt takes at once


def signal_sets(rng, index, change):
    """Targets, one of LEVELS each, as columns; a new one is drawn at a share `change` of the bars."""
    drawn = rng.choice(LEVELS, (len(index), SETS))
    drawn[0] = 0.0
    held = np.maximum.accumulate(np.arange(len(index))[:, None] * (rng.random((len(index), SETS)) < change))
    return pd.DataFrame(np.take_along_axis(drawn, held, axis=0), index=index)


def from_orders(bars, targets, costs):
    """Orders (time, signed quantity, price, fee, by column) and values of all columns as vectorbt sees them."""
    import vectorbt

    naive = bars.set_axis(bars.index.tz_localize(None))
    wanted = targets.where(targets != targets.shift(fill_value=0.0)).shift().set_axis(naive.index)  # traded one bar after it changed
    portfolio = vectorbt.Portfolio.from_orders(
        naive["close"], wanted, size_type="targetpercent", direction="both", price=naive["open"], val_price=naive["close"].shift(),
        fees=costs.taker, slippage=costs.slippage, init_cash=CASH, freq="1h",
    )  # fmt: skip
    orders = portfolio.orders.records
    signed = orders["size"].where(orders["side"] == 0, -orders["size"])
    return orders.assign(quantity=signed, time=bars.index[orders["idx"]]), portfolio.value()


def compare(bars, targets, costs):
    """All columns; the number of fills."""
    orders, values = from_orders(bars, targets, costs)
    for column in targets:
        theirs = orders[orders["col"] == column]
        result = simulate(bars, targets[column], account=Account(CASH), costs=costs)
        assert set(result.fills["reason"]) == {"order"}
        assert result.fills["time"].tolist() == theirs["time"].tolist()
        for name, other in (("quantity", "quantity"), ("price", "price"), ("fee", "fees")):
            np.testing.assert_allclose(result.fills[name], theirs[other], **EXACTLY, err_msg=name)
        np.testing.assert_allclose(result.equity, values[column], **EXACTLY)
    return len(orders)


@pytest.mark.parametrize("seed", range(2))
def test_synthetic_bars(seed):
    rng = np.random.default_rng(seed)
    bars = tape(rng, 1500, 0.003)[OHLCV]
    for costs in COSTS[:: 1 + 2 * seed]:
        assert compare(bars, signal_sets(rng, bars.index, 0.1), costs) > 1500


@pytest.mark.real
@pytest.mark.parametrize("costs", COSTS, ids=str)
def test_real_bars(shared_data, costs):
    """Four times 25 signal sets on the hours of 2018 to 2024; a target stands for a day in the mean.

    Not 2017: in ETH's first weeks a short of 0.9 is liquidated, which vectorbt does not know.
    """
    symbol = "BTCUSDT" if costs.slippage else "ETHUSDT"
    bars = pd.read_parquet(shared_data / f"binance_spot_{symbol}_1h.parquet").set_index("timestamp").loc["2018":, OHLCV]
    assert compare(bars, signal_sets(np.random.default_rng(7), bars.index, 1 / 24), costs) > 25_000
