"""Trades and metrics against their definitions."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from quantalpha.backtest import simulate
from quantalpha.perp import Account, Costs, Stops
from quantalpha.schema import from_epoch_ms

COSTS = Costs(maker=0.0002, taker=0.001, slippage=0.0, liquidation=0.0125)


def bars_of(rows, spacing_ms=3_600_000, **columns):
    index = from_epoch_ms(np.arange(len(rows)) * spacing_ms)
    return pd.DataFrame(rows, columns=["open", "high", "low", "close"], index=index, dtype=float).assign(volume=1.0, **columns)


def flat_bars(prices, **columns):
    return bars_of([[price] * 4 for price in prices], **columns)


def run(bars, targets, stops=None, leverage=2.0, costs=COSTS):
    target = pd.Series(targets, index=bars.index, dtype=float)
    return simulate(bars, target, account=Account(1000.0, leverage), costs=costs, stops=stops)


@pytest.fixture(scope="module")
def busy():
    """Scaling, flips, stops, funding and an open end."""
    rng = np.random.default_rng(4)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 3000)))
    open_ = np.append(100.0, close[:-1])
    bars = bars_of(np.column_stack([open_, np.maximum(open_, close) * 1.002, np.minimum(open_, close) * 0.998, close]))
    bars["funding_rate"] = np.where(np.arange(3000) % 8 == 0, rng.normal(0, 5e-4, 3000), 0.0)
    target = np.repeat(rng.choice([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0], 600), 5)
    target[-3:] = 1.0
    costs = Costs(maker=0.0002, taker=0.0005, slippage=0.0003, liquidation=0.0125)
    return run(bars, target, Stops(0.05, 0.08), costs=costs)


def test_a_round_trip_by_hand():
    """Long 10 at 100 from bar 1, sold at 120 in bar 3: fees 1 + 1.2, funding -10 * 110 * 0.001 = -1.1; pnl 200 - 2.2 - 1.1 = 196.7."""
    result = run(flat_bars([100, 100, 110, 120], funding_rate=[0, 0, 0.001, 0]), [1, 1, 0, 0])
    trade = result.trades.iloc[0]
    assert (trade["side"], trade["bars"], trade["exit_reason"]) == ("long", 2, "order")
    assert (trade["entry_time"], trade["exit_time"]) == (result.equity.index[1], result.equity.index[3])
    found = trade[["quantity", "entry_price", "exit_price", "fees", "funding", "pnl", "return"]].tolist()
    assert found == pytest.approx([10.0, 100.0, 120.0, 2.2, -1.1, 196.7, 0.1967])


def test_a_flip_ends_one_trade_and_begins_the_next_and_shares_the_fee():
    """10 bought at 100; equity 999 at 100: 9.99 short wanted, 19.99 sold at 110 (fee 2.1989, of which 1.1 closes); open at 105."""
    trades = run(flat_bars([100, 100, 110, 105]), [1, -1, -1, -1]).trades
    assert trades["side"].tolist() == ["long", "short"] and trades["exit_reason"].tolist() == ["order", "open"]
    assert trades["fees"].tolist() == pytest.approx([1.0 + 1.1, 1.0989])
    assert trades["pnl"].tolist() == pytest.approx([100.0 - 2.1, 9.99 * 5.0 - 1.0989])
    assert trades["quantity"].tolist() == pytest.approx([10.0, 9.99]) and trades["exit_price"].tolist() == pytest.approx([110.0, 105.0])
    assert trades["exit_time"].isna().tolist() == [False, True] and trades["bars"].tolist() == [1, 2]


def test_scaling_in_and_out_is_one_trade_with_average_prices():
    trades = run(flat_bars([100, 100, 120, 130, 140]), [1, 2, 1, 0, 0]).trades
    fills = run(flat_bars([100, 100, 120, 130, 140]), [1, 2, 1, 0, 0]).fills
    assert len(trades) == 1 and len(fills) == 4
    bought, sold = fills[fills["quantity"] > 0], fills[fills["quantity"] < 0]
    assert trades["entry_price"].item() == pytest.approx(np.average(bought["price"], weights=bought["quantity"]))
    assert trades["exit_price"].item() == pytest.approx(np.average(sold["price"], weights=sold["quantity"]))
    assert trades["quantity"].item() == pytest.approx(bought["quantity"].sum()) and trades["bars"].item() == 3


def test_a_stop_in_the_entry_bar_is_held_for_one_bar():
    trades = run(bars_of([[100] * 4, [100, 100, 90, 99], [99] * 4]), [1, 1, 1], Stops(0.05)).trades
    assert trades[["bars", "exit_reason"]].iloc[0].tolist() == [1, "stop_loss"]


def test_trades_account_for_every_cent(busy):
    assert busy.trades["pnl"].sum() == pytest.approx(busy.equity.iloc[-1] - 1000.0, rel=1e-9)
    assert busy.trades["fees"].sum() == pytest.approx(busy.fills["fee"].sum(), rel=1e-12)
    assert busy.trades["funding"].sum() == pytest.approx(busy.funding["amount"].sum(), rel=1e-12)
    assert set(busy.trades["exit_reason"]) == {"order", "stop_loss", "take_profit", "open"}
    assert busy.trades["entry_time"].is_monotonic_increasing and (busy.trades["bars"] > 0).all()


def test_funding_belongs_to_the_trade_that_paid_it(busy):
    for trade in busy.trades.itertuples():
        end = busy.equity.index[-1] if pd.isna(trade.exit_time) else trade.exit_time
        mine = busy.funding[(busy.funding["time"] > trade.entry_time) & (busy.funding["time"] <= end)]
        assert trade.funding == pytest.approx(mine["amount"].sum(), abs=1e-12)


def test_position_is_what_the_fills_left(busy):
    summed = busy.fills.groupby("time")["quantity"].sum().reindex(busy.equity.index, fill_value=0.0).cumsum()
    np.testing.assert_allclose(busy.position, summed, atol=1e-9)


def test_slippage_is_the_distance_to_the_quoted_price():
    """Bought 10 at 100 * 1.01, sold at 100 * 0.99: 10 each time."""
    costs = Costs(maker=0.0, taker=0.0, slippage=0.01, liquidation=0.0)
    assert run(flat_bars([100, 100, 100]), [1, 0, 0], costs=costs).fills["slippage"].tolist() == pytest.approx([10.0, 10.0])


def test_liquidations_are_the_forced_fills():
    result = run(bars_of([[100] * 4, [100, 100, 50, 60], [60] * 4]), [10, 10, 10], leverage=10.0)
    assert len(result.liquidations) == result.metrics()["liquidations"] == 1
    assert result.liquidations["time"].item() == result.equity.index[1]


def test_metrics_by_definition(busy):
    metrics, yearly = busy.metrics(), 365 * 24
    path = np.append(1000.0, busy.equity)
    change = path[1:] / path[:-1] - 1
    pnl = busy.trades["pnl"]
    expected = {
        "total_return": path[-1] / 1000.0 - 1,
        "cagr": (path[-1] / 1000.0) ** (yearly / 3000) - 1,
        "sharpe_ratio": change.mean() / change.std(ddof=1) * math.sqrt(yearly),
        "sortino_ratio": change.mean() / math.sqrt((np.minimum(change, 0) ** 2).mean()) * math.sqrt(yearly),
        "max_drawdown": (1 - path / np.maximum.accumulate(path)).max(),
        "profit_factor": pnl[pnl > 0].sum() / -pnl[pnl < 0].sum(),
        "win_rate": (pnl > 0).mean(),
        "n_trades": len(pnl),
        "turnover": (busy.fills["quantity"].abs() * busy.fills["price"]).sum() / busy.equity.mean() * yearly / 3000,
        "exposure": (busy.position != 0).mean(),
        "fees": busy.fills["fee"].sum(),
        "slippage": busy.fills["slippage"].sum(),
        "funding": busy.funding["amount"].sum(),
        "liquidations": 0.0,
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-9)
    assert all(type(value) is float for value in metrics.values()) and json.dumps(metrics)


def test_bars_per_year_follow_the_median_spacing_or_the_caller(busy):
    daily = run(bars_of([[100] * 4, [100, 102, 100, 101], [101, 103, 101, 102]], spacing_ms=86_400_000), [1, 1, 1])
    assert daily.metrics()["cagr"] == pytest.approx((daily.equity.iloc[-1] / 1000.0) ** (365 / 3) - 1)
    assert busy.metrics(periods_per_year=100.0)["sharpe_ratio"] == pytest.approx(busy.metrics()["sharpe_ratio"] / math.sqrt(87.6))


def test_ruin_ends_the_returns_quietly():
    bars = bars_of([[100] * 4, [100, 100, 99, 99], [50] * 4, [50] * 4])
    result = run(bars, [10, 10, 10, 10], leverage=10.0)
    assert result.equity.iloc[-1] == 0.0 and result.returns.tolist()[2:] == [-1.0, 0.0]
    assert result.metrics()["max_drawdown"] == 1.0 and result.metrics()["cagr"] == -1.0


def test_no_trades_leave_ratios_undefined():
    metrics = run(flat_bars([100, 100, 100]), [0, 0, 0]).metrics()
    assert metrics["n_trades"] == metrics["turnover"] == metrics["exposure"] == metrics["total_return"] == 0.0
    assert all(math.isnan(metrics[name]) for name in ("sharpe_ratio", "sortino_ratio", "profit_factor", "win_rate"))
