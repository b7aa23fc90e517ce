"""What is written can be read back, and months compound to the whole."""

import json

import numpy as np
import pandas as pd
import pytest

from quantalpha.backtest import report, simulate
from quantalpha.errors import DataError
from quantalpha.perp import Account, Costs
from quantalpha.schema import from_epoch_ms

COSTS = Costs(maker=0.0002, taker=0.0005, slippage=0.0001, liquidation=0.0125)


@pytest.fixture(scope="module")
def bars():
    rng = np.random.default_rng(2)
    n = 500
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, n)))
    frame = {"open": np.append(100.0, close[:-1]), "close": close, "volume": 1.0}
    index = from_epoch_ms(pd.Timestamp("2022-11-20").value // 10**6 + np.arange(n) * 86_400_000)
    bars = pd.DataFrame(frame, index=index)
    return bars.assign(high=bars[["open", "close"]].max(axis=1), low=bars[["open", "close"]].min(axis=1))


@pytest.fixture(scope="module")
def result(bars):
    target = pd.Series(np.repeat([1.0, -1.0, 0.0, 1.0, -0.5], 100), index=bars.index)
    return simulate(bars, target, account=Account(10_000.0), costs=COSTS)


def test_files_read_back(result, tmp_path):
    paths = report.write(result, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["performance_metrics.json", "trades.csv"]
    assert sorted(path.name for path in paths[0].parent.iterdir()) == sorted(path.name for path in paths)
    assert json.loads(paths[0].read_text()) == pytest.approx(result.metrics(), rel=0)
    trades = pd.read_csv(paths[1], parse_dates=["entry_time", "exit_time"])
    for name in ("entry_time", "exit_time"):
        trades[name] = trades[name].dt.as_unit("ms")
    pd.testing.assert_frame_equal(trades, result.trades, rtol=1e-15)


def test_undefined_metrics_are_null_and_old_files_are_replaced(bars, result, tmp_path):
    report.write(result, tmp_path)
    idle = simulate(bars, pd.Series(0.0, index=bars.index), account=Account(10_000.0), costs=COSTS)
    metrics, trades = report.write(idle, tmp_path)
    assert json.loads(metrics.read_text())["sharpe_ratio"] is None
    assert trades.read_text().count("\n") == 1


def test_a_failed_write_leaves_the_old_file(result, tmp_path, monkeypatch):
    before = report.write(result, tmp_path)[0].read_text()

    def fail(handle):
        raise OSError("disk full")

    monkeypatch.setattr(report.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        report.write(result, tmp_path)
    assert (tmp_path / report.METRICS_FILE).read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [report.METRICS_FILE, report.TRADES_FILE]


def test_months_compound_to_years_and_to_the_whole(result):
    table = report.monthly_returns(result.returns)
    assert table.index.tolist() == [2022, 2023, 2024] and table.columns.tolist() == [*range(1, 13), "year"]
    assert table.loc[2022, list(range(1, 11))].isna().all() and table.loc[2022, [11, 12]].notna().all()
    np.testing.assert_allclose((1 + table[list(range(1, 13))]).prod(axis=1), 1 + table["year"])
    assert (1 + table["year"]).prod() * 10_000.0 == pytest.approx(result.equity.iloc[-1])


def test_comparison_puts_candidates_before_baselines(result):
    baselines = pd.DataFrame([result.metrics(), result.metrics()], index=["buy_and_hold", "ma_cross"])
    table = report.comparison({"lightgbm": result.metrics()}, baselines)
    assert table.columns.tolist() == ["lightgbm", "buy_and_hold", "ma_cross"]
    assert table.loc["fees"].tolist() == [result.metrics()["fees"]] * 3
    with pytest.raises(DataError, match="baselines lack fees"):
        report.comparison({"lightgbm": result.metrics()}, baselines.drop(columns="fees"))
