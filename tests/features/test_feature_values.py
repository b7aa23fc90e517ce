"""Each feature against its formula: TA-Lib where the formula is TA-Lib's, else worked by hand."""

import numpy as np
import pandas as pd
import pytest
import talib

from quantalpha import schema
from quantalpha.features import FAMILIES, build
from quantalpha.features.base import FeatureSet


def column(bars, family, window):
    return FeatureSet([FAMILIES[family](window)]).compute(bars).iloc[:, 0].to_numpy()


def agree(found, expected, skip=0, **tolerance):
    expected = np.asarray(expected)
    both = ~np.isnan(expected) & ~np.isnan(found)
    assert both[skip:].sum() > 1_000
    np.testing.assert_allclose(found[both][skip:], expected[both][skip:], **tolerance)


@pytest.mark.parametrize("window", [1, 7, 72])
def test_returns_are_talib_rocp(bars, window):
    agree(column(bars, "returns", window), talib.ROCP(bars.close.to_numpy(), window), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("window", [2, 24, 168])
def test_volatility_is_the_sample_deviation_of_log_returns(bars, window):
    expected = np.log(bars.close).diff().rolling(window).std()
    agree(column(bars, "volatility", window), expected, rtol=1e-7)


@pytest.mark.parametrize("window", [2, 24])
def test_atr_is_the_mean_of_talib_true_range(bars, window):
    high, low, close = (bars[name].to_numpy() for name in ("high", "low", "close"))
    expected = pd.Series(talib.TRANGE(high, low, close)).rolling(window).mean() / close
    agree(column(bars, "atr", window), expected, rtol=1e-9)


@pytest.mark.parametrize("window", [2, 24, 168])
def test_moving_average_distance_is_from_talib_sma(bars, window):
    close = bars.close.to_numpy()
    agree(column(bars, "moving_average_distance", window), close / talib.SMA(close, window) - 1, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("window", [2, 14, 40])
def test_rsi_is_talib_rsi_once_its_start_is_forgotten(bars, window):
    expected = talib.RSI(bars.close.to_numpy(), window)
    agree(column(bars, "rsi", window), expected, skip=30 * window if window < 40 else 900, atol=1e-3)


def test_rsi_bounds():
    rising = pd.DataFrame({"close": np.arange(1.0, 400.0)})
    falling = pd.DataFrame({"close": np.arange(400.0, 1.0, -1)})
    assert column(rising, "rsi", 14)[-1] == 100
    assert column(falling, "rsi", 14)[-1] == 0


@pytest.mark.parametrize("window", [5, 48])
def test_bollinger_is_the_position_between_talib_bands(bars, window):
    close = bars.close.to_numpy()
    upper, middle, _ = talib.BBANDS(close, timeperiod=window, nbdevup=2, nbdevdn=2)
    agree(column(bars, "bollinger", window), (close - middle) / (upper - middle), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("window", [2, 72])
def test_range_position_is_talib_williams_r(bars, window):
    expected = 1 + talib.WILLR(*(bars[name].to_numpy() for name in ("high", "low", "close")), window) / 50
    agree(column(bars, "range_position", window), expected, rtol=1e-9, atol=1e-12)


def test_relative_volume_by_hand():
    found = column(pd.DataFrame({"volume": [1.0, 2.0, 3.0, 6.0, 0.0]}), "relative_volume", 3)
    np.testing.assert_allclose(found, [np.nan, np.nan, 0.5, 6 / (11 / 3) - 1, -1], rtol=1e-15)


def test_funding_sums_the_rates_settled_in_the_window():
    found = column(pd.DataFrame({"funding_rate": [1e-4, 0.0, 3e-4, -2e-4]}), "funding", 3)
    np.testing.assert_allclose(found, [np.nan, np.nan, 4e-4, 1e-4], rtol=1e-12)


def test_calendar_is_the_phase_of_the_open_time():
    times = pd.DatetimeIndex(["2024-01-01 00:00", "2024-01-01 06:00", "2024-01-01 12:00", "2024-01-04 00:00"], tz="UTC")
    found = build({"calendar": [24, 168]}).compute(pd.DataFrame(index=times))
    assert list(found) == ["calendar_24_sin", "calendar_24_cos", "calendar_168_sin", "calendar_168_cos"]
    np.testing.assert_allclose(found.iloc[:, 0], [0, 1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(found.iloc[:, 1], [1, 0, -1, 1], atol=1e-12)
    np.testing.assert_allclose(found.iloc[3, 2:], [0, 1], atol=1e-12)  # a Thursday, as 1970-01-01 was


def test_nothing_moves_nothing_trades_gives_neutral_numbers(spec):
    flat = pd.DataFrame(0.1, index=schema.from_epoch_ms(np.arange(400) * 3_600_000), columns=["open", "high", "low", "close"])
    found = build(spec).compute(flat.assign(volume=0.0, funding_rate=0.0)).iloc[-1]
    neutral = found.drop([name for name in found.index if name.startswith(("calendar", "rsi"))])
    assert (neutral == 0).all()
    assert found["rsi_14"] == 50


def test_features_have_no_scale(bars, spec):
    features = build(spec)
    cheap = bars.copy()
    cheap[["open", "high", "low", "close"]] *= 2.0**-30  # a power of two: not even rounding differs
    cheap["volume"] *= 2.0**20
    pd.testing.assert_frame_equal(features.compute(cheap), features.compute(bars), rtol=1e-12)
