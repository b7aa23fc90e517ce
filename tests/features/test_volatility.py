"""Volatility and bands against TA-Lib, pandas, a simulated diffusion of known volatility, or worked by hand."""

import numpy as np
import pandas as pd
import pytest
import talib
from feature_values import agree, column, prices


@pytest.mark.parametrize("window", [2, 24, 168])
def test_volatility_is_the_sample_deviation_of_log_returns(bars, window):
    agree(column(bars, "volatility", window), np.log(bars["close"]).diff().rolling(window).std(), rtol=1e-7)


def test_volatility_ratio_is_volatility_over_volatility(bars):
    expected = column(bars, "volatility", 13) / column(bars, "volatility", 37) - 1
    agree(column(bars, "volatility_ratio", 13, 37), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("window", [1, 24])
def test_downside_is_the_root_mean_square_of_the_falls(bars, window):
    falls = np.log(bars["close"]).diff().clip(upper=0)
    agree(column(bars, "downside", window) ** 2, (falls**2).rolling(window).mean(), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("window", [2, 24])
def test_atr_is_the_mean_of_talib_true_range(bars, window):
    high, low, close = prices(bars, "high", "low", "close")
    expected = pd.Series(talib.TRANGE(high, low, close)).rolling(window).mean() / close
    agree(column(bars, "atr", window), expected, rtol=1e-9)


def test_parkinson_and_garman_klass_by_hand():
    """One bar, open 1, close e, high e^2, low 1/e: range 3, body 1 in logs."""
    bar = pd.DataFrame({"open": [1.0], "high": [np.e**2], "low": [1 / np.e], "close": [np.e]})
    assert column(bar, "parkinson", 1)[0] == pytest.approx(3 / np.sqrt(4 * np.log(2)))
    assert column(bar, "garman_klass", 1)[0] == pytest.approx(np.sqrt(9 / 2 - (2 * np.log(2) - 1)))


def test_yang_zhang_by_hand():
    """Two bars, in logs: jumps 0.01, 0.03; bodies 0.02, -0.02; up 0.04, 0.01; down -0.01, -0.03. k = 0.34 / (1.34 + 3).

    Sample variances: jumps 0.0002, bodies 0.0008. Inside: 0.04 x 0.02 + 0.01 x 0.03 = 0.0011 and 0.01 x 0.03 + 0.03 x 0.01 = 0.0006.
    """
    opens = np.array([0.0, 0.01, 0.06])  # closes 0, 0.03, 0.04
    logs = {"open": opens, "high": opens + [0, 0.04, 0.01], "low": opens - [0, 0.01, 0.03], "close": opens + [0, 0.02, -0.02]}
    k = 0.34 / 4.34
    found = column(np.exp(pd.DataFrame(logs)), "yang_zhang", 2)[-1]
    assert found**2 == pytest.approx(0.0002 + k * 0.0008 + (1 - k) * 0.00085)


@pytest.mark.parametrize("family", ["volatility", "parkinson", "garman_klass", "yang_zhang"])
def test_every_estimator_finds_the_volatility_of_a_diffusion(family):
    """400 bars of 4,000 steps each, 1 % a bar: within 5 % (a grid of finite steps hides 1.6 % of the range)."""
    steps = np.random.default_rng(5).normal(0, 0.01 / np.sqrt(4_000), (400, 4_000))
    path = np.exp(np.cumsum(steps).reshape(400, 4_000))
    opens = np.append(1.0, path[:-1, -1])
    high, low = np.maximum(path.max(axis=1), opens), np.minimum(path.min(axis=1), opens)
    diffusion = pd.DataFrame({"open": opens, "high": high, "low": low, "close": path[:, -1]})
    assert column(diffusion, family, 399)[-1] == pytest.approx(0.01, rel=0.05)


def test_only_yang_zhang_sees_jumps_between_bars_and_no_drift():
    """Bars that do not move inside but jump by +-0.01 in turn have all their volatility between them; a steady climb has none."""
    jumping = np.exp(pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 0.01 * (np.arange(101) // 2 % 2))))
    assert column(jumping, "parkinson", 100)[-1] == 0
    assert column(jumping, "yang_zhang", 100)[-1] == pytest.approx(column(jumping, "volatility", 100)[-1])
    climb = 0.01 * np.arange(50.0)
    climbing = np.exp(pd.DataFrame({"open": climb, "high": climb + 0.01, "low": climb, "close": climb + 0.01}))
    assert column(climbing, "yang_zhang", 40)[-1] == pytest.approx(0, abs=1e-9)
    assert column(climbing, "parkinson", 40)[-1] > 0.005


@pytest.mark.parametrize("window", [5, 48])
def test_bollinger_is_the_position_between_talib_bands(bars, window):
    (close,) = prices(bars, "close")
    upper, middle, lower = talib.BBANDS(close, timeperiod=window, nbdevup=2, nbdevdn=2)
    agree(column(bars, "bollinger", window), (close - middle) / (upper - middle), rtol=1e-6, atol=1e-9)
    agree(column(bars, "bollinger_width", window), (upper - lower) / middle, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("window, atr_window", [(20, 10), (5, 37)])
def test_keltner_is_the_position_between_lines_two_true_ranges_from_talib_ema(bars, window, atr_window):
    high, low, close = prices(bars, "high", "low", "close")
    reach = 2 * pd.Series(talib.TRANGE(high, low, close)).rolling(atr_window).mean()
    agree(column(bars, "keltner", window, atr_window), (close - talib.EMA(close, window)) / reach, skip=20 * window, rtol=0, atol=1e-4)
