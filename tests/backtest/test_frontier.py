"""Costs, delays and sizes: each row is a plain simulation, dearer is worse, and the break-even point is one."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_results import COSTS, bars_of, tape

from quantalpha.backtest import simulate
from quantalpha.backtest.frontier import break_even, capacity, cost_frontier, half_sharpe_size
from quantalpha.errors import UsageError
from quantalpha.perp import Account, Costs
from quantalpha.perp.costs import Slippage

ACCOUNT = Account(1000.0, 2.0)


@pytest.fixture(scope="module")
def trend():
    """Bars with drifts that change sign every 20 bars, and the target that follows them: an edge that costs and delays eat."""
    sign = np.repeat(np.random.default_rng(1).choice([-1.0, 1.0], 100), 20)
    bars = tape(2000, drift=sign * 0.002)
    return bars, pd.Series(sign, index=bars.index)


def test_each_row_is_a_plain_simulation(trend):
    table = cost_frontier(*trend, account=ACCOUNT, costs=COSTS, fees=(0.0, 2.0), slippages=(1.0, 3.0), delays=(0, 4))
    assert list(table.columns[:3]) == ["fee_factor", "slippage_factor", "delay"] and len(table) == 8
    for row in table.itertuples():
        terms = Costs(
            maker=0.0002 * row.fee_factor, taker=0.0005 * row.fee_factor, slippage=0.0003 * row.slippage_factor,
            liquidation=0.0125, delay=row.delay,
        )  # fmt: skip
        metrics = simulate(*trend, account=ACCOUNT, costs=terms).metrics()
        for name in ("sharpe_ratio", "total_return", "cagr", "max_drawdown", "n_trades"):
            assert getattr(row, name) == pytest.approx(metrics[name], rel=1e-12)


def test_dearer_and_later_is_worse(trend):
    table = cost_frontier(*trend, account=ACCOUNT, costs=COSTS)
    for varied, others in (("fee_factor", ["slippage_factor", "delay"]), ("slippage_factor", ["fee_factor", "delay"])):
        for _, rows in table.sort_values(varied).groupby(others):
            assert (rows["total_return"].diff().dropna() < 0).all() and (rows["sharpe_ratio"].diff().dropna() < 0).all()
    by_delay = cost_frontier(*trend, account=ACCOUNT, costs=COSTS, fees=[1.0], slippages=[1.0], delays=(0, 5, 10))["total_return"]
    assert (by_delay.diff().dropna() < 0).all()


def test_the_break_even_factor_breaks_even(trend):
    costs = replace(COSTS, liquidation=0.0)
    factor = break_even(*trend, account=ACCOUNT, costs=costs)
    assert factor > 1.0
    around = [simulate(*trend, account=ACCOUNT, costs=costs.stressed(factor * nudge)).metrics()["total_return"] for nudge in (0.998, 1.002)]
    assert around[0] > 0.0 > around[1]
    assert break_even(*trend, account=ACCOUNT, costs=costs.stressed(2.0)) == pytest.approx(factor / 2.0, rel=2e-3)
    assert break_even(*trend, account=ACCOUNT, costs=COSTS) == pytest.approx(factor, rel=2e-3)  # the fee of a forced close is not stressed


def test_the_break_even_factor_by_hand():
    """10 bought at 100, sold at 102, fee f each way: 20 = f * 10 * (100 + 102), f = 20 / 2020."""
    bars = bars_of([100, 100, 102, 102])
    costs = Costs(maker=0.0, taker=0.002, slippage=0.0, liquidation=0.0)
    target = pd.Series([1.0, 0.0, 0.0, 0.0], index=bars.index)
    assert break_even(bars, target, account=ACCOUNT, costs=costs) == pytest.approx(20 / 2020 / 0.002, rel=1e-3)


def test_where_nothing_breaks_even_there_is_no_factor(trend):
    bars, target = trend
    assert math.isnan(break_even(bars, -target, account=ACCOUNT, costs=COSTS))  # loses for free
    assert math.isnan(break_even(bars, target, account=ACCOUNT, costs=Costs(0.0, 0.0, 0.0, 0.0)))  # nothing to stress
    assert math.isnan(break_even(bars, target * 0.0, account=ACCOUNT, costs=COSTS))  # nothing traded, nothing gained


def test_capacity_falls_with_the_size_where_impact_is_charged(trend):
    model = replace(COSTS, slippage=Slippage(half_spread=0.0001, impact=1.0))
    sizes = (1e3, 1e5, 1e6, 1e7, 1e8)
    curve = capacity(*trend, account=ACCOUNT, costs=model, sizes=sizes)
    assert tuple(curve["size"]) == sizes
    assert (curve["slippage_basis_points"].diff().dropna() > 0).all() and (curve["sharpe_ratio"].diff().dropna() < 0).all()
    half = half_sharpe_size(curve)
    assert curve["size"].min() < half < curve["size"].max()
    at_half = capacity(*trend, account=ACCOUNT, costs=model, sizes=[half])["sharpe_ratio"].item()
    assert at_half == pytest.approx(curve["sharpe_ratio"].iloc[0] / 2, rel=0.35)  # between two sizes it is a straight line's guess
    flat = capacity(*trend, account=ACCOUNT, costs=COSTS, sizes=sizes)
    np.testing.assert_allclose(flat["sharpe_ratio"], flat["sharpe_ratio"].iloc[0], rtol=1e-6)
    np.testing.assert_allclose(flat["slippage_basis_points"], 3.0, rtol=1e-3)
    assert math.isnan(half_sharpe_size(flat))


def test_half_sharpe_size_by_hand():
    """From 2.0 at 1e4 to 1.5 at 1e5 and 0.5 at 1e6: 1.0 is half-way between the last two in the logarithm."""
    curve = pd.DataFrame({"size": [1e6, 1e4, 1e5], "sharpe_ratio": [0.5, 2.0, 1.5]})
    assert half_sharpe_size(curve) == pytest.approx(10**5.5)
    assert math.isnan(half_sharpe_size(curve.assign(sharpe_ratio=[1.5, 2.0, 1.5])))
    assert math.isnan(half_sharpe_size(curve.assign(sharpe_ratio=[-2.0, -1.0, -1.5])))


def test_fees_and_slippage_are_stressed_apart(trend):
    """Neither factor may push the other cost out of what Costs allows."""
    dear = {"account": ACCOUNT, "costs": Costs(0.0, 0.04, 0.04, 0.0), "delays": (0,)}
    assert len(cost_frontier(*trend, **dear, fees=(0.0, 2.0), slippages=(1.0,))) == 2
    assert len(cost_frontier(*trend, **dear, fees=(1.0,), slippages=(0.0, 2.0))) == 2


def test_unfit_grids_are_refused(trend):
    for grid in ({"fees": []}, {"slippages": (1.0, 1.0)}, {"fees": (-1.0,)}):
        with pytest.raises(UsageError):
            cost_frontier(*trend, account=ACCOUNT, costs=COSTS, **grid)
    with pytest.raises(UsageError, match="sizes"):
        capacity(*trend, account=ACCOUNT, costs=COSTS, sizes=[])
