"""Trend features against TA-Lib, and the bound on what the finite averages leave out."""

import numpy as np
import pandas as pd
import pytest
import talib
from feature_values import agree, column, columns, prices

from quantalpha.features.averages import TAIL, ema_rows, wilder_rows

ROUNDING = 1e-13  # of the price


@pytest.mark.parametrize("window", [2, 24, 168])
def test_moving_average_distance_is_from_talib_sma(bars, window):
    (close,) = prices(bars, "close")
    agree(column(bars, "moving_average_distance", window), close / talib.SMA(close, window) - 1, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("window", [2, 14, 100])
def test_what_the_averages_leave_out_is_below_the_tail(window):
    assert ((window - 1) / (window + 1)) ** ema_rows(window) < TAIL < 6.2e-6
    assert (1 - 1 / window) ** wilder_rows(window) < TAIL


@pytest.mark.parametrize("window", [2, 14, 100])
def test_ema_distance_is_within_the_tail_of_talib_ema(bars, window):
    """Off by the tail's share of the distance `ema_rows` ago, and by nothing else."""
    (close,) = prices(bars, "close")
    gap = close - talib.EMA(close, window)
    found = column(bars, "ema_distance", window)
    error = found / (1 + found) * close - gap  # close - EMA is distance / (1 + distance) of the close
    left_out = -(((window - 1) / (window + 1)) ** ema_rows(window)) * pd.Series(gap).shift(ema_rows(window)).to_numpy()
    agree(error, left_out, atol=ROUNDING * close.max())
    assert np.nanmax(np.abs(left_out)) <= TAIL * np.nanmax(np.abs(gap))


@pytest.mark.parametrize("fast, slow", [(1, 2), (5, 37)])
def test_ma_cross_is_talib_sma_over_sma(bars, fast, slow):
    close = pd.Series(prices(bars, "close")[0])
    expected = (close if fast == 1 else talib.SMA(close, fast)) / talib.SMA(close, slow) - 1
    agree(column(bars, "ma_cross", fast, slow), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("fast, slow, signal", [(12, 26, 9), (3, 7, 5)])
def test_macd_is_within_the_tail_of_talib_macd(bars, fast, slow, signal):
    (close,) = prices(bars, "close")
    gaps = sum(np.nanmax(np.abs(close - talib.EMA(close, window))) for window in (fast, slow))
    line, smooth, histogram = talib.MACD(close, fast, slow, signal)
    bound = TAIL * gaps + ROUNDING * close.max()
    found = columns(bars, "macd", fast, slow, signal) * close
    start = 20 * (slow + signal)  # TA-Lib begins both averages at bar `slow`, with one value
    agree(found[0], line, skip=start, rtol=0, atol=bound)
    agree(found[1], smooth, skip=start, rtol=0, atol=bound + 2 * TAIL * np.nanmax(np.abs(line)))
    np.testing.assert_allclose(found[2], found[0] - found[1], rtol=0, atol=ROUNDING * close.max())
    assert np.nanstd(histogram) > 1_000 * bound


@pytest.mark.parametrize("window", [2, 14, 30])
def test_adx_is_within_the_tail_of_talib_adx(bars, window):
    high, low, close = prices(bars, "high", "low", "close")
    found = columns(bars, "adx", window)
    ranges = talib.ATR(high, low, close, window)
    moves = talib.PLUS_DM(high, low, window) + talib.MINUS_DM(high, low, window)
    start = 25 * window  # until TA-Lib forgot how it began
    for name, part in (("PLUS_DI", found[1]), ("MINUS_DI", found[2])):
        before = np.nanmax(ranges) / np.nanmin(ranges[start:])
        agree(part, getattr(talib, name)(high, low, close, window) / 100, skip=start, rtol=0, atol=TAIL * before)
    before = np.nanmax(moves) / np.nanmin(moves[start:])
    if window > 2:  # over two bars a bar that stays within the last one leaves sums next to nothing, and all of the bound
        agree(found[0], talib.ADX(high, low, close, window) / 100, skip=start, rtol=0, atol=TAIL * (1 + 2 * before))
    agree(found[0], talib.ADX(high, low, close, window) / 100, skip=start, rtol=0, atol=1e-4)


def test_adx_by_hand():
    """Highs and lows both rise by 1 a bar: no downward move, a range of 2 each, so plus is 1/2 and the direction certain."""
    rows = np.arange(200.0)
    found = columns(pd.DataFrame({"high": rows + 101, "low": rows + 99, "close": rows + 100}), "adx", 5)[:, -1]
    np.testing.assert_allclose(found, [1, 0.5, 0], rtol=1e-12)


@pytest.mark.parametrize("window", [2, 25])
def test_aroon_is_talib_aroonosc_and_by_its_definition(bars, window):
    high, low = prices(bars, "high", "low")
    found = column(bars, "aroon", window)
    agree(found, talib.AROONOSC(high, low, window) / 100, rtol=0)
    row = 700
    since_high, since_low = (window - np.argmax(high[row - window : row + 1])), (window - np.argmin(low[row - window : row + 1]))
    assert found[row] == pytest.approx((since_low - since_high) / window)


def test_ichimoku_by_hand():
    """Middles of (1, 2, 2) bars. At the last bar: conversion 8, base (9 + 4) / 2 = 6.5, so cross 8 / 6.5 - 1.

    Two bars ago the conversion was 5, base and span (6 + 1) / 2 = 3.5: the cloud lies between A = 4.25 and B = 3.5, below the close.
    """
    bars = pd.DataFrame({"high": [3.0, 6.0, 6.0, 9.0], "low": [1.0, 4.0, 4.0, 7.0], "close": [2.0, 5.0, 5.0, 8.0]})
    np.testing.assert_allclose(columns(bars, "ichimoku", 1, 2, 2)[:, -1], [8 / 6.5 - 1, 8 / 4.25 - 1, 0.75 / 8], rtol=1e-14)
    below, within = bars.copy(), bars.copy()
    below.loc[3, ["high", "low", "close"]], within.loc[3, ["high", "low", "close"]] = (4.0, 2.0, 3.0), (5.0, 3.0, 4.0)
    assert columns(below, "ichimoku", 1, 2, 2)[1, -1] == pytest.approx(3 / 3.5 - 1)
    assert columns(within, "ichimoku", 1, 2, 2)[1, -1] == 0


def test_ichimoku_is_made_of_talib_midprices(bars):
    high, low, close = prices(bars, "high", "low", "close")
    conversion, base, span = (talib.MIDPRICE(high, low, window) for window in (9, 26, 52))
    spans = pd.DataFrame({"A": (conversion + base) / 2, "B": span}).shift(26).to_numpy()
    top, bottom = spans.max(axis=1), spans.min(axis=1)
    cloud = np.select([close > top, close < bottom], [close / top - 1, close / bottom - 1], 0.0)
    found = columns(bars, "ichimoku", 9, 26, 52)
    for part, expected in zip(found, (conversion / base - 1, cloud, (spans[:, 0] - spans[:, 1]) / close), strict=True):
        agree(part, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("window", [3, 14, 64])
def test_slope_is_talib_linearreg_slope_of_log_prices(bars, window):
    log_close = np.log(prices(bars, "close")[0])
    slope, fit = columns(bars, "slope", window)
    agree(slope, talib.LINEARREG_SLOPE(log_close, window), rtol=0, atol=1e-11)
    rows = pd.Series(np.arange(len(bars), dtype=float), bars.index)
    agree(fit, rows.rolling(window).corr(pd.Series(log_close, bars.index)) ** 2, rtol=0, atol=1e-6)


def test_slope_of_a_straight_line_and_its_weights():
    """Log prices on a line: its slope, fit 1. One return of 1 among zeros, k bars ago: 6 (k+1) (n-1-k) / (n (n^2 - 1)), a parabola."""
    line = columns(pd.DataFrame({"close": np.exp(0.003 * np.arange(50.0))}), "slope", 20)
    np.testing.assert_allclose(line[:, -1], [0.003, 1.0], rtol=1e-11)
    step = columns(pd.DataFrame({"close": np.exp(1.0 * (np.arange(60) >= 30))}), "slope", 20)[0]
    age = np.arange(19)
    np.testing.assert_allclose(step[30:49], 6 * (age + 1) * (19 - age) / (20 * 399), rtol=1e-12)
