"""Volume features against TA-Lib, pandas, or worked by hand."""

import numpy as np
import pandas as pd
import pytest
import talib
from feature_values import agree, column, prices


def test_relative_volume_by_hand():
    found = column(pd.DataFrame({"volume": [1.0, 2.0, 3.0, 6.0, 0.0]}), "relative_volume", 3)
    np.testing.assert_allclose(found, [np.nan, np.nan, 0.5, 6 / (11 / 3) - 1, -1], rtol=1e-15)


@pytest.mark.parametrize("window", [1, 37])
def test_on_balance_volume_is_the_change_of_talib_obv_over_all_volume(bars, window):
    obv = pd.Series(talib.OBV(*prices(bars, "close", "volume")), bars.index)
    agree(column(bars, "on_balance_volume", window), obv.diff(window) / bars["volume"].rolling(window).sum(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("window", [2, 14, 37])
def test_money_flow_is_talib_mfi(bars, window):
    expected = talib.MFI(*prices(bars, "high", "low", "close", "volume"), window) / 100
    agree(column(bars, "money_flow", window), expected, rtol=0, atol=1e-9)


def test_money_flow_bounds_and_middle():
    rising = pd.DataFrame(dict.fromkeys(("high", "low", "close", "volume"), np.arange(1.0, 30.0)))
    assert column(rising, "money_flow", 5)[-1] == 1
    assert column(rising[::-1], "money_flow", 5)[-1] == 0
    assert column(rising * 0 + 1, "money_flow", 5)[-1] == 0.5


def test_vwap_distance_by_hand(bars):
    """Typical prices 2 and 4, volumes 3 and 1: VWAP 2.5, close 5."""
    two = pd.DataFrame({"high": [3.0, 5.0], "low": [1.0, 2.0], "close": [2.0, 5.0], "volume": [3.0, 1.0]})
    assert column(two, "vwap_distance", 2)[-1] == pytest.approx(1.0)
    value = bars[["high", "low", "close"]].mean(axis=1) * bars["volume"]
    vwap = value.rolling(24).sum() / bars["volume"].rolling(24).sum()
    agree(column(bars, "vwap_distance", 24), bars["close"] / vwap - 1, rtol=0, atol=1e-9)


def test_amihud_is_illiquidity_against_its_longer_mean(bars):
    impact = np.log(bars["close"]).diff().abs() / (bars["close"] * bars["volume"])
    agree(column(bars, "amihud", 13, 37), impact.rolling(13).mean() / impact.rolling(37).mean() - 1, rtol=0, atol=1e-6)


def test_amihud_by_hand():
    """Price factors e, 1, e; values 1, 1, 4 each bar after the first: impacts 1, 0, 1/4; the mean of two over that of three."""
    close = np.exp([0.0, 1.0, 1.0, 2.0])
    found = column(pd.DataFrame({"close": close, "volume": [1, 1, 1, 4] / close}), "amihud", 2, 3)
    assert found[-1] == pytest.approx((0.25 / 2) / (1.25 / 3) - 1)
    untraded = column(pd.DataFrame({"close": close, "volume": [1, 1, 1, 0] / close}), "amihud", 1, 3)
    assert untraded[-1] == -1
