"""What is written can be read back, and is whole or not there."""

import json

import pandas as pd
import pytest
from sample_result import COSTS, sample_bars, sample_result

from quantalpha import files
from quantalpha.backtest import report, simulate
from quantalpha.backtest.tearsheet import tearsheet
from quantalpha.errors import DataError
from quantalpha.perp import Account

NAMES = ["performance_metrics.json", "trades.csv", "equity_curve.png", "tearsheet.html"]


@pytest.fixture(scope="module")
def result():
    return sample_result(2000)


def test_files_read_back(result, tmp_path):
    paths = report.write(result, tmp_path / "new" / "folder", title="ours", baselines={"held": result.equity})
    assert [path.name for path in paths] == NAMES and sorted(path.name for path in paths[0].parent.iterdir()) == sorted(NAMES)
    assert json.loads(paths[0].read_text()) == pytest.approx(result.metrics(), rel=0)
    trades = pd.read_csv(paths[1], parse_dates=["entry_time", "exit_time"])
    for name in ("entry_time", "exit_time"):
        trades[name] = trades[name].dt.as_unit("ms")
    pd.testing.assert_frame_equal(trades, result.trades, rtol=1e-15)
    assert paths[2].read_bytes().startswith(b"\x89PNG")
    page = paths[3].read_text()
    assert "<h1>ours</h1>" in page and "Against its baselines" in page


def test_a_page_that_says_more_is_written_as_it_is(result, tmp_path):
    sheet = tearsheet(result, title="with its critic", findings=[])
    assert report.write(result, tmp_path, sheet=sheet)[3].read_text() == sheet.html


def test_undefined_metrics_are_null_and_old_files_are_replaced(result, tmp_path):
    report.write(result, tmp_path)
    bars = sample_bars(500)
    idle = simulate(bars, pd.Series(0.0, index=bars.index), account=Account(10_000.0), costs=COSTS)
    metrics, trades, *_ = report.write(idle, tmp_path)
    assert json.loads(metrics.read_text())["sharpe_ratio"] is None
    assert trades.read_text().count("\n") == 1


def test_a_failed_write_leaves_the_old_file(result, tmp_path, monkeypatch):
    before = report.write(result, tmp_path)[0].read_text()

    def fail(handle):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        report.write(result, tmp_path)
    assert (tmp_path / report.METRICS_FILE).read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)


def test_comparison_puts_candidates_before_baselines(result):
    baselines = pd.DataFrame([result.metrics(), result.metrics()], index=["buy_and_hold", "ma_cross"])
    table = report.comparison({"lightgbm": result.metrics()}, baselines)
    assert table.columns.tolist() == ["lightgbm", "buy_and_hold", "ma_cross"]
    assert table.loc["fees"].tolist() == [result.metrics()["fees"]] * 3
    with pytest.raises(DataError, match="baselines lack fees"):
        report.comparison({"lightgbm": result.metrics()}, baselines.drop(columns="fees"))
