"""A leader's close stands on the bars of its own time, or nowhere."""

import numpy as np
import pandas as pd
import pytest

from quantalpha.errors import DataError
from quantalpha.market.leaders import join_leaders
from quantalpha.market.panel import read_panel


def hourly(rows: int, start: str = "2024-01-01", freq: str = "1h", level: float = 100.0) -> pd.DataFrame:
    index = pd.date_range(start, periods=rows, freq=freq, tz="UTC", unit="ms", name="timestamp")
    close = level + np.arange(float(rows))
    return pd.DataFrame({"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 1.0}, index=index)


def test_only_bars_of_the_same_time_meet():
    bars, leader = hourly(6), hourly(6, level=40_000.0).drop(hourly(6).index[[2, 3]])
    found = join_leaders(bars, {"BTCUSDT": leader, "ETHUSDT": bars})
    assert list(found) == [*bars, "BTCUSDT.close", "ETHUSDT.close"]
    np.testing.assert_array_equal(found["BTCUSDT.close"], [40_000, 40_001, np.nan, np.nan, 40_004, 40_005])
    np.testing.assert_array_equal(found["ETHUSDT.close"], bars["close"])
    assert list(bars) == ["open", "high", "low", "close", "volume"]


def test_later_bars_of_the_leader_change_nothing():
    bars, leader = hourly(50), hourly(80, start="2023-12-31 20:00", level=40_000.0)
    whole = join_leaders(bars, {"BTCUSDT": leader})
    for rows in (5, 17, 49):
        known = leader[leader.index <= bars.index[rows - 1]]
        pd.testing.assert_frame_equal(join_leaders(bars.iloc[:rows], {"BTCUSDT": known}), whole.iloc[:rows])


def test_refusals():
    bars = hourly(24)
    with pytest.raises(DataError, match="leader BTCUSDT: expected bars 0 days 01:00:00 apart, found 0 days 04:00:00"):
        join_leaders(bars, {"BTCUSDT": hourly(6, freq="4h")})
    with pytest.raises(DataError, match="leader BTCUSDT: no bar at any of the times 2024-01-01"):
        join_leaders(bars, {"BTCUSDT": hourly(24, start="2025-01-01")})
    with pytest.raises(DataError, match="leader BTCUSDT: missing column"):
        join_leaders(bars, {"BTCUSDT": hourly(24).drop(columns="close")})
    with pytest.raises(DataError, match="column 'BTCUSDT.close' already"):
        join_leaders(join_leaders(bars, {"BTCUSDT": bars}), {"BTCUSDT": bars})


@pytest.mark.real
def test_recorded_coins(shared_data):
    panel = read_panel(shared_data / "binance_um_panel33_1h.parquet")
    leaders = {symbol: panel[symbol] for symbol in ("BTCUSDT", "ETHUSDT")}
    found = join_leaders(panel["SOLUSDT"], leaders)
    assert found.notna().all(axis=None) and len(found) == len(panel["SOLUSDT"])
    hourly_returns = found[["close", "BTCUSDT.close"]].pct_change().dropna()
    assert hourly_returns.corr().iloc[0, 1] > 0.6  # the same hours move together
