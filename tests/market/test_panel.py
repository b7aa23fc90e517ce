"""A long table of many symbols: what is read, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import DataError, UsageError
from quantalpha.market.panel import read_panel


def bars(symbol, first, n):
    index = pd.date_range(first, periods=n, freq="h", tz="UTC").as_unit("ms")
    close = np.arange(n) + 10.0
    return pd.DataFrame(
        {"symbol": symbol, "timestamp": index, "open": close, "high": close, "low": close, "close": close, "volume": 1.0, "extra": 0.0}
    )


@pytest.fixture
def write(tmp_path):
    def write(*tables):
        path = tmp_path / "panel.parquet"
        pd.concat(tables).to_parquet(path)
        return path

    return write


def test_each_symbol_has_its_own_bars_in_order_of_time(write):
    panel = read_panel(write(bars("BUSDT", "2024-01-02", 3), bars("AUSDT", "2024-01-01", 5).iloc[::-1]))
    assert list(panel) == ["AUSDT", "BUSDT"] and [len(table) for table in panel.values()] == [5, 3]
    assert panel["AUSDT"]["close"].tolist() == [10.0, 11.0, 12.0, 13.0, 14.0]
    assert panel["AUSDT"].columns.tolist() == ["open", "high", "low", "close", "volume"]
    assert panel["BUSDT"].index[0] == pd.Timestamp("2024-01-02", tz="UTC") and panel["BUSDT"].index.name == "timestamp"


def test_what_is_wrong_is_named_with_its_symbol(write, tmp_path):
    with pytest.raises(
        UsageError, match="panel: no file .*nothing.parquet; name a parquet file of bars with the columns symbol, timestamp, open"
    ):
        read_panel(tmp_path / "nothing.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(DataError, match="panel: text.parquet cannot be read"):
        read_panel(tmp_path / "text.parquet")
    with pytest.raises(DataError, match="no column 'symbol'; found timestamp"):
        read_panel(write(bars("A", "2024-01-01", 3).drop(columns="symbol")))
    with pytest.raises(DataError, match="panel.parquet, B: impossible bar at 2024-01-01 01:00"):
        read_panel(write(bars("A", "2024-01-01", 3), bars("B", "2024-01-01", 3).assign(high=[10.0, 1.0, 12.0])))
    with pytest.raises(DataError, match="panel.parquet, A: bars must be in strictly increasing time order"):
        read_panel(write(bars("A", "2024-01-01", 3), bars("A", "2024-01-01", 1)))


@pytest.mark.real
def test_the_recorded_panel_is_read(shared_data):
    panel = read_panel(shared_data / "binance_um_panel33_1h.parquet")
    assert len(panel) == 33 and len(panel["BTCUSDT"]) == 17_544 and panel["RENDERUSDT"].index[0] > panel["BTCUSDT"].index[0]
