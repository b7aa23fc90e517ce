"""The same money in vectorbt and quantstats, and where their words mean something else."""

import numpy as np
import pandas as pd
import pytest
from sample_result import COSTS, sample_bars, sample_result, two_symbols

from quantalpha.backtest import Result, simulate
from quantalpha.backtest.vector import quantstats_metrics, quantstats_returns, to_vectorbt
from quantalpha.errors import DataError
from quantalpha.perp import Account, Stops

RESULTS = {
    "stops and funding": lambda: sample_result(2000, Stops(0.04, 0.06)),
    "liquidated": lambda: sample_result(2000),
    "two symbols": lambda: two_symbols(2000),
}


@pytest.fixture(scope="module", params=RESULTS)
def result(request) -> Result:
    return RESULTS[request.param]()


@pytest.fixture(scope="module")
def portfolio(result):
    return to_vectorbt(result)


def test_the_equity_is_the_same_at_every_bar(result, portfolio):
    value = portfolio.value()
    np.testing.assert_allclose(value, result.equity, rtol=1e-9)
    assert value.index.tz is None and (value.index.tz_localize("UTC") == result.index).all()


def test_ratios_of_the_path_agree(result, portfolio):
    """Both annualise with 365 days, take the first return on the initial cash and the sample standard deviation."""
    metrics = result.metrics()
    assert portfolio.total_return() == pytest.approx(metrics["total_return"], rel=1e-9)
    assert portfolio.annualized_return() == pytest.approx(metrics["cagr"], rel=1e-9)
    assert portfolio.annualized_volatility() == pytest.approx(metrics["volatility"], rel=1e-9)
    assert portfolio.max_drawdown() == pytest.approx(-metrics["max_drawdown"], rel=1e-9)
    for name in ("sharpe_ratio", "sortino_ratio", "calmar_ratio", "omega_ratio"):
        assert getattr(portfolio, name)() == pytest.approx(metrics[name], rel=1e-9), name


def test_trades_are_the_round_trips_but_for_funding(result, portfolio):
    """vectorbt's profit of a trade is before funding, which stands in a column of its own."""
    trades = portfolio.trades.records
    real = trades[trades["col"] < portfolio.wrapper.shape_2d[1] - 1]
    symbols = result.trades.get("symbol", pd.Series("one", index=result.trades.index))
    ours = result.trades.assign(symbol=symbols).sort_values(["symbol", "entry_time"], kind="stable")
    assert len(real) == len(ours)
    np.testing.assert_allclose(real["pnl"], ours["pnl"] - ours["funding"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(real["entry_price"], ours["entry_price"], rtol=1e-9)
    funding = trades[trades["col"] == portfolio.wrapper.shape_2d[1] - 1]
    assert funding["pnl"].item() == pytest.approx(result.funding["amount"].sum(), rel=1e-6)


def test_orders_of_one_bar_all_arrive():
    """Bought at the open and stopped in the same bar: two orders, which `from_orders` could not say."""
    bars = sample_bars(30).drop(columns=["mark", "funding_rate"])
    bars.loc[bars.index[1], "low"] = bars["open"].iloc[1] * 0.9
    result = simulate(bars, pd.Series(1.0, index=bars.index), account=Account(1000.0), costs=COSTS, stops=Stops(0.05))
    assert result.fills["time"].tolist()[:2] == [bars.index[1]] * 2
    orders = to_vectorbt(result).orders.records
    assert orders["idx"].tolist() == [1, 1]
    assert orders["fees"].sum() == pytest.approx(result.fills["fee"].sum(), rel=1e-12)


def test_a_symbol_named_like_the_funding_column_is_refused():
    bars = sample_bars(30)
    table = {"funding": bars, "other": bars}
    targets = pd.DataFrame(0.5, index=bars.index, columns=list(table))
    with pytest.raises(DataError, match="symbol cannot be called 'funding'"):
        to_vectorbt(simulate(bars=table, target=targets, account=Account(1000.0), costs=COSTS))


def test_daily_returns_compound_to_the_whole(result):
    daily = quantstats_returns(result)
    assert daily.index.tz is None and daily.index.is_unique and (daily.index == daily.index.normalize()).all()
    assert (1.0 + daily).prod() - 1.0 == pytest.approx(result.metrics()["total_return"], rel=1e-9)


def test_quantstats_agrees_where_it_means_the_same(result):
    """Its ratios are of days, ours of bars: on our daily returns with 365 days they must be the same."""
    from quantstats import stats

    from quantalpha.validation import metrics

    daily = quantstats_returns(result)
    path = np.append(1.0, (1.0 + daily).cumprod())
    assert stats.sharpe(daily, periods=365) == pytest.approx(metrics.sharpe_ratio(daily, periods_per_year=365), rel=1e-9)
    assert stats.sortino(daily, periods=365) == pytest.approx(metrics.sortino_ratio(daily, periods_per_year=365), rel=1e-9)
    assert stats.volatility(daily, periods=365) == pytest.approx(metrics.annual_volatility(daily, periods_per_year=365), rel=1e-9)
    assert stats.max_drawdown(daily) == pytest.approx(-metrics.max_drawdown(path), rel=1e-9)
    assert stats.comp(daily) == pytest.approx(result.metrics()["total_return"], rel=1e-9)


def test_quantstats_table_counts_365_days(result):
    table = quantstats_metrics(result).iloc[:, 0]
    from quantstats import stats

    assert table["Sharpe"] == round(stats.sharpe(quantstats_returns(result), periods=365), 2)
    assert table["Cumulative Return"] == round(result.metrics()["total_return"], 2)
