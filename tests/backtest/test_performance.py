"""The numbers of a result against their definitions, and in an account where nothing happened."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from made_results import bars_of, busy, run, together

from quantalpha.backtest.performance import in_market, leverage, path_performance, performance, trade_metrics, trade_returns
from quantalpha.perp import Costs
from quantalpha.validation.distribution import shape, tail_risk
from quantalpha.validation.path import path_metrics

KEPT = [
    "total_return", "cagr", "sharpe_ratio", "sortino_ratio", "max_drawdown", "profit_factor", "win_rate", "n_trades", "turnover",
    "exposure", "fees", "slippage", "funding", "liquidations",
]  # fmt: skip


@pytest.fixture(scope="module")
def result():
    return busy()


def test_every_number_by_definition(result):
    found, yearly = performance(result), 365 * 24
    pnl = result.trades["pnl"].to_numpy()
    wins, losses = pnl[pnl > 0], pnl[pnl < 0]
    streak = max(len(run) for run in "".join("L" if value < 0 else "W" for value in pnl).split("W"))
    held = result.trades["bars"]
    expected = {
        **path_metrics(result.equity.to_numpy(), 1000.0, periods_per_year=yearly),
        **shape(result.returns)._asdict(),
        **tail_risk(result.returns)._asdict(),
        "n_trades": len(pnl),
        "win_rate": len(wins) / len(pnl),
        "profit_factor": wins.sum() / -losses.sum(),
        "payoff_ratio": wins.mean() / -losses.mean(),
        "expectancy": pnl.mean(),
        "expectancy_return": result.trades["return"].mean(),
        "best_trade": pnl.max(),
        "worst_trade": pnl.min(),
        "longest_losing_streak": streak,
        "mean_holding_bars": held.mean(),
        "median_holding_bars": held.median(),
        "turnover": (result.fills["quantity"].abs() * result.fills["price"]).sum() / result.equity.mean() * yearly / 3000,
        "exposure": (result.position != 0).mean(),
        "mean_leverage": ((result.position * result.marks).abs() / result.equity).mean(),
        "fees": result.fills["fee"].sum(),
        "slippage": result.fills["slippage"].sum(),
        "funding": result.funding["amount"].sum(),
        "liquidations": 0.0,
    }
    assert found == pytest.approx(expected, rel=1e-9) and list(found) == list(expected)
    assert all(type(value) is float for value in found.values()) and json.dumps(found)


def test_what_others_ask_for_by_name_is_there(result):
    assert set(KEPT) <= set(performance(result))
    assert result.metrics() == performance(result)


def test_the_equity_path_alone_gives_the_same_and_the_caller_may_set_the_year(result):
    assert path_performance(result).items() <= performance(result).items()
    by_hundred = performance(result, 100.0)
    assert by_hundred["sharpe_ratio"] == pytest.approx(performance(result)["sharpe_ratio"] / math.sqrt(87.6), rel=1e-12)
    assert by_hundred["turnover"] == pytest.approx(performance(result)["turnover"] / 87.6, rel=1e-12)


def test_holding_times_and_expectancy_by_hand():
    """Long 10 at 100 for two bars, sold at 110; then 10 short at 110 for one bar, bought at 100; free: 100 each."""
    free = Costs(0.0, 0.0, 0.0, 0.0)
    result = run(bars_of([100, 100, 105, 110, 110, 100, 100]), [1, 1, 0, -1, 0, 0, 0], costs=free)
    found = trade_metrics(result.trades)
    assert found["n_trades"] == 2.0 and found["win_rate"] == 1.0
    assert (found["mean_holding_bars"], found["median_holding_bars"]) == (1.5, 1.5)
    assert found["expectancy"] == pytest.approx(100.0) and found["expectancy_return"] == pytest.approx((0.1 + 100 / 1100) / 2)
    assert math.isnan(found["payoff_ratio"]) and found["longest_losing_streak"] == 0.0


def test_leverage_follows_the_price():
    """Long 20 on 1000 at 100: 2 at first; at 120 the notional is 2400 and the account 1400."""
    free = Costs(0.0, 0.0, 0.0, 0.0)
    result = run(bars_of([100, 100, 120, 120]), [2, 2, 2, 2], costs=free)
    assert leverage(result).tolist() == pytest.approx([0.0, 2.0, 2400 / 1400, 2400 / 1400])
    assert performance(result)["mean_leverage"] == pytest.approx((2.0 + 2 * 2400 / 1400) / 4)


def test_several_symbols_add_their_notionals():
    long, short = busy(seed=4), busy(seed=5)
    both = together(A=long, B=short)
    gross = (long.position * long.marks).abs() + (short.position * short.marks).abs()
    np.testing.assert_allclose(leverage(both), gross / (long.equity + short.equity), rtol=1e-12)
    assert (in_market(both) == ((long.position != 0) | (short.position != 0))).all()
    found = performance(both)
    assert found["n_trades"] == len(long.trades) + len(short.trades)
    assert found["fees"] == pytest.approx(long.fills["fee"].sum() + short.fills["fee"].sum())


def test_trades_one_after_the_other_lead_to_the_last_equity():
    for result in (busy(), together(A=busy(seed=4), B=busy(seed=5))):
        growth = np.cumprod(1 + trade_returns(result)) * result.account.initial_cash
        assert growth[-1] == pytest.approx(result.equity.iloc[-1]) and len(growth) == len(result.trades)
    first = busy().trades.iloc[0]
    assert trade_returns(busy())[0] == pytest.approx(first["pnl"] / 1000.0)
    ruined = run(bars_of([[100] * 4, [100, 100, 99, 99], 50, 50, 50]), [10, 10, 0, 1, 1], leverage=10.0)
    assert trade_returns(ruined).tolist() == [-1.0] and trade_returns(run(bars_of([100, 100]), 0.0)).size == 0


def test_a_bar_missing_for_one_symbol_has_no_notional_of_it():
    long, short = busy(seed=4), busy(seed=5)
    both = together(A=long, B=short)
    both.__dict__["marks"] = both.marks.where(np.arange(3000)[:, None] > [0, 5])
    assert np.isfinite(leverage(both)).all()


def test_nothing_traded_leaves_ratios_undefined():
    found = performance(run(bars_of([100, 100, 100]), 0.0))
    zero = ("n_trades", "turnover", "exposure", "mean_leverage", "total_return", "volatility", "max_drawdown", "longest_losing_streak")
    assert all(found[name] == 0.0 for name in zero)
    none = (
        "sharpe_ratio",
        "sortino_ratio",
        "calmar_ratio",
        "omega_ratio",
        "skewness",
        "tail_ratio",
        "profit_factor",
        "win_rate",
        "expectancy",
    )
    assert all(math.isnan(found[name]) for name in (*none, "best_trade", "mean_holding_bars"))


def test_ruin_is_no_error():
    result = run(bars_of([[100] * 4, [100, 100, 99, 99], [50] * 4, [50] * 4]), 10.0, leverage=10.0)
    found = performance(result)
    assert found["max_drawdown"] == 1.0 and found["liquidations"] == 1.0 and math.isfinite(found["mean_leverage"])
    assert pd.Series(found)[["total_return", "cagr"]].tolist() == [-1.0, -1.0]
